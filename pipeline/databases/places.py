"""The databases that a config names, and where it names each."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config import find, line_of
from pipeline.databases.packed import opened
from pipeline.databases.records import LIBRARY, Database, as_text, check_place, described
from pipeline.errors import ConfigError, LibraryError
from pipeline.search.engine_settings import DEFAULT, ENGINE_SETTINGS, check_settings

HHSEARCH = "search.hhsearch"
_PRESSED = ".h3m"  # of the files of a pressed profile, the one that is read


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
        return _joined(self.setting, self.line)

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
        ConfigError: An entry is not well formed, no engine has its engine's name or this one does not know its
            settings or lacks its profile, or a name is there twice.
        LibraryError: A database does not exist, cannot be read or is empty.
    """
    found: list[Database] = []
    for entry in entries(config, source):
        if entry.given == LIBRARY:
            _check_engine(entry.database(), config, _place("search.engine", source))
            continue
        database = _checked(entry, config)
        if entry.setting != HHSEARCH and database.name in [other.name for other in found]:
            problem = f"the database {database.name!r} is named twice"
            raise ConfigError(problem, mend=f"give it another name: {entry.place}")
        found.append(database)
    return found


def profiles(config: Mapping[str, Any], databases: Sequence[Database]) -> list[Path]:
    """Return the files of the profiles that databases are searched with, each once.

    Args:
        config: The run's.
        databases: What `located` gave.
    """
    found = (_profile_of(database, config["search"]["engine"]) for database in databases)
    return list(dict.fromkeys(path for path in found if path))


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


def _checked(entry: Entry, config: Mapping[str, Any]) -> Database:
    """Return a database that can be searched, as far as its place, its beginning and its settings tell."""
    with _said(entry.place):
        database = entry.database()
        check_place(database)
        _check_beginning(database)
    if entry.setting != HHSEARCH:
        _check_engine(database, config, entry.place)
    return database


def _check_engine(database: Database, config: Mapping[str, Any], place: str) -> None:
    with _said(place):
        check_settings(database, config["search"]["engine"])
        profile = _profile_of(database, config["search"]["engine"])
        if profile and not profile.is_file():
            problem = f"there is no profile here to search the database {database.name!r} with"
            raise ConfigError(problem, str(profile), "correct its path in the config")


@contextlib.contextmanager
def _said(place: str) -> Iterator[None]:
    """Add to errors where to correct what is wrong."""
    try:
        yield
    except (ConfigError, LibraryError) as error:
        raise dataclasses.replace(error, mend=f"{error.mend or 'correct the config'}: {place}") from error


def _profile_of(database: Database, engine: str) -> Path | None:
    """Return the file of the profile that a database is searched with; None where its engine makes its own.

    Raises:
        ConfigError: The engine needs one, and none is given.
    """
    name = database.engine or engine or DEFAULT
    if "profile" not in ENGINE_SETTINGS[name]:
        return None
    given = database.settings.get("profile")
    if not given:
        mend = "name the database by a mapping with settings: {profile: PATH}"
        raise ConfigError(f"the search engine {name!r} needs a profile for the database {database.name!r}", mend=mend)
    path = find(str(given))
    pressed = Path(f"{path}{_PRESSED}")
    return pressed if not path.exists() and pressed.exists() else path


def _check_beginning(database: Database) -> None:
    """Refuse a file that cannot be read, or in whose packing there is nothing."""
    if database.anchor != database.path or not database.path.is_file():
        return
    with opened(database.path) as file:
        if not file.read(1):
            problem = f"the database {database.name!r} is empty"
            raise LibraryError(problem, str(database.path), "put the whole file there")


def _place(setting: str, source: Path | None) -> str:
    return _joined(setting, _line(source, tuple(setting.split("."))))


def _joined(setting: str, line: str) -> str:
    return f"{setting}, {line}" if line else setting


def _line(source: Path | None, keys: tuple[str | int, ...]) -> str:
    line = line_of(source, keys) if source else None
    return f"{source}:{line}" if line else ""
