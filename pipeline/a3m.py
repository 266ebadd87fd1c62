"""Read, check and write A3M alignments: row 0 is the query, lower-case letters are insertions relative to it."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.residue_constants import HHBLITS_ID
from pipeline.errors import AlignmentError
from pipeline.records import write_text
from pipeline.text_file import read_user_text

GAP_ID = HHBLITS_ID["-"]
_ALIGNED = "".join(HHBLITS_ID)
_INSERTED = _ALIGNED.replace("-", "").lower()
_ALLOWED = frozenset(_ALIGNED + _INSERTED)
_DROP_INSERTIONS = str.maketrans("", "", _INSERTED)
_DROP_PADDING = str.maketrans("", "", ". \t\r\f\v")
_MOST_DELETIONS = int(np.iinfo(np.int16).max)


@dataclasses.dataclass(frozen=True)
class Alignment:
    """A multiple sequence alignment.

    Args:
        names: Header of each row without `>`.
        rows: A3M rows; row 0 is the query, in upper case and without gaps.
    """

    names: tuple[str, ...]
    rows: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def query(self) -> str:
        """The first row."""
        return self.rows[0]


def read_a3m(path: Path) -> Alignment:
    """Read and check an alignment.

    Raises:
        AlignmentError: The file cannot be read, or a row has a wrong letter or another length than the query.
    """
    text = read_user_text(path, "an A3M file", AlignmentError)
    return parse_a3m(text, str(path))


def parse_a3m(text: str, where: str) -> Alignment:
    """Read an alignment from text; `where` names it in errors."""
    names, rows, lines = [], [], []
    for line, name, row in records(text, where):
        names.append(name)
        rows.append(row.translate(_DROP_PADDING))
        lines.append(line)
    if not rows:
        raise AlignmentError("the alignment is empty, expected A3M rows", where)
    _check_query(rows[0], f"{where}:{lines[0]}")
    for line, row in zip(lines, rows, strict=True):
        _check_row(row, len(rows[0]), f"{where}:{line}")
    return Alignment(tuple(names), tuple(rows))


def records(text: str, where: str) -> Iterator[tuple[int, str, str]]:
    """Give line number, name and letters of each record as they stand there, without comments (ColabFold's `#`)."""
    line, name = 0, ""
    parts: list[str] = []
    for number, content in enumerate(text.split("\n"), start=1):
        if content.startswith(">"):
            if line:
                yield line, name, "".join(parts)
            line, name, parts = number, content[1:].strip(), []
        elif content.strip() and not content.startswith("#"):
            if not line:
                raise AlignmentError(
                    f"expected a line that starts with '>', found {content[:40]!r}", f"{where}:{number}"
                )
            parts.append(content)
    if line:
        yield line, name, "".join(parts)


def format_a3m(alignment: Alignment) -> str:
    """Return the alignment as text; whitespace in names becomes single spaces."""
    pairs = zip(alignment.names, alignment.rows, strict=True)
    return "".join(f">{' '.join(name.split())}\n{row}\n" for name, row in pairs)


def write_a3m(path: Path, alignment: Alignment) -> None:
    """Write the alignment under its final name only when it is complete."""
    write_text(path, format_a3m(alignment))


def aligned(row: str) -> str:
    """Return the row without its insertions: one letter or gap per residue of the query."""
    return row.translate(_DROP_INSERTIONS)


def without_duplicates(alignment: Alignment) -> Alignment:
    """Keep the first of the rows that are equal without their insertions, as AlphaFold 2 does."""
    first: dict[str, int] = {}
    for index, row in enumerate(alignment.rows):
        first.setdefault(aligned(row), index)
    kept = list(first.values())
    return Alignment(tuple(alignment.names[i] for i in kept), tuple(alignment.rows[i] for i in kept))


def encode(alignment: Alignment) -> tuple[NDArray[np.int8], NDArray[np.int16]]:
    """Return the rows as HHblits ids and the deletions before each position.

    Returns:
        `msa` (rows, n), 0 to 19 in alphabetical order, X 20, gap 21; `deletion_matrix` (rows, n): lower-case letters
        just before each position; those after the last position are not counted.
    """
    table = np.full(256, -1, dtype=np.int8)
    for letter, index in HHBLITS_ID.items():
        table[ord(letter)] = index
    msa = np.empty((len(alignment), len(alignment.query)), dtype=np.int8)
    deletions = np.zeros(msa.shape, dtype=np.int16)
    for index, row in enumerate(alignment.rows):
        ids = table[np.frombuffer(row.encode("ascii"), dtype=np.uint8)]
        places = np.flatnonzero(ids >= 0)
        msa[index] = ids[places]
        if len(places) < len(row):
            deletions[index] = np.minimum(np.diff(places, prepend=-1) - 1, _MOST_DELETIONS)
    return msa, deletions


def _check_query(query: str, where: str) -> None:
    if not query:
        raise AlignmentError("the first row, the query, has no sequence", where)
    if not (query.isalpha() and query.isupper()):
        wrong = next(i for i, letter in enumerate(query) if not (letter.isalpha() and letter.isupper()))
        problem = f"{query[wrong]!r} at position {wrong + 1} of the first row"
        raise AlignmentError(problem, where, "the first row is the query, upper-case letters without gaps")


def _check_row(row: str, length: int, where: str) -> None:
    if not _ALLOWED.issuperset(row):
        wrong = next(i for i, letter in enumerate(row) if letter not in _ALLOWED)
        raise AlignmentError(f"{row[wrong]!r} at position {wrong + 1} is neither amino acid nor gap", where)
    found = len(aligned(row))
    if found != length:
        raise AlignmentError(f"expected {length} aligned positions as in the query, found {found}", where)
