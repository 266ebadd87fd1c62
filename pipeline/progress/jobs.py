"""How far a run is: Snakemake's events about jobs, and the files that running jobs have written already."""

import collections
import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.batch_record import reasons_in
from pipeline.endings import ending
from pipeline.errors import RecordError
from pipeline.outcomes import Group, groups_of
from pipeline.plan import Plan
from pipeline.progress.log_file import end_of
from pipeline.progress.tally import Tally

STAGES = ("search", "featurize", "predict", "relax", "report")

log = logging.getLogger(__name__)


@dataclasses.dataclass
class Job:
    """One job of Snakemake, which makes a group of targets.

    Args:
        group: Its stage and its targets.
        log: What it writes its messages to; None where there is none.
        state: `running`, `done`, `failed` or `stopped`.
        files: What it writes of each target, the last file last.
        before: Time of the last change of each file when the job began, ns since 1970; 0 where it was not there.
        seen: Files that were written since then.
    """

    group: Group
    log: Path | None
    state: str = "running"
    files: Mapping[str, Sequence[Path]] = dataclasses.field(default_factory=dict)
    before: Mapping[Path, int] = dataclasses.field(default_factory=dict)
    seen: set[Path] = dataclasses.field(default_factory=set)

    @property
    def done(self) -> int:
        """How many targets are done."""
        return sum(files[-1] in self.seen for files in self.files.values())

    @property
    def part(self) -> float:
        """What is made of the others."""
        others = (files for files in self.files.values() if files[-1] not in self.seen)
        return sum(len(self.seen.intersection(files)) / len(files) for files in others)


class Jobs:
    """What is known of the jobs of a run.

    Args:
        plan: Of the run.
        out: Its output folder.
        predictions: Folders in that of a target for each of its predictions, where there are several.
        listener: Called with each event as it is told to others, a mapping.
    """

    def __init__(
        self,
        plan: Plan,
        out: Path,
        predictions: Sequence[Path] = (),
        listener: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.tallies = {stage: Tally(stage) for stage in STAGES}
        self.nothing_to_do = False
        self.stopping = False
        self._tell = listener or (lambda _: None)
        self._out, self._targets, self._predictions = out, len(plan.targets), predictions
        self._groups = {(group.stage, group.name): group for group in groups_of(out, plan)}
        self._jobs: dict[int, Job] = {}
        self._planned: dict[str, int] = {}
        self._done: collections.Counter[str] = collections.Counter()
        self._failed: collections.Counter[str] = collections.Counter()
        self._lost: set[str] = set()

    @property
    def shown(self) -> list[Tally]:
        """The tallies of the stages that have something to do."""
        return [self.tallies[stage] for stage in STAGES if self._planned.get(stage)]

    @property
    def failures(self) -> list[Job]:
        """The jobs that failed."""
        return [job for job in self._jobs.values() if job.state == "failed"]

    def take(self, line: str) -> None:
        """Take a line of the plugin; one that is cut off or of another kind is left out."""
        try:
            event = json.loads(line)
            kind = event.pop("event")
        except (ValueError, KeyError, AttributeError, TypeError):
            log.debug("no event: %r", line)
            return
        take = getattr(self, f"_take_{kind}", None)
        if take is not None:
            take(**event)

    def look(self) -> None:
        """Look for files that running jobs have written."""
        for job in self._running():
            for target, files in job.files.items():
                if files[-1] in job.seen:
                    continue
                job.seen.update(path for path in files if path not in job.seen and _changed(path) != job.before[path])
                if files[-1] in job.seen:
                    self._tell({"event": "target", "stage": job.group.stage, "name": job.group.name, "target": target})
        for stage in STAGES:
            self._count(stage)

    def _running(self) -> Iterator[Job]:
        return (job for job in self._jobs.values() if job.state == "running")

    def _take_planned(self, jobs: Mapping[str, int]) -> None:
        self._planned = dict(jobs)
        for stage in STAGES:
            self._count(stage)
        self._tell({"event": "planned", "jobs": self._planned})

    def _take_nothing(self) -> None:
        self.nothing_to_do = True

    def _take_started(self, number: int, rule: str, wildcards: Mapping[str, str], log: Sequence[str]) -> None:
        said = Path(log[0]) if log else None
        group = self._groups.get((rule, next(iter(wildcards.values()), "")))
        if group is None:  # the page of the run, and the rule that asks for everything
            group = Group(rule, "", Path(), ())
        files = {target: self._files(group, target) for target in group.targets}
        before = {path: _changed(path) for paths in files.values() for path in paths}
        if rule in self.tallies:
            self.tallies[rule].begin()
        self._jobs[number] = Job(group, said, files=files, before=before)
        self._say("started", self._jobs[number])

    def _take_finished(self, number: int) -> None:
        job = self._jobs.get(number)
        if job is None or job.state == "done":
            return
        failed = _given_up(job.group)
        job.state = "done"
        self._done[job.group.stage] += len(job.group.targets) - len(failed)
        self._failed[job.group.stage] += len(failed)
        for target in failed.keys() - self._lost:  # the stages after this one say it again
            log.error("%s: %s failed: %s", job.group.stage, target, failed[target])
        self._lost |= failed.keys()
        self._say("finished", job, failed=failed)
        self._count(job.group.stage)

    def _take_failed(self, number: int) -> None:
        job = self._jobs.get(number)
        if job is None or job.state == "failed":
            return
        job.state = "stopped" if self.stopping else "failed"
        if not self.stopping:
            said = ending(self._out, job.group.stage, job.group.name) or end_of(job.log)
            log.error("%s %s failed: %s (%s)", job.group.stage, job.group.name, said, job.log)
        self._say(job.state, job)
        self._count(job.group.stage)

    def _count(self, stage: str) -> None:
        """Bring the tally of a stage up to date."""
        if stage not in self.tallies:
            return
        running = [job for job in self._running() if job.group.stage == stage]
        done = self._done[stage] + sum(job.done for job in running)
        lost = sum(len(job.group.targets) for job in self.failures if job.group.stage == stage)
        part = sum(job.part for job in running)
        self.tallies[stage].set(done, self._failed[stage] + lost, self._total(stage), part)

    def _files(self, group: Group, target: str) -> list[Path]:
        """Return what a job writes of a target, as far as it tells how far it is."""
        last = group.last_file(target)
        several = self._predictions if group.stage == "predict" else ()
        return [*(last.parent / folder / last.name for folder in several), last]

    def _total(self, stage: str) -> int:
        """Return the targets of a stage's jobs; those of jobs that did not begin yet are an estimate where they differ.

        Snakemake says beforehand how many jobs there are, not which.
        """
        begun = [len(job.group.targets) for job in self._jobs.values() if job.group.stage == stage]
        jobs_left = self._planned.get(stage, 0) - len(begun)
        groups_left = sum(of_stage == stage for of_stage, _ in self._groups) - len(begun)
        if jobs_left <= 0 or groups_left <= 0:
            return sum(begun)
        return sum(begun) + round((self._targets - sum(begun)) * min(1.0, jobs_left / groups_left))

    def _say(self, what: str, job: Job, **more: Any) -> None:
        if job.log is None:  # the rule that asks for everything: it does nothing
            return
        about = {"stage": job.group.stage, "name": job.group.name, "targets": list(job.group.targets)}
        self._tell({"event": what, **about, **more, "log": str(job.log)})


def _given_up(group: Group) -> dict[str, str]:
    """Return the targets that a job which ended well gave up, and why."""
    try:
        return reasons_in(group.record) if group.targets else {}
    except RecordError:  # Snakemake says what is wrong with it
        return {}


def _changed(path: Path) -> int:
    """Return the time of a file's last change, ns since 1970; 0 where it is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
