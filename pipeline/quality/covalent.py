"""Bonds, angles, planes and CB atoms against ideal geometry: which atoms are not where chemistry puts them.

Bonds and angles are MolProbity-style: an outlier is more than four standard deviations from Engh & Huber's mean.
"""

import functools

import numpy as np

from models import residue_constants as rc
from pipeline.protein import Protein
from pipeline.quality.backbone import joined
from pipeline.quality.geometry import angle, cosine, length, place, unit

OUTLIER_SIGMA = 4.0
PLANE_OUTLIER = 0.08  # angstrom; four of the 0.02 that refinement programs give a plane
CB_OUTLIER = 0.25  # angstrom

_N, _CA, _C, _O, _CB = (rc.ATOM37_ID[name] for name in ("N", "CA", "C", "O", "CB"))
_PLANES = {
    "R": ("CD", "NE", "CZ", "NH1", "NH2"),
    "N": ("CB", "CG", "OD1", "ND2"),
    "D": ("CB", "CG", "OD1", "OD2"),
    "Q": ("CG", "CD", "OE1", "NE2"),
    "E": ("CG", "CD", "OE1", "OE2"),
    "H": ("CB", "CG", "ND1", "CD2", "CE1", "NE2"),
    "F": ("CB", "CG", "CD1", "CD2", "CE1", "CE2", "CZ"),
    "W": ("CB", "CG", "CD1", "CD2", "NE1", "CE2", "CE3", "CZ2", "CZ3", "CH2"),
    "Y": ("CB", "CG", "CD1", "CD2", "CE1", "CE2", "CZ", "OH"),
}
# Ideal CB: distance, then angle and torsion seen from N-C-CA, angle and torsion seen from C-N-CA.
_CB_IDEAL = {
    "A": (1.536, 110.1, 122.9, 110.6, -122.6),
    "P": (1.530, 112.2, 115.1, 103.0, -120.7),
    **dict.fromkeys("VTI", (1.540, 109.1, 123.4, 111.5, -122.0)),
}
_CB_OTHER = (1.530, 110.1, 122.8, 110.5, -122.6)


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
        bonds[rows] += _count_off(length(ends[:, :, 0] - ends[:, :, 1]), bond_mean, bond_sigma)
        corner = x[rows][:, angle_atoms]
        value = angle(corner[:, :, 0], corner[:, :, 1], corner[:, :, 2])
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
    distance = length(x[1:, _N] - x[:-1, _C]) * link
    cosines = [
        cosine(x[:-1, _CA] - x[:-1, _C], x[1:, _N] - x[:-1, _C]) * link,
        cosine(x[:-1, _C] - x[1:, _N], x[1:, _CA] - x[1:, _N]) * link,
    ]
    bonds, angles = np.zeros(len(protein), np.int64), np.zeros(len(protein), np.int64)
    bonds[1:] = np.abs(distance - mean) > OUTLIER_SIGMA * sigma
    for value, (cos_mean, cos_sigma) in zip(cosines, (rc.COS_CA_C_N, rc.COS_C_N_CA), strict=True):
        angles[1:] += np.abs(value - cos_mean) > OUTLIER_SIGMA * cos_sigma
    return bonds, angles


def planarity(protein: Protein) -> np.ndarray:
    """Return how far the worst atom lies out of its group's plane, angstrom, nan where no group is whole, shape (n,).

    The groups are those of the side chains, and CA, C, O and the next residue's N, which count for the first residue.
    """
    x = np.where(protein.atom37_mask[..., None], protein.atom37_positions, np.nan).astype(np.float64)
    worst = np.full(len(protein), np.nan)
    bonded = np.where(joined(protein), 1.0, np.nan)[:, None]
    peptide = np.stack([x[:-1, _CA], x[:-1, _C], x[:-1, _O], x[1:, _N] * bonded], axis=1)
    worst[:-1] = _out_of_plane(peptide)
    for letter, names in _PLANES.items():
        rows = np.flatnonzero(protein.aatype == rc.RESTYPE_ID[letter])
        groups = x[rows][:, [rc.ATOM37_ID[name] for name in names]]
        worst[rows] = np.fmax(worst[rows], _out_of_plane(groups))
    return worst


def _out_of_plane(groups: np.ndarray) -> np.ndarray:
    """Return the largest distance from the best plane of each group (g, atoms, 3), nan where one is not finite."""
    whole = np.flatnonzero(np.isfinite(groups).all(axis=(1, 2)))
    result = np.full(len(groups), np.nan)
    if len(whole):
        centred = groups[whole] - groups[whole].mean(axis=1, keepdims=True)
        normal = np.linalg.svd(centred, full_matrices=False)[2][:, 2]
        result[whole] = np.abs(np.einsum("gak,gk->ga", centred, normal)).max(axis=1)
    return result


def cb_deviation(protein: Protein) -> np.ndarray:
    """Return the distance of each CB from where N, CA and C put it, angstrom, nan where there is none, shape (n,).

    Source: Lovell et al. 2003, Proteins 50, 437: the mean of the places that the two ideal torsions give, at the ideal
    distance. A D residue is far off by this.
    """
    x = np.where(protein.atom37_mask[..., None], protein.atom37_positions, np.nan).astype(np.float64)
    ideal = ideal_cb(protein.aatype, x[:, _N], x[:, _CA], x[:, _C])
    return np.where(protein.aatype == rc.RESTYPE_ID["G"], np.nan, length(x[:, _CB] - ideal))


def ideal_cb(aatype: np.ndarray, n: np.ndarray, ca: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return where CB belongs, shape (n, 3), angstrom."""
    result = np.full(n.shape, np.nan)
    for letter in rc.RESTYPES:
        rows = aatype == rc.RESTYPE_ID[letter]
        distance, first_angle, first_turn, second_angle, second_turn = _CB_IDEAL.get(letter, _CB_OTHER)
        first = place(n[rows], c[rows], ca[rows], (distance, first_angle, first_turn))
        second = place(c[rows], n[rows], ca[rows], (distance, second_angle, second_turn))
        result[rows] = ca[rows] + distance * unit((first + second) / 2 - ca[rows])
    return result
