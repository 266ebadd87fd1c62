"""A database of MMseqs2: made of any source once, indexed once, its sequences read by their keys."""

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import EngineError
from pipeline.search.engines.mmseqs_files import MMSEQS, PLACES, QUIET, beside, entries, read_places
from pipeline.search.engines.sources import Sequences, Source, make_sequences
from pipeline.search.made import MMSEQS_FOLDER, made, place_of

_NAME = "sequences"


@dataclasses.dataclass(frozen=True)
class MmseqsDatabase:
    """Sequences as MMseqs2 keeps them.

    Args:
        path: What the names of its files begin with.
    """

    path: Path

    @property
    def indexed(self) -> Path:
        """What the prefilter reads: the k-mer index where there is one."""
        index = beside(self.path, ".idx")
        return index if beside(index, ".dbtype").exists() else self.path

    @property
    def made_here(self) -> bool:
        """Whether headers begin with the key, which we put there."""
        return self.path.name == _NAME and beside(self.path, PLACES).exists()

    @functools.cached_property
    def places(self) -> NDArray[np.int64]:
        """Key, offset and length of each entry, in the order of the keys, shape (sequences, 3)."""
        return read_places(self.path)

    def sequences(self, keys: Iterable[int]) -> Sequences:
        """Read the sequences of keys, named by them."""
        places = self.places[np.searchsorted(self.places[:, 0], sorted(keys))]
        names = [str(key) for key in places[:, 0]]
        read = make_sequences(names, entries(self.path, places))
        for name, sequence in zip(names, read.block, strict=True):
            sequence.name = name
        return read

    def headers(self, keys: Iterable[int]) -> dict[str, str]:
        """Read the headers of keys, without the key that we put before each."""
        path = beside(self.path, "_h")
        places = read_places(path)
        rows = np.searchsorted(places[:, 0], sorted(keys))
        read = zip(places[rows, 0], entries(path, places[rows]), strict=True)
        return {str(key): header.removeprefix(f"{key} ") if self.made_here else header for key, header in read}


@contextlib.contextmanager
def prepared(source: Source, folder: Path | None, work: Path, threads: int) -> Iterator[MmseqsDatabase]:
    """Give the source as a database of MMseqs2, made where there is none yet.

    What is kept has an index of its k-mers, which takes a gigabyte and more and pays with the second search. Beside the
    user's own database nothing is written.

    Args:
        source: A database of MMseqs2 itself, or any other.
        folder: Where what is made is kept; None keeps nothing.
        work: Where it is made that cannot be kept.
        threads: Threads that make it.

    Raises:
        EngineError: MMseqs2 is missing or fails.
        LibraryError: The source cannot be read.
    """
    path = source.database.path
    if beside(path, ".dbtype").exists():
        yield MmseqsDatabase(path)
        return
    place = place_of(Path(MMSEQS_FOLDER, source.database.folder), folder, work)

    def make(new: Path) -> None:
        _make(source, new / _NAME)
        if not place.is_relative_to(work):
            with tempfile.TemporaryDirectory(dir=new.parent) as scratch:
                MMSEQS.run("createindex", new / _NAME, scratch, "--threads", threads, *QUIET)

    with made(place, source.database.name, make) as whole:
        yield MmseqsDatabase(whole / _NAME)


def _make(source: Source, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent.parent) as name:
        fasta = Path(name) / "sequences.fasta"
        source.write_fasta(fasta)
        MMSEQS.run("createdb", fasta, path, "--shuffle", 0, *QUIET)
    places = read_places(path)
    if len(places) and not np.array_equal(places[:, 0], np.arange(len(places))):
        raise EngineError("expected mmseqs to number sequences in their order, found another", str(path))
    for database in (path, beside(path, "_h")):
        np.save(beside(database, PLACES), read_places(database), allow_pickle=False)
