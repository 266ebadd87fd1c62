"""Align a chain to a profile by the best local alignment; where the chain is broken in space, a gap is nearly free.

Source: Smith and Waterman 1981, J. Mol. Biol. 147, 195; affine gaps: Gotoh 1982, J. Mol. Biol. 162, 705.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyhmmer import easel, plan7

ALIGNER = "profile-local/1"
"""Part of the cache keys of realigned templates: change it when the same profile gives other alignments."""

_SCALE = 100  # scores are whole hundredths of a bit, so that the way back compares exactly
_BREAK = 10  # a gap at a break of the chain
_LOWEST = -(1 << 28)
_LARGEST_ODDS = 1e-6  # smallest probability, so that no score is endless


class Costs(NamedTuple):
    """What an alignment costs, in hundredths of a bit; `benchmarks/templates.py` compares choices.

    Args:
        opening: The first residue of a gap.
        extending: Each further one.
        pair: What each aligned pair gains beside its log odds, so that weak ends are aligned too.
    """

    opening: int = 400
    extending: int = 50
    pair: int = 10


DEFAULT = Costs()


class LocalAlignment(NamedTuple):
    """The best local alignment.

    Args:
        pairs: Aligned positions of the query and residues of the chain, both rising.
        score: Bits.
    """

    pairs: tuple[tuple[int, int], ...]
    score: float


def profile_scores(hmm: plan7.HMM, sequence: str) -> NDArray[np.int32]:
    """Return the log odds of each residue of a chain at each position of a profile, hundredths of a bit.

    Letters other than the 20 get 0.

    Args:
        hmm: Profile with one match state per residue of the query.
        sequence: One-letter codes.

    Returns:
        Scores of shape (query, chain).
    """
    alphabet = easel.Alphabet.amino()
    background = np.asarray(plan7.Background(alphabet).residue_frequencies, dtype=np.float64)
    emissions = np.asarray(hmm.match_emissions, dtype=np.float64)[1:]  # type: ignore[attr-defined] # its stubs lack it
    odds = np.log2(np.maximum(emissions, _LARGEST_ODDS) / background)
    odds = np.concatenate([odds, np.zeros((len(odds), 1))], axis=1)
    codes = {letter: code for code, letter in enumerate(alphabet.symbols[: alphabet.K])}
    columns = [codes.get(letter, alphabet.K) for letter in sequence]
    return np.rint(_SCALE * odds[:, columns]).astype(np.int32)


def align(scores: NDArray[np.int32], breaks: Sequence[int] = (), costs: Costs = DEFAULT) -> LocalAlignment:
    """Return the best local alignment; of equal ones the one that ends first.

    Args:
        scores: Of shape (query, chain), hundredths of a bit.
        breaks: Residues of the chain after which it is broken: positions of the query may be missing there.
        costs: Of gaps and pairs.
    """
    if not scores.size:
        return LocalAlignment((), 0.0)
    matrices = _fill(scores + np.int32(costs.pair), breaks, costs)
    end = np.unravel_index(int(matrices.match.argmax()), scores.shape)
    best = int(matrices.match[end])
    if best <= 0:
        return LocalAlignment((), 0.0)
    pairs = _trace(matrices, int(end[0]), int(end[1]))
    return LocalAlignment(pairs, best / _SCALE)


class _Matrices(NamedTuple):
    """Scores of the best alignments that end at (query, chain): in a pair, in a gap of the chain, in one of the query.

    The booleans say whether the gap was opened there.
    """

    match: NDArray[np.int32]
    before: NDArray[np.int8]  # what is before a pair: 0 nothing, 1 a pair, 2 a gap of the chain, 3 a gap of the query
    chain_opened: NDArray[np.bool_]
    query_opened: NDArray[np.bool_]


def _fill(scores: NDArray[np.int32], breaks: Sequence[int], costs: Costs) -> _Matrices:
    length, width = scores.shape
    opening, extending = (np.full(width, cost, dtype=np.int32) for cost in (costs.opening, costs.extending))
    opening[list(breaks)], extending[list(breaks)] = _BREAK, 0
    match = np.empty(scores.shape, dtype=np.int32)
    before = np.empty(scores.shape, dtype=np.int8)
    chain_opened, query_opened = np.zeros(scores.shape, dtype=bool), np.zeros(scores.shape, dtype=bool)
    slope = costs.extending * np.arange(width, dtype=np.int32)
    chain_gap = np.full(width, _LOWEST, dtype=np.int32)
    earlier = np.full((4, width), _LOWEST, dtype=np.int32)  # the row before, one residue to the left
    earlier[0] = 0
    for i in range(length):
        before[i] = earlier.argmax(axis=0)
        match[i] = scores[i] + earlier.max(axis=0)
        opened, longer = match[i - 1] - opening, chain_gap - extending
        if i:
            chain_opened[i] = opened >= longer
            chain_gap = np.maximum(opened, longer)
        query_gap = np.full(width, _LOWEST, dtype=np.int32)
        query_gap[1:] = np.maximum.accumulate(match[i] + slope)[:-1] - costs.opening - slope[:-1]
        query_opened[i, 1:] = match[i, :-1] - costs.opening >= query_gap[1:]
        earlier[1, 1:], earlier[2, 1:], earlier[3, 1:] = match[i, :-1], chain_gap[:-1], query_gap[:-1]
    return _Matrices(match, before, chain_opened, query_opened)


def _trace(matrices: _Matrices, i: int, j: int) -> tuple[tuple[int, int], ...]:
    pairs = [(i, j)]
    while state := int(matrices.before[i, j]):
        i, j = i - 1, j - 1
        if state == 2:
            while not matrices.chain_opened[i, j]:
                i -= 1
            i -= 1
        elif state == 3:
            while not matrices.query_opened[i, j]:
                j -= 1
            j -= 1
        pairs.append((i, j))
    return tuple(reversed(pairs))


def rows(pairs: Sequence[tuple[int, int]], query: str, sequence: str) -> tuple[str, str]:
    """Write aligned pairs as two rows, from the first pair to the last, `-` where the other has an insertion."""
    query_row, chain_row = [], []
    for k, (i, j) in enumerate(pairs):
        if k:
            last_i, last_j = pairs[k - 1]
            query_row += [query[last_i + 1 : i], "-" * (j - last_j - 1)]
            chain_row += ["-" * (i - last_i - 1), sequence[last_j + 1 : j]]
        query_row.append(query[i])
        chain_row.append(sequence[j])
    return "".join(query_row), "".join(chain_row)
