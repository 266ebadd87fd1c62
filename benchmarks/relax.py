"""Relaxation beside the published one: CPU seconds, violations, clashes, how far atoms move, failures.

    .venv/bin/python benchmarks/relax.py --noise 0.3 0.5

Each structure gets normal noise of the given width on every coordinate; missing atoms are built before. The structures
are those of the tests unless others are given (1L2Y, Trp-cage, 20 residues; 1BPI, BPTI, 58 residues). `--nasty` adds
inputs that break relaxations, `--predictions` files of `targets/NAME/` as they are, `NAME.pdb` of `--natives` their
native. `--budgets` relaxes 2,000 residues with 20 overlaps in so many seconds instead. `--peer` runs `alphafold.relax`
of alphafold-colabfold (`./foldline test --parity` brings it) on the same inputs, in turn with ours, at the same
tolerance, at most three rounds of 2,000 iterations. Its first call for each length compiles its test of violations, as
it does for whoever uses it; `--warm` runs it twice and counts the second.
"""

import argparse
import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import described, print_table
from relax_inputs import large, nasty, noisy

from models import residue_constants as rc
from pipeline import compare, quality
from pipeline.evaluate.pairs import pair_residues
from pipeline.protein import Protein, read_structure
from pipeline.protein_writer import write_pdb
from pipeline.relax.prepare import segments
from pipeline.relax.rebuild import rebuild
from pipeline.relax.settings import Settings
from pipeline.relax.stage import relax, relax_isolated

HEAD = (
    *("structure", "residues", "noise A", "who", "status", "rung", "iterations"),
    *("CPU s", "of which minimisation", "wall s", "violating before", "violating after"),
    *("clash score before", "clash score after"),
    *("CA moved A", "CA-lDDT to the native", "D residues", "twisted peptides", "energy kcal/mol"),
)
# Where more is better 1, where less is -1.
COMPARED = {
    **dict.fromkeys(("violating after", "clash score after", "CA moved A", "D residues", "twisted peptides"), -1),
    "CA-lDDT to the native": 1,
}
GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "pipeline" / "golden"
STRUCTURES = (GOLDEN / "1l2y_A.pdb", GOLDEN / "1bpi_A.pdb")
KCAL_PER_ANGSTROM = 0.239  # the tolerance of both: 10 kJ/mol/nm
_CA = rc.ATOM37_ID["CA"]


@dataclasses.dataclass
class Clock:
    """CPU seconds of the calls of one function."""

    seconds: float = 0.0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, timed."""

        def timed(*arguments: Any, **named: Any) -> Any:
            began = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds += time.process_time() - began

        return timed


@dataclasses.dataclass(frozen=True)
class Done:
    """What one relaxation gave; `protein` is None where it failed."""

    protein: Protein | None
    status: str
    rung: str
    iterations: object
    cpu: float
    minimisation: float
    wall: float
    energy: object = ""


def ours(start: Protein, threads: int) -> Done:
    """Relax with the settings' defaults."""
    from pipeline.relax import smooth  # noqa: PLC0415
    from pipeline.relax.minimise import Minimiser  # noqa: PLC0415

    clock, original, smoothing = Clock(), Minimiser.minimise, smooth.smooth
    Minimiser.minimise = clock.wrap(original)  # type: ignore[method-assign]
    smooth.smooth = clock.wrap(smoothing)
    began, wall = time.process_time(), time.monotonic()
    try:
        result = relax(start, Settings(tolerance=KCAL_PER_ANGSTROM, threads=threads))
    finally:
        Minimiser.minimise, smooth.smooth = original, smoothing  # type: ignore[method-assign]
    cpu, wall = time.process_time() - began, time.monotonic() - wall
    record = result.record
    return Done(
        result.protein, record.status, record.rung, record.iterations, cpu, clock.seconds, wall, record.energy_after
    )


def theirs(start: Protein, folder: Path) -> Done:
    """Relax with `alphafold.relax`; whatever it raises is a failure."""
    from alphafold.common import protein as peer_protein  # noqa: PLC0415
    from alphafold.relax import relax as peer_relax  # noqa: PLC0415
    from openmm.app import Simulation  # noqa: PLC0415

    relaxer = peer_relax.AmberRelaxation(
        max_iterations=2000,
        tolerance=KCAL_PER_ANGSTROM,
        stiffness=10.0,
        exclude_residues=[],
        max_outer_iterations=3,
        use_gpu=False,
    )
    clock, original = Clock(), Simulation.minimizeEnergy
    Simulation.minimizeEnergy = clock.wrap(original)
    began, wall = time.process_time(), time.monotonic()
    try:
        write_pdb(folder / "start.pdb", dataclasses.replace(start, hydrogens=None))
        prot = peer_protein.from_pdb_string((folder / "start.pdb").read_text(encoding="utf-8"))
        text, facts, _ = relaxer.process(prot=prot)
        status, energy = "relaxed", f"{float(np.ravel(facts['final_energy'])[-1]):.1f}"
    except Exception as error:  # noqa: BLE001 - any way in which it fails counts
        text, status, energy = "", type(error).__name__, ""
    finally:
        Simulation.minimizeEnergy = original
    cpu, wall = time.process_time() - began, time.monotonic() - wall
    return Done(_read(text, folder, start), status, "", "", cpu, clock.seconds, wall, energy)


def _read(text: str, folder: Path, start: Protein) -> Protein | None:
    """Read what they wrote; None where it does not hold the residues that went in."""
    if not text:
        return None
    (folder / "theirs.pdb").write_text(text, encoding="utf-8")
    protein = read_structure(folder / "theirs.pdb")
    return dataclasses.replace(protein, residue_index=start.residue_index) if len(protein) == len(start) else None


def main(argv: Sequence[str] | None = None) -> int:
    """Relax each structure with each noise and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, nargs="+", default=STRUCTURES, help="mmCIF or PDB files")
    parser.add_argument("--noise", type=float, nargs="*", default=[0.1, 0.3], help="A (default: %(default)s)")
    parser.add_argument("--predictions", type=Path, nargs="*", default=[], help="predicted.cif of targets, too")
    parser.add_argument("--natives", type=Path, default=Path(), help="folder of their natives")
    parser.add_argument("--budgets", type=float, nargs="*", default=[], help="seconds")
    parser.add_argument("--nasty", action="store_true", help="inputs that break relaxations, too")
    parser.add_argument("--peer", action="store_true", help="run alphafold.relax beside ours")
    parser.add_argument("--warm", action="store_true", help="run each twice and count the second")
    parser.add_argument("--threads", type=int, default=1, help="of both (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=Path(), help="folder for two files of the peer")
    arguments = parser.parse_args(argv)
    os.environ.update(OPENMM_CPU_THREADS=str(arguments.threads), OPENMM_DEFAULT_PLATFORM="CPU")
    print(described())
    print()
    relax(read_structure(STRUCTURES[0]), Settings(iterations=1))  # loads OpenMM and the force field
    if arguments.budgets:
        print_table(("budget s", "wall s", "over", "status", "reason"), budgets(arguments.budgets))
        return 0
    rows: list[list[object]] = []
    print_table(HEAD, [])
    for name, native, noise, start in inputs(arguments):
        for done, who in _runs(start, arguments):
            rows.append(_row((name, len(start), noise, who), done, start, native))
            print(f"| {' | '.join(map(str, rows[-1]))} |", flush=True)
    if arguments.peer:
        print(f"\n{summary(rows)}")
    return 0


def inputs(arguments: argparse.Namespace) -> list[tuple[str, Protein, float, Protein]]:
    """Return name, native, noise and start of each case."""
    cases = []
    for path in arguments.structures:
        native = read_structure(path)
        native = rebuild(native, segments(native)[0]).protein
        cases += [(path.stem, native, width, noisy(native, width)) for width in arguments.noise]
    for path in arguments.predictions:
        native = _of_sequence(read_structure(arguments.natives / f"{path.parent.name}.pdb"), read_structure(path))
        cases.append((path.parent.name, native, 0.0, read_structure(path)))
    if arguments.nasty:
        natives = [read_structure(path) for path in STRUCTURES]
        cases += [(name, protein, 0.0, protein) for name, protein in nasty(*natives).items()]
    return cases


def _of_sequence(native: Protein, predicted: Protein) -> Protein:
    """Return the native's atoms in the rows of the prediction, by aligning the sequences."""
    partner = pair_residues(predicted, native, "sequence")
    rows, mask = partner.real, np.zeros_like(predicted.atom37_mask)
    positions = np.zeros_like(predicted.atom37_positions)
    mask[partner.model[rows]] = native.atom37_mask[rows]
    positions[partner.model[rows]] = native.atom37_positions[rows]
    return dataclasses.replace(predicted, atom37_positions=positions, atom37_mask=mask)


def budgets(seconds: Sequence[float]) -> list[list[object]]:
    """Relax a structure that takes longer than it may; return what came of it by budget."""
    protein = large(read_structure(STRUCTURES[0]))
    rows: list[list[object]] = []
    for budget in seconds:
        began = time.monotonic()
        record = relax_isolated(protein, Settings(seconds=budget)).record
        wall = time.monotonic() - began
        rows.append([budget, f"{wall:.1f}", f"{wall / budget - 1:+.0%}", record.status, record.reason])
    return rows


def _runs(start: Protein, arguments: argparse.Namespace) -> list[tuple[Done, str]]:
    runs = [(ours(start, arguments.threads), "ours")]
    if arguments.peer:
        for _ in range(2 if arguments.warm else 1):
            done = theirs(start, arguments.work)
        runs.append((done, "theirs"))
    return runs


def _row(case: tuple[object, ...], done: Done, start: Protein, native: Protein) -> list[object]:
    before = quality.assess(start)
    measured: list[object] = [""] * 7
    if done.protein is not None:
        after = quality.assess(done.protein)
        ca = start.atom37_mask[:, _CA] & done.protein.atom37_mask[:, _CA]
        ca &= np.isfinite(start.atom37_positions[:, _CA]).all(axis=-1)
        x, y = (p.atom37_positions[ca, _CA].astype(np.float64) for p in (done.protein, start))
        apart = float(np.sqrt(((x - y) ** 2).sum(-1).mean()))
        measured = [after["violating_residues"], after["clash_score"], f"{apart:.3f}", _to_native(done.protein, native)]
        measured += [after["d_residues"], after["twisted_peptides"], done.energy]
    seconds = [f"{value:.2f}" for value in (done.cpu, done.minimisation, done.wall)]
    return [
        *(*case, done.status, done.rung, done.iterations, *seconds),
        *(before["violating_residues"], measured[0], before["clash_score"], *measured[1:]),
    ]


def _to_native(protein: Protein, native: Protein) -> str:
    there = native.atom37_mask[:, _CA] & protein.atom37_mask[:, _CA]
    there &= np.isfinite(native.atom37_positions[:, _CA]).all(axis=-1)
    x, z = (p.atom37_positions[there, _CA].astype(np.float64) for p in (protein, native))
    return f"{compare.lddt(x, z).score:.3f}"


def summary(rows: Sequence[Sequence[object]]) -> str:
    """Return the medians of the ratios ours to theirs where both have a structure, and where ours is worse."""
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    both = [(a, b) for a, b in pairs if a[4] == b[4] == "relaxed" and b[10] != ""]
    column = {name: k for k, name in enumerate(HEAD)}
    lines = [f"Ours to theirs, {len(both)} inputs that both relaxed:"]
    for name in ("CPU s", "of which minimisation"):
        ratios = [float(str(a[column[name]])) / max(float(str(b[column[name]])), 1e-3) for a, b in both]
        lines.append(f"- {name}: median {np.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")
    for name, better in COMPARED.items():
        ours, theirs = (np.array([float(str(row[column[name]])) for row in side]) for side in zip(*both, strict=True))
        worse = better * (theirs - ours) > 0
        most = np.abs(ours - theirs)[worse].max(initial=0)
        means = f"mean {ours.mean():.3f}, theirs {theirs.mean():.3f}"
        lines.append(f"- {name}: {means}; worse in {worse.sum()}, by at most {most:.3f}")
    failed = [sum(row[4] != "relaxed" for row in side) for side in zip(*pairs, strict=True)]
    return "\n".join([*lines, f"Not relaxed of {len(pairs)}: ours {failed[0]}, theirs {failed[1]}."])


if __name__ == "__main__":
    raise SystemExit(main())
