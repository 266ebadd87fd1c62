"""Backbones from CA atoms: each peptide plane where real ones with the same four CA atoms around it are.

Source of the idea: Gront et al. 2007, J. Comput. Chem. 28, 1593 (BBQ); the table is made from experimental chains by
`training/side_chain_statistics.py`.
"""

import numpy as np

from models import residue_constants as rc

ANGLES = np.linspace(80.0, 150.0, 8)  # degrees, edges of the cells of the angle at a CA
TURNS = 36  # cells of the dihedral of four CA, from -180 on
_N, _CA, _C, _O = (rc.ATOM37_ID[name] for name in ("N", "CA", "C", "O"))
# Of an ideal residue: distances in angstrom, angles in degrees (Engh & Huber 1991).
_N_CA, _CA_C, _C_O, _N_CA_C, _CA_C_O = 1.459, 1.525, 1.229, 111.0, 120.1
_PHI, _PSI = -120.0, 135.0  # degrees, of residues at the ends


def frames(quads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return frames of four consecutive CA: origin at the second, x to the third, the first in the plane of x and y.

    Args:
        quads: Angstrom, shape (n, 4, 3).

    Returns:
        Rotations (n, 3, 3), whose columns are the axes, and origins (n, 3).
    """
    x = _unit(quads[:, 2] - quads[:, 1])
    y = quads[:, 0] - quads[:, 1]
    y = _unit(y - np.einsum("ni,ni->n", y, x)[:, None] * x)
    return np.stack([x, y, np.cross(x, y)], axis=-1), quads[:, 1]


def cells(quads: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the cells of the table that four consecutive CA fall into, each of shape (n,)."""
    a, b, c, d = np.moveaxis(quads, 1, 0)
    inner = ANGLES[1:-1]
    turn = np.floor((_torsion(a, b, c, d) + 180) / 360 * TURNS).astype(int) % TURNS
    return np.digitize(_angle(a, b, c), inner), np.digitize(_angle(b, c, d), inner), turn


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def _angle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    cosine = np.einsum("ni,ni->n", _unit(a - b), _unit(c - b))
    return np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))


def _torsion(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    axis = _unit(c - b)
    u, v = np.cross(b - a, axis), np.cross(axis, d - c)
    return np.rad2deg(np.arctan2(np.einsum("ni,ni->n", np.cross(u, v), axis), np.einsum("ni,ni->n", u, v)))


def rebuild(ca: np.ndarray, peptides: np.ndarray) -> np.ndarray:
    """Return N, CA, C and O of a run of bonded residues.

    Args:
        ca: Of the run, angstrom, shape (n, 3), n at least 2.
        peptides: `rotamers.Statistics.peptides`.

    Returns:
        Angstrom, shape (n, 4, 3).
    """
    n = len(ca)
    padded = np.concatenate([_before(ca)[None], ca, _before(ca[::-1])[None]])
    quads = np.stack([padded[k : k + n - 1] for k in range(4)], axis=1)
    rotation, origin = frames(quads)
    planes = np.einsum("nij,naj->nai", rotation, peptides[cells(quads)]) + origin[:, None]
    backbone = np.zeros((n, 4, 3))
    backbone[:, 1] = ca
    backbone[:-1, 2], backbone[:-1, 3], backbone[1:, 0] = planes[:, 0], planes[:, 1], planes[:, 2]
    next_n, last_c = planes[0, 2], planes[-1, 0]
    backbone[0, 0] = attached(next_n, planes[0, 0], ca[0], (_N_CA, _N_CA_C, _PSI))
    backbone[-1, 2] = attached(last_c, backbone[-1, 0], ca[-1], (_CA_C, _N_CA_C, _PHI))
    backbone[-1, 3] = attached(backbone[-1, 0], ca[-1], backbone[-1, 2], (_C_O, _CA_C_O, _PSI - 180))
    return backbone


def _before(ca: np.ndarray) -> np.ndarray:
    """Return where a CA before the first would be, as if the chain went on as it begins."""
    if len(ca) < 4:
        side = np.cross(ca[1] - ca[0], [0.36, 0.48, 0.8])
        return np.asarray(ca[0] - 0.3 * (ca[1] - ca[0]) + 3.5 * side / np.maximum(np.linalg.norm(side), 1e-6))
    turn = _torsion(*(point[None] for point in ca[:4]))[0]
    angle = _angle(*(point[None] for point in ca[:3]))[0]
    return attached(ca[2], ca[1], ca[0], (rc.CA_CA_TRANS, angle, turn))


def attached(a: np.ndarray, b: np.ndarray, c: np.ndarray, internal: tuple[float, float, float]) -> np.ndarray:
    """Return the atom d at distance c-d (angstrom), angle b-c-d and torsion a-b-c-d (degrees), shape (3,)."""
    length, angle, torsion = internal
    bend, turn = np.deg2rad(angle), np.deg2rad(torsion)
    axis = _unit(c - b)
    normal = _unit(np.cross(b - a, axis))
    across = np.cross(normal, axis)
    step = np.array([-np.cos(bend), np.sin(bend) * np.cos(turn), np.sin(bend) * np.sin(turn)])
    return np.asarray(c + length * (step[0] * axis + step[1] * across + step[2] * normal))
