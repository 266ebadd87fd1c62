"""Write SVG as text that cannot break out of its place: elements, linear scales, axes.

Colours and type come from the page's style sheet by class, so one figure serves light, dark and print.
"""

import dataclasses
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup, escape

Value = str | float | int | None
ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def element(tag: str, *children: str, **attributes: Value) -> Markup:
    """Return an element; text and values are escaped, `class_` and `stroke_width` become `class` and `stroke-width`."""
    words = [
        f' {name.rstrip("_").replace("_", "-")}="{_legal(escape(value if isinstance(value, str) else number(value)))}"'
        for name, value in attributes.items()
        if value is not None
    ]
    inner = "".join(_legal(escape(child)) for child in children)
    return Markup(f"<{tag}{''.join(words)}>{inner}</{tag}>" if inner else f"<{tag}{''.join(words)}/>")  # noqa: S704


def _legal(escaped: str) -> str:
    """Replace what no XML document may hold."""
    return ILLEGAL.sub("\ufffd", escaped)


def number(value: float) -> str:
    """Write a coordinate with at most one decimal, which is a tenth of a pixel."""
    written = f"{float(value):.1f}".removesuffix(".0")
    return "0" if written == "-0" else written


def figure(key: str, label: str, width: float, height: float, children: Iterable[str], *, css: str = "") -> Markup:
    """Return a whole figure with an accessible name.

    Args:
        key: Short name, for the page's scripts and tests: `data-figure`.
        label: What a reader who cannot see the figure should know.
        width: User units; the page scales the figure to its column.
        height: User units.
        children: The elements of the figure.
        css: Further classes.
    """
    return element(
        "svg",
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(width)} {number(height)}",
        class_=f"figure {css}".strip(),
        role="img",
        aria_label=label,
        data_figure=key,
    )


def text(x: float, y: float, content: str, css: str = "", anchor: str | None = None, **attributes: Value) -> Markup:
    """Return a line of text; `anchor` is `middle` or `end`."""
    return element("text", content, x=x, y=y, class_=css or None, text_anchor=anchor, **attributes)


@dataclasses.dataclass(frozen=True)
class Scale:
    """A linear map from data to user units."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Map a value of the data."""
        span = self.high - self.low
        return self.start + (value - self.low) / (span or 1.0) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Return round values inside the domain, about `count` of them."""
        step = _round_step((self.high - self.low) / max(count, 1))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


def _round_step(raw: float) -> float:
    if raw <= 0 or not math.isfinite(raw):
        return 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    return next((m * power for m in (1, 2, 5) if m * power >= raw - 1e-9), 10 * power)


@dataclasses.dataclass(frozen=True)
class Frame:
    """A rectangle with an x and a y scale: the area of a plot."""

    x: Scale
    y: Scale

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Return left, top, right, bottom in user units."""
        return (self.x.start, min(self.y.start, self.y.end), self.x.end, max(self.y.start, self.y.end))

    def x_axis(self, label: str, ticks: Sequence[float] | Mapping[float, str] | None = None) -> list[Markup]:
        """Return ticks, numbers (or the words that are given) and the axis label below the area."""
        left, _, right, bottom = self.box
        parts = [element("line", class_="axis", x1=left, x2=right, y1=bottom, y2=bottom)]
        for tick, words in _labelled(self.x.ticks() if ticks is None else ticks):
            at = self.x(tick)
            parts.append(element("line", class_="axis", x1=at, x2=at, y1=bottom, y2=bottom + 4))
            parts.append(text(at, bottom + 17, words, "tick", "middle"))
        return [*parts, text((left + right) / 2, bottom + 35, label, "label", "middle")]

    def y_axis(
        self, label: str, ticks: Sequence[float] | Mapping[float, str] | None = None, *, grid: bool = True
    ) -> list[Markup]:
        """Return grid lines, numbers (or the words that are given) and the axis label left of the area."""
        left, top, right, bottom = self.box
        parts = []
        for tick, words in _labelled(self.y.ticks(4) if ticks is None else ticks):
            at = self.y(tick)
            if grid:
                parts.append(element("line", class_="grid", x1=left, x2=right, y1=at, y2=at))
            parts.append(text(left - 8, at + 4, words, "tick", "end"))
        middle = (top + bottom) / 2
        turned = text(
            0, 0, label, "label", "middle", transform=f"translate({number(left - 44)} {number(middle)}) rotate(-90)"
        )
        return [*parts, turned]


def tick_label(value: float) -> str:
    """Write the number of a tick: thousands apart, no needless decimals, a true minus sign."""
    written = f"{value:,.0f}" if abs(value - round(value)) < 1e-6 else f"{value:.3g}"
    return written.replace(",", "\u202f").replace("-", "\u2212")


def residue_ticks(numbers: Sequence[str], width: float) -> dict[float, str]:
    """Return which residues to number on an axis of that width, and how: where numbers begin anew, then round ones.

    Args:
        numbers: The user's number of each residue.
        width: User units.

    Returns:
        The numbers by place in the chain, from 1.
    """
    step = max(1.0, _round_step(len(numbers) / max(width / 60, 2)))
    begins = [i for i, pair in enumerate(itertools.pairwise(["", *numbers]), start=1) if not _follow(*pair)]
    rounds = [i for i, number in enumerate(numbers, start=1) if number[-1].isdigit() and int(number) % step == 0]
    kept: list[int] = []
    for place in [*begins, *rounds]:
        if all(abs(place - other) > step / 2 for other in kept):
            kept.append(place)
    return {float(place): numbers[place - 1].replace("-", "\u2212") for place in sorted(kept)}


def _follow(before: str, number: str) -> bool:
    return before[-1:].isdigit() and number == str(int(before) + 1)


def _labelled(ticks: Sequence[float] | Mapping[float, str]) -> list[tuple[float, str]]:
    return list(ticks.items()) if isinstance(ticks, Mapping) else [(tick, tick_label(tick)) for tick in ticks]


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """Write points as path data."""
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)
