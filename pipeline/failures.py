"""Why targets failed, by the records of their batches: the last line of a run and its pages say the same."""

from collections.abc import Collection, Iterable
from pathlib import Path

from pipeline.batch_record import reasons_in, record_file
from pipeline.endings import PLANNED_AS
from pipeline.errors import RecordError
from pipeline.records import read_json

Group = tuple[str, Path, Collection[str] | None]
"""A stage, the record of one of its batches, and the targets of the batch; None for all that the record names."""
_FIRST_TOLD = ("predict", "relax", "report", "featurize", "search")  # a prediction's failure tells what was before it


def failures(groups: Iterable[Group]) -> dict[str, str]:
    """Return why targets failed, by name: of several stages, what that one says which knows most.

    A record that is not there, or goes while others are read, says nothing: its batch is being made anew.

    Args:
        groups: Batches of a run.

    Raises:
        RecordError: A record is damaged.
    """
    found: dict[str, dict[str, str]] = {stage: {} for stage in _FIRST_TOLD}
    for stage, record, targets in groups:
        reasons = _reasons(record)
        found[stage] |= {name: why for name, why in reasons.items() if targets is None or name in targets}
    failed: dict[str, str] = {}
    for stage in reversed(_FIRST_TOLD):
        failed |= found[stage]
    return failed


def failures_before_report(out: Path) -> dict[str, str]:
    """Return why targets of a run have no page of a structure: what failed in the stages before the report.

    Args:
        out: Output folder of the run. The plan there says which record speaks for a target; without one, each does.

    Raises:
        RecordError: The plan or a record is damaged.
    """
    return failures(_planned(out) if (out / "plan.json").exists() else _found(out))


def _planned(out: Path) -> Iterable[Group]:
    plan = read_json(out / "plan.json", "foldline.plan/1")
    for stage, key in PLANNED_AS.items():
        members: dict[str, set[str]] = {}
        for target, name in (plan.get(key) or {}).items():
            members.setdefault(name, set()).add(target)
        yield from ((stage, record_file(out, stage, name), targets) for name, targets in members.items())


def _found(out: Path) -> Iterable[Group]:
    """Give what lies there, called by its stage but for predictions."""
    for record in sorted((out / "batches").glob("*.json")):
        stage = record.name.partition("-")[0]
        if stage != "report":
            yield stage if stage in PLANNED_AS else "predict", record, None


def _reasons(record: Path) -> dict[str, str]:
    try:
        return reasons_in(record)
    except RecordError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return {}
        raise
