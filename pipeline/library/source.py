"""Where the embedded library comes from: ProMod3's StructureDB, dumped by the Python that has it."""

import dataclasses
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.errors import LibraryError
from pipeline.library import structuredb

PACKAGE = "promod3-data"
DUMP_FILES = ("ids", "offsets", "start", "sequence", "backbone")


@dataclasses.dataclass(frozen=True)
class Chains:
    """Chains as a library is made of them.

    Args:
        ids: PDB code, underscore, chain name; unique.
        sequences: One-letter codes.
        backbones: Positions of N, CA, C and O for each chain, shape (residues, 4 or more, 3), angstrom.
        first: Number of the first residue in the deposited sequence (SEQRES), from 1.
        held_out: Chains that an evaluation must not use.
    """

    ids: Sequence[str]
    sequences: Sequence[str]
    backbones: Sequence[np.ndarray]
    first: np.ndarray
    held_out: np.ndarray


def dump_structuredb(python: Path, folder: Path) -> None:
    """Dump ProMod3's StructureDB by the Python that has ProMod3.

    Raises:
        LibraryError: That Python or ProMod3 is missing, or the dump failed.
    """
    mend = "install the Debian packages python3-promod3 and promod3-data, or give --python"
    try:
        subprocess.run([python, structuredb.__file__, folder], check=True, capture_output=True, text=True)
    except OSError as error:
        raise LibraryError(f"cannot run the system's Python: {error.strerror}", str(python), mend) from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise LibraryError(f"cannot dump the StructureDB: {last}", str(python), mend) from error


def read_dump(folder: Path, held_out: frozenset[str]) -> Chains:
    """Read the files that `pipeline.library.structuredb` writes.

    Raises:
        LibraryError: A file is missing or damaged, or a chain that is held out does not occur.
    """
    try:
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in DUMP_FILES}
    except (OSError, ValueError, EOFError) as error:
        raise LibraryError(f"expected a dump of the StructureDB: {error}", str(folder), "run the dump again") from error
    ids = arrays["ids"].tolist()
    unknown = sorted(held_out - set(ids))
    if unknown:
        raise LibraryError(f"{len(unknown)} chains to hold out are not in the StructureDB, such as {unknown[0]!r}")
    text = arrays["sequence"].tobytes().decode("ascii")
    bounds = list(zip(arrays["offsets"][:-1], arrays["offsets"][1:], strict=True))
    return Chains(
        ids=ids,
        sequences=[text[start:end] for start, end in bounds],
        backbones=[arrays["backbone"][start:end] for start, end in bounds],
        first=np.array(arrays["start"]),
        held_out=np.isin(arrays["ids"], list(held_out)),
    )


def read_held_out(path: Path) -> frozenset[str]:
    """Read ids of chains, one a line, `#` before a comment.

    Raises:
        LibraryError: The file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LibraryError(f"cannot read the chains to hold out: {error}", str(path)) from error
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def package_release() -> str:
    """Return the version of the Debian package that holds the StructureDB.

    Raises:
        LibraryError: The package is not installed, or this is no Debian.
    """
    query = ["dpkg-query", "--show", "--showformat=${Version}", PACKAGE]
    try:
        return subprocess.run(query, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise LibraryError(f"cannot ask for the version of {PACKAGE}", mend="give --release") from error
