"""Put evidence and figures into the templates: one page, no other file, no request."""

import base64
import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from pipeline.report import figures, wording
from pipeline.report.bands import BANDS, band_of
from pipeline.report.evidence import STAGES, Evidence
from pipeline.report.ribbon import trace_figure
from pipeline.report.style import style_sheet
from pipeline.report.summary import best_template, summary_row
from pipeline.report.tables import (
    citations,
    comparison_rows,
    model_rows,
    percent,
    plain_number,
    provenance,
    template_rows,
    violation_rows,
)
from pipeline.report.target import fold as fold_of
from pipeline.report.target import target_figures, target_residues, target_sequence

FOLDER = Path(__file__).parent


def target_page(evidence: Evidence, settings: wording.Shown, *, output: Path, run: Path) -> str:
    """Return the page of a target as HTML.

    Args:
        evidence: What is known about the target.
        settings: What to warn about and how much to show.
        output: Where the page will lie: links are relative to it.
        run: Output folder of the run.
    """
    hits = list(evidence.templates.get("hits") or ())
    return _page(
        "target.html.j2",
        evidence=evidence,
        headline=wording.headline(evidence),
        warnings=wording.warnings(evidence, settings),
        notes=wording.notes(evidence),
        row=summary_row(evidence),
        best=best_template(evidence),
        figures=target_figures(evidence, settings),
        sequence=target_sequence(evidence),
        residues=target_residues(evidence),
        templates=template_rows(hits[: settings.template_rows], wording.templates_used(evidence)),
        hits=len(hits),
        models=model_rows(evidence),
        ranked_by={"ptm": "pTM", "plddt": "mean pLDDT"}.get(evidence.ranking.get("rank_by", ""), ""),
        energies=comparison_rows(evidence),
        violations=violation_rows(evidence.violations_before, evidence.relax.get("violations_after") or {}),
        provenance=provenance(evidence),
        citations=citations(evidence),
        files=_files(run / "targets" / evidence.name, output),
        run_link=_run_link(output, run),
        script="target.js",
    )


def run_page(everything: Sequence[Evidence], *, output: Path, run: Path) -> str:
    """Return the page of a run as HTML, failed targets first.

    Args:
        everything: What is known about each target.
        output: Where the page will lie: links are relative to it.
        run: Output folder of the run.
    """
    ordered = sorted(everything, key=lambda e: (e.status != "failed", e.name.casefold()))
    targets = [_entry(evidence, output, run) for evidence in ordered]
    confidences = [e.confidence["mean_plddt"] for e in everything if e.confidence.get("mean_plddt") is not None]
    seconds = {stage: sum(e.seconds.get(stage, 0.0) for e in everything) for stage in STAGES}
    return _page(
        "run.html.j2",
        targets=targets,
        counts={status: sum(e.status == status for e in everything) for status in ("relaxed", "unrelaxed", "failed")},
        residues=sum(len(e.sequence) for e in everything),
        histogram=figures.histogram_figure(np.array(confidences)) if confidences else None,
        timing=figures.timing_figure({k: v for k, v in seconds.items() if v}) if any(seconds.values()) else None,
        total=figures.duration(sum(seconds.values())),
        script="run.js",
    )


def _entry(evidence: Evidence, output: Path, run: Path) -> dict[str, Any]:
    fold = fold_of(evidence)
    page = run / "targets" / evidence.name / "report.html"
    return {
        "evidence": evidence,
        "row": summary_row(evidence),
        "band": int(band_of(np.array(evidence.confidence.get("mean_plddt") or 0.0))),
        "seconds": sum(evidence.seconds.values()) or None,
        "picture": trace_figure(fold, f"Fold of {evidence.name}, coloured by pLDDT.") if fold else None,
        "link": _relative(page, output) if not evidence.failure or page.exists() else "",
    }


def _page(template: str, *, script: str, **values: Any) -> str:
    style = style_sheet()
    code = (FOLDER / script).read_text(encoding="utf-8")
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{_hash(style)}'; script-src '{_hash(code)}'"
    )
    return (
        _environment()
        .get_template(template)
        .render(
            bands=BANDS,
            style=Markup(style),  # noqa: S704  ours, not the input's
            code=Markup(code),  # noqa: S704
            policy=policy,
            **values,
        )
    )


def _hash(text: str) -> str:
    """Return the hash by which a page's policy allows one script or style sheet and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"duration": figures.duration, "plain": plain_number, "percent": percent}
    return environment


def _files(folder: Path, output: Path) -> list[tuple[str, str]]:
    """List what a reader may want to open, with links relative to the page."""
    wanted: Mapping[str, str] = {
        "relaxed.cif": "relaxed structure, pLDDT as B-factor (mmCIF)",
        "predicted.cif": "structure as predicted (mmCIF)",
        "confidence.json": "scores and settings",
        "ranking.json": "scores of all models",
        "confidence.npz": "pLDDT and PAE as arrays",
        "msa.a3m": "alignment",
        "templates.json": "template hits",
        "relax.json": "relaxation: energies, violations, displacement",
    }
    return [(_relative(folder / name, output), what) for name, what in wanted.items() if (folder / name).exists()]


def _run_link(output: Path, run: Path) -> str:
    """Link to the run's page where this page lies in its own folder, as the workflow puts it."""
    inside = output.resolve().parent.parent == (run / "targets").resolve()
    return _relative(run / "report.html", output) if inside else ""


def _relative(path: Path, output: Path) -> str:
    return Path(os.path.relpath(path.resolve(), output.resolve().parent)).as_posix()
