"""Figures along the chain and of the run: NumPy in, SVG text out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from pipeline.report.bands import BANDS, band_of
from pipeline.report.ribbon import band_runs
from pipeline.report.svg import Frame, Scale, element, figure, number, residue_ticks, text

WIDTH, LEFT, RIGHT = 960, 64, 92  # one width and one pair of margins: residues line up from plot to plot


def chain_frame(length: int, top: float, bottom: float, low: float, high: float) -> Frame:
    """Return the frame of a plot along the chain; residue i fills the unit around i."""
    return Frame(Scale(0.5, length + 0.5, LEFT, WIDTH - RIGHT), Scale(low, high, bottom, top))


def plddt_figure(plddt: np.ndarray, numbers: Sequence[str], structure: str = "", expected: str = "") -> Markup:
    """Draw pLDDT along the chain over the four bands, and above it the model's and the expected secondary structure.

    Args:
        plddt: Shape (residues,), 0-100.
        numbers: The user's number of each residue.
        structure: `H`, `E` or `-` for each residue; empty to leave it out.
        expected: The same, as the network expects it.
    """
    frame = chain_frame(len(plddt), 54, 244, 0, 100)
    left, _, right, _ = frame.box
    parts: list[Markup] = []
    for index, band in enumerate(BANDS):
        top, bottom = frame.y(band.high), frame.y(band.low)
        parts.append(element("rect", class_=f"zone z{index}", x=left, y=top, width=right - left, height=bottom - top))
        parts.append(text(right + 8, (top + bottom) / 2 + 4, band.name, "note"))
    parts += _structure_strip(frame, structure, "model", 14)
    parts += _structure_strip(frame, expected, "expected", 34)
    parts += frame.y_axis("pLDDT", [0, 50, 70, 90, 100], grid=False)
    parts += frame.x_axis("residue", residue_ticks(numbers, right - left))
    parts.append(element("path", class_="line", d=_steps(frame, plddt)))
    label = (
        f"pLDDT along the chain: mean {np.nanmean(plddt):.1f}, from {np.nanmin(plddt):.1f} to {np.nanmax(plddt):.1f}."
    )
    return figure("plddt", label, WIDTH, 284, parts, css="chain")


def depth_figure(depth: np.ndarray, numbers: Sequence[str], few: int, effective: np.ndarray | None = None) -> Markup:
    """Draw how many sequences of the alignment cover each residue, with a line at `few`.

    Args:
        depth: Sequences, shape (residues,).
        numbers: The user's number of each residue.
        few: Sequences that are few.
        effective: The effective number of these sequences, shape (residues,); None to leave it out.
    """
    top = max(float(depth.max(initial=0)), few * 1.25)
    frame = chain_frame(len(depth), 14, 154, 0, top)
    left, _, right, _ = frame.box
    at = frame.y(few)
    parts = [
        *frame.y_axis("sequences"),
        *frame.x_axis("residue", residue_ticks(numbers, right - left)),
        element("path", class_="area", d=_area(frame, depth)),
        element("line", class_="limit", x1=left, x2=right, y1=at, y2=at),
        text(right + 8, at + 4, f"few ({few})", "note"),
    ]
    label = f"Sequences per residue: from {depth.min(initial=0):.0f} to {depth.max(initial=0):.0f}."
    if effective is not None and len(effective):
        end = frame.y(float(effective[-1]))
        parts.append(element("path", class_="line", d=_steps(frame, effective)))
        if abs(end - at) > 14:
            parts.append(text(right + 8, end + 4, "Neff", "note"))
        label += f" Effective number: from {effective.min():.1f} to {effective.max():.1f}."
    return figure("depth", label, WIDTH, 194, parts, css="chain")


def agreement_figure(agreement: Sequence[tuple[str, np.ndarray]], numbers: Sequence[str]) -> Markup:
    """Draw how near other predictions are to the best one, residue by residue.

    Args:
        agreement: Name and CA-lDDT to the best, 0-1, shape (residues,), of each other prediction.
        numbers: The user's number of each residue.
    """
    frame = chain_frame(len(numbers), 14, 154, 0, 1)
    left, _, right, _ = frame.box
    everything = np.array([values for _, values in agreement])
    parts = [*frame.y_axis("CA-lDDT"), *frame.x_axis("residue", residue_ticks(numbers, right - left))]
    parts += [element("path", class_="line thin", d=_steps(frame, values)) for values in everything]
    mean = everything.mean(axis=0)
    parts.append(element("path", class_="line", d=_steps(frame, mean)))
    parts.append(text(right + 8, frame.y(1) + 4, "equal", "note"))
    label = f"CA-lDDT of {len(everything)} other predictions to the best: mean {np.nanmean(everything):.2f}."
    return figure("agreement", label, WIDTH, 194, parts, css="chain")


def displacement_figure(displacement: np.ndarray, numbers: Sequence[str]) -> Markup:
    """Draw how far each residue moved in relaxation, shape (residues,), angstrom."""
    top = max(float(np.nanmax(displacement, initial=0.0)) * 1.08, 0.1)
    frame = chain_frame(len(displacement), 14, 134, 0, top)
    left, _, right, _ = frame.box
    parts = [
        *frame.y_axis("moved (Å)"),
        *frame.x_axis("residue", residue_ticks(numbers, right - left)),
        element("path", class_="area", d=_area(frame, displacement)),
    ]
    label = f"Displacement in relaxation: largest {np.nanmax(displacement, initial=0.0):.2f} angstrom."
    return figure("displacement", label, WIDTH, 174, parts, css="chain")


def coverage_figure(hits: Sequence[Mapping[str, Any]], used: Sequence[str], numbers: Sequence[str]) -> Markup:
    """Draw which residues each template covers: solid where it was used, hollow where not; aligned columns only."""
    row, top = 18, 22
    frame = chain_frame(len(numbers), top, top + row * len(hits), 0, 1)
    left, _, right, bottom = frame.box
    parts = frame.x_axis("residue", residue_ticks(numbers, right - left))
    parts.append(text(right + 8, 14, "identity", "note"))
    if any(hit.get("date") for hit in hits):
        parts.append(text(WIDTH - 4, 14, "year", "note", "end"))
    for index, hit in enumerate(hits):
        y = top + row * index
        css = "hit used" if hit["id"] in used else "hit"
        parts.append(element("line", class_="grid", x1=left, x2=right, y1=y + row / 2, y2=y + row / 2))
        parts.append(text(left - 8, y + 13, str(hit["id"]).removeprefix("own:")[:8], "tick", "end"))
        parts.append(text(right + 8, y + 13, f"{100 * hit['identity']:.0f} %", "tick"))
        parts.append(text(WIDTH - 4, y + 13, str(hit.get("date") or "")[:4], "tick", "end"))
        for start, end in aligned_runs(hit):
            x, width = frame.x(start + 0.5), frame.x(end + 0.5) - frame.x(start + 0.5)
            parts.append(element("rect", class_=css, x=x, y=y + 4, width=width, height=row - 8, rx=2))
    label = f"Residues covered by {len(hits)} templates; {sum(h['id'] in used for h in hits)} of them were used."
    return figure("coverage", label, WIDTH, bottom + 40, parts, css="chain")


def aligned_runs(hit: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return the stretches of the query, 0-based and half open, that a template aligns to."""
    covered = []
    position = int(hit["query_start"])
    for query, template in zip(hit["query_alignment"], hit["template_alignment"], strict=False):
        if query != "-":
            if template != "-":
                covered.append(position)
            position += 1
    runs: list[tuple[int, int]] = []
    for at in covered:
        if runs and runs[-1][1] == at:
            runs[-1] = (runs[-1][0], at + 1)
        else:
            runs.append((at, at + 1))
    return runs


def timing_figure(seconds: Mapping[str, float]) -> Markup:
    """Draw the wall time of each stage as a bar with its number."""
    row = 26
    longest = max(seconds.values(), default=0.0) or 1.0
    scale = Scale(0, longest, 84, 366)
    parts: list[Markup] = []
    for index, (stage, value) in enumerate(seconds.items()):
        y = 4 + row * index
        parts.append(text(74, y + 16, stage, "tick", "end"))
        parts.append(
            element("rect", class_="bar", x=84, y=y + 4, width=max(scale(value) - 84, 1), height=row - 10, rx=2)
        )
        parts.append(text(scale(value) + 8, y + 16, duration(value), "tick"))
    label = "Wall time per stage: " + ", ".join(f"{stage} {duration(value)}" for stage, value in seconds.items()) + "."
    return figure("timing", label, 460, row * len(seconds) + 8, parts)


def recycle_figure(changes: Sequence[float]) -> Markup:
    """Draw how much the distances between CA atoms still changed at each recycle, angstrom."""
    frame = Frame(Scale(0.5, len(changes) + 0.5, 64, 430), Scale(0, max([*changes, 0.1]) * 1.1, 134, 14))
    points = [(frame.x(i + 1), frame.y(value)) for i, value in enumerate(changes)]
    parts = [*frame.y_axis("change (Å)"), *frame.x_axis("recycle", [float(i + 1) for i in range(len(changes))])]
    parts.append(element("path", class_="line", d="M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)))
    parts += [element("circle", class_="dot", cx=x, cy=y, r=3.5) for x, y in points]
    label = "Change between recycles: " + ", ".join(f"{value:.2f}" for value in changes) + " angstrom."
    return figure("recycles", label, 460, 174, parts)


def comparison_figure(rows: Sequence[tuple[str, float, float]]) -> Markup:
    """Draw counts before relaxation as outlined bars and after it as solid ones, each with its numbers.

    Args:
        rows: What is counted, how many before, how many after.
    """
    row, left = 34, 190
    scale = Scale(0, max(max(before, after) for _, before, after in rows) or 1.0, left, 366)
    parts: list[Markup] = []
    for index, (what, before, after) in enumerate(rows):
        y = 4 + row * index
        parts.append(text(left - 10, y + 18, what, "tick", "end"))
        for value, top, css in ((before, y + 3, "hit"), (after, y + 15, "bar")):
            width = max(scale(value) - left, 1)
            parts.append(element("rect", class_=css, x=left, y=top, width=width, height=10, rx=2))
        words = f"{before:.4g} \u2192 {after:.4g}".replace("-", "\u2212")
        parts.append(text(max(scale(before), scale(after)) + 8, y + 18, words, "tick"))
    label = "Before and after relaxation: " + "; ".join(f"{w} {b:.4g} and {a:.4g}" for w, b, a in rows) + "."
    return figure("comparison", label, 460, row * len(rows) + 8, parts)


def histogram_figure(values: np.ndarray) -> Markup:
    """Draw how many targets of the run have which mean pLDDT, in steps of five."""
    counts, edges = np.histogram(values, bins=np.arange(0, 101, 5))
    frame = Frame(Scale(0, 100, 64, 444), Scale(0, max(int(counts.max(initial=0)), 1), 150, 14))
    parts = [*frame.y_axis("targets", _whole_ticks(frame.y)), *frame.x_axis("mean pLDDT", [0, 50, 70, 90, 100])]
    for count, low in zip(counts, edges[:-1], strict=True):
        if count:
            x, width = frame.x(low) + 1, frame.x(low + 5) - frame.x(low) - 2
            band = int(band_of(np.array([low + 2.5]))[0])
            y = frame.y(count)
            parts.append(element("rect", class_=f"b{band}", x=x, y=y, width=width, height=150 - y, rx=1.5))
    label = "Targets by mean pLDDT: " + ", ".join(f"{c} from {e:.0f}" for c, e in zip(counts, edges, strict=False) if c)
    return figure("histogram", label, 460, 190, parts)


def duration(seconds: float) -> str:
    """Write seconds for people: `0.42 s`, `37 s`, `12 min 5 s`, `3 h 20 min`."""
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _whole_ticks(scale: Scale) -> list[float]:
    return [tick for tick in scale.ticks(4) if tick == int(tick)]


def _structure_strip(frame: Frame, structure: str, name: str, above: float) -> list[Markup]:
    """Draw helices as rounded bars and strands as arrows, above the plot."""
    if not structure:
        return []
    left, top, right, _ = frame.box
    y = top - above
    parts = [element("line", class_="coil", x1=left, x2=right, y1=y, y2=y), text(right + 8, y + 4, name, "note")]
    codes = np.array([{"-": 0, "H": 1, "E": 2}[letter] for letter in structure])
    for start, end, code in band_runs(codes):
        x, stop = frame.x(start + 0.5), frame.x(end + 0.5)
        if code == 1:
            parts.append(element("rect", class_="helix", x=x, y=y - 6, width=stop - x, height=12, rx=6))
        elif code == 2:
            parts.append(element("path", class_="strand", d=_arrow(x, stop, y)))
    return parts


def _arrow(x: float, stop: float, y: float) -> str:
    neck = max(x, stop - 9)
    points = [(x, y - 4), (neck, y - 4), (neck, y - 7), (stop, y), (neck, y + 7), (neck, y + 4), (x, y + 4)]
    return "M" + "L".join(f"{number(a)} {number(b)}" for a, b in points) + "z"


def _runs_of_numbers(values: np.ndarray) -> Iterable[tuple[int, int]]:
    for start, end, real in band_runs(np.isfinite(values).astype(int)):
        if real:
            yield start, end


def _steps(frame: Frame, values: np.ndarray) -> str:
    """Return a line through the residues' values, interrupted where a value is missing."""
    parts = []
    for start, end in _runs_of_numbers(values):
        points = "L".join(f"{number(frame.x(i + 1))} {number(frame.y(float(values[i])))}" for i in range(start, end))
        parts.append(f"M{points}" + ("h0.1" if end == start + 1 else ""))
    return "".join(parts)


def _area(frame: Frame, values: np.ndarray) -> str:
    """Return bars of one residue each, joined into one outline per run."""
    floor = number(frame.y(0))
    parts = []
    for start, end in _runs_of_numbers(values):
        tops = "".join(f"V{number(frame.y(float(values[i])))}H{number(frame.x(i + 1.5))}" for i in range(start, end))
        parts.append(f"M{number(frame.x(start + 0.5))} {floor}{tops}V{floor}z")
    return "".join(parts)
