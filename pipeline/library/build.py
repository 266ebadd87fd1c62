"""Make or update a library from a mirror of the PDB.

Only files that are new or changed since the last build are read, in several processes; each process writes shards, so
that a build that was killed goes on where it stopped. What is published (index and manifest) is made of all shards and
replaced at the end: until then readers see the library as it was.
"""

import dataclasses
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, LibraryError
from pipeline.library import clusters
from pipeline.library.atom_library import Row, write_index
from pipeline.library.atoms import STEP
from pipeline.library.manifest import ATOM_SCHEMA, MANIFEST, schema_of
from pipeline.library.mirror import Stamp, read_obsolete, scan
from pipeline.library.reading import Batch, Places, read_batches
from pipeline.library.shards import (
    ENTRIES,
    FileRecord,
    Shard,
    read_atoms,
    read_shard,
    read_shards,
    remove_others,
    write_shard,
)
from pipeline.lock import alone
from pipeline.progress import tracked
from pipeline.records import write_text

PROBLEMS = "problems.tsv"
LICENCE = "coordinates: wwPDB, CC0-1.0, where the mirror is one of the PDB"
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,31}")

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Options:
    """How to make a library.

    Args:
        mirror: Folder of mmCIF files.
        library: Folder of the library.
        processes: Processes that read.
        obsolete: The PDB's list of obsolete entries; None for none.
        identity: Identity of the clusters of which one chain each is kept, 0 to keep all chains.
        held_out: Ids of chains that evaluations leave out.
        name: Name of the library.
        release: Of the data, part of the version; empty for the newest date of an entry.
        min_residues: Chains with fewer observed residues are left out.
    """

    mirror: Path
    library: Path
    processes: int = 1
    obsolete: Path | None = None
    identity: float = 0.0
    held_out: frozenset[str] = frozenset()
    name: str = "own"
    release: str = ""
    min_residues: int = 10


def build(options: Options) -> dict[str, Any]:
    """Make or update a library and return its manifest.

    Raises:
        ConfigError: An option is out of range.
        LibraryError: The folder holds something else or is being changed by another process, the mirror cannot be
            read, or nothing in it can be used.
    """
    _check(options)
    successors = read_obsolete(options.obsolete) if options.obsolete else {}
    files = scan(options.mirror)
    with alone(options.library, "library build", LibraryError):
        shards = _read_new(options, files)
        shards = _compacted(options.library, shards, files)
        manifest = _publish(options, shards, successors, files)
        remove_others(options.library, (shard.name for shard in shards))
    return manifest


def live(shards: Iterable[Shard], files: Mapping[str, Stamp]) -> dict[str, tuple[Shard, FileRecord]]:
    """Return the record of each file that is still as it was read, by path; the last one where a problem may pass."""
    found: dict[str, tuple[Shard, FileRecord]] = {}
    for shard in shards:
        for file in shard.files:
            known = found.get(file.path)
            if files.get(file.path) == (file.size, file.modified) and (known is None or known[1].passing):
                found[file.path] = (shard, file)
    return found


def _check(options: Options) -> None:
    for what, word in (("--name", options.name), ("--release", options.release or "0")):
        if not _SAFE.fullmatch(word):
            raise ConfigError(f"{what} cannot be {word!r}", mend="use letters, digits and . _ + -")
    for flag, value in (("--cores", options.processes), ("--min-residues", options.min_residues)):
        if value < 1:
            raise ConfigError(f"{flag} must be at least 1, found {value}")
    if options.identity:
        clusters.check_clustering(options.identity)
    if (options.library / MANIFEST).exists() and schema_of(options.library) != ATOM_SCHEMA:
        raise LibraryError("this folder holds a library of another kind", str(options.library), "give another --output")


def _read_new(options: Options, files: Mapping[str, Stamp]) -> list[Shard]:
    """Read what is new or changed, or could not be read; return all shards, old and new.

    Raises:
        LibraryError: What was read is not there.
    """
    shards = read_shards(options.library)
    known = {path for path, (_, file) in live(shards, files).items() if not file.passing}
    new = [(path, stamp) for path, stamp in files.items() if path not in known]
    log.info("%d mmCIF files, %d of them to read", len(files), len(new))
    size = min(ENTRIES, max(16, -(-len(new) // (4 * options.processes))))
    batches: list[Batch] = [tuple(new[first : first + size]) for first in range(0, len(new), size)]
    written = set()
    with tracked("read", len(new), "files") as tracker:
        for name, count in read_batches(Places(options.mirror, options.library), batches, options.processes):
            written.add(name)
            tracker.advance(count)
    written -= {shard.name for shard in shards}
    shards += [shard for name in sorted(written) if (shard := read_shard(options.library, name))]
    if lost := files.keys() - live(shards, files).keys():
        problem = f"{len(lost)} files were read and are in no shard, such as {min(lost)!r}"
        raise LibraryError(problem, str(options.library), "check the disk, then build again")
    return shards


def _compacted(library: Path, shards: Sequence[Shard], files: Mapping[str, Stamp]) -> list[Shard]:
    """Put what is left of shards that are less than half full together; leave out shards of which nothing is left."""
    alive: dict[str, list[FileRecord]] = {shard.name: [] for shard in shards}
    for shard, file in live(shards, files).values():
        alive[shard.name].append(file)
    small = [shard for shard in shards if 0 < len(alive[shard.name]) < ENTRIES // 2]
    kept = [shard for shard in shards if len(alive[shard.name]) >= ENTRIES // 2]
    if len(small) < 2 and all(len(alive[shard.name]) == len(shard.files) for shard in small):
        return kept + small
    rows = sorted(((file, shard.name) for shard in small for file in alive[shard.name]), key=lambda row: row[0].path)
    for first in range(0, len(rows), ENTRIES):
        name = write_shard(library, (_with_atoms(library, *row) for row in rows[first : first + ENTRIES]))
        merged = read_shard(library, name)
        if merged is None:
            raise LibraryError("a shard that was just written cannot be read", str(library), "check the disk")
        kept.append(merged)
    return kept


def _with_atoms(library: Path, file: FileRecord, shard: str) -> tuple[FileRecord, list[bytes]]:
    return file, [read_atoms(library, shard, chain.start, chain.size) for chain in file.chains]


def _publish(
    options: Options, shards: Sequence[Shard], successors: Mapping[str, str], files: Mapping[str, Stamp]
) -> dict[str, Any]:
    """Choose what the library holds, list what cannot be used, and write index and manifest."""
    records = live(shards, files)
    entries, problems = _entries(records, successors)
    rows = _rows(options, entries)
    _write_problems(options.library, problems)
    if not rows:
        raise LibraryError(
            f"no protein chain in {len(files)} files", str(options.mirror), f"see {options.library / PROBLEMS}"
        )
    dates = [row.file.date for row in rows if row.file.date]
    record = {
        "name": options.name,
        "release": options.release or max(dates, default="undated"),
        "source": "mmCIF files, read by foldline library build",
        "licence": LICENCE,
        "entries": len({row.file.entry for row in rows}),
        "problems": len(problems),
        "cluster_identity": options.identity or None,
        "min_residues": options.min_residues,
        "grid_angstrom": STEP,
    }
    followed = {old: new for old, new in successors.items() if new in entries}
    used = sorted({row.shard for row in rows})
    return write_index(options.library, rows, [shard for shard in shards if shard.name in used], followed, record)


def _entries(
    records: Mapping[str, tuple[Shard, FileRecord]], successors: Mapping[str, str]
) -> tuple[dict[str, tuple[Shard, FileRecord]], dict[str, str]]:
    """Return one file for each entry, and why the others are left out, by path."""
    entries: dict[str, tuple[Shard, FileRecord]] = {}
    problems: dict[str, str] = {}
    for path, (shard, file) in sorted(records.items()):
        if file.problem:
            problems[path] = file.problem
        elif file.entry in entries:
            problems[path] = f"the entry {file.entry} is in {entries[file.entry][1].path} already"
        else:
            entries[file.entry] = (shard, file)
    for old in sorted(set(entries) & set(successors)):
        if not successors[old] or successors[old] in entries:
            reason = f"obsolete, replaced by {successors[old]}" if successors[old] else "obsolete, without successor"
            problems[entries.pop(old)[1].path] = reason
    return entries, problems


def _rows(options: Options, entries: Mapping[str, tuple[Shard, FileRecord]]) -> list[Row]:
    """Return the chains of a library, sorted by id: those with enough residues, of each cluster one."""
    rows = []
    for name, (shard, file) in entries.items():
        for chain in file.chains:
            if chain.observed >= options.min_residues:
                chain_id = f"{name}_{chain.name}"
                rows.append(Row(chain_id, file, chain, shard.name, chain_id in options.held_out))
    unknown = sorted(options.held_out - {row.id for row in rows})
    if unknown:
        log.warning("%d chains to hold out are not in the mirror, such as %r", len(unknown), unknown[0])
    if options.identity and rows:
        members = [clusters.Member(row.id, row.chain.sequence, row.chain.observed, row.file.resolution) for row in rows]
        kept = clusters.representatives(members, options.identity, options.processes)
        log.info("%d clusters of %d chains", len(kept), len(rows))
        rows = [row for row in rows if row.id in kept]
    return sorted(rows, key=lambda row: row.id)


def _write_problems(library: Path, problems: Mapping[str, str]) -> None:
    """List the files that are not used, one a line: path and reason, both without anything that a terminal obeys."""
    lines = [f"{_printable(path)}\t{_printable(reason)}\n" for path, reason in sorted(problems.items())]
    write_text(library / PROBLEMS, "".join(["file\treason\n", *lines]))
    if problems:
        log.warning("%d files are not used; %s says why", len(problems), library / PROBLEMS)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def default_processes() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
