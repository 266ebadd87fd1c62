"""Backbone-dependent rotamers, and the side chains that they make.

`training/side_chain_statistics.py` makes the file from experimental chains; it names source, licence and checksum.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models import residue_constants as rc
from pipeline.records import read_npz

FILE = Path(__file__).with_name("statistics.npz")
SCHEMA = "foldline.side_chain_statistics/1"
CELLS = 18  # of phi, and of psi, from -180 on
STEP = 0.05  # of the logarithms of probabilities, which are kept as one byte each
_CHI_GROUP = 4  # the rigid group of chi 1
_N, _CA, _C = (rc.ATOM37_ID[name] for name in ("N", "CA", "C"))


@dataclasses.dataclass(frozen=True, eq=False)
class Rotamers:
    """The rotamers of one residue type.

    Args:
        chi: Mean torsions, degrees, shape (rotamers, torsions).
        spread: Their standard deviations, degrees, the same shape.
        log_probability: By phi and psi, shape (CELLS, CELLS, rotamers).
    """

    chi: np.ndarray
    spread: np.ndarray
    log_probability: np.ndarray

    def given(self, phi: float, psi: float) -> np.ndarray:
        """Return the log probabilities at a backbone, shape (rotamers,); what is nan is averaged over."""
        table = np.exp(self.log_probability)
        table = table[_cell(phi)] if np.isfinite(phi) else table.mean(axis=0)
        return np.log(table[_cell(psi)] if np.isfinite(psi) else table.mean(axis=0))


@dataclasses.dataclass(frozen=True, eq=False)
class Statistics:
    """What the file holds.

    Args:
        rotamers: By the letter of the residue type.
        peptides: C, O and the next N between two CA, in the frame of `trace.frames`, angstrom, shape
            (angle, next angle, dihedral, 3, 3).
        facts: Source, licence, sha256, counts.
    """

    rotamers: Mapping[str, Rotamers]
    peptides: np.ndarray
    facts: Mapping[str, Any]


def _cell(angle: float) -> int:
    return int((angle + 180) / 360 * CELLS) % CELLS


@functools.cache
def statistics() -> Statistics:
    """Read the file that comes with Foldline."""
    arrays = read_npz(FILE, SCHEMA)
    facts = json.loads(str(arrays["facts"]))
    rotamers = {
        letter: Rotamers(
            chi=arrays[f"chi_{letter}"].astype(np.float64),
            spread=arrays[f"spread_{letter}"].astype(np.float64),
            log_probability=-STEP * arrays[f"probability_{letter}"].astype(np.float64),
        )
        for letter in facts["rotamers"]
    }
    return Statistics(rotamers, arrays["peptides"].astype(np.float64), facts)


def backbone_frames(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rotations (n, 3, 3) and origins (n, 3) of the backbones of atom37 positions (n, 37, 3), angstrom.

    Source: Jumper et al. 2021, Suppl. Alg. 21: CA at the origin, C on the x axis, N in the plane of x and y.
    """
    n, ca, c = (positions[:, atom].astype(np.float64) for atom in (_N, _CA, _C))
    x = _unit(c - ca)
    y = n - ca
    y = _unit(y - np.einsum("ni,ni->n", y, x)[:, None] * x)
    return np.stack([x, y, np.cross(x, y)], axis=-1), ca


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def place(aatype: int, frame: tuple[np.ndarray, np.ndarray], chi: np.ndarray) -> np.ndarray:
    """Return the atoms of one residue for each of several sets of torsions, in atom14 order.

    Args:
        aatype: Residue type.
        frame: Rotation (3, 3) and origin (3,) of its backbone, angstrom.
        chi: Degrees, shape (sets, torsions).

    Returns:
        Positions, angstrom, shape (sets, 14, 3); only side-chain atoms mean something.

    Source: Jumper et al. 2021, Suppl. Alg. 24, with the ideal geometry of `residue_constants`.
    """
    sets = len(chi)
    rotation, origin = (np.broadcast_to(part, (sets, *np.shape(part))) for part in frame)
    groups = {0: (rotation, origin)}
    for k in range(chi.shape[1]):
        group = _CHI_GROUP + k
        rotation, origin = _turned(aatype, group, (rotation, origin), np.deg2rad(chi[:, k]))
        groups[group] = (rotation, origin)
    atoms = np.zeros((sets, 14, 3))
    for group, (turn, shift) in groups.items():
        member = np.flatnonzero((rc.ATOM14_MASK[aatype] > 0) & (rc.ATOM14_GROUP[aatype] == group))
        local = rc.ATOM14_LOCAL[aatype, member].astype(np.float64)
        atoms[:, member] = np.einsum("sij,aj->sai", turn, local) + shift[:, None]
    return atoms


def _turned(
    aatype: int, group: int, carrier: tuple[np.ndarray, np.ndarray], angle: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return a group's frames, turned by `angle` (radian, shape (sets,)) about their x axis."""
    sine, cosine = np.sin(angle), np.cos(angle)
    about_x = np.zeros((len(angle), 3, 3))
    about_x[:, 0, 0] = 1
    about_x[:, 1, 1] = about_x[:, 2, 2] = cosine
    about_x[:, 2, 1], about_x[:, 1, 2] = sine, -sine
    at_zero = rc.GROUP_ROTATION[aatype, group].astype(np.float64)
    rotation, origin = carrier
    shift = np.einsum("sij,j->si", rotation, rc.GROUP_TRANSLATION[aatype, group].astype(np.float64))
    return rotation @ at_zero @ about_x, origin + shift
