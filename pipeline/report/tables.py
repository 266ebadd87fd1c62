"""Make the rows of a target's tables: templates, energies, violations, what was done, what to cite."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report.evidence import Evidence
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
    "d_residues": "Residues of the wrong hand (D)",
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
    """Return the cells of each template hit, with whether it was used or why not."""
    return [
        {
            "id": str(hit.get("id", "")),
            "identity": percent(hit.get("identity")),
            "coverage": percent(hit.get("coverage")),
            "date": "yours" if hit.get("source") == "user" else str(hit.get("date") or MISSING),
            "e_value": f"{hit['e_value']:.1e}" if hit.get("e_value") is not None else MISSING,
            "score": plain_number(hit.get("score")),
            "use": why_not(hit, used),
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


def provenance(evidence: Evidence) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return (title, [(what, value)]) of each part of what was done."""
    parts = [
        ("Search", _search(evidence.search, evidence.templates)),
        ("Prediction", _prediction(evidence.confidence)),
        ("Relaxation", _relaxation(evidence.relax)),
        ("Software", _software(evidence)),
        *(
            (f"Settings of {stage}", [(humanised(k), str(v)) for k, v in (record.get("settings") or {}).items()])
            for stage, record in (
                ("search", evidence.search),
                ("predict", evidence.confidence),
                ("relax", evidence.relax),
            )
        ),
    ]
    return [(title, rows) for title, rows in parts if rows]


def citations(evidence: Evidence) -> list[str]:
    """List what a paper that uses this model should cite."""
    cited = [
        "Network: Jumper et al., Highly accurate protein structure prediction with AlphaFold. "
        "Nature 596, 583 (2021), doi:10.1038/s41586-021-03819-2.",
    ]
    if evidence.search:
        cited.append(
            "Search: Larralde & Zeller, PyHMMER: a Python library binding to HMMER. Bioinformatics 39, btad214 (2023), "
            "doi:10.1093/bioinformatics/btad214; Eddy, Accelerated profile HMM searches. PLoS Comput. Biol. 7, "
            "e1002195 (2011), doi:10.1371/journal.pcbi.1002195."
        )
    if evidence.relax.get("status") == "relaxed":
        cited.append(
            "Relaxation: Eastman et al., OpenMM 8. J. Phys. Chem. B 128, 109 (2024), doi:10.1021/acs.jpcb.3c06662; "
            "Maier et al., ff14SB. J. Chem. Theory Comput. 11, 3696 (2015), doi:10.1021/acs.jctc.5b00255."
        )
    return [
        *cited,
        "Workflow: M\u00f6lder et al., Sustainable data analysis with Snakemake. F1000Research 10, 33 (2021), "
        "doi:10.12688/f1000research.29032.",
    ]


def model_rows(evidence: Evidence) -> list[tuple[str, str, str, str, str]]:
    """Return rank, model, seed, mean pLDDT and pTM of several predictions, the best first; nothing for a single one."""
    return [
        (str(rank), str(entry["model"]), str(entry["seed"]), f"{entry['mean_plddt']:.1f}", plain_number(entry["ptm"]))
        for rank, entry in enumerate(evidence.ranking.get("ranked") or (), start=1)
    ]


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


def percent(value: float | None) -> str:
    """Write a share, 0-1, in percent."""
    return MISSING if value is None else f"{100 * value:.0f} %"


def humanised(key: str) -> str:
    """Turn the name of a field into words."""
    words = key.replace(".", ", ").replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def _search(search: Mapping[str, Any], templates: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [
        (f"Database {database.get('name', '')}", f"version {database.get('version', MISSING)}, {_rows_of(database)}")
        for database in search.get("databases") or ()
    ]
    for key, words in (("neff_80", "Effective rows (80 % identity)"), ("neff_62", "Effective rows (62 % identity)")):
        if search.get(key) is not None:
            rows.append((words, plain_number(float(search[key]))))
    if search:
        converged = "converged" if search.get("converged") else "not converged"
        rows.append(("Rounds", f"{search.get('rounds', MISSING)} ({converged})"))
        rows.append(("From the cache", "yes" if search.get("cached") else "no"))
    if library := templates.get("library"):
        rows.append(("Template library", f"{library.get('name', '')} {library.get('version', '')}".strip()))
        hits = templates.get("hits") or ()
        left_out = sum(bool(hit.get("excluded")) for hit in hits)
        rows.append(("Template hits", f"{len(hits)}, {left_out} of them left out"))
    return rows


def _rows_of(database: Mapping[str, Any]) -> str:
    """Say how many rows of a database were kept, and why the others were not."""
    left_out = {reason: count for reason, count in (database.get("dropped") or {}).items() if count}
    why = "; left out: " + ", ".join(f"{plain_number(n)} ({reason})" for reason, n in left_out.items())
    more = "; more beyond the cap were not aligned" if database.get("hits_at_least") else ""
    return f"{plain_number(database.get('rows'))} rows" + (why if left_out else "") + more


def _prediction(confidence: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not confidence:
        return []
    made_from = confidence.get("made_from") or {}
    names = {
        "model": "Model",
        "weights_sha256": "Weights (sha256)",
        "features_sha256": "Features (sha256)",
        "seed": "Seed",
        "recycles": "Recycles",
    }
    rows = [(words, str(made_from.get(key, confidence.get(key, MISSING)))) for key, words in names.items()]
    rows.append(("Device", str(confidence.get("device", MISSING))))
    parts = confidence.get("seconds") or {}
    return [*rows, *((f"Seconds for {part}", plain_number(float(value))) for part, value in parts.items())]


def _software(evidence: Evidence) -> list[tuple[str, str]]:
    """Return the versions that the records name."""
    records = ((evidence.confidence.get("made_from") or {}), evidence.confidence, evidence.search, evidence.relax)
    versions = {str(k): str(v) for record in records for k, v in (record.get("software") or {}).items()}
    return sorted(versions.items())


def _relaxation(relax: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = {
        "status": "Status",
        "rung": "Rung of the ladder",
        "force_field": "Force field",
        "platform": "Platform",
        "iterations": "Iterations",
        "seconds": "Seconds",
    }
    return [(words, plain_number(relax[key])) for key, words in names.items() if relax.get(key) is not None]
