"""Search for a batch of targets in one process: a database is read once for all, and a failure costs one target."""

import collections
import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.a3m import Alignment, write_a3m
from pipeline.batch_record import outcome, reason_of
from pipeline.errors import FoldlineError
from pipeline.fasta import read_target
from pipeline.obstacles import concerns_all
from pipeline.progress import tracked
from pipeline.provenance import sha256
from pipeline.records import write_json
from pipeline.search.cache import Place
from pipeline.search.gather import Failure, Gathered, Search, gather
from pipeline.search.msa_report import RowLimits, Rows, combined, worth
from pipeline.search.own_msa import own_files, read_own, version_of
from pipeline.search.settings import Settings
from pipeline.search.template_finder import TemplateFinder
from pipeline.search.template_own import with_own
from pipeline.target import Target
from pipeline.templates import OWN_FILE, TABLE_FILE, TemplateHits, write_templates

log = logging.getLogger(__name__)

SCHEMA = "foldline.search/1"
MSA, TEMPLATES, RECORD = "msa.a3m", "templates.json", "search.json"


@dataclasses.dataclass(frozen=True)
class Job:
    """One target of a batch: where its sequence is and where its files go."""

    fasta: Path
    folder: Path

    @property
    def name(self) -> str:
        """The target's name: that of its folder."""
        return self.folder.resolve().name


@dataclasses.dataclass(frozen=True)
class Searcher:
    """What a batch is searched with.

    Args:
        searches: Databases in the order of their rows in the alignment.
        finder: Finds templates; None where there is no library.
        settings: How to search.
        place: Cache and threads.
    """

    searches: Sequence[Search]
    finder: TemplateFinder | None
    settings: Settings
    place: Place


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What is known of a target when its search has ended.

    Args:
        target: The target; None where its file could not be read.
        failure: Why there is no alignment; None where there is one.
        record: What `search.json` says; empty after a failure.
    """

    target: Target | None
    failure: Failure | None = None
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What the alignment of a target is made of.

    Args:
        sources: Rows of each source.
        facts: What the record says of each.
        own: File of the user's own alignment; empty where the databases were searched.
        seconds: Wall time of the searches that were made now.
    """

    sources: Sequence[Rows]
    facts: Sequence[Mapping[str, Any]]
    own: str = ""
    seconds: float = 0.0


def run_batch(jobs: Sequence[Job], searcher: Searcher) -> dict[Job, Outcome]:
    """Search for every target and write its files as soon as it is done.

    Raises:
        ConfigError: A file or folder of own alignments does not exist.
    """
    outcomes: dict[Job, Outcome] = {}
    with tracked("search", len(jobs)) as tracker:
        for job, ended in _outcomes(jobs, searcher):
            outcomes[job] = ended
            if ended.failure:
                log.error("%s failed: %s", job.name, reason_of(ended.failure))
                forget(job.folder)
            tracker.advance(done=not ended.failure, failed=bool(ended.failure))
    return {job: outcomes[job] for job in jobs}


def forget(folder: Path) -> None:
    """Remove results, so that nothing old stands for a search that fails."""
    for name in (RECORD, TEMPLATES, TABLE_FILE, OWN_FILE, MSA):
        (folder / name).unlink(missing_ok=True)


def batch_record(outcomes: Mapping[Job, Outcome]) -> list[dict[str, str]]:
    """Return one record per target: name, status, reason; the checksums change when what follows must run again."""
    records = []
    for job, ended in outcomes.items():
        reason = reason_of(ended.failure) if ended.failure else ""
        made = () if reason else (MSA, TEMPLATES)
        digests = {f"{Path(name).stem}_sha256": sha256(job.folder / name) for name in made}
        records.append(outcome(job.name, reason, **digests))
    return records


def _outcomes(jobs: Sequence[Job], searcher: Searcher) -> Iterator[tuple[Job, Outcome]]:
    targets: dict[Job, Target] = {}
    for job in jobs:
        try:
            targets[job] = _read(job)
        except FoldlineError as error:
            yield job, Outcome(None, error)
    own = own_files(searcher.settings.own_msas, {target.name for target in targets.values()})
    of_sequence = collections.defaultdict(list)
    for job, target in targets.items():
        if target.name in own:
            yield job, _finished(job, target, functools.partial(_of_own, own[target.name], target), searcher)
        else:
            of_sequence[target.sequence].append(job)
    for sequence, found in gather(list(of_sequence), searcher.searches, searcher.place):
        for job in of_sequence[sequence]:
            if isinstance(found, list):
                yield job, _finished(job, targets[job], functools.partial(_of_databases, found), searcher)
            else:
                yield job, Outcome(targets[job], found)


def _read(job: Job) -> Target:
    target = read_target(job.fasta)
    for note in target.notes:
        log.info("%s: %s", target.name, note)
    return target


def _of_databases(found: Sequence[Gathered]) -> Evidence:
    facts = [_facts_of(each) for each in found]
    rows = [Rows(each.alignment, each.entry.facts.get("dropped", {})) for each in found]
    return Evidence(rows, facts, seconds=sum(fact["seconds"] for fact in facts if not fact["cached"]))


def _facts_of(found: Gathered) -> dict[str, Any]:
    made = found.entry.facts
    return {
        **found.database,
        "hits": made.get("hits", 0),
        "hits_at_least": made.get("hits_at_least", False),
        "rounds": made["rounds"],
        "converged": made["converged"],
        "timed_out": made.get("timed_out", False),
        "seconds": made["seconds"],
        "cached": found.cached,
        "facts": made.get("facts", {}),
    }


def _of_own(path: Path, target: Target) -> Evidence:
    """Take an alignment that the user made in the place of a search."""
    start = time.perf_counter()
    alignment = read_own(path, target)
    fact: dict[str, Any] = {
        **{"name": "own", "version": version_of(path), "engine": "", "hits": len(alignment) - 1},
        **{"hits_at_least": False, "rounds": 0, "converged": True, "timed_out": False},
        **{"seconds": round(time.perf_counter() - start, 3), "cached": False, "facts": {}},
    }
    return Evidence([Rows(alignment, {})], [fact], str(path), fact["seconds"])


def _finished(job: Job, target: Target, evidence: Callable[[], Evidence], searcher: Searcher) -> Outcome:
    """Write the files of a target, or return why there are none.

    Raises:
        OSError: Nothing can be written.
    """
    try:
        return Outcome(target, record=_written(job, target, evidence(), searcher))
    except (FoldlineError, OSError, MemoryError) as error:
        if concerns_all(error):
            raise
        return Outcome(target, error)


def _written(job: Job, target: Target, evidence: Evidence, searcher: Searcher) -> dict[str, Any]:
    """Put the rows together, find templates and write the target's files, the record last."""
    start = time.perf_counter()
    limits = RowLimits(searcher.settings.min_row_coverage, searcher.settings.min_row_identity)
    alignment, counts = combined(target.name, target.sequence, evidence.sources, limits)
    templates, template_facts = _templates(target, alignment, searcher)
    record = {
        "databases": [{**fact, **count} for fact, count in zip(evidence.facts, counts, strict=True)],
        "own": evidence.own,
        "rounds": max((fact["rounds"] for fact in evidence.facts), default=0),
        "converged": all(fact["converged"] for fact in evidence.facts),
        "timed_out": any(fact["timed_out"] for fact in evidence.facts),
        **worth(alignment),
        "seconds": round(evidence.seconds + time.perf_counter() - start, 3),
        "cached": all(facts["cached"] for facts in [*evidence.facts, template_facts]),
        "templates": template_facts,
        "settings": dataclasses.asdict(searcher.settings),
    }
    write_a3m(job.folder / MSA, alignment)
    write_templates(job.folder / TEMPLATES, templates)
    write_json(job.folder / RECORD, record, SCHEMA)
    kept = template_facts["kept"]
    log.info("%s: %d rows, %d templates, %.1f s", target.name, len(alignment), kept, record["seconds"])
    return record


def _templates(target: Target, alignment: Alignment, searcher: Searcher) -> tuple[TemplateHits, dict[str, Any]]:
    reason = _no_templates(target, searcher)
    hits = TemplateHits({}, ())
    facts: dict[str, Any] = {"library": {}, "kept": 0, "excluded": 0, "seconds": 0.0, "cached": True, "reason": reason}
    if searcher.finder and not reason:
        hits, facts = searcher.finder.find(alignment)
    return with_own(hits, facts, target.name, alignment, searcher.settings)


def _no_templates(target: Target, searcher: Searcher) -> str:
    """Return why no templates are searched in the library; empty where they are."""
    if not searcher.settings.use_templates:
        return "use_templates is off"
    if target.name in searcher.settings.no_templates_for:
        return "the target is listed in no_templates_for"
    return "" if searcher.finder else "no library is given"
