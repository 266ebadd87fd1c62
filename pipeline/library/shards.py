"""Shards: what was read of some files of a mirror, in two files that are named by their content and never change.

shards/NAME.atoms     the coded atoms of all chains (`pipeline.library.atoms`), one after the other
shards/NAME.json.gz   what is known of each file: size, time, and its entry and chains or why it cannot be used

The record is written after the atoms and so says that the shard is complete. Shards are also the journal of a build:
what they hold need not be read again.
"""

import dataclasses
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import LibraryError
from pipeline.records import atomic

FOLDER = "shards"
SCHEMA = "foldline.shard/1"
READER = 1
"""Part of every shard: raise it when the same file gives something else, and all files are read again."""
ENTRIES = 256  # files of a shard: what a killed build loses is at most one shard for each process
_ATOMS, _RECORD = ".atoms", ".json.gz"


@dataclasses.dataclass(frozen=True, slots=True)
class ChainRecord:
    """A chain in a shard.

    Args:
        name: The author's name.
        sequence: Letters of all residues that were deposited.
        observed: How many residues of a known type have a CA.
        start: Where its coded atoms start in the shard, bytes.
        size: Their length in bytes.
        digest: Of its atoms and sequence.
    """

    name: str
    sequence: str
    observed: int
    start: int
    size: int
    digest: str


@dataclasses.dataclass(frozen=True, slots=True)
class FileRecord:
    """A file of the mirror.

    Args:
        path: In the mirror, with `/` between folders.
        size: Bytes.
        modified: Time of its last change in nanoseconds.
        problem: Why it cannot be used; empty where it can.
        passing: Whether the problem may be one of the machine and not of the file, which is then read again.
        entry: Name of its entry.
        date: Release, as 2024-05-17; empty where not known.
        resolution: Angstrom.
        method: As the entry says it; empty where not known.
        chains: Its chains.
    """

    path: str
    size: int
    modified: int
    problem: str = ""
    passing: bool = False
    entry: str = ""
    date: str = ""
    resolution: float | None = None
    method: str = ""
    chains: tuple[ChainRecord, ...] = ()


@dataclasses.dataclass(frozen=True)
class Shard:
    """A shard that is complete.

    Args:
        name: Its name.
        sha256: Of its atoms.
        size: Of its atoms, bytes.
        files: What it holds.
    """

    name: str
    sha256: str
    size: int
    files: tuple[FileRecord, ...]


def atoms_path(name: str) -> str:
    """Return where the atoms of a shard are in the library's folder."""
    return f"{FOLDER}/{name}{_ATOMS}"


def digest_of(packed: bytes, sequence: str) -> str:
    """Return the digest of a chain."""
    return hashlib.sha256(packed + sequence.encode()).hexdigest()[:24]


def write_shard(library: Path, contents: Iterable[tuple[FileRecord, Sequence[bytes]]]) -> str:
    """Write a shard and return its name.

    Args:
        library: Folder of the library.
        contents: Files, each with the coded atoms of its chains; where they start is set here.
    """
    files, atoms, start = [], [], 0
    for file, packed in contents:
        chains = []
        for chain, part in zip(file.chains, packed, strict=True):
            chains.append(dataclasses.replace(chain, start=start, size=len(part)))
            atoms.append(part)
            start += len(part)
        files.append(dataclasses.replace(file, chains=tuple(chains)))
    body = b"".join(atoms)
    rows = [{**_as_dict(file), "chains": [list(_as_dict(chain).values()) for chain in file.chains]} for file in files]
    record = {"schema": SCHEMA, "reader": READER, "sha256": hashlib.sha256(body).hexdigest(), "size": start}
    text = json.dumps({**record, "files": rows}, allow_nan=False).encode()
    name = hashlib.sha256(text).hexdigest()[:16]
    with atomic(library / atoms_path(name)) as temporary:
        temporary.write_bytes(body)
    with atomic(library / FOLDER / f"{name}{_RECORD}") as temporary:
        temporary.write_bytes(gzip.compress(text, compresslevel=6, mtime=0))
    return name


def read_shard(library: Path, name: str) -> Shard | None:
    """Read the record of a shard; None where it is damaged, incomplete or of another reader."""
    try:
        record = json.loads(gzip.decompress((library / FOLDER / f"{name}{_RECORD}").read_bytes()))
        if (record["schema"], record["reader"]) != (SCHEMA, READER):
            return None
        if (library / atoms_path(name)).stat().st_size != record["size"]:
            return None
        files = tuple(_file_of(row) for row in record["files"])
        return Shard(name, str(record["sha256"]), int(record["size"]), files)
    except (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error):
        return None


def read_shards(library: Path) -> list[Shard]:
    """Read the records of all shards that are complete, by name."""
    names = sorted(path.name.removesuffix(_RECORD) for path in (library / FOLDER).glob(f"*{_RECORD}"))
    return [shard for name in names if (shard := read_shard(library, name))]


def read_atoms(library: Path, shard: str, start: int, size: int) -> bytes:
    """Return the coded atoms of a chain.

    Raises:
        LibraryError: The shard is not there: an update may have removed it.
    """
    path = library / atoms_path(shard)
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(size)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        mend = "if the library was updated meanwhile, run the search again"
        raise LibraryError(f"cannot read the shard ({reason})", str(path), mend) from error


def remove_others(library: Path, kept: Iterable[str]) -> None:
    """Remove all shards but some, and what a killed build left behind."""
    names = set(kept)
    for path in (library / FOLDER).glob("*"):
        name = path.name.removesuffix(_RECORD).removesuffix(_ATOMS)
        if name not in names:
            path.unlink(missing_ok=True)
    for path in (*library.glob(".*.tmp"), *(library / FOLDER).glob(".*.tmp")):
        path.unlink(missing_ok=True)


def _as_dict(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def _file_of(row: dict[str, Any]) -> FileRecord:
    chains = tuple(ChainRecord(*chain) for chain in row.pop("chains"))
    return FileRecord(**row, chains=chains)
