"""Recognise what a database is by its files, and count what is in it."""

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pyhmmer import plan7

from pipeline.databases.packed import opened, packing
from pipeline.databases.records import LIBRARY, Database
from pipeline.errors import LibraryError
from pipeline.library.store import TemplateLibrary

HH_SUITE = "HH-suite"
_BLOCK = 1 << 20
_HEAD = 512  # bytes that tell formats apart
_HMM_BINARY = (b"\xba\xed\xed\xe8", b"\xe8\xed\xed\xba")  # HMMER 3/f in both byte orders
_AMINO_ACIDS, _NUCLEOTIDES, _PROFILES = 0, 1, 2  # MMseqs2's types of databases
_COMPRESSED = 1 << 31
_NEWLINE, _HEADER, _SPACE = b"\n> "
_KINDS = {"FASTA": "sequences", "hmmpgmd": "sequences", "HMMER profiles": "profiles"}
_OTHERS = {
    b"BZh": "a file packed by bzip2",
    b"\xfd7zXZ": "a file packed by xz",
    b"PK\x03\x04": "a zip archive",
    b"<": "a web page or XML",
    b"@": "FASTQ",
    b"# STOCKHOLM": "a Stockholm alignment",
}
_MEND = "give protein sequences as FASTA, profiles of HMMER, or a database of MMseqs2 or HH-suite"

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Format:
    """What a database is.

    Args:
        content: `FASTA`, `hmmpgmd`, `HMMER profiles`, `HMMER profiles, pressed`, `MMseqs2 ...`, `HH-suite` or
            `template library`.
        packing: `gzip`, `zstd` or nothing.
    """

    content: str
    packing: str = ""

    def __str__(self) -> str:
        return f"{self.content}, {self.packing}" if self.packing else self.content


@dataclasses.dataclass(frozen=True)
class Counts:
    """How much is in a database: sequences (or profiles), and their residues, None where these are not known."""

    sequences: int
    residues: int | None


def recognise(database: Database) -> Format:
    """Say what a database is, by the beginning of its file or by the files beside it.

    Raises:
        LibraryError: It is nothing that can be searched, cannot be read, or is of another kind than the config says.
    """
    if database.kind == LIBRARY:
        return Format("template library")
    anchor, name = database.anchor, database.path.name
    if anchor.name == f"{name}.h3m":
        return Format("HMMER profiles, pressed")
    if anchor != database.path and anchor.name.endswith(".ffindex"):
        return Format(HH_SUITE)
    if (types := database.path.with_name(f"{name}.dbtype")).is_file():
        return Format(_mmseqs_content(types))
    if not anchor.is_file():
        raise LibraryError("expected a file", str(anchor), _MEND)
    found = Format(_content(anchor), packing(anchor))
    if _KINDS[found.content] != database.kind:
        problem = f"the database {database.name!r} holds {found}, but its kind is {database.kind}"
        raise LibraryError(problem, str(anchor), f"write kind: {_KINDS[found.content]}")
    return found


def count(database: Database, found: Format) -> Counts:
    """Count sequences and residues, which reads the whole database once; of MMseqs2's only the index.

    Raises:
        LibraryError: It is damaged, or holds nothing.
    """
    result = _counted(database, found)
    if not result.sequences:
        raise LibraryError(f"the database {database.name!r} holds no sequences", str(database.path), _MEND)
    return result


def count_fasta(file: BinaryIO) -> Counts:
    """Count the records of a FASTA file and the letters of their sequences, white space left out."""
    sequences = letters = 0
    in_header, at_start = False, True
    while block := file.read(_BLOCK):
        data = np.frombuffer(block, np.uint8)
        newlines = np.flatnonzero(data == _NEWLINE)
        starts = newlines[newlines + 1 < len(data)] + 1
        headers = starts[data[starts] == _HEADER]
        if at_start and data[0] == _HEADER:
            headers = np.append(0, headers)
        begins = np.append(0, headers) if in_header else headers
        ends = np.append(newlines, len(data))[np.searchsorted(newlines, begins)]
        letters += int(np.count_nonzero(data > _SPACE)) - _letters_between(data, begins, ends)
        sequences += len(headers)
        at_start = bool(data[-1] == _NEWLINE)
        in_header = bool(len(begins)) and bool(ends[-1] == len(data))
    return Counts(sequences, letters)


def _letters_between(data: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> int:
    """Return how many bytes that are no white space lie in spans, which do not overlap and are in order."""
    if not len(begins):
        return 0
    black = np.append(data > _SPACE, False)  # so that a span may end where the data does
    bounds = np.stack([begins, ends], axis=1).ravel()
    return int(np.add.reduceat(black, bounds, dtype=np.int64)[::2].sum())


def _counted(database: Database, found: Format) -> Counts:
    match found.content.split()[0]:
        case "FASTA":
            with opened(database.path) as file:
                return count_fasta(file)
        case "hmmpgmd":
            with opened(database.path) as file:
                file.readline()
                return count_fasta(file)
        case "HMMER":
            return _count_profiles(database.path)
        case "MMseqs2":
            return _count_mmseqs(database.path, found)
        case _ if found.content == HH_SUITE:
            return Counts(_lines(database.anchor), None)
    return _count_library(database.path)


def _content(path: Path) -> str:
    """Return what a file holds by how it begins."""
    with opened(path) as file:
        head = file.read(_HEAD)
    text = head.lstrip()
    if text.startswith(b">"):
        return "FASTA"
    if text.startswith(b"HMMER3/") or head.startswith(_HMM_BINARY):
        return "HMMER profiles"
    if text.startswith(b"#") and b"\n>" in text and not (packing(path) or text.startswith(b"# STOCKHOLM")):
        return "hmmpgmd"
    if not text:
        raise LibraryError("there is nothing in this file", str(path), "put the whole file there")
    what = next((name for magic, name in _OTHERS.items() if text.startswith(magic)), _shown(text))
    raise LibraryError(f"expected sequences or profiles, found {what}", str(path), _MEND)


def _shown(text: bytes) -> str:
    if text[257:262] == b"ustar":
        return "a tar archive"
    return repr(text[:20].decode("ascii", "backslashreplace"))


def _mmseqs_content(types: Path) -> str:
    """Return which database of MMseqs2 it is.

    Raises:
        LibraryError: It is one that cannot be searched, or not whole.
    """
    number = int.from_bytes(types.read_bytes()[:4], "little")
    path = types.with_suffix("")
    if not path.with_name(f"{path.name}.index").is_file():
        raise LibraryError("this database of MMseqs2 has no .index", str(path), "make it again: mmseqs createdb")
    kind = number & 0xFFFF
    packed = " (compressed)" if number & _COMPRESSED else ""
    if kind in (_AMINO_ACIDS, _PROFILES):
        return f"MMseqs2 {'profiles' if kind == _PROFILES else 'sequences'}{packed}"
    what = "nucleotides" if kind == _NUCLEOTIDES else f"type {kind}"
    raise LibraryError(f"expected protein sequences or profiles of MMseqs2, found {what}", str(path))


def _count_mmseqs(path: Path, found: Format) -> Counts:
    """Count by the index, whose lines are key, offset and length; each entry ends with a line feed and a zero."""
    entries = total = 0
    with path.with_name(f"{path.name}.index").open("rb") as file:
        for line in file:
            entries += 1
            total += int(line.rsplit(b"\t", 1)[-1]) - 2
    return Counts(entries, total if found.content == "MMseqs2 sequences" else None)


def _count_profiles(path: Path) -> Counts:
    """Count HMMER's profiles and their match states."""
    try:
        lengths = list(_profile_lengths(path))
    except (OSError, ValueError, EOFError) as error:
        raise LibraryError(f"expected profiles of HMMER ({error})", str(path), "put the whole file there") from error
    return Counts(len(lengths), sum(lengths))


def _profile_lengths(path: Path) -> Iterator[int]:
    if path.is_file():
        with opened(path) as file, plan7.HMMFile(file) as profiles:
            yield from (profile.M for profile in profiles)
    else:
        with plan7.HMMFile(f"{path}.h3m") as profiles:
            yield from (profile.M for profile in profiles)


def _count_library(path: Path) -> Counts:
    library = TemplateLibrary.open(path)
    return Counts(len(library), sum(map(len, library.sequences)))


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))
