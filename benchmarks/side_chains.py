"""Side chains built on real backbones: how many first torsions are right, and clashes, beside PDBFixer's.

    .venv/bin/python benchmarks/side_chains.py --structures DIR/*.pdb

Of each structure the backbone (N, CA, C, O) is kept and every side chain built anew, by our rotamers and by PDBFixer,
which takes the pose of its templates and minimises where atoms overlap. A first torsion is right within 40 degrees.
"""

import argparse
import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from machine import described, print_table

from models import residue_constants as rc
from pipeline import quality
from pipeline.protein import Protein, read_structure
from pipeline.quality.rotamers import chi_angles
from pipeline.relax.atoms import add_missing_atoms
from pipeline.relax.machine import choose_machine
from pipeline.relax.prepare import segments
from pipeline.side_chains.pack import build_side_chains

HEAD = (
    *("structure", "side chains", "chi-1 right: ours", "PDBFixer", "both chi right: ours", "PDBFixer"),
    *("clash score: ours", "PDBFixer", "experiment", "CPU s: ours", "PDBFixer"),
)
GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "pipeline" / "golden"
STRUCTURES = (GOLDEN / "1l2y_A.pdb", GOLDEN / "1bpi_A.pdb")
RIGHT = 40.0  # degrees
_BACKBONE = [rc.ATOM37_ID[name] for name in ("N", "CA", "C", "O")]


def main(argv: Sequence[str] | None = None) -> int:
    """Build the side chains of each structure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, nargs="+", default=STRUCTURES, help="mmCIF or PDB files")
    arguments = parser.parse_args(argv)
    os.environ.update(OPENMM_CPU_THREADS="1", OPENMM_DEFAULT_PLATFORM="CPU")
    print(described())
    print()
    print_table(HEAD, [])
    totals = np.zeros(5)
    for path in arguments.structures:
        row, counts = measured(path)
        print(f"| {' | '.join(map(str, row))} |", flush=True)
        totals += counts
    shares = totals[:4] / totals[4]
    print(f"\nOf {totals[4]:.0f} side chains chi-1 right: ours {shares[0]:.3f}, PDBFixer {shares[1]:.3f}; ", end="")
    print(f"chi-1 and chi-2: {shares[2]:.3f}, {shares[3]:.3f}.")
    return 0


def measured(path: Path) -> tuple[list[object], np.ndarray]:
    """Return a row of the table, and how many are right: chi-1 (ours, theirs), both (ours, theirs), of how many."""
    native = read_structure(path)
    runs = segments(native)[0]
    rows = [i for run in runs for i in range(run.start, run.stop) if native.atom37_mask[i, _BACKBONE].all()]
    mask = np.zeros_like(native.atom37_mask)
    mask[np.ix_(rows, _BACKBONE)] = True
    bare = dataclasses.replace(native, atom37_mask=mask, hydrogens=None)
    mine, cpu = _timed(lambda: build_side_chains(bare, rows))
    machine = choose_machine("CPU", 1)
    fixed, fixer_cpu = _timed(lambda: add_missing_atoms(bare, segments(bare)[0], machine)[0])
    (one, both), (fixer_one, fixer_both) = _right(mine, native), _right(fixed, native)
    count = int(np.isfinite(_chi(native)[:, 0]).sum())
    clash = [quality.assess(p)["clash_score"] for p in (mine, fixed, dataclasses.replace(native, hydrogens=None))]
    shares = [f"{value / count:.3f}" for value in (one, fixer_one, both, fixer_both)]
    row = [path.stem, count, *shares, *clash, f"{cpu:.1f}", f"{fixer_cpu:.1f}"]
    return row, np.array([one, fixer_one, both, fixer_both, count], float)


def _timed(build: Callable[[], Protein]) -> tuple[Protein, float]:
    began = time.process_time()
    protein = build()
    return protein, time.process_time() - began


def _chi(protein: Protein) -> np.ndarray:
    return chi_angles(protein.aatype, protein.atom37_positions, protein.atom37_mask)


def _right(model: Protein, native: Protein) -> tuple[int, int]:
    """Return how many side chains have the first torsion right, and the first two (or the only one)."""
    period = np.where(rc.CHI_PI_PERIODIC[native.aatype] > 0, 180.0, 360.0)
    offset = np.abs(np.mod(_chi(model) - _chi(native) + period / 2, period) - period / 2)
    measured = np.isfinite(_chi(native))
    wrong = measured & ~(offset < RIGHT)
    there = measured[:, 0]
    return int(np.sum(there & ~wrong[:, 0])), int(np.sum(there & ~wrong[:, :2].any(axis=1)))


if __name__ == "__main__":
    raise SystemExit(main())
