"""Look at the databases of a config: each is there, can be read, and is something that can be searched.

What is counted is kept in a small record beside the cache of searches, so that a database is read once for it.
"""

import dataclasses
import datetime
import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.databases.formats import HH_SUITE, Counts, Format, count, recognise
from pipeline.databases.places import HHSEARCH, Entry, entries
from pipeline.databases.records import LARGEST_HASHED, LIBRARY, Database, check_place, sha256_of
from pipeline.databases.sequence_files import FORMATS
from pipeline.errors import FoldlineError, LibraryError, RecordError
from pipeline.paths import expanded
from pipeline.records import read_json, write_json
from pipeline.search.cache import Place
from pipeline.search.settings import Settings, method_of

SCHEMA = "foldline.database/1"
_READ_BY_ALL = (*(each.name for each in FORMATS), "template library")
_MMSEQS_ENGINES = ("mmseqs", "prefilter")  # which read sequences of MMseqs2 too

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class State:
    """What is known of a database.

    Args:
        place: Where the config names it.
        name: Its name.
        version: Its version; where the config gives none, a hash of the content.
        kind: What the config says that it holds.
        engine: What searches it; empty for the stage's engine.
        path: Where it lies.
        format: What it is by its files.
        bytes: Size of all its files.
        sequences: Sequences or profiles in it; None where they were not counted.
        residues: Their residues; None where they are not known.
        sha256: Checksum of all its files, one after the other; empty for large ones.
        problem: Why it cannot be searched; empty where it can.
    """

    place: str
    name: str = ""
    version: str = ""
    kind: str = ""
    engine: str = ""
    path: str = ""
    format: str = ""
    bytes: int = 0
    sequences: int | None = None
    residues: int | None = None
    sha256: str = ""
    problem: str = ""


def check(config: Mapping[str, Any], source: Path | None = None, *, quick: bool = False) -> list[State]:
    """Look at every database of a config.

    Args:
        config: The run's.
        source: The file that it comes from, as far as it differs from the defaults.
        quick: Whether to leave out what reads whole databases: counts and checksums that are not known yet.
    """
    folder = records_folder(config)
    section: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config["search"].items()}
    settings = Settings(**section)
    states = [_checked(entry, settings, folder, quick) for entry in entries(config, source)]
    seen: dict[str, str] = {}
    for index, state in enumerate(states):
        if state.name in seen and not state.problem and not state.place.startswith(HHSEARCH):
            states[index] = dataclasses.replace(state, problem=f"the name is that of {seen[state.name]} too")
        seen[state.name] = state.place
    return states


def records_folder(config: Mapping[str, Any]) -> Path:
    """Return where counts are kept: beside the cache of searches, or in the user's cache where there is none.

    Raises:
        ConfigError: There is no home folder that it is in.
    """
    if cache := config["databases"]["cache"]:
        return expanded(cache).parent / "databases"
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "foldline" / "databases"


def _checked(entry: Entry, settings: Settings, folder: Path, quick: bool) -> State:
    state = State(entry.place)
    try:
        database = entry.database()
        state = State(entry.place, database.name, database.version, database.kind, database.engine, str(database.path))
        check_place(database)
        found = recognise(database)
        _check_method(entry, database, found, settings)
        state = dataclasses.replace(state, format=str(found), bytes=_size(database))
        state = dataclasses.replace(state, **_known(database, found, folder, quick))
        return dataclasses.replace(state, version=state.version or _content_version(database, state))
    except FoldlineError as error:
        return dataclasses.replace(state, problem=str(error))
    except OSError as error:
        return dataclasses.replace(state, problem=f"{error.filename}: {(error.strerror or str(error)).lower()}")


def _check_method(entry: Entry, database: Database, found: Format, settings: Settings) -> None:
    """Refuse a database that what is to search it does not read.

    Raises:
        ConfigError: There is no such engine, or it has no such setting.
        FoldlineError: The engine does not read the format, or its program is not installed.
    """
    if entry.setting == HHSEARCH:
        if found.content != HH_SUITE:
            raise LibraryError(f"expected a database of HH-suite, found {found}", str(database.path))
        return
    method_of(database, settings, Place())
    engine = database.engine or settings.engine
    readable = (*_READ_BY_ALL, "MMseqs2 sequences") if engine in _MMSEQS_ENGINES else _READ_BY_ALL
    if found.content not in readable:
        problem = f"the engine {engine!r} does not search {found}, but {', '.join(readable)}"
        other = found.content == "MMseqs2 sequences"
        mend = f"write engine: {_MMSEQS_ENGINES[0]}" if other else "give the database in another form"
        raise LibraryError(problem, str(database.path), mend)


def _content_version(database: Database, state: State) -> str:
    """Return what the search will call a database whose version is not given.

    Raises:
        LibraryError: It is too large to take its version from its content.
    """
    if state.bytes <= LARGEST_HASHED and not (state.sha256 or database.kind == LIBRARY):  # looked at quickly
        return ""
    return database.content_version(state.sha256)


def _size(database: Database) -> int:
    return sum(path.stat().st_size for path in database.files)


def _known(database: Database, found: Format, folder: Path, quick: bool) -> dict[str, Any]:
    """Return counts and checksum, from the record where the files are those of then."""
    path, about = _record_path(folder, database), _about(database, found)
    known = _read(path, about)
    if known is None and not quick:
        log.info("%s: counting %s", database.name, database.path)
        counts = count(database, found)
        small = _size(database) <= LARGEST_HASHED
        known = {**dataclasses.asdict(counts), "sha256": sha256_of(database.files) if small else ""}
        _write(path, {**about, **known, "counted": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")})
    return known or {}


def _about(database: Database, found: Format) -> dict[str, Any]:
    """Return what tells a database from a later state of it: size and time of the last change of each file."""
    status = {path.name: path.stat() for path in database.files}
    files = {name: [about.st_size, about.st_mtime_ns] for name, about in status.items()}
    return {"path": str(database.path.resolve()), "format": str(found), "files": files}


def _record_path(folder: Path, database: Database) -> Path:
    digest = hashlib.sha256(os.fsencode(database.path.resolve())).hexdigest()[:16]
    return folder / f"{database.name}-{digest}.json"


def _read(path: Path, about: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a record says of this very state of a database."""
    if not path.exists():
        return None
    try:
        record = read_json(path, SCHEMA)
        counts = Counts(record["sequences"], record["residues"])
        if all(record[key] == value for key, value in about.items()):
            return {**dataclasses.asdict(counts), "sha256": str(record["sha256"])}
    except (RecordError, KeyError) as error:
        log.warning("%s: the record is damaged (%s); counting again", path, error)
    return None


def _write(path: Path, record: Mapping[str, Any]) -> None:
    """Keep a record; where that is impossible the check still counts, and the log says so."""
    try:
        write_json(path, record, SCHEMA)
    except OSError as error:
        log.warning("%s: the counts cannot be kept (%s)", path, (error.strerror or str(error)).lower())
