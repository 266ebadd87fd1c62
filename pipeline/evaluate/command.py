"""`foldline evaluate`: compare models with a reference and print a table or the record."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.command_line import Parser
from pipeline.errors import FoldlineError
from pipeline.evaluate.pairs import PairingError
from pipeline.evaluate.scores import SCHEMA, Evaluation, evaluate
from pipeline.protein import read_structure
from pipeline.text_table import aligned, printable

_HEAD = ("model", "residues", "paired", "by", "CA-lDDT", "lDDT", "TM-score", "GDT-TS", "CA RMSD A", "RMSD A")


def main(argv: Sequence[str] | None = None) -> int:
    """Compare one or more models with a reference structure: mmCIF or PDB files, gzip or not."""
    arguments = parser().parse_args(argv)
    reference = read_structure(arguments.reference)
    found: list[tuple[Path, Evaluation]] = []
    for path in arguments.models:
        try:
            found.append((path, evaluate(read_structure(path), reference, arguments.match)))
        except PairingError as error:
            raise FoldlineError(error.problem, f"{path} and {arguments.reference}", error.mend) from error
    if arguments.json:
        models = [{"file": str(path), **dataclasses.asdict(one)} for path, one in found]
        record = {"schema": SCHEMA, "reference": str(arguments.reference), "models": models}
        json.dump(record, sys.stdout, indent=1, allow_nan=False)
        sys.stdout.write("\n")
    else:
        sys.stdout.write(_residue_rows(found) if arguments.residues else aligned([_HEAD, *map(_row, found)]))
    return 0


def parser() -> argparse.ArgumentParser:
    """Describe the command."""
    made = Parser(
        "foldline evaluate", main.__doc__, example="foldline evaluate results/targets/NAME/relaxed.cif reference.pdb"
    )
    made.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="structure to judge")
    made.add_argument("reference", type=Path, metavar="REFERENCE", help="structure to compare with")
    made.add_argument(
        "--match",
        choices=("auto", "number", "sequence"),
        default="auto",
        help="pair residues by number or by aligning sequences; auto: by number where the sequences agree",
    )
    shape = made.add_mutually_exclusive_group()
    shape.add_argument("--residues", action="store_true", help="print a row for each residue, with tabs")
    shape.add_argument("--json", action="store_true", help=f"print the record ({SCHEMA})")
    return made


def _row(entry: tuple[Path, Evaluation]) -> list[str]:
    path, found = entry
    scores = (found.ca_lddt, found.lddt, found.tm_score, found.gdt_ts)
    sizes = (found.ca_rmsd, found.rmsd)
    return [
        *(str(path), str(found.residues), str(found.paired), "/".join(sorted(set(found.matched_by.values())))),
        *(f"{score:.4f}" for score in scores),
        *("-" if size is None else f"{size:.3f}" for size in sizes),
    ]


def _residue_rows(found: Sequence[tuple[Path, Evaluation]]) -> str:
    lines = ["\t".join(["model", *found[0][1].per_residue])]
    for path, one in found:
        rows = zip(*one.per_residue.values(), strict=True)
        lines += ["\t".join(_cell(value) for value in (path, *row)) for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    return "" if value is None else printable(str(value))
