"""Search engines side by side: wall and CPU time, memory, recall and precision on labelled families.

    .venv/bin/python benchmarks/search.py --database searchdb.fasta.gz --queries family_queries.fasta --batch 20

The header of a member, and of a query, begins with its family and `|`; every other sequence of the database belongs to
none. `--ambiguous` is a table of family and header of pairs that count neither way. `--times 1 4 16` makes databases so
many times as large: itself, and shuffled copies of all its sequences. Every run is a process of its own; the runs of
the engines alternate. Times are those of a search, from reading the database on: the interpreter has started, MMseqs2's
index is made. An engine gets `--group` queries at a time, as in the workflow, where they are a batch. `hmmsearch` gets,
query after query, the profile of what jackhmmer finds for it among the other queries. The reference is the command
`jackhmmer` itself, which writes no alignment.
"""

import argparse
import dataclasses
import gzip
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from machine import described, print_table

from pipeline.a3m import write_a3m
from pipeline.databases.packed import opened
from pipeline.databases.records import Database
from pipeline.search.engines import ENGINES, Options, Query, Source, engine

ROUNDS, E_VALUE, SEED, UNCAPPED = 3, 1e-3, 0, 1_000_000
REFERENCE = "jackhmmer-program"
HEAD = (
    *("database", "queries", "engine", "cap", "wall s", "CPU s", "of the reference's wall", "of its CPU"),
    *("memory MB", "hits", "recall", "precision"),
)


@dataclasses.dataclass(frozen=True)
class Run:
    """One search of a batch.

    Args:
        engine: Its name.
        database: FASTA file.
        queries: FASTA file.
        cap: Most rows of a query.
        threads: Threads.
        group: Queries that are searched at once.
        indices: Folder of what engines make of databases.
        members: FASTA file of sequences of which `hmmsearch` gets its profiles.
    """

    engine: str
    database: Path
    queries: Path
    cap: int
    threads: int
    group: int
    indices: Path
    members: Path


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a run took and found: seconds, MB, names of the hits of each query."""

    wall: float
    cpu: float
    memory: float
    hits: Mapping[str, Sequence[str]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the engines in turn and print a table."""
    arguments = parser().parse_args(argv)
    if arguments.run:
        search(Run(**json.loads(arguments.run)))
        return 0
    print(described())
    print()
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        print_table(HEAD, [row for times in arguments.times for row in rows(arguments, times, Path(work))])
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--database", type=Path, help="FASTA file, plain, gzip or zstd")
    made.add_argument("--queries", type=Path, help="FASTA file")
    made.add_argument("--ambiguous", type=Path, help="table of family and header that count neither way, gzip")
    made.add_argument("--batch", type=int, nargs="+", default=[20], help="numbers of queries (default: %(default)s)")
    made.add_argument("--engines", nargs="+", default=[REFERENCE, "jackhmmer", "prefilter", "mmseqs"], choices=ENGINES)
    made.add_argument("--caps", type=int, nargs="+", default=[UNCAPPED], help="caps on rows (default: none)")
    made.add_argument("--times", type=int, nargs="+", default=[1], help="sizes of the database (default: %(default)s)")
    made.add_argument("--repeats", type=int, default=3, help="runs of each engine (default: %(default)s)")
    made.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    made.add_argument("--group", type=int, default=20, help="queries that are searched at once (default: %(default)s)")
    made.add_argument("--work", type=Path, help="folder of temporary files, gigabytes for MMseqs2's indices")
    made.add_argument("--run", help=argparse.SUPPRESS)
    return made


def rows(arguments: argparse.Namespace, times: int, work: Path) -> Iterator[list[object]]:
    """Measure all engines on one size of the database; yield rows of the table."""
    database = work / f"database{times}.fasta"
    enlarge(arguments.database, database, times)
    ambiguous = read_ambiguous(arguments.ambiguous)
    members = count_members(arguments.database)
    for number in arguments.batch:
        queries = work / f"queries{number}.fasta"
        pick(arguments.queries, queries, number)
        runs = [
            Run(name, database, queries, cap, arguments.threads, arguments.group, work / "indices", arguments.queries)
            for cap in arguments.caps
            for name in arguments.engines
            if name != REFERENCE or cap == max(arguments.caps)
        ]
        taken = measure(runs, arguments.repeats)
        base = next((taken[run] for run in runs if run.engine == REFERENCE), taken[runs[0]])
        for run in runs:
            yield row(f"{times}x", number, run, taken[run], base) + quality(taken[run][-1].hits, members, ambiguous)


def row(size: str, number: int, run: Run, taken: Sequence[Measured], base: Sequence[Measured]) -> list[object]:
    """Return the medians of an engine beside those of the reference."""
    wall, cpu = (statistics.median(getattr(one, name) for one in taken) for name in ("wall", "cpu"))
    base_wall, base_cpu = (statistics.median(getattr(one, name) for one in base) for name in ("wall", "cpu"))
    cap = "none" if run.cap == UNCAPPED else run.cap
    memory = max(one.memory for one in taken)
    ratios = (f"{wall / base_wall:.2f}", f"{cpu / base_cpu:.2f}")
    return [size, number, run.engine, cap, f"{wall:.1f}", f"{cpu:.1f}", *ratios, f"{memory:.0f}"]


def measure(runs: Sequence[Run], repeats: int) -> dict[Run, list[Measured]]:
    """Run each once to make its indices where it needs them, then all in turn, so often."""
    for run in runs:
        if run.engine in ("prefilter", "mmseqs"):
            measured(dataclasses.replace(run, queries=first_query(run.queries)))
    taken: dict[Run, list[Measured]] = {run: [] for run in runs}
    for _ in range(repeats):
        for run in runs:
            taken[run].append(measured(run))
    return taken


def measured(run: Run) -> Measured:
    """Search in a process of its own."""
    words = [sys.executable, __file__, "--run", json.dumps(dataclasses.asdict(run), default=str)]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(words, stdout=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{run.engine} failed")
        said.seek(0)
        wall, cpu, hits = json.load(said)
    return Measured(wall, cpu, usage.ru_maxrss / 1024, hits)


def search(run: Run) -> None:
    """Search, and print seconds and the names of the hits of each query."""
    start, cpu_before = time.perf_counter(), cpu_seconds()
    hits = hits_of_jackhmmer(run) if run.engine == REFERENCE else hits_of_engine(run)
    json.dump([time.perf_counter() - start, cpu_seconds() - cpu_before, hits], sys.stdout)


def cpu_seconds() -> float:
    """Return the CPU time of this process and of the programs that it ran."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def hits_of_engine(run: Run) -> dict[str, list[str]]:
    """Search with an engine."""
    queries = [Query(name, sequence) for name, sequence in read_fasta(Path(run.queries))]
    path = Path(run.database)
    source = Source.of_file(Database(path.stem, path, "1"))
    options = Options(ROUNDS, E_VALUE, run.cap, run.threads)
    hits: dict[str, list[str]] = {}
    step = 1 if run.engine == "hmmsearch" else run.group
    for start in range(0, len(queries), step):
        group = queries[start : start + step]
        settings = {"profile": str(profile(group[0], run))} if run.engine == "hmmsearch" else {}
        made = engine(run.engine, settings, folder=Path(run.indices))
        for index, found in made.search(group, source, options):
            rows = found.alignment.names[1:]
            hits[group[index].name] = sorted({name.split()[0].rpartition("/")[0] for name in rows})
    return hits


def profile(query: Query, run: Run) -> Path:
    """Write what jackhmmer finds for a query among the other queries as A3M."""
    others = [(name, sequence) for name, sequence in read_fasta(Path(run.members)) if name != query.name]
    source = Source.of_records(Database("members", Path(run.members), "1"), *zip(*others, strict=True))
    ((_, found),) = engine("jackhmmer").search([query], source, Options(ROUNDS, E_VALUE, UNCAPPED, run.threads))
    path = Path(run.indices).with_name("profile.a3m")
    write_a3m(path, found.alignment)
    return path


def hits_of_jackhmmer(run: Run) -> dict[str, list[str]]:
    """Run the command jackhmmer and read its table; a hit is what has an E-value of inclusion in the last round."""
    with tempfile.TemporaryDirectory() as work:
        table = Path(work) / "hits"
        words: list[object] = ["jackhmmer", "--cpu", run.threads, "-N", ROUNDS, "--incE", E_VALUE, "--incdomE", E_VALUE]
        words += ["--noali", "-o", os.devnull, "--tblout", table, run.queries, run.database]
        subprocess.run([str(word) for word in words], check=True)
        found: dict[str, list[str]] = {name: [] for name, _ in read_fasta(Path(run.queries))}
        for line in table.read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                name, _, query, _, e_value, *_ = line.split()
                found[query] += [name] if float(e_value) <= E_VALUE else []
    return found


def quality(
    hits: Mapping[str, Sequence[str]], members: Mapping[str, int], ambiguous: frozenset[tuple[str, str]]
) -> list[object]:
    """Return hits, mean recall and mean precision over queries."""
    recalls, precisions = [], []
    for query, names in hits.items():
        family = query.partition("|")[0]
        true = sum(name.startswith(f"{family}|") for name in names)
        false = sum(not name.startswith(f"{family}|") and (family, accession(name)) not in ambiguous for name in names)
        recalls.append(true / members[family])
        precisions.append(true / max(1, true + false))
    means = (f"{statistics.mean(values):.4f}" for values in (recalls, precisions))
    return [sum(map(len, hits.values())), *means]


def accession(name: str) -> str:
    """Return the accession in `tr|ACCESSION|NAME`."""
    return name.split("|")[1] if name.count("|") == 2 else name


def read_ambiguous(path: Path | None) -> frozenset[tuple[str, str]]:
    """Read pairs of a family and an accession."""
    if path is None:
        return frozenset()
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    pairs = (line.split("\t") for line in lines)
    return frozenset((pair[0], pair[1]) for pair in pairs if len(pair) > 1)


def read_fasta(path: Path) -> Iterator[tuple[str, str]]:
    """Give first word of the header and letters of each record."""
    with opened(path) as file:
        name, parts = "", []
        for line in file:
            text = line.decode().rstrip()
            if text.startswith(">"):
                if name:
                    yield name, "".join(parts)
                name, parts = text[1:].split()[0], []
            else:
                parts.append(text)
        if name:
            yield name, "".join(parts)


def count_members(path: Path) -> dict[str, int]:
    """Count the members of each family."""
    counts: dict[str, int] = {}
    for name, _ in read_fasta(path):
        if name.startswith("PF"):
            family = name.partition("|")[0]
            counts[family] = counts.get(family, 0) + 1
    return counts


def enlarge(source: Path, path: Path, times: int) -> None:
    """Write the database and `times` - 1 shuffled copies of each of its sequences, in a random order."""
    rng = np.random.default_rng(SEED)
    records = list(read_fasta(source))
    order = rng.permutation(times * len(records)) if times > 1 else range(len(records))
    with path.open("w", encoding="utf-8") as file:
        for copy, index in (divmod(int(number), len(records)) for number in order):
            name, letters = records[index]
            if copy:
                shuffled = rng.permutation(np.frombuffer(letters.encode(), dtype=np.uint8))
                name, letters = f"decoy{copy}_{index}", shuffled.tobytes().decode()
            file.write(f">{name}\n{letters}\n")


def pick(source: Path, path: Path, number: int) -> None:
    """Write queries spread evenly over a file."""
    records = list(read_fasta(source))
    chosen = [records[index * len(records) // number] for index in range(number)]
    path.write_text("".join(f">{name}\n{letters}\n" for name, letters in chosen), encoding="utf-8")


def first_query(path: Path) -> Path:
    """Write the first query into a file of its own."""
    name, letters = next(read_fasta(path))
    alone = path.with_name(f"first_of_{path.name}")
    alone.write_text(f">{name}\n{letters}\n", encoding="utf-8")
    return alone


if __name__ == "__main__":
    raise SystemExit(main())
