"""Laws of couplings: direct ones before indirect ones, symmetry, weights of rows; what is too shallow says nothing."""

import numpy as np
import pytest

from models import coevolution
from models.residue_constants import GAP
from pipeline.search.msa_report import row_weights

ROWS, N, SEED = 997, 13, 3


@pytest.fixture(scope="module")
def alignment():
    """Return random letters in which columns 1 and 8, and 8 and 11, mostly have the same letter."""
    rng = np.random.default_rng(SEED)
    msa = rng.integers(0, 20, (ROWS, N)).astype(np.int8)
    for source, target in ((1, 8), (8, 11)):
        copied = rng.random(ROWS) < 0.7
        msa[copied, target] = msa[copied, source]
    return msa


def test_what_changes_together_stands_out_and_what_does_so_through_others_does_not(alignment):
    found = coevolution.couplings(alignment)
    assert found.shape == (N, N)
    assert min(found[1, 8], found[8, 11]) > 10
    assert found[1, 11] < 0.5 * min(found[1, 8], found[8, 11])  # correlated 0.7 times as much
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(np.diag(found), 0)


def test_the_order_of_the_rows_does_not_matter(alignment):
    mixed = np.concatenate([alignment[:1], np.random.default_rng(SEED).permutation(alignment[1:])])
    np.testing.assert_allclose(coevolution.couplings(mixed), coevolution.couplings(alignment), atol=0.02)


def test_strengths_are_those_of_the_inverse_covariance(alignment):
    letters, few = alignment[:101, :7], 7
    weights = coevolution.row_weights(letters)
    coded = np.eye(20)[letters].reshape(len(letters), -1)
    coded = (coded - weights @ coded / weights.sum()) * np.sqrt(weights / weights.sum())[:, None]
    shrunk = coded.T @ coded + 4.5 / np.sqrt(weights.sum()) * np.eye(20 * few)
    norms = np.sqrt(np.square(np.linalg.inv(shrunk).reshape(few, 20, few, 20)).sum(axis=(1, 3)))
    found = coevolution.strengths(letters, weights)
    pairs = np.triu_indices(few, 1)
    ratio = found[pairs] / norms[pairs]
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-3)


def test_rows_that_are_alike_share_their_weight():
    rng = np.random.default_rng(SEED)
    letters = rng.integers(0, 20, (3, 41)).astype(np.int8)
    letters[1] = letters[0]
    letters[1, :8] = GAP  # a fifth of the columns may differ
    np.testing.assert_allclose(coevolution.row_weights(letters), [0.5, 0.5, 1])


def test_rows_count_as_the_report_of_the_search_counts_them():
    rng = np.random.default_rng(SEED)
    letters = rng.integers(0, 3, (211, 17)).astype(np.int8)
    for row in letters[1:]:
        row[: rng.integers(0, 17)] = GAP
    (expected,), _ = row_weights(letters, [0.8])
    assert 30 < expected.sum() < 190
    np.testing.assert_allclose(coevolution.row_weights(letters), expected)


def test_columns_that_are_missing_together_are_not_coupled(alignment):
    """Half of the rows lack one end: the ends are no more coupled than other columns that have nothing in common."""
    ragged = alignment.copy()
    ragged[1 : ROWS // 2, :4] = GAP
    found = coevolution.couplings(ragged)
    ends = found[:4, :4][np.triu_indices(4, 1)]
    assert np.abs(ends).max() < 4
    assert found[8, 11] > 10


def test_columns_with_few_letters_say_nothing(alignment):
    ragged = alignment.copy()
    ragged[60:, 4] = GAP
    found = coevolution.couplings(ragged)
    assert not found[4].any()
    assert found[1, 8] > 10


@pytest.mark.parametrize("rows", [1, 63])
def test_a_shallow_alignment_says_nothing(alignment, rows):
    assert not coevolution.couplings(alignment[:rows]).any()


def test_rows_that_repeat_one_another_are_shallow_too(alignment):
    assert not coevolution.couplings(np.repeat(alignment[:50], 20, axis=0)).any()


@pytest.mark.parametrize("n", [1, 7, 521])
def test_chains_that_are_too_short_or_too_long_have_none(n):
    msa = np.random.default_rng(SEED).integers(0, 20, (101, n)).astype(np.int8)
    assert coevolution.couplings(msa).shape == (n, n)
    assert not coevolution.couplings(msa).any()


def test_columns_that_never_change_do_no_harm(alignment):
    constant = alignment.copy()
    constant[:, 3:6] = [[4, GAP, 20]]
    found = coevolution.couplings(constant)
    assert np.isfinite(found).all()
    assert found[1, 8] > 5
