"""Tables for a terminal: columns of equal width, whatever the cells hold."""

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"[-+.\d]|nan$|$")  # how one begins, with or without a unit; or nothing


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as lines, columns of numbers to the right, the others to the left.

    Args:
        rows: Cells, the first row those of the heading; characters that a terminal would act upon are shown as `?`.
    """
    columns = [[printable(cell) for cell in column] for column in zip(*rows, strict=True)]
    return "".join("  ".join(line).rstrip() + "\n" for line in zip(*map(_equally_wide, columns), strict=True))


def _equally_wide(column: Sequence[str]) -> list[str]:
    """Return cells filled with spaces on one side."""
    width = max(map(len, column))
    numbers = all(_NUMBER.match(cell) for cell in column[1:])
    return [cell.rjust(width) if numbers else cell.ljust(width) for cell in column]


def printable(text: str) -> str:
    """Replace characters that a terminal would act upon by `?`."""
    return "".join(c if c.isprintable() else "?" for c in text)
