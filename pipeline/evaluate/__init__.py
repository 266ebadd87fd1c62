"""Comparison of a model with a reference structure."""
