"""Where the backbone torsions of real residues lie: MolProbity-style classes and regions from Foldline's own data.

As in MolProbity (Chen et al. 2010; Read et al. 2011) six kinds of residues have a map each, and a residue's score is
the share of the reference's residues that lie in less populated places. The reference is not theirs: it is larger and
not filtered by B-factor, so that more of it lies outside. The shares below give as many residues to each region as the
maps of MolProbity's Top8000 set do (`training/quality_limits.py`).
"""

import numpy as np

from models import residue_constants as rc
from pipeline.quality.statistics import statistics

KINDS = ("general", "isoleucine or valine", "before proline", "glycine", "trans proline", "cis proline")
OUTLIER, ALLOWED, FAVOURED = 0, 1, 2
LEVELS = ("outlier", "allowed", "favoured")
FAVOURED_SHARES = (0.031, 0.029, 0.030, 0.031, 0.038, 0.038)  # of the reference's residues of each kind lie outside
OUTLIER_SHARES = (0.0026, 0.0023, 0.0035, 0.0041, 0.0065, 0.016)  # and outside the allowed region too
CIS = 90.0  # degrees; |omega| below this is cis

_GLY, _PRO, _BETA_BRANCHED = rc.RESTYPE_ID["G"], rc.RESTYPE_ID["P"], [rc.RESTYPE_ID[x] for x in "IV"]


def kinds(aatype: np.ndarray, omega: np.ndarray, before_proline: np.ndarray) -> np.ndarray:
    """Return which map each residue belongs to, an index into KINDS, shape (n,).

    Args:
        aatype: Residue types, shape (n,).
        omega: Of the peptide bond before the residue, degrees, shape (n,).
        before_proline: Whether the next residue, bonded to it, is a proline, shape (n,).
    """
    cis = np.abs(omega) < CIS
    kind = np.where(np.isin(aatype, _BETA_BRANCHED), 1, 0)
    kind = np.where(before_proline, 2, kind)
    kind = np.where(aatype == _GLY, 3, kind)
    return np.where(aatype == _PRO, np.where(cis, 5, 4), kind)


def scores(kind: np.ndarray, phi: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """Return the share of the reference's residues in less populated places, 0-1, nan without torsions, shape (n,)."""
    grid = statistics().ramachandran
    cells = grid.shape[1]
    real = np.isfinite(phi) & np.isfinite(psi)
    u, v = ((np.where(real, angle, 0.0) + 180) / 360 * cells - 0.5 for angle in (phi, psi))
    i, j = np.floor(u).astype(int), np.floor(v).astype(int)
    a, b = u - i, v - j
    value = sum(
        weight * grid[kind, (i + di) % cells, (j + dj) % cells]
        for di, dj, weight in ((0, 0, (1 - a) * (1 - b)), (1, 0, a * (1 - b)), (0, 1, (1 - a) * b), (1, 1, a * b))
    )
    return np.where(real, value, np.nan)


def levels(kind: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return OUTLIER, ALLOWED or FAVOURED of each residue; -1 where the score is nan, shape (n,)."""
    favoured, outlier = np.take(FAVOURED_SHARES, kind), np.take(OUTLIER_SHARES, kind)
    level = np.where(score >= favoured, FAVOURED, np.where(score >= outlier, ALLOWED, OUTLIER))
    return np.where(np.isnan(score), -1, level)
