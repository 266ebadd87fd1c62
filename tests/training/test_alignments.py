"""What is drawn in the place of alignments: rows like the profile, couplings like the contacts, as strong as asked."""

import numpy as np
import pytest

from models import residue_constants as rc
from training import alignments

SEED = 11


def helix(n):
    angle = np.deg2rad(100.0) * np.arange(n)
    return np.stack([2.3 * np.cos(angle), 2.3 * np.sin(angle), 1.5 * np.arange(n)], -1)


def hairpin(n):
    """Return two straight strands side by side, 5 angstrom apart, and each pair's distance."""
    half = n // 2
    up = np.stack([3.4 * np.arange(half), np.zeros(half), np.zeros(half)], -1)
    beta = np.concatenate([up, up[::-1] + np.array([0.0, 5.0, 0.0])])
    return beta, np.linalg.norm(beta[:, None] - beta[None], axis=-1)


def test_drawn_couplings_are_symmetric_and_none_is_of_a_residue_with_itself():
    found = alignments.draw_couplings(helix(211), 2.0, np.random.default_rng(SEED))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(np.diag(found), 0)


@pytest.mark.parametrize("strength", [0.5, 3.0])
def test_drawn_couplings_are_in_contact_as_strong_as_asked_and_noise_elsewhere(strength):
    beta, distance = hairpin(82)
    found = np.stack([alignments.draw_couplings(beta, strength, np.random.default_rng(seed)) for seed in range(31)])
    apart = np.abs(np.subtract.outer(np.arange(82), np.arange(82)))
    near, far = found[:, (distance < 6) & (apart > 5)], found[:, (distance > 15) & (apart > 20)]
    assert np.median(far) == pytest.approx(0, abs=0.1)
    assert np.mean(np.abs(far) > 4) < 0.02
    assert 0.2 * strength < np.median(near) < strength
    assert np.quantile(near, 0.95) > 2 * strength  # few are strong


def test_clean_couplings_are_strong_in_contact_and_noise_elsewhere():
    beta = helix(211)
    found = alignments.draw_clean_couplings(beta, 2.0, np.random.default_rng(SEED))
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(np.diag(found), 0)
    distance = np.linalg.norm(beta[:, None] - beta[None], axis=-1)
    pairs = np.triu(np.ones_like(distance), 1) > 0
    near, far = found[pairs & (distance < 7)], found[pairs & (distance > 12)]
    assert np.mean(near) > 0.3
    assert np.median(far) == pytest.approx(0, abs=0.05)
    assert np.mean(far > 2) == pytest.approx(0.05, abs=0.01)  # Student's distribution, five degrees of freedom


def test_neighbouring_pairs_share_noise():
    spread = 1e3 * helix(97)  # nothing is in contact
    found = alignments.draw_couplings(spread, 2.0, np.random.default_rng(SEED))
    pairs = np.triu(np.ones((96, 96), bool), 30)
    here, beside = found[:-1, :-1][pairs], found[:-1, 1:][pairs]
    assert 0.15 < np.corrcoef(here, beside)[0, 1] < 0.5


def test_drawn_rows_follow_the_profile():
    profile = np.zeros((19, 20), np.float32)
    profile[:, 4] = 0.75
    profile[:, 9] = 0.25
    rows = alignments.draw_rows(profile, 997, np.random.default_rng(SEED))
    assert set(np.unique(rows)) == {4, 9, rc.GAP}
    assert (rows == 4).sum() / (rows != rc.GAP).sum() == pytest.approx(0.75, abs=0.02)


def test_equal_rows_are_dropped_and_the_query_stays_first():
    rows = np.array([[3, 1], [2, 2], [3, 1], [0, 5]], np.int8)
    kept, deletions = alignments.without_duplicates(rows, np.arange(8, dtype=np.int16).reshape(4, 2))
    assert kept.tolist() == [[3, 1], [2, 2], [0, 5]]
    assert deletions.tolist() == [[0, 1], [2, 3], [6, 7]]
