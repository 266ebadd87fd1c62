"""How near a model is to a reference: superposition, RMSD, lDDT, TM-score, GDT. NumPy only."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from pipeline.errors import FoldlineError
from pipeline.quality.geometry import pairs_within

LDDT_RADIUS = 15.0  # angstrom
LDDT_THRESHOLDS = (0.5, 1.0, 2.0, 4.0)  # angstrom
GDT_THRESHOLDS = (1.0, 2.0, 4.0, 8.0)  # angstrom
_ROUNDS = 20
_HALVINGS, _FRAGMENT = 5, 4  # fragments that superpositions start from: all, half ... a sixteenth, four residues
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
    from_centre, to_centre = mobile.mean(axis=0), target.mean(axis=0)
    rotation = _rotations(((mobile - from_centre).T @ (target - to_centre))[None])[0]
    return rotation, to_centre - rotation @ from_centre


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


def lddt(
    model: np.ndarray,
    reference: np.ndarray,
    residue: np.ndarray | None = None,
    alternative: np.ndarray | None = None,
) -> Lddt:
    """Compare the distances of a model with those of the reference that are shorter than 15 angstrom.

    Args:
        model: Coordinates, shape (atoms, 3), angstrom: CA atoms, or all atoms of the reference; nan where the model has
            none, whose distances count as lost.
        reference: The same atoms in the same order.
        residue: The residue that each atom belongs to, counted from 0, shape (atoms,); distances within a residue are
            left out. Without it every atom is a residue of its own (CA-lDDT).
        alternative: Where the model has each atom under the other of two names (OD1 and OD2, say), the same as `model`
            for atoms of one name, shape (atoms, 3). A residue is renamed where that keeps more of its distances to
            atoms of one name. Without it atoms are taken as named.

    Raises:
        ShapeMismatchError: The two arrays differ in shape.

    Source: Mariani et al. 2013, Bioinformatics 29, 2722.
    """
    _check(model, reference)
    residue = np.arange(len(model)) if residue is None else np.asarray(residue)
    i, j = pairs_within(reference, LDDT_RADIUS)
    apart = residue[i] != residue[j]
    i, j = i[apart], j[apart]
    expected = _distance(reference[i], reference[j])
    if alternative is not None:
        model = _renamed(model, alternative, residue, (i, j, expected))
    kept = _kept(model[i], model[j], expected)
    groups = int(residue.max(initial=-1)) + 1
    kept_by_residue = np.bincount(residue[i], kept, groups) + np.bincount(residue[j], kept, groups)
    pairs_by_residue = np.bincount(residue[i], minlength=groups) + np.bincount(residue[j], minlength=groups)
    per_residue = np.full(groups, np.nan)
    np.divide(kept_by_residue, pairs_by_residue, out=per_residue, where=pairs_by_residue > 0)
    return Lddt(float(kept.mean()) if len(kept) else 0.0, per_residue)


def _renamed(
    model: np.ndarray, alternative: np.ndarray, residue: np.ndarray, pairs: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> np.ndarray:
    """Return the model with the atoms of each residue under those names that keep more distances."""
    absent = np.isnan(model).any(axis=1) & np.isnan(alternative).any(axis=1)
    two_names = np.any(model != alternative, axis=1) & ~absent
    i, j, expected = (np.concatenate(both) for both in zip(pairs, (pairs[1], pairs[0], pairs[2]), strict=True))
    judged = two_names[i] & ~two_names[j]
    i, j, expected = i[judged], j[judged], expected[judged]
    gain = _kept(alternative[i], model[j], expected) - _kept(model[i], model[j], expected)
    better = np.bincount(residue[i], gain, int(residue.max(initial=-1)) + 1) > 1e-9
    return np.where(better[residue][:, None], alternative, model)


def _kept(a: np.ndarray, b: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the share of the thresholds that the distance of each pair keeps, shape (pairs,)."""
    change = np.abs(_distance(a, b) - expected)
    return sum((change <= threshold).astype(np.float64) for threshold in LDDT_THRESHOLDS) / len(LDDT_THRESHOLDS)


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the distances of points (n, 3), by differences, since products lose digits, shape (n,)."""
    return np.sqrt(sum((a[:, k].astype(np.float64) - b[:, k]) ** 2 for k in range(3)))


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
    rounds = _superpositions(model, reference, *_tm_cutoffs(d0))
    return max((float(np.max(np.sum(1 / (1 + squared / d0**2), axis=1))) for squared in rounds), default=0.0) / length


def tm_scale(length: int) -> float:
    """Return d0 of the TM-score in angstrom for a protein of `length` residues."""
    return max(1.24 * (length - 15) ** (1 / 3) - 1.8, 0.5) if length > 15 else 0.5


def gdt_ts(model: np.ndarray, reference: np.ndarray) -> float:
    """Return the mean share of CA atoms that a superposition brings within 1, 2, 4 and 8 angstrom, 0 to 1.

    Each threshold has its own superposition, the best of all that searches like that of the TM-score find, one for each
    threshold and its own: it may lie a little below LGA's.

    Raises:
        ShapeMismatchError: The two arrays differ in shape.

    Source: Zemla 2003, Nucleic Acids Res. 31, 3370.
    """
    _check(model, reference)
    best = np.zeros(len(GDT_THRESHOLDS))
    limits = np.array(GDT_THRESHOLDS)[:, None, None] ** 2
    for first, cutoff in (_tm_cutoffs(tm_scale(len(model))), *((value, value) for value in GDT_THRESHOLDS)):
        for squared in _superpositions(model, reference, first, cutoff):
            best = np.maximum(best, np.max(np.mean(squared <= limits, axis=2), axis=1))
    return float(best.mean())


def _tm_cutoffs(d0: float) -> tuple[float, float]:
    """Return within which distance atoms are superposed again, at first and then, angstrom."""
    near = min(max(d0, 4.5), 8.0)
    return near - 1, near + 1


def _superpositions(
    model: np.ndarray, reference: np.ndarray, first_cutoff: float, cutoff: float
) -> Iterator[np.ndarray]:
    """Give the squared distances after superpositions that start from all fragments and are refined, each (b, n)."""
    n = len(model)
    if n < _SMALLEST:
        return
    pair = _Pair(model, reference)
    for size in sorted({*(n >> k for k in range(_HALVINGS) if n >> k > _FRAGMENT), min(_FRAGMENT, n)}, reverse=True):
        starts = np.arange(n - size + 1)[:, None]
        chosen = (np.arange(n) >= starts) & (np.arange(n) < starts + size)
        limit = first_cutoff
        for _ in range(_ROUNDS):
            squared = pair.superposed(chosen)
            yield squared
            selected = _nearest(squared, limit)
            changed = np.any(selected != chosen, axis=1)
            if not changed.any():
                break
            chosen, limit = _unique(selected[changed]), cutoff


class _Pair:
    """Two sets of points, of which many selections are superposed at once by products of matrices."""

    def __init__(self, model: np.ndarray, reference: np.ndarray) -> None:
        a, b = (x.astype(np.float64) - x.mean(axis=0, dtype=np.float64) for x in (model, reference))
        self._products = np.einsum("ni,nj->nij", a, b).reshape(-1, 9)
        self._moments = np.concatenate([a, b, self._products, np.ones((len(a), 1))], axis=1)
        self._coordinates = np.concatenate([a, b], axis=1)
        self._squares = np.sum(a**2, axis=1) + np.sum(b**2, axis=1)

    def superposed(self, chosen: np.ndarray) -> np.ndarray:
        """Return the squared distances of all points after superposing those chosen (b, n), shape (b, n)."""
        sums = chosen.astype(np.float64) @ self._moments
        count = sums[:, 15:]
        p, q = sums[:, :3] / count, sums[:, 3:6] / count
        covariance = sums[:, 6:15].reshape(-1, 3, 3) - count[..., None] * p[:, :, None] * q[:, None]
        rotation = _rotations(covariance)
        shift = q - np.einsum("bij,bj->bi", rotation, p)
        # |R a + t - b|^2 = |a|^2 + |b|^2 + |t|^2 - 2 b.R a + 2 t.R a - 2 t.b
        squared = -2 * np.swapaxes(rotation, 1, 2).reshape(-1, 9) @ self._products.T
        squared += 2 * np.concatenate([np.einsum("bij,bi->bj", rotation, shift), -shift], axis=1) @ self._coordinates.T
        squared += self._squares + np.sum(shift**2, axis=1)[:, None]
        return np.maximum(squared, 0.0)


def _rotations(covariance: np.ndarray) -> np.ndarray:
    """Return the rotations that best turn the first points of each covariance (b, 3, 3) onto the second."""
    u, _, vt = np.linalg.svd(covariance)
    flip = np.ones((len(covariance), 3))
    flip[:, 2] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    return np.swapaxes((u * flip[:, None]) @ vt, 1, 2)


def _unique(selected: np.ndarray) -> np.ndarray:
    """Return the different rows of flags (b, n)."""
    packed = np.packbits(selected, axis=1)
    rows = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    return selected[np.unique(rows, return_index=True)[1]]


def _nearest(squared: np.ndarray, cutoff: float) -> np.ndarray:
    """Return the atoms nearer than the cutoff, which grows by halves until three are, shape (b, n)."""
    selected = squared < cutoff**2
    few = np.flatnonzero(selected.sum(axis=1) < _SMALLEST)
    if len(few):
        third = np.sqrt(np.partition(squared[few], 2, axis=1)[:, 2])
        steps = np.floor(np.maximum(third - cutoff, 0) / 0.5) + 1
        selected[few] = squared[few] < ((cutoff + 0.5 * steps)[:, None]) ** 2
    return selected
