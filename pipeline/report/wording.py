"""Say in words what a reader of the page should know before trusting a model."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from pipeline.report.bands import BANDS, band_of
from pipeline.report.evidence import Evidence

FAULTS = {
    "violating_residues": "{count} {residues} of the model in violation of stereochemistry.",
    "d_residues": "{count} {residues} of the wrong chirality (D-amino acid): the backbone is wrong there.",
    "chain_breaks": "The chain is broken in the model, {count} times.",
    "missing_atoms": "{count} heavy atoms are missing from the model.",
}


class Shown(Protocol):
    """The settings that decide when to warn and how much to show."""

    @property
    def low_confidence(self) -> float:
        """Mean pLDDT below which to warn."""

    @property
    def few_rows(self) -> int:
        """Alignment rows below which to warn."""

    @property
    def template_rows(self) -> int:
        """Template hits listed on a page."""


def headline(evidence: Evidence) -> str:
    """Say in one sentence how the target ended."""
    if evidence.status == "failed":
        return f"No structure: {evidence.failure}"
    if evidence.status == "relaxed":
        rung = str(evidence.relax.get("rung") or "full")
        done = "Predicted and relaxed" if rung == "full" else f"Predicted and relaxed in part ({rung})"
        reason = str(evidence.relax.get("reason") or "")
        return f"{done}: {reason}" if reason else f"{done}."
    reason = str(evidence.relax.get("reason") or evidence.ending or "relaxation was not run or left no record")
    return f"Predicted, not relaxed: {reason}"


def warnings(evidence: Evidence, settings: Shown) -> list[str]:
    """List what should make a reader careful, the most important first."""
    return [
        *_confidence(evidence, settings),
        *_alignment(evidence, settings),
        *_geometry(evidence),
        *_sequence(evidence),
    ]


def notes(evidence: Evidence) -> list[str]:
    """List what is worth knowing but no cause for doubt."""
    return [
        *_templates(evidence),
        *(f"Relaxation: {change}." for change in evidence.relax.get("changes") or ()),
        *(f"Before relaxation: {finding}." for finding in evidence.relax.get("findings") or ()),
        *(f"Input: {note}." for note in evidence.notes),
    ]


def _confidence(evidence: Evidence, settings: Shown) -> Iterator[str]:
    mean = evidence.confidence.get("mean_plddt")
    if mean is not None and mean < settings.low_confidence:
        band = BANDS[int(band_of(mean))]
        yield f"Low confidence: the mean pLDDT is {mean:.1f} ({band.name}); the fold may be wrong."
    if evidence.plddt is not None and mean is not None and mean >= settings.low_confidence:
        low = int((evidence.plddt < 50).sum())
        if low > 0.2 * len(evidence.plddt):
            yield f"{low} of {len(evidence.plddt)} residues have a pLDDT below 50: disordered or wrong there."


def _alignment(evidence: Evidence, settings: Shown) -> Iterator[str]:
    rows = evidence.search.get("rows")
    if rows is not None and rows < settings.few_rows:
        count = "only the query itself" if rows <= 1 else f"only {rows} sequences"
        yield f"Few relatives: the alignment holds {count}; confidence values are less reliable."
    if evidence.search.get("timed_out"):
        yield "The search ran into its time budget: the alignment is that of its last full round."
    elif evidence.search and not evidence.search.get("converged", True):
        yield f"The search had not converged after {evidence.search.get('rounds', '?')} rounds."


def _templates(evidence: Evidence) -> Iterator[str]:
    if evidence.confidence and not templates_used(evidence):
        reason = str((evidence.search.get("templates") or {}).get("reason") or "")
        yield f"No template was used: {reason}." if reason else "No template was used."


def _geometry(evidence: Evidence) -> Iterator[str]:
    """Warn of what is left in the model that the user takes away."""
    found = evidence.relax.get("violations_after") or evidence.violations_before
    for key, words in FAULTS.items():
        if count := found.get(key):
            yield words.format(count=count, residues="residue" if count == 1 else "residues")


def _sequence(evidence: Evidence) -> Iterator[str]:
    if unknown := evidence.sequence.count("X"):
        noun = "residue is" if unknown == 1 else "residues are"
        yield f"{unknown} {noun} unknown (X): no side chain is modelled there."


def templates_used(evidence: Evidence) -> tuple[str, ...]:
    """Return the ids of the templates that the network saw."""
    return tuple(map(str, evidence.confidence.get("templates_used") or ()))


def why_not(hit: Mapping[str, Any], used: tuple[str, ...]) -> str:
    """Say whether a template hit was used, or why not."""
    if hit.get("excluded"):
        return f"left out: {hit['excluded']}"
    if hit.get("id") in used:
        return "used"
    return "not used: better hits came first" if used else "not used"
