"""What the pages draw of a chain: pieces between breaks, a view."""

import numpy as np

N, CA, C, O = 0, 1, 2, 4  # noqa: E741  columns of atom37
LONGEST_STEP = 5.0  # angstrom between CA of neighbours; farther apart is drawn as a break


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
