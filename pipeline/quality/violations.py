"""AlphaFold 2's structural violations (Jumper et al. 2021, Suppl. 1.9.11, with the constants of its relaxation)."""

import dataclasses
import functools

import numpy as np

from models import residue_constants as rc
from pipeline.protein import Protein
from pipeline.quality.backbone import joined
from pipeline.quality.geometry import cosine, length, pairs_within

TOLERANCE_FACTOR = 12.0  # standard deviations before a bond or angle is in violation
CLASH_OVERLAP = 1.5  # angstrom that two van der Waals spheres may overlap

_N, _CA, _C = (rc.ATOM37_ID[name] for name in ("N", "CA", "C"))
_SG14 = rc.RESIDUE_ATOMS["C"].index("SG")
_C14, _N14 = (rc.RESIDUE_ATOMS["A"].index(name) for name in ("C", "N"))
# The published relaxation tests the cosine of CA-C-N against the deviation of the bond's length; kept: counts agree.
_SIGMA_CA_C_N = rc.PEPTIDE_BOND[1]


@dataclasses.dataclass(frozen=True, eq=False)
class Violations:
    """AlphaFold 2's structural violations.

    Args:
        bond: Residues at a peptide bond of wrong length, shape (n,).
        angle: Residues at a peptide bond with a wrong angle, shape (n,).
        clash: Residues with an atom inside another residue, shape (n,).
        within: Residues with two atoms of their own too near or too far, shape (n,).
        clashes: Pairs of residues that clash, shape (pairs, 2).
    """

    bond: np.ndarray
    angle: np.ndarray
    clash: np.ndarray
    within: np.ndarray
    clashes: np.ndarray

    @property
    def residues(self) -> np.ndarray:
        """Residues in any violation, shape (n,)."""
        return self.bond | self.angle | self.clash | self.within


def violations(protein: Protein) -> Violations:
    """Find the residues in violation.

    Source: Jumper et al. 2021, Suppl. 1.9.11, eq. 44-47, with a tolerance of 12 standard deviations. The published code
    exempts every pair of atoms that both stand sixth in their residues from clashing; here that is SG with SG alone.
    """
    positions, mask = _atom14(protein)
    bond, angle = _peptide_violations(protein)
    clashes = _clashes(protein, positions, mask)
    return Violations(bond, angle, _members(clashes, len(protein)), _within(protein, positions, mask), clashes)


def _atom14(protein: Protein) -> tuple[np.ndarray, np.ndarray]:
    columns = rc.ATOM14_TO_ATOM37[protein.aatype]
    rows = np.arange(len(protein))[:, None]
    mask = (rc.ATOM14_MASK[protein.aatype] > 0) & protein.atom37_mask[rows, columns]
    return protein.atom37_positions[rows, columns], mask


def _peptide_violations(protein: Protein) -> tuple[np.ndarray, np.ndarray]:
    """Return residues at bonds of wrong length and at wrong angles; both partners count."""
    x, mask = protein.atom37_positions, protein.atom37_mask
    ca, c, n, next_ca = x[:-1, _CA], x[:-1, _C], x[1:, _N], x[1:, _CA]
    bonded = joined(protein) & mask[:-1, _C] & mask[1:, _N]
    proline = protein.aatype[1:] == rc.RESTYPE_ID["P"]
    mean, sigma = np.where(proline[:, None], rc.PEPTIDE_BOND_PROLINE, rc.PEPTIDE_BOND).T
    wrong_length = bonded & (np.abs(length(n - c) - mean) > TOLERANCE_FACTOR * sigma)
    first = bonded & mask[:-1, _CA] & _off(cosine(ca - c, n - c), rc.COS_CA_C_N[0], _SIGMA_CA_C_N)
    second = bonded & mask[1:, _CA] & _off(cosine(c - n, next_ca - n), *rc.COS_C_N_CA)
    return _both(wrong_length), _both(first | second)


def _off(value: np.ndarray, mean: float, sigma: float) -> np.ndarray:
    return np.abs(value - mean) > TOLERANCE_FACTOR * sigma


def _both(between: np.ndarray) -> np.ndarray:
    """Spread flags of neighbours (n - 1,) to the residues on both sides (n,)."""
    flags = np.zeros(len(between) + 1, bool)
    flags[:-1] |= between
    flags[1:] |= between
    return flags


def _members(pairs: np.ndarray, n: int) -> np.ndarray:
    flags = np.zeros(n, bool)
    flags[pairs.ravel()] = True
    return flags


def _clashes(protein: Protein, positions: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the pairs of residues with atoms nearer than their radii allow, shape (pairs, 2)."""
    residue, slot = np.nonzero(mask)
    x, radius = positions[residue, slot], rc.ATOM14_RADIUS[protein.aatype][residue, slot]
    i, j = pairs_within(x, 2 * float(rc.ATOM14_RADIUS.max()) - CLASH_OVERLAP)
    clash = (length(x[i] - x[j]) < radius[i] + radius[j] - CLASH_OVERLAP) & (residue[i] != residue[j])
    i, j = i[clash], j[clash]
    exempt = _both_sulphurs(protein, residue, slot, i, j) | _peptide_bonds(protein, residue, slot, i, j)
    pairs = np.stack([residue[i], residue[j]], axis=1)[~exempt]
    return np.unique(pairs, axis=0).reshape(-1, 2)


def _both_sulphurs(protein: Protein, residue: np.ndarray, slot: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    sulphur = (protein.aatype[residue] == rc.RESTYPE_ID["C"]) & (slot == _SG14)
    return sulphur[i] & sulphur[j]


def _peptide_bonds(protein: Protein, residue: np.ndarray, slot: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Return which pairs are C and N of one peptide bond; atoms are in the order of the residues, so C comes first."""
    bonded = np.append(joined(protein), False)
    return (residue[j] == residue[i] + 1) & bonded[residue[i]] & (slot[i] == _C14) & (slot[j] == _N14)


@functools.cache
def _bounds() -> tuple[np.ndarray, np.ndarray]:
    return rc.distance_bounds(CLASH_OVERLAP, TOLERANCE_FACTOR)


def _within(protein: Protein, positions: np.ndarray, mask: np.ndarray) -> np.ndarray:
    lower, upper = (bound[protein.aatype] for bound in _bounds())
    distance = length(positions[:, :, None] - positions[:, None])
    pairs = mask[:, :, None] & mask[:, None] & ~np.eye(14, dtype=bool)
    return np.any(pairs & ((distance < lower) | (distance > upper)), axis=(1, 2))
