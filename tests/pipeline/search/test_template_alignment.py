"""The aligner against Biopython's, and where the two differ on purpose: at breaks of the chain."""

import itertools

import numpy as np
import pytest
from Bio.Align import PairwiseAligner
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.a3m import Alignment
from pipeline.search.engines.hmmer import profile
from pipeline.search.template_alignment import Costs, align, profile_scores, rows

LETTERS = "ACDE"
MATCH, MISMATCH = 400, -300
COSTS = Costs(opening=500, extending=70, pair=0)


def matrix(query, sequence):
    return np.array([[MATCH if a == b else MISMATCH for b in sequence] for a in query], dtype=np.int32)


def rescored(pairs, scores, costs):
    total = sum(int(scores[i, j]) + costs.pair for i, j in pairs)
    for (i, j), (k, m) in itertools.pairwise(pairs):
        gaps = [gap for gap in (k - i - 1, m - j - 1) if gap]
        assert len(gaps) < 2, "a gap in both at once"
        total -= sum(costs.opening + (gap - 1) * costs.extending for gap in gaps)
    return total


@settings(max_examples=150, deadline=None)
@given(st.text(LETTERS, min_size=1, max_size=23), st.text(LETTERS, min_size=1, max_size=29))
def test_the_best_score_is_biopythons(query, sequence):
    aligner = PairwiseAligner(mode="local", match_score=MATCH, mismatch_score=MISMATCH)
    aligner.open_gap_score, aligner.extend_gap_score = -COSTS.opening, -COSTS.extending
    scores = matrix(query, sequence)
    found = align(scores, (), COSTS)
    best = aligner.score(query, sequence)  # which may put a gap of one beside a gap of the other
    assert 100 * found.score <= best + 0.5
    if found.pairs:
        assert rescored(found.pairs, scores, COSTS) == round(100 * found.score)
    if len(query) < 8:  # too short for that to pay
        assert 100 * found.score == pytest.approx(best)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_pairs_rise_and_are_worth_their_score(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-400, 300, rng.integers(1, 31, 2)).astype(np.int32)
    found = align(scores)
    assert all(i < k and j < m for (i, j), (k, m) in itertools.pairwise(found.pairs))
    assert 100 * found.score >= max(0, scores.max() + Costs().pair) - 1e-9
    assert rescored(found.pairs, scores, Costs()) == round(100 * found.score)


def test_nothing_in_common():
    assert align(matrix("AAAA", "CCC")) == ((), 0.0)
    assert align(np.zeros((0, 7), np.int32)) == ((), 0.0)


def test_a_break_lets_the_query_go_on():
    """Half of the chain is as good as the whole where a gap costs more than the other half gains."""
    query = "ACDEACDE" + "C" * 97 + "DEADEADE"
    chain = "ACDEACDEDEADEADE"
    scores = matrix(query, chain)
    assert len(align(scores, (), COSTS).pairs) < 12
    broken = align(scores, (7,), COSTS)
    assert broken.pairs == tuple((i if i < 8 else i + 97, i) for i in range(16))


def test_rows_hold_the_pairs():
    query_row, chain_row = rows([(1, 0), (2, 1), (5, 2), (6, 5)], "MACDEFGH", "acdefg")
    assert query_row == "ACDEF--G"
    assert chain_row == "ac--defg"
    assert rows([], "A", "C") == ("", "")


def test_scores_of_a_profile():
    scores = profile_scores(profile(Alignment(("q",), ("WACDX",))), "WDXACBU-*")
    assert scores.shape == (5, 9)
    assert scores[0].argmax() == 0
    assert scores[3].argmax() == 1
    assert not scores[:, [2, 5, 6, 7, 8]].any()  # letters that are none of the 20
