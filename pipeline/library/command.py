"""`foldline library`: make, update or check a library."""

import argparse
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.library.backbones import write_library
from pipeline.library.source import PACKAGE, dump_structuredb, package_release, read_dump, read_held_out
from pipeline.library.store import EMBEDDED, TemplateLibrary

SYSTEM_PYTHON = Path("/usr/bin/python3")

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `foldline library build` or `foldline library verify`."""
    arguments = _parser().parse_args(argv)
    if arguments.action == "verify":
        TemplateLibrary.open(arguments.library).verify()
        log.info("%s is whole", arguments.library)
        return 0
    held_out = read_held_out(arguments.held_out)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.dump or Path(temporary)
        if not arguments.dump:
            log.info("dumping the StructureDB with %s (about a minute)", arguments.python)
            dump_structuredb(arguments.python, folder)
        manifest = write_library(arguments.output, read_dump(folder, held_out), _structuredb_facts(arguments.release))
    log.info("%s %s: %d chains", manifest["name"], manifest["version"], manifest["chains"])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="foldline library", description="Make or check a template library.")
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser("build", help="make the embedded library again")
    build.add_argument("--structuredb", action="store_true", required=True, help="from ProMod3's StructureDB (Debian)")
    build.add_argument("--output", type=Path, default=EMBEDDED, help="folder of the library (default: %(default)s)")
    build.add_argument("--python", type=Path, default=SYSTEM_PYTHON, help="Python with ProMod3 (default: %(default)s)")
    build.add_argument("--dump", type=Path, help="use this dump instead of making one")
    build.add_argument("--release", help="version of the data (default: that of the Debian package)")
    build.add_argument(
        "--held-out",
        type=Path,
        default=EMBEDDED / "held_out.txt",
        help="ids of chains that evaluations leave out, one a line (default: %(default)s)",
    )
    verify = actions.add_parser("verify", help="compare the files with their sha256")
    verify.add_argument("--library", type=Path, default=EMBEDDED, help="folder of the library (default: %(default)s)")
    return parser


def _structuredb_facts(release: str | None) -> dict[str, str]:
    return {
        "name": "structuredb",
        "release": release or package_release(),
        "source": f"ProMod3 StructureDB, Debian package {PACKAGE}",
        "licence": "coordinates: wwPDB, CC0-1.0; package: Apache-2.0",
    }
