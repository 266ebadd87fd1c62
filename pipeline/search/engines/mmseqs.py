"""The engine MMseqs2: the program `mmseqs`, round by round, with ColabFold's steps for databases of clusters.

Source: Steinegger and Soding 2017, Nat. Biotechnol. 35, 1026; Mirdita et al. 2022, Nat. Methods 19, 679.
"""

import dataclasses
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.a3m import Alignment
from pipeline.search.engines.mmseqs_database import MmseqsDatabase, prepared
from pipeline.search.engines.mmseqs_files import MMSEQS, QUIET, beside, write_queries
from pipeline.search.engines.programs import TimedOutError, workspace
from pipeline.search.engines.records import Found, Options, Query
from pipeline.search.engines.sources import Source

_GAP = "-"
_REPORTED = 10.0  # E-value up to which HMMER reports what does not join the alignment
_UP_TO = ["--filter-column", "4", "--comparison-operator", "le", "--comparison-value"]  # of the E-value
_COLUMNS = "query,theader,qstart,qend,tstart,tend,evalue,bits,qaln,taln"
# The words of ColabFold's steps for a database of clusters; our own limit of E-values comes after them.
_EXPAND = ["--expansion-mode", "0", "-e", "inf", "--expand-filter-clusters", "1", "--max-seq-id", "0.95"]
_REALIGN = ["-e", "10", "--max-accept", "1000000", "--alt-ali", "10", "-a"]
_FILTER_SCORES = [
    *("--qid", "0", "--qsc", "0.8", "--cov", "0", "--diff", "0"),
    *("--max-seq-id", "1.0", "--filter-min-enable", "100"),
]
_FILTER_DIVERSITY = [
    *("--qid", "0.0,0.2,0.4,0.6,0.8,1.0", "--qsc", "0", "--diff", "3000"),
    *("--max-seq-id", "0.95", "--filter-min-enable", "1000"),
]


@dataclasses.dataclass(frozen=True)
class Row:
    """An alignment of MMseqs2, as a row of A3M.

    Args:
        name: `target/from-to` and the rest of the header, by which chains of one organism can be paired.
        target: Key of the target, or its whole header.
        e_value: E-value.
        row: Letters, a gap where the target has none; insertions in lower case.
    """

    name: str
    target: str
    e_value: float
    row: str


@dataclasses.dataclass(frozen=True)
class Mmseqs:
    """Search with MMseqs2.

    Args:
        folder: Where databases and k-mer indices are kept; None makes them for each search anew.
        sensitivity: MMseqs2's `-s`; ColabFold's is 8.
        max_seqs: Most sequences that pass the k-mer prefilter for one query.
    """

    folder: Path | None = None
    sensitivity: float = 8.0
    max_seqs: int = 10_000

    @property
    def name(self) -> str:
        """Name, version of engine and program, settings."""
        return f"mmseqs/2:{MMSEQS.version}:s{self.sensitivity}:m{self.max_seqs}"

    def search(self, queries: Sequence[Query], source: Source, options: Options) -> Iterator[tuple[int, Found]]:
        """Search with all queries at once; the time budgets of all are one. See `Engine.search`."""
        with workspace(self.folder) as work, prepared(source, self.folder, work, options.threads) as database:
            rounds = _Rounds(self, database, options, work)
            rounds.run([query.sequence for query in queries])
            expandable = beside(database.path, "_aln.dbtype").exists()
            rows = rounds.expanded() if expandable else rounds.rows()
            for index, query in enumerate(queries):
                yield index, rounds.found(query.sequence, index, rows[index])


class _Rounds:
    """The rounds of a batch: prefilter, alignment, profile of the alignment."""

    def __init__(self, engine: Mmseqs, database: MmseqsDatabase, options: Options, work: Path) -> None:
        self._engine, self._database, self._options, self._work = engine, database, options, work
        self._threads = ("--threads", options.threads, *QUIET)
        self._end = float("inf")
        self.done, self.timed_out = 0, False
        self._targets: list[dict[int, frozenset[str]]] = []
        self._filtered: dict[int, int] = {}

    def run(self, sequences: Sequence[str]) -> None:
        """Run the rounds, until the time is up or nothing new is found for any query."""
        write_queries(self._work / "queries", sequences)
        if self._options.seconds:
            self._end = time.monotonic() + self._options.seconds * len(sequences)
        query = self._work / "queries"
        for number in range(1, self._options.rounds + 1):
            try:
                if number > 1:
                    query = self._profile(query)
                self._round(query, number)
            except TimedOutError:
                self.timed_out = True
                return
            self.done, self._query = number, query
            self._targets.append(self._found_targets())
            if all(self.converged(index) for index in range(len(sequences))):
                return

    def converged(self, index: int) -> bool:
        """Return whether the last round found for a query what the round before had found."""
        last = [targets.get(index, frozenset()) for targets in self._targets[-2:]]
        return not last[-1] if len(last) == 1 else last[-1] <= last[0]

    def rows(self) -> Mapping[int, list[Row]]:
        """Return what the last full round found, best first."""
        return self._rows(self._database.path, self._work / f"found{self.done}") if self.done else defaultdict(list)

    def expanded(self) -> Mapping[int, list[Row]]:
        """Put the members of clusters in the place of those that stand for them: ColabFold's expand, align, filter."""
        if not self.done:
            return defaultdict(list)
        members, clusters = (beside(self._database.path, end) for end in ("_seq", "_aln"))
        found, queries, work = self._work / f"included{self.done}", self._work / "queries", self._work
        steps: Sequence[tuple[object, ...]] = (
            ("expandaln", queries, members, found, clusters, work / "expanded", *_EXPAND),
            ("align", self._query, members, work / "expanded", work / "realigned", *_REALIGN),
            ("filterresult", queries, members, work / "realigned", work / "scored", *_FILTER_SCORES),
            ("filterresult", queries, members, work / "scored", work / "filtered", *_FILTER_DIVERSITY),
        )
        for words in steps:
            MMSEQS.run(*words, *self._threads)
        rows = self._rows(members, work / "filtered")
        aligned = Counter(int(query) for (query,) in self._table(members, work / "realigned", "query"))
        self._filtered = {query: count - len(rows[query]) for query, count in aligned.items()}
        return rows

    def found(self, query: str, index: int, rows: Sequence[Row]) -> Found:
        """Return the record of a query."""
        best = sorted((row for row in rows if row.e_value <= self._options.e_value), key=lambda row: row.e_value)
        kept = best[: self._options.max_rows]
        alignment = Alignment(("query", *(row.name for row in kept)), (query, *(row.row for row in kept)))
        dropped = {"e_value": len(rows) - len(best), "cap": len(best) - len(kept)}
        dropped["filter"] = self._filtered.get(index, 0)
        facts = {"dropped": dropped, "hits_at_least": False}
        hits = len({row.target for row in best})
        return Found(alignment, self.done, self.done > 0 and self.converged(index), self.timed_out, hits, facts)

    def _round(self, query: Path, number: int) -> None:
        work, options = self._work, self._options
        passed, found = work / f"passed{number}", work / f"found{number}"
        most = max(self._engine.max_seqs, options.max_rows)
        words = ("-s", self._engine.sensitivity, "--max-seqs", most)
        self._run("prefilter", query, self._database.indexed, passed, *words)
        self._run(
            "align",
            query,
            self._database.path,
            passed,
            found,
            "-a",
            "-e",
            max(_REPORTED, options.e_value),
            "--alt-ali",
            4,
        )
        self._current = work / f"included{number}"
        self._run("filterdb", found, self._current, *_UP_TO, options.e_value)

    def _profile(self, query: Path) -> Path:
        profile = self._work / f"profile{self.done}"
        self._run(
            "result2profile", query, self._database.path, self._current, profile, "--e-profile", self._options.e_value
        )
        return profile

    def _run(self, *words: object) -> None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimedOutError
        MMSEQS.run(*words, *self._threads, seconds=None if left == float("inf") else left)

    def _found_targets(self) -> dict[int, frozenset[str]]:
        table = self._table(self._database.path, self._current, "query,target")
        found = defaultdict(set)
        for query, target in table:
            found[int(query)].add(target)
        return {query: frozenset(targets) for query, targets in found.items()}

    def _rows(self, targets: Path, found: Path) -> Mapping[int, list[Row]]:
        rows: dict[int, list[Row]] = defaultdict(list)
        ours = MmseqsDatabase(targets).made_here
        length = self._lengths()
        for query, *fields in self._table(targets, found, _COLUMNS):
            rows[int(query)].append(_row(fields, length[int(query)], ours))
        return rows

    def _lengths(self) -> list[int]:
        lines = beside(self._work / "queries", ".fasta").read_text(encoding="ascii").splitlines()
        return [len(line) for line in lines[1::2]]

    def _table(self, targets: Path, found: Path, columns: str) -> Iterator[list[str]]:
        """Give the fields of each alignment."""
        path = self._work / "table.tsv"
        words = ("--format-output", columns, *self._threads)
        MMSEQS.run("convertalis", self._work / "queries", targets, found, path, *words)
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            for line in file:
                yield line.rstrip("\n").split("\t")


def _row(fields: Sequence[str], length: int, ours: bool) -> Row:
    """Make a row of a line of MMseqs2's table."""
    *words, start, end, target_start, target_end, e_value, _, in_query, in_target = fields
    header = "\t".join(words)
    target, _, shown = header.partition(" ") if ours else (header, "", header)
    name, *rest = shown.split(maxsplit=1) or [target]
    pairs = zip(in_query, in_target.replace("*", "X"), strict=True)  # a stop is unknown
    letters = "".join(letter.lower() if place == _GAP else letter for place, letter in pairs)
    row = _GAP * (int(start) - 1) + letters + _GAP * (length - int(end))
    return Row(" ".join([f"{name}/{target_start}-{target_end}", *rest]), target, float(e_value), row)
