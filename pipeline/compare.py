"""How near a model is to a reference: superposition, RMSD, lDDT, TM-score, GDT. NumPy only."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from pipeline.errors import FoldlineError

LDDT_RADIUS = 15.0  # angstrom
LDDT_THRESHOLDS = (0.5, 1.0, 2.0, 4.0)  # angstrom
GDT_THRESHOLDS = (1.0, 2.0, 4.0, 8.0)  # angstrom
_ROUNDS = 20
_SMALLEST = 3  # atoms that define a superposition


class ShapeMismatchError(FoldlineError):
    """Two structures do not hold the same atoms."""


@dataclasses.dataclass(frozen=True, eq=False)
class Lddt:
    """The share of distances kept, 0 to 1: of all, and of each residue (nan where it has none), shape (groups,)."""

    score: float
    per_residue: np.ndarray


def _check(model: np.ndarray, reference: np.ndarray) -> None:
    if model.shape != reference.shape or model.ndim != 2 or model.shape[1] != 3:
        raise ShapeMismatchError(f"expected two arrays of shape (atoms, 3), found {model.shape} and {reference.shape}")


def superpose(mobile: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rotation (3, 3) and translation (3,) of the best superposition, `mobile @ rotation.T + translation`.

    Args:
        mobile: Coordinates, shape (atoms, 3), angstrom.
        target: The same atoms in the same order.

    Raises:
        ShapeMismatchError: The two arrays differ in shape.

    Source: Kabsch 1976, Acta Cryst. A32, 922.
    """
    _check(mobile, target)
    rotation, translation = _weighted_superpose(mobile[None], target[None], np.ones((1, len(mobile))))
    return rotation[0], translation[0]


def _weighted_superpose(mobile: np.ndarray, target: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Superpose many times at once; mobile and target (b or 1, n, 3), weight (b, n)."""
    total = weight.sum(axis=1)[:, None]
    from_centre = np.einsum("bn,bnk->bk", weight, np.broadcast_to(mobile, (*weight.shape, 3))) / total
    to_centre = np.einsum("bn,bnk->bk", weight, np.broadcast_to(target, (*weight.shape, 3))) / total
    a, b = mobile - from_centre[:, None], target - to_centre[:, None]
    u, _, vt = np.linalg.svd(np.swapaxes(a * weight[..., None], 1, 2) @ b)
    flip = np.ones((len(weight), 3))
    flip[:, 2] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    rotation = np.swapaxes((u * flip[:, None]) @ vt, 1, 2)
    return rotation, to_centre - np.einsum("bij,bj->bi", rotation, from_centre)


def rmsd(mobile: np.ndarray, target: np.ndarray, *, superposed: bool = True) -> float:
    """Return the root mean square distance in angstrom, after the best superposition unless told otherwise.

    Raises:
        ShapeMismatchError: The two arrays differ in shape.
    """
    _check(mobile, target)
    if superposed:
        rotation, translation = superpose(mobile, target)
        mobile = mobile @ rotation.T + translation
    return float(np.sqrt(np.mean(np.sum((mobile - target) ** 2, axis=1))))


def lddt(model: np.ndarray, reference: np.ndarray, residue: np.ndarray | None = None) -> Lddt:
    """Compare the distances of a model with those of the reference that are shorter than 15 angstrom.

    Args:
        model: Coordinates, shape (atoms, 3), angstrom: CA atoms, or all atoms present in both structures.
        reference: The same atoms in the same order.
        residue: The residue that each atom belongs to, counted from 0, shape (atoms,); distances within a residue are
            left out. Without it every atom is a residue of its own (CA-lDDT).

    Raises:
        ShapeMismatchError: The two arrays differ in shape.

    Source: Mariani et al. 2013, Bioinformatics 29, 2722. Atoms with two names (OD1 and OD2) are taken as named.
    """
    _check(model, reference)
    residue = np.arange(len(model)) if residue is None else np.asarray(residue)
    expected = _distances(reference)
    counted = (expected < LDDT_RADIUS) & (residue[:, None] != residue[None])
    change = np.abs(_distances(model) - expected)
    kept = sum(((change < threshold) & counted).sum(axis=1) for threshold in LDDT_THRESHOLDS) / len(LDDT_THRESHOLDS)
    groups = int(residue.max(initial=-1)) + 1
    kept_by_residue = np.bincount(residue, kept, groups)
    pairs_by_residue = np.bincount(residue, counted.sum(axis=1), groups)
    per_residue = np.full(groups, np.nan)
    np.divide(kept_by_residue, pairs_by_residue, out=per_residue, where=pairs_by_residue > 0)
    pairs = pairs_by_residue.sum()
    return Lddt(float(kept_by_residue.sum() / pairs) if pairs else 0.0, per_residue)


def _distances(x: np.ndarray) -> np.ndarray:
    """Return all distances; by differences, since products lose digits, shape (n, n)."""
    return np.sqrt(sum((x[:, None, k].astype(np.float64) - x[None, :, k]) ** 2 for k in range(3)))


def tm_score(model: np.ndarray, reference: np.ndarray, length: int | None = None) -> float:
    """Return the TM-score of CA atoms that correspond one to one, 0 to 1.

    The best superposition is looked for as the published program does: from fragments of every length that halves, at
    every place, refined on the atoms that come near.

    Args:
        model: CA atoms, shape (n, 3), angstrom.
        reference: The same residues in the same order.
        length: Residues of the whole reference, by which the score is divided; n where not given.

    Raises:
        ShapeMismatchError: The two arrays differ in shape.

    Source: Zhang & Skolnick 2004, Proteins 57, 702.
    """
    _check(model, reference)
    length = length or len(model)
    d0 = tm_scale(length)
    near = min(max(d0, 4.5), 8.0)
    rounds = _superpositions(model, reference, near - 1, near + 1)
    return max((float(np.max(np.sum(1 / (1 + squared / d0**2), axis=1))) for squared in rounds), default=0.0) / length


def tm_scale(length: int) -> float:
    """Return d0 of the TM-score in angstrom for a protein of `length` residues."""
    return max(1.24 * (length - 15) ** (1 / 3) - 1.8, 0.5) if length > 15 else 0.5


def gdt_ts(model: np.ndarray, reference: np.ndarray) -> float:
    """Return the mean share of CA atoms that a superposition brings within 1, 2, 4 and 8 angstrom, 0 to 1.

    Each threshold has its own superposition, found by the search of the TM-score: it may lie a little below LGA's.

    Raises:
        ShapeMismatchError: The two arrays differ in shape.

    Source: Zemla 2003, Nucleic Acids Res. 31, 3370.
    """
    _check(model, reference)
    shares = []
    for threshold in GDT_THRESHOLDS:
        rounds = _superpositions(model, reference, threshold, threshold)
        within = (float(np.max(np.mean(squared <= threshold**2, axis=1))) for squared in rounds)
        shares.append(max(within, default=0.0))
    return float(np.mean(shares))


def _superpositions(
    model: np.ndarray, reference: np.ndarray, first_cutoff: float, cutoff: float
) -> Iterator[np.ndarray]:
    """Give the squared distances after superpositions that start from all fragments and are refined, each (b, n)."""
    n = len(model)
    if n < _SMALLEST:
        return
    for size in sorted({max(n >> k, min(4, n)) for k in range(6)}, reverse=True):
        starts = np.arange(n - size + 1)[:, None]
        chosen = (np.arange(n) >= starts) & (np.arange(n) < starts + size)
        limit = first_cutoff
        for _ in range(_ROUNDS):
            rotation, translation = _weighted_superpose(model[None], reference[None], chosen.astype(np.float64))
            moved = np.einsum("bij,nj->bni", rotation, model) + translation[:, None]
            squared = np.sum((moved - reference) ** 2, axis=2)
            yield squared
            selected = _nearest(squared, limit)
            changed = np.any(selected != chosen, axis=1)
            if not changed.any():
                break
            chosen, limit = np.unique(selected[changed], axis=0), cutoff


def _nearest(squared: np.ndarray, cutoff: float) -> np.ndarray:
    """Return the atoms nearer than the cutoff, which grows by halves until three are, shape (b, n)."""
    third = np.sqrt(np.partition(squared, 2, axis=1)[:, 2])
    steps = np.ceil(np.maximum(third - cutoff, 0) / 0.5)
    return squared <= ((cutoff + 0.5 * steps)[:, None]) ** 2
