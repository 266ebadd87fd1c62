"""How usual a side chain's torsions are: MolProbity-style outliers from Foldline's own data.

The density of a side chain with several torsions is that of the first two, times that of each further one given the one
before it; a score is the share of the reference's residues of that type that are less usual. MolProbity (Hintze et al.
2016) counts in as many dimensions as there are torsions, on data of its own: `docs/quality.md` says what differs.
"""

import numpy as np

from models import residue_constants as rc
from pipeline.quality.geometry import torsion
from pipeline.quality.statistics import ChiTables, statistics

OUTLIER_SHARE = (
    0.02  # of the reference's residues of a type are less usual; of those in chains at 1.8 A or better, 0.009
)


def chi_angles(aatype: np.ndarray, positions: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return chi 1 to 4 in degrees, nan where there is none or an atom is missing, shape (n, 4).

    Args:
        aatype: Residue types, shape (n,).
        positions: atom37, angstrom, shape (n, 37, 3).
        mask: Shape (n, 37).
    """
    rows = np.arange(len(aatype))[:, None, None]
    atoms = rc.CHI_ATOM37[aatype]
    there = mask[rows, atoms].all(axis=-1) & (rc.CHI_MASK[aatype] > 0)
    a, b, c, d = np.moveaxis(positions[rows, atoms].astype(np.float64), 2, 0)
    return np.where(there, torsion(a, b, c, d), np.nan)


def scores(aatype: np.ndarray, chi: np.ndarray) -> np.ndarray:
    """Return the share of residues of the type that are less usual, 0-1; nan without torsions; shape (n,)."""
    result = np.full(len(aatype), np.nan)
    for letter, tables in statistics().chi.items():
        count = tables.torsions
        rows = np.flatnonzero((aatype == rc.RESTYPE_ID[letter]) & np.isfinite(chi[:, :count]).all(axis=1))
        if len(rows):
            result[rows] = tables.share(log_density(tables, chi[rows, :count]))
    return result


def log_density(tables: ChiTables, chi: np.ndarray) -> np.ndarray:
    """Return the logarithm of the density of torsions (n, torsions) in degrees, shape (n,)."""
    first = tables.tables[0]
    total = _lookup(first, chi[:, : first.ndim])
    for k, table in enumerate(tables.tables[1:], start=1):
        total = (
            total + _lookup(table, chi[:, k : k + 2]) - _lookup(np.log(np.exp(table).sum(axis=1)), chi[:, k : k + 1])
        )
    return total


def _lookup(table: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Return the entry of the cell that torsions (n, dimensions) fall into."""
    cells = table.shape[0]
    at = np.floor((angles + 180) / 360 * cells).astype(int) % cells
    return table[tuple(at.T)]
