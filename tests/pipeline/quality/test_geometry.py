"""Distances, torsions and neighbours."""

import numpy as np
import pytest

from pipeline.quality.geometry import angle, length, pairs_within, place, torsion

RNG = np.random.default_rng(11)


@pytest.mark.parametrize("cutoff", [0.5, 3.0, 100.0])
def test_pairs_are_those_of_all_distances(cutoff):
    points = RNG.uniform(-13, 17, (211, 3))
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    wanted = {(i, j) for i, j in np.argwhere(np.triu(distance < cutoff, 1)).tolist()}
    found = list(zip(*(side.tolist() for side in pairs_within(points, cutoff)), strict=True))
    assert set(found) == wanted
    assert len(found) == len(wanted)


def test_points_that_are_nowhere_have_no_neighbours():
    points = np.zeros((7, 3))
    points[1], points[2, 0], points[3] = np.nan, np.inf, 1e30
    i, j = pairs_within(points, 1.0)
    assert set(i.tolist()) | set(j.tolist()) == {0, 4, 5, 6}
    assert len(pairs_within(points[1:4], 1.0)[0]) == len(pairs_within(points[:0], 1.0)[0]) == 0


def test_points_far_apart_need_no_memory():
    points = np.array([[0.0, 0, 0], [1e6, -1e6, 1e6], [1e6, -1e6, 1e6 + 0.5]])
    assert [side.tolist() for side in pairs_within(points, 1.0)] == [[1], [2]]


def test_a_placed_point_has_the_distance_angle_and_torsion_asked_for():
    a, b, c = RNG.normal(size=(3, 13, 3))
    d = place(a, b, c, (1.5, 109.0, -37.0))
    np.testing.assert_allclose(length(d - c), 1.5)
    np.testing.assert_allclose(angle(b, c, d), 109.0)
    np.testing.assert_allclose(torsion(a, b, c, d), -37.0)
