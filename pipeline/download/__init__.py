"""Verified, resumable downloads."""
