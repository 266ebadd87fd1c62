"""The stages: files in, files out."""
