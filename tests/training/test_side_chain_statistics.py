"""The table of peptide planes: means in the frame of four CA, and where few peptides are, those of the cells around."""

import numpy as np
import pytest

from models import residue_constants as rc
from pipeline.relax import trace
from training import side_chain_statistics as made

RNG = np.random.default_rng(23)
NEAR, FAR = RNG.normal(size=(2, 3, 3))  # C, O and N, angstrom, in the frame of the four CA
LENGTH = rc.CA_CA_TRANS


def centre(first, second, turn):
    """Return angles and dihedral in the middle of a cell, degrees."""
    middles = (trace.ANGLES[:-1] + trace.ANGLES[1:]) / 2
    return middles[first], middles[second], -180 + (turn + 0.5) * 360 / trace.TURNS


def peptides(cells):
    """Return seven quads of CA in each cell, moved anywhere, and their planes: cells to planes in the frame."""
    quads, planes = [], []
    for cell, local in cells.items():
        one, two, turn = centre(*cell)
        bend = np.deg2rad(one)
        first = np.array([[LENGTH, 0, 0], [0, 0, 0], [LENGTH * np.cos(bend), LENGTH * np.sin(bend), 0]])
        quad = np.concatenate([first, trace.attached(*first, (LENGTH, two, turn))[None]])
        rotations = np.linalg.qr(RNG.normal(size=(7, 3, 3)))[0]
        rotations *= np.sign(np.linalg.det(rotations))[:, None, None]
        moved = np.einsum("rij,aj->rai", rotations, quad) + RNG.normal(scale=50, size=(7, 1, 3))
        turned, origin = trace.frames(moved)
        quads.append(moved)
        planes.append(np.einsum("rij,aj->rai", turned, local) + origin[:, None])
    return np.concatenate(quads), np.concatenate(planes)


def test_a_cell_holds_the_mean_of_its_peptides():
    quads, planes = peptides({(2, 4, 11): NEAR, (5, 1, 30): FAR})
    planes[:7] += np.arange(-3, 4)[:, None, None] * (quads[:7, 2] - quads[:7, 1])[:, None]  # along x, 0 in the mean
    table = made.peptides(quads, planes)
    assert table.shape == (7, 7, 36, 3, 3)
    np.testing.assert_allclose(table[2, 4, 11], NEAR, atol=1e-6)
    np.testing.assert_allclose(table[5, 1, 30], FAR, atol=1e-6)


@pytest.mark.parametrize(
    ("empty", "near", "far"),
    [
        ((6, 3, 17), (5, 3, 17), (0, 3, 17)),
        ((0, 3, 17), (1, 3, 17), (6, 3, 17)),
        ((3, 6, 17), (3, 5, 17), (3, 0, 17)),
        ((3, 0, 17), (3, 1, 17), (3, 6, 17)),
        ((3, 3, 35), (3, 3, 0), (3, 3, 30)),
        ((3, 3, 0), (3, 3, 35), (3, 3, 5)),
    ],
    ids=["first, wide", "first, narrow", "second, wide", "second, narrow", "dihedral, last", "dihedral, first"],
)
def test_an_empty_cell_borrows_from_its_neighbours(empty, near, far):
    """An angle of 145 degrees is far from one of 85; a dihedral of 175 degrees is beside one of -175."""
    table = made.peptides(*peptides({near: NEAR, far: FAR}))
    share = np.vdot(table[empty] - NEAR, FAR - NEAR) / np.vdot(FAR - NEAR, FAR - NEAR)
    assert 0 <= share < 0.01
    np.testing.assert_allclose(table[empty], NEAR + share * (FAR - NEAR), atol=1e-6)
