"""Read files of sequences in every format that HMMER's library reads from a wheel of pyhmmer, block by block."""

import contextlib
import dataclasses
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from pyhmmer import easel

from pipeline.databases.packed import DAMAGED, opened, packing
from pipeline.errors import LibraryError

BLAST_ENDS = (".pal", ".pin")  # the list of the volumes of a database, the index of one volume
_HEAD = 512  # bytes that tell formats apart
_DAMAGED = "it is damaged or cut short"
_MUCH = 1 << 20  # bytes; no list of volumes is so long
_PROBLEMS = (OSError, ValueError, *DAMAGED)
_PROBLEMS_OF_BLAST = (RuntimeError, SystemError, MemoryError)  # damaged lengths ask for any memory
_BLAST_VERSION, _BLAST_PROTEINS = 4, 1  # the first two numbers of an index, big-endian
_ALIAS_WORDS = ("TITLE", "DBLIST", "NSEQ", "LENGTH")  # others choose some of the sequences, which easel does not read
_FLAT = re.compile(rb"(?P<uniprot>ID)   .*\d AA\.\s|(?P<genbank>LOCUS) .*\d aa ")
_NUCLEOTIDES = re.compile(rb"ID   .*\d BP\.\s|LOCUS .*\d bp ")


@dataclasses.dataclass(frozen=True)
class SequenceFormat:
    """A format of sequences.

    Args:
        name: What users call it.
        reader: What easel calls it.
    """

    name: str
    reader: str


FASTA = SequenceFormat("FASTA", "fasta")
HMMPGMD = SequenceFormat("hmmpgmd", "fasta")  # FASTA below a line of counts
UNIPROT = SequenceFormat("UniProt flat file", "uniprot")
GENPEPT = SequenceFormat("GenPept flat file", "genbank")
BLAST = SequenceFormat("BLAST database", "ncbi")
FORMATS = (FASTA, HMMPGMD, UNIPROT, GENPEPT, BLAST)


def is_blast(path: Path) -> bool:
    """Return whether a path is what the names of a BLAST database's files begin with."""
    return not path.is_file() and any(Path(f"{path}{end}").is_file() for end in BLAST_ENDS)


def format_of_text(head: bytes, path: Path) -> SequenceFormat | None:
    """Return which format of sequences begins so, None where it is another one.

    Raises:
        LibraryError: They are nucleotides.
    """
    text = head.lstrip()
    if text.startswith(b">"):
        return FASTA
    if text.startswith(b"#") and b"\n>" in text and not text.startswith(b"# STOCKHOLM"):
        return HMMPGMD
    if flat := _FLAT.match(text):
        return UNIPROT if flat["uniprot"] else GENPEPT
    if _NUCLEOTIDES.match(text):
        mend = "give the sequences of the proteins"
        raise LibraryError("expected sequences of proteins, found a flat file of nucleotides", str(path), mend)
    return None


def check_blast(path: Path) -> None:
    """Refuse a BLAST database that HMMER's library would misread.

    Raises:
        LibraryError: It is not of version 4, holds nucleotides or a choice of another one's sequences, or lacks files.
    """
    for volume in _volumes(path):
        index = Path(f"{volume}.pin")
        version, kind = (int.from_bytes(_read(index)[start : start + 4], "big") for start in (0, 4))
        if version != _BLAST_VERSION:
            problem = f"expected a BLAST database of version {_BLAST_VERSION}, found version {version}"
            mend = "make it again: makeblastdb -blastdb_version 4; or write FASTA: blastdbcmd -entry all"
            raise LibraryError(problem, str(index), mend)
        if kind != _BLAST_PROTEINS:
            raise LibraryError("expected a BLAST database of proteins, found one of nucleotides", str(index))


def blocks(path: Path, residues: int) -> Iterator["easel.DigitalSequenceBlock[easel.AA]"]:
    """Read the sequences of a file, plain or packed by gzip or zstd, or of a BLAST database.

    Args:
        path: The file, or what the names of the database's files begin with.
        residues: Least residues of a block, the last one aside.

    Yields:
        Blocks; the first may be empty.

    Raises:
        LibraryError: It cannot be read, is damaged, is in no known format or holds no sequences.
    """
    if not is_blast(path):
        yield from _blocks_of_file(path, residues)
        return
    check_blast(path)
    for volume in _volumes(path):
        with _explained(BLAST, path), _sequences(str(volume), BLAST) as sequences:
            for block in _read_blocks(sequences, residues):
                _check_letters(block)
                yield block


def _blocks_of_file(path: Path, residues: int) -> Iterator["easel.DigitalSequenceBlock[easel.AA]"]:
    found = format_of_text(_head(path), path) or FASTA
    with _explained(found, path):
        if not packing(path) and found != HMMPGMD:
            with _sequences(str(path), found) as sequences:
                yield from _read_blocks(sequences, residues)
            return
        with opened(path) as file:
            if found == HMMPGMD:
                file.readline()  # the counts
            stream = _Stream(file)
            with _sequences(cast("BinaryIO", stream), found) as sequences:
                for block in _read_blocks(sequences, residues):
                    stream.raise_problem()
                    yield block
            stream.raise_problem()


def _check_letters(block: "easel.DigitalSequenceBlock[easel.AA]") -> None:
    """Refuse codes that are no letters, which a damaged file gives and HMMER would take for places in its tables."""
    last = len(easel.Alphabet.amino().symbols) - 1
    if any(len(sequence) and np.asarray(sequence.sequence).max() > last for sequence in block):
        raise ValueError(_DAMAGED)


def _sequences(source: str | BinaryIO, found: SequenceFormat) -> easel.SequenceFile:
    return easel.SequenceFile(source, format=found.reader, digital=True, alphabet=easel.Alphabet.amino())


@contextlib.contextmanager
def _explained(found: SequenceFormat, path: Path) -> Iterator[None]:
    """Say what was expected where the library says what it dislikes."""
    problems = _PROBLEMS + _PROBLEMS_OF_BLAST if found == BLAST else _PROBLEMS
    try:
        yield
    except problems as error:
        what = "FASTA file" if found in (FASTA, HMMPGMD) else found.name
        raise LibraryError(f"expected a {what} of protein sequences ({_reason(error)})", str(path)) from error


def _read_blocks(file: easel.SequenceFile, residues: int) -> Iterator["easel.DigitalSequenceBlock[easel.AA]"]:
    first = True
    while True:
        block = cast("easel.DigitalSequenceBlock[easel.AA]", file.read_block(residues=residues))
        if not (len(block) or first):
            return
        first = False
        yield block


def _head(path: Path) -> bytes:
    with opened(path) as file:
        return file.read(_HEAD)


def _volumes(path: Path) -> list[Path]:
    """Return what the names of the files of each volume begin with.

    Raises:
        LibraryError: The list of volumes cannot be read, or chooses some of the sequences.
    """
    alias = Path(f"{path}.pal")
    if not alias.is_file():
        return [path]
    names: list[str] = []
    for line in _read(alias).decode("utf-8", "replace").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word and not word.startswith("#") and word not in _ALIAS_WORDS:
            problem = f"this BLAST database is a choice of another one's sequences ({word})"
            raise LibraryError(problem, str(alias), "write its sequences as FASTA: blastdbcmd -entry all")
        names += rest.replace('"', " ").split() if word == "DBLIST" else []
    return [alias.parent / name for name in names]


def _read(path: Path) -> bytes:
    """Read the beginning of a file.

    Raises:
        LibraryError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(_MUCH)
    except OSError as error:
        raise LibraryError(f"cannot read the file ({(error.strerror or str(error)).lower()})", str(path)) from error


class _Stream(io.RawIOBase):
    """A stream for HMMER's reader, which takes an error for the end of the file: errors are kept beside it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._problem: Exception | None = None

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill a buffer; after an error, as at the end, with nothing."""
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        try:
            data = self._file.read(len(target))
        except (OSError, *DAMAGED) as error:
            self._problem = self._problem or error
            return 0
        target[: len(data)] = data
        return len(data)

    def raise_problem(self) -> None:
        """Raise the first error there was."""
        if self._problem:
            raise self._problem


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = (str(error) or type(error).__name__).splitlines()[0]
    return text if text.isprintable() and "\ufffd" not in text else _DAMAGED
