"""Time and effect of relaxation on structures with noise: CPU seconds, iterations, residues in violation.

    .venv/bin/python benchmarks/relax.py --noise 0.1 0.3

The structures are those of the tests (1L2Y, Trp-cage, 20 residues; 1BPI, BPTI, 58 residues); every coordinate gets
normal noise of the given width. One thread, the settings' defaults.
"""

import argparse
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from machine import described, print_table

from pipeline.protein import Protein, read_structure
from pipeline.relax.stage import Settings, relax

HEAD = (
    *("structure", "residues", "noise A", "status", "rung", "iterations", "CPU s", "wall s"),
    *("violating before", "after", "energy before kcal/mol", "after", "CA moved A"),
)
GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "pipeline" / "golden"
STRUCTURES = (GOLDEN / "1l2y_A.pdb", GOLDEN / "1bpi_A.pdb")
SEED = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Relax each structure with each noise and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, nargs="+", default=STRUCTURES, help="mmCIF or PDB files")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.1, 0.3], help="A (default: %(default)s)")
    arguments = parser.parse_args(argv)
    print(described())
    print()
    proteins = [(path.stem, read_structure(path)) for path in arguments.structures]
    relax(proteins[0][1], Settings(iterations=1))  # loads OpenMM and the force field
    print_table(HEAD, [row(name, protein, noise) for name, protein in proteins for noise in arguments.noise])
    return 0


def row(name: str, protein: Protein, noise: float) -> list[object]:
    """Relax one structure; return a row of the table."""
    rng = np.random.default_rng(SEED)
    moved = protein.atom37_positions + rng.normal(scale=noise, size=protein.atom37_positions.shape)
    start = dataclasses.replace(protein, atom37_positions=moved.astype(np.float32))
    cpu_began = time.process_time()
    record = relax(start, Settings()).record
    cpu = time.process_time() - cpu_began
    violating = [found["violating_residues"] for found in (record.violations_before, record.violations_after)]
    return [
        *(name, len(protein), noise, record.status, record.rung, record.iterations),
        *(f"{cpu:.1f}", f"{record.seconds:.1f}", *violating),
        *(record.energy_before, record.energy_after, record.ca_rmsd),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
