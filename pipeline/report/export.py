"""Figures of a page as files: SVG for editing, PNG for slides; light, in millimetres, with their own style."""

import functools
import re
from collections.abc import Mapping
from pathlib import Path

from pipeline.records import atomic, write_text
from pipeline.report.style import BAND_COLOURS, PAPER, SHEET, ribbon_rules

MILLIMETRES = 0.1875  # of one unit: plots along the chain are 180 mm wide, two columns of a journal, letters 6.4 pt
DPI = 300
FONT = Path(__file__).parent / "vendor" / "inter" / "Inter-Regular.ttf"
ROOT_RULE = "svg{font-family:Inter,Helvetica,Arial,sans-serif}"
WANTED = re.compile(r"svg\S* |\.b\d")  # selectors of what is inside a figure; its own size is another here
VARIABLE = re.compile(r"var\(--([\w-]+)\)")
NARROW_SPACE, SPACE = "\u202f", "\u00a0"  # the first is in few fonts


def write_figures(figures: Mapping[str, str], folder: Path, dpi: int = DPI) -> list[Path]:
    """Write each figure as NAME.svg and NAME.png; return the paths.

    Args:
        figures: SVG of the page by name; empty ones are left out.
        folder: Is made where it is missing.
        dpi: Pixels in an inch of the PNG.
    """
    import resvg_py  # noqa: PLC0415  no other part of the report needs it

    paths = []
    for name, figure in figures.items():
        if figure:
            svg = standalone(figure)
            paths += [folder / f"{name}.svg", folder / f"{name}.png"]
            write_text(paths[-2], svg)
            png = resvg_py.svg_to_bytes(svg_string=svg, dpi=dpi, background="white", font_files=[str(FONT)])
            with atomic(paths[-1]) as temporary:
                temporary.write_bytes(png)
    return paths


def standalone(figure: str) -> str:
    """Return a figure of the page as an SVG file."""
    figure = "".join(figure)  # Markup would escape what is put into it
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', figure)
    if box is None:
        raise ValueError("expected an SVG with a viewBox")
    width, height = (float(side) * MILLIMETRES for side in box.groups())
    size = f'<svg width="{width:.2f}mm" height="{height:.2f}mm"'
    text = figure.replace("<svg", size, 1).replace(NARROW_SPACE, SPACE)
    opening, _, rest = text.partition(">")
    rules = _ribbon_rules() if 'class="figure ribbon"' in opening else ""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{opening}><style>{_rules()}{rules}</style>{rest}\n'


@functools.cache
def _rules() -> str:
    """Return the rules of the page's style sheet that concern figures, in light colours, without variables."""
    sheet = re.sub(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", SHEET.read_text(encoding="utf-8"))
    colours = dict(re.findall(r"--([\w-]+):([^;}]+)", sheet))
    kept = [ROOT_RULE]
    for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", sheet):
        wanted = [selector.strip() for selector in selectors.split(",") if WANTED.match(selector.strip())]
        if wanted:
            plain = VARIABLE.sub(lambda match: colours[match[1]], body)
            kept.append(f"{','.join(wanted)}{{{plain}}}")
    return "".join(kept)


@functools.cache
def _ribbon_rules() -> str:
    return ribbon_rules(BAND_COLOURS, PAPER)
