"""The search engines: each finds the relatives of a batch of queries in one database and aligns them to the queries."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pipeline.errors import ConfigError
from pipeline.search.engines.binaries import JackhmmerProgram
from pipeline.search.engines.hmmer import Hmmsearch, Jackhmmer, Phmmer
from pipeline.search.engines.mmseqs import Mmseqs
from pipeline.search.engines.prefilter import Prefilter
from pipeline.search.engines.records import Engine, Found, Options, Query
from pipeline.search.engines.sources import Source

__all__ = ["DEFAULT", "ENGINES", "Engine", "Found", "Options", "Query", "Source", "engine"]

ENGINES: Mapping[str, type] = {
    "jackhmmer": Jackhmmer,
    "phmmer": Phmmer,
    "hmmsearch": Hmmsearch,
    "jackhmmer-program": JackhmmerProgram,
    "mmseqs": Mmseqs,
    "prefilter": Prefilter,
}
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
    made = ENGINES.get(name or DEFAULT)
    if made is None:
        raise ConfigError(f"no search engine is called {name!r}", mend=f"use one of {', '.join(ENGINES)}")
    known = inspect.signature(made).parameters
    given: dict[str, Any] = {"folder": folder} if "folder" in known else {}
    for word, value in (settings or {}).items():
        if word not in known or word == "folder":
            mend = f"it has {', '.join(sorted(set(known) - {'folder'})) or 'none'}"
            raise ConfigError(f"the search engine {name or DEFAULT!r} has no setting {word!r}", mend=mend)
        given[word] = value
    return cast("Engine", made(**given))
