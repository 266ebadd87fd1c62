"""Make the parts of a target's page: its figures, its sequence, its numbers per residue."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from models import residue_constants as rc
from pipeline.protein import Protein
from pipeline.quality.assessment import finite, ramachandran_of
from pipeline.quality.backbone import backbone
from pipeline.quality.secondary import secondary_structure, three_states
from pipeline.report import chain, figures, maps, ramachandran
from pipeline.report.agreement import Agreement
from pipeline.report.bands import band_of
from pipeline.report.evidence import Evidence
from pipeline.report.faults import KINDS, Fault
from pipeline.report.ribbon import Fold, band_runs, ribbon_figure
from pipeline.report.viewer import coordinates, known_atoms
from pipeline.report.wording import Shown, templates_used

FIGURES = (
    "front",
    "side",
    "plddt",
    "depth",
    "displacement",
    "agreement",
    "coverage",
    "pae",
    "distances",
    "ramachandran",
    "comparison",
    "timing",
    "recycles",
)
COMPARED = {
    "violating_residues": "residues in violation",
    "clashes": "residues inside others, pairs",
    "clash_score": "clashes of 1,000 atoms",
    "bond_outliers": "unusual bonds",
    "angle_outliers": "unusual angles",
    "ramachandran_outliers": "Ramachandran outliers",
    "rotamer_outliers": "rotamer outliers",
    "twisted_peptides": "twisted peptide bonds",
}
"""Counts of the records of quality that are drawn before and after relaxation."""
GROUP = 10  # residues between numbers
QUARTER_TURN = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])  # about the vertical axis


@dataclasses.dataclass(frozen=True)
class Ten:
    """Up to ten residues of the sequence.

    Args:
        number: The user's number of the first.
        runs: (band or None, letters) of each run of one confidence band.
        digits: Tens of the pLDDT, a digit a residue: 9 is 90 and above.
        structure: `H`, `E` or `-`.
    """

    number: str
    runs: tuple[tuple[int | None, str], ...]
    digits: str
    structure: str


def fold(evidence: Evidence) -> Fold | None:
    """Return the model's backbone, ready to be drawn in its principal view; None where there is no model."""
    model = evidence.model
    if model is None or not known_atoms(model)[:, chain.CA].any():
        return None
    mask = known_atoms(model)
    structure = three_states(secondary_structure(model))
    drawn = Fold(model.atom37_positions, mask, band_of(_plddt(evidence, model)), structure)
    return drawn.turned(chain.principal_view(model.atom37_positions[mask[:, chain.CA], chain.CA]))


def target_figures(evidence: Evidence, settings: Shown, others: Sequence[Agreement] = ()) -> dict[str, Markup]:
    """Return the figures by name; those without evidence are empty."""
    return {
        **dict.fromkeys(FIGURES, Markup("")),
        **_pictures(evidence),
        **_along_the_chain(evidence, settings),
        **_maps(evidence),
        **_history(evidence),
        **_agreement(evidence, others),
    }


def target_sequence(evidence: Evidence) -> list[Ten]:
    """Return the sequence in groups of ten, with confidence where it is known."""
    letters = evidence.sequence
    known = evidence.plddt is not None and len(evidence.plddt) == len(letters)
    plddt = np.nan_to_num(evidence.plddt) if known and evidence.plddt is not None else np.zeros(len(letters))
    bands = band_of(plddt)
    structure, numbers = _structure(evidence), evidence.numbers(len(letters))
    groups = []
    for start in range(0, len(letters), GROUP):
        part = slice(start, start + GROUP)
        runs = [(band if known else None, letters[part][a:b]) for a, b, band in band_runs(bands[part])]
        digits = "".join(str(min(int(value // 10), 9)) for value in plddt[part]) if known else ""
        groups.append(Ten(numbers[start], tuple(runs), digits, structure[part]))
    return groups


def target_residues(evidence: Evidence, faults: Sequence[Fault]) -> dict[str, Any]:
    """Return the numbers per residue that the page's script shows and links: plain lists for JSON."""
    return {
        "sequence": evidence.sequence,
        "structure": _structure(evidence),
        "author": list(evidence.numbers(len(evidence.sequence))),
        "plddt": [finite(value, 1) for value in evidence.plddt.tolist()] if evidence.plddt is not None else [],
        "depth": list(evidence.search.get("depth") or ()),
        "neff": list(evidence.search.get("depth_neff_80") or ()),
        "moved": [finite(value, 2) for value in np.array(evidence.relax.get("displacement") or (), float).tolist()],
        "atoms": list(rc.ATOM37),
        "kinds": list(KINDS),
        "faults": [[fault.residue, fault.kind, fault.words] for fault in faults],
        "left": figures.LEFT,
        "right": figures.WIDTH - figures.RIGHT,
        "width": figures.WIDTH,
    }


def target_models(evidence: Evidence, others: Sequence[Agreement]) -> tuple[list[dict[str, Any]], str]:
    """Return what the viewer draws: the final model first, the prediction if that is another, the other predictions."""
    shown = [("relaxed", evidence.relaxed if evidence.status == "relaxed" else None), ("predicted", evidence.predicted)]
    models = [(name, model.atom37_positions, known_atoms(model)) for name, model in shown if model is not None]
    length = len(evidence.sequence)
    models = [(name, x, mask) for name, x, mask in models if mask.shape[0] == length and mask[:, chain.CA].any()]
    for other in others if models else ():
        positions = np.zeros((length, 37, 3))
        positions[:, chain.CA] = np.nan_to_num(other.ca)
        mask = np.zeros((length, 37), bool)
        mask[:, chain.CA] = np.isfinite(other.ca).all(axis=1)
        models.append((other.name, positions, mask))
    return coordinates(models)


def found_torsions(model: Protein) -> ramachandran.Torsions:
    """Return the torsions of a structure with names for people."""
    with np.errstate(invalid="ignore", over="ignore"):  # the coordinates may be anything
        shape = backbone(model)
        kind, _ = ramachandran_of(model, shape)
    names = [f"{model.residue_name(i).capitalize()} {model.author_number[i]}" for i in range(len(model))]
    return ramachandran.torsions(shape.phi, shape.psi, kind, names)


def _plddt(evidence: Evidence, model: Protein) -> np.ndarray:
    if evidence.plddt is not None and len(evidence.plddt) == len(model.aatype):
        return evidence.plddt
    return model.b_factor


def _structure(evidence: Evidence) -> str:
    model = evidence.model
    if model is None or len(model.aatype) != len(evidence.sequence):
        return ""
    return three_states(secondary_structure(model))


def _pictures(evidence: Evidence) -> dict[str, Markup]:
    drawn = fold(evidence)
    if drawn is None:
        return {}
    helix = sum(letter == "H" for letter in drawn.structure)
    strand = sum(letter == "E" for letter in drawn.structure)
    label = f"Backbone of the model, coloured by pLDDT: {helix} residues in helices, {strand} in strands"
    return {
        "front": ribbon_figure(drawn, f"{label}; seen along its thinnest axis.", key="ribbon-front"),
        "side": ribbon_figure(
            drawn.turned(QUARTER_TURN),
            f"{label}; a quarter turn about the vertical axis.",
            key="ribbon-side",
            size=(360, 400),
        ),
    }


def _along_the_chain(evidence: Evidence, settings: Shown) -> dict[str, Markup]:
    drawn = {}
    if evidence.plddt is not None and len(evidence.plddt):
        drawn["plddt"] = figures.plddt_figure(
            evidence.plddt, evidence.numbers(len(evidence.plddt)), _structure(evidence), evidence.expected_structure
        )
    if depth := evidence.search.get("depth"):
        effective = np.array(evidence.search.get("depth_neff_80") or (), float)
        numbers = evidence.numbers(len(depth))
        drawn["depth"] = figures.depth_figure(np.array(depth, float), numbers, settings.few_rows, effective)
    if displacement := evidence.relax.get("displacement"):
        drawn["displacement"] = figures.displacement_figure(
            np.array(displacement, float), evidence.numbers(len(displacement))
        )
    hits = list(evidence.templates.get("hits") or ())[: settings.template_rows]
    if hits:
        numbers = evidence.numbers(len(evidence.sequence))
        drawn["coverage"] = figures.coverage_figure(hits, templates_used(evidence), numbers)
    return drawn


def _agreement(evidence: Evidence, others: Sequence[Agreement]) -> dict[str, Markup]:
    if not others:
        return {}
    curves = [(other.name, other.per_residue) for other in others]
    return {"agreement": figures.agreement_figure(curves, evidence.numbers(len(evidence.sequence)))}


def _maps(evidence: Evidence) -> dict[str, Markup]:
    drawn = {}
    if evidence.pae is not None and evidence.pae.size:
        drawn["pae"] = maps.pae_figure(evidence.pae, evidence.numbers(len(evidence.pae)))
    if (model := evidence.model) is not None:
        present = known_atoms(model)[:, chain.CA]
        numbers = evidence.numbers(len(model))
        drawn["distances"] = maps.distance_figure(model.atom37_positions[:, chain.CA], present, numbers)
        after = evidence.relaxed if evidence.status == "relaxed" else None
        pair = (("as predicted", evidence.predicted), ("after relaxation", after))
        panels = [(title, found_torsions(protein)) for title, protein in pair if protein is not None]
        drawn["ramachandran"] = ramachandran.ramachandran_figure(panels)
    return drawn


def _history(evidence: Evidence) -> dict[str, Markup]:
    drawn = {}
    before, after = evidence.violations_before, evidence.relax.get("violations_after") or {}
    rows = [(words, before.get(key), after.get(key)) for key, words in COMPARED.items()]
    known = [(words, float(b), float(a)) for words, b, a in rows if b is not None and a is not None and (a or b)]
    if known and evidence.status == "relaxed":
        drawn["comparison"] = figures.comparison_figure(known)
    if evidence.seconds:
        drawn["timing"] = figures.timing_figure(evidence.seconds)
    changes = [float(value) for value in evidence.confidence.get("ca_change") or ()]
    if changes:
        drawn["recycles"] = figures.recycle_figure(changes)
    return drawn
