"""Draw a fold as a flat ribbon or a thin trace: a picture that needs no viewer, prints, and stays small."""

import dataclasses
from collections.abc import Callable

import numpy as np
from markupsafe import Markup

from pipeline.report import chain
from pipeline.report.svg import element, figure

SHADES, DEPTHS = 6, 4  # levels of light and of distance; the style sheet has a colour for each of them
HALF_WIDTH = {"H": 1.35, "E": 1.05, "-": 0.28}  # angstrom
STEPS = ((160, 5), (400, 3), (10**9, 2))  # quads between residues, up to so many residues: pages stay small
THUMBNAIL = (96, 72)
ARROW = 1.9  # half width of the base of a strand's arrow, angstrom


@dataclasses.dataclass(frozen=True)
class Fold:
    """A backbone that is ready to be drawn.

    Args:
        positions: atom37, shape (residues, 37, 3), angstrom.
        mask: Shape (residues, 37).
        bands: pLDDT band of each residue, 0 (very low) to 3 (very high), shape (residues,).
        structure: `H`, `E` or `-` for each residue.
    """

    positions: np.ndarray
    mask: np.ndarray
    bands: np.ndarray
    structure: str

    def turned(self, rotation: np.ndarray) -> "Fold":
        """Return the fold in another view; `rotation` has shape (3, 3)."""
        return dataclasses.replace(self, positions=self.positions.astype(np.float64) @ rotation.T)


def ribbon_figure(fold: Fold, label: str, *, key: str = "ribbon", size: tuple[int, int] = (520, 400)) -> Markup:
    """Draw the ribbon, nearer parts over farther ones."""
    strips = [_strip(fold, piece) for piece in chain.pieces(fold.positions, fold.mask) if len(piece) > 1]
    if not strips:
        return figure(key, label, *size, [], css="ribbon")
    left, right, depth, light, band = (np.concatenate(parts) for parts in zip(*strips, strict=True))
    place = _fit(np.concatenate([left.reshape(-1, 3), right.reshape(-1, 3)]), size)
    left, right = place(left), place(right)
    order = np.argsort(depth, kind="stable")
    levels = _levels(depth, DEPTHS)
    quads = [_quad(left[i], right[i], f"r{band[i]}{light[i]}{levels[i]}") for i in order]
    return figure(key, label, *size, [element("g", *quads, transform="scale(.1)")], css="ribbon")


def trace_figure(fold: Fold, label: str, *, key: str = "trace") -> Markup:
    """Draw a smooth line through the CA atoms, one path for each run of a confidence band: a thumbnail."""
    children = [element("path", class_=f"t{band}", d=path) for band, path in trace_paths(fold)]
    return figure(key, label, *THUMBNAIL, children, css="trace")


def trace_paths(fold: Fold) -> list[tuple[int, str]]:
    """Return band and path data of each part of a thumbnail."""
    runs = chain.pieces(fold.positions, fold.mask)
    if not runs:
        return []
    place = _fit(fold.positions[np.concatenate(runs), chain.CA], THUMBNAIL, margin=4)
    paths = []
    for piece in runs:
        at = place(fold.positions[piece, chain.CA])
        middle = (at[:-1] + at[1:]) / 2
        for start, end, band in band_runs(fold.bands[piece][1:-1]):
            path = f"M{_pair(middle[start])}" + "".join(
                f"Q{_pair(at[i + 1])} {_pair(middle[i + 1])}" for i in range(start, end)
            )
            paths.append((band, path))
    return paths


def band_runs(bands: np.ndarray) -> list[tuple[int, int, int]]:
    """Return (start, end, band) of each run of equal bands."""
    if not len(bands):
        return []
    edges = np.flatnonzero(np.diff(bands)) + 1
    starts = [0, *edges.tolist()]
    ends = [*edges.tolist(), len(bands)]
    return [(start, end, int(bands[start])) for start, end in zip(starts, ends, strict=True)]


def _strip(fold: Fold, piece: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return left and right edges (quads, 2, 3), depth, light and band of the quads along a stretch of chain."""
    steps = next(steps for longest, steps in STEPS if len(fold.bands) <= longest)
    ca = _smooth_strands(fold.positions[piece, chain.CA].astype(np.float64), "".join(fold.structure[i] for i in piece))
    at = np.linspace(0, len(piece) - 1, (len(piece) - 1) * steps + 1)
    line = _catmull_rom(ca, at)
    tangent = _unit(np.gradient(line, axis=0))
    side = _resample(_sides(fold, piece, ca), at)
    side = _unit(side - (side * tangent).sum(-1, keepdims=True) * tangent)
    width = _widths("".join(fold.structure[i] for i in piece), at, steps)[:, None]
    left, right = line - side * width, line + side * width
    normal = np.cross(tangent, side)[:-1, 2]
    nearest = piece[np.clip(np.round(at[:-1] + 0.5 / steps).astype(int), 0, len(piece) - 1)]
    middle = (line[:-1, 2] + line[1:, 2]) / 2
    return (
        np.stack([left[:-1], left[1:]], axis=1),
        np.stack([right[:-1], right[1:]], axis=1),
        middle,
        _lights(normal),
        fold.bands[nearest],
    )


def _lights(normal: np.ndarray) -> np.ndarray:
    """Return levels of light, 0 (dark) to SHADES - 1, from the normals' part towards the reader; the back is darker."""
    brightness = np.where(normal >= 0, 0.55 + 0.45 * normal, 0.5 + 0.3 * normal)
    return np.clip((brightness - 0.2) / 0.8 * SHADES, 0, SHADES - 1).astype(int)


def _sides(fold: Fold, piece: np.ndarray, ca: np.ndarray) -> np.ndarray:
    """Return where the ribbon's flat side points at each residue: along C=O, without flips, shape (residues, 3)."""
    carbonyl = fold.positions[piece, chain.O] - fold.positions[piece, chain.C]
    present = fold.mask[piece][:, [chain.C, chain.O]].all(axis=1)
    bend = np.gradient(np.gradient(ca, axis=0), axis=0)
    side = _unit(np.where(present[:, None], carbonyl, np.cross(bend, np.gradient(ca, axis=0)) + 1e-6))
    for i in range(1, len(side)):
        if side[i] @ side[i - 1] < 0:
            side[i] *= -1
    padded = np.concatenate([side[:1], side, side[-1:]])
    return _unit(padded[:-2] + 2 * padded[1:-1] + padded[2:])


def _smooth_strands(ca: np.ndarray, structure: str) -> np.ndarray:
    """Take the pleat out of strands."""
    if len(ca) < 3:
        return ca
    smooth = ca.copy()
    smooth[1:-1] = (ca[:-2] + 2 * ca[1:-1] + ca[2:]) / 4
    return np.where(np.array([letter == "E" for letter in structure])[:, None], smooth, ca)


def _widths(structure: str, at: np.ndarray, steps: int) -> np.ndarray:
    """Return the half width at each point: eased between elements, with an arrow at the end of each strand."""
    letters = np.array([HALF_WIDTH[letter] for letter in structure])
    width = letters[np.clip(np.round(at).astype(int), 0, len(letters) - 1)]
    kernel = np.ones(steps + 1) / (steps + 1)
    eased = np.convolve(np.pad(width, steps // 2 + 1, mode="edge"), kernel, mode="same")[steps // 2 + 1 :][: len(width)]
    for end in (i for i in range(1, len(structure)) if structure[i - 1] == "E" and structure[i : i + 1] != "E"):
        head = (at >= end - 1.75) & (at <= end - 0.25)
        eased[head] = np.interp(at[head], [end - 1.75, end - 0.25], [ARROW, HALF_WIDTH["-"]])
    return eased


def _catmull_rom(points: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Interpolate smoothly through points, shape (points, 3), at fractional indices."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    index = np.minimum(at.astype(int), len(points) - 2)
    t = (at - index)[:, None]
    a, b, c, d = (padded[index + k] for k in range(4))
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)


def _resample(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(at, np.arange(len(values)), values[:, k]) for k in range(3)], axis=1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _levels(depth: np.ndarray, count: int) -> np.ndarray:
    low, high = depth.min(), depth.max()
    return np.clip((depth - low) / max(high - low, 1e-6) * count, 0, count - 1).astype(int)


def _fit(points: np.ndarray, size: tuple[int, int], margin: float = 14) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that places points, angstrom, in the figure: one scale for both axes, y upwards."""
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    room = np.array(size) - 2 * margin
    scale = float((room / np.maximum(high - low, 1e-6)).min())
    middle = (low + high) / 2

    def place(values: np.ndarray) -> np.ndarray:
        return (values[..., :2] - middle) * np.array([scale, -scale]) + np.array(size) / 2

    return place


def _pair(point: np.ndarray) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"


def _quad(left: np.ndarray, right: np.ndarray, css: str) -> Markup:
    """Return a piece of ribbon, in tenths of a unit: its face, and its two long edges as lines."""
    (a, b), (d, c) = (np.rint(10 * edge).astype(int) for edge in (left, right))
    start, along, across, back = f"M{a[0]} {a[1]}", _step(b - a), _step(c - b), _step(d - c)
    return Markup(  # noqa: S704  numbers and our own class
        f'<path class="{css}" d="{start}l{along}{across}{back}z"/><path d="{start}l{along}m{across}l{back}"/>'
    )


def _step(move: np.ndarray) -> str:
    """Return a relative move as short path data: a minus sign separates as well as a space does."""
    return "".join(f"{value}" if value < 0 else f" {value}" for value in move)
