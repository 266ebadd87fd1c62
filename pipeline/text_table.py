"""Tables for a terminal: columns of equal width, whatever the cells hold."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as lines, the first column to the left, the others to the right.

    Args:
        rows: Cells; characters that a terminal would act upon are shown as `?`.
    """
    safe = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*safe, strict=True)]
    lines = []
    for first, *others in safe:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def printable(text: str) -> str:
    """Replace characters that a terminal would act upon by `?`."""
    return "".join(c if c.isprintable() else "?" for c in text)
