"""What search engines can be told. No engine is loaded for it: a run is checked before its first job."""

import sys
from collections.abc import Mapping
from typing import Any

from pipeline.databases.records import Database, Value
from pipeline.errors import ConfigError

Kind = type[int] | type[float] | type[str]
DEFAULT = "jackhmmer"
_OF_ALL: Mapping[str, Kind] = {"rounds": int, "inclusion_e_value": float, "seconds": float}
_OF_MMSEQS: Mapping[str, Kind] = {"max_seqs": int, "sensitivity": float}
ENGINE_SETTINGS: Mapping[str, Mapping[str, Kind]] = {
    "jackhmmer": {},
    "phmmer": {},
    "hmmsearch": {"profile": str},
    "jackhmmer-program": {},
    "mmseqs": _OF_MMSEQS,
    "prefilter": _OF_MMSEQS,
}
"""What each engine can be told beside what all know, and the types."""
_EXPECTED: Mapping[Kind, str] = {int: "a whole number", float: "a number", str: "a text"}


def of_all(database: Database) -> dict[str, Any]:
    """Return the settings of a database that all engines know.

    Raises:
        ConfigError: A value is of another type.
    """
    given = {word: value for word, value in database.settings.items() if word in _OF_ALL}
    owner = f"the database {database.name!r}"
    return {word: _typed(value, _OF_ALL[word], f"{word!r} of {owner}") for word, value in given.items()}


def of_engine(database: Database) -> dict[str, Value]:
    """Return the settings of a database that its engine alone knows, as they are."""
    return {word: value for word, value in database.settings.items() if word not in _OF_ALL}


def checked(engine: str, settings: Mapping[str, Value]) -> dict[str, Any]:
    """Return settings that an engine alone knows, with its types.

    Args:
        engine: One of `ENGINE_SETTINGS`; empty is the default.
        settings: By name.

    Raises:
        ConfigError: No engine has this name, or it has no such setting, or a value is of another type.
    """
    engine = engine or DEFAULT
    known = ENGINE_SETTINGS.get(engine)
    if known is None:
        raise ConfigError(f"no search engine is called {engine!r}", mend=f"use one of {', '.join(ENGINE_SETTINGS)}")
    for word in settings:
        if word not in known:
            mend = f"it has {', '.join(sorted(known)) or 'none'}"
            raise ConfigError(f"the search engine {engine!r} has no setting {word!r}", mend=mend)
    return {
        word: _typed(value, known[word], f"{word!r} of the search engine {engine!r}")
        for word, value in settings.items()
    }


def check_settings(database: Database, engine: str) -> None:
    """Refuse what a database's engine would refuse.

    Args:
        database: To search.
        engine: Of the databases that name none.

    Raises:
        ConfigError: No engine has this name, or a setting of the database means nothing.
    """
    of_all(database)
    checked(database.engine or engine, of_engine(database))


def _typed(value: Any, kind: Kind, what: str) -> Any:
    if kind is str and isinstance(value, str):
        return value
    if kind is not str and _is_number(value) and kind(value) == value:
        return kind(value)
    mend = "put it into quotes" if kind is str else "write it without quotes, such as 10000 or 1.0e-3"
    raise ConfigError(f"expected {_EXPECTED[kind]} for {what}, found {value!r}", mend=mend)


def _is_number(value: Any) -> bool:
    """Return whether a value is a finite number that a float can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
