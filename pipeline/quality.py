"""What is wrong with a structure, residue by residue: NumPy only, milliseconds for a domain.

The violations are AlphaFold 2's (Jumper et al. 2021, Suppl. 1.9.11, with the constants of its relaxation); the outliers
of bonds and angles are MolProbity-style: further than four standard deviations from the mean of Engh & Huber.
"""

import dataclasses
import functools

import numpy as np

from models import residue_constants as rc
from pipeline.protein import Protein

TOLERANCE_FACTOR = 12.0  # standard deviations before a bond or angle is in violation
CLASH_OVERLAP = 1.5  # angstrom that two van der Waals spheres may overlap
OUTLIER_SIGMA = 4.0
CA_CLASH = 3.5  # angstrom between CA atoms two or more residues apart; CASP's assessors count closer ones as bumps
CIS_OMEGA = 30.0  # degrees; a peptide bond further than this from both 0 and 180 is twisted
BROKEN_BOND = 2.5  # angstrom between C and N of neighbours above which nobody would draw a bond

_N, _CA, _C, _O, _CB = (rc.ATOM37_ID[name] for name in ("N", "CA", "C", "O", "CB"))
_SG14 = rc.RESIDUE_ATOMS["C"].index("SG")
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


@dataclasses.dataclass(frozen=True, eq=False)
class Backbone:
    """The shape of the chain; angles in degrees, nan where atoms are missing or the chain ends.

    Args:
        phi: C-N-CA-C, shape (n,).
        psi: N-CA-C-N, shape (n,).
        omega: CA-C-N-CA of the peptide bond before the residue, shape (n,).
        d_residue: Residues of the wrong hand, shape (n,).
        breaks: Residues after which the chain is broken, in the numbering or in space, shape (breaks,).
        ca_clashes: Pairs of residues whose CA atoms are too near, shape (pairs, 2).
    """

    phi: np.ndarray
    psi: np.ndarray
    omega: np.ndarray
    d_residue: np.ndarray
    breaks: np.ndarray
    ca_clashes: np.ndarray


def assess(protein: Protein) -> dict[str, int | float]:
    """Return the counts that the records keep (`violations` of confidence.json and relax.json)."""
    with np.errstate(invalid="ignore", over="ignore"):  # coordinates may be anything; they are counted below
        found = violations(protein)
        chain = backbone(protein)
        bonds, angles = outliers(protein)
    lost = protein.atom37_mask & ~np.isfinite(protein.atom37_positions).all(axis=-1)
    twist = np.abs(chain.omega)
    known = protein.aatype != rc.UNKNOWN
    missing = (rc.ATOM37_MASK[protein.aatype] > 0) & ~protein.atom37_mask
    return {
        "residues": len(protein),
        "violating_residues": int(found.residues.sum()),
        "violation_fraction": round(float(found.residues.mean()), 4),
        "bond_violations": int(found.bond.sum()),
        "angle_violations": int(found.angle.sum()),
        "clash_violations": int(found.clash.sum()),
        "within_violations": int(found.within.sum()),
        "clashes": len(found.clashes),
        "ca_clashes": len(chain.ca_clashes),
        "bond_outliers": int(bonds.sum()),
        "angle_outliers": int(angles.sum()),
        "chain_breaks": len(chain.breaks),
        "cis_peptides": int(np.sum(twist < CIS_OMEGA)),
        "twisted_peptides": int(np.sum((twist >= CIS_OMEGA) & (twist <= 180 - CIS_OMEGA))),
        "d_residues": int(chain.d_residue.sum()),
        "missing_atoms": int(missing.sum()),
        "atoms_not_finite": int(lost.sum()),
        "unknown_residues": int(np.sum(~known)),
    }


# AlphaFold 2's violations ---------------------------------------------------------------------------------------------


def violations(protein: Protein) -> Violations:
    """Find the residues in violation.

    Source: Jumper et al. 2021, Suppl. 1.9.11, eq. 44-47, with a tolerance of 12 standard deviations. The published code
    exempts every pair of atoms that both stand sixth in their residues from clashing; here that is SG with SG alone.
    """
    positions, mask = _atom14(protein)
    bond, angle = _peptide_violations(protein)
    clashes = _clashes(protein, positions, mask)
    return Violations(bond, angle, _members(clashes, len(protein)), _within(protein, positions, mask), clashes)


def joined(protein: Protein) -> np.ndarray:
    """Return which residues are bonded to the next one by the numbering, shape (n - 1,)."""
    same_chain = protein.chain_id[1:] == protein.chain_id[:-1]
    return same_chain & (np.diff(protein.residue_index) == 1)


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
    wrong_length = bonded & (np.abs(_length(n - c) - mean) > TOLERANCE_FACTOR * sigma)
    first = bonded & mask[:-1, _CA] & _off(_cosine(ca - c, n - c), rc.COS_CA_C_N[0], _SIGMA_CA_C_N)
    second = bonded & mask[1:, _CA] & _off(_cosine(c - n, next_ca - n), *rc.COS_C_N_CA)
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


def _near_residues(positions: np.ndarray, mask: np.ndarray, reach: float) -> np.ndarray:
    """Return the pairs i < j of residues some of whose atoms may be within `reach` angstrom, shape (pairs, 2)."""
    count = mask.sum(axis=1)
    centre = (positions * mask[..., None]).sum(axis=1) / np.maximum(count, 1)[:, None]
    radius = np.max(_length(positions - centre[:, None]) * mask, axis=1)
    offset = centre[:, None] - centre[None]
    squared = np.einsum("ijk,ijk->ij", offset, offset)
    near = squared < (radius[:, None] + radius[None] + reach) ** 2
    near &= (count > 0)[:, None] & (count > 0)[None]
    return np.argwhere(np.triu(near, 1))


def _clashes(protein: Protein, positions: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the pairs of residues with atoms nearer than their radii allow, shape (pairs, 2)."""
    radius = rc.ATOM14_RADIUS[protein.aatype]
    pairs = _near_residues(positions, mask, 2 * float(rc.ATOM14_RADIUS.max()) - CLASH_OVERLAP)
    i, j = pairs.T
    distance = _length(positions[i, :, None] - positions[j, None])
    allowed = radius[i, :, None] + radius[j, None] - CLASH_OVERLAP
    clash = (distance < allowed) & mask[i, :, None] & mask[j, None]
    cysteine = protein.aatype == rc.RESTYPE_ID["C"]
    clash[cysteine[i] & cysteine[j], _SG14, _SG14] = False
    peptide = np.zeros(len(pairs), bool)
    neighbours = j == i + 1
    peptide[neighbours] = joined(protein)[i[neighbours]]
    clash[peptide, rc.RESIDUE_ATOMS["A"].index("C"), rc.RESIDUE_ATOMS["A"].index("N")] = False
    return pairs[clash.any(axis=(1, 2))]


@functools.cache
def _bounds() -> tuple[np.ndarray, np.ndarray]:
    return rc.distance_bounds(CLASH_OVERLAP, TOLERANCE_FACTOR)


def _within(protein: Protein, positions: np.ndarray, mask: np.ndarray) -> np.ndarray:
    lower, upper = (bound[protein.aatype] for bound in _bounds())
    distance = _length(positions[:, :, None] - positions[:, None])
    pairs = mask[:, :, None] & mask[:, None] & ~np.eye(14, dtype=bool)
    return np.any(pairs & ((distance < lower) | (distance > upper)), axis=(1, 2))


# The backbone ---------------------------------------------------------------------------------------------------------


def backbone(protein: Protein) -> Backbone:
    """Measure torsions, hands, breaks and CA clashes."""
    x = np.where(protein.atom37_mask[..., None], protein.atom37_positions, np.nan)
    n, ca, c, cb = (x[:, atom] for atom in (_N, _CA, _C, _CB))
    bonded = joined(protein) & ~(_length(n[1:] - c[:-1]) > BROKEN_BOND)
    link = np.where(bonded, 1.0, np.nan)
    nothing = np.array([np.nan])
    volume = np.einsum("ij,ij->i", np.cross(n - ca, c - ca), cb - ca)
    same_chain = protein.chain_id[1:] == protein.chain_id[:-1]
    return Backbone(
        phi=np.concatenate([nothing, torsion(c[:-1], n[1:], ca[1:], c[1:]) * link]),
        psi=np.concatenate([torsion(n[:-1], ca[:-1], c[:-1], n[1:]) * link, nothing]),
        omega=np.concatenate([nothing, torsion(ca[:-1], c[:-1], n[1:], ca[1:]) * link]),
        d_residue=volume < 0,
        breaks=np.flatnonzero(same_chain & ~bonded),
        ca_clashes=_ca_clashes(protein, ca),
    )


def _ca_clashes(protein: Protein, ca: np.ndarray) -> np.ndarray:
    offset = ca[:, None] - ca[None]
    near = np.triu(np.einsum("ijk,ijk->ij", offset, offset) < CA_CLASH**2, 1)
    neighbours = np.arange(len(protein) - 1)
    near[neighbours, neighbours + 1] &= protein.chain_id[1:] != protein.chain_id[:-1]
    return np.argwhere(near)


def torsion(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return the torsion angles a-b-c-d in degrees, -180 to 180 (IUPAC: clockwise is positive), shape (...)."""
    axis = c - b
    u, v = np.cross(b - a, axis), np.cross(axis, d - c)
    sine = np.einsum("...i,...i->...", np.cross(u, v), axis) / np.maximum(_length(axis), 1e-8)
    return np.rad2deg(np.arctan2(sine, np.einsum("...i,...i->...", u, v)))


# Bonds and angles -----------------------------------------------------------------------------------------------------


def outliers(protein: Protein) -> tuple[np.ndarray, np.ndarray]:
    """Count the covalent bonds and the angles of each residue further than four sigma from the mean, two arrays (n,).

    The peptide bond and its angles count for the residue after it. Source of the means: Engh & Huber 1991.
    """
    x = np.where(protein.atom37_mask[..., None], protein.atom37_positions, np.nan).astype(np.float64)
    bonds, angles = _peptide_outliers(protein, x)
    for aatype in np.unique(protein.aatype[protein.aatype != rc.UNKNOWN]):
        rows = np.flatnonzero(protein.aatype == aatype)
        (bond_atoms, bond_mean, bond_sigma), (angle_atoms, angle_mean, angle_sigma) = _targets(int(aatype))
        ends = x[rows][:, bond_atoms]
        bonds[rows] += _count_off(_length(ends[:, :, 0] - ends[:, :, 1]), bond_mean, bond_sigma)
        corner = x[rows][:, angle_atoms]
        value = _angle(corner[:, :, 0], corner[:, :, 1], corner[:, :, 2])
        angles[rows] += _count_off(value, angle_mean, angle_sigma)
    return bonds, angles


def _count_off(value: np.ndarray, mean: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    return np.sum(np.abs(value - mean) > OUTLIER_SIGMA * sigma, axis=-1)


@functools.cache
def _targets(aatype: int) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]:
    """Return atom37 columns, mean and sigma of a residue type's bonds (angstrom) and angles (degrees)."""
    tables = (rc.BONDS[rc.RESTYPES[aatype]], rc.ANGLES[rc.RESTYPES[aatype]])
    return tuple(
        (
            np.array([[rc.ATOM37_ID[name] for name in atoms.split("-")] for atoms, _, _ in table]),
            np.array([mean for _, mean, _ in table]),
            np.array([sigma for _, _, sigma in table]),
        )
        for table in tables
    )


def _peptide_outliers(protein: Protein, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count bonds and angles between residues: C-N, CA-C-N and C-N-CA."""
    link = np.where(joined(protein), 1.0, np.nan)
    proline = protein.aatype[1:] == rc.RESTYPE_ID["P"]
    mean, sigma = np.where(proline[:, None], rc.PEPTIDE_BOND_PROLINE, rc.PEPTIDE_BOND).T
    length = _length(x[1:, _N] - x[:-1, _C]) * link
    cosines = [
        _cosine(x[:-1, _CA] - x[:-1, _C], x[1:, _N] - x[:-1, _C]) * link,
        _cosine(x[:-1, _C] - x[1:, _N], x[1:, _CA] - x[1:, _N]) * link,
    ]
    bonds, angles = np.zeros(len(protein), np.int64), np.zeros(len(protein), np.int64)
    bonds[1:] = np.abs(length - mean) > OUTLIER_SIGMA * sigma
    for cosine, (cos_mean, cos_sigma) in zip(cosines, (rc.COS_CA_C_N, rc.COS_C_N_CA), strict=True):
        angles[1:] += np.abs(cosine - cos_mean) > OUTLIER_SIGMA * cos_sigma
    return bonds, angles


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("...i,...i->...", vectors, vectors))


def _cosine(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.einsum("...i,...i->...", u, v) / np.maximum(_length(u) * _length(v), 1e-8)


def _angle(a: np.ndarray, vertex: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.rad2deg(np.arccos(np.clip(_cosine(a - vertex, b - vertex), -1, 1)))
