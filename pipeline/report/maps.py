"""Maps of residues against residues: predicted aligned error and CA distances."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from pipeline.report.png import block, data_uri, gradient, indexed_png, shrink
from pipeline.report.svg import Frame, Scale, element, figure, residue_ticks, text, tick_label

BAR = 64  # colours of the scale below a map
PIXELS = 400  # largest side of a map; longer chains are averaged in blocks
SIDE, LEFT, TOP = 380, 64, 12


@dataclasses.dataclass(frozen=True)
class Palette:
    """Colours from 0 to `high`, in the unit of the map; a pixel holds its value in steps of `step`."""

    anchors: tuple[str, ...]
    high: float
    step: float
    levels: int
    label: str

    @property
    def colours(self) -> np.ndarray:
        """Return the colour of each level, shape (levels, 3), 0-255."""
        ramp = gradient(self.anchors, round(self.high / self.step) + 1)
        return np.vstack([ramp, np.repeat(ramp[-1:], self.levels - len(ramp), axis=0)])


PAE = Palette(("#0d3b2e", "#21735a", "#6db592", "#c4e3cf", "#ffffff"), 30, 0.125, 255, "expected position error (Å)")
DISTANCE = Palette(("#241455", "#3f4fae", "#4f9fc4", "#b3dccf", "#fdfaf0"), 32, 0.5, 65, "distance of CA atoms (Å)")


def pae_figure(pae: np.ndarray, numbers: Sequence[str]) -> Markup:
    """Draw the predicted aligned error, shape (residues aligned on, residues scored), angstrom."""
    label = f"Predicted aligned error of all residue pairs: mean {np.nanmean(pae):.1f} angstrom, dark is sure."
    axes = ("scored residue", "aligned on residue")
    return _map_figure("pae", label, pae, PAE, axes, residue_ticks(numbers, SIDE))


def distance_figure(ca: np.ndarray, present: np.ndarray, numbers: Sequence[str]) -> Markup:
    """Draw the distances between CA atoms, shape (residues, 3), angstrom; residues without one stay empty."""
    points = np.where(present[:, None], ca.astype(np.float64), np.nan)
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    near = np.triu(np.nan_to_num(distance, nan=99.0) < 8.0, 3).sum()
    label = f"Distances between CA atoms of the model: {near} contacts below 8 angstrom three or more residues apart."
    return _map_figure("distances", label, distance, DISTANCE, ("residue", "residue"), residue_ticks(numbers, SIDE))


def _map_figure(
    key: str, label: str, values: np.ndarray, palette: Palette, axes: tuple[str, str], ticks: Mapping[float, str]
) -> Markup:
    length = len(values)
    frame = Frame(Scale(0.5, length + 0.5, LEFT, LEFT + SIDE), Scale(0.5, length + 0.5, TOP, TOP + SIDE))
    parts = [
        _image(values, palette),
        *frame.x_axis(axes[0], ticks),
        *frame.y_axis(axes[1], ticks, grid=False),
        element("rect", class_="border", x=LEFT, y=TOP, width=SIDE, height=SIDE),
        *_colour_bar(palette),
    ]
    return figure(key, label, 480, 510, parts, css="map")


def _image(values: np.ndarray, palette: Palette) -> Markup:
    """Draw the map; the page's script reads the values back from the picture."""
    small = shrink(values, PIXELS)
    missing = palette.levels
    steps = np.clip(np.rint(np.nan_to_num(small) / palette.step), 0, palette.levels - 1)
    indices = np.where(np.isfinite(small), steps, missing).astype(np.uint8)
    return element(
        "image",
        x=LEFT,
        y=TOP,
        width=SIDE,
        height=SIDE,
        href=data_uri(indexed_png(indices, np.vstack([palette.colours, [128, 128, 128]]))),
        preserveAspectRatio="none",
        class_="pixels",
        data_step=str(palette.step),
        data_missing=missing,
        data_block=block(len(values), PIXELS),
    )


def _colour_bar(palette: Palette) -> list[Markup]:
    """Draw the scale below the map, with its unit."""
    y = TOP + SIDE + 62
    bar = indexed_png(np.arange(BAR)[None], gradient(palette.anchors, BAR))
    scale = Scale(0, palette.high, LEFT + 160, LEFT + SIDE)
    parts = [
        text(LEFT, y + 10, palette.label, "note"),
        element(
            "image",
            x=scale.start,
            y=y,
            width=scale.end - scale.start,
            height=12,
            href=data_uri(bar),
            preserveAspectRatio="none",
            class_="pixels",
        ),
        element("rect", class_="border", x=scale.start, y=y, width=scale.end - scale.start, height=12),
    ]
    ticks = scale.ticks(4)
    for tick in ticks:
        mark = tick_label(tick) + ("+" if tick == ticks[-1] else "")
        parts.append(text(scale(tick), y + 28, mark, "tick", "middle"))
    return parts
