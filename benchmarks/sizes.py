"""Print how large the files of a run are: bytes per residue, for the aligned error per pair of residues.

    .venv/bin/python benchmarks/sizes.py results

Files that are written on request are listed where they were asked for.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

PAIRS = ("confidence.npz", "pae.json")
"""Files that hold a number for each pair of residues."""


def lengths_of(results: Path) -> dict[Path, int]:
    """Return the number of residues of each target that is done, by its folder."""
    records = sorted((results / "targets").glob("*/confidence.json"))
    return {path.parent: json.loads(path.read_text(encoding="utf-8"))["length"] for path in records}


def sizes_of(lengths: dict[Path, int], name: str) -> tuple[int, int, int]:
    """Return the bytes of a file of all targets that have it, their residues and their pairs of residues."""
    found = {folder: length for folder, length in lengths.items() if (folder / name).is_file()}
    total = sum((folder / name).stat().st_size for folder in found)
    return total, sum(found.values()), sum(length**2 for length in found.values())


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("results", type=Path, help="folder of a run")
    lengths = lengths_of(parser.parse_args(argv).results)
    if not lengths:
        parser.error("this folder has no target that is done")
    shown = ", ".join(f"{folder.name} ({length})" for folder, length in lengths.items())
    print(f"{len(lengths)} targets, residues: {shown}\n\n| file | bytes per residue | per pair |\n|---|---|---|")
    for name in sorted({path.name for folder in lengths for path in folder.iterdir() if path.is_file()}):
        total, residues, pairs = sizes_of(lengths, name)
        print(f"| `{name}` | {total / residues:,.0f} | {f'{total / pairs:.2f}' if name in PAIRS else ''} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
