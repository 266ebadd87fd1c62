"""`foldline quality`: measure structure files and print a table or the record."""

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.command_line import Parser
from pipeline.errors import StageError, StructureError
from pipeline.protein import read_structure
from pipeline.quality.measure import SCHEMA, measure
from pipeline.text_table import aligned, printable

# Heading of the table, field of the summary, how it is written.
_COLUMNS = (
    ("residues", "residues", "d"),
    ("clash score", "clash_score", ".1f"),
    ("violating", "violating_residues", "d"),
    ("rama favoured", "ramachandran_favoured", ".1%"),
    ("rama outliers", "ramachandran_outliers", "d"),
    ("rotamer outliers", "rotamer_outliers", "d"),
    ("CB outliers", "cb_outliers", "d"),
    ("bonds", "bond_outliers", "d"),
    ("angles", "angle_outliers", "d"),
    ("planes", "plane_outliers", "d"),
    ("cis", "cis_peptides", "d"),
    ("twisted", "twisted_peptides", "d"),
    ("D", "d_residues", "d"),
    ("breaks", "chain_breaks", "d"),
    ("missing atoms", "missing_atoms", "d"),
    ("Rg A", "radius_of_gyration", ".1f"),
    ("helix", "helix", ".0%"),
    ("strand", "strand", ".0%"),
    ("surface A^2", "accessible_surface", ".0f"),
)

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the quality of structures, from any program or the PDB: mmCIF or PDB files, gzip or not."""
    arguments = parser().parse_args(argv)
    measured, failures = _measured(arguments.structures)
    if arguments.json:
        json.dump({"schema": SCHEMA, "structures": measured}, sys.stdout, indent=1, allow_nan=False)
        sys.stdout.write("\n")
    elif measured:
        sys.stdout.write(_residue_rows(measured) if arguments.residues else _table(measured))
    for failure in failures:
        log.error("%s", failure)
    if failures:
        count = f"{len(failures)} of {len(arguments.structures)}"
        raise StageError(f"{count} structures could not be read", failures[0].where, "the lines above say why")
    return 0


def parser() -> argparse.ArgumentParser:
    """Describe the command."""
    made = Parser("foldline quality", main.__doc__, example="foldline quality results/targets/*/relaxed.cif")
    made.add_argument("structures", type=Path, nargs="+", metavar="FILE", help="structure to measure")
    shape = made.add_mutually_exclusive_group()
    shape.add_argument("--residues", action="store_true", help="print a row for each residue, with tabs")
    shape.add_argument("--json", action="store_true", help=f"print the record ({SCHEMA})")
    return made


def _measured(paths: Sequence[Path]) -> tuple[list[dict[str, Any]], list[StructureError]]:
    """Measure what can be read.

    Raises:
        StructureError: There is one file, and it cannot be read.
    """
    measured, failures = [], []
    for path in paths:
        try:
            protein = read_structure(path)
        except StructureError as error:
            if len(paths) == 1:
                raise
            failures.append(error)
            continue
        found = measure(protein)
        record = {"file": str(path), "name": protein.name, "notes": list(protein.notes)}
        measured.append({**record, **dataclasses.asdict(found)})
    return measured, failures


def _table(measured: Sequence[dict[str, Any]]) -> str:
    head = ["file", *(heading for heading, _, _ in _COLUMNS)]
    rows = [
        [entry["file"], *(_written(entry["summary"][field], form) for _, field, form in _COLUMNS)] for entry in measured
    ]
    return aligned([head, *rows])


def _residue_rows(measured: Sequence[dict[str, Any]]) -> str:
    lines = ["\t".join(["file", *measured[0]["residues"]])]
    for entry in measured:
        rows = zip(*entry["residues"].values(), strict=True)
        lines += ["\t".join(_plain(cell) for cell in (entry["file"], *row)) for row in rows]
    return "\n".join(lines) + "\n"


def _written(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _plain(cell: Any) -> str:
    """Write a cell so that it stays in its column."""
    if isinstance(cell, bool):
        return str(int(cell))
    return "" if cell is None else printable(str(cell))
