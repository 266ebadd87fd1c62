"""The engine for large databases: MMseqs2's k-mer prefilter finds candidates, and jackhmmer's profiles decide on them.

E-values count all sequences of the database, as if each had been looked at.
"""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.a3m import format_a3m
from pipeline.search.engines.hmmer import ENGINE, Iteration, end_round, start_scans
from pipeline.search.engines.mmseqs_database import MmseqsDatabase, prepared
from pipeline.search.engines.mmseqs_files import MMSEQS, QUIET, entries, read_places, write_alignments, write_queries
from pipeline.search.engines.programs import TimedOutError, workspace
from pipeline.search.engines.records import Found, Options, Query
from pipeline.search.engines.scan import PARTS, Scan, Workers, run_waves
from pipeline.search.engines.sources import Source

_A3M_BY_QUERY = ("--msa-type", 1, "--match-mode", 0)


@dataclasses.dataclass(frozen=True)
class Prefilter:
    """Search as jackhmmer does among the sequences that pass MMseqs2's k-mer prefilter.

    Args:
        folder: Where databases and k-mer indices are kept; None makes them for each search anew.
        sensitivity: MMseqs2's `-s`.
        max_seqs: Most candidates of a query in a round.
    """

    folder: Path | None = None
    sensitivity: float = 7.5
    max_seqs: int = 20_000

    @property
    def name(self) -> str:
        """Name, versions of engine and programs, settings."""
        return f"prefilter/3:{ENGINE}:mmseqs-{MMSEQS.version}:s{self.sensitivity}:m{self.max_seqs}"

    def search(self, queries: Sequence[Query], source: Source, options: Options) -> Iterator[tuple[int, Found]]:
        """Search with all queries, round by round; see `Engine.search`."""
        running = {index: Iteration(query.sequence) for index, query in enumerate(queries)}
        with (
            workspace(self.folder) as work,
            prepared(source, self.folder, work, options.threads) as database,
            Workers(options.threads) as pool,
        ):
            number = 0
            while running:
                number += 1
                candidates = _Candidates(self, database, options, work / f"round{number}").find(running)
                timed_out = _round(running, candidates, database, options, pool)
                for index, iteration in list(running.items()):
                    if timed_out[index] or iteration.converged or iteration.rounds >= options.rounds:
                        iteration.headers = database.headers(map(int, iteration.headers))
                        yield index, running.pop(index).found(options.max_rows, timed_out[index])


@dataclasses.dataclass(frozen=True)
class _Candidates:
    """The prefilter of one round: with the queries in the first, with the profiles of their alignments then."""

    engine: Prefilter
    database: MmseqsDatabase
    options: Options
    work: Path

    def find(self, running: Mapping[int, Iteration]) -> dict[int, list[int]] | None:
        """Return the keys of the candidates of each query; None where what all queries have left of their time is up.

        No candidates would look like a round that finds nothing.
        """
        self.work.mkdir()
        start = time.monotonic()
        try:
            found = self._passed(running)
        except TimedOutError:
            return None
        for iteration in running.values():
            iteration.seconds += (time.monotonic() - start) / len(running)
        return found

    def _passed(self, running: Mapping[int, Iteration]) -> dict[int, list[int]]:
        seconds = None
        if self.options.seconds:
            seconds = max(0.0, sum(self.options.seconds - iteration.seconds for iteration in running.values()))
        threads = ("--threads", self.options.threads, *QUIET)
        words = (
            "-s",
            self.engine.sensitivity,
            "--max-seqs",
            max(self.engine.max_seqs, self.options.max_rows),
            *threads,
        )
        passed = self.work / "passed"
        MMSEQS.run("prefilter", self._queries(running, threads), self.database.indexed, passed, *words, seconds=seconds)
        places = read_places(passed)
        lines = zip(places[:, 0].tolist(), entries(passed, places), strict=True)
        numbers = list(running)
        return {numbers[key]: [int(line.split("\t", 1)[0]) for line in text.splitlines()] for key, text in lines}

    def _queries(self, running: Mapping[int, Iteration], threads: Sequence[object]) -> Path:
        alignments = [iteration.found(self.options.max_rows, False).alignment for iteration in running.values()]
        queries = self.work / "queries"
        if not any(iteration.rounds for iteration in running.values()):
            write_queries(queries, [alignment.query for alignment in alignments])
            return queries
        write_alignments(queries, ((key, format_a3m(alignment)) for key, alignment in enumerate(alignments)))
        MMSEQS.run("msa2profile", queries, self.work / "profiles", *_A3M_BY_QUERY, *threads)
        return self.work / "profiles"


def _round(
    running: Mapping[int, Iteration],
    candidates: Mapping[int, Sequence[int]] | None,
    database: MmseqsDatabase,
    options: Options,
    pool: Workers,
) -> dict[int, bool]:
    """Search the candidates of each query; return whether its time was up before the round was complete."""
    if candidates is None:
        return dict.fromkeys(running, True)
    scans = start_scans(running.values(), options, pool, len(database.places))
    _scan(scans, [candidates.get(index, []) for index in running], database, pool)
    return dict(zip(running, pool.map(end_round, running.values(), scans), strict=True))


def _scan(scans: Sequence[Scan], candidates: Sequence[Sequence[int]], database: MmseqsDatabase, pool: Workers) -> None:
    """Search the candidates of each query with its profile."""
    parts = (database.sequences(keys).parts(PARTS) for keys in candidates)
    run_waves([scan.waves(part, pool) for scan, part in zip(scans, parts, strict=True)])
