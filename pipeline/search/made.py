"""What engines make of a database and keep: whole or not there, and made again where it is damaged."""

import contextlib
import fcntl
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.errors import LibraryError, RecordError
from pipeline.records import read_json, write_json
from pipeline.shared_folder import make_folder, share

log = logging.getLogger(__name__)

MANIFEST, LOCK = "files.json", ".lock"
_SCHEMA = "foldline.index/1"


def made(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return a folder with what a function writes into it, which it does only where the folder is not there and whole.

    Args:
        folder: Where it is kept.
        make: Fills an empty folder of another name.

    Raises:
        LibraryError: What is there is damaged and cannot be removed.
    """
    if is_whole(folder):
        return folder
    make_folder(folder.parent)
    with _one_at_a_time(folder):
        if not is_whole(folder):
            _remove(folder)
            _make(folder, make)
    return folder


def is_whole(folder: Path) -> bool:
    """Return whether all files are there in the sizes that they were made in."""
    try:
        sizes = read_json(folder / MANIFEST, _SCHEMA)["sizes"]
        return bool(sizes == _sizes(folder))
    except (RecordError, KeyError, OSError):
        return False


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != MANIFEST}


def _make(folder: Path, make: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as name:
        work = Path(name) / "whole"
        work.mkdir()
        make(work)
        write_json(work / MANIFEST, {"sizes": _sizes(work)}, _SCHEMA)
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


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until no other process makes this folder; on a file system without locks the last one wins."""
    with folder.with_name(f".{folder.name}{LOCK}").open("a") as file:
        share(Path(file.name), folder.parent)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            log.warning("%s: this file system has no locks (%s)", file.name, (error.strerror or str(error)).lower())
        yield
