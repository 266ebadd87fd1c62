"""Run: the whole workflow on FASTA files, by Snakemake, with everything checked before it starts."""

import argparse
import contextlib
import fcntl
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.command_line import Parser, add_run, positive
from pipeline.config import ROOT, check_config, load_config, merged, write_config
from pipeline.errors import StageError
from pipeline.plan import (
    Plan,
    batch_file,
    data_of,
    failed_searches,
    failed_targets,
    plan_run,
    running_targets,
    search_file,
    targets_of,
)
from pipeline.profiles import LOCAL, check_scheduler, find_profile, profile_flags
from pipeline.settings import to_flags

log = logging.getLogger(__name__)

SNAKEFILE = ROOT / "Snakefile"
_SHOWN_FAILURES = 10
_LAST_FILES = ("relax.json", "report.html")  # of a target
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
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the workflow; what follows `--` goes to Snakemake."""
    words = list(sys.argv[1:] if argv is None else argv)
    own, passed_on = _split(words)
    arguments = parser().parse_args(own)
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
        _forget_unfinished(out, plan)
        code = start([*command, "--nolock"], keep_open=(lock,))
    return _ended(code, out, plan)


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
    return {**config, "outdir": _one_spelling(config["outdir"])}


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
    path, here = Path(folder).expanduser().resolve(), Path.cwd().resolve()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def snakemake_command(out: Path, profile: Path | None, cores: int | None, passed_on: Sequence[str]) -> list[str]:
    """Return the command that starts Snakemake; what the user passes on comes last and so wins."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE)]
    command += ["--configfile", str(out / "config.yaml")]
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

    The system drops this lock when its last holder ends, however it ends. Snakemake's own locks are files that a killed
    run leaves behind.

    Raises:
        StageError: Another run is working in the folder.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StageError("another run is working here", str(out), "wait for it, or choose --outdir") from error
        yield file.fileno()


def start(command: Sequence[str], keep_open: Sequence[int] = ()) -> int:
    """Run a command to its end and return its exit code, also when it is interrupted: it has its own work to tidy up.

    Args:
        command: Program and arguments.
        keep_open: File descriptors that the command inherits.

    Raises:
        KeyboardInterrupt: The user interrupted; the command has ended.
    """
    interrupted = False
    with subprocess.Popen(command, pass_fds=keep_open) as process:
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        while process.returncode is None:
            try:
                process.wait()
            except KeyboardInterrupt:  # the terminal told the command, too
                interrupted = True
        signal.signal(signal.SIGTERM, before)
    if interrupted:
        raise KeyboardInterrupt
    return process.returncode


def conda_prefix() -> str:
    """Return what goes before a command in a rule's own conda environment, which holds the packages but not this code.

    Snakemake formats it, hence the doubled braces.
    """
    return f'foldline() {{{{ PYTHONPATH={shlex.quote(str(ROOT))} python -P -m pipeline.cli "$@"; }}}}; '


def closing_commands(config: Mapping[str, Any], plan: Plan) -> list[str]:
    """Return the commands that write the run's page, and those of targets that did not come through, after a failure.

    The rules of these pages wait for every target, and so did not run. Pages that a scheduler gets as one job wait for
    all of their targets, too.
    """
    out = Path(config["outdir"])
    settings = to_flags(config["report"])
    folders = [out / "targets" / name for name in plan.targets]
    unfinished = [folder for folder in folders if not all((folder / name).exists() for name in _LAST_FILES)]
    pages = [["--target-dir", folder, "--run", out, "--output", folder / "report.html"] for folder in unfinished]
    run = ["--run", out, "--names", out / "targets.txt", "--output", out / "report.html"]
    pages.append([*run, "--summary", out / "summary.tsv"])
    return [f"foldline report {shlex.join(map(str, page))} {settings}" for page in pages]


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in words:
        return words, []
    place = words.index("--")
    return words[:place], words[place + 1 :]


def _only_looks(passed_on: Sequence[str]) -> bool:
    return any(_LOOKS.fullmatch(word) for word in passed_on)


def _forget_unfinished(out: Path, plan: Plan) -> None:
    """Remove what earlier runs left of work that failed, is gone or was killed, so that this run makes it."""
    for name in failed_searches(out, plan):
        search_file(out, plan.search_of[name]).unlink(missing_ok=True)
    for name in running_targets(out, plan):
        (out / "targets" / name / "running.json").unlink()
    lost = [name for name in plan.targets if not (out / "targets" / name / "predicted.cif").exists()]
    for name in sorted({plan.batch_of[target] for target in [*failed_targets(out, plan), *lost]}):
        batch_file(out, name).unlink(missing_ok=True)


def _ended(code: int, out: Path, plan: Plan) -> int:
    """Say what came out.

    Raises:
        StageError: Targets failed, or Snakemake did.
    """
    failed = failed_targets(out, plan)
    if failed:
        raise StageError(f"{len(failed)} of {len(plan.targets)} targets failed: {_listed(failed)}", str(out))
    if code:
        killed = running_targets(out, plan)
        while_predicting = f" while it predicted {', '.join(killed[:_SHOWN_FAILURES])}" if killed else ""
        problem = f"the workflow did not finish{while_predicting} (Snakemake ended with {code})"
        raise StageError(problem, mend=f"see {out / 'logs'}")
    done = sum((out / "targets" / name / "relax.json").exists() for name in plan.targets)
    log.info("%d of %d targets done; open %s", done, len(plan.targets), out / "report.html")
    return 0


def _listed(failed: Mapping[str, str]) -> str:
    shown = [f"{name} ({reason})" for name, reason in list(failed.items())[:_SHOWN_FAILURES]]
    more = len(failed) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")
