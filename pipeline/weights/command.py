"""`foldline weights`: fetch, list, verify and import the parameters of the published networks."""

import argparse
import dataclasses
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from models.config import PRESETS
from pipeline.command_line import Parser, said
from pipeline.download.fetch import in_words
from pipeline.errors import WeightsError
from pipeline.lock import alone
from pipeline.text_table import aligned, printable
from pipeline.weights.archive import Extracted
from pipeline.weights.install import Fetch, Import, fetch, import_files, now, recorded
from pipeline.weights.records import (
    LICENCE_FILE,
    SETS,
    Entry,
    ParameterSet,
    candidates,
    locate,
    read_record,
    set_of,
    sha256_of,
    write_record,
)

log = logging.getLogger(__name__)

_SHA256 = re.compile(r"[0-9a-f]{64}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `foldline weights fetch`, `list`, `verify` or `import`."""
    arguments = parser().parse_args(argv)
    actions = {"fetch": _fetch, "list": _list, "verify": _verify, "import": _import}
    actions[arguments.action](arguments)
    return 0


def read_as_network(path: Path, name: str, where: str) -> None:
    """Check a file of a set, by its name, as the network reads it; texts are not checked."""
    if name == LICENCE_FILE:
        return
    from pipeline.weights.check import check  # noqa: PLC0415 - JAX takes seconds to load, and `list` needs none

    check(path, name.removeprefix("params_").removesuffix(".npz"), where)


def verify(published: ParameterSet, name: str) -> None:
    """Compare a file with its record and read it as the network does; record it where it was not.

    Raises:
        WeightsError: It is gone, has changed, or is not what its name says.
    """
    path, entry = published.folder / name, read_record(published).get(name)
    mend = f"run: foldline weights fetch {published.name}"
    if not path.is_file():
        raise WeightsError("a recorded file is missing", str(path), mend)
    found = Extracted(path.stat().st_size, sha256_of(path))
    if entry and entry.sha256 != found.sha256:
        problem = f"expected sha256 {entry.sha256} ({in_words(entry.bytes)}), found {found.sha256}"
        raise WeightsError(f"{problem} ({in_words(found.size)}): it has changed since {entry.date}", str(path), mend)
    read_as_network(path, name, str(path))
    if not os.access(published.folder, os.W_OK):  # of another user: what was verified is not kept
        return
    with alone(published.folder, "weights", WeightsError):
        if entry is None:
            recorded(published, name, found, "found in its place")
            return
        seen = dataclasses.replace(entry, verified=now(), modified_ns=path.stat().st_mtime_ns)
        write_record(published, {**read_record(published), name: seen})


def state(published: ParameterSet, name: str, entry: Entry | None) -> str:
    """Say in a word or two how much is known of a file, without reading it."""
    path = published.folder / name
    if not path.is_file():
        return "missing" if entry else "absent"
    if entry is None:
        return "not verified"
    status = path.stat()
    same = (status.st_size, status.st_mtime_ns) == (entry.bytes, entry.modified_ns)
    return f"verified {entry.verified[:10]}" if same else "changed"


def _fetch(arguments: argparse.Namespace) -> None:
    published = SETS[arguments.name]
    if arguments.sha256 and not _SHA256.fullmatch(arguments.sha256.lower()):
        raise WeightsError(f"expected 64 hexadecimal digits for --sha256, found {arguments.sha256!r}")
    log.info("%s. %s", published.title, published.notice)
    log.info("Please cite %s", published.citation)
    how = Fetch(arguments.url, arguments.sha256.lower(), arguments.keep_archive)
    fetch(published, how, read_as_network)


def _import(arguments: argparse.Namespace) -> None:
    import_files(arguments.files, Import(arguments.model, arguments.link, arguments.replace), read_as_network)


def _list(arguments: argparse.Namespace) -> None:  # noqa: ARG001 - as the other actions
    rows = [("MODEL", "STATE", "SIZE", "LICENCE", "FILE"), *map(_row, PRESETS)]
    sys.stdout.write(aligned(rows))
    for published in SETS.values():
        folder = printable(str(published.folder))
        sys.stdout.write(f"\n{published.name}: {published.title}\n  folder: {folder}\n")
        sys.stdout.write(f"  {published.notice}\n  Please cite {published.citation}\n")


def _row(model: str) -> tuple[str, ...]:
    published, here = set_of(model), [path for path in candidates(model) if path.is_file()]
    licence = published.licence if published else "Apache-2.0"
    if not here:
        return model, "absent", "", licence, str(candidates(model)[-1])
    name = published.models[model] if published else ""
    if published and here[0] == published.folder / name:
        known = state(published, name, read_record(published).get(name))
    else:
        known = "not recorded" if published else "embedded"
    return model, known, in_words(here[0].stat().st_size), licence, str(here[0])


def _verify(arguments: argparse.Namespace) -> None:
    problems = []
    for model in _chosen(arguments.name):
        try:
            log.info("%s is whole: %s", model, _verify_model(model))
        except WeightsError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    for problem in problems:
        log.error("%s", problem)
    if problems:
        raise WeightsError(f"{len(problems)} files are not as they should be")


def _verify_model(model: str) -> Path:
    """Verify the file that a model would be read from, and return it."""
    published = set_of(model)
    name = published.models[model] if published else ""
    if published and name in read_record(published) and not (published.folder / name).is_file():
        path = published.folder / name
    else:
        path = locate(model)
    if published and path == published.folder / name:
        verify(published, name)
    else:
        read_as_network(path, f"params_{model}.npz", str(path))
    return path


def _chosen(name: str | None) -> Iterator[str]:
    """Give the models that a name means: itself, those of a set that are here, or all that are here."""
    if name and name not in SETS:
        yield name
        return
    members = list(PRESETS) if name is None else list(SETS[name].models)
    here = [model for model in members if _is_here(model)]
    if not here:
        locate(members[0])  # which says what is missing and how to get it
    yield from here


def _is_here(model: str) -> bool:
    published = set_of(model)
    is_recorded = published is not None and published.models[model] in read_record(published)
    return is_recorded or any(path.is_file() for path in candidates(model))


def parser() -> argparse.ArgumentParser:
    """Describe the command."""
    made = Parser(
        "foldline weights",
        "Fetch, list, verify and import parameters of the networks. They lie in $FOLDLINE_WEIGHTS, by"
        " default ~/.local/share/foldline/weights.",
        example="foldline weights fetch alphafold2\nfoldline weights list",
    )
    actions = made.add_subparsers(dest="action", required=True, metavar="ACTION")
    get = actions.add_parser("fetch", **said("fetch a published set of parameters; what is here already is kept"))
    get.add_argument("name", choices=list(SETS), help="the set")
    get.add_argument("--url", default="", metavar="URL", help="another address of the archive, for example a mirror")
    get.add_argument("--sha256", default="", metavar="HEX", help="checksum of the archive, where it is another one")
    get.add_argument("--keep-archive", action="store_true", help="leave the archive beside the files")
    actions.add_parser("list", **said("show all models: where their parameters are, whether verified, size, licence"))
    look = actions.add_parser(
        "verify", **said("compare files with their recorded checksums and read them as the network")
    )
    look.add_argument(
        "name", nargs="?", choices=[*SETS, *PRESETS], metavar="NAME", help="a model or a set; default: all"
    )
    take = actions.add_parser(
        "import", **said("check and copy files that you have: params_MODEL.npz, their folder, or the archive")
    )
    take.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".npz, .tar, or a folder of .npz")
    take.add_argument("--as", dest="model", default="", metavar="MODEL", help="whose parameters the one file holds")
    take.add_argument("--link", action="store_true", help="make hard links instead of copies")
    take.add_argument("--replace", action="store_true", help="put a file in the place of another one")
    return made
