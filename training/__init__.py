"""How the embedded weights were made."""
