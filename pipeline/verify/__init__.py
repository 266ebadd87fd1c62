"""Verify: whether the files of a run are whole and belong together."""
