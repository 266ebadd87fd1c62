"""What engines make of a database and keep: whole or not there, and made again where it is damaged.

Who uses it holds a shared lock on a file beside it, and who makes or removes it an exclusive one. The system drops a
lock when its process ends. On a file system without locks the last one who makes it wins.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from pipeline.errors import LibraryError, RecordError
from pipeline.lock import take_lock
from pipeline.records import read_json, write_json
from pipeline.shared_folder import make_folder, share

log = logging.getLogger(__name__)

MANIFEST, LOCK = "files.json", ".lock"
MMSEQS_FOLDER = "mmseqs"
"""Folder beside the other databases in which those of MMseqs2 are kept."""
PASSING = (".search-", ".making-")
"""Beginnings of the names of folders that are needed no more when their process ends."""

_SCHEMA = "foldline.index/1"
_TRIES = 2  # what is made may be removed again before it is in use


@contextlib.contextmanager
def made(folder: Path, database: str, make: Callable[[Path], None]) -> Iterator[Path]:
    """Give a folder with what a function writes into it; until the block ends `foldline cache` leaves it where it is.

    Args:
        folder: Where it is kept; made where it is not there and whole.
        database: Name of the database that it is made of.
        make: Fills an empty folder of another name.

    Raises:
        LibraryError: What is there is damaged and cannot be removed.
    """
    with _opened(folder) or contextlib.nullcontext() as lock:
        _take(lock, fcntl.LOCK_SH)
        for _ in range(_TRIES):
            if is_whole(folder):
                break
            _take(lock, fcntl.LOCK_EX)
            if not is_whole(folder):
                _remove(folder)
                _make(folder, database, make)
            _take(lock, fcntl.LOCK_SH)
        with contextlib.suppress(OSError):  # of another user, or read-only: then its age is that of its making
            os.utime(folder / MANIFEST)  # so that what is used is not pruned
        yield folder


def place_of(name: Path, folder: Path | None, work: Path) -> Path:
    """Return where what is made of a database lies.

    Args:
        name: Path in the folder.
        folder: Where it is kept, if it is there or this user may write there; None where nothing is kept.
        work: Where it lies otherwise.
    """
    if folder is None:
        return work / name
    if is_whole(folder / name) or may_write(folder / name):
        return folder / name
    log.warning("%s: you may not write here: what is made of this database serves one search", folder / name)
    return work / name


def may_write(folder: Path) -> bool:
    """Return whether this user may write in a folder, or make it where it is not there."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    return os.access(there, os.W_OK | os.X_OK)


def is_whole(folder: Path) -> bool:
    """Return whether all files are there in the sizes that they were made in."""
    try:
        sizes = read_json(folder / MANIFEST, _SCHEMA)["sizes"]
        return bool(sizes == _sizes(folder))
    except (RecordError, KeyError, OSError):
        return False


def database_of(manifest: Path) -> str:
    """Return the name of the database that something was made of; empty where nothing says it."""
    try:
        return str(read_json(manifest, _SCHEMA).get("database", ""))
    except RecordError:
        return ""


@contextlib.contextmanager
def passing(folder: Path | None, beginning: str) -> Iterator[Path]:
    """Give a folder of files that are needed no more when the block ends, locked until then.

    Args:
        folder: Where it lies; None is the system's folder of temporary files.
        beginning: Of its name, one of `PASSING`.
    """
    with tempfile.TemporaryDirectory(prefix=beginning, dir=folder) as name, (Path(name) / LOCK).open("ab") as lock:
        _take(lock, fcntl.LOCK_EX)
        yield Path(name)


@contextlib.contextmanager
def unused(folder: Path) -> Iterator[bool]:
    """Hold the lock of what is to be removed; give whether no other process has it."""
    path = folder / LOCK if folder.name.startswith(PASSING) else _lock_of(folder)
    with contextlib.ExitStack() as stack:
        try:
            free = take_lock(stack.enter_context(path.open("r+b")))
        except FileNotFoundError:
            free = True
        except PermissionError:  # who may not lock it may not remove it
            free = False
        yield free


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != MANIFEST}


def _make(folder: Path, database: str, make: Callable[[Path], None]) -> None:
    with passing(folder.parent, ".making-") as place:
        work = place / "whole"
        work.mkdir()
        make(work)
        write_json(work / MANIFEST, {"database": database, "sizes": _sizes(work)}, _SCHEMA)
        for path in (work, *work.iterdir()):
            share(path, folder.parent)
        try:
            work.rename(folder)
        except OSError:
            if not is_whole(folder):  # else another process was faster, where the file system has no locks
                raise


def _remove(folder: Path) -> None:
    if not folder.exists():
        return
    log.warning("%s: what is kept of a database is damaged or of an older version; making it again", folder)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        problem = (
            f"what is kept of a database is damaged and cannot be removed ({(error.strerror or str(error)).lower()})"
        )
        raise LibraryError(problem, str(folder), "remove this folder") from error


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}{LOCK}")


def _opened(folder: Path) -> IO[bytes] | None:
    """Open the lock of a folder, to read where this user may do no more; None where there is none."""
    path = _lock_of(folder)
    with contextlib.suppress(PermissionError, FileNotFoundError):
        if not may_write(folder.parent):
            return path.open("rb")
        make_folder(folder.parent)
        lock = path.open("ab")
        with contextlib.suppress(PermissionError):  # another user made it
            share(path, folder.parent)
        return lock
    return None


def _take(lock: IO[bytes] | None, kind: int) -> None:
    """Wait for a lock; give back the one that is held before, so that no two wait for each other."""
    if lock is None:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_UN)
        fcntl.flock(lock, kind)
    except OSError as error:
        log.info("%s: this file system has no locks (%s)", lock.name, (error.strerror or str(error)).lower())
