"""The search engines: each finds the relatives of a batch of queries in one database and aligns them to the queries."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pipeline.search.engine_settings import DEFAULT, checked
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


def engine(name: str, settings: Mapping[str, Any] | None = None, folder: Path | None = None) -> Engine:
    """Return the engine of a name.

    Args:
        name: One of `ENGINES`; empty is the default.
        settings: Settings of the engine other than its defaults.
        folder: Where engines keep what they make of a database (indices); None is a temporary folder.

    Raises:
        ConfigError: No engine has this name, or it has no such setting, or a value is of another type.
        FoldlineError: Its program is not installed.
    """
    given = checked(name, settings or {})
    made = ENGINES[name or DEFAULT]
    if "folder" in inspect.signature(made).parameters:
        given["folder"] = folder
    return cast("Engine", made(**given))
