"""The table of MMseqs2 becomes arrays that the dataset reads."""

import numpy as np

from training.hits import parse_hits

TABLE = [
    "2\t0\t0.310\t61\t4\t1\t13M2I17M",
    "0\t0\t1.000\t99\t1\t1\t41M",
    "2\t1\t0.588\t183\t51\t3\t7M4D11M",
]


def test_hits_are_sorted_and_without_self():
    hits = parse_hits(TABLE, chains=3)
    assert hits["query_offsets"].tolist() == [0, 0, 0, 2]
    assert hits["target"].tolist() == [1, 0]  # the better score first
    np.testing.assert_allclose(hits["identity"], [0.588, 0.31])
    assert hits["query_start"].tolist() == [50, 3]
    assert hits["target_start"].tolist() == [2, 0]
    assert hits["cigar_offsets"].tolist() == [0, 3, 6]
    assert hits["cigar_kind"].tolist() == [0, 2, 0, 0, 1, 0]
    assert hits["cigar_length"].tolist() == [7, 4, 11, 13, 2, 17]


def test_a_set_without_hits():
    hits = parse_hits([], chains=5)
    assert hits["query_offsets"].tolist() == [0] * 6
    assert len(hits["target"]) == 0
    assert hits["cigar_offsets"].tolist() == [0]
