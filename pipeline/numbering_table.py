"""The table of residue numbers: tab-separated, with the columns `target` and `numbering`."""

import collections
import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.errors import NumberingError
from pipeline.fasta import numbering_in
from pipeline.numbering import author_numbers, numbering_of
from pipeline.target import Target
from pipeline.text_file import read_user_text, refuse_control_characters

COLUMNS = ("target", "numbering")
_KIND = "a table of residue numbers"
_SHOWN = 60


@dataclasses.dataclass(frozen=True)
class _Row:
    target: str
    numbering: str
    where: str


def numbered(targets: Sequence[Target], path: Path) -> list[Target]:
    """Return the targets with the residue numbers of a table; those that it does not name stay as they are.

    Args:
        targets: All targets of the run.
        path: The table. A row names a target by the first word of its header or by its folder.

    Raises:
        NumberingError: This is no such table, a row fits no target, or a target gets other numbers from its header.
    """
    result = {target.name: target for target in targets}
    called = _called(targets)
    rows: dict[str, _Row] = {}
    for row in _rows(path):
        name = _named(row, called)
        if rows.setdefault(name, row) is not row:
            raise NumberingError(f"{_shown(row.target)} is numbered already at {rows[name].where}", row.where)
        result[name] = _with_numbers(result[name], row)
    return list(result.values())


def _called(targets: Sequence[Target]) -> dict[str, set[str]]:
    """Return the names of the targets that each word may mean."""
    called = collections.defaultdict(set)
    for target in targets:
        for word in (target.name, target.header.split()[0]):
            called[word].add(target.name)
    return called


def _named(row: _Row, called: Mapping[str, set[str]]) -> str:
    """Return the name of the target that a row means."""
    names = sorted(called.get(row.target, ()))
    if len(names) > 1:
        mend = f"call them by their folders, {' and '.join(map(_shown, names[:2]))}"
        raise NumberingError(f"{len(names)} targets are called {_shown(row.target)}", row.where, mend)
    if not names:
        near = difflib.get_close_matches(row.target, called, n=1)
        mend = f"did you mean {_shown(near[0])}?" if near else "take the line out, or give its FASTA record"
        raise NumberingError(f"no target is called {_shown(row.target)}", row.where, mend)
    return names[0]


def _with_numbers(target: Target, row: _Row) -> Target:
    chain = target.chain
    numbering = numbering_of(author_numbers(row.numbering, len(chain.sequence), f"{row.where}: {_shown(row.target)}"))
    if numbering_in(target.header) and numbering != chain.numbering:
        problem = f"{_shown(row.target)} is numbered {numbering} here and {chain.numbering} in its header"
        raise NumberingError(problem, row.where, "take one of them out")
    return dataclasses.replace(target, chains=(dataclasses.replace(chain, numbering=numbering),))


def _rows(path: Path) -> list[_Row]:
    text = read_user_text(path, _KIND, NumberingError)
    refuse_control_characters(text, path, _KIND, NumberingError)
    lines = [
        (number, [cell.strip() for cell in line.split("\t")])
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip() and not line.startswith("#")
    ]
    if not lines or tuple(lines[0][1]) != COLUMNS:
        found = _shown("\t".join(lines[0][1])) if lines else "none"
        raise NumberingError(f"expected the columns target and numbering with a tab between, found {found}", str(path))
    for number, cells in lines[1:]:
        if len(cells) != len(COLUMNS):
            problem = f"expected {len(COLUMNS)} cells with a tab between, found {len(cells)}"
            raise NumberingError(problem, f"{path}:{number}")
    return [_Row(target, numbering, f"{path}:{number}") for number, (target, numbering) in lines[1:]]


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
