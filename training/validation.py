"""Judge a run against experimental structures: accuracy, side chains, geometry and confidence, by template identity.

    ./foldline run targets.fasta --outdir results
    python -m training.validation --run results --references DIR [--others promod3=DIR]

DIR holds `NAME.pdb` or `NAME.cif` of each target. The structures of other methods, in the same naming, stand in rows of
their own; a target without one counts with scores of 0, and only for accuracy.
"""

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models import residue_constants as rc
from pipeline import quality, records
from pipeline.errors import RecordError
from pipeline.evaluate.pairs import Pairs, pair_residues
from pipeline.evaluate.scores import evaluate
from pipeline.predict.records import CONFIDENCE_SCHEMA
from pipeline.protein import Protein, read_structure
from pipeline.quality.accessibility import accessible_surface, relative_surface
from pipeline.quality.rotamers import chi_angles
from pipeline.quality.secondary import likeliest_states, secondary_structure, three_states
from pipeline.text_table import aligned
from training import curve
from training.guard import guarded

BINS = {"above 50 %": (0.5, 1.01), "30 to 50 %": (0.3, 0.5), "below 30 %": (1e-9, 0.3), "no template": (-1.0, 1e-9)}
RIGHT = 40.0  # degrees by which a first torsion may be off
BURIED = 0.25  # relative accessible surface of the reference below which a residue is buried
RIGHT_FOLD = 0.5  # TM-score from which a fold is right
_KINDS = ("predicted", "relaxed")
_MEANS = ("CA-lDDT", "lDDT", "TM-score", "GDT-TS")
_SUMS = ("chi-1 right", "buried", "Q3", "Q3 expected", "bonds off", "angles off", "CA clashes", "favoured")


@dataclasses.dataclass(frozen=True)
class Judged:
    """One structure beside its reference.

    Args:
        scores: CA-lDDT, lDDT, TM-score, GDT-TS, 0-1.
        counts: By name (how many, of how many); those of `_SUMS`.
        plddt: Of the residues of the reference, 0-1, nan where there is none, shape (n,).
        ca_lddt: Of the same residues, shape (n,).
    """

    scores: tuple[float, ...]
    counts: Mapping[str, tuple[float, float]]
    plddt: np.ndarray
    ca_lddt: np.ndarray


MISSING = Judged((0.0,) * len(_MEANS), {}, np.empty(0), np.empty(0))


def judge(model: Protein, reference: Protein, expected: str = "") -> Judged:
    """Measure a structure and compare it with the experiment.

    Args:
        model: The structure.
        reference: The experiment.
        expected: Secondary structure that a network expects, `H`, `E` or `-` for each residue of the model.
    """
    found, pairs = evaluate(model, reference), pair_residues(model, reference)
    scores = (found.ca_lddt, found.lddt, found.tm_score, found.gdt_ts)
    lddt = np.array([math.nan if value is None else value for value in found.per_residue["ca_lddt"]])
    plddt = np.where(pairs.model >= 0, model.b_factor[pairs.model], np.nan) / 100
    counts = _side_chains(model, reference, pairs) | _states(model, reference, pairs, expected) | _geometry(model)
    return Judged(scores, counts, plddt, lddt)


def _side_chains(model: Protein, reference: Protein, pairs: Pairs) -> dict[str, tuple[float, float]]:
    """Return how many first torsions are those of the reference."""
    real = pairs.real
    ours, theirs = (_first_torsion(protein)[rows] for protein, rows in ((model, pairs.model[real]), (reference, real)))
    known = np.isfinite(ours) & np.isfinite(theirs) & (model.aatype[pairs.model[real]] == reference.aatype[real])
    right = known & (np.abs((ours - theirs + 180) % 360 - 180) <= RIGHT)
    hidden = known & (relative_surface(reference.aatype, accessible_surface(reference))[real] < BURIED)
    return {"chi-1 right": (right.sum(), known.sum()), "buried": ((right & hidden).sum(), hidden.sum())}


def _states(model: Protein, reference: Protein, pairs: Pairs, expected: str) -> dict[str, tuple[float, float]]:
    """Return how many states of secondary structure are those of the reference, built and expected."""
    real = pairs.real
    built, wanted = (three_states(secondary_structure(protein)) for protein in (model, reference))
    counts: dict[str, tuple[float, float]] = {}
    for name, states in (("Q3", built), ("Q3 expected", expected)):
        if states:
            same = np.array(list(states))[pairs.model[real]] == np.array(list(wanted))[real]
            counts[name] = (same.sum(), len(same))
    return counts


def _first_torsion(protein: Protein) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return chi_angles(protein.aatype, protein.atom37_positions, protein.atom37_mask)[:, 0]


def _geometry(model: Protein) -> dict[str, tuple[float, float]]:
    counted = quality.assess(model)
    n = len(model)
    bonds = _number_of(rc.BONDS, model) + n - 1
    angles = _number_of(rc.ANGLES, model) + 2 * (n - 1)
    return {
        "bonds off": (counted["bond_outliers"] or 0, bonds),
        "angles off": (counted["angle_outliers"] or 0, angles),
        "CA clashes": (counted["ca_clashes"] or 0, n / 100),
        "favoured": ((counted["ramachandran_favoured"] or 0) * n, n),
    }


def _number_of(source: Mapping[str, Sequence[Any]], model: Protein) -> int:
    """Return how many bonds or angles the residues have."""
    return sum(len(source.get(letter, ())) for letter in model.sequence)


def identities(run: Path, longest: float = math.inf) -> dict[str, float]:
    """Return the identity of each target's best template that the network was shown; 0 where it saw none.

    Args:
        run: Output folder of a run.
        longest: Targets of more residues are left out.
    """
    table = json.loads((run / "summary.json").read_text(encoding="utf-8"))["targets"]
    return {row["name"]: float(row["best_identity"] or 0.0) for row in table if row["length"] <= longest}


def structure_of(folder: Path, name: str) -> Protein | None:
    """Read the structure of a name in a folder; None where there is none."""
    paths = [folder / f"{name}{end}" for end in (".cif", ".pdb")]
    return next((read_structure(path) for path in paths if path.exists()), None)


def expected_states(folder: Path) -> str:
    """Return the secondary structure that the network expects of a target; nothing where it has no such head."""
    path = folder / "confidence.npz"
    arrays = records.read_npz(path, CONFIDENCE_SCHEMA) if path.exists() else {}
    return likeliest_states(arrays.get("secondary_structure", np.empty((0, 3))))


def judged_run(
    run: Path, names: Sequence[str], references: Path, others: Mapping[str, Path]
) -> dict[str, dict[str, Judged]]:
    """Return what was judged, by method and target, of the targets that are named.

    Raises:
        RecordError: No target of the run has a reference.
    """
    found: dict[str, dict[str, Judged]] = {name: {} for name in (*_KINDS, *others)}
    for name in names:
        if (reference := structure_of(references, name)) is None:
            continue
        places = {kind: (run / "targets" / name, kind) for kind in _KINDS}
        for method, (folder, file) in (places | {other: (path, name) for other, path in others.items()}).items():
            model = structure_of(folder, file)
            expected = expected_states(folder) if method == "predicted" else ""
            found[method][name] = judge(model, reference, expected) if model else MISSING
    if not any(found.values()):
        raise RecordError("no target of this run has a reference", str(references), "name the files after the targets")
    return found


def rows(found: Mapping[str, Mapping[str, Judged]], identity: Mapping[str, float]) -> Iterator[list[str]]:
    """Give the table: a row for each method and bin of template identity."""
    for label, (low, high) in {**BINS, "all": (-1.0, 1.01)}.items():
        for method, judged in found.items():
            chosen = [one for name, one in judged.items() if low <= identity[name] < high]
            if chosen:
                right = sum(one.scores[_MEANS.index("TM-score")] >= RIGHT_FOLD for one in chosen)
                yield [label, method, str(len(chosen)), str(right), *_means(chosen), *_shares(chosen)]


def _means(chosen: Sequence[Judged]) -> list[str]:
    return [f"{value:.3f}" for value in np.mean([one.scores for one in chosen], axis=0)]


def _shares(chosen: Sequence[Judged]) -> list[str]:
    sums = [np.sum([one.counts.get(name, (0.0, 0.0)) for one in chosen], axis=0) for name in _SUMS]
    return [f"{part / whole:.3f}" if whole else "-" for part, whole in sums]


def calibration(judged: Sequence[Judged]) -> Iterator[list[str]]:
    """Give a row for each tenth of pLDDT: residues, mean pLDDT, mean lDDT; then the correlations."""
    judged = [one for one in judged if len(one.plddt)]
    plddt, lddt = (
        np.concatenate([np.empty(0), *(getattr(one, name) for one in judged)]) for name in ("plddt", "ca_lddt")
    )
    known = np.isfinite(plddt) & np.isfinite(lddt)
    plddt, lddt = plddt[known], lddt[known]
    tenth = np.minimum((10 * plddt).astype(int), 9)
    for k in np.unique(tenth):
        here = tenth == k
        yield [
            f"{k / 10:.1f} to {(k + 1) / 10:.1f}",
            str(here.sum()),
            f"{plddt[here].mean():.3f}",
            f"{lddt[here].mean():.3f}",
        ]
    means = np.array([(np.nanmean(one.plddt), np.nanmean(one.ca_lddt)) for one in judged]).reshape(-1, 2)
    yield ["correlation", "of residues", _correlation(plddt, lddt), ""]
    yield ["correlation", "of targets", _correlation(*means.T), ""]


def calibration_curve(judged: Sequence[Judged]) -> str:
    """Draw mean CA-lDDT by mean pLDDT of each tenth, beside what would be right, as SVG."""
    tenths = [row for row in calibration(judged) if row[0] != "correlation"]
    plddt, lddt = (np.array([float(row[k]) for row in tenths]) for k in (2, 3))
    ends = np.array([0.0, 1.0])
    curves = {"ideal": (ends, ends)} | ({"predicted": (plddt, lddt)} if tenths else {})
    return curve.drawing([curve.panel(curves, "CA-lDDT of residues by pLDDT", 0.0, "pLDDT")])


def _correlation(one: np.ndarray, other: np.ndarray) -> str:
    """Return Pearson's correlation in words; none of fewer than two values, or of values that are all alike."""
    varied = len(one) > 1 and min(np.ptp(one), np.ptp(other)) > 0
    return f"{np.corrcoef(one, other)[0, 1]:.3f}" if varied else "-"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m training.validation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="output folder of foldline run")
    parser.add_argument("--references", type=Path, required=True, help="folder of experimental structures")
    parser.add_argument("--others", nargs="*", default=[], metavar="NAME=DIR", help="structures of other methods")
    parser.add_argument("--longest", type=float, default=math.inf, help="leave out targets of more residues")
    parser.add_argument("--figure", type=Path, help="SVG file of the calibration to write")
    arguments = parser.parse_args(argv)
    others = {name: Path(folder) for name, _, folder in (text.partition("=") for text in arguments.others)}
    identity = identities(arguments.run, arguments.longest)
    found = judged_run(arguments.run, list(identity), arguments.references, others)
    table = list(rows(found, identity))
    sys.stdout.write(aligned([("template", "method", "targets", "folds right", *_MEANS, *_SUMS), *table]))
    predicted = list(found["predicted"].values())
    heads = ("pLDDT", "residues", "mean pLDDT", "mean CA-lDDT")
    sys.stdout.write("\n" + aligned([heads, *calibration(predicted)]))
    if arguments.figure:
        records.write_text(arguments.figure, calibration_curve(predicted))
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(main))
