"""Search templates with HH-suite's hhsearch, which compares the profile with a profile of each chain.

The database's chains are those of the library, by their names: the atoms come from there.
"""

import dataclasses
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.a3m import Alignment, write_a3m
from pipeline.databases.records import Database, parse_database
from pipeline.errors import LibraryError
from pipeline.library.store import TemplateLibrary
from pipeline.search.template_alignment import align, rows
from pipeline.templates import TemplateHit

_PROGRAM = "hhsearch"
_MEND = "install HH-suite (hhsearch), or leave search.hhsearch empty"
_MOST_HITS = "5000"
_MATCH, _MISMATCH = 300, -300  # hundredths of a bit: two versions of one sequence
_LEAST_IDENTITY = 0.9  # of two versions of one sequence; AlphaFold 2's
_FIGURES = re.compile(r"Probab=(\S+)\s+E-value=(\S+)\s+Score=(\S+).*?Sum_probs=(\S+)")
_ROW = re.compile(r"^([QT]) (\S+)\s+(\d+) (\S+)\s+\d+ \(\d+\)\s*$")
_ENTRY = re.compile(r"[A-Za-z0-9]{4}(?=_)")


class HHHit(NamedTuple):
    """A hit as hhsearch reports it; places count from 0."""

    chain: str
    e_value: float
    score: float
    sum_probs: float
    query_start: int
    query_alignment: str
    template_start: int
    template_alignment: str


@dataclasses.dataclass(frozen=True)
class HHsearch:
    """The program and a database of profiles.

    Args:
        program: Path of the program.
        version: Its version.
        database: Where the profiles are.
    """

    program: str
    version: str
    database: Database

    @classmethod
    def of(cls, text: str) -> "HHsearch":
        """Find the program and the database `NAME=PATH:VERSION`, whose path is what the names of its files begin with.

        Raises:
            ConfigError: The text is not of this form.
            LibraryError: The program or the database is missing.
        """
        database = parse_database(text)
        program = shutil.which(_PROGRAM)
        if not program:
            raise LibraryError("search.hhsearch is set, but there is no program hhsearch", mend=_MEND)
        shown = subprocess.run([program, "-h"], capture_output=True, text=True, check=False).stdout
        return cls(program, next(iter(re.findall(r"HHsearch (\S+)", shown)), "0"), database)

    @property
    def name(self) -> str:
        """Program and database with their versions: part of cache keys."""
        return f"{_PROGRAM}-{self.version}/{self.database.folder}"

    def hits(self, alignment: Alignment, library: TemplateLibrary, e_value: float, threads: int) -> list[TemplateHit]:
        """Return the chains that are found, best first; those that are not in the library are excluded.

        Args:
            alignment: Query and homologs.
            library: Where the chains' atoms are.
            e_value: Largest E-value of a hit.
            threads: Of the program.

        Raises:
            LibraryError: The program fails, or its result cannot be read.
        """
        found = parse_hhr(self._run(alignment, e_value, threads))
        best: dict[str, HHHit] = {}
        for hit in found:
            if hit.e_value <= e_value:
                best.setdefault(hit.chain, hit)
        return [in_library(hit, library, alignment.query) for hit in best.values()]

    def _run(self, alignment: Alignment, e_value: float, threads: int) -> str:
        with tempfile.TemporaryDirectory() as folder:
            query, result = Path(folder, "query.a3m"), Path(folder, "query.hhr")
            write_a3m(query, dataclasses.replace(alignment, names=_plain(len(alignment))))
            words = [self.program, "-i", query, "-o", result, "-d", self.database.path, "-cpu", threads, "-v", "0"]
            words += [
                "-maxseq",
                "1000000",
                "-alt",
                "1",
                "-E",
                e_value,
                "-p",
                "0",
                "-hide_cons",
                "-hide_pred",
                "-hide_dssp",
            ]
            words += ["-Z", _MOST_HITS, "-B", _MOST_HITS, "-realign_max", _MOST_HITS, "-z", "1", "-b", "1"]
            done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
            if done.returncode or not result.is_file():
                last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
                raise LibraryError(f"hhsearch failed: {last}", str(self.database.path), "check the HH-suite database")
            return result.read_text(encoding="utf-8", errors="replace")


def parse_hhr(text: str) -> list[HHHit]:
    """Read the hits of hhsearch's report, in its order.

    Raises:
        LibraryError: The report is damaged.
    """
    return list(_hits(text))


def in_library(found: HHHit, library: TemplateLibrary, query: str) -> TemplateHit:
    """Return a hit on the library's chain of the same name; where the sequences differ, they are aligned."""
    index = _index(found.chain, library)
    pairs = _pairs(found)
    if index is None:
        return _record(found, 0, pairs, (query, _letters(found)), excluded="not in the library")
    sequence = library.sequence(index)
    moved, reason = _moved(found, pairs, sequence)
    if reason:
        return _record(found, index, pairs, (query, _letters(found)), excluded=reason)
    named = found._replace(chain=library.ids[index])
    return _record(named, index, moved, (query, sequence))


def _hits(text: str) -> Iterator[HHHit]:
    for block in re.split(r"^No \d+\s*$", text, flags=re.MULTILINE)[1:]:
        lines = block.strip().splitlines()
        figures = _FIGURES.search(lines[1]) if len(lines) > 1 else None
        if not figures or not lines[0].startswith(">"):
            raise LibraryError(f"expected a hit in hhsearch's report, found {(lines or [''])[0][:60]!r}")
        parts: dict[str, list[tuple[int, str]]] = {"Q": [], "T": []}
        for line in lines[2:]:
            row = _ROW.match(line)
            if row and row[2] != "Consensus":
                parts[row[1]].append((int(row[3]), row[4]))
        yield _hit(lines[0][1:].split()[0], figures, parts)


def _hit(chain: str, figures: re.Match[str], parts: dict[str, list[tuple[int, str]]]) -> HHHit:
    starts = [(part[0][0] if part else 1) - 1 for part in parts.values()]
    query, template = ("".join(text for _, text in part).upper() for part in parts.values())
    try:
        _, e_value, score, sum_probs = map(float, figures.groups())
    except ValueError as error:
        raise LibraryError(f"hhsearch's report has figures that are no numbers for {chain!r}") from error
    if len(query) != len(template) or not query:
        raise LibraryError(f"hhsearch's report has rows of different lengths for {chain!r}")
    return HHHit(chain, e_value, score, sum_probs, starts[0], query, starts[1], template)


def _plain(count: int) -> tuple[str, ...]:
    return tuple("query" if k == 0 else f"row{k}" for k in range(count))


def _index(chain: str, library: TemplateLibrary) -> int | None:
    """Return the index of a chain; the case of the entry's code does not matter."""
    for name in (chain, _ENTRY.sub(lambda entry: entry[0].upper(), chain), _ENTRY.sub(lambda e: e[0].lower(), chain)):
        try:
            return library.index(name)
        except LibraryError:
            continue
    return None


def _letters(found: HHHit) -> str:
    """Return the part of the chain's sequence that the report shows, after as many X as are before it."""
    return "X" * found.template_start + found.template_alignment.replace("-", "")


def _pairs(found: HHHit) -> tuple[tuple[int, int], ...]:
    i, j, pairs = found.query_start, found.template_start, []
    for a, b in zip(found.query_alignment, found.template_alignment, strict=True):
        if "-" not in (a, b):
            pairs.append((i, j))
        i, j = i + (a != "-"), j + (b != "-")
    return tuple(pairs)


def _moved(found: HHHit, pairs: tuple[tuple[int, int], ...], sequence: str) -> tuple[tuple[tuple[int, int], ...], str]:
    """Carry pairs over to the library's version of a chain's sequence; say why where that is impossible."""
    shown, start = found.template_alignment.replace("-", ""), found.template_start
    if sequence[start : start + len(shown)] == shown:
        return pairs, ""
    letters = np.frombuffer(shown.encode(), np.uint8)[:, None] == np.frombuffer(sequence.encode(), np.uint8)
    same = align(np.where(letters, _MATCH, _MISMATCH).astype(np.int32)).pairs
    equal = sum(shown[a] == sequence[b] for a, b in same)
    if equal < _LEAST_IDENTITY * min(len(shown), len(sequence)):
        return (), "its sequence is another one in the library"
    places = dict(same)
    moved = tuple((i, places[j - start]) for i, j in pairs if j - start in places)
    return moved, "" if moved else "its sequence is another one in the library"


def _record(
    found: HHHit, index: int, pairs: tuple[tuple[int, int], ...], letters: tuple[str, str], excluded: str = ""
) -> TemplateHit:
    query, sequence = letters
    query_row, template_row = rows(pairs, query, sequence)
    return TemplateHit(
        id=found.chain,
        index=index,
        e_value=found.e_value,
        score=found.score,
        identity=round(sum(query[i] == sequence[j] for i, j in pairs) / max(1, len(pairs)), 4),
        coverage=round(len(pairs) / len(query), 4),
        query_start=pairs[0][0] if pairs else 0,
        query_alignment=query_row,
        template_start=pairs[0][1] if pairs else 0,
        template_alignment=template_row,
        sum_probs=found.sum_probs,
        excluded=excluded,
    )
