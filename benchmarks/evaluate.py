"""`foldline evaluate` beside OpenStructure's lDDT, TMalign and TMscore, on natives with noise and on predictions.

    .venv/bin/python benchmarks/evaluate.py --references shared/validation/structures/*.pdb --noise 0.3 1 3

`--predictions results/targets` compares `NAME/predicted.cif` there with the reference of that name too. The other
programs get the model with the numbers of the reference; TMalign is given the alignment. `--seconds` times 100 to 2,000
residues.
"""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import structure_references as references
from machine import described, print_table
from quality import LENGTHS, STRUCTURES, stacked

from pipeline.evaluate.pairs import pair_residues
from pipeline.evaluate.scores import Evaluation, evaluate
from pipeline.protein import Protein, read_structure
from pipeline.protein_writer import write_pdb

HEAD = (
    *("model", "residues", "lDDT", "OpenStructure", "CA-lDDT", "OpenStructure"),
    *("TM-score", "TMalign", "TMscore", "GDT-TS", "TMscore"),
)
SEED = 1


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and its reference."""

    name: str
    model: Protein
    reference: Protein


def main(argv: Sequence[str] | None = None) -> int:
    """Compare and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", type=Path, nargs="+", default=STRUCTURES, help="mmCIF or PDB files")
    parser.add_argument("--noise", type=float, nargs="*", default=[0.3, 1.0, 3.0], help="A (default: %(default)s)")
    parser.add_argument("--predictions", type=Path, nargs="*", default=[], help="folders of targets")
    parser.add_argument("--seconds", action="store_true", help="time several lengths instead")
    arguments = parser.parse_args(argv)
    natives = {path.stem: read_structure(path) for path in arguments.references}
    print(described(), end="\n\n")
    if arguments.seconds:
        print_table(("residues", "CPU s"), [timed(next(iter(natives.values())), n) for n in LENGTHS])
        return 0
    cases = [*noisy_cases(natives, arguments.noise), *predicted_cases(natives, arguments.predictions)]
    with tempfile.TemporaryDirectory() as temporary:
        rows = compared(cases, Path(temporary))
    print_table(HEAD, [[name, *(_text(value) for value in values)] for name, *values in rows])
    for ours, theirs in ((2, 3), (4, 5), (6, 7), (6, 8), (9, 10)):
        pairs = [(row[ours], row[theirs]) for row in rows if row[theirs] is not None]
        if pairs:
            off = np.subtract(*np.array(pairs, float).T)
            print(f"{HEAD[ours]} less {HEAD[theirs]}: {off.min():+.5f} to {off.max():+.5f} on {len(pairs)} pairs")
    return 0


def _text(value: float | None) -> str:
    return "-" if value is None else str(value) if isinstance(value, int) else f"{value:.5f}"


def noisy(protein: Protein, scale: float, seed: int = SEED) -> Protein:
    """Move every coordinate by normal noise of a width in angstrom, to the thousandth that PDB files hold."""
    moved = protein.atom37_positions + np.random.default_rng(seed).normal(scale=scale, size=(len(protein), 37, 3))
    return dataclasses.replace(protein, atom37_positions=np.round(moved, 3).astype(np.float32))


def noisy_cases(natives: dict[str, Protein], scales: Sequence[float]) -> list[Case]:
    """Return each native with each noise."""
    return [Case(f"{name} {scale} A", noisy(one, scale), one) for name, one in natives.items() for scale in scales]


def predicted_cases(natives: dict[str, Protein], folders: Sequence[Path]) -> list[Case]:
    """Return the predictions of natives in folders of targets."""
    paths = [(name, folder / name / "predicted.cif") for folder in folders for name in natives]
    return [Case(f"{name} predicted", read_structure(path), natives[name]) for name, path in paths if path.exists()]


def compared(cases: Sequence[Case], folder: Path) -> list[tuple]:
    """Return a row of HEAD for each case; None where a program is not installed."""
    files = [_written(case, folder / str(k)) for k, case in enumerate(cases)]
    ours = [evaluate(case.model, case.reference) for case in cases]
    lddt = references.openstructure(files) if references.here("ost") else [(None, None)] * len(cases)
    has_align, has_score = references.here("TMalign"), references.here("TMscore")
    rows = []
    for case, found, pair, (all_atoms, ca) in zip(cases, ours, files, lddt, strict=True):
        aligned = references.tm_align(*pair, _aligned(case), folder) if has_align else None
        tm, gdt = references.tm_score(*pair) if has_score else (None, None)
        rows.append(_row(case, found, (all_atoms, ca, aligned, tm, gdt)))
    return rows


def _row(case: Case, found: Evaluation, theirs: tuple) -> tuple:
    all_atoms, ca, aligned, tm, gdt = theirs
    scores = (found.lddt, all_atoms, found.ca_lddt, ca, found.tm_score, aligned, tm, found.gdt_ts, gdt)
    return (case.name, found.residues, *scores)


def _written(case: Case, folder: Path) -> tuple[Path, Path]:
    """Write the model's paired residues with the reference's numbers, and the reference."""
    pairs = pair_residues(case.model, case.reference)
    rows, wanted = pairs.model[pairs.real], pairs.real
    names = ("aatype", "atom37_positions", "atom37_mask", "b_factor")
    arrays = {name: getattr(case.model, name)[rows] for name in names}
    numbers = tuple(case.reference.author_number[i] for i in wanted)
    places = {name: getattr(case.reference, name)[wanted] for name in ("residue_index", "chain_id")}
    model = dataclasses.replace(case.model, **arrays, **places, author_number=numbers, hydrogens=None)
    folder.mkdir()
    files = folder / "model.pdb", folder / "reference.pdb"
    write_pdb(files[0], model)
    write_pdb(files[1], case.reference)
    return files


def _aligned(case: Case) -> tuple[str, str]:
    partner = pair_residues(case.model, case.reference).model
    model = "".join(case.model.sequence[i] if i >= 0 else "-" for i in partner)
    return model, case.reference.sequence


def timed(protein: Protein, length: int) -> tuple[int, str]:
    """Return residues and CPU seconds of `evaluate` for copies of a protein, as one chain, with noise."""
    copies = stacked(protein, length)
    numbers = tuple(str(k + 1) for k in range(length))
    one = dataclasses.replace(copies, chain_id=np.full(length, "A"), author_number=numbers)
    model = noisy(one, 1.0)
    began = time.process_time()
    evaluate(model, one)
    return length, f"{time.process_time() - began:.2f}"


if __name__ == "__main__":
    raise SystemExit(main())
