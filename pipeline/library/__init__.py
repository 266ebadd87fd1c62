"""The library of sequences and template structures."""
