"""The stages: files in, files out."""

__version__ = "0.1.0"
