"""Run: the whole workflow on FASTA files, by Snakemake, with everything checked before it starts."""

import argparse
import contextlib
import logging
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.command_line import Parser, add_run, positive
from pipeline.config import ROOT, check_config, load_config, merged, write_config
from pipeline.config_stages import check_stages
from pipeline.errors import FoldlineError, StageError
from pipeline.lock import take_lock
from pipeline.obstacles import first_error, obstacle
from pipeline.outcomes import (
    PAGE,
    failed_targets,
    forget_unfinished,
    is_done,
    lost_targets,
    running_targets,
    without_page,
)
from pipeline.paths import expanded, refuse_braces
from pipeline.plan import Plan, data_of, plan_run, targets_of
from pipeline.predict.settings import from_section
from pipeline.profiles import LOCAL, check_scheduler, find_profile, profile_flags
from pipeline.progress import Lines, chosen, launch
from pipeline.progress.events import SCHEMA as EVENTS_SCHEMA
from pipeline.progress.events import Events
from pipeline.progress.jobs import Jobs
from pipeline.progress.launch import FLAGS
from pipeline.progress.log_file import last_lines
from pipeline.progress.watch import Watch, told
from pipeline.settings import to_flags

log = logging.getLogger(__name__)

SNAKEFILE = ROOT / "Snakefile"
LAUNCHER = str(Path(launch.__file__))
LOG_FILE = "snakemake.log"
_SHOWN_FAILURES = 10
_PAGES_OF_ONE = 200  # that one process writes, at the end of a run that failed
# Snakemake's options that show something and run no job.
_LOOKS = re.compile(
    r"-[a-zA-Z]*n[a-zA-Z]*|--(dry-?run|lint|unlock|touch|help|version|d3dag|filegraph)"
    r"|--((detailed-)?summary|dag|rulegraph|report|list.*)(=.*)?"
)


def parser() -> argparse.ArgumentParser:
    """Describe the command."""
    made = Parser(
        "foldline run",
        "Predict the structure of every record of the FASTA files. Without a file: the example.",
        usage="foldline run [FASTA ...] [options] [-- SNAKEMAKE ...]",
        example="foldline run targets.fasta --outdir results --cores 2\nfoldline run targets.fasta -- --dry-run",
    )
    add_run(made)
    made.add_argument("--cores", type=positive, metavar="N", help="CPU cores (default: all); on a cluster, of one job")
    made.add_argument("--profile", metavar="NAME", help="where to run: local, slurm or a folder of your own")
    how = made.add_mutually_exclusive_group()
    how.add_argument("--quiet", action="store_true", help="say nothing but what went wrong")
    how.add_argument("--verbose", action="store_true", help="show what Snakemake prints, too")
    how.add_argument("--json", action="store_true", help=f"print one JSON object for each event ({EVENTS_SCHEMA})")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the workflow; what follows `--` goes to Snakemake."""
    words = list(sys.argv[1:] if argv is None else argv)
    own, passed_on = _split(words)
    arguments = parser().parse_args(own)
    if arguments.quiet:
        logging.getLogger("pipeline").setLevel(logging.WARNING)
    config = effective_config(arguments)
    data_of(config, arguments.config)
    targets_of(config)  # bad input is refused before anything is written
    out = Path(config["outdir"])
    profile = _profile(arguments, passed_on)
    command = snakemake_command(out, profile, arguments.cores, passed_on)
    with alone(out) as lock:
        plan = _prepared(config, out)
        if _only_looks(passed_on):
            return start(command)
        forget_unfinished(out, plan)
        began = time.time()
        with shown(arguments, plan, config) as watch:
            code = start([*command, "--nolock"], keep_open=(lock,), watch=watch)
            watch.display.close()
            if code and (problem := obstacle(out, lambda: data_of(config, arguments.config))):
                raise StageError(problem, mend="run it again when that is mended: what is done stays")
            return _ended(code, config, plan, began, watch)


@contextlib.contextmanager
def shown(arguments: argparse.Namespace, plan: Plan, config: Mapping[str, Any]) -> Iterator[Watch]:
    """Give what follows the run and shows it as the command line says; tell programs how it began and ended."""
    out, predictions = Path(config["outdir"]), _predictions(config)
    log_file = out / "logs" / LOG_FILE
    if not arguments.json:
        display = Lines() if arguments.verbose else chosen(arguments.quiet)
        with contextlib.closing(display):
            yield Watch(Jobs(plan, out, predictions), display, log_file, arguments.verbose)
        return
    events = Events(sys.stdout)
    events.tell({"event": "start", "schema": EVENTS_SCHEMA, "outdir": str(out), "targets": list(plan.targets)})
    watch = Watch(Jobs(plan, out, predictions, events.tell), events, log_file)
    problem: str | None = None
    try:
        yield watch
    except BaseException as error:
        problem = _problem_of(error)
        raise
    finally:
        events.finish(watch.jobs.shown)
        events.tell({"event": "end", **_came_out(out, plan, problem)})


def _problem_of(error: BaseException) -> str:
    """Return why a run ended, in one line."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, OSError):
        return f"{error.filename or 'run'}: {(error.strerror or str(error)).lower()}"
    return str(error) if isinstance(error, FoldlineError) else repr(error)


def _came_out(out: Path, plan: Plan, problem: str | None) -> dict[str, Any]:
    """Return what the last event says; names no target where what came of the targets cannot be read."""
    try:
        failed = {**lost_targets(out, plan), **failed_targets(out, plan)}
        done = [name for name in plan.targets if name not in failed and is_done(out, name)]
    except (FoldlineError, OSError) as error:
        return {"done": [], "failed": {}, "problem": problem or _problem_of(error)}
    return {"done": done, "failed": failed, "problem": problem}


def _predictions(config: Mapping[str, Any]) -> list[Path]:
    """Return the folders in that of a target for each of its predictions, where there are several."""
    from pipeline.predict.records import Job, runs_of  # noqa: PLC0415 - it takes longer to load than all the rest here

    settings = from_section(config["predict"])
    return [run.folder(Job(Path(), Path()), settings) for run in runs_of(settings)] if settings.several else []


def _profile(arguments: argparse.Namespace, passed_on: Sequence[str]) -> Path | None:
    """Return the folder of the profile; None where it is named to Snakemake itself."""
    if "--profile" in passed_on:
        return None
    profile = find_profile(arguments.profile) if arguments.profile else LOCAL
    if not _only_looks(passed_on):
        check_scheduler(profile)
    return profile


def _prepared(config: Mapping[str, Any], out: Path) -> Plan:
    """Write what the workflow reads, and say what was read differently than it was written."""
    plan = plan_run(config)
    for target in plan.targets.values():
        for note in target.notes:
            log.info("%s: %s: %s", target.source, target.name, note)
    write_config(out / "config.yaml", config)
    return plan


def effective_config(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the checked config of a run: the defaults, the user's file, then the command line.

    Raises:
        ConfigError: A setting is wrong.
    """
    config = merged(load_config(arguments.config), from_command_line(arguments))
    check_config(config)
    check_stages(config)
    outdir = _one_spelling(config["outdir"])
    refuse_braces([outdir])
    return {**config, "outdir": outdir}


def from_command_line(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the part of a config that the command line says."""
    over: dict[str, Any] = {}
    if arguments.fasta:
        over["input"] = {"fasta": [str(path) for path in arguments.fasta]}
    if arguments.outdir:
        over["outdir"] = str(arguments.outdir)
    if arguments.model:
        over["predict"] = {"model": arguments.model}
    return over


def _one_spelling(folder: str) -> str:
    """Return the folder as Snakemake shall know it, however it was written: its records go by the name."""
    path, here = expanded(folder).resolve(), Path.cwd().resolve()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def snakemake_command(out: Path, profile: Path | None, cores: int | None, passed_on: Sequence[str]) -> list[str]:
    """Return the command that starts Snakemake; what the user passes on comes last and so wins.

    It never follows `--configfile`, which takes all words up to the next option.
    """
    command = [sys.executable, "-P", LAUNCHER, "--configfile", str(out / "config.yaml")]
    command += ["--snakefile", str(SNAKEFILE)]
    if profile:
        command += profile_flags(profile, out)
    if cores:
        command += ["--cores", str(cores)]
    return [*command, *passed_on]


def use_own_commands() -> None:
    """Put the commands of this Python first on PATH, for the rules' shells."""
    folder, path = str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)
    if path.split(os.pathsep)[0] != folder:
        os.environ["PATH"] = f"{folder}{os.pathsep}{path}"


@contextlib.contextmanager
def alone(out: Path) -> Iterator[int]:
    """Hold the output folder's lock and give its file descriptor.

    The system drops this lock when its last holder ends, however it ends; some file systems have none. Snakemake's own
    locks are files that a killed run leaves behind.

    Raises:
        StageError: Another run is working in the folder.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as file:
        if not take_lock(file):
            raise StageError("another run is working here", str(out), "wait for it, or choose --outdir")
        yield file.fileno()


def start(command: Sequence[str], keep_open: Sequence[int] = (), watch: Watch | None = None) -> int:
    """Run Snakemake to its end and return its exit code, also when it is interrupted: it has its own work to tidy up.

    Args:
        command: Program and arguments.
        keep_open: File descriptors that it inherits.
        watch: Follows it; without one it prints to this terminal.

    Raises:
        KeyboardInterrupt: The user interrupted; it has ended.
    """
    if watch:
        return watch.start(command, FLAGS, keep_open)
    with subprocess.Popen(command, pass_fds=keep_open) as process, told(process) as interrupted:
        process.wait()
    if interrupted:
        raise KeyboardInterrupt
    return process.returncode


def closing_commands(config: Mapping[str, Any], plan: Plan) -> list[str]:
    """Return the commands that write, after a failure, the pages that no rule wrote, and the page of the run.

    The rule of the run's page waits for every target, that of the pages for those of a batch.
    """
    out, settings = Path(config["outdir"]), to_flags(config["report"])
    folders = [out / "targets" / name for name in without_page(out, plan)]
    starts = range(0, len(folders), _PAGES_OF_ONE)
    pages = [["--targets", *folders[start : start + _PAGES_OF_ONE], "--run", out] for start in starts]
    run = ["--run", out, "--names", out / "targets.txt", "--output", out / PAGE]
    pages.append([*run, "--summary", out / "summary.tsv"])
    return [f"foldline report {shlex.join(map(str, page))} {settings}" for page in pages]


def failures_said(config: Mapping[str, Any], plan: Plan) -> str:
    """Return which targets failed, and why, in one line; empty where none did."""
    failed = failed_targets(Path(config["outdir"]), plan)
    return f"{len(failed)} of {len(plan.targets)} targets failed: {_listed(failed)}" if failed else ""


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in words:
        return words, []
    place = words.index("--")
    return words[:place], words[place + 1 :]


def _only_looks(passed_on: Sequence[str]) -> bool:
    return any(_LOOKS.fullmatch(word) for word in passed_on)


def _ended(code: int, config: Mapping[str, Any], plan: Plan, began: float, watch: Watch) -> int:
    """Say what came out.

    Args:
        code: With which Snakemake ended.
        config: The run's.
        plan: Its plan.
        began: When it did, seconds since 1970.
        watch: Followed it.

    Raises:
        StageError: Targets failed, or Snakemake did.
    """
    out = Path(config["outdir"])
    if failures := failures_said(config, plan):
        raise StageError(failures, str(out))
    if code:
        if not (watch.jobs.failures or watch.verbose):
            sys.stderr.write(f"Snakemake's last lines, of {watch.log_file}:\n{last_lines(watch.log_file)}")
        killed = running_targets(out, plan)
        while_predicting = f" while it predicted {', '.join(killed[:_SHOWN_FAILURES])}" if killed else ""
        said = first_error(out / "logs", began) or next(iter(lost_targets(out, plan, began).values()), "")
        problem = f"the workflow did not finish{while_predicting} ({said or f'Snakemake ended with {code}'})"
        raise StageError(problem, mend=f"see {out / 'logs'}")
    if watch.jobs.nothing_to_do:
        log.info("Nothing to be done: all files are there and up to date")
    done = sum(is_done(out, name) for name in plan.targets)
    page = f"; open {out / PAGE}" if (out / PAGE).exists() else ""  # not there with --until
    log.info("%d of %d targets done%s", done, len(plan.targets), page)
    return 0


def _listed(failed: Mapping[str, str]) -> str:
    shown = [f"{name} ({reason})" for name, reason in list(failed.items())[:_SHOWN_FAILURES]]
    more = len(failed) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")
