"""Featurize: alignments and templates of one target, or of a batch, to the network's raw features.

Each target's files are written as they are done, and their record says what they were made from, so a second run makes
only what is missing. A target that fails does not stop the others.
"""

import argparse
import dataclasses
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.a3m import read_a3m
from pipeline.batch_record import is_whole, outcome, reason_of, reasons_in, write_batch
from pipeline.command_line import Parser
from pipeline.errors import ConfigError, FoldlineError
from pipeline.fasta import read_target
from pipeline.features import write_failure
from pipeline.featurize.raw import Settings, featurize
from pipeline.library.store import TemplateLibrary
from pipeline.obstacles import concerns_all
from pipeline.provenance import sha256
from pipeline.records import write_json
from pipeline.settings import add_flags, from_args
from pipeline.target import Target
from pipeline.templates import USER, TemplateHits, read_templates

__all__ = ["Settings", "main"]

log = logging.getLogger(__name__)

SCHEMA = "foldline.featurize/1"
FEATURES = "features.npz"


@dataclasses.dataclass(frozen=True)
class Job:
    """The files of one target: three that are read, and the features; their record lies beside them."""

    fasta: Path
    msa: Path
    templates: Path
    features: Path

    @classmethod
    def of(cls, folder: Path) -> "Job":
        """Return the files of a target by their usual names."""
        return cls(folder / "target.fasta", folder / "msa.a3m", folder / "templates.json", folder / FEATURES)

    @property
    def record(self) -> Path:
        """What says what the features were made from."""
        return self.features.with_suffix(".json")

    @property
    def name(self) -> str:
        """The target's name in a batch: that of its folder."""
        return self.features.resolve().parent.name


class Featurizer:
    """The library of templates, which is opened when the first target needs it, and the settings."""

    def __init__(self, library: Path | None, settings: Settings) -> None:
        self.settings = settings
        self._folder = library
        self._opened: TemplateLibrary | None = None

    def library(self, hits: TemplateHits, target: str) -> TemplateLibrary | None:
        """Return the library where the hits that are used are of it.

        Raises:
            ConfigError: It is needed and not given.
        """
        if all(hit.source == USER for hit in hits.kept[: self.settings.max_templates]):
            return None
        if not self._folder:
            raise ConfigError("the target has templates, but no library is given", target, "give --library")
        self._opened = self._opened or TemplateLibrary.open(self._folder)
        return self._opened


def make(job: Job, featurizer: Featurizer) -> None:
    """Write the features of a target and their record, unless they are there.

    Raises:
        FoldlineError: A file that is read is missing or damaged, or does not belong to the target.
    """
    began, target = time.perf_counter(), read_target(job.fasta)
    made_from = _made_from(job, target, featurizer.settings)
    if is_whole(job.record, SCHEMA, made_from):
        log.info("%s: already done", target.name)
        return
    job.record.unlink(missing_ok=True)  # nothing old may stand for features that fail now
    alignment, templates = read_a3m(job.msa), read_templates(job.templates)
    features = featurize(target, alignment, templates, featurizer.library(templates, target.name), featurizer.settings)
    features.save(job.features)
    record = {
        "target": target.name,
        "rows": len(alignment),
        "different_rows": len(features.msa),
        "templates": list(features.template_ids),
        "seconds": round(time.perf_counter() - began, 3),
        "made_from": made_from,
        "files": {job.features.name: sha256(job.features)},
    }
    write_json(job.record, record, SCHEMA)
    names = ", ".join(features.template_ids) or "none"
    log.info("%s: %d different rows of %d; templates: %s", target.name, len(features.msa), len(alignment), names)


def make_batch(jobs: Iterable[Job], featurizer: Featurizer, unsearched: Mapping[str, str]) -> list[dict[str, str]]:
    """Make the features of every target; return one record per target.

    Args:
        jobs: The targets.
        featurizer: Library and settings.
        unsearched: Why there is no alignment, by the name of a target whose search failed.

    Raises:
        OSError: The disk is full or cannot be written.
    """
    return [_outcome(job, _attempt(job, featurizer, unsearched.get(job.name, ""))) for job in jobs]


def _attempt(job: Job, featurizer: Featurizer, unsearched: str) -> str:
    """Make the features of a target, or leave word in their place why there are none; return why."""
    reason = f"search failed: {unsearched}" if unsearched else ""
    if not reason:
        try:
            make(job, featurizer)
        except (FoldlineError, OSError, MemoryError) as error:
            if concerns_all(error):
                raise
            reason = reason_of(error)
    if reason:
        log.error("%s: no features: %s", job.name, reason)
        _leave_word(job, reason)
    return reason


def _leave_word(job: Job, reason: str) -> None:
    try:
        job.record.unlink(missing_ok=True)
        write_failure(job.features, reason)
    except OSError as error:
        if concerns_all(error):
            raise
        log.error("%s: cannot say so in its folder: %s", job.name, reason_of(error))


def _outcome(job: Job, reason: str) -> dict[str, str]:
    """Return what the batch's record says of a target, also where its folder cannot be used."""
    try:
        return outcome(job.name, reason, features_sha256=sha256(job.features))
    except OSError as error:
        return outcome(job.name, reason or reason_of(error))


def _made_from(job: Job, target: Target, settings: Settings) -> dict[str, Any]:
    """Return everything that features are a function of; the hits name the version of their library."""
    return {
        "sequence": target.sequence,
        "msa_sha256": _digest(job.msa),
        "templates_sha256": _digest(job.templates),
        "software": __version__,
        **dataclasses.asdict(settings),
    }


def _digest(path: Path) -> str:
    return sha256(path) if path.is_file() else ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `foldline featurize`."""
    flags = parser()
    arguments = flags.parse_args(argv)
    featurizer = Featurizer(arguments.library, from_args(Settings, arguments))
    unsearched = reasons_in(arguments.search) if arguments.search else {}
    if arguments.targets:
        records = make_batch(map(Job.of, arguments.targets), featurizer, unsearched)
        if arguments.batch:
            write_batch(arguments.batch, records)
        return 0
    files = (arguments.fasta, arguments.msa, arguments.templates, arguments.output)
    if None in files:
        flags.error("give --targets, or --fasta, --msa, --templates and --output")
    make(Job(*files), featurizer)
    return 0


def parser() -> argparse.ArgumentParser:
    """Describe the command."""
    made = Parser(
        "foldline featurize",
        "Make the network's raw features of one target or a batch.",
        example="foldline featurize --fasta my/target.fasta --msa my/msa.a3m \\\n"
        "  --templates my/templates.json --library data/library \\\n"
        "  --output my/features.npz",
    )
    made.add_argument("--fasta", type=Path, metavar="FILE", help="FASTA file with one record")
    made.add_argument("--msa", type=Path, metavar="FILE", help="alignment whose first row is the target, A3M")
    made.add_argument("--templates", type=Path, metavar="FILE", help="template hits of the search, JSON")
    made.add_argument("--output", type=Path, metavar="FILE", help="features to write, npz; their record goes beside")
    made.add_argument("--library", type=Path, metavar="DIR", help="folder of the template library that was searched")
    made.add_argument("--targets", type=Path, nargs="+", metavar="DIR", help="a batch: folder of each target")
    made.add_argument("--search", type=Path, metavar="FILE", help="record of the batch's search (JSON)")
    made.add_argument("--batch", type=Path, metavar="FILE", help="record to write of what succeeded and failed (JSON)")
    add_flags(made, Settings)
    return made
