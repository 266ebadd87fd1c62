"""`foldline plan`: say what a run would do and cost, before anything is written or submitted."""

import argparse
import collections
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import costs
from pipeline.command_line import Parser, add_run, positive
from pipeline.costs import Cost
from pipeline.databases.places import searched_bytes
from pipeline.outcomes import groups_of
from pipeline.plan import Plan, cost_of_search, data_of, plan_of
from pipeline.run import effective_config
from pipeline.text_table import aligned

SCHEMA = "foldline.costs/2"
_LISTED, _LINES = ("search", "predict"), 50
_NOTES = (
    f"Estimates: {costs.SOURCE}.",
    "On that machine predictions with mini are within a quarter of what was measured up to 640 residues; those with"
    " AlphaFold 2 follow from two lengths, 64 and 128, and may take half as long again with full alignments.",
    "Searches assume that the cache holds nothing, and leave hhsearch out, which was not measured.",
    "Relaxation may take three times as long, or a third.",
    "What is done is told by its records and files: a setting that changed since makes its stage run again.",
    "Wall time is CPU time over the cores: the least it can be.",
)


@dataclasses.dataclass(frozen=True)
class Work:
    """What one job would do.

    Args:
        stage: The rule.
        name: Of the batch, search or relaxation.
        targets: How many.
        bucket: Padded length of a prediction, residues; else None.
        done: Whether its record and its files are there.
        cost: CPU time and memory.
    """

    stage: str
    name: str
    targets: int
    bucket: int | None
    done: bool
    cost: Cost


def main(argv: Sequence[str] | None = None) -> int:
    """Print the targets, buckets and batches of a run, and the time and memory that each job is expected to need."""
    arguments = parser().parse_args(argv)
    config = effective_config(arguments)
    data_of(config, arguments.config)
    plan = plan_of(config)
    works = list(works_of(config, plan))
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


def works_of(config: Mapping[str, Any], plan: Plan) -> Iterator[Work]:
    """Give the jobs of a run, in order, those that are done too.

    Args:
        config: The run's, whose databases are there.
        plan: Its plan.
    """
    cost_of = _costs(config, plan)
    for group in groups_of(Path(config["outdir"]), plan):
        bucket = plan.batches[group.name].bucket if group.stage == "predict" else None
        cost = cost_of[group.stage](group.targets, bucket)
        yield Work(group.stage, group.name, len(group.targets), bucket, group.is_done(), cost)


def _costs(config: Mapping[str, Any], plan: Plan) -> dict[str, Callable[[Sequence[str], int | None], Cost]]:
    """Return what tells the cost of a stage's job from its targets and their padded length."""
    searched, how = searched_bytes(config), costs.relaxing(config["relax"], config["predict"])
    return {
        "search": lambda names, _: cost_of_search(config, plan, names, searched),
        "featurize": lambda names, _: costs.featurize_cost(len(names)),
        "predict": lambda names, bucket: costs.predict_cost(config["predict"], bucket or 0, len(names)),
        "relax": lambda names, _: costs.relax_cost([len(plan.targets[name].sequence) for name in names], how),
        "report": lambda names, _: costs.report_cost(len(names)),
    }


def record_of(plan: Plan, works: Sequence[Work], cores: int) -> dict[str, Any]:
    """Return the plan and its costs as a record; the sums are of what is not done."""
    left = [work for work in works if not work.done]
    cpu = sum(work.cost.cpu_seconds for work in left)
    return {
        "schema": SCHEMA,
        "targets": len(plan.targets),
        "buckets": buckets_of(plan),
        "batches": {batch.name: list(batch.targets) for batch in plan.batches.values()},
        "searches": {number: list(names) for number, names in plan.searches.items()},
        "relaxations": {name: list(names) for name, names in plan.relaxations.items()},
        "work": [{**dataclasses.asdict(work), "wall_seconds": work.cost.cpu_seconds / cores} for work in works],
        "jobs": len(works),
        "jobs_done": len(works) - len(left),
        "cpu_seconds": cpu,
        "wall_seconds": cpu / cores,
        "memory_mb": max((work.cost.memory_mb for work in left), default=0),
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
    left = [work for work in works if not work.done]
    jobs = [["job", "jobs", "targets", "padded to", "CPU", f"wall, {cores} cores", "memory MB"]]
    jobs += [_row(name, together, cores) for name, together in _together(left).items()]
    cpu = sum(work.cost.cpu_seconds for work in left)
    done = f"; {len(works) - len(left)} of them done, the others need" if len(left) < len(works) else ":"
    targets = "1 target" if len(plan.targets) == 1 else f"{len(plan.targets)} targets"
    total = f"{targets}, {len(works)} jobs and the run's page, one compilation for each padded length{done}"
    total += f" {_time(cpu)} of CPU time, at least {_time(cpu / cores)} on {cores} cores.\n"
    return "\n".join([aligned([head, *buckets]), aligned(jobs), total, *_NOTES]) + "\n"


def _together(works: Sequence[Work]) -> dict[str, list[Work]]:
    """Return the jobs line by line: searches and predictions each on its own where they are few, else by stage."""
    one = {stage: sum(work.stage == stage for work in works) <= _LINES for stage in _LISTED}
    lines: dict[str, list[Work]] = {}
    for work in works:
        lines.setdefault(f"{work.stage} {work.name}" if one.get(work.stage) else work.stage, []).append(work)
    return lines


def _row(name: str, works: Sequence[Work], cores: int) -> list[str]:
    cpu, buckets = sum(work.cost.cpu_seconds for work in works), {work.bucket for work in works}
    bucket = str(works[0].bucket or "") if len(buckets) == 1 else ""
    memory = max(work.cost.memory_mb for work in works)
    counts = [str(len(works)), str(sum(work.targets for work in works))]
    return [name, *counts, bucket, _time(cpu), _time(cpu / cores), str(memory)]


def _time(seconds: float) -> str:
    """Write a duration with two units at most."""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
