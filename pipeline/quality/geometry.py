"""Lengths, angles, torsions, and which points are near each other: what every measure of a structure needs."""

import numpy as np

_FAR = 1e7  # angstrom; what lies further out is no structure, and would overflow the numbers of the cells
_FORWARD = np.array(
    [(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if (x, y, z) > (0, 0, 0)], np.int64
)


def length(vectors: np.ndarray) -> np.ndarray:
    """Return the lengths of vectors (..., 3)."""
    return np.sqrt(np.einsum("...i,...i->...", vectors, vectors))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (..., 3) at length 1; those of no length stay as they are."""
    return vectors / np.maximum(length(vectors), 1e-8)[..., None]


def cosine(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the cosine of the angle between vectors (..., 3)."""
    return np.einsum("...i,...i->...", u, v) / np.maximum(length(u) * length(v), 1e-8)


def angle(a: np.ndarray, vertex: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the angle at the vertex in degrees, 0 to 180, shape (...)."""
    return np.rad2deg(np.arccos(np.clip(cosine(a - vertex, b - vertex), -1, 1)))


def torsion(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return the torsion angles a-b-c-d in degrees, -180 to 180 (IUPAC: clockwise is positive), shape (...)."""
    axis = c - b
    u, v = np.cross(b - a, axis), np.cross(axis, d - c)
    sine = np.einsum("...i,...i->...", np.cross(u, v), axis) / np.maximum(length(axis), 1e-8)
    return np.rad2deg(np.arctan2(sine, np.einsum("...i,...i->...", u, v)))


def place(a: np.ndarray, b: np.ndarray, c: np.ndarray, internal: tuple[float, float, float]) -> np.ndarray:
    """Return the point d at a distance from c (angstrom), with the angle b-c-d and the torsion a-b-c-d (degrees).

    Args:
        a: Shape (n, 3), angstrom.
        b: The same.
        c: The same.
        internal: Distance, angle, torsion.
    """
    distance, bend, turn = internal[0], np.deg2rad(internal[1]), np.deg2rad(internal[2])
    back = unit(c - b)
    normal = unit(np.cross(b - a, back))
    across = np.cross(normal, back)
    return c + distance * (
        -np.cos(bend) * back + np.sin(bend) * np.cos(turn) * across + np.sin(bend) * np.sin(turn) * normal
    )


def pairs_within(points: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs i < j of points nearer than the cutoff, two arrays (pairs,), by a list of cells.

    Args:
        points: Shape (n, 3), angstrom; those that are no finite numbers have no neighbours.
        cutoff: Angstrom.
    """
    with np.errstate(invalid="ignore"):
        real = np.flatnonzero((np.abs(points) < _FAR).all(axis=1))
    if not len(real):
        return real, real
    x = points[real].astype(np.float64)
    cell = np.floor((x - x.min(axis=0)) / cutoff).astype(np.int64) + 1
    size = cell.max(axis=0) + 2  # an empty layer all around, so that no neighbour is found across an edge
    stride = np.array([size[1] * size[2], size[2], 1])
    key = cell @ stride
    order = np.argsort(key, kind="stable")
    key = key[order]
    found = [_later_in_cell(key), *(_in_cell(key, key + step) for step in _FORWARD @ stride)]
    i, j = (order[np.concatenate(side)] for side in zip(*found, strict=True))
    offset = x[i] - x[j]
    near = np.einsum("pk,pk->p", offset, offset) < cutoff**2
    i, j = real[i[near]], real[j[near]]
    return np.minimum(i, j), np.maximum(i, j)


def _in_cell(key: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pair each point with the points whose (sorted) key is the wanted one."""
    first, last = np.searchsorted(key, wanted, "left"), np.searchsorted(key, wanted, "right")
    return _expand(first, last)


def _later_in_cell(key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _expand(np.arange(1, len(key) + 1), np.searchsorted(key, key, "right"))


def _expand(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (k, each of first[k] to last[k] - 1) for all k."""
    count = last - first
    start = np.repeat(np.cumsum(count) - count, count)
    return np.repeat(np.arange(len(count)), count), np.repeat(first, count) + np.arange(len(start)) - start
