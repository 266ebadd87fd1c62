"""The search engines: each finds the relatives of a batch of queries in one database and aligns them to the queries."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.search.engines.hmmer import Jackhmmer
from pipeline.search.engines.records import Engine, Found, Options, Query
from pipeline.search.engines.sources import Source

__all__ = ["DEFAULT", "ENGINES", "Engine", "Found", "Options", "Query", "Source", "engine"]

ENGINES = {"jackhmmer": Jackhmmer}
DEFAULT = "jackhmmer"


def engine(name: str, settings: Mapping[str, Any] | None = None, folder: Path | None = None) -> Engine:
    """Return the engine of a name.

    Args:
        name: One of `ENGINES`; empty is the default.
        settings: Settings of the engine other than its defaults.
        folder: Where engines keep what they make of a database (indices); None is a temporary folder.

    Raises:
        ConfigError: No engine has this name, or it has no such setting.
        FoldlineError: Its program is not installed.
    """
    del folder
    made = ENGINES.get(name or DEFAULT)
    if made is None:
        raise ConfigError(f"no search engine is called {name!r}", mend=f"use one of {', '.join(ENGINES)}")
    if settings:
        raise ConfigError(f"the engine {name!r} has no setting {next(iter(settings))!r}")
    return made()
