"""`foldline databases`: list and fetch the public ones, and look at those of a config."""

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.command_line import Parser, add_config, said
from pipeline.config import check_config, load_config
from pipeline.databases.catalogue import TIERS, Offer, chosen, default_folder, read_catalogue
from pipeline.databases.check import State, check
from pipeline.databases.fetch import Installed, fetch, installed
from pipeline.databases.records import LIBRARY
from pipeline.download.fetch import check_url, in_words
from pipeline.errors import ConfigError, LibraryError
from pipeline.paths import expanded
from pipeline.text_table import aligned, printable

log = logging.getLogger(__name__)

CHECK_SCHEMA = "foldline.databases/1"
_CHECK_HEADINGS = ("NAME", "VERSION", "FORMAT", "SEQUENCES", "RESIDUES", "SIZE", "STATE", "PATH")
_LIST_HEADINGS = ("NAME", "TIERS", "FETCHED", "UNPACKED", "LICENCE", "STATE")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `foldline databases list`, `fetch` or `check`."""
    arguments = parser().parse_args(argv)
    actions = {"list": _list, "fetch": _fetch, "check": _check}
    actions[arguments.action](arguments)
    return 0


def config_lines(databases: Iterable[Installed]) -> str:
    """Return the lines of a config that use databases, as YAML."""
    entries: list[Any] = [LIBRARY]
    notes, section = "", {"databases": entries}
    for found in databases:
        match found.offer.engine:
            case "hhsearch":
                section["hhsearch"] = f"{found.offer.name}={found.path}:{found.version}"  # type: ignore[assignment]
            case "hhblits":
                notes += f"# {found.offer.name} is for the programs of HH-suite: {found.path}\n"
            case engine:
                entry = {"name": found.offer.name, "path": str(found.path), "version": found.version}
                entries.append({**entry, "engine": engine} if engine else entry)
    return notes + yaml.safe_dump({"search": section}, sort_keys=False, allow_unicode=True)


def _list(arguments: argparse.Namespace) -> None:
    folder = expanded(arguments.folder or default_folder())
    rows = [_LIST_HEADINGS, *(_offer_row(offer, folder) for offer in read_catalogue().values())]
    sys.stdout.write(f"{aligned(rows)}\nfolder: {printable(str(folder))}\n")


def _offer_row(offer: Offer, folder: Path) -> tuple[str, ...]:
    found = installed(offer, folder)
    sizes = (in_words(offer.bytes), in_words(offer.unpacked))
    return offer.name, ",".join(offer.tiers) or "-", *sizes, offer.licence, found.version if found else "absent"


def _fetch(arguments: argparse.Namespace) -> None:
    """Fetch databases and print the lines for the config.

    Raises:
        ConfigError: An option that is about one database goes with several.
    """
    offers = [_changed(offer, arguments) for offer in chosen(arguments.what, read_catalogue())]
    changes = [f"--{name}" for name in ("url", "checksum", "release") if getattr(arguments, name)]
    if changes and len(offers) != 1:
        raise ConfigError(f"{changes[0]} goes with one database, found {len(offers)}")
    if not offers:
        log.info("the embedded library is part of the repository: there is nothing to fetch")
    found = fetch(offers, expanded(arguments.folder or default_folder()).absolute()) if offers else []
    sys.stdout.write(config_lines(found))


def _changed(offer: Offer, arguments: argparse.Namespace) -> Offer:
    """Return what is to be fetched: as the table says, but for what the command line says."""
    if arguments.url:
        check_url(arguments.url)
        offer = dataclasses.replace(offer, mirror=arguments.url)
    if arguments.checksum:
        offer = dataclasses.replace(offer, checksum="" if arguments.checksum == "none" else arguments.checksum)
    return dataclasses.replace(offer, version=arguments.release or offer.version)


def _check(arguments: argparse.Namespace) -> None:
    """Print a table of the databases of a config.

    Raises:
        LibraryError: One of them cannot be searched.
    """
    config = load_config(arguments.config)
    check_config(config)
    states = check(config, arguments.config, quick=arguments.quick)
    sys.stdout.write(_as_json(states) if arguments.json else aligned([_CHECK_HEADINGS, *map(_row, states)]))
    problems = [f"{state.problem} ({state.place})" for state in states if state.problem]
    if len(problems) == 1:
        raise LibraryError(problems[0])
    for problem in problems:
        log.error("%s", problem)
    if problems:
        raise LibraryError(f"{len(problems)} databases cannot be searched")


def _row(state: State) -> tuple[str, ...]:
    numbers = ["" if value is None else str(value) for value in (state.sequences, state.residues)]
    size = in_words(state.bytes) if state.bytes else ""
    name = state.name or state.place
    return name, state.version, state.format, *numbers, size, "unusable" if state.problem else "ok", state.path


def _as_json(states: Sequence[State]) -> str:
    record = {"schema": CHECK_SCHEMA, "databases": [dataclasses.asdict(state) for state in states]}
    return json.dumps(record, indent=1) + "\n"


def parser() -> argparse.ArgumentParser:
    """Describe the command."""
    made = Parser(
        "foldline databases",
        "List and fetch public databases, and look at those of a config. They are fetched to"
        " $FOLDLINE_DATABASES, by default ~/.local/share/foldline/databases.",
        example="foldline databases fetch uniref90 mgnify --folder /data/foldline\n"
        "foldline databases check --config my.yaml",
    )
    actions = made.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("list", **said("show the public databases: tiers, sizes, licences, and what is here"))
    get = actions.add_parser("fetch", **said("fetch, verify and unpack public databases; what is here already is kept"))
    get.add_argument("what", nargs="+", metavar="TIER", help=f"a tier ({', '.join(TIERS)}) or names of databases")
    for action in (show, get):
        action.add_argument("--folder", type=Path, metavar="DIR", help="folder of the databases")
    get.add_argument(
        "--url", default="", metavar="URL", help="another address of the one database, for example a mirror"
    )
    get.add_argument(
        "--checksum", default="", metavar="SUM", help="its checksum: md5:HEX, sha256:HEX, a metalink's address, or none"
    )
    get.add_argument(
        "--release", default="", metavar="VERSION", help="its version, where the publisher does not say it"
    )
    look = actions.add_parser("check", **said("say of each database of a config whether it can be searched"))
    add_config(look)
    look.add_argument("--json", action="store_true", help=f"print the record ({CHECK_SCHEMA})")
    look.add_argument("--quick", action="store_true", help="do not read whole databases to count what is in them")
    return made
