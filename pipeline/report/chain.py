"""What the pages draw of a chain: secondary structure, pieces between breaks, a view."""

import numpy as np

N, CA, C, O = 0, 1, 2, 4  # noqa: E741  columns of atom37
LONGEST_STEP = 5.0  # angstrom between CA of neighbours; farther apart is drawn as a break
HBOND = -0.5  # kcal/mol, Kabsch & Sander 1983


def secondary_structure(positions: np.ndarray, mask: np.ndarray) -> str:
    """Return `H` (helix), `E` (strand) or `-` for each residue, from backbone hydrogen bonds.

    Args:
        positions: atom37, shape (residues, 37, 3), angstrom.
        mask: Shape (residues, 37), true where the atom is there.

    Source: Kabsch & Sander 1983, Biopolymers 22, 2577: alpha helix and bridges; no 3-10 or pi helix.
    """
    bonds = _hydrogen_bonds(positions.astype(np.float64), mask)
    helix = _helix(bonds)
    strand = _strand(bonds) & ~helix
    strand &= np.append(strand[1:], False) | np.insert(strand[:-1], 0, False)  # a lone bridge is no strand
    return "".join("H" if h else "E" if e else "-" for h, e in zip(helix, strand, strict=True))


def _hydrogen_bonds(positions: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return which C=O (row) accepts which N-H (column), shape (residues, residues)."""
    count = len(positions)
    n, c, o = (positions[:, i] for i in (N, C, O))
    carbonyl = c - o
    hydrogen = np.zeros_like(n)
    hydrogen[1:] = n[1:] + carbonyl[:-1] / np.maximum(np.linalg.norm(carbonyl[:-1], axis=-1, keepdims=True), 1e-9)

    def inverse(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return 1.0 / np.maximum(np.linalg.norm(first[:, None] - second[None], axis=-1), 0.5)

    energy = 27.9 * (inverse(o, n) + inverse(c, hydrogen) - inverse(o, hydrogen) - inverse(c, n))
    whole = np.asarray(mask[:, [N, CA, C, O]].all(axis=1))
    apart = np.arange(count)[None] - np.arange(count)[:, None]
    possible = whole[:, None] & whole[None] & ((apart < -1) | (apart > 1)) & (np.arange(count) > 0)[None]
    return (energy < HBOND) & possible


def _helix(bonds: np.ndarray) -> np.ndarray:
    count = len(bonds)
    turn = np.zeros(count, bool)
    turn[: max(count - 4, 0)] = np.diagonal(bonds, 4)
    helix = np.zeros(count, bool)
    for start in np.flatnonzero(turn[1:] & turn[:-1]) + 1:
        helix[start : start + 4] = True
    return helix


def _strand(bonds: np.ndarray) -> np.ndarray:
    count = len(bonds)
    if count < 5:
        return np.zeros(count, bool)
    before = np.zeros_like(bonds)  # O of i-1 accepts from N of j
    before[1:] = bonds[:-1]
    after = np.zeros_like(bonds)  # O of j accepts from N of i+1
    after[:-1] = bonds.T[1:]
    parallel = before & after
    crossed = np.zeros_like(bonds)  # (i-1 -> j+1)
    crossed[1:, :-1] = bonds[:-1, 1:]
    antiparallel = (bonds & bonds.T) | (crossed & crossed.T)
    bridge = parallel | parallel.T | antiparallel
    far = np.abs(np.subtract.outer(np.arange(count), np.arange(count))) > 2
    return (bridge & far).any(axis=1)


def pieces(positions: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
    """Return the residues of each unbroken stretch of CA atoms, as arrays of indices."""
    present = np.flatnonzero(mask[:, CA])
    ca = positions[present, CA]
    far = np.linalg.norm(np.diff(ca, axis=0), axis=-1) > LONGEST_STEP
    breaks = np.flatnonzero(far | (np.diff(present) > 1)) + 1
    return [piece for piece in np.split(present, breaks) if len(piece)]


def principal_view(points: np.ndarray) -> np.ndarray:
    """Return the rotation that lays the longest extent of points along x and the next along y, shape (3, 3).

    Args:
        points: Shape (points, 3), angstrom.

    A rotation, never a reflection: a mirrored protein would be another molecule. The first point ends up left and low.
    """
    centred = points - points.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2] if len(points) > 2 else np.eye(3)
    start = axes @ centred[0]
    axes[0] *= -1 if start[0] > 0 else 1
    axes[1] *= -1 if start[1] > 0 else 1
    axes[2] = np.cross(axes[0], axes[1])
    return axes
