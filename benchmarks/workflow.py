"""What the workflow itself costs: how long Snakemake needs to know its jobs, and what the line adds to the science.

    .venv/bin/python benchmarks/workflow.py dag --targets 10000
    .venv/bin/python benchmarks/workflow.py line --targets 100 --cores 2

`dag` dry-runs random targets of 20 to 600 residues: at first, when each target's own files are written, and again.
`line` runs short random targets through all stages, with `mini` without recycles, and prints where the time goes.
Science is what the records of the targets say of search, network and relaxation; the rest, pages and files included, is
the line.
CPU seconds say more than wall seconds where the machine has other work.
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import yaml
from machine import described, print_table

ROOT = Path(__file__).resolve().parents[1]
LETTERS, SEED = "ACDEFGHIKLMNPQRSTVWY", 0
STAGES = ("search", "featurize", "predict", "relax", "report")
RECORDS = {"search": "search.json", "predict": "confidence.json", "relax": "relax.json"}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure one of the two and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("dag", "line"))
    parser.add_argument("--targets", type=int, default=100, help="how many (default: %(default)s)")
    parser.add_argument("--lengths", type=int, nargs=2, help="shortest and longest (default: 20 600; line: 20 30)")
    parser.add_argument("--cores", type=int, default=2, help="of the run (default: %(default)s)")
    parser.add_argument("--work", type=Path, help="folder to work in and keep (default: a temporary one)")
    arguments = parser.parse_args(argv)
    print(described())
    print()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (arguments.work or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        shortest, longest = arguments.lengths or ((20, 600) if arguments.what == "dag" else (20, 30))
        write_inputs(folder, arguments.targets, shortest, longest)
        dag(folder) if arguments.what == "dag" else line(folder, arguments)
    return 0


def write_inputs(folder: Path, targets: int, shortest: int, longest: int) -> None:
    """Write random sequences, and the settings that differ."""
    rng = np.random.default_rng(SEED)
    with (folder / "in.fasta").open("w", encoding="utf-8") as file:
        for number in range(targets):
            letters = rng.integers(0, len(LETTERS), rng.integers(shortest, longest + 1))
            file.write(f">t{number:05d}\n{''.join(LETTERS[letter] for letter in letters)}\n")
    config = {"input": {"fasta": ["in.fasta"]}, "databases": {"cache": "cache"}, "predict": {"recycles": 0}}
    (folder / "my.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def foldline(folder: Path, *words: str) -> tuple[str, float, float, float]:
    """Run a command; return what it said, and its wall seconds, CPU seconds and largest memory in MB.

    Raises:
        RuntimeError: It failed.
    """
    command = [sys.executable, "-m", "pipeline.cli", *words, "--config", "my.yaml"]
    if "--" in words:
        place = command.index("--")
        command = [*command[:place], "--config", "my.yaml", *command[place:-2]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, wall, cpu, after.ru_maxrss / 1024


def dag(folder: Path) -> None:
    """Print what a dry run costs, the first time and the second."""
    rows = []
    commands = {
        "foldline plan": ["plan"],
        "dry run, the first": ["run", "--", "--dry-run", "--quiet", "all"],
        "dry run, the second": ["run", "--", "--dry-run", "--quiet", "rules"],
    }
    for name, words in commands.items():
        said, wall, cpu, memory = foldline(folder, *words)
        total = [row.split()[-1] for row in said.splitlines() if row.startswith("total ")]
        rows.append([name, *(total or [""])[:1], f"{wall:.1f}", f"{cpu:.1f}", f"{memory:.0f}"])
    print_table(("command", "jobs", "wall s", "CPU s", "peak memory MB, so far"), rows)


def line(folder: Path, arguments: argparse.Namespace) -> None:
    """Run short targets through all stages and print where the time goes."""
    foldline(folder, "warm")
    _, wall, cpu, _ = foldline(folder, "run", "--cores", str(arguments.cores))
    out, rows, science = folder / "results", [], 0.0
    for stage in STAGES:
        measured = list(benchmarks(out / "benchmarks" / stage))
        own = sum(map(seconds_of, out.glob(f"targets/*/{RECORDS[stage]}"))) if stage in RECORDS else 0.0
        science += own if stage in ("search", "predict") else own / arguments.cores
        busy, used = (sum(row[key] for row in measured) for key in ("s", "cpu_time"))
        each = (busy - own) / arguments.targets
        rows.append([stage, len(measured), *(f"{value:.1f}" for value in (busy, used, own)), f"{each:.3f}"])
    print_table(("stage", "jobs", "wall s of all jobs", "CPU s", "science s", "line, s for each target"), rows)
    left = (wall - science) / arguments.targets
    print(
        f"\n{arguments.targets} targets, {arguments.cores} cores: {wall:.0f} s, {cpu:.0f} CPU s; {science:.0f} s of it"
        f" are science. The line adds {left:.3f} s to each target."
    )


def benchmarks(folder: Path) -> Iterator[dict[str, float]]:
    """Give what Snakemake measured of each job."""
    for path in folder.glob("*.tsv"):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                yield {key: float(row[key]) if row[key] not in ("-", "NA") else 0.0 for key in ("s", "cpu_time")}


def seconds_of(record: Path) -> float:
    """Return the wall seconds that a target's record names."""
    seconds = json.loads(record.read_text(encoding="utf-8"))["seconds"]
    return float(sum(seconds.values()) if isinstance(seconds, dict) else seconds)


if __name__ == "__main__":
    raise SystemExit(main())
