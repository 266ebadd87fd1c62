"""The style sheet: the file as it is, and the colours of the ribbon, which are computed."""

import functools
from pathlib import Path

import numpy as np

from pipeline.report.ribbon import DEPTHS, SHADES

SHEET = Path(__file__).parent / "web" / "style.css"
BAND_COLOURS = ("#ff7d45", "#ffdb13", "#65cbf3", "#0053d6")  # very low to very high, as AlphaFold DB shows them
DARK_BAND_COLOURS = ("#ff7d45", "#f2cf1d", "#65cbf3", "#3f83f8")  # the darkest blue vanishes on a dark page
PAPER, DARK_PAPER = "#fcfcfb", "#14171b"


@functools.cache
def style_sheet() -> str:
    """Return the whole style sheet."""
    light = ribbon_rules(BAND_COLOURS, PAPER)
    dark = ribbon_rules(DARK_BAND_COLOURS, DARK_PAPER)
    return f"{SHEET.read_text(encoding='utf-8')}{light}\n@media screen and (prefers-color-scheme: dark){{{dark}}}\n"


def ribbon_rules(colours: tuple[str, ...], paper: str) -> str:
    """Return a rule for each band, level of light and level of distance: the far side fades into the page."""
    rules = []
    for band, colour in enumerate(colours):
        for light in range(SHADES):
            for depth in range(DEPTHS):
                share = light / (SHADES - 1)
                lit = _mix(_mix(colour, "#000000", 0.34 * (1 - share)), "#ffffff", 0.2 * share)
                faded = _mix(lit, paper, 0.4 * (1 - depth / (DEPTHS - 1)))
                rules.append(f".ribbon .r{band}{light}{depth}{{fill:{faded};stroke:{faded}}}")
    return "".join(rules)


def _mix(colour: str, other: str, share: float) -> str:
    """Return `colour` with a share of `other` in it."""
    first, second = (np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)], float) for c in (colour, other))
    return "#" + "".join(f"{round(float(value)):02x}" for value in (1 - share) * first + share * second)
