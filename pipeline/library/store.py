"""The template library: known chains, their sequences and backbones, in one folder that opens at once.

library.json         name, version, source, counts, errors, and size and sha256 of the other files
sequences.fasta.gz   one record for each chain; also the sequence database that a search reads
backbones.npz        codes of `pipeline.backbone`, compressed in blocks of chains, and what is known of each chain
"""

import argparse
import dataclasses
import gzip
import hashlib
import logging
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from pipeline.errors import FoldlineError, LibraryError
from pipeline.library import backbone
from pipeline.library.source import PACKAGE, Chains, dump_structuredb, package_release, read_dump, read_held_out
from pipeline.records import atomic, read_json, read_npz, write_json

EMBEDDED = Path(__file__).resolve().parents[2] / "data" / "library"
MANIFEST, SEQUENCES, BACKBONES = "library.json", "sequences.fasta.gz", "backbones.npz"
DATA = (SEQUENCES, BACKBONES)
LIBRARY_SCHEMA, BACKBONES_SCHEMA = "foldline.library/1", "foldline.backbones/1"
BLOCK = 32  # chains that are compressed together: larger blocks are smaller on disk and slower to open
MEND = "fetch the files again (git checkout -- data/library) or run foldline library build"
SYSTEM_PYTHON = Path("/usr/bin/python3")

log = logging.getLogger(__name__)


class Manifest(NamedTuple):
    """What opening a library needs of its manifest.

    Args:
        name: Name of the library.
        version: Its version.
        chains: How many it holds.
        files: Size in bytes and sha256 of the other files.
    """

    name: str
    version: str
    chains: int
    files: dict[str, tuple[int, str]]


@dataclasses.dataclass(frozen=True, eq=False)
class TemplateLibrary:
    """Known chains, by index in the order of the sequence database.

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
    indices: Mapping[str, int] = dataclasses.field(repr=False)

    @classmethod
    def open(cls, path: Path = EMBEDDED) -> Self:
        """Open a library: check versions, sizes and counts, and read all but the coordinates.

        Raises:
            LibraryError: A file is missing, damaged, of another version or of another library.
        """
        manifest = _read_manifest(path)
        _check_sizes(path, manifest)
        ids, sequences = _read_sequences(path / SEQUENCES)
        arrays = _read_backbones(path / BACKBONES)
        if not len(ids) == len(arrays["first"]) == manifest.chains:
            found = f"{len(ids)} sequences and {len(arrays['first'])} backbones"
            raise LibraryError(f"expected {manifest.chains} chains, found {found}", str(path), MEND)
        return cls(
            path=path,
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

    def __len__(self) -> int:
        return len(self.ids)

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
            raise LibraryError(f"no chain {chain_id!r} in the library {self.name} {self.version}", str(self.path))
        return self.indices[chain_id]

    def sequence(self, index: int) -> str:
        """Return the sequence of a chain."""
        return self.sequences[index]

    def held_out(self, index: int) -> bool:
        """Say whether an evaluation must leave the chain out."""
        return bool(self.marked[index])

    def residue_numbers(self, index: int) -> np.ndarray:
        """Return the place of each residue in the deposited sequence (SEQRES), shape (residues,), from 1.

        ProMod3 counts so. The author's numbers are often the same, not always.
        """
        return np.arange(len(self.sequences[index]), dtype=np.int32) + self.first[index]

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
        manifest = _read_manifest(self.path)
        _check_sizes(self.path, manifest)
        for name, (_, expected) in manifest.files.items():
            found = _sha256(self.path / name)
            if found != expected:
                problem = f"expected sha256 {expected[:12]}..., found {found[:12]}..."
                raise LibraryError(problem, str(self.path / name), MEND)


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
    sums = {name: _sha256(folder / name) for name in DATA}
    content = hashlib.sha256("".join(sums.values()).encode()).hexdigest()
    manifest: dict[str, Any] = {
        **source,
        "version": f"{source['release']}-{content[:8]}",
        "chains": len(chains.ids),
        "residues": sum(map(len, chains.sequences)),
        "held_out": int(np.sum(chains.held_out)),
        "error_angstrom": _errors(chains, codes),
        "files": {name: {"bytes": (folder / name).stat().st_size, "sha256": sums[name]} for name in sums},
    }
    write_json(folder / MANIFEST, manifest, LIBRARY_SCHEMA)
    return manifest


def main(argv: Sequence[str] | None = None) -> int:
    """Run `foldline library build` or `foldline library verify`."""
    arguments = _parser().parse_args(argv)
    if arguments.action == "verify":
        TemplateLibrary.open(arguments.library).verify()
        log.info("%s is whole", arguments.library)
        return 0
    held_out = read_held_out(arguments.held_out)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.dump or Path(temporary)
        if not arguments.dump:
            log.info("dumping the StructureDB with %s (about a minute)", arguments.python)
            dump_structuredb(arguments.python, folder)
        manifest = write_library(arguments.output, read_dump(folder, held_out), _source(arguments.release))
    log.info("%s %s: %d chains", manifest["name"], manifest["version"], manifest["chains"])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="foldline library", description="Make or check a template library.")
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser("build", help="make the embedded library again")
    build.add_argument("--structuredb", action="store_true", required=True, help="from ProMod3's StructureDB (Debian)")
    build.add_argument("--output", type=Path, default=EMBEDDED, help="folder of the library (default: %(default)s)")
    build.add_argument("--python", type=Path, default=SYSTEM_PYTHON, help="Python with ProMod3 (default: %(default)s)")
    build.add_argument("--dump", type=Path, help="use this dump instead of making one")
    build.add_argument("--release", help="version of the data (default: that of the Debian package)")
    build.add_argument(
        "--held-out",
        type=Path,
        default=EMBEDDED / "held_out.txt",
        help="ids of chains that evaluations leave out, one a line (default: %(default)s)",
    )
    verify = actions.add_parser("verify", help="compare the files with their sha256")
    verify.add_argument("--library", type=Path, default=EMBEDDED, help="folder of the library (default: %(default)s)")
    return parser


def _source(release: str | None) -> dict[str, str]:
    return {
        "name": "structuredb",
        "release": release or package_release(),
        "source": f"ProMod3 StructureDB, Debian package {PACKAGE}",
        "licence": "coordinates: wwPDB, CC0-1.0; package: Apache-2.0",
    }


def _read_manifest(path: Path) -> Manifest:
    try:
        record = read_json(path / MANIFEST, LIBRARY_SCHEMA)
        files = {name: (int(record["files"][name]["bytes"]), str(record["files"][name]["sha256"])) for name in DATA}
        return Manifest(str(record["name"]), str(record["version"]), int(record["chains"]), files)
    except FoldlineError as error:
        raise LibraryError(error.problem, error.where, MEND) from error
    except (KeyError, TypeError, ValueError) as error:
        raise LibraryError(f"the manifest is damaged ({error!r})", str(path / MANIFEST), MEND) from error


def _check_sizes(path: Path, manifest: Manifest) -> None:
    for name, (expected, _) in manifest.files.items():
        file = path / name
        if not file.is_file():
            raise LibraryError("a file of the library is missing", str(file), MEND)
        if file.stat().st_size != expected:
            raise LibraryError(f"expected {expected} bytes, found {file.stat().st_size}", str(file), MEND)


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


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()
