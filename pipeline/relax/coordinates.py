"""Coordinates that no force field can start from: none at all, far from their residue, or those of another atom."""

import dataclasses
import functools

import numpy as np

from models import residue_constants as rc
from pipeline.protein import Protein
from pipeline.quality.geometry import length
from pipeline.relax.settings import RelaxFailure

LARGEST = 1e7  # angstrom; single precision knows no bond lengths beyond
STRAY = 20.0  # angstrom from the middle of its residue; no side chain is as long
SOUND_BOND = 1.6  # angstrom, that nine bonds in ten do not exceed
LONGEST_BOND = 3.0  # angstrom; an atom further from what it is bonded to stands elsewhere ...
SPREAD = 2.0  # ... unless one bond in ten is half as long: of that length
COINCIDENT = 0.1  # angstrom; atoms nearer than this hardly know in which direction to push each other
MOST_COINCIDENT = 0.25  # of the atoms; with more, any structure that comes out is made up
_N, _CA, _C = (rc.ATOM37_ID[name] for name in ("N", "CA", "C"))


def without_lost(protein: Protein) -> tuple[Protein, tuple[str, ...]]:
    """Take away the atoms whose coordinates are no place, so that they count as missing, and say which."""
    x = protein.atom37_positions.astype(np.float64)
    with np.errstate(invalid="ignore"):
        real = protein.atom37_mask & (np.abs(x) < LARGEST).all(axis=-1)
    middle = np.zeros((len(protein), 3))
    for i in np.flatnonzero(real.any(axis=1)):
        middle[i] = np.median(x[i, real[i]], axis=0)
    with np.errstate(invalid="ignore", over="ignore"):
        sound = real & (np.linalg.norm(x - middle[:, None], axis=-1) < STRAY)
    lost = protein.atom37_mask & ~sound
    if not lost.any():
        return protein, ()
    changes = tuple(_told(protein, int(i), lost[i], sound[i]) for i in np.flatnonzero(lost.any(axis=1)))
    xyz = np.where(sound[..., None], protein.atom37_positions, 0).astype(np.float32)
    return dataclasses.replace(protein, atom37_positions=xyz, atom37_mask=sound), changes


def without_strays(protein: Protein) -> tuple[Protein, tuple[str, ...]]:
    """Take away atoms whose bond to the rest of their residue is impossibly long, with what they carry."""
    _, carried = _trees()
    torn = _bonds(protein) > max(LONGEST_BOND, SPREAD * typical_bond(protein))
    centre = torn[:, _N] & torn[:, _C]  # both bonds of CA: it is CA that is elsewhere
    torn[centre] = np.arange(37) == _CA
    lost = np.einsum("na,nab->nb", torn, carried[protein.aatype]) & protein.atom37_mask
    if not lost.any():
        return protein, ()
    changes = tuple(
        f"{protein.label(int(i))} {_names(lost[i])}: far from what it is bonded to, taken as missing"
        for i in np.flatnonzero(lost.any(axis=1))
    )
    return dataclasses.replace(protein, atom37_mask=protein.atom37_mask & ~lost), changes


def typical_bond(protein: Protein) -> float:
    """Return the length that one bond in ten exceeds, angstrom; `SOUND_BOND` where there is none."""
    bonds = _bonds(protein)
    known = np.isfinite(bonds)
    return float(np.percentile(bonds[known], 90)) if known.any() else SOUND_BOND


def _bonds(protein: Protein) -> np.ndarray:
    """Return the distance of each atom from the next on its way to CA, angstrom, nan for CA, shape (n, 37)."""
    x = np.where(protein.atom37_mask[..., None], protein.atom37_positions, np.nan).astype(np.float64)
    parents = _trees()[0][protein.aatype]
    bonds = length(x - np.take_along_axis(x, parents[..., None], axis=1))
    return np.where(parents == np.arange(37), np.nan, bonds)


@functools.cache
def _trees() -> tuple[np.ndarray, np.ndarray]:
    """Return the atom on the way to CA, and which atoms each one carries, itself among them: (21, 37), (21, 37, 37).

    CA carries itself alone, and so do N and C but for the oxygen of C.
    """
    parents = np.tile(np.arange(37), (21, 1))
    carried = np.tile(np.eye(37, dtype=bool), (21, 1, 1))
    for letter in rc.RESTYPES:
        k, bonds = rc.RESTYPE_ID[letter], [bond.split("-") for bond, _, _ in rc.BONDS[letter]]
        pairs = [(rc.ATOM37_ID[a], rc.ATOM37_ID[b]) for a, b in bonds]
        order, seen = [_CA], {_CA}
        for atom in order:  # grows: breadth first
            for other in [b for a, b in pairs if a == atom] + [a for a, b in pairs if b == atom]:
                if other not in seen:
                    seen.add(other)
                    order.append(other)
                    parents[k, other] = atom
        for atom in reversed(order[1:]):
            if parents[k, atom] != _CA:
                carried[k, parents[k, atom]] |= carried[k, atom]
    return parents, carried


def _names(atoms: np.ndarray) -> str:
    return " ".join(rc.ATOM37[k] for k in np.flatnonzero(atoms))


def _told(protein: Protein, row: int, lost: np.ndarray, sound: np.ndarray) -> str:
    """Say which atoms of a residue are lost; both masks have shape (37,)."""
    if not sound.any():
        return f"{protein.label(row)} has no atom with usable coordinates and is left without atoms"
    return f"{protein.label(row)} {_names(lost)}: no usable coordinates, taken as missing"


def part_coincident(protein: Protein) -> tuple[Protein, tuple[str, ...]]:
    """Move atoms that stand on another one a little, the same way each time.

    Raises:
        RelaxFailure: They are too many.
    """
    rows, columns = np.nonzero(protein.atom37_mask)
    x = protein.atom37_positions[rows, columns].astype(np.float64)
    index = _coincident(x)
    if not len(index):
        return protein, ()
    if len(index) > MOST_COINCIDENT * len(x):
        raise RelaxFailure("overlap", f"{len(index)} of {len(x)} atoms stand on another")
    direction = np.random.default_rng(1).normal(size=(len(index), 3))
    xyz = protein.atom37_positions.copy()
    xyz[rows[index], columns[index]] += 0.3 * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    places = ", ".join(f"{protein.label(rows[k])} {rc.ATOM37[columns[k]]}" for k in index[:5])
    more = " ..." if len(index) > 5 else ""
    text = f"{len(index)} atoms that stood on another were moved by 0.3 A: {places}{more}"
    return dataclasses.replace(protein, atom37_positions=xyz), (text,)


def _coincident(x: np.ndarray) -> np.ndarray:
    """Return which of the points (n, 3) stand on another one, the first of each pair left out."""
    order = np.argsort(x[:, 0], kind="stable")
    found: set[int] = set()
    for step in range(1, len(order)):
        first, second = order[:-step], order[step:]
        if np.all(x[second, 0] - x[first, 0] > COINCIDENT):
            break
        near = np.linalg.norm(x[second] - x[first], axis=1) < COINCIDENT
        found |= set(second[near].tolist())
    return np.array(sorted(found), np.int64)
