"""Report: show what was predicted, how sure it is and what was done, as offline pages and tables."""

import argparse
import dataclasses
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from pipeline.batch_record import outcome, reason_of, write_batch
from pipeline.command_line import Parser
from pipeline.errors import ConfigError, FoldlineError, RecordError
from pipeline.obstacles import concerns_all
from pipeline.records import write_text
from pipeline.report.agreement import agreement
from pipeline.report.evidence import Evidence, Parts, Told, read_evidence, read_told, target_folders, unreadable
from pipeline.report.export import DPI, write_figures
from pipeline.report.render import run_figures, run_page, target_page
from pipeline.report.summary import summary_rows, write_summary
from pipeline.report.target import target_figures
from pipeline.settings import add_flags, from_args, setting

PAGE = "report.html"
LEAST_DPI, MOST_DPI = 30, 1200
LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the report warns about and how much it shows."""

    low_confidence: float = setting(70.0, "warn where the mean pLDDT is below this, 0-100")
    few_rows: int = setting(30, "warn where the alignment has fewer rows than this")
    thumbnails: int = setting(200, "targets of the run page that get a picture; each needs about 3 kB")
    template_rows: int = setting(20, "template hits listed on a target's page")


def report_batch(folders: Sequence[Path], run: Path, settings: Settings) -> list[dict[str, str]]:
    """Write the page of each target into its folder; return one record per target: name, status, reason.

    Raises:
        OSError: The disk is full or cannot be written.
    """
    told, records = read_told(run), []
    for folder in folders:
        name, reason = folder.resolve().name, ""
        try:
            evidence = read_evidence(folder, run, told=told)
            write_text(folder / PAGE, target_page(evidence, settings, output=folder / PAGE, run=run))
        except (FoldlineError, OSError) as error:
            if concerns_all(error):
                raise
            reason = reason_of(error)
            LOGGER.error("%s: no page: %s", name, reason)
        records.append(outcome(name, reason))
    return records


def gather_pages(folders: Sequence[Path], into: Path) -> int:
    """Put the page of each target into one folder, named by the target; return how many there are.

    Args:
        folders: Of the targets; those without a page are left out.
        into: Folder to fill. On the same disk its files take no room.
    """
    into.mkdir(parents=True, exist_ok=True)
    pages = {into / f"{folder.name}.html": folder / PAGE for folder in folders if (folder / PAGE).exists()}
    for copy, page in pages.items():
        copy.unlink(missing_ok=True)
        try:
            os.link(page, copy)
        except OSError:  # another disk, or one without links
            shutil.copyfile(page, copy)
    return len(pages)


def read_run(run: Path, names: Sequence[str] | None, settings: Settings) -> list[Evidence]:
    """Read the targets of a run.

    Raises:
        RecordError: The folder holds no target.
    """
    folders = target_folders(run, names)
    if not folders:
        raise RecordError("expected target folders", str(run / "targets"), "run the workflow first")
    told = read_told(run)
    parts: list[Parts] = ["model" if i < settings.thumbnails else "records" for i in range(len(folders))]
    return [_read(folder, run, told, part) for folder, part in zip(folders, parts, strict=True)]


def _read(folder: Path, run: Path, told: Told, parts: Parts) -> Evidence:
    try:
        return read_evidence(folder, run, parts=parts, told=told)
    except FoldlineError as error:
        LOGGER.warning("%s", error)
        return unreadable(folder, error)


def parser() -> argparse.ArgumentParser:
    """Describe the command."""
    made = Parser(
        "foldline report",
        "Write the offline page of one target (--target-dir) or of a whole run (--run), or its figures.",
        example="foldline report --run results --output page.html --summary table.tsv",
    )
    made.add_argument(
        "--target-dir", type=Path, metavar="DIR", help="folder of one target, OUT/targets/NAME: write its page"
    )
    made.add_argument(
        "--run", type=Path, metavar="DIR", help="output folder OUT: write the run's page, or say where a target's is"
    )
    made.add_argument(
        "--names", type=Path, metavar="FILE", help="file with a target name per line (default: all of OUT/targets)"
    )
    made.add_argument(
        "--targets", type=Path, nargs="+", metavar="DIR", help="a batch: folder of each target, where its page goes"
    )
    made.add_argument("--batch", type=Path, metavar="FILE", help="record to write of what succeeded and failed (JSON)")
    made.add_argument("--output", type=Path, metavar="FILE", help="HTML page to write; not with --targets")
    made.add_argument(
        "--figures", type=Path, metavar="DIR", help="folder for the plots of the page, each as SVG and PNG"
    )
    made.add_argument("--pages", type=Path, metavar="DIR", help="folder to gather the pages of a run's targets in")
    made.add_argument("--dpi", type=int, default=DPI, metavar="N", help=f"pixels in an inch of these PNG ({DPI})")
    made.add_argument(
        "--summary", type=Path, metavar="FILE", help="TSV to write, a row per target; the same as JSON beside it"
    )
    add_flags(made, Settings)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage from the command line."""
    flags = parser()
    arguments = flags.parse_args(argv)
    settings = from_args(Settings, arguments)
    if bool(arguments.targets) == bool(arguments.output or arguments.figures or arguments.pages):
        flags.error("give --output, --figures or --pages, or --targets and --run")
    if not LEAST_DPI <= arguments.dpi <= MOST_DPI:
        flags.error(f"expected --dpi from {LEAST_DPI} to {MOST_DPI}, found {arguments.dpi}")
    if arguments.targets:
        records = report_batch(arguments.targets, arguments.run or _run_of(arguments.targets[0]), settings)
        if arguments.batch:
            write_batch(arguments.batch, records)
        return 0
    if arguments.target_dir is None and arguments.run is None:
        raise ConfigError("expected --target-dir or --run", mend="name the folder to report on")
    if arguments.pages is not None:
        count = gather_pages(
            target_folders(arguments.run or _run_of(arguments.target_dir), _names(arguments.names)), arguments.pages
        )
        LOGGER.info("%d pages in %s", count, arguments.pages)
        return 0
    figures = (_report_run if arguments.target_dir is None else _report_target)(arguments, settings)
    if arguments.figures is not None:
        written = write_figures(figures, arguments.figures, arguments.dpi)
        LOGGER.info("%d files in %s", len(written), arguments.figures)
    return 0


def _report_target(arguments: argparse.Namespace, settings: Settings) -> dict[str, Markup]:
    """Write the page of a target where it is asked for; return its figures where those are."""
    run = arguments.run or _run_of(arguments.target_dir)
    evidence = read_evidence(arguments.target_dir, run)
    if arguments.output is not None:
        write_text(arguments.output, target_page(evidence, settings, output=arguments.output, run=run))
    return target_figures(evidence, settings, agreement(evidence)) if arguments.figures is not None else {}


def _report_run(arguments: argparse.Namespace, settings: Settings) -> dict[str, Markup]:
    """Write the page of a run and its summary where they are asked for; return its figures."""
    everything = read_run(arguments.run, _names(arguments.names), settings)
    if arguments.summary is not None:
        write_summary(arguments.summary, summary_rows(everything))
    if arguments.output is not None:
        write_text(arguments.output, run_page(everything, output=arguments.output, run=arguments.run))
    return run_figures(everything)


def _run_of(target_dir: Path) -> Path:
    return target_dir.resolve().parent.parent


def _names(path: Path | None) -> list[str] | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, ValueError) as error:
        raise RecordError("expected a file with a target name per line", str(path)) from error
