"""The files of MMseqs2's databases: entries, and an index of key, offset and length of each."""

import contextlib
import itertools
import mmap
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.search.engines.programs import Program

MMSEQS = Program("mmseqs", "MMseqs2", ("version",))
QUIET = ("-v", "1")
PLACES = ".places.npy"
"""End of the name of the file in which an index is kept as an array, for reading a long one takes seconds."""

_MSA_TYPE = 11  # MMseqs2's number of databases of alignments


def beside(path: Path, end: str) -> Path:
    """Return the path with something at the end of its name."""
    return path.with_name(path.name + end)


def write_queries(path: Path, sequences: Iterable[str]) -> None:
    """Make the database of queries, whose keys are their indices."""
    fasta = beside(path, ".fasta")
    fasta.write_text("".join(f">{index}\n{sequence}\n" for index, sequence in enumerate(sequences)), encoding="ascii")
    MMSEQS.run("createdb", fasta, path, "--shuffle", 0, *QUIET)


def write_alignments(path: Path, texts: Iterable[tuple[int, str]]) -> None:
    """Write alignments in A3M, each with its key, as a database."""
    offset, lines = 0, []
    with path.open("wb") as file:
        for key, text in texts:
            entry = text.encode() + b"\0"
            file.write(entry)
            lines.append(f"{key}\t{offset}\t{len(entry)}\n")
            offset += len(entry)
    beside(path, ".index").write_text("".join(lines), encoding="ascii")
    beside(path, ".dbtype").write_bytes(_MSA_TYPE.to_bytes(4, "little"))


def read_places(path: Path) -> NDArray[np.int64]:
    """Return key, offset and length of each entry, in the order of the keys, shape (entries, 3)."""
    kept = beside(path, PLACES)
    if kept.exists():
        return np.asarray(np.load(kept, mmap_mode="r", allow_pickle=False))
    text = beside(path, ".index").read_bytes()
    places = np.array(text.split(), dtype=np.int64).reshape(-1, 3)
    return places[np.argsort(places[:, 0], kind="stable")]


def entries(path: Path, places: NDArray[np.int64]) -> list[str]:
    """Read entries at places; a large result lies in files `path.0`, `path.1` and so on, one after the other."""
    parts = [path] if path.exists() else _numbered(path)
    with contextlib.ExitStack() as stack:
        texts = [_mapped(stack, part) for part in parts]
        starts = np.cumsum([0, *map(len, texts)])
        found = []
        for _, offset, length in places.tolist():
            part = int(np.searchsorted(starts[1:-1], offset, side="right"))
            begin = offset - int(starts[part])
            found.append(texts[part][begin : begin + length].rstrip(b"\n\0").decode("utf-8", "replace"))
        return found


def _numbered(path: Path) -> list[Path]:
    paths = (beside(path, f".{number}") for number in itertools.count())
    return list(itertools.takewhile(lambda part: part.exists(), paths))


def _mapped(stack: contextlib.ExitStack, path: Path) -> "mmap.mmap | bytes":
    if not path.stat().st_size:
        return b""
    file = stack.enter_context(path.open("rb"))
    return stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
