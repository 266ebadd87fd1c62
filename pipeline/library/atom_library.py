"""A library of one's own: all atoms of many chains, of which only what is asked for is read.

library.json            name, version, counts, settings; size and sha256 of the other files
sequences-HASH.fasta    one record for each chain, sorted by id; also the sequence database that a search reads
chains-HASH.npz         what is known of each chain, and where its sequence and its atoms are
shards/                 the atoms (`pipeline.library.shards`)
"""

import dataclasses
import datetime
import hashlib
import mmap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, overload

import numpy as np

from pipeline.errors import FoldlineError, LibraryError
from pipeline.library.atoms import NO_NUMBER, ChainAtoms, aatype_of, unpack
from pipeline.library.manifest import ATOM_SCHEMA, MANIFEST, Manifest, entry_of, read_manifest, verify_sums
from pipeline.library.shards import ChainRecord, FileRecord, Shard, atoms_path, read_atoms
from pipeline.library.store import Atoms, Facts, TemplateLibrary, no_chain
from pipeline.records import atomic, read_json, read_npz, write_json

CHAINS_SCHEMA = "foldline.chains/1"
MEND = "run foldline library build again"
ARRAYS = (
    *("id", "sequence_start", "length", "shard", "start", "size", "date", "resolution", "method", "held_out"),
    *("methods", "shards", "obsolete", "successor"),
)


class Row(NamedTuple):
    """A chain that a library holds.

    Args:
        id: Entry, underscore, chain.
        file: What its entry says.
        chain: The chain.
        shard: Name of the shard that its atoms are in.
        held_out: Whether evaluations leave it out.
    """

    id: str
    file: FileRecord
    chain: ChainRecord
    shard: str
    held_out: bool


class _Texts(Sequence[str]):
    """Texts that are read one at a time."""

    def __init__(self, count: int, read: Callable[[int], str]) -> None:
        self._count, self._read = count, read

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return tuple(self._read(place) for place in range(self._count)[index])
        return self._read(range(self._count)[index])


@dataclasses.dataclass(frozen=True, eq=False)
class AtomLibrary(TemplateLibrary):
    """All atoms of known chains.

    Args:
        path: Its folder.
        name: Its name.
        version: Its version, safe in file names; it changes with the content.
        ids: Entry, underscore, chain name; sorted.
        sequences: Letters of all deposited residues.
        manifest: Sizes and sums of its files.
        arrays: What `ARRAYS` names.
    """

    path: Path
    name: str
    version: str
    ids: Sequence[str]
    sequences: Sequence[str]
    manifest: Manifest = dataclasses.field(repr=False)
    arrays: Mapping[str, np.ndarray] = dataclasses.field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Open the library in a folder.

        Raises:
            LibraryError: A file is missing, damaged, of another version or of another library.
        """
        manifest = read_manifest(path, ATOM_SCHEMA)
        arrays = _read_chains(path / _named(path, manifest, "index"))
        fasta = path / _named(path, manifest, "sequences")
        if len(arrays["id"]) != manifest.chains:
            raise LibraryError(f"expected {manifest.chains} chains, found {len(arrays['id'])}", str(path), MEND)
        with fasta.open("rb") as file:
            text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        ids, starts, lengths = arrays["id"], arrays["sequence_start"], arrays["length"]
        return cls(
            path=path,
            name=manifest.name,
            version=manifest.version,
            ids=_Texts(len(ids), lambda i: ids[i].decode()),
            sequences=_Texts(len(ids), lambda i: text[starts[i] : starts[i] + lengths[i]].decode("ascii")),
            manifest=manifest,
            arrays=arrays,
        )

    @property
    def fasta(self) -> Path:
        """The sequence database: plain FASTA, one line for each sequence, in the order of the indices."""
        return self.path / _named(self.path, self.manifest, "sequences")

    def index(self, chain_id: str) -> int:
        """Return the index of a chain such as `1CTF_A`; of an obsolete entry, that of its last successor.

        Raises:
            LibraryError: The library has no such chain.
        """
        entry, _, chain = chain_id.rpartition("_")
        for name in (chain_id, f"{self.successor(entry)}_{chain}"):
            place = _place(self.arrays["id"], name)
            if place is not None:
                return place
        raise no_chain(self, chain_id)

    def successor(self, entry: str) -> str:
        """Return the last successor of an obsolete entry, itself where it has none."""
        place = _place(self.arrays["obsolete"], entry)
        return entry if place is None else self.arrays["successor"][place].decode()

    def held_out(self, index: int) -> bool:
        """Say whether an evaluation must leave the chain out."""
        return bool(self.arrays["held_out"][index])

    def facts(self, index: int) -> Facts:
        """Return date, resolution and method of a chain's entry."""
        date, resolution = self.arrays["date"][index], float(self.arrays["resolution"][index])
        method = str(self.arrays["methods"][self.arrays["method"][index]])
        found = None if np.isnat(date) else datetime.date.fromisoformat(str(date))
        return Facts(found, None if np.isnan(resolution) else round(resolution, 3), method or None)

    def residue_numbers(self, index: int) -> np.ndarray:
        """Return the place of each residue in the deposited sequence (SEQRES), shape (residues,), from 1."""
        return np.arange(1, int(self.arrays["length"][index]) + 1, dtype=np.int32)

    def author_numbers(self, index: int) -> tuple[str, ...]:
        """Return the author's number of each residue with its insertion code, empty where that is not known."""
        chain = self._chain(index)
        pairs = zip(chain.numbers.tolist(), chain.insertions.tolist(), strict=True)
        return tuple("" if number == NO_NUMBER else f"{number}{chr(code).strip()}" for number, code in pairs)

    def atoms(self, index: int) -> Atoms:
        """Return the atoms of a chain in the pose of its entry, to `pipeline.library.atoms.LARGEST_ERROR`.

        Raises:
            LibraryError: The shard is damaged or gone.
        """
        return self._chain(index).atoms

    def verify(self) -> None:
        """Compare the sha256 of every file with the manifest.

        Raises:
            LibraryError: A file has changed.
        """
        verify_sums(self.path, self.manifest)

    def _chain(self, index: int) -> ChainAtoms:
        shard = str(self.arrays["shards"][self.arrays["shard"][index]])
        packed = read_atoms(self.path, shard, int(self.arrays["start"][index]), int(self.arrays["size"][index]))
        try:
            return unpack(packed, aatype_of(self.sequences[index]))
        except ValueError as error:
            where = f"{self.path / atoms_path(shard)} ({self.ids[index]})"
            raise LibraryError(f"the atoms are damaged ({error})", where, MEND) from error


def write_index(
    folder: Path, rows: Sequence[Row], shards: Sequence[Shard], successors: Mapping[str, str], record: Mapping[str, Any]
) -> dict[str, Any]:
    """Write sequences and index of a library whose shards are there, then its manifest, then remove older ones.

    Args:
        folder: Of the library.
        rows: Its chains, sorted by id.
        shards: Where their atoms are.
        successors: Last successors of obsolete entries.
        record: `name`, `release` and what else the manifest shall say.

    Returns:
        The manifest. Where nothing has changed, its file stays as it is.
    """
    starts, fasta = _write_sequences(folder, rows)
    chains = _write_chains(folder, rows, starts, shards, successors)
    content = hashlib.sha256("".join(f"{row.id} {_known(row)}\n" for row in rows).encode())
    content.update(repr(sorted(successors.items())).encode())
    files = {name: entry_of(folder / name) for name in (fasta, chains)}
    files |= {atoms_path(shard.name): {"bytes": shard.size, "sha256": shard.sha256} for shard in shards}
    manifest = {
        **record,
        "version": f"{record['release']}-{content.hexdigest()[:8]}",
        "chains": len(rows),
        "residues": sum(len(row.chain.sequence) for row in rows),
        "held_out": sum(row.held_out for row in rows),
        "sequences": fasta,
        "index": chains,
        "files": files,
    }
    if _current(folder) != {"schema": ATOM_SCHEMA, **manifest}:  # its time says that there is something new
        write_json(folder / MANIFEST, manifest, ATOM_SCHEMA)
    for path in (*folder.glob("sequences-*.fasta"), *folder.glob("chains-*.npz")):
        if path.name not in files:
            path.unlink()
    return manifest


def _known(row: Row) -> str:
    file = row.file
    return f"{row.chain.digest} {file.date} {file.resolution} {file.method} {row.held_out}"


def _current(folder: Path) -> dict[str, Any]:
    try:
        return read_json(folder / MANIFEST, ATOM_SCHEMA)
    except FoldlineError:
        return {}


def _write_sequences(folder: Path, rows: Sequence[Row]) -> tuple[np.ndarray, str]:
    """Write the sequences and return where each starts, and the file's name, which follows from its content."""
    digest = hashlib.sha256()
    starts, place = np.zeros(len(rows), np.int64), 0
    temporary_name = folder / "sequences.fasta"
    with atomic(temporary_name) as temporary, temporary.open("wb") as file:
        for index, row in enumerate(rows):
            text = f">{row.id}\n{row.chain.sequence}\n".encode("ascii")
            starts[index] = place + len(row.id) + 2
            place += file.write(text)
            digest.update(text)
    name = f"sequences-{digest.hexdigest()[:12]}.fasta"
    temporary_name.replace(folder / name)
    return starts, name


def _write_chains(
    folder: Path, rows: Sequence[Row], starts: np.ndarray, shards: Sequence[Shard], successors: Mapping[str, str]
) -> str:
    methods = sorted({row.file.method for row in rows})
    shard_names = [shard.name for shard in shards]
    places, kinds = ({name: place for place, name in enumerate(names)} for names in (shard_names, methods))
    resolutions = [np.nan if row.file.resolution is None else row.file.resolution for row in rows]
    obsolete = sorted(successors.items())
    arrays = {
        "id": np.array([row.id.encode() for row in rows], np.bytes_),
        "sequence_start": starts,
        "length": np.array([len(row.chain.sequence) for row in rows], np.int32),
        "shard": np.array([places[row.shard] for row in rows], np.int32),
        "start": np.array([row.chain.start for row in rows], np.int64),
        "size": np.array([row.chain.size for row in rows], np.int32),
        "date": np.array([row.file.date or "NaT" for row in rows], "datetime64[D]"),
        "resolution": np.array(resolutions, np.float32),
        "method": np.array([kinds[row.file.method] for row in rows], np.int32),
        "held_out": np.array([row.held_out for row in rows], bool),
        "methods": np.array(methods, np.str_),
        "shards": np.array(shard_names, np.str_),
        "obsolete": np.array([old.encode() for old, _ in obsolete], np.bytes_),
        "successor": np.array([new.encode() for _, new in obsolete], np.bytes_),
    }
    plain = folder / "chains.npz"
    with atomic(plain) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, schema=np.array(CHAINS_SCHEMA), **arrays)
    name = f"chains-{entry_of(plain)['sha256'][:12]}.npz"
    plain.replace(folder / name)
    return name


def _read_chains(path: Path) -> dict[str, np.ndarray]:
    try:
        arrays = read_npz(path, CHAINS_SCHEMA)
    except FoldlineError as error:
        raise LibraryError(error.problem, error.where, MEND) from error
    missing = sorted(set(ARRAYS) - set(arrays))
    if missing:
        raise LibraryError(f"expected the array {missing[0]!r}", str(path), MEND)
    return arrays


def _named(folder: Path, manifest: Manifest, what: str) -> str:
    """Return the name of a file that the manifest names."""
    name = manifest.record.get(what)
    if name not in manifest.files:
        raise LibraryError(f"the manifest names no file for {what!r}", str(folder / MANIFEST), MEND)
    return str(name)


def _place(sorted_names: np.ndarray, name: str) -> int | None:
    """Return where a name is among sorted ones, None where it is not."""
    word = name.encode("utf-8", "replace")
    place = int(np.searchsorted(sorted_names, word)) if len(sorted_names) else 0
    return place if place < len(sorted_names) and sorted_names[place] == word else None
