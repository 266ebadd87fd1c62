"""What came of a run so far, by the records of its batches: what failed, what is missing, what must be made anew."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.batch_record import reasons_in, record_file
from pipeline.endings import endings
from pipeline.errors import RecordError
from pipeline.failures import failures
from pipeline.plan import Plan
from pipeline.provenance import FILE as PROVENANCE
from pipeline.provenance import SCHEMA as PROVENANCE_SCHEMA
from pipeline.ranking import ranked_folders
from pipeline.records import read_json
from pipeline.relax.files import OF_THE_MACHINE
from pipeline.relax.files import SCHEMA as RELAX_SCHEMA
from pipeline.templates import OWN_FILE

RUNNING = "running.json"
PAGE = "report.html"
_PREDICTED, _LAST, _RANKING = "predicted.cif", "relax.json", "ranking.json"
MADE = {
    "search": ("msa.a3m", "templates.json", "templates.tsv", "search.json"),
    "featurize": ("features.json", "features.npz"),
    "predict": (PROVENANCE, _PREDICTED, "confidence.npz", "confidence.json"),
    "relax": ("relaxed.cif", _LAST),
    "report": (PAGE,),
}
"""What each stage makes of every target; by the last file progress is told."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Targets that one process of a stage works on, and the record that it writes last."""

    stage: str
    name: str
    record: Path
    targets: Sequence[str]

    def is_done(self) -> bool:
        """Return whether every target is done: its files are there, and none changed after the record was written.

        These are `files`, and those that the target's own records name. A relaxation that failed for want of memory,
        for example, is not done: the next attempt need not fail.
        """
        try:
            if reasons_in(self.record):
                return False
            written = self.record.stat().st_mtime_ns
            return all(self._is_whole(self._folder / target, written) for target in self.targets)
        except (RecordError, FileNotFoundError):
            return False

    def files(self) -> Iterator[Path]:
        """Give what the stage makes of its targets, whatever the settings."""
        return (self._folder / target / name for target in self.targets for name in MADE[self.stage])

    def last_file(self, target: str) -> Path:
        """Return the file of a target by which progress is told."""
        return self._folder / target / MADE[self.stage][-1]

    @property
    def _folder(self) -> Path:
        return self.record.parents[1] / "targets"

    def _is_whole(self, folder: Path, written: int) -> bool:
        """Look at a target's files.

        Raises:
            FileNotFoundError: One is missing.
            RecordError: The ranking is damaged.
        """
        if any((folder / name).stat().st_mtime_ns > written for name in MADE[self.stage]):
            return False
        told = _told(folder, self.stage)
        return not told.again and all((folder / name).stat().st_mtime_ns <= written for name in told.files)


@dataclasses.dataclass(frozen=True)
class _Told:
    """What a target's own records tell of a stage: files below its folder, and whether to try again."""

    files: Sequence[str] = ()
    again: bool = False


def _told(folder: Path, stage: str) -> _Told:
    if stage == "relax":
        records = dict(_relaxations(folder))
        files = [f"{place}{name}" for place, record in records.items() for name in (_LAST, *_part(record, "files"))]
        return _Told(files, any(record.get("failure") in OF_THE_MACHINE for record in records.values()))
    if stage == "predict":
        return _Told([*_part(_read(folder / PROVENANCE, PROVENANCE_SCHEMA), "outputs")])
    if stage == "search":
        return _Told([OWN_FILE] if OWN_FILE in _part(_read(folder / PROVENANCE, PROVENANCE_SCHEMA), "inputs") else [])
    return _Told()


def _relaxations(folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the place below a target's folder and the record of each of its relaxations."""
    best = _read(folder / _LAST, RELAX_SCHEMA)
    yield "", best
    if _part(best, "settings").get("models") == "all" and (folder / _RANKING).exists():
        for place in ranked_folders(folder / _RANKING):
            yield f"{place}/", _read(folder / place / _LAST, RELAX_SCHEMA)


def _read(path: Path, schema: str) -> Mapping[str, Any]:
    """Return a record of a target; an empty one where it is damaged, which `foldline verify` tells."""
    try:
        return read_json(path, schema)
    except RecordError:
        return {}


def _part(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = record.get(key)
    return part if isinstance(part, dict) else {}


def groups_of(out: Path, plan: Plan) -> Iterator[Group]:
    """Give every batch of every stage, in order."""
    batches = {name: batch.targets for name, batch in plan.batches.items()}
    of_stage = {
        "search": plan.searches,
        "featurize": plan.searches,
        "predict": batches,
        "relax": plan.relaxations,
        "report": batches,
    }
    for stage, members in of_stage.items():
        for name, targets in members.items():
            yield Group(stage, name, record_file(out, stage, name), targets)


def failed_targets(out: Path, plan: Plan) -> dict[str, str]:
    """Return the reason for each target of the plan that failed, in the order of the plan.

    Raises:
        RecordError: A record is damaged.
    """
    failed = failures((group.stage, group.record, group.targets) for group in groups_of(out, plan))
    return {name: failed[name] for name in plan.targets if name in failed}


def lost_targets(out: Path, plan: Plan, since: float = 0) -> dict[str, str]:
    """Return the targets that are not done because a batch ended without a record, and how it ended, after the run.

    Raises:
        RecordError: The plan of the run is damaged.
    """
    ended = endings(out, since)
    return {name: ended[name] for name in plan.targets if name in ended and not is_done(out, name)}


def is_done(out: Path, target: str) -> bool:
    """Return whether a target went through all stages, and its prediction was not begun anew since."""
    return all((out / "targets" / target / name).exists() for name in (_PREDICTED, _LAST))


def running_targets(out: Path, plan: Plan) -> list[str]:
    """Return the targets whose prediction began and did not end: of a process that was killed, after the run."""
    return [name for name in plan.targets if (out / "targets" / name / RUNNING).exists()]


def forget_unfinished(out: Path, plan: Plan) -> None:
    """Remove the records of batches in which a target failed or a file is missing or changed, so that a run makes them.

    The records of what follows go with them: Snakemake makes nothing that nothing asks for. What is whole in such a
    batch stays, since each stage looks at it before it makes it again.
    """
    for name in running_targets(out, plan):
        (out / "targets" / name / RUNNING).unlink()
    if not (out / "summary.json").exists():  # which no rule names
        (out / "summary.tsv").unlink(missing_ok=True)
    concerned: set[str] = set()
    for group in groups_of(out, plan):
        if not (concerned.isdisjoint(group.targets) and group.is_done()):
            concerned.update(group.targets)
            group.record.unlink(missing_ok=True)


def without_page(out: Path, plan: Plan) -> list[str]:
    """Return the targets of which there is something to say that their page does not say yet."""
    failed = {**lost_targets(out, plan), **failed_targets(out, plan)}
    return [name for name in plan.targets if _lacks_page(out / "targets" / name, failed=name in failed)]


def _lacks_page(folder: Path, *, failed: bool) -> bool:
    page, latest = folder / PAGE, [folder / name for name in (_LAST, _PREDICTED, RUNNING)]
    changed = [path.stat().st_mtime_ns for path in latest if path.exists()]
    if not (failed or changed):
        return False
    return not page.exists() or failed or max(changed) > page.stat().st_mtime_ns
