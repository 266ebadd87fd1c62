"""Draw the curves of a training: `loss.tsv`, and CA-lDDT on the development chains (`curve.tsv`), as an SVG file.

python -m training.curve checkpoints/mini curve.svg
"""

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline import records
from pipeline.errors import RecordError
from training.guard import guarded

_TERMS = ("loss", "distogram", "backbone_fape")
_LEGEND = 14.0  # of a line of the legend, above the diagram
_POINTS = 200  # of a curve: means over equal stretches of the training
_WIDTH, _HEIGHT, _MARGIN = 480.0, 240.0, 48.0
_COLOURS = ("#1b6ca8", "#c8553d", "#588157", "#6d597a")

Curve = tuple[np.ndarray, np.ndarray]


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table with tabs; none where there is no table."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def smoothed(steps: np.ndarray, values: np.ndarray) -> Curve:
    """Return means over equal stretches, at the mean step of each."""
    parts = np.array_split(np.arange(len(steps)), min(_POINTS, len(steps)))
    return np.array([steps[p].mean() for p in parts]), np.array([values[p].mean() for p in parts])


def loss_curves(folder: Path) -> dict[str, Curve]:
    """Return the terms of the loss by step, smoothed."""
    rows = read_table(folder / "loss.tsv")
    steps = np.array([float(row["step"]) for row in rows])
    return {name: smoothed(steps, np.array([float(row[name]) for row in rows])) for name in _TERMS if rows}


def score_curves(folder: Path) -> dict[str, Curve]:
    """Return CA-lDDT of the development chains by step, for each condition."""
    rows = read_table(folder / "curve.tsv")
    conditions = dict.fromkeys(row["condition"] for row in rows)
    chosen = {name: [row for row in rows if row["condition"] == name] for name in conditions}
    return {
        name: (np.array([float(r["step"]) for r in own]), np.array([float(r["CA-lDDT"]) for r in own]))
        for name, own in chosen.items()
    }


def panel(curves: dict[str, Curve], title: str, top: float, across: str = "step") -> str:
    """Return one diagram as a group of SVG, its upper edge at `top`; `across` names its horizontal axis."""
    x, y = (np.concatenate([curve[k] for curve in curves.values()]) for k in (0, 1))
    low, high = float(min(0.0, y.min())), float(y.max())
    inner_width, inner_height = _WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN

    def place(steps: np.ndarray, values: np.ndarray) -> str:
        right = _MARGIN + inner_width * steps / max(float(x.max()), 1e-9)
        down = _MARGIN + inner_height * (1 - (values - low) / max(high - low, 1e-9))
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(right, down, strict=True))

    frame = place(np.array([0.0, 0.0, x.max()]), np.array([high, low, low]))
    parts = [f'<polyline points="{frame}" stroke="#888"/>']
    for colour, (name, curve), row in zip(_COLOURS, curves.items(), range(len(_COLOURS)), strict=False):
        parts.append(f'<polyline points="{place(*curve)}" stroke="{colour}"/>')
        parts.append(_text(_WIDTH - _MARGIN, _LEGEND * (row + 1), name, colour, "end"))
    parts += [_text(_MARGIN, 24, title), _text(_MARGIN - 6, _MARGIN + 4, f"{high:.3g}", anchor="end")]
    parts += [_text(_MARGIN - 6, _HEIGHT - _MARGIN + 4, f"{low:.3g}", anchor="end")]
    parts += [_text(_WIDTH - _MARGIN, _HEIGHT - _MARGIN + 18, f"{across} {x.max():.4g}", anchor="end")]
    return f'<g transform="translate(0 {top:.0f})" fill="none" stroke-width="1.5">{"".join(parts)}</g>'


def _text(x: float, y: float, text: str, colour: str = "#333", anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}" stroke="none" text-anchor="{anchor}">{text}</text>'


def figure(folder: Path) -> str:
    """Return the figure of a training as SVG."""
    wanted = (("Training loss", loss_curves(folder)), ("CA-lDDT, development chains", score_curves(folder)))
    panels = [(title, _with_ends(curves)) for title, curves in wanted if curves]
    return drawing([panel(curves, title, k * _HEIGHT) for k, (title, curves) in enumerate(panels)])


def _with_ends(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    """Return curves whose names say their last values."""
    return {f"{name} {curve[1][-1]:.3f}": curve for name, curve in curves.items()}


def drawing(groups: Sequence[str]) -> str:
    """Return panels, one below the other, as SVG."""
    size = f'width="{_WIDTH:.0f}" height="{_HEIGHT * max(len(groups), 1):.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    return "\n".join((head, *groups, "</svg>")) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the figure."""
    parser = argparse.ArgumentParser(prog="python -m training.curve", description=__doc__)
    parser.add_argument("folder", type=Path, help="the training's output, with loss.tsv and curve.tsv")
    parser.add_argument("figure", type=Path, help="SVG file to write")
    arguments = parser.parse_args(argv)
    if not (arguments.folder / "loss.tsv").is_file():
        raise RecordError("expected the output of a training: there is no loss.tsv", str(arguments.folder))
    records.write_text(arguments.figure, figure(arguments.folder))
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(main))
