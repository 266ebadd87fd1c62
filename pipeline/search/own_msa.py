"""Take alignments that a user made: find the file of a target, and put the target's row first."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.a3m import Alignment, aligned
from pipeline.config import find
from pipeline.errors import AlignmentError, ConfigError
from pipeline.fasta import as_predicted
from pipeline.paths import refuse_braces
from pipeline.search.own_msa_formats import KIND, Row, read_rows, shown
from pipeline.target import Target
from pipeline.text_file import read_user_bytes

SUFFIXES = (".a3m", ".sto", ".stk", ".stockholm", ".fasta", ".fa", ".fas", ".afa", ".aln")
_PACKED = ".gz"
_GAP = "-"
_BLOCK = re.compile(r"([a-z]*)([A-Z-]?)")


def own_files(entries: Sequence[str], names: Iterable[str]) -> dict[str, Path]:
    """Return the file of each target that has one.

    Args:
        entries: `TARGET=FILE`, or a folder of files called by target, `NAME.a3m` for example; see `SUFFIXES`.
        names: Of the targets.

    Raises:
        ConfigError: A file or folder does not exist, or a target has two files.
    """
    files: dict[str, Path] = {}
    for entry in entries:
        for name, path in _files_of(entry, names).items():
            if name in files and files[name] != path:
                problem = f"the target {name!r} has two alignments, {files[name]} and {path}"
                raise ConfigError(problem, mend="leave one of them")
            files[name] = path
    return files


def check_entries(entries: Sequence[str], names: Iterable[str]) -> dict[str, Path]:
    """Do the same for all targets of a run, and refuse an entry that is of none of them: a name may be mistyped.

    Raises:
        ConfigError: An entry belongs to no target, or the path of a file has a brace.
    """
    known = list(names)
    for entry in entries:
        if not _files_of(entry, known):
            mend = "call the files by the names in targets.txt, NAME.a3m for example"
            raise ConfigError(f"search.own_msas: {entry!r} has an alignment of no target of this run", mend=mend)
    files = own_files(entries, known)
    refuse_braces(files.values())
    return files


def read_own(path: Path, target: Target) -> Alignment:
    """Read an alignment and return it on the residues of the target, whose row is the first.

    The row of the target is the first, or else the first one that has its sequence. Letters that the FASTA reader
    replaces are read alike here.

    Raises:
        AlignmentError: The file cannot be used, or no row is the target.
    """
    rows = read_rows(path)
    place = _place_of(target, rows)
    if place is None:
        raise _another_query(target, rows[0], path)
    letters = _on_query([row.letters for row in rows], place)
    order = [i for i in range(len(rows)) if i != place]
    names = (target.name, *(rows[i].name for i in order))
    return Alignment(names, (target.sequence, *(letters[i] for i in order)))


def version_of(path: Path) -> str:
    """Return a checksum of a file, as the version of an alignment."""
    return "sha256." + hashlib.sha256(read_user_bytes(path, KIND, AlignmentError)).hexdigest()[:12]


def _files_of(entry: str, names: Iterable[str]) -> Mapping[str, Path]:
    name, separator, place = entry.partition("=")
    if separator and not find(entry).exists():
        return _named(name, find(place), names)
    folder = find(entry)
    if not folder.is_dir():
        mend = "give a folder of files called by target, or TARGET=FILE"
        raise ConfigError(f"search.own_msas: there is no folder {entry!r}", mend=mend)
    return _in_folder(folder, names)


def _named(name: str, path: Path, names: Iterable[str]) -> dict[str, Path]:
    if not path.is_file():
        raise ConfigError(f"search.own_msas: there is no file {str(path)!r} for the target {name!r}")
    return {name: path} if name in set(names) else {}


def _in_folder(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    there = {path.name: path for path in folder.iterdir() if path.is_file()}
    files = {}
    for name in names:
        possible = (f"{name}{suffix}{packed}" for suffix in SUFFIXES for packed in ("", _PACKED))
        found = [there[file] for file in possible if file in there]
        if len(found) > 1:
            problem = f"the target {name!r} has two alignments, {found[0]} and {found[1]}"
            raise ConfigError(problem, mend="leave one of them")
        if found:
            files[name] = found[0]
    return files


def _place_of(target: Target, rows: Sequence[Row]) -> int | None:
    return next((i for i, row in enumerate(rows) if _sequence_of(row) == target.sequence), None)


def _sequence_of(row: Row) -> str:
    return as_predicted(row.letters.replace(_GAP, "").upper())


def _another_query(target: Target, first: Row, path: Path) -> AlignmentError:
    """Say where the first row and the target differ."""
    found, sequence = _sequence_of(first), target.sequence
    pairs = enumerate(zip(found, sequence, strict=False), start=1)
    where = next((i for i, (a, b) in pairs if a != b), min(len(found), len(sequence)) + 1)
    letters = [f"{text[where - 1]!r}" if where <= len(text) else "nothing" for text in (found, sequence)]
    problem = (
        f"no row is the target {shown(target.name)} of {len(sequence)} residues; the first row, {shown(first.name)} of"
        f" {len(found)} residues, has {letters[0]} at position {where}, the target {letters[1]}"
    )
    return AlignmentError(problem, f"{path}:{first.line}", _mend(found, sequence))


def _mend(found: str, sequence: str) -> str:
    if found and found in sequence:
        start = sequence.index(found) + 1
        return f"it is residues {start} to {start + len(found) - 1} of the target: align the whole sequence, or cut it"
    return "give the alignment of this very sequence"


def _on_query(rows: Sequence[str], place: int) -> list[str]:
    """Write all rows on the residues of one of them, as A3M."""
    query = rows[place]
    if _GAP not in query and not any(letter.islower() for letter in query):
        return list(rows)
    if not any(letter.islower() for row in rows for letter in row):
        matched = _bytes(query) != ord(_GAP)
        return [_columns_to_a3m(row, matched) for row in rows]
    blocks = _blocks(query)
    return [_blocks_to_a3m(row, blocks) for row in rows]


def _blocks(row: str) -> list[tuple[str, str]]:
    """Return what is inserted before each column and what is in it, and last what follows the last column."""
    return _BLOCK.findall(row)[: len(aligned(row)) + 1]


def _bytes(row: str) -> np.ndarray:
    return np.frombuffer(row.encode("ascii"), dtype=np.uint8)


def _columns_to_a3m(row: str, matched: np.ndarray) -> str:
    """Keep the columns in which the query has a residue; letters in others become insertions."""
    text = _bytes(row)
    kept = matched | (text != ord(_GAP))
    return np.where(matched, text, text | 0x20)[kept].tobytes().decode()


def _blocks_to_a3m(row: str, blocks: Sequence[tuple[str, str]]) -> str:
    """Do the same with a row of A3M, whose insertions stand one below the other from the left, as HH-suite reads them.

    Args:
        row: To write.
        blocks: The query's insertion before each column, and what it has in the column.
    """
    written = []
    for (query_inserted, query_letter), (inserted, letter) in zip(blocks, _blocks(row), strict=True):
        size = len(query_inserted)
        written += [inserted[:size].upper().ljust(size, _GAP), inserted[size:]]
        if query_letter not in ("", _GAP):
            written.append(letter)
        elif letter != _GAP:
            written.append(letter.lower())
    return "".join(written)
