"""Search: find homologous sequences of the targets of a batch, and templates that their profiles recognise."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.batch_record import reason_of, write_batch
from pipeline.command_line import Parser, positive
from pipeline.errors import FoldlineError, StageError
from pipeline.library.store import TemplateLibrary
from pipeline.search.batch import Job, Searcher, batch_record, run_batch
from pipeline.search.cache import Place, SearchCache
from pipeline.search.settings import Settings, library_source, open_searches
from pipeline.search.template_finder import TemplateFinder, unknown_templates
from pipeline.settings import add_flags, from_args

__all__ = ["Job", "Searcher", "Settings", "main", "open_searcher", "run_batch"]

log = logging.getLogger(__name__)

_SHOWN = 5  # names in a message


def open_searcher(settings: Settings, library: TemplateLibrary | None, place: Place) -> Searcher:
    """Return what a batch is searched with; databases are checked and not read yet.

    Args:
        settings: How to search.
        library: Template library; None searches no templates.
        place: Cache and threads.

    Raises:
        ConfigError: A setting of a database means nothing.
        LibraryError: A database does not exist.
    """
    searches = open_searches(settings, library, place)
    if library is None:
        return Searcher(searches, None, settings, place)
    if strangers := unknown_templates(settings, library.ids):
        shown, number = ", ".join(strangers[:_SHOWN]), len(strangers)
        log.warning("exclude_templates: %d of them are no entry and no chain of the library (%s)", number, shown)
    finder = TemplateFinder(library, library_source(library, searches), settings, place)
    return Searcher(searches, finder, settings, place)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `foldline search`."""
    flags = parser()
    arguments = flags.parse_args(argv)
    if len(arguments.fasta) != len(arguments.outputs):
        flags.error(
            f"{len(arguments.fasta)} FASTA files and {len(arguments.outputs)} outputs: give one folder for each"
        )
    settings = from_args(Settings, arguments)
    library = TemplateLibrary.open(arguments.library) if arguments.library else None
    place = Place(SearchCache(arguments.cache), arguments.threads)
    jobs = [Job(*paths) for paths in zip(arguments.fasta, arguments.outputs, strict=True)]
    outcomes = run_batch(jobs, open_searcher(settings, library, place))
    if arguments.batch:
        write_batch(arguments.batch, batch_record(outcomes))
    failed = {job: outcome.failure for job, outcome in outcomes.items() if outcome.failure}
    if not failed or arguments.keep_going:
        return 0
    if len(jobs) == 1 and isinstance(failed[jobs[0]], FoldlineError):
        raise failed[jobs[0]]
    reasons = "; ".join(f"{job.name} ({reason_of(failure)})" for job, failure in failed.items())
    raise StageError(f"{len(failed)} of {len(jobs)} targets failed: {reasons}")


def parser() -> argparse.ArgumentParser:
    """Return the command line of the stage."""
    made = Parser(
        "foldline search",
        "Find homologous sequences and templates of one target or a batch.",
        example="foldline search --fasta my.fasta --outputs my --library data/library",
    )
    many: dict[str, Any] = {"type": Path, "nargs": "+", "required": True}
    made.add_argument("--fasta", **many, metavar="FILE", help="FASTA file of each target, one record")
    made.add_argument("--outputs", **many, metavar="DIR", help="folder of each target's msa.a3m and records")
    made.add_argument("--library", type=Path, metavar="DIR", help="folder of the template library")
    made.add_argument("--cache", type=Path, metavar="DIR", help="folder of earlier searches (default: none)")
    made.add_argument("--threads", type=positive, default=1, metavar="N", help="threads (default: %(default)s)")
    made.add_argument(
        "--batch", type=Path, metavar="FILE", help="record to write of what succeeded and what failed (JSON)"
    )
    made.add_argument("--keep-going", action="store_true", help="exit with 0 although targets failed; see --batch")
    add_flags(made, Settings)
    return made
