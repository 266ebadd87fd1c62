"""The run in one table: a row per target, as TSV for scripts and as JSON."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.numbering import numbering_of
from pipeline.records import write_json, write_text
from pipeline.report.evidence import STAGES, Evidence
from pipeline.report.wording import headline, templates_used

Row = dict[str, str | int | float | None]


def summary_rows(everything: Sequence[Evidence]) -> list[Row]:
    """Return a row per target: failed ones first, then by name."""
    order = sorted(everything, key=lambda e: (e.status != "failed", e.name.casefold()))
    return [summary_row(evidence) for evidence in order]


def summary_row(evidence: Evidence) -> Row:
    """Return the figures of a target; None where there is none."""
    best = best_template(evidence)
    relax = evidence.relax
    row: Row = {
        "name": evidence.name,
        "length": len(evidence.sequence),
        "numbering": numbering_of(evidence.author_numbers) or None,
        "status": evidence.status,
        "reason": _reason(evidence),
        "model": evidence.confidence.get("model"),
        "mean_plddt": _rounded(evidence.confidence.get("mean_plddt"), 2),
        "ptm": _rounded(evidence.confidence.get("ptm"), 3),
        "msa_rows": evidence.search.get("rows"),
        "neff": _rounded(evidence.search.get("neff_80"), 1),
        "template_hits": len(evidence.templates.get("hits") or ()) if evidence.templates else None,
        "templates_used": len(templates_used(evidence)) if evidence.confidence else None,
        "best_template": best.get("id"),
        "best_identity": _rounded(best.get("identity"), 3),
        "relax_status": relax.get("status"),
        "relax_rung": relax.get("rung"),
        "energy_before_kcal_mol": _rounded(relax.get("energy_before"), 1),
        "energy_after_kcal_mol": _rounded(relax.get("energy_after"), 1),
        "violations_before": violating_residues(evidence.violations_before),
        "violations_after": violating_residues(relax.get("violations_after")),
        "relax_ca_rmsd": _rounded(relax.get("ca_rmsd"), 3),
    }
    row |= {f"{stage}_seconds": _rounded(evidence.seconds.get(stage), 2) for stage in STAGES}
    return row


def write_summary(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows as TSV to `path`, and the same as JSON beside it."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]) if rows else ["name"], delimiter="\t", lineterminator="\n")
    table.writeheader()
    table.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    write_text(path, text.getvalue())
    write_json(path.with_suffix(".json"), {"targets": list(rows)}, "foldline.summary/1")


def best_template(evidence: Evidence) -> Mapping[str, Any]:
    """Return the best hit among those used; an empty mapping where none was."""
    used = templates_used(evidence)
    return next((hit for hit in evidence.templates.get("hits") or () if hit.get("id") in used), {})


def violating_residues(violations: Mapping[str, Any] | None) -> int | None:
    """Return how many residues violate stereochemistry, from a record of quality."""
    return (violations or {}).get("violating_residues")


def _reason(evidence: Evidence) -> str:
    if evidence.status == "failed":
        return evidence.failure
    return "" if evidence.status == "relaxed" else headline(evidence).partition(": ")[2]


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)


def _cell(value: str | int | float | None) -> str | int | float:
    """Keep a cell on its line and in its column."""
    return "" if value is None else " ".join(value.split()) if isinstance(value, str) else value
