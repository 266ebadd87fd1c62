"""Ramachandran plot: backbone torsions against where those of real proteins lie."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from pipeline.report.ribbon import band_runs
from pipeline.report.svg import Frame, Scale, element, figure, number, text

REFERENCE = Path(__file__).with_name("ramachandran.txt")
CELLS, CELL = 72, 5.0  # cells along each axis, degrees of each
KINDS = ("general", "glycine", "proline", "pre-proline")
OUTSIDE, ALLOWED, FAVOURED = 0, 1, 2
SIDE, LEFT, TOP, GAP = 330, 64, 30, 84
NAMED = 8  # outliers that get their name in the plot


@dataclasses.dataclass(frozen=True)
class Torsions:
    """Backbone torsions of the residues that have both.

    Args:
        phi, psi: Degrees, shape (residues,).
        kind: Index into KINDS, shape (residues,).
        names: For people, such as "Lys 17".
    """

    phi: np.ndarray
    psi: np.ndarray
    kind: np.ndarray
    names: tuple[str, ...]

    @property
    def levels(self) -> np.ndarray:
        """Return OUTSIDE, ALLOWED or FAVOURED for each residue."""
        at = [np.clip((angle + 180) // CELL, 0, CELLS - 1).astype(int) for angle in (self.phi, self.psi)]
        return regions()[self.kind, at[0], at[1]]


def torsions(phi: np.ndarray, psi: np.ndarray, sequence: str, names: Sequence[str]) -> Torsions:
    """Keep the residues with both torsions and say of which kind they are."""
    following = sequence[1:] + "-"
    kinds = [_kind(residue, after) for residue, after in zip(sequence, following, strict=True)]
    real = np.flatnonzero(np.isfinite(phi) & np.isfinite(psi))
    return Torsions(phi[real], psi[real], np.array(kinds, int)[real], tuple(names[int(i)] for i in real))


def shares(found: Torsions) -> dict[str, float]:
    """Return the share of residues, 0-1, that are favoured, allowed and outside."""
    levels = found.levels
    total = max(len(levels), 1)
    return {
        name: float((levels == level).sum()) / total
        for name, level in (("favoured", FAVOURED), ("allowed", ALLOWED), ("outside", OUTSIDE))
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
    """Read the reference, shape (kinds, phi cells, psi cells)."""
    lines = [line for line in REFERENCE.read_text(encoding="utf-8").splitlines() if not line.startswith("# ")]
    grids = []
    for kind in KINDS:
        rows = lines[lines.index(kind) + 1 :][:CELLS]
        grids.append([[".o#".index(letter) for letter in row] for row in reversed(rows)])
    return np.array(grids, np.int8).transpose(0, 2, 1)


def _kind(residue: str, after: str) -> int:
    if residue == "G":
        return 1
    if residue == "P":
        return 2
    return 3 if after == "P" else 0


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
    levels = found.levels
    order = np.argsort(-levels, kind="stable")  # outliers last, so that they lie on top
    return [*parts, *(_mark(frame, found, int(i), bool(levels[i] == OUTSIDE)) for i in order), *_names(frame, found)]


def _region(frame: Frame, level: int) -> str:
    """Return the general region of at least that level as rows of rectangles."""
    inside = regions()[0] >= level
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
    if found.kind[i] == 1:
        return element("path", class_=css, d=f"M{number(x)} {number(y - 4)}l3.6 6.4h-7.2z")
    if found.kind[i] == 2:
        return element("rect", class_=css, x=x - 2.8, y=y - 2.8, width=5.6, height=5.6)
    return element("circle", class_=css, cx=x, cy=y, r=2.8)


def _names(frame: Frame, found: Torsions) -> list[Markup]:
    outside = np.flatnonzero(found.levels == OUTSIDE)[:NAMED]
    names = []
    for i in outside:
        x, y = frame.x(float(found.phi[i])), frame.y(float(found.psi[i]))
        near_edge = x > frame.box[2] - 60
        names.append(text(x - 7 if near_edge else x + 7, y + 4, found.names[i], "name", "end" if near_edge else None))
    return names
