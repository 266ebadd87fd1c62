"""The program `jackhmmer` as an engine, query after query."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from pyhmmer import easel

from pipeline.a3m import Alignment
from pipeline.search.engines.alignments import query_alignment
from pipeline.search.engines.programs import Program, TimedOutError, workspace
from pipeline.search.engines.records import Found, Options, Query
from pipeline.search.engines.sources import Source
from pipeline.search.made import made, place_of

JACKHMMER = Program("jackhmmer", "HMMER", ("-h",))
_FASTA = "jackhmmer.fasta"
_CONVERGED = "@@ CONVERGED"


@dataclasses.dataclass(frozen=True)
class JackhmmerProgram:
    """Search with the program jackhmmer.

    Args:
        folder: Where databases that are packed, or in memory, are kept as plain FASTA; None makes them anew each time.
    """

    folder: Path | None = None

    @property
    def name(self) -> str:
        """Name and version of engine and program."""
        return f"jackhmmer-program/2:{JACKHMMER.version}"

    def search(self, queries: Sequence[Query], source: Source, options: Options) -> Iterator[tuple[int, Found]]:
        """Search with one query after the other; the program reads the database for each. See `Engine.search`."""
        with workspace(self.folder) as work, _plain_fasta(source, self.folder, work) as fasta:
            for index, query in enumerate(queries):
                place = work / str(index)
                place.mkdir()
                yield index, _search(query.sequence, fasta, options, place)


def _search(query: str, fasta: Path, options: Options, work: Path) -> Found:
    (work / "query.fasta").write_text(f">query\n{query}\n", encoding="ascii")
    words = ["--cpu", options.threads if options.threads > 1 else 0, "-N", options.rounds, "--noali"]
    words += ["--incE", options.e_value, "--incdomE", options.e_value, "-o", work / "said", "--chkali", work / "round"]
    words += ["--domtblout", work / "domains"]
    timed_out = False
    try:
        JACKHMMER.run(*words, work / "query.fasta", fasta, seconds=options.seconds or None)
    except TimedOutError:
        timed_out = True
    return _found(query, options, work, timed_out)


def _found(query: str, options: Options, work: Path, timed_out: bool) -> Found:
    """Read the alignment of the last round that was written whole."""
    paths = [work / f"round-{number}.sto" for number in range(1, options.rounds + 1)]
    whole = [path for path in paths if _is_whole(path)]
    if not whole:
        return Found(Alignment(("query",), (query,)), 0, False, timed_out)
    with easel.MSAFile(whole[-1], format="stockholm", digital=True, alphabet=easel.Alphabet.amino()) as file:
        msa = cast("easel.DigitalMSA[easel.AA]", file.read())
    rows = [row for row in msa.sequences if row.name != "query"]
    headers = {row.name.rpartition("/")[0]: _header(row.description or "") or row.name for row in rows}
    alignment = query_alignment(query, msa, headers, options.max_rows)
    converged = not timed_out and _CONVERGED in (work / "said").read_text(encoding="utf-8", errors="replace")
    dropped = {"e_value": max(0, _reported(work / "domains") - len(rows)), "cap": max(0, len(rows) - options.max_rows)}
    facts = {"dropped": dropped, "hits_at_least": False}
    return Found(alignment, len(whole), converged, timed_out, len(headers), facts)


def _reported(table: Path) -> int:
    """Count the domains of the last round, those above the E-value too; the program writes them when it ends."""
    if not table.exists():
        return 0
    with table.open("rb") as file:
        return sum(not line.startswith(b"#") for line in file)


def _header(description: str) -> str:
    """Return the header without what HMMER puts before it."""
    return description.removeprefix("[subseq from] ")


def _is_whole(path: Path) -> bool:
    if not path.exists() or path.stat().st_size < len("//\n"):
        return False
    with path.open("rb") as file:
        file.seek(-len("//\n"), os.SEEK_END)
        return file.read() == b"//\n"


@contextlib.contextmanager
def _plain_fasta(source: Source, folder: Path | None, work: Path) -> Iterator[Path]:
    """Give the database as FASTA, each sequence named by its index, written where that is not done yet."""
    place = place_of(Path(source.database.folder), folder, work)
    with made(place, source.database.name, lambda new: source.write_fasta(new / _FASTA)) as whole:
        yield whole / _FASTA
