"""Residue numbers that a user gives: `17` counts on from 17, `17-40,50-74` leaves a gap, `52,52A,53-60` inserts.

They name residues in what people read. The network, the alignment and the templates count along the sequence.
"""

import itertools
import re
import string
from collections.abc import Iterator, Sequence

from pipeline.errors import NumberingError

MEND = "give the first number (17) or ranges (17-40,50-74), without spaces"
PDB_NUMBERS = range(-999, 10_000)  # what the four columns of the PDB format hold
_PART = re.compile(r"(-?[0-9]{1,6})(?:([A-Za-z])|-(-?[0-9]{1,6}))?")
_LETTERS = string.ascii_letters
_SHOWN = 60


def author_numbers(numbering: str, length: int, where: str = "") -> tuple[str, ...]:
    """Return the number of each residue, with its insertion code where it has one, for example "52A".

    Args:
        numbering: Parts with commas between them. A range stands for its numbers, a single number for one residue; at
            the end it stands for all residues that are left.
        length: Of the sequence, residues.
        where: Names the place in errors.

    Raises:
        NumberingError: This is no numbering, it gives another number of residues, or one number twice.
    """
    numbers: list[str] = []
    parts = numbering.split(",")
    for place, part in enumerate(parts, start=1):
        alone = max(1, length - len(numbers)) if place == len(parts) else 1
        numbers += itertools.islice(_numbers(part, alone, where), length + 1)
        if len(numbers) > length:
            break
    if len(numbers) != length:
        found = "more" if len(numbers) > length else str(len(numbers))
        raise NumberingError(f"the sequence has {length} residues, {_shown(numbering)} numbers {found}", where)
    if len(set(numbers)) < length:
        twice = next(number for number in numbers if numbers.count(number) > 1)
        raise NumberingError(f"the residue number {twice} is given twice in {_shown(numbering)}", where)
    return tuple(numbers)


def numbering_of(numbers: Sequence[str]) -> str:
    """Return the shortest numbering that stands for the numbers: what `author_numbers` reads."""
    runs: list[list[str]] = []
    for number in numbers:
        if runs and _follows(runs[-1][-1], number):
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def too_wide_for_pdb(numbers: Sequence[str]) -> str:
    """Return the first number that the PDB format has no room for; empty where all fit."""
    return next((number for number in numbers if int(number.rstrip(_LETTERS)) not in PDB_NUMBERS), "")


def _numbers(part: str, alone: int, where: str) -> Iterator[str]:
    """Give the numbers of one part; a single number stands for `alone` of them."""
    match = _PART.fullmatch(part)
    if not match:
        raise NumberingError(f"expected residue numbers, found {_shown(part)}", where, MEND)
    first, insertion, last = int(match[1]), match[2] or "", match[3]
    if last and int(last) < first:
        raise NumberingError(f"the range {_shown(part)} ends before it begins", where, "begin with the smaller number")
    if insertion:
        yield f"{first}{insertion}"
    else:
        yield from map(str, range(first, int(last) + 1 if last else first + alone))


def _follows(before: str, number: str) -> bool:
    return before[-1].isdigit() and number == str(int(before) + 1)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
