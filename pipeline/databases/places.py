"""The databases that a config names, and where it names each."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.config import line_of
from pipeline.databases.packed import opened
from pipeline.databases.records import LIBRARY, Database, as_text, locate
from pipeline.errors import ConfigError, LibraryError


def located(config: Mapping[str, Any], source: Path | None = None) -> list[Database]:
    """Return the databases of a config, without the embedded library; of none more than the beginning is read.

    Args:
        config: The run's.
        source: The file that it comes from, as far as it differs from the defaults.

    Raises:
        ConfigError: An entry is not well formed, or a name is there twice.
        LibraryError: A database does not exist, cannot be read or is empty.
    """
    found: dict[str, Database] = {}
    for index, entry in enumerate(config["search"]["databases"]):
        if entry == LIBRARY:
            continue
        try:
            database = locate(as_text(entry))
            _check_beginning(database)
        except (ConfigError, LibraryError) as error:
            mend = f"{error.mend or 'correct the config'}: {place_of(index, source)}"
            raise dataclasses.replace(error, mend=mend) from error
        if database.name in found:
            problem = f"the database {database.name!r} is named twice"
            raise ConfigError(problem, mend=f"give it another name: {place_of(index, source)}")
        found[database.name] = database
    return list(found.values())


def _check_beginning(database: Database) -> None:
    """Refuse a file that cannot be read, or in whose packing there is nothing."""
    if database.anchor != database.path or not database.path.is_file():
        return
    with opened(database.path) as file:
        if not file.read(1):
            problem = f"the database {database.name!r} is empty"
            raise LibraryError(problem, str(database.path), "put the whole file there")


def place_of(index: int, source: Path | None) -> str:
    """Say where the config names a database: the setting, and the line where the file is known."""
    setting = f"search.databases[{index}]"
    line = line_of(source, ("search", "databases", index)) if source else None
    return f"{setting}, {source}:{line}" if line else setting
