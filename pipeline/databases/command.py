"""`foldline databases`: look at the databases of a config."""

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.config import check_config, load_config
from pipeline.databases.check import State, check
from pipeline.download.fetch import in_words
from pipeline.errors import LibraryError

log = logging.getLogger(__name__)

CHECK_SCHEMA = "foldline.databases/1"


def main(argv: Sequence[str] | None = None) -> int:
    """Run `foldline databases check`."""
    arguments = _parser().parse_args(argv)
    actions = {"check": _check}
    actions[arguments.action](arguments)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Print a table of the databases of a config.

    Raises:
        LibraryError: One of them cannot be searched.
    """
    config = load_config(arguments.config)
    check_config(config)
    states = check(config, arguments.config, quick=arguments.quick)
    sys.stdout.write(_as_json(states) if arguments.json else table([_HEADINGS, *map(_row, states)]))
    problems = [f"{state.problem} ({state.place})" for state in states if state.problem]
    if len(problems) == 1:
        raise LibraryError(problems[0])
    for problem in problems:
        log.error("%s", problem)
    if problems:
        raise LibraryError(f"{len(problems)} databases cannot be searched")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as text, in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "".join(f"{line}\n" for line in lines)


_HEADINGS = ("NAME", "VERSION", "FORMAT", "SEQUENCES", "RESIDUES", "SIZE", "STATE", "PATH")


def _row(state: State) -> tuple[str, ...]:
    numbers = ["" if value is None else str(value) for value in (state.sequences, state.residues)]
    size = in_words(state.bytes) if state.bytes else ""
    name = state.name or state.place
    return name, state.version, state.format, *numbers, size, "unusable" if state.problem else "ok", state.path


def _as_json(states: Sequence[State]) -> str:
    record = {"schema": CHECK_SCHEMA, "databases": [dataclasses.asdict(state) for state in states]}
    return json.dumps(record, indent=1) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="foldline databases", description="Look at the databases of a search.")
    actions = parser.add_subparsers(dest="action", required=True)
    look = actions.add_parser("check", help="say of each database of a config whether it can be searched")
    look.add_argument("--config", type=Path, help="YAML file with settings that differ from config/config.yaml")
    look.add_argument("--json", action="store_true", help="print JSON instead of a table")
    look.add_argument("--quick", action="store_true", help="do not read whole databases to count what is in them")
    return parser
