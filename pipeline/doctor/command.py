"""`foldline doctor`: what this machine can do for a run, and what keeps one from working."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.command_line import Parser, add_config
from pipeline.config import check_config, load_config, merged
from pipeline.doctor.data import check_databases, check_library, check_weights
from pipeline.doctor.finding import Finding
from pipeline.doctor.machine import (
    check_cores,
    check_folder,
    check_gpu,
    check_memory,
    check_programs,
    check_python,
    check_scheduler,
)
from pipeline.errors import ConfigError, StageError
from pipeline.paths import expanded
from pipeline.predict.folders import default_cache
from pipeline.text_table import printable

SCHEMA = "foldline.doctor/1"
_MARKS = {"ok": "ok", "note": "--", "problem": "!!"}


def main(argv: Sequence[str] | None = None) -> int:
    """Look at this machine and at what a run reads; exit with 1 where something keeps a run from working."""
    arguments = parser().parse_args(argv)
    config = load_config(arguments.config)
    if arguments.outdir:
        config = merged(config, {"outdir": str(arguments.outdir)})
    check_config(config)
    findings = []
    if not arguments.json:
        sys.stdout.write(f"foldline {__version__}\n")
    for finding in examined(config, arguments.config):
        findings.append(finding)
        if not arguments.json:
            sys.stdout.write(line_of(finding))
            sys.stdout.flush()
    if arguments.json:
        sys.stdout.write(as_json(findings))
    problems = [finding for finding in findings if finding.state == "problem"]
    if problems:
        names = ", ".join(dict.fromkeys(finding.name for finding in problems))
        raise StageError(f"{len(problems)} problems keep a run from working: {names}")
    return 0


def parser() -> argparse.ArgumentParser:
    """Describe the command."""
    made = Parser("foldline doctor", main.__doc__, example="foldline doctor --config my.yaml")
    add_config(made)
    made.add_argument("--outdir", type=Path, metavar="DIR", help="where results would go (default: the config's)")
    made.add_argument("--json", action="store_true", help=f"print the record ({SCHEMA})")
    return made


def examined(config: Mapping[str, Any], source: Path | None) -> Iterator[Finding]:
    """Give the findings, each as soon as it is known.

    Args:
        config: Of a run.
        source: The file that it comes from, as far as it differs from the defaults.
    """
    yield check_python()
    yield check_cores()
    yield check_memory()
    yield from check_gpu()
    yield check_scheduler()
    yield check_programs()
    yield _folder("results", lambda: expanded(config["outdir"]).resolve())
    if config["databases"]["cache"]:
        yield _folder("searches", lambda: expanded(config["databases"]["cache"]))
    yield _folder("compiled", default_cache)
    yield check_library(config)
    yield from check_databases(config, source)
    yield from check_weights(config)


def _folder(name: str, place: Callable[[], Path]) -> Finding:
    try:
        folder = place()
    except ConfigError as error:
        return Finding(name, "problem", f"{error.where}: {error.problem}", error.mend)
    return check_folder(name, folder)


def line_of(finding: Finding) -> str:
    """Return a finding as a line, and a second one with its mend."""
    text = f"  {_MARKS[finding.state]}  {finding.name:<10} {printable(finding.text)}\n"
    return text + (f"{' ' * 17}{printable(finding.mend)}\n" if finding.mend else "")


def as_json(findings: Sequence[Finding]) -> str:
    """Return the findings as a record."""
    record = {
        "schema": SCHEMA,
        "version": __version__,
        "works": all(finding.state != "problem" for finding in findings),
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }
    return json.dumps(record, indent=1) + "\n"
