"""A mirror of the PDB: which mmCIF files it has, and what became of obsolete entries."""

import contextlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import LibraryError

_MMCIF = re.compile(r"[^.].*\.(cif|mmcif)(\.gz)?", re.IGNORECASE | re.DOTALL)
_ENTRY = re.compile(r"(pdb_0000)?([0-9][a-z0-9]{3})", re.IGNORECASE)


class Stamp(NamedTuple):
    """What changes when a file changes: its size in bytes, and the time of the last change in nanoseconds."""

    size: int
    modified: int


def scan(mirror: Path) -> dict[str, Stamp]:
    """Find the mmCIF files below a folder, by path in the folder, sorted; hidden files are no part of a mirror.

    Raises:
        LibraryError: A folder cannot be read (its files must not look as if they had been removed), or there are none.
    """
    found: dict[str, Stamp] = {}
    for folder, _, names in os.walk(mirror, onerror=_unreadable):
        for name in names:
            path = Path(folder, name)
            stamp = _stamp(path) if _MMCIF.fullmatch(name) else None
            if stamp:
                found[path.relative_to(mirror).as_posix()] = stamp
    if not found:
        raise LibraryError("no mmCIF files (.cif, .cif.gz, .mmcif) in this folder", str(mirror), "correct --mmcif")
    return dict(sorted(found.items()))


def _stamp(path: Path) -> Stamp | None:
    """Return the stamp of a file; None for what is no file, or is gone by now."""
    with contextlib.suppress(FileNotFoundError):
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            return Stamp(status.st_size, status.st_mtime_ns)
    return None


def _unreadable(error: OSError) -> None:
    raise LibraryError(
        f"cannot read the folder ({(error.strerror or str(error)).lower()})",
        str(error.filename),
        "correct --mmcif or its permissions; the library is as it was",
    ) from error


def read_obsolete(path: Path) -> dict[str, str]:
    """Read the PDB's list of obsolete entries.

    Returns:
        The last successor of each obsolete entry, empty where it has none. Of several successors of one entry the
        first counts.

    Raises:
        LibraryError: The file cannot be read or is no such list.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise LibraryError(f"cannot read the list of obsolete entries ({reason})", str(path)) from error
    rows = [line.split()[2:] for line in lines if line.startswith("OBSLTE")]
    replaced = {
        _name(row[0]): _name(row[1]) if len(row) > 1 else "" for row in rows if row and _ENTRY.fullmatch(row[0])
    }
    if not replaced:
        raise LibraryError("expected the PDB's list of obsolete entries (lines that begin with OBSLTE)", str(path))
    return {entry: _last(entry, replaced) for entry in replaced}


def _last(entry: str, replaced: Mapping[str, str]) -> str:
    """Follow an entry to its last successor; a circle ends where it began."""
    seen = {entry}
    successor = replaced[entry]
    while successor in replaced and successor not in seen:
        seen.add(successor)
        successor = replaced[successor]
    return "" if successor == entry else successor


def _name(word: str) -> str:
    match = _ENTRY.fullmatch(word)
    return (match[2] if match else word).upper()
