"""The sequence databases of a search."""
