"""The sequences of a database, read when a search first needs them, in chunks where they are many."""

import dataclasses
import functools
import gzip
import io
import logging
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from pyhmmer import easel

from pipeline.databases.records import Database
from pipeline.errors import LibraryError

log = logging.getLogger(__name__)

CHUNK = 1 << 26
"""Residues that are held in memory at once, and beyond which a database is read again in each round."""

_GZIP = b"\x1f\x8b"


@dataclasses.dataclass(frozen=True, eq=False)
class Sequences:
    """Target sequences in HMMER's code; each is named by its index, for headers may repeat or be anything.

    Args:
        names: Header of each sequence: its first word and description.
        block: The sequences.
    """

    names: Sequence[str]
    block: "easel.DigitalSequenceBlock[easel.AA]"

    def __len__(self) -> int:
        return len(self.block)

    def parts(self, count: int) -> list["easel.DigitalSequenceBlock[easel.AA]"]:
        """Divide the sequences into parts of similar work."""
        return [self.block[start::count] for start in range(min(count, max(1, len(self))))]


@dataclasses.dataclass(frozen=True)
class Source:
    """A database, whose sequences are read when a search first needs them.

    Args:
        database: Its name and version.
        load: Reads the sequences.
    """

    database: Database
    load: Callable[[], Sequences]

    @classmethod
    def of_file(cls, database: Database) -> "Source":
        """Return the sequences of a file."""
        return cls(database, functools.partial(read_sequences, database.path))

    @classmethod
    def of_records(cls, database: Database, names: Sequence[str], sequences: Iterable[str]) -> "Source":
        """Return sequences that are in memory, or in a file that gives each by its index."""
        return cls(database, functools.partial(make_sequences, names, sequences))

    @functools.cached_property
    def sequences(self) -> Sequences:
        """All sequences, read once."""
        log.info("reading %s (%s)", self.database.folder, self.database.path)
        return self.load()

    def chunks(self) -> Iterator[Sequences]:
        """Give the sequences in chunks of bounded size."""
        yield self.sequences


def read_sequences(path: Path) -> Sequences:
    """Read a FASTA file, plain or gzip.

    Raises:
        LibraryError: The file cannot be read, is no FASTA file or holds no sequences.
    """
    alphabet = easel.Alphabet.amino()
    try:
        with easel.SequenceFile(_stream(path), format="fasta", digital=True, alphabet=alphabet) as file:
            block = cast("easel.DigitalSequenceBlock[easel.AA]", file.read_block())
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise LibraryError(f"expected a FASTA file of protein sequences ({_reason(error)})", str(path)) from error
    names = [_header(sequence, index) for index, sequence in enumerate(block)]
    for index, sequence in enumerate(block):
        sequence.name = str(index)
    return Sequences(names, block)


def make_sequences(names: Sequence[str], sequences: Iterable[str]) -> Sequences:
    """Encode sequences that are in memory already."""
    alphabet = easel.Alphabet.amino()
    texts = (easel.TextSequence(name=str(index), sequence=sequence) for index, sequence in enumerate(sequences))
    return Sequences(names, easel.DigitalSequenceBlock(alphabet, [text.digitize(alphabet) for text in texts]))


def _stream(path: Path) -> str | BinaryIO:
    """Return what HMMER's reader takes: the path of plain text, or the text that was packed by gzip.

    Errors in a stream that HMMER reads itself would be lost.
    """
    with path.open("rb") as file:
        if file.read(len(_GZIP)) != _GZIP:
            return str(path)
        file.seek(0)
        return io.BytesIO(gzip.decompress(file.read()))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return (str(error) or type(error).__name__).splitlines()[0]


def _header(sequence: "easel.DigitalSequence[easel.AA]", index: int) -> str:
    try:
        return f"{sequence.name} {sequence.description or ''}".strip()
    except UnicodeDecodeError:  # a header in another encoding costs its name, not the database
        return f"sequence_{index + 1}"
