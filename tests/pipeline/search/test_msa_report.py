"""What an alignment is worth, against plain counting."""

import numpy as np
import pytest

from pipeline.a3m import GAP_ID, Alignment
from pipeline.search.msa_report import RowLimits, Rows, combined, row_weights, worth


def family(rows=211, columns=67):
    rng = np.random.default_rng(5)
    msa = rng.integers(0, 20, (11, columns))[rng.integers(0, 11, rows)]
    changed = rng.random(msa.shape) < rng.random((rows, 1)) * 0.6
    msa[changed] = rng.integers(0, 22, changed.sum())
    return msa.astype(np.int8)


def neff(msa, thresholds, **work):
    weights, counted = row_weights(msa, thresholds, **work)
    return [each.mean() * len(msa) for each in weights], len(counted)


def plain_neff(msa, threshold):
    """Count row by row, as the definition says."""
    total = 0.0
    for row in msa:
        either = ((msa != GAP_ID) | (row != GAP_ID)).sum(axis=1)
        same = ((msa == row) & (row != GAP_ID)).sum(axis=1)
        total += 1 / (same >= threshold * either).sum()
    return total


@pytest.mark.parametrize("columns", [1, 63, 64, 67, 131])
def test_neff_is_that_of_the_definition(columns):
    msa = family(columns=columns)
    expected = [plain_neff(msa, threshold) for threshold in (0.62, 0.8)]
    found, counted = neff(msa, [0.62, 0.8])
    assert found == pytest.approx(expected)
    assert counted == len(msa)


def test_neff_by_hand():
    """Two equal rows, one that shares 7 of 10 columns with them, one of gaps but for one column."""
    rows = ["MKTAYIAKQR", "MKTAYIAKQR", "MKTAYIAWWW", "---------R"]
    found = worth(Alignment(("q", "a", "b", "c"), tuple(rows)))
    assert found["neff_62"] == 2.0  # 0.7 is similar: three rows of a third each
    assert found["neff_80"] == 3.0
    assert found["depth"] == [3] * 9 + [4]
    assert found["depth_neff_80"] == [2.0] * 9 + [3.0]  # the equal rows count as one
    assert (found["rows"], found["neff_sample"]) == (4, 4)


def test_the_order_of_rows_and_columns_does_not_matter():
    msa, rng = family(), np.random.default_rng(1)
    shuffled = msa[rng.permutation(len(msa))][:, rng.permutation(msa.shape[1])]
    assert neff(shuffled, [0.8])[0] == pytest.approx(neff(msa, [0.8])[0])


def test_a_sample_is_near_and_said():
    msa = family(rows=1009)
    whole, counted = neff(msa, [0.62, 0.8])
    assert counted == 1009
    sampled, counted = neff(msa, [0.62, 0.8], work=1009 * 2 * 307)
    assert counted == 307
    assert sampled == pytest.approx(whole, rel=0.1)
    assert neff(msa, [0.8], work=1)[1] == 1


def test_chunks_change_nothing(monkeypatch):
    msa = family()
    whole = neff(msa, [0.62, 0.8])
    monkeypatch.setattr("pipeline.search.msa_report._CHUNK", 37)
    assert neff(msa, [0.62, 0.8])[0] == pytest.approx(whole[0])


def test_every_row_is_kept_or_left_out_for_a_reason():
    first = Alignment(("q", "a", "b", "c"), ("MKTA", "MKaTA", "MK--", "---A"))
    second = Alignment(("q", "d", "e"), ("MKTA", "MKgg--", "MKTW"))
    sources = [Rows(first, {"e_value": 2, "cap": 3}), Rows(second, {"filter": 1})]
    alignment, counts = combined("name", "MKTA", sources, RowLimits(0.5))
    assert alignment == Alignment(("name", "b", "e"), ("MKTA", "MK--", "MKTW"))
    nothing = dict.fromkeys(("e_value", "filter", "cap", "identity", "coverage", "duplicate"), 0)
    assert counts == [
        {"found": 8, "rows": 1, "dropped": {**nothing, "e_value": 2, "cap": 3, "coverage": 1, "duplicate": 1}},
        {"found": 3, "rows": 1, "dropped": {**nothing, "filter": 1, "duplicate": 1}},
    ]
    for count in counts:
        assert count["found"] == count["rows"] + sum(count["dropped"].values())


def test_rows_that_are_less_alike_than_asked_for():
    rows = Alignment(("q", "half", "third", "short"), ("MKTAYI", "MKTWWW", "MKWWWW", "M-----"))
    alignment, (count,) = combined("name", "MKTAYI", [Rows(rows, {})], RowLimits(identity=0.5))
    assert alignment.names == ("name", "half", "short")
    assert (count["rows"], count["dropped"]["identity"], count["found"]) == (2, 1, 3)


def test_without_a_source_there_is_the_query():
    assert combined("name", "MKTA", [], RowLimits()) == (Alignment(("name",), ("MKTA",)), [])
    assert worth(Alignment(("name",), ("MKTA",))) == {
        "rows": 1,
        "neff_62": 1.0,
        "neff_80": 1.0,
        "neff_sample": 1,
        "depth": [1, 1, 1, 1],
        "depth_neff_80": [1.0, 1.0, 1.0, 1.0],
    }
