"""Turn HMMER's alignments, one of whose rows is the query, into A3M rows on the query's residues."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pyhmmer import easel

from pipeline.a3m import Alignment

_GAP = "-"
_TO_LOWER = ord("a") - ord("A")


def query_alignment(
    query: str, msa: "easel.DigitalMSA[easel.AA]", headers: Mapping[str, str], max_rows: int
) -> Alignment:
    """Return the rows of an alignment as A3M.

    Args:
        query: One-letter codes of the row that is named `query`.
        msa: The query, and rows named `target/from-to`.
        headers: Header of each target, by its name in the alignment.
        max_rows: Most rows beside the query.
    """
    names = list(msa.names)
    first = names.index("query")
    kept = [index for index in range(len(names)) if index != first][:max_rows]
    letters = np.frombuffer(_letters(msa.alphabet).encode(), dtype=np.uint8)
    gap = msa.alphabet.symbols.index(_GAP)
    columns, kinds = _columns(np.asarray(msa.alignment[first]) != gap, _consensus(msa))
    rows = (_row(letters[np.asarray(msa.alignment[index])][columns], kinds) for index in kept)
    return Alignment(("query", *(_row_name(names[index], headers) for index in kept)), (query, *rows))


def _letters(alphabet: easel.Alphabet) -> str:
    """Return the letter of each code as an alignment holds it: a stop is unknown, missing data is a gap."""
    return alphabet.symbols.replace("*", "X").replace("~", _GAP)


def _consensus(msa: "easel.DigitalMSA[easel.AA]") -> NDArray[np.bool_]:
    """Return which columns are states of the profile; letters in others stand side by side without being aligned."""
    reference = msa.reference
    if not reference:
        return np.ones(len(msa.alignment[0]), dtype=bool)
    return np.frombuffer(reference.encode(), dtype=np.uint8) == ord("x")


def _columns(matched: NDArray[np.bool_], consensus: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.int8]]:
    """Return the columns of the rows and what each is: 0 aligned to the query, 1 inserted, 2 a gap.

    Where the query has a residue that the profile has no state for, the other rows have an insertion and a gap.
    """
    unaligned = matched & ~consensus
    columns = np.repeat(np.arange(len(matched)), 1 + unaligned)
    kinds = np.where(matched[columns], 0, 1).astype(np.int8)
    first = np.flatnonzero(unaligned) + np.arange(unaligned.sum())
    kinds[first], kinds[first + 1] = 1, 2
    return columns, kinds


def _row(letters: NDArray[np.uint8], kinds: NDArray[np.int8]) -> str:
    letters = np.where(kinds == 2, ord(_GAP), letters).astype(np.uint8)
    inserted = kinds == 1
    kept = ~inserted | (letters != ord(_GAP))
    return (letters + np.where(inserted, _TO_LOWER, 0).astype(np.uint8))[kept].tobytes().decode()


def _row_name(name: str, headers: Mapping[str, str]) -> str:
    """Put the header for the target in `target/from-to`."""
    target, _, place = name.rpartition("/")
    word, *rest = headers[target].split(maxsplit=1)
    return " ".join([f"{word}/{place}", *rest])
