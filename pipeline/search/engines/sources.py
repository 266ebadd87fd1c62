"""The sequences of a database, read when a search first needs them, in chunks where they are many."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from pyhmmer import easel

from pipeline.databases.records import Database
from pipeline.databases.sequence_files import blocks

log = logging.getLogger(__name__)

CHUNK = 1 << 25
"""Residues that are held in memory at once; a database of more is read again in each round."""

_LEAST_PART = 32
_RUN = 16  # sequences; those read one after the other lie side by side in memory
_LONGEST = 100_000  # residues; HMMER refuses a longer sequence


@dataclasses.dataclass(frozen=True, eq=False)
class Sequences:
    """Target sequences in HMMER's code; each is named by its index, for headers may repeat or be anything.

    Args:
        block: The sequences; the description of each is its header, first word and all.
    """

    block: "easel.DigitalSequenceBlock[easel.AA]"

    def __len__(self) -> int:
        return len(self.block)

    @property
    def names(self) -> list[str]:
        """Header of each sequence."""
        return [sequence.description or "" for sequence in self.block]

    def parts(self, most: int) -> list["easel.DigitalSequenceBlock[easel.AA]"]:
        """Divide the sequences into parts of similar work, dealt in short runs; few sequences make few parts."""
        count = max(1, min(most, len(self) // _LEAST_PART))
        dealt: list[list[easel.DigitalSequence[easel.AA]]] = [[] for _ in range(count)]
        for turn, start in enumerate(range(0, len(self), _RUN)):
            dealt[turn % count] += self.block[start : start + _RUN]
        return [easel.DigitalSequenceBlock(_alphabet(), part) for part in dealt]


@dataclasses.dataclass(frozen=True)
class Source:
    """A database, whose sequences are read when a search first needs them.

    Args:
        database: Its name and version.
        read: Reads the sequences in chunks of at least so many residues, the last one aside.
    """

    database: Database
    read: Callable[[int], Iterator[Sequences]]
    _whole: list[Sequences] = dataclasses.field(default_factory=list, init=False, repr=False, compare=False)

    @classmethod
    def of_file(cls, database: Database) -> "Source":
        """Return the sequences of a file."""
        return cls(database, functools.partial(read_chunks, database.path))

    @classmethod
    def of_records(cls, database: Database, names: Sequence[str], sequences: Iterable[str]) -> "Source":
        """Return sequences that are in memory, or in a file that gives each in turn."""
        return cls(database, lambda _: iter([make_sequences(names, sequences)]))

    @property
    def sequences(self) -> Sequences:
        """All sequences at once, read once."""
        chunks = list(self.chunks())
        if len(chunks) > 1:
            chunks = [Sequences(easel.DigitalSequenceBlock(_alphabet(), [s for c in chunks for s in c.block]))]
            self._whole[:] = chunks
        return chunks[0]

    def chunks(self) -> Iterator[Sequences]:
        """Give the sequences in chunks of bounded size; a database of one chunk stays in memory.

        Raises:
            LibraryError: The database cannot be read, or is found to be damaged.
        """
        if self._whole:
            yield self._whole[0]
            return
        log.info("reading %s (%s)", self.database.folder, self.database.path)
        chunks = self.read(CHUNK)
        first, second = next(chunks), next(chunks, None)
        if second is None:
            self._whole.append(first)
            yield first
            return
        yield first
        del first
        yield second
        del second
        yield from chunks

    def records(self) -> Iterator[tuple[str, str]]:
        """Give header and letters of each sequence."""
        for chunk in self.chunks():
            for sequence in chunk.block:
                yield sequence.description or "", sequence.textize().sequence

    def write_fasta(self, path: Path) -> None:
        """Write the sequences, each named by its index, its header behind."""
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for index, (header, letters) in enumerate(self.records()):
                file.write(f">{index} {' '.join(header.split())}\n{letters}\n")


def read_chunks(path: Path, residues: int) -> Iterator[Sequences]:
    """Read a database of sequences in any format of `sequence_files`.

    Args:
        path: The file, or what the names of its files begin with.
        residues: Least residues of a chunk.

    Raises:
        LibraryError: It cannot be read, is damaged, is in no known format or holds no sequences.
    """
    index = 0
    for block in blocks(path, residues):
        yield _named(block, index)
        index += len(block)


def make_sequences(names: Sequence[str], sequences: Iterable[str]) -> Sequences:
    """Encode sequences that are in memory already."""
    alphabet = _alphabet()
    pairs = enumerate(zip(names, sequences, strict=True))
    texts = (easel.TextSequence(name=str(i), description=name, sequence=letters) for i, (name, letters) in pairs)
    return Sequences(easel.DigitalSequenceBlock(alphabet, [text.digitize(alphabet) for text in texts]))


def _alphabet() -> "easel.AA":
    return easel.Alphabet.amino()


def _named(block: "easel.DigitalSequenceBlock[easel.AA]", start: int) -> Sequences:
    """Name sequences by their index and keep their headers as descriptions; leave those out that HMMER refuses."""
    for index, sequence in enumerate(block, start=start):
        sequence.description = _header(sequence, index)
        sequence.name = str(index)
    kept = [sequence for sequence in block if len(sequence) <= _LONGEST]
    if len(kept) == len(block):
        return Sequences(block)
    log.warning("left out: %d sequences of more than %d residues", len(block) - len(kept), _LONGEST)
    return Sequences(easel.DigitalSequenceBlock(_alphabet(), kept))


def _header(sequence: "easel.DigitalSequence[easel.AA]", index: int) -> str:
    try:
        return f"{sequence.name} {sequence.description or ''}".strip()
    except UnicodeDecodeError:  # a header in another encoding costs its name, not the database
        return f"sequence_{index + 1}"
