"""Where predict keeps what is of the user, not of a run. Nothing here depends on JAX."""

import os
from pathlib import Path

from pipeline.paths import expanded


def default_cache() -> Path:
    """Return the folder of compiled programs.

    Raises:
        ConfigError: The user has no home.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or expanded("~/.cache")) / "foldline" / "jax"
