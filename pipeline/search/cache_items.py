"""What lies in a cache of searches: its entries with their sizes and ages, what is damaged, and what can be removed."""

import contextlib
import dataclasses
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pipeline.errors import RecordError
from pipeline.records import read_json
from pipeline.search.cache import SCHEMA, TEMPLATES_OF
from pipeline.search.made import MANIFEST, MMSEQS_FOLDER, PASSING, database_of, is_whole, unused

INDICES = "indices"
"""Folder of the cache in which engines keep what they make of a database."""

State = Literal["entry", "unfinished", "index"]
_DATA = re.compile(r"[0-9a-f]{64}(\.\w+)")
_RECORD = re.compile(r"([0-9a-f]{64}\.\w+)\.json")
_LEFTOVER = re.compile(r"\..*\.tmp")
_IN_MAKING = 3600.0  # seconds in which what is unfinished may still be in the making
_DAY = 86_400.0


@dataclasses.dataclass(frozen=True)
class Item:
    """Something in the cache that is kept or removed as a whole.

    Args:
        database: Folder of the cache that it is in: name and version of a database, or `indices`.
        path: Where its data are.
        record: Its record, which says what its data are; None where there is none.
        size: Bytes of all its files.
        used: When it was used last, seconds since the epoch.
        state: An entry, what a search has not finished, or an engine's index.
    """

    database: str
    path: Path
    record: Path | None
    size: int
    used: float
    state: State

    @property
    def of(self) -> str:
        """Name and version of the database that it is of; templates are of their library."""
        return self.path.name if self.state == "index" else self.database.removeprefix(TEMPLATES_OF)

    def age(self, now: float) -> float:
        """Return the days since it was used."""
        return max(0.0, (now - self.used) / _DAY)

    def remove(self) -> bool:
        """Remove it unless a search uses or makes it; return whether it did.

        Its record goes first, so that no other process takes what is left for an entry.
        """
        with _held(self) as ours:
            if not ours:
                return False
            if self.record:
                self.record.unlink(missing_ok=True)
            if _is_folder(self.path):
                shutil.rmtree(self.path, ignore_errors=True)
            else:
                self.path.unlink(missing_ok=True)
        return True


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is to be removed: what fits all that is given.

    Args:
        databases: Names, names and versions, or folders of the cache; empty for all.
        days: Not used for more than this; None for any age.
        size: Bytes to which the cache is brought, the longest unused going first; None for any size.
    """

    databases: Sequence[str] = ()
    days: float | None = None
    size: int | None = None


def items(root: Path) -> Iterator[Item]:
    """Give everything in a cache, folder by folder; files that are not the cache's are left alone."""
    for folder in sorted(_folders(root)):
        if folder.name == INDICES:
            yield from _indices(folder)
            continue
        for settings in sorted(_folders(folder)):
            yield from _entries(folder.name, settings)


def problem(item: Item) -> str:
    """Return what is wrong with an entry; empty where it is as it was written."""
    if item.state == "index":
        return "" if is_whole(item.path) else "damaged: files have other sizes than they were made in"
    if item.record is None:
        return "unfinished: a search was interrupted, or is going on"
    try:
        expected = read_json(item.record, SCHEMA).get("sha256")
        with item.path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "damaged: its data are gone"
    except (RecordError, OSError) as error:
        return f"damaged: {error}"
    return "" if found == expected else "damaged: wrong checksum"


def is_stale(item: Item, now: float) -> bool:
    """Return whether no search uses it or can be making it."""
    if item.state == "unfinished" and now - item.used <= _IN_MAKING:
        return False
    with _held(item) as ours:
        return ours


def chosen(everything: Sequence[Item], wanted: Wanted, now: float | None = None) -> list[Item]:
    """Return what is to be removed, the longest unused first."""
    now = time.time() if now is None else now
    ours = _of_databases(everything, frozenset(wanted.databases))
    fitting = [item for item in ours if is_stale(item, now)]
    if wanted.days is not None:
        fitting = [item for item in fitting if item.age(now) > wanted.days]
    fitting.sort(key=lambda item: (item.used, item.path))
    if wanted.size is None:
        return fitting
    too_much = sum(item.size for item in ours) - wanted.size
    removed = []
    for item in fitting:
        if too_much <= 0:
            break
        removed.append(item)
        too_much -= item.size
    return removed


def tidy(root: Path) -> None:
    """Remove the folders that hold nothing any more."""
    for folder in _folders(root):
        for inner in _folders(folder):
            if inner.name.startswith(PASSING):  # a search has just made it
                continue
            with contextlib.suppress(OSError):  # not empty, or another process has just put something there
                inner.rmdir()
        with contextlib.suppress(OSError):
            folder.rmdir()


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if _is_folder(path)]


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


@contextlib.contextmanager
def _held(item: Item) -> Iterator[bool]:
    """Hold the lock of a folder; give whether no search has it. Entries and files have none."""
    if _is_folder(item.path):
        with unused(item.path) as ours:
            yield ours
    else:
        yield True


def _of_databases(everything: Sequence[Item], databases: frozenset[str]) -> Sequence[Item]:
    """Return the items of databases, by their names as the records say them, or by what their folders are called."""
    if not databases:
        return everything
    names: dict[str, str] = {}  # by name and version, which do not say where the name ends
    for item in everything:
        if not names.get(item.of):
            names[item.of] = _name_of(item)
    return [item for item in everything if databases & {item.database, item.of, names[item.of] or item.of}]


def _name_of(item: Item) -> str:
    """Return the name of the database that an item is of; empty where no record says it."""
    if item.record is None:
        return ""
    if item.state == "index":
        return database_of(item.record)
    try:
        return str(read_json(item.record, SCHEMA).get("database", "")).removeprefix(TEMPLATES_OF)
    except RecordError:
        return ""


def _entries(database: str, folder: Path) -> Iterator[Item]:
    there = {path.name: path for path in folder.iterdir() if path.is_file()}
    for name, path in sorted(there.items()):
        recorded = _RECORD.fullmatch(name)
        if recorded:
            data = folder / recorded[1]
            yield _item(database, data, path, "entry")
        elif (_DATA.fullmatch(name) and f"{name}.json" not in there) or _LEFTOVER.fullmatch(name):
            yield _item(database, path, None, "unfinished")


def _indices(folder: Path) -> Iterator[Item]:
    for path in sorted(_folders(folder)):
        if path.name == MMSEQS_FOLDER:
            yield from _indices(path)
        elif path.name.startswith(PASSING):
            yield _item(INDICES, path, None, "unfinished")
        else:
            yield _item(INDICES, path, path / MANIFEST, "index")


def _inside(folder: Path) -> Iterator[Path]:
    for top, folders, names in os.walk(folder):  # which passes over what is gone by now
        yield from (Path(top, name) for name in (*folders, *names))


def _item(database: str, path: Path, record: Path | None, state: State) -> Item:
    files = {path, *_inside(path)} | ({record} if record else set())
    sizes, times = [0], [0.0]
    for file in files:
        with contextlib.suppress(OSError):  # gone since it was listed
            found = file.stat()
            sizes.append(0 if file.is_dir() else found.st_size)
            times.append(found.st_mtime)
    return Item(database, path, record, sum(sizes), max(times), state)
