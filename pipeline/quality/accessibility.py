"""Solvent-accessible surface by points on a sphere around each atom (Shrake & Rupley 1973)."""

import functools
import itertools

import numpy as np

from models import residue_constants as rc
from pipeline.protein import Protein
from pipeline.quality.geometry import pairs_within

PROBE = 1.4  # angstrom
POINTS = 200  # around each atom
EXPOSED = 0.2  # relative accessibility from which a residue counts as exposed
# Angstrom^2 of X in Gly-X-Gly as exposed as it can be. Source: Tien et al. 2013, PLoS ONE 8, e80635, theoretical.
_MOST = (129, 274, 195, 193, 167, 225, 223, 104, 224, 197, 201, 236, 224, 240, 159, 155, 172, 285, 263, 174)
LARGEST = np.array([*_MOST, np.nan], np.float64)

# Radii of united atoms. Source: Tsai et al. 1999, J. Mol. Biol. 290, 253 (ProtOr).
_CARBON = {3: (1.61, 1.76, 1.76, 1.76), 4: (1.88, 1.88, 1.88, 1.88)}  # by bonds, then by hydrogens
_NITROGEN, _CARBONYL_OXYGEN, _HYDROXYL, _SULPHUR = 1.64, 1.42, 1.46, 1.77
_FLAT = {  # carbons with three neighbours, and how many of them are hydrogens
    "R": {"CZ": 0},
    "N": {"CG": 0},
    "D": {"CG": 0},
    "Q": {"CD": 0},
    "E": {"CD": 0},
    "H": {"CG": 0, "CD2": 1, "CE1": 1},
    "F": {"CG": 0, "CD1": 1, "CD2": 1, "CE1": 1, "CE2": 1, "CZ": 1},
    "W": {"CG": 0, "CD1": 1, "CD2": 0, "CE2": 0, "CE3": 1, "CZ2": 1, "CZ3": 1, "CH2": 1},
    "Y": {"CG": 0, "CD1": 1, "CD2": 1, "CE1": 1, "CE2": 1, "CZ": 0},
}
_CHUNK = 200_000  # neighbours looked at at once


def accessible_surface(protein: Protein, points: int = POINTS) -> np.ndarray:
    """Return the accessible surface of each residue, angstrom^2, shape (n,).

    Args:
        protein: Heavy atoms are looked at, hydrogens are part of their radii.
        points: On each atom's sphere.
    """
    with np.errstate(invalid="ignore"):
        real = protein.atom37_mask & np.isfinite(protein.atom37_positions).all(axis=-1)
    residue, column = np.nonzero(real)
    x = protein.atom37_positions[residue, column].astype(np.float64)
    radius = _radii()[protein.aatype[residue], column] + PROBE
    free = _free_points(x, radius, _sphere(points))
    area = 4 * np.pi * radius**2 * free / points
    return np.bincount(residue, area, len(protein))


def relative_surface(aatype: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """Return the share of the largest surface that the residue type can have, nan where unknown, shape (n,)."""
    return surface / LARGEST[aatype]


@functools.cache
def _radii() -> np.ndarray:
    """Return the radius by residue type and atom37 column, angstrom, shape (21, 37)."""
    return np.array([[_radius(letter, name) for name in rc.ATOM37] for letter in rc.RESTYPES_X])


def _radius(letter: str, name: str) -> float:
    if name[0] == "C":
        hydrogens = 0 if name == "C" else _FLAT.get(letter, {}).get(name)
        return _CARBON[4][0] if hydrogens is None else _CARBON[3][hydrogens]
    hydroxyl = (letter, name) in {("S", "OG"), ("T", "OG1"), ("Y", "OH")}
    return {"N": _NITROGEN, "O": _HYDROXYL if hydroxyl else _CARBONYL_OXYGEN, "S": _SULPHUR}[name[0]]


def _sphere(points: int) -> np.ndarray:
    """Return points that are spread evenly over the unit sphere along a spiral, shape (points, 3)."""
    k = np.arange(points) + 0.5
    height, turn = 1 - 2 * k / points, np.pi * (1 + 5**0.5) * k
    around = np.sqrt(1 - height**2)
    return np.stack([around * np.cos(turn), around * np.sin(turn), height], axis=1)


def _free_points(x: np.ndarray, radius: np.ndarray, sphere: np.ndarray) -> np.ndarray:
    """Count the points of each atom's sphere that lie in no other atom's sphere, shape (atoms,)."""
    i, j = pairs_within(x, 2 * float(radius.max(initial=1.0)))
    near = np.einsum("pk,pk->p", x[i] - x[j], x[i] - x[j]) < (radius[i] + radius[j]) ** 2
    i, j = np.concatenate([i[near], j[near]]), np.concatenate([j[near], i[near]])
    order = np.argsort(i, kind="stable")
    i, j = i[order], j[order]
    covered = np.zeros((len(x), len(sphere)), bool)
    edges = [*range(0, len(i), _CHUNK), len(i)]
    for first, last in itertools.pairwise(edges):
        if first < last:
            a, b = i[first:last], j[first:last]
            starts = np.flatnonzero(np.r_[True, a[1:] != a[:-1]])
            inside = _inside(x[b] - x[a], radius[a], radius[b], sphere)
            covered[a[starts]] |= np.logical_or.reduceat(inside, starts, axis=0)
    return len(sphere) - covered.sum(axis=1)


def _inside(offset: np.ndarray, radius: np.ndarray, other: np.ndarray, sphere: np.ndarray) -> np.ndarray:
    """Return which points of the spheres at the origin lie in spheres at the offsets, shape (pairs, points)."""
    limit = (np.einsum("pk,pk->p", offset, offset) + radius**2 - other**2) / (2 * radius)
    return offset.astype(np.float32) @ sphere.T.astype(np.float32) > limit[:, None].astype(np.float32)
