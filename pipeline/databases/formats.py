"""Recognise what a database is by its files, and count what is in it."""

import dataclasses
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from pyhmmer import easel, plan7

from pipeline.databases.packed import opened, packing
from pipeline.databases.records import LIBRARY, Database
from pipeline.databases.sequence_files import BLAST, FORMATS, blocks, check_blast, format_of_text, is_blast
from pipeline.errors import LibraryError
from pipeline.library.store import TemplateLibrary

HH_SUITE = "HH-suite"
_BLOCK = 1 << 20
_AT_ONCE = 1 << 24  # residues
_SAMPLE, _ENOUGH, _DNA, _NEARLY_ALL = 100, 200, "ACGTUN", 0.95  # sequences and letters that tell DNA; its letters
_HEAD = 512  # bytes that tell formats apart
_HMM_BINARY = (b"\xba\xed\xed\xe8", b"\xe8\xed\xed\xba")  # HMMER 3/f in both byte orders
_AMINO_ACIDS, _NUCLEOTIDES, _PROFILES = 0, 1, 2  # MMseqs2's types of databases
_COMPRESSED = 1 << 31
_KINDS = {**{each.name: "sequences" for each in FORMATS}, "HMMER profiles": "profiles"}
_OTHERS = {
    b"BZh": "a file packed by bzip2",
    b"\xfd7zXZ": "a file packed by xz",
    b"PK\x03\x04": "a zip archive",
    b"<": "a web page or XML",
    b"@": "FASTQ",
    b"# STOCKHOLM": "a Stockholm alignment",
}
_MEND = "give protein sequences as FASTA, profiles of HMMER, or a database of MMseqs2, HH-suite or BLAST"

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Format:
    """What a database is.

    Args:
        content: One of `sequence_files.FORMATS`, `HMMER profiles`, `HMMER profiles, pressed`, `MMseqs2 ...`,
            `HH-suite` or `template library`.
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
    found = _format_of_files(database.path)
    if _KINDS[found.content] != database.kind:
        problem = f"the database {database.name!r} holds {found}, but its kind is {database.kind}"
        raise LibraryError(problem, str(anchor), f"write kind: {_KINDS[found.content]}")
    return found


def count(database: Database, found: Format) -> Counts:
    """Count sequences and residues, which reads the whole database once, as a search does; of MMseqs2's only the index.

    Raises:
        LibraryError: It is damaged, or holds nothing.
    """
    result = _counted(database, found)
    if not result.sequences:
        raise LibraryError(f"the database {database.name!r} holds no sequences", str(database.path), _MEND)
    return result


def _counted(database: Database, found: Format) -> Counts:
    match found.content.split()[0]:
        case "HMMER":
            return _count_profiles(database.path)
        case "MMseqs2":
            return _count_mmseqs(database.path, found)
        case "template":
            return _count_library(database.path)
        case _ if found.content == HH_SUITE:
            return Counts(_lines(database.anchor), None)
    return _count_sequences(database.path)


def _count_sequences(path: Path) -> Counts:
    sequences = residues = 0
    for block in blocks(path, _AT_ONCE):
        if not sequences:
            _refuse_nucleotides(block[:_SAMPLE], path)
        sequences += len(block)
        residues += sum(map(len, block))
    return Counts(sequences, residues)


def _refuse_nucleotides(sample: Iterable["easel.DigitalSequence[easel.AA]"], path: Path) -> None:
    letters = "".join(sequence.alphabet.decode(sequence.sequence) for sequence in sample)
    if len(letters) >= _ENOUGH and sum(map(letters.count, _DNA)) > _NEARLY_ALL * len(letters):
        raise LibraryError("expected sequences of proteins, found nucleotides", str(path), _MEND)


def _format_of_files(path: Path) -> Format:
    """Return what a file is, or a BLAST database whose files' names begin so."""
    if is_blast(path):
        check_blast(path)
        return Format(BLAST.name)
    return Format(_content(path), packing(path))


def _content(path: Path) -> str:
    """Return what a file holds by how it begins."""
    with opened(path) as file:
        head = file.read(_HEAD)
    text = head.lstrip()
    if text.startswith(b"HMMER3/") or head.startswith(_HMM_BINARY):
        return "HMMER profiles"
    if sequences := format_of_text(head, path):
        return sequences.name
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
