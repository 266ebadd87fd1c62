"""The template library as its readers see it: known chains by index, their sequences, atoms and what is known of them.

A library is a folder that `library.json` describes. There are two formats: backbones in blocks (`backbones`: the
embedded library) and all atoms in shards (`atom_library`: a library of one's own).
"""

import abc
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.residue_constants import ATOM37, ATOM37_ID
from pipeline.errors import LibraryError
from pipeline.library.manifest import ATOM_SCHEMA, schema_of

EMBEDDED = Path(__file__).resolve().parents[2] / "data" / "library"
BACKBONE = [ATOM37_ID[name] for name in ("N", "CA", "C", "O", "CB")]


class Facts(NamedTuple):
    """What is known of a chain's entry.

    Args:
        date: When it was released; None where that is not known.
        resolution: Angstrom; None where that is not known or there is none (NMR).
        method: As the entry says it, for example `X-RAY DIFFRACTION`; None where that is not known.
    """

    date: datetime.date | None = None
    resolution: float | None = None
    method: str | None = None


class Atoms(NamedTuple):
    """The atoms of a chain.

    Args:
        positions: Angstrom, 0 where an atom is not known, shape (residues, 37, 3), float32.
        mask: Which atoms are known, shape (residues, 37), bool.
    """

    positions: np.ndarray
    mask: np.ndarray


class TemplateLibrary(abc.ABC):
    """Known chains, by index in the order of the sequence database.

    Args:
        path: Its folder.
        name: Its name.
        version: Its version, safe in file names; it changes with the content.
        ids: PDB code, underscore, chain name.
        sequences: One-letter codes.
    """

    path: Path
    name: str
    version: str
    ids: Sequence[str]
    sequences: Sequence[str]

    @staticmethod
    def open(path: Path = EMBEDDED) -> "TemplateLibrary":
        """Open a library of either format: check versions, sizes and counts, and read all but the coordinates.

        Raises:
            LibraryError: A file is missing, damaged, of another version or of another library.
        """
        # Each format is a kind of this class, and so is imported when it is met.
        from pipeline.library.atom_library import AtomLibrary  # noqa: PLC0415
        from pipeline.library.backbones import BackboneLibrary  # noqa: PLC0415

        return (AtomLibrary if schema_of(path) == ATOM_SCHEMA else BackboneLibrary).read(path)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    @abc.abstractmethod
    def fasta(self) -> Path:
        """The sequence database: FASTA (gzip or not), one line for each sequence, in the order of the indices."""

    @abc.abstractmethod
    def index(self, chain_id: str) -> int:
        """Return the index of a chain such as `1CTF_A`.

        Raises:
            LibraryError: The library has no such chain.
        """

    def sequence(self, index: int) -> str:
        """Return the sequence of a chain."""
        return self.sequences[index]

    @abc.abstractmethod
    def held_out(self, index: int) -> bool:
        """Say whether an evaluation must leave the chain out."""

    def facts(self, index: int) -> Facts:  # noqa: ARG002 - a format that knows more says it
        """Return date, resolution and method of a chain's entry."""
        return Facts()

    @abc.abstractmethod
    def residue_numbers(self, index: int) -> np.ndarray:
        """Return the place of each residue in the deposited sequence (SEQRES), shape (residues,), from 1."""

    def author_numbers(self, index: int) -> tuple[str, ...]:
        """Return the author's number of each residue with its insertion code, empty where that is not known."""
        return ("",) * len(self.sequences[index])

    @abc.abstractmethod
    def atoms(self, index: int) -> Atoms:
        """Return the atoms of a chain; the pose may be the library's own.

        Raises:
            LibraryError: The coordinates of the chain are damaged.
        """

    def backbone(self, index: int) -> np.ndarray:
        """Return N, CA, C, O and CB of a chain, shape (residues, 5, 3), float32, angstrom, NaN where not known.

        Raises:
            LibraryError: The coordinates of the chain are damaged.
        """
        positions, mask = self.atoms(index)
        return np.where(mask[:, BACKBONE, None], positions[:, BACKBONE], np.float32(np.nan))

    @abc.abstractmethod
    def verify(self) -> None:
        """Compare the sha256 of every file with the manifest.

        Raises:
            LibraryError: A file has changed.
        """


def from_backbone(atoms: np.ndarray) -> Atoms:
    """Put N, CA, C, O and CB, shape (residues, 5, 3), angstrom, NaN where not known, to their places in atom37."""
    known = np.isfinite(atoms).all(-1)
    positions = np.zeros((len(atoms), len(ATOM37), 3), np.float32)
    mask = np.zeros((len(atoms), len(ATOM37)), bool)
    positions[:, BACKBONE] = np.where(known[..., None], atoms, 0)
    mask[:, BACKBONE] = known
    return Atoms(positions, mask)


def no_chain(library: TemplateLibrary, chain_id: str) -> LibraryError:
    """Return the error of a chain that a library has not."""
    return LibraryError(f"no chain {chain_id!r} in the library {library.name} {library.version}", str(library.path))
