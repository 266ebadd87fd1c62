"""Bonds that run through the rings of side chains: no minimisation takes them out again. NumPy only."""

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from models import residue_constants as rc
from pipeline.protein import Protein

_RINGS = {
    "P": ("N CA CB CG CD",),
    "H": ("CG ND1 CE1 NE2 CD2",),
    "F": ("CG CD1 CE1 CZ CE2 CD2",),
    "Y": ("CG CD1 CE1 CZ CE2 CD2",),
    "W": ("CG CD1 NE1 CE2 CD2", "CD2 CE2 CZ2 CH2 CZ3 CE3"),
}
_REACH = 4.0  # angstrom from a ring's centre to the middle of a bond that may cross it
_BACKBONE = ("N", "CA", "C", "O")


class Piercing(NamedTuple):
    """A bond through a ring.

    Args:
        ring: The ring's residue.
        bond: The residue of the bond's first atom.
        side_chain: Whether the bond is one of a side chain.
    """

    ring: int
    bond: int
    side_chain: bool


@dataclasses.dataclass(frozen=True, eq=False)
class _Bonds:
    residue: np.ndarray  # of the first atom
    side_chain: np.ndarray
    ends: np.ndarray  # angstrom, shape (bonds, 2, 3)


def piercings(protein: Protein, runs: Iterable[slice]) -> list[Piercing]:
    """Return the bonds of the runs' residues that cross the ring of another residue, the first of each pair."""
    rows = [i for run in runs for i in range(run.start, run.stop)]
    bonds = _bonds(protein, rows)
    if not len(bonds.ends):
        return []
    middle = bonds.ends.mean(axis=1)
    found: dict[tuple[int, int], Piercing] = {}
    for i in rows:
        for ring in _rings(protein, i):
            centre = ring.mean(axis=0)
            near = np.flatnonzero((np.linalg.norm(middle - centre, axis=1) < _REACH) & (bonds.residue != i))
            for k in near[_crosses(ring, bonds.ends[near])]:
                row = int(bonds.residue[k])
                if not (rc.RESTYPES[protein.aatype[i]] == "P" and row == i - 1):  # its own peptide bond
                    found.setdefault((i, row), Piercing(i, row, bool(bonds.side_chain[k])))
    return list(found.values())


def _rings(protein: Protein, row: int) -> list[np.ndarray]:
    rings = []
    for names in _RINGS.get(rc.RESTYPES_X[protein.aatype[row]], ()):
        columns = [rc.ATOM37_ID[name] for name in names.split()]
        if protein.atom37_mask[row, columns].all():
            rings.append(protein.atom37_positions[row, columns].astype(np.float64))
    return rings


def _bonds(protein: Protein, rows: Iterable[int]) -> _Bonds:
    residue, side_chain, ends = [], [], []
    x, mask = protein.atom37_positions.astype(np.float64), protein.atom37_mask
    n, c = rc.ATOM37_ID["N"], rc.ATOM37_ID["C"]
    members = set(rows)
    for i in sorted(members):
        for names, _, _ in rc.BONDS.get(rc.RESTYPES_X[protein.aatype[i]], ()):
            first, second = names.split("-")
            a, b = rc.ATOM37_ID[first], rc.ATOM37_ID[second]
            if mask[i, a] and mask[i, b]:
                residue.append(i)
                side_chain.append(not {first, second} <= set(_BACKBONE))
                ends.append((x[i, a], x[i, b]))
        if i + 1 in members and mask[i, c] and mask[i + 1, n]:
            residue.append(i)
            side_chain.append(False)
            ends.append((x[i, c], x[i + 1, n]))
    return _Bonds(np.array(residue), np.array(side_chain), np.array(ends).reshape(-1, 2, 3))


def _crosses(ring: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return which segments (n, 2, 3) pass through a polygon (m, 3), shape (n,)."""
    centre = ring.mean(axis=0)
    _, _, axes = np.linalg.svd(ring - centre)
    normal = axes[2]
    heights = (ends - centre) @ normal
    opposite = heights[:, 0] * heights[:, 1] < 0
    share = heights[:, 0] / np.where(opposite, heights[:, 0] - heights[:, 1], 1.0)
    point = ends[:, 0] + share[:, None] * (ends[:, 1] - ends[:, 0])
    flat, corners = (point - centre) @ axes[:2].T, (ring - centre) @ axes[:2].T
    edges = np.roll(corners, -1, axis=0) - corners
    to_point = flat[:, None] - corners
    turn = edges[:, 0] * to_point[..., 1] - edges[:, 1] * to_point[..., 0]
    return opposite & (np.all(turn > 0, axis=1) | np.all(turn < 0, axis=1))
