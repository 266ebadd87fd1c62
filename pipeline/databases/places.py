"""The databases that a config names, and where it names each."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.config import find, line_of
from pipeline.databases.packed import opened
from pipeline.databases.records import LIBRARY, Database, as_text, check_place, described
from pipeline.errors import ConfigError, LibraryError
from pipeline.search.engine_settings import check_settings

HHSEARCH = "search.hhsearch"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A database as a config names it.

    Args:
        given: `library`, `NAME=PATH:VERSION` or a mapping.
        setting: The setting that names it.
        line: File and line of the setting, as far as they are known.
        library: Folder of the template library.
    """

    given: str | Mapping[str, Any]
    setting: str
    line: str
    library: str

    @property
    def place(self) -> str:
        """Where to correct it."""
        return f"{self.setting}, {self.line}" if self.line else self.setting

    def database(self) -> Database:
        """Return what is named, which need not be there.

        Raises:
            ConfigError: The entry is not well formed.
        """
        if self.given == LIBRARY:
            return Database(LIBRARY, find(self.library), kind="library")
        return described(as_text(self.given))


def entries(config: Mapping[str, Any], source: Path | None = None) -> Iterator[Entry]:
    """Give what a config names: the databases of sequences, and that of profiles of templates.

    Args:
        config: The run's.
        source: The file that it comes from, as far as it differs from the defaults.
    """
    section, library = config["search"], config["databases"]["library"]
    for index, given in enumerate(section["databases"]):
        setting = "databases.library" if given == LIBRARY else f"search.databases[{index}]"
        keys = ("databases", "library") if given == LIBRARY else ("search", "databases", index)
        yield Entry(given, setting, _line(source, keys), library)
    if profiles := section["hhsearch"]:
        yield Entry(profiles, HHSEARCH, _line(source, ("search", "hhsearch")), library)


def located(config: Mapping[str, Any], source: Path | None = None) -> list[Database]:
    """Return what a config names, without the embedded library; of nothing more than the beginning is read.

    Args:
        config: The run's.
        source: The file that it comes from, as far as it differs from the defaults.

    Raises:
        ConfigError: An entry is not well formed, has settings that its engine does not know, or a name is there twice.
        LibraryError: A database does not exist, cannot be read or is empty.
    """
    found: list[Database] = []
    for entry in entries(config, source):
        if entry.given == LIBRARY:
            continue
        try:
            database = entry.database()
            check_place(database)
            _check_beginning(database)
            if entry.setting != HHSEARCH:
                check_settings(database, config["search"]["engine"])
        except (ConfigError, LibraryError) as error:
            mend = f"{error.mend or 'correct the config'}: {entry.place}"
            raise dataclasses.replace(error, mend=mend) from error
        if entry.setting != HHSEARCH and database.name in [other.name for other in found]:
            problem = f"the database {database.name!r} is named twice"
            raise ConfigError(problem, mend=f"give it another name: {entry.place}")
        found.append(database)
    return found


def searched_bytes(config: Mapping[str, Any]) -> dict[str, int]:
    """Return the sizes of what is read of the databases of sequences, by file: not of the template library.

    Of a database of several files all are counted, which is more than is read.

    Args:
        config: The run's, whose databases are there.
    """
    named = (entry for entry in entries(config) if entry.setting != HHSEARCH and entry.given != LIBRARY)
    return {str(path): path.stat().st_size for entry in named for path in _files_of_sequences(entry.database())}


def _files_of_sequences(database: Database) -> list[Path]:
    if database.kind == LIBRARY:
        return [path for path in database.files if path.name.startswith("sequences")]
    return [database.path] if database.anchor == database.path else database.files


def _check_beginning(database: Database) -> None:
    """Refuse a file that cannot be read, or in whose packing there is nothing."""
    if database.anchor != database.path or not database.path.is_file():
        return
    with opened(database.path) as file:
        if not file.read(1):
            problem = f"the database {database.name!r} is empty"
            raise LibraryError(problem, str(database.path), "put the whole file there")


def _line(source: Path | None, keys: tuple[str | int, ...]) -> str:
    line = line_of(source, keys) if source else None
    return f"{source}:{line}" if line else ""
