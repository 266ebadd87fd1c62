"""Read the statistics of torsions that `training/quality_statistics.py` made."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.records import read_npz

FILE = Path(__file__).with_name("statistics.npz")
SCHEMA = "foldline.quality_statistics/1"
STEP = 0.05  # of the logarithms of densities, which are kept as one byte each


@dataclasses.dataclass(frozen=True, eq=False)
class ChiTables:
    """Logarithms of densities of the side-chain torsions of one residue type.

    Args:
        tables: Of chi 1, or of chi 1 and 2, then of each further torsion (columns) and the one before it (rows); cells
            of 5 degrees from -180 on.
        quantiles: Log density below which 0, 1, 2 ... thousandths of the reference's residues lie, shape (quantiles,).
    """

    tables: tuple[np.ndarray, ...]
    quantiles: np.ndarray

    @property
    def torsions(self) -> int:
        """How many torsions the side chain has."""
        return self.tables[0].ndim + len(self.tables) - 1

    def share(self, log_density: np.ndarray) -> np.ndarray:
        """Return the share of the reference's residues of lower density, 0-1, shape (n,)."""
        return np.interp(log_density, self.quantiles, np.linspace(0, 1, len(self.quantiles)))


@dataclasses.dataclass(frozen=True, eq=False)
class Statistics:
    """What real residues look like.

    Args:
        ramachandran: Share of the reference's residues in less populated places, shape (kinds, phi, psi).
        ramachandran_density: Logarithm of the density there relative to its peak, the same shape.
        chi: Of each residue type with side-chain torsions, by its letter.
        facts: Sources, licences, sha256, counts.
    """

    ramachandran: np.ndarray
    ramachandran_density: np.ndarray
    chi: Mapping[str, ChiTables]
    facts: Mapping[str, Any]


@functools.cache
def statistics() -> Statistics:
    """Read the file that comes with Foldline."""
    arrays = read_npz(FILE, SCHEMA)
    facts = json.loads(str(arrays["facts"]))
    return Statistics(
        ramachandran=arrays["ramachandran"].astype(np.float64),
        ramachandran_density=arrays["ramachandran_density"].astype(np.float64) * -STEP,
        chi={letter: ChiTables(_tables(arrays, letter), arrays[f"quantiles_{letter}"]) for letter in facts["letters"]},
        facts=facts,
    )


def _tables(arrays: Mapping[str, np.ndarray], letter: str) -> tuple[np.ndarray, ...]:
    names = sorted(name for name in arrays if name.startswith(f"chi_{letter}_"))
    return tuple(arrays[name].astype(np.float64) * -STEP for name in names)
