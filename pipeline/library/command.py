"""`foldline library`: make, update or check a library."""

import argparse
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.command_line import Parser, positive, said
from pipeline.errors import ConfigError
from pipeline.library import build
from pipeline.library.backbones import write_library
from pipeline.library.source import PACKAGE, dump_structuredb, package_release, read_dump, read_held_out
from pipeline.library.store import EMBEDDED, TemplateLibrary

SYSTEM_PYTHON = Path("/usr/bin/python3")

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `foldline library build` or `foldline library verify`."""
    arguments = parser().parse_args(argv)
    if arguments.action == "verify":
        TemplateLibrary.open(arguments.library).verify()
        log.info("%s is whole", arguments.library)
        return 0
    manifest = (_from_mirror if arguments.mmcif else _from_structuredb)(arguments)
    log.info("%s %s: %d chains", manifest["name"], manifest["version"], manifest["chains"])
    return 0


def _from_mirror(arguments: argparse.Namespace) -> dict[str, object]:
    if not arguments.output:
        raise ConfigError("a library of your own needs a folder", mend="give --output")
    options = build.Options(
        mirror=arguments.mmcif,
        library=arguments.output,
        processes=arguments.cores or build.default_processes(),
        obsolete=arguments.obsolete,
        identity=arguments.cluster,
        held_out=read_held_out(arguments.held_out) if arguments.held_out else frozenset(),
        name=arguments.name,
        release=arguments.release or "",
        min_residues=arguments.min_residues,
    )
    return build.build(options)


def _from_structuredb(arguments: argparse.Namespace) -> dict[str, object]:
    held_out = read_held_out(arguments.held_out or EMBEDDED / "held_out.txt")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.dump or Path(temporary)
        if not arguments.dump:
            log.info("dumping the StructureDB with %s (about a minute)", arguments.python)
            dump_structuredb(arguments.python, folder)
        source = {
            "name": "structuredb",
            "release": arguments.release or package_release(),
            "source": f"ProMod3 StructureDB, Debian package {PACKAGE}",
            "licence": "coordinates: wwPDB, CC0-1.0; package: Apache-2.0",
        }
        return write_library(arguments.output or EMBEDDED, read_dump(folder, held_out), source)


def parser() -> argparse.ArgumentParser:
    """Describe the command."""
    made = Parser(
        "foldline library",
        "Make, update or check a template library.",
        example="foldline library build --mmcif /data/pdb/mmCIF --output my_library\n"
        "foldline library verify --library my_library",
    )
    actions = made.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_build(actions.add_parser("build", **said("make a library of your own or update it, or make the embedded one")))
    verify = actions.add_parser("verify", **said("compare the files with their sha256"))
    verify.add_argument(
        "--library", type=Path, metavar="DIR", default=EMBEDDED, help="folder of the library (default: %(default)s)"
    )
    return made


def _add_build(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--mmcif", type=Path, metavar="DIR", help="from a mirror of the PDB: mmCIF files, gzip or not")
    source.add_argument("--structuredb", action="store_true", help="from ProMod3's StructureDB (Debian)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder of the library (needed with --mmcif)")
    parser.add_argument(
        "--release", metavar="VERSION", help="version of the data (default: newest release date; Debian's version)"
    )
    parser.add_argument("--held-out", type=Path, metavar="FILE", help="ids of chains that evaluations leave out")
    mirror = parser.add_argument_group("with --mmcif")
    mirror.add_argument("--cores", type=positive, metavar="N", help="CPU cores to use (default: all)")
    mirror.add_argument("--obsolete", type=Path, metavar="FILE", help="the mirror's obsolete.dat")
    mirror.add_argument(
        "--cluster", type=float, default=0.0, metavar="IDENTITY", help="keep one chain of each cluster (needs mmseqs)"
    )
    mirror.add_argument("--name", metavar="NAME", default="own", help="name of the library (default: %(default)s)")
    mirror.add_argument(
        "--min-residues", type=int, default=10, metavar="N", help="fewest observed residues (default: %(default)s)"
    )
    debian = parser.add_argument_group("with --structuredb")
    debian.add_argument(
        "--python", type=Path, metavar="FILE", default=SYSTEM_PYTHON, help="with ProMod3 (default: %(default)s)"
    )
    debian.add_argument("--dump", type=Path, metavar="DIR", help="use this dump instead of making one")
