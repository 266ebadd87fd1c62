"""Ramachandran plot: backbone torsions against where those of real proteins lie."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from pipeline.quality.ramachandran import ALLOWED, FAVOURED, KINDS, OUTLIER, levels, scores
from pipeline.report.ribbon import band_runs
from pipeline.report.svg import Frame, Scale, element, figure, number, text

CELLS, CELL = 72, 5.0  # cells along each axis of the drawn regions, degrees of each
SIDE, LEFT, TOP, GAP = 330, 64, 30, 84
NAMED = 8  # outliers that get their name in the plot


@dataclasses.dataclass(frozen=True)
class Torsions:
    """Backbone torsions of the residues that have both.

    Args:
        phi, psi: Degrees, shape (residues,).
        kind: Index into the kinds of `pipeline.quality.ramachandran`, shape (residues,).
        names: For people, such as "Lys 17".
        residue: Index of each in the structure, shape (residues,).
    """

    phi: np.ndarray
    psi: np.ndarray
    kind: np.ndarray
    names: tuple[str, ...]
    residue: np.ndarray

    @property
    def levels(self) -> np.ndarray:
        """Return OUTLIER, ALLOWED or FAVOURED for each residue."""
        return levels(self.kind, scores(self.kind, self.phi, self.psi))


def torsions(phi: np.ndarray, psi: np.ndarray, kind: np.ndarray, names: Sequence[str]) -> Torsions:
    """Keep the residues with both torsions."""
    real = np.flatnonzero(np.isfinite(phi) & np.isfinite(psi))
    return Torsions(phi[real], psi[real], kind[real], tuple(names[int(i)] for i in real), real)


def shares(found: Torsions) -> dict[str, float]:
    """Return the share of residues, 0-1, that are favoured, allowed and outside."""
    reached = found.levels
    total = max(len(reached), 1)
    return {
        name: float((reached == level).sum()) / total
        for name, level in (("favoured", FAVOURED), ("allowed", ALLOWED), ("outside", OUTLIER))
    }


def ramachandran_figure(panels: Sequence[tuple[str, Torsions]]) -> Markup:
    """Draw one plot for each (title, torsions): circles general, triangles glycine, squares proline, filled outside."""
    parts = []
    for index, (title, found) in enumerate(panels):
        left = LEFT + index * (SIDE + GAP)
        parts += _panel(Frame(Scale(-180, 180, left, left + SIDE), Scale(-180, 180, TOP + SIDE, TOP)), title, found)
    label = "Ramachandran plot. " + " ".join(f"{title}: {_in_words(found)}." for title, found in panels)
    return figure("ramachandran", label, LEFT + len(panels) * (SIDE + GAP) - GAP + 16, TOP + SIDE + 44, parts)


@functools.cache
def regions() -> np.ndarray:
    """Return the level at the middle of each cell for the general kind, shape (phi cells, psi cells)."""
    middle = (np.arange(CELLS) + 0.5) * CELL - 180
    phi, psi = (grid.ravel() for grid in np.meshgrid(middle, middle, indexing="ij"))
    general = np.zeros(phi.shape, int)
    return levels(general, scores(general, phi, psi)).reshape(CELLS, CELLS)


def _in_words(found: Torsions) -> str:
    share = shares(found)
    return f"{100 * share['favoured']:.0f} % favoured, {100 * share['outside']:.1f} % outside"


def _panel(frame: Frame, title: str, found: Torsions) -> list[Markup]:
    left, top, right, bottom = frame.box
    ticks = [-180.0, -90.0, 0.0, 90.0, 180.0]
    parts = [text(left, top - 12, f"{title}: {_in_words(found)}", "note")]
    parts += [element("path", class_=css, d=_region(frame, level)) for css, level in (("allowed", 1), ("favoured", 2))]
    parts += frame.y_axis("psi (°)", ticks)
    parts += frame.x_axis("phi (°)", ticks)
    parts.append(element("rect", class_="border", x=left, y=top, width=right - left, height=bottom - top))
    reached = found.levels
    order = np.argsort(-reached, kind="stable")  # outliers last, so that they lie on top
    return [*parts, *(_mark(frame, found, int(i), bool(reached[i] == OUTLIER)) for i in order), *_names(frame, found)]


def _region(frame: Frame, level: int) -> str:
    """Return the general region of at least that level as rows of rectangles."""
    inside = regions() >= level
    width, height = frame.x(CELL) - frame.x(0), frame.y(0) - frame.y(CELL)
    parts = []
    for row in range(CELLS):
        for start, end, real in band_runs(inside[:, row].astype(int)):
            if real:
                x, y = frame.x(start * CELL - 180), frame.y((row + 1) * CELL - 180)
                parts.append(f"M{x:.1f} {y:.1f}h{(end - start) * width:.1f}v{height:.2f}H{x:.1f}z")
    return "".join(parts)


def _mark(frame: Frame, found: Torsions, i: int, outlier: bool) -> Markup:
    x, y = frame.x(float(found.phi[i])), frame.y(float(found.psi[i]))
    css = "mark outlier" if outlier else "mark"
    place = int(found.residue[i]) + 1
    if found.kind[i] == KINDS.index("glycine"):
        return element("path", class_=css, d=f"M{number(x)} {number(y - 4)}l3.6 6.4h-7.2z", data_i=place)
    if KINDS[found.kind[i]] in ("trans proline", "cis proline"):
        return element("rect", class_=css, x=x - 2.8, y=y - 2.8, width=5.6, height=5.6, data_i=place)
    return element("circle", class_=css, cx=x, cy=y, r=2.8, data_i=place)


def _names(frame: Frame, found: Torsions) -> list[Markup]:
    outside = np.flatnonzero(found.levels == OUTLIER)[:NAMED]
    names = []
    for i in outside:
        x, y = frame.x(float(found.phi[i])), frame.y(float(found.psi[i]))
        near_edge = x > frame.box[2] - 60
        names.append(text(x - 7 if near_edge else x + 7, y + 4, found.names[i], "name", "end" if near_edge else None))
    return names
