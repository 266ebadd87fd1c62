"""A library of backbones, as the embedded one: three files that open at once.

library.json         name, version, source, counts, errors, and size and sha256 of the other files
sequences.fasta.gz   one record for each chain; also the sequence database that a search reads
backbones.npz        codes of `pipeline.library.backbone`, packed in blocks of chains, and what is known of each chain
"""

import dataclasses
import gzip
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from pipeline.errors import FoldlineError, LibraryError
from pipeline.library import backbone
from pipeline.library.manifest import (
    BACKBONE_SCHEMA,
    MANIFEST,
    MEND,
    Manifest,
    entry_of,
    read_manifest,
    sha256_of,
    verify_sums,
)
from pipeline.library.source import Chains
from pipeline.library.store import Atoms, TemplateLibrary, from_backbone, no_chain
from pipeline.records import atomic, read_npz, write_json

SEQUENCES, BACKBONES = "sequences.fasta.gz", "backbones.npz"
DATA = (SEQUENCES, BACKBONES)
BACKBONES_SCHEMA = "foldline.backbones/1"
BLOCK = 32  # chains that are compressed together: larger blocks are smaller on disk and slower to open


@dataclasses.dataclass(frozen=True, eq=False)
class BackboneLibrary(TemplateLibrary):
    """Backbones of known chains.

    Args:
        path: Its folder.
        name: Its name.
        version: Its version, safe in file names; it changes with the content.
        ids: PDB code, underscore, chain name.
        sequences: One-letter codes.
        blocks: Compressed codes of the backbones, one block after the other, uint8.
        block_ends: Where each block ends.
        first: Number of each chain's first residue in the deposited sequence (SEQRES), from 1.
        marked: Chains that an evaluation must not use.
        manifest: Sizes and sums of its files.
        indices: The index of each id.
    """

    path: Path
    name: str
    version: str
    ids: tuple[str, ...]
    sequences: tuple[str, ...]
    blocks: np.ndarray
    block_ends: np.ndarray
    first: np.ndarray
    marked: np.ndarray
    manifest: Manifest = dataclasses.field(repr=False)
    indices: Mapping[str, int] = dataclasses.field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Open the library in a folder.

        Raises:
            LibraryError: A file is missing, damaged, of another version or of another library.
        """
        manifest = read_manifest(path, BACKBONE_SCHEMA, DATA)
        ids, sequences = _read_sequences(path / SEQUENCES)
        arrays = _read_backbones(path / BACKBONES)
        if not len(ids) == len(arrays["first"]) == manifest.chains:
            found = f"{len(ids)} sequences and {len(arrays['first'])} backbones"
            raise LibraryError(f"expected {manifest.chains} chains, found {found}", str(path), MEND)
        return cls(
            path=path,
            manifest=manifest,
            name=manifest.name,
            version=manifest.version,
            ids=ids,
            sequences=sequences,
            blocks=arrays["blocks"],
            block_ends=arrays["block_ends"],
            first=arrays["first"],
            marked=arrays["held_out"],
            indices={chain_id: index for index, chain_id in enumerate(ids)},
        )

    @property
    def fasta(self) -> Path:
        """The sequence database: gzip-compressed FASTA, one line for each sequence, in the order of the indices."""
        return self.path / SEQUENCES

    def index(self, chain_id: str) -> int:
        """Return the index of a chain such as `1CTF_A`.

        Raises:
            LibraryError: The library has no such chain.
        """
        if chain_id not in self.indices:
            raise no_chain(self, chain_id)
        return self.indices[chain_id]

    def held_out(self, index: int) -> bool:
        """Say whether an evaluation must leave the chain out."""
        return bool(self.marked[index])

    def residue_numbers(self, index: int) -> np.ndarray:
        """Return the place of each residue in the deposited sequence (SEQRES), shape (residues,), from 1.

        ProMod3 counts so. The author's numbers are often the same, not always.
        """
        return np.arange(len(self.sequences[index]), dtype=np.int32) + self.first[index]

    def atoms(self, index: int) -> Atoms:
        """Return N, CA, C, O and CB of a chain at their places in atom37.

        Raises:
            LibraryError: The block of the chain is damaged.
        """
        return from_backbone(self.backbone(index))

    def backbone(self, index: int) -> np.ndarray:
        """Return N, CA, C, O and CB of a chain, shape (residues, 5, 3), float32, angstrom; the CB of glycine is NaN.

        The pose is the library's own: the first N is at the origin.

        Raises:
            LibraryError: The block of the chain is damaged.
        """
        block, place = divmod(index, BLOCK)
        lengths = [len(sequence) for sequence in self.sequences[block * BLOCK : (block + 1) * BLOCK]]
        start, end = self.block_ends[block - 1] if block else 0, self.block_ends[block]
        try:
            code = backbone.unpack(self.blocks[start:end].tobytes(), sum(lengths))
        except ValueError as error:
            where = f"{self.path / BACKBONES} ({self.ids[index]})"
            raise LibraryError(f"the backbone is damaged ({error})", where, MEND) from error
        first = sum(lengths[:place])
        atoms = backbone.decode(code[first : first + lengths[place]])
        atoms[np.frombuffer(self.sequences[index].encode(), "S1") == b"G", -1] = np.nan
        return atoms

    def verify(self) -> None:
        """Compare the sha256 of every file with the manifest.

        Raises:
            LibraryError: A file has changed.
        """
        verify_sums(self.path, self.manifest)


def write_library(folder: Path, chains: Chains, source: Mapping[str, str]) -> dict[str, Any]:
    """Encode chains and write the three files of a library.

    Args:
        folder: Where the files go.
        chains: What goes into it.
        source: `name`, `release` (of the data, part of the version) and free text such as `licence`.

    Returns:
        The manifest: counts, largest and root mean square error for each atom in angstrom, sizes and sha256.
    """
    codes = backbone.encode([atoms[:, :4] for atoms in chains.backbones])
    blocks = [backbone.pack(np.concatenate(codes[first : first + BLOCK])) for first in range(0, len(codes), BLOCK)]
    arrays = {
        "blocks": np.frombuffer(b"".join(blocks), np.uint8),
        "block_ends": np.cumsum([len(block) for block in blocks]),
        "first": np.asarray(chains.first, np.int32),
        "held_out": np.asarray(chains.held_out, bool),
    }
    _write_backbones(folder / BACKBONES, arrays)
    _write_sequences(folder / SEQUENCES, chains.ids, chains.sequences)
    sums = {name: sha256_of(folder / name) for name in DATA}
    content = hashlib.sha256("".join(sums.values()).encode()).hexdigest()
    manifest: dict[str, Any] = {
        **source,
        "version": f"{source['release']}-{content[:8]}",
        "chains": len(chains.ids),
        "residues": sum(map(len, chains.sequences)),
        "held_out": int(np.sum(chains.held_out)),
        "error_angstrom": _errors(chains, codes),
        "files": {name: entry_of(folder / name) for name in DATA},
    }
    write_json(folder / MANIFEST, manifest, BACKBONE_SCHEMA)
    return manifest


def _read_sequences(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        lines = gzip.decompress(path.read_bytes()).decode("ascii").split()
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise LibraryError(f"the sequences are damaged ({error})", str(path), MEND) from error
    return tuple(line[1:] for line in lines[::2]), tuple(lines[1::2])


def _read_backbones(path: Path) -> dict[str, np.ndarray]:
    try:
        arrays = read_npz(path, BACKBONES_SCHEMA)
    except FoldlineError as error:
        raise LibraryError(error.problem, error.where, MEND) from error
    missing = {"blocks", "block_ends", "first", "held_out"} - set(arrays)
    if missing:
        raise LibraryError(f"expected the array {min(missing)!r}", str(path), MEND)
    return arrays


def _write_backbones(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an npz whose members are stored as they are: the blocks are compressed already, and opening is quicker."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, schema=np.array(BACKBONES_SCHEMA), **arrays)


def _write_sequences(path: Path, ids: Sequence[str], sequences: Sequence[str]) -> None:
    text = "".join(f">{chain_id}\n{sequence}\n" for chain_id, sequence in zip(ids, sequences, strict=True))
    with atomic(path) as temporary:
        temporary.write_bytes(gzip.compress(text.encode("ascii"), compresslevel=9, mtime=0))


def _errors(chains: Chains, codes: Sequence[np.ndarray]) -> dict[str, dict[str, float]]:
    """Return the largest and the root mean square distance between source and library for each coded atom."""
    pairs = zip(chains.backbones, codes, strict=True)
    squares = np.concatenate([_squared_distances(atoms, code) for atoms, code in pairs])
    return {
        atom: {"largest": round(float(np.sqrt(column.max())), 4), "rms": round(float(np.sqrt(column.mean())), 4)}
        for atom, column in zip(("N", "CA", "C", "O"), squares.T, strict=True)
    }


def _squared_distances(atoms: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Return squared distances after the best rigid superposition, shape (residues, 4)."""
    expected = atoms[:, :4].astype(np.float64).reshape(-1, 3)
    found = backbone.decode(code)[:, :4].astype(np.float64).reshape(-1, 3)
    expected, found = expected - expected.mean(0), found - found.mean(0)
    left, _, right = np.linalg.svd(found.T @ expected)
    mirror = np.diag([1, 1, np.sign(np.linalg.det(left @ right))])
    return np.sum((found @ left @ mirror @ right - expected) ** 2, axis=-1).reshape(-1, 4)
