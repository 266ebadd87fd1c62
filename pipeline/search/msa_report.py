"""Say what an alignment is worth: which rows were kept and why not, how many differ, and the depth at each position."""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.a3m import GAP_ID, Alignment, aligned, encode

THRESHOLDS = {"neff_62": 0.62, "neff_80": 0.80}
REASONS = ("e_value", "filter", "cap", "identity", "coverage", "duplicate")
_BITS = 5  # 22 letters
_WORD = 64
_WORK = 150_000_000  # words of 64 columns that are compared at most: within a second
_CHUNK = 1 << 15  # pairs at a time, which keeps a step within the processor's cache


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows that a source of an alignment gave.

    Args:
        alignment: The query and its rows.
        dropped: How many rows the source had left out before, by reason.
    """

    alignment: Alignment
    dropped: dict[str, int]


@dataclasses.dataclass(frozen=True)
class RowLimits:
    """What a row must have: shares of the query's residues that it aligns to, and of those the equal ones, 0-1."""

    coverage: float = 0.0
    identity: float = 0.0


def combined(name: str, query: str, sources: Sequence[Rows], limits: RowLimits) -> tuple[Alignment, list[dict]]:
    """Put the rows of all sources under one query, and say of each source what became of its rows.

    A row that repeats an earlier one, insertions aside, is left out: AlphaFold 2 reads the first only.

    Args:
        name: Of the query.
        query: Its sequence.
        sources: What each database gave, in the order of the rows.
        limits: What a row must have.

    Returns:
        The alignment, and for each source `found`, `rows` (that were kept) and `dropped` by reason.
    """
    names, rows, seen, counts = [name], [query], {query}, []
    for source in sources:
        dropped = collections.Counter(source.dropped)
        before = len(rows)
        for row_name, row in zip(source.alignment.names[1:], source.alignment.rows[1:], strict=True):
            columns = aligned(row)
            reason = "duplicate" if columns in seen else _lacking(columns, query, limits)
            if reason:
                dropped[reason] += 1
            else:
                seen.add(columns)
                names.append(row_name)
                rows.append(row)
        kept = len(rows) - before
        counts.append({"found": kept + dropped.total(), "rows": kept, "dropped": reasons(dropped)})
    return Alignment(tuple(names), tuple(rows)), counts


def _lacking(columns: str, query: str, limits: RowLimits) -> str:
    """Return which limit a row does not reach; empty where it reaches all."""
    residues = len(columns) - columns.count("-")
    if residues < limits.coverage * len(query):
        return "coverage"
    if limits.identity and sum(map(str.__eq__, columns, query)) < limits.identity * residues:
        return "identity"
    return ""


def reasons(dropped: "collections.Counter[str] | dict[str, int]") -> dict[str, int]:
    """Return the number of rows that were left out for each reason, zeros too."""
    return {reason: int(dropped.get(reason, 0)) for reason in REASONS}


def worth(alignment: Alignment) -> dict[str, Any]:
    """Return rows, effective numbers of rows and depth of an alignment, as `search.json` holds them."""
    msa, _ = encode(alignment)
    weights, counted = row_weights(msa, list(THRESHOLDS.values()))
    scale = len(msa) / len(counted)
    there = msa != GAP_ID
    return {
        "rows": len(alignment),
        **{name: round(float(each.sum() * scale), 2) for name, each in zip(THRESHOLDS, weights, strict=True)},
        "neff_sample": len(counted),
        "depth": [int(count) for count in there.sum(axis=0)],
        "depth_neff_80": [round(float(value), 1) for value in weights[-1] @ there[counted] * scale],
    }


def row_weights(
    msa: NDArray[np.int8], thresholds: Sequence[float], work: int = _WORK
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return what each row counts for in the effective number of rows, at each threshold of identity.

    A row counts as one over the number of rows, itself included, that are as similar to it as the threshold. The
    identity of two rows is the number of columns with the same letter over those in which one of them has a letter. In
    a large alignment, the rows that are counted are a sample, evenly spaced: scale their sum up.

    Args:
        msa: HHblits ids, gap 21; shape (rows, n).
        thresholds: Identities, 0-1.
        work: Bound on rows counted times rows times words of 64 columns.

    Returns:
        The weights, shape (thresholds, counted), and the indices of the rows that were counted, shape (counted,).

    Source: Jumper et al. 2021, Nature 596, 583, Methods (weights from clusters at 80 % identity on the region in which
    either sequence has residues).
    """
    rows, columns = msa.shape
    planes = _bit_planes(msa)
    gaps = _packed(msa == GAP_ID)
    counted = max(1, min(rows, work // max(1, rows * len(gaps))))
    chosen = np.linspace(0, rows - 1, counted).round().astype(np.int64)
    similar = np.zeros((len(thresholds), counted), dtype=np.int64)
    step = max(1, _CHUNK // rows)
    for start in range(0, counted, step):
        part = slice(start, start + step)
        for begin in range(0, rows, _CHUNK):
            others = slice(begin, begin + _CHUNK)
            different, union = _compare(planes, gaps, chosen[part], others, columns)
            for index, threshold in enumerate(thresholds):
                similar[index, part] += (union - different >= threshold * union).sum(axis=1)
    return 1.0 / np.maximum(similar, 1), chosen


def _compare(
    planes: NDArray[np.uint64], gaps: NDArray[np.uint64], chosen: NDArray[np.int64], others: slice, columns: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Count for each pair of rows the columns that differ, and those in which either has a residue."""
    different = np.zeros((len(chosen), len(gaps[0, others])), dtype=np.int32)
    union = np.full(different.shape, columns, dtype=np.int32)
    for word in range(len(gaps)):
        unequal = np.zeros(different.shape, dtype=np.uint64)
        for plane in planes:
            unequal |= plane[word, chosen, None] ^ plane[word, None, others]
        different += np.bitwise_count(unequal)
        union -= np.bitwise_count(gaps[word, chosen, None] & gaps[word, None, others])
    return different, union


def _bit_planes(msa: NDArray[np.int8]) -> NDArray[np.uint64]:
    """Return the bits of the letters, 64 columns to a word; shape (bits, words, rows)."""
    return np.stack([_packed((msa >> bit) & 1 == 1) for bit in range(_BITS)])


def _packed(flags: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack (rows, columns) flags to words of 64 columns; shape (words, rows)."""
    padded = np.pad(flags, ((0, 0), (0, -flags.shape[1] % _WORD)))
    return np.ascontiguousarray(np.ascontiguousarray(np.packbits(padded, axis=1)).view(np.uint64).T)
