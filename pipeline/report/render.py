"""Put evidence and figures into the templates: one page, no other file, no request."""

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from pipeline.report import figures, viewer, wording
from pipeline.report.agreement import agreement
from pipeline.report.bands import BANDS
from pipeline.report.done import citations, provenance, run_software
from pipeline.report.evidence import STAGES, Evidence
from pipeline.report.faults import LISTED, faults
from pipeline.report.run_rows import relative, run_rows
from pipeline.report.style import style_sheet
from pipeline.report.summary import best_template, summary_row
from pipeline.report.tables import (
    comparison_rows,
    fault_rows,
    model_rows,
    percent,
    plain_number,
    template_rows,
    violation_rows,
)
from pipeline.report.target import target_figures, target_models, target_residues, target_sequence

WEB = Path(__file__).parent / "web"
TARGET_SCRIPTS = ("data.js", "selection.js", "plots.js", "maps.js", "viewer.js", "scene.js", "start.js")
RUN_FILES = ("summary.tsv", "summary.json", "config.yaml")
RUN_SCRIPTS = ("data.js", "run.js")


def target_page(evidence: Evidence, settings: wording.Shown, *, output: Path, run: Path) -> str:
    """Return the page of a target as HTML.

    Args:
        evidence: What is known about the target.
        settings: What to warn about and how much to show.
        output: Where the page will lie: links are relative to it.
        run: Output folder of the run.
    """
    hits = list(evidence.templates.get("hits") or ())
    others = agreement(evidence)
    found = faults(evidence.model) if evidence.model is not None and _whole(evidence) else []
    models, coordinates = target_models(evidence, others)
    return _page(
        "target.html.j2",
        evidence=evidence,
        headline=wording.headline(evidence),
        warnings=wording.warnings(evidence, settings),
        notes=wording.notes(evidence),
        row=summary_row(evidence),
        best=best_template(evidence),
        figures=target_figures(evidence, settings, others),
        sequence=target_sequence(evidence),
        residues=target_residues(evidence, found) | {"models": models},
        coordinates=coordinates,
        faults=fault_rows(found, evidence),
        listed=LISTED,
        templates=template_rows(hits[: settings.template_rows], wording.templates_used(evidence)),
        hits=len(hits),
        models=model_rows(evidence, others),
        ranked_by={"ptm": "pTM", "plddt": "mean pLDDT"}.get(evidence.ranking.get("rank_by", ""), ""),
        energies=comparison_rows(evidence),
        violations=violation_rows(evidence.violations_before, evidence.relax.get("violations_after") or {}),
        provenance=provenance(evidence),
        citations=citations(evidence),
        files=_files(run / "targets" / evidence.name, output),
        run_link=_run_link(output, run),
        scripts=TARGET_SCRIPTS,
        viewer=viewer.packed_script() if models else "",
        viewer_version=viewer.VERSION,
        viewer_licences=viewer.licences() if models else "",
    )


def _whole(evidence: Evidence) -> bool:
    """Return whether the model has the residues of the sequence, so that findings can be laid on it."""
    return evidence.model is not None and len(evidence.model) == len(evidence.sequence)


def run_page(everything: Sequence[Evidence], *, output: Path, run: Path) -> str:
    """Return the page of a run as HTML, failed targets first.

    Args:
        everything: What is known about each target.
        output: Where the page will lie: links are relative to it.
        run: Output folder of the run.
    """
    ordered = sorted(everything, key=lambda e: (e.status != "failed", e.name.casefold()))
    targets, packed = run_rows(ordered, output, run)
    drawn = run_figures(everything)
    return _page(
        "run.html.j2",
        number=len(everything),
        targets=targets,
        packed=packed,
        counts={status: sum(e.status == status for e in everything) for status in ("relaxed", "unrelaxed", "failed")},
        residues=sum(len(e.sequence) for e in everything),
        histogram=drawn.get("histogram"),
        timing=drawn.get("timing"),
        total=figures.duration(sum(sum(e.seconds.values()) for e in everything)),
        software=run_software(everything),
        files=[(relative(run / name, output), name) for name in RUN_FILES if (run / name).exists()],
        scripts=RUN_SCRIPTS,
    )


def run_figures(everything: Sequence[Evidence]) -> dict[str, Markup]:
    """Return the figures of a run by name; those without evidence are left out."""
    confidences = [e.confidence["mean_plddt"] for e in everything if e.confidence.get("mean_plddt") is not None]
    seconds = {stage: sum(e.seconds.get(stage, 0.0) for e in everything) for stage in STAGES}
    drawn = {}
    if confidences:
        drawn["histogram"] = figures.histogram_figure(np.array(confidences))
    if any(seconds.values()):
        drawn["timing"] = figures.timing_figure({stage: value for stage, value in seconds.items() if value})
    return drawn


def _page(template: str, *, scripts: tuple[str, ...], **values: Any) -> str:
    style, code = style_sheet(), _script(scripts)
    allowed = [code, viewer.script()] if values.get("viewer") else [code]
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{_hash(style)}'; script-src {' '.join(repr(_hash(text)) for text in allowed)}"
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


@functools.cache
def _script(names: tuple[str, ...]) -> str:
    """Put the parts of a page's script into one, whose names no other script sees."""
    parts = [(WEB / name).read_text(encoding="utf-8") for name in names]
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"


@functools.cache
def _hash(text: str) -> str:
    """Return the hash by which a page's policy allows one script or style sheet and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(WEB),
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
        "confidence.npz": "pLDDT, PAE and expected secondary structure as arrays",
        "msa.a3m": "alignment",
        "templates.json": "template hits",
        "relax.json": "relaxation: energies, violations, displacement",
    }
    return [(relative(folder / name, output), what) for name, what in wanted.items() if (folder / name).exists()]


def _run_link(output: Path, run: Path) -> str:
    """Link to the run's page where this page lies in its own folder, as the workflow puts it."""
    inside = output.resolve().parent.parent == (run / "targets").resolve()
    return relative(run / "report.html", output) if inside else ""
