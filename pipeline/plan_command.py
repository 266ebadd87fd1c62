"""`foldline plan`: say what a run would do and cost, before anything is written or submitted."""

import argparse
import collections
import dataclasses
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import costs
from pipeline.command_line import Parser, add_run, positive
from pipeline.costs import Cost
from pipeline.databases.places import located
from pipeline.plan import Plan, data_of, plan_of
from pipeline.run import effective_config
from pipeline.text_table import aligned

SCHEMA = "foldline.costs/1"
_NOTES = (
    f"Estimates: {costs.SOURCE}.",
    "On that machine predictions with mini are within a quarter of what was measured up to 640 residues; those with"
    " AlphaFold 2 were measured at 64 and 128, the rest follows from these two.",
    "Searches assume that the cache holds nothing; relaxation may take three times as long, or a third.",
    "Wall time is CPU time over the cores: the least it can be.",
)


@dataclasses.dataclass(frozen=True)
class Work:
    """What one job, or a stage's jobs for a batch of targets, would do.

    Args:
        stage: The rule.
        name: Of the batch or search; the stage's own where there is no batch.
        jobs: How many processes.
        targets: How many targets.
        bucket: Padded length of a prediction, residues; else None.
        cost: CPU time of all jobs, and the largest memory of one.
    """

    stage: str
    name: str
    jobs: int
    targets: int
    bucket: int | None
    cost: Cost


def main(argv: Sequence[str] | None = None) -> int:
    """Print the targets, buckets and batches of a run, and the time and memory that each job is expected to need."""
    arguments = parser().parse_args(argv)
    config = effective_config(arguments)
    data_of(config, arguments.config)
    plan = plan_of(config)
    works = list(works_of(config, plan, arguments.config))
    if arguments.json:
        json.dump(record_of(plan, works, arguments.cores), sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        sys.stdout.write(page_of(plan, works, arguments.cores))
    return 0


def parser() -> argparse.ArgumentParser:
    """Describe the command."""
    made = Parser("foldline plan", main.__doc__, example="foldline plan my.fasta --cores 8")
    add_run(made, outdir="folder of all results: an earlier plan there counts")
    made.add_argument(
        "--cores",
        type=positive,
        metavar="N",
        default=os.cpu_count() or 1,
        help="cores of the wall times (default: all, %(default)s)",
    )
    made.add_argument("--json", action="store_true", help=f"print the record ({SCHEMA})")
    return made


def works_of(config: Mapping[str, Any], plan: Plan, source: Path | None = None) -> Iterator[Work]:
    """Give what the stages would do, in order.

    Args:
        config: The run's.
        plan: Its plan.
        source: The file that the config comes from, as far as it differs from the defaults.
    """
    lengths = {name: len(target.sequence) for name, target in plan.targets.items()}
    databases, library = _databases(config, source)
    for number, names in plan.searches.items():
        searched = [name for name in names if name not in plan.msas]
        cost = costs.search_cost(len(searched), databases, library=library)
        yield Work("search", number, 1, len(names), None, cost)
    yield _each("featurize", lengths, costs.featurize_cost(len(lengths)))
    for batch in plan.batches.values():
        cost = costs.predict_cost(config["predict"], batch.bucket, len(batch.targets))
        yield Work("predict", batch.name, 1, len(batch.targets), batch.bucket, cost)
    yield _each("relax", lengths, costs.relax_cost(list(lengths.values())))
    yield _each("report", lengths, costs.report_cost(len(lengths)))


def record_of(plan: Plan, works: Sequence[Work], cores: int) -> dict[str, Any]:
    """Return the plan and its costs as a record."""
    return {
        "schema": SCHEMA,
        "targets": len(plan.targets),
        "buckets": buckets_of(plan),
        "batches": {batch.name: list(batch.targets) for batch in plan.batches.values()},
        "searches": {number: list(names) for number, names in plan.searches.items()},
        "work": [{**dataclasses.asdict(work), "wall_seconds": work.cost.cpu_seconds / cores} for work in works],
        "cpu_seconds": sum(work.cost.cpu_seconds for work in works),
        "wall_seconds": sum(work.cost.cpu_seconds for work in works) / cores,
        "memory_mb": max((work.cost.memory_mb for work in works), default=0),
        "cores": cores,
        "notes": list(_NOTES),
    }


def buckets_of(plan: Plan) -> list[dict[str, int]]:
    """Return each padded length with its targets and the share of its work that is padding, percent."""
    members: dict[int, list[int]] = collections.defaultdict(list)
    for batch in plan.batches.values():
        members[batch.bucket] += [len(plan.targets[name].sequence) for name in batch.targets]
    return [
        {
            "bucket": bucket,
            "targets": len(lengths),
            "shortest": min(lengths),
            "longest": max(lengths),
            "padding_percent": round(100 - 100 * sum(n**2 for n in lengths) / (len(lengths) * bucket**2)),
        }
        for bucket, lengths in sorted(members.items())
    ]


def page_of(plan: Plan, works: Sequence[Work], cores: int) -> str:
    """Return the plan and its costs as text."""
    head = ["padded to", "targets", "residues", "padding %"]
    buckets = [
        [str(b["bucket"]), str(b["targets"]), f"{b['shortest']}-{b['longest']}", str(b["padding_percent"])]
        for b in buckets_of(plan)
    ]
    jobs = [["job", "jobs", "targets", "padded to", "CPU", f"wall, {cores} cores", "memory MB"]]
    jobs += [_row(work, cores) for work in works]
    cpu = sum(work.cost.cpu_seconds for work in works)
    total = (
        f"{len(plan.targets)} targets, {sum(work.jobs for work in works)} jobs, one compilation for each padded length:"
    )
    total += f" {_time(cpu)} of CPU time, at least {_time(cpu / cores)} on {cores} cores.\n"
    return "\n".join([aligned([head, *buckets]), aligned(jobs), total, *_NOTES]) + "\n"


def _row(work: Work, cores: int) -> list[str]:
    name = work.stage if work.name == work.stage else f"{work.stage} {work.name}"
    times = [_time(work.cost.cpu_seconds), _time(work.cost.cpu_seconds / cores)]
    return [name, str(work.jobs), str(work.targets), str(work.bucket or ""), *times, str(work.cost.memory_mb)]


def _each(stage: str, targets: Mapping[str, int], cost: Cost) -> Work:
    return Work(stage, stage, len(targets), len(targets), None, cost)


def _databases(config: Mapping[str, Any], source: Path | None) -> tuple[dict[str, int], bool]:
    """Return the size of each database beside the library, bytes, and whether the library is searched."""
    section = config["search"]
    sizes = {str(d.anchor): d.anchor.stat().st_size for d in located(config, source) if d.kind == "sequences"}
    return sizes, "library" in section["databases"] or section["use_templates"]


def _time(seconds: float) -> str:
    """Write a duration with two units at most."""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
