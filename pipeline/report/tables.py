"""Make the rows of a target's tables: templates, energies, violations, what was done, what to cite."""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from models import residue_constants as rc
from pipeline.report.agreement import Agreement
from pipeline.report.evidence import Evidence
from pipeline.report.faults import KINDS, Fault
from pipeline.report.figures import aligned_runs
from pipeline.report.ramachandran import shares
from pipeline.report.target import found_torsions
from pipeline.report.wording import why_not

MISSING = "\u2013"
QUALITY = {
    "violating_residues": "Residues in violation",
    "violation_fraction": "Share of residues in violation",
    "bond_violations": "Peptide bond of wrong length, residues",
    "angle_violations": "Peptide bond at wrong angle, residues",
    "clash_violations": "Inside another residue, residues",
    "within_violations": "Distorted within, residues",
    "clashes": "Clashing pairs of residues",
    "ca_clashes": "CA atoms closer than 3.5 Å, pairs",
    "clash_score": "Clash score, with hydrogens, of 1,000 atoms",
    "bond_outliers": "Bonds beyond 4 deviations",
    "angle_outliers": "Angles beyond 4 deviations",
    "plane_outliers": "Groups out of plane, residues",
    "cb_outliers": "CB atoms off by 0.25 Å or more",
    "ramachandran_outliers": "Ramachandran outliers",
    "rotamer_outliers": "Rotamer outliers",
    "chain_breaks": "Chain breaks",
    "cis_peptides": "Cis peptide bonds",
    "twisted_peptides": "Twisted peptide bonds",
    "d_residues": "Residues of the wrong chirality (D)",
    "missing_atoms": "Missing atoms",
    "atoms_not_finite": "Atoms without coordinates",
    "unknown_residues": "Unknown residues",
}
DESCRIPTIVE = (  # of the record of quality: no fault, or in another table
    "residues",
    "ramachandran_favoured",
    "ramachandran_allowed",
    "radius_of_gyration",
)
ALWAYS = ("violating_residues", "violation_fraction", "clashes", "d_residues", "cis_peptides")  # shown when zero too


def template_rows(hits: Sequence[Mapping[str, Any]], used: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the cells of each template hit: whether it was used or why not, where it aligns (JSON, counted from 1)."""
    return [
        {
            "id": str(hit.get("id", "")),
            "identity": percent(hit.get("identity")),
            "coverage": percent(hit.get("coverage")),
            "date": "yours" if hit.get("source") == "user" else str(hit.get("date") or MISSING),
            "e_value": f"{hit['e_value']:.1e}" if hit.get("e_value") is not None else MISSING,
            "score": plain_number(hit.get("score")),
            "use": why_not(hit, used),
            "spans": json.dumps([[start + 1, end] for start, end in aligned_runs(hit)])
            if hit.get("query_alignment")
            else "",
        }
        for hit in hits
    ]


def comparison_rows(evidence: Evidence) -> list[tuple[str, str, str]]:
    """Return (quantity with unit, before relaxation, after)."""
    relax = evidence.relax
    rows = []
    if relax.get("energy_before") is not None or relax.get("energy_after") is not None:
        energies = plain_number(relax.get("energy_before")), plain_number(relax.get("energy_after"))
        rows.append(("Potential energy (kcal/mol)", *energies))
    pair = (evidence.predicted, evidence.relaxed if evidence.status == "relaxed" else None)
    before, after = (shares(found_torsions(protein)) if protein is not None else {} for protein in pair)
    for level in ("favoured", "allowed", "outside"):
        if before or after:
            rows.append((f"Ramachandran {level}", percent(before.get(level)), percent(after.get(level))))
    size = [
        record.get("radius_of_gyration") for record in (evidence.violations_before, relax.get("violations_after") or {})
    ]
    if any(value is not None for value in size):
        rows.append(("Radius of gyration (Å)", plain_number(size[0]), plain_number(size[1])))
    if evidence.status == "relaxed":
        for key, words in (("rmsd", "Moved, heavy atoms (Å, RMSD)"), ("ca_rmsd", "Moved, CA (Å, RMSD)")):
            rows.append((words, MISSING, plain_number(relax.get(key))))
    return rows


def violation_rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (quantity, before, after) of each count of the records of quality, without most that are zero in both."""
    rows = []
    for key in dict.fromkeys([*before, *after]):
        if key not in DESCRIPTIVE and (before.get(key) or after.get(key) or key in ALWAYS):
            value = percent if key.endswith("_fraction") else plain_number
            rows.append((QUALITY.get(key, humanised(key)), value(before.get(key)), value(after.get(key))))
    return rows


def model_rows(evidence: Evidence, others: Sequence[Agreement]) -> list[tuple[str, ...]]:
    """Return rank, model, seed, mean pLDDT, pTM, CA-lDDT and CA-RMSD to the best of several predictions, in order."""
    near = {other.name: other for other in others}
    rows: list[tuple[str, ...]] = []
    for rank, entry in enumerate(evidence.ranking.get("ranked") or (), start=1):
        other = near.get(f"{entry['model']}, seed {entry['seed']}")
        beside = (f"{other.lddt:.2f}", f"{other.rmsd:.2f}") if other else (MISSING, MISSING)
        scores = f"{entry['mean_plddt']:.1f}", plain_number(entry["ptm"])
        rows.append((str(rank), str(entry["model"]), str(entry["seed"]), *scores, *beside))
    return rows


def fault_rows(found: Sequence[Fault], evidence: Evidence) -> list[dict[str, Any]]:
    """Return a row for each residue with findings, those of the worst kinds first: place, name, kinds, words."""
    numbers = evidence.numbers(len(evidence.sequence))
    rows = []
    for residue, group in itertools.groupby(found, key=lambda fault: fault.residue):
        faults = list(group)
        name = rc.ONE_TO_THREE[evidence.sequence[residue]].capitalize()
        rows.append(
            {
                "place": residue + 1,
                "name": f"{name} {numbers[residue]}",
                "kind": faults[0].kind,
                "words": "; ".join(fault.words for fault in faults),
            }
        )
    order = list(KINDS)
    return sorted(rows, key=lambda row: order.index(str(row["kind"])))


def plain_number(value: Any) -> str:
    """Write a number for people: thousands apart, few decimals, a true minus sign; a dash where there is none."""
    if value is None:
        return MISSING
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        written = f"{value:,.0f}" if abs(value) < 1e7 else f"{value:.2e}"
    else:
        written = (
            f"{value:.1f}"
            if abs(value) >= 10
            else f"{value:.2f}"
            if value == 0 or abs(value) >= 0.01
            else f"{value:.1e}"
        )
    return written.replace(",", "\u202f").replace("-", "\u2212")


def in_words(value: Any) -> str:
    """Write the value of a setting for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(in_words(part) for part in value) or "none"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {in_words(part)}" for key, part in value.items()) or "none"
    return MISSING if value is None or value == "" else str(value)


def percent(value: float | None) -> str:
    """Write a share, 0-1, in percent."""
    return MISSING if value is None else f"{100 * value:.0f} %"


def humanised(key: str) -> str:
    """Turn the name of a field into words."""
    words = key.replace(".", ", ").replace("_", " ").strip()
    return words[:1].upper() + words[1:]
