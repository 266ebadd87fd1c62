"""Where predict keeps what is of the user, not of a run. Nothing here depends on JAX."""

import os
from pathlib import Path


def default_cache() -> Path:
    """Return the folder of compiled programs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foldline" / "jax"
