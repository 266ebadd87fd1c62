"""The rows of a run's page: those of its first page as HTML, all of them as numbers and words for its script."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.report.bands import band_of
from pipeline.report.evidence import Evidence
from pipeline.report.figures import duration
from pipeline.report.ribbon import trace_figure, trace_paths
from pipeline.report.summary import Row, summary_row
from pipeline.report.tables import MISSING, percent, plain_number
from pipeline.report.target import fold as fold_of
from pipeline.report.viewer import packed

PAGE = 100  # rows of one page of the table, as in run.js
HEADER, REASON = 120, 300  # letters that are shown


def run_rows(ordered: Sequence[Evidence], output: Path, run: Path) -> tuple[list[dict[str, Any]], str]:
    """Return the rows of the first page, with their pictures, and all rows packed for the script.

    Args:
        ordered: The targets, in the order in which they are shown first.
        output: Where the page will lie: links are relative to it.
        run: Output folder of the run.
    """
    rows = [_row(rank, evidence, output, run) for rank, evidence in enumerate(ordered)]
    first = []
    for row, evidence in zip(rows[:PAGE], ordered, strict=False):
        fold = fold_of(evidence)
        picture = trace_figure(fold, f"Fold of {evidence.name}, coloured by pLDDT.") if fold else None
        first.append({**row, "picture": picture})
    for row, evidence in zip(rows[PAGE:], ordered[PAGE:], strict=True):
        if fold := fold_of(evidence):
            row["paths"] = trace_paths(fold)
    return first, packed(json.dumps(rows, separators=(",", ":")).encode())


def relative(path: Path, output: Path) -> str:
    """Return a link from the page to a file."""
    return Path(os.path.relpath(path.resolve(), output.resolve().parent)).as_posix()


def _row(rank: int, evidence: Evidence, output: Path, run: Path) -> dict[str, Any]:
    """Return what the table sorts and finds by, and the words that it shows."""
    row = summary_row(evidence)
    page = run / "targets" / evidence.name / "report.html"
    has_page = page.exists() or not evidence.failure or _will_have_page(evidence, run)
    seconds = sum(evidence.seconds.values()) or None
    return {
        "rank": rank,
        "name": evidence.name,
        "header": _cut(evidence.title, HEADER),
        "status": evidence.status,
        "reason": _cut(str(row["reason"] or ""), REASON),
        "link": relative(page, output) if has_page else "",
        "length": row["length"],
        "plddt": row["mean_plddt"],
        "band": int(band_of(np.array(row["mean_plddt"] or 0.0))),
        "ptm": row["ptm"],
        "rows": row["msa_rows"],
        "template": row["best_template"] or (MISSING if evidence.failure else "none"),
        "identity": row["best_identity"],
        "violations": row["violations_after"],
        "seconds": seconds,
        "time": duration(seconds) if seconds else MISSING,
        **_words(row),
    }


def _will_have_page(evidence: Evidence, run: Path) -> bool:
    """Return whether the workflow writes the page of a target that failed: beside this one, or right after it."""
    return bool(evidence.sequence) and (run / "plan.json").exists()


def _words(row: Row) -> dict[str, str]:
    """Return how numbers are shown."""
    before, after, identity = (row[key] for key in ("violations_before", "violations_after", "best_identity"))
    shown = {"length": "length", "plddt": "mean_plddt", "ptm": "ptm", "rows": "msa_rows"}
    return {
        **{f"{name}_text": plain_number(row[key]) for name, key in shown.items()},
        "identity_text": f"{percent(identity)} identity" if isinstance(identity, float) else "",
        "violations_text": MISSING
        if before is None and after is None
        else f"{plain_number(before)} \u2192 {plain_number(after)}",
    }


def _cut(words: str, letters: int) -> str:
    return words if len(words) <= letters else words[: letters - 1].rstrip() + "\u2026"
