"""Read FASTA files and check every record: what comes out can be predicted, what cannot says where it is wrong."""

import collections
import dataclasses
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pipeline.errors import FastaError, NumberingError
from pipeline.numbering import MEND, author_numbers, numbering_of
from pipeline.records import write_text
from pipeline.settings import setting
from pipeline.target import Chain, Target
from pipeline.text_file import read_user_text, refuse_control_characters

_AMINO_ACIDS = frozenset("ACDEFGHIKLMNPQRSTVWY")
_READ_AS = {"U": "C", "O": "K", "B": "X", "Z": "X", "J": "X"}
_SPELLED = {
    "U": "selenocysteine",
    "O": "pyrrolysine",
    "B": "asparagine or aspartate",
    "Z": "glutamine or glutamate",
    "J": "leucine or isoleucine",
}
_NUCLEOTIDES = frozenset("ACGTUN")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_NAME_LENGTH = 80
_LINE_LENGTH = 80
_SHOWN_POSITIONS = 5
_SHOWN_NAME = 40
_KIND = "a FASTA file"
_NUMBERING = re.compile(r"\s(numbering=\S*)")


@dataclasses.dataclass(frozen=True)
class Limits:
    """Which sequences are accepted."""

    min_length: int = setting(10, "shortest accepted sequence, residues")
    max_length: int = setting(2000, "longest accepted sequence, residues")


@dataclasses.dataclass
class _Record:
    """A header and the lines under it, each with its line number."""

    header: str
    line: int
    lines: list[tuple[int, str]]


def read_targets(paths: Sequence[Path], limits: Limits | None = None) -> list[Target]:
    """Read the records of all files, in order, and check them against each other and against the limits.

    Raises:
        FastaError: A file or record cannot be used, a sequence is too short or too long, or two records have one name.
    """
    limits = limits or Limits()
    if not paths:
        raise FastaError("no FASTA file given")
    targets = [target for path in paths for target in read_fasta(path)]
    for target in targets:
        _check_length(target, limits)
    _check_names(targets)
    return targets


def read_fasta(path: Path) -> list[Target]:
    """Read the records of one file.

    Raises:
        FastaError: The file cannot be read, is no FASTA file, or a record has no name, no sequence or a wrong letter.
    """
    text = read_user_text(path, _KIND, FastaError)
    refuse_control_characters(text, path, _KIND, FastaError)
    return [_target(record, path) for record in _records(text, path)]


def read_target(path: Path) -> Target:
    """Read a file that holds one record, such as a stage's `target.fasta`."""
    targets = read_fasta(path)
    if len(targets) != 1:
        raise FastaError(f"expected one record, found {len(targets)}", str(path))
    return targets[0]


def write_target(path: Path, target: Target) -> None:
    """Write one record: the header as it was given and the sequence as it is predicted."""
    sequence = target.sequence
    lines = [sequence[start : start + _LINE_LENGTH] for start in range(0, len(sequence), _LINE_LENGTH)]
    write_text(path, "\n".join([f">{target.header}", *lines]) + "\n")


def safe_name(header: str) -> str:
    """Return a file name made of the header's first word, marked with a hash of the header where it had to be changed.

    An empty result means that the first word holds nothing to make a name of.
    """
    words = header.split(maxsplit=1)
    word = words[0] if words else ""
    name = _UNSAFE.sub("_", word).lstrip(".-")[:_NAME_LENGTH]
    if not name or name == word:
        return name
    return f"{name}-{hashlib.sha256(header.encode()).hexdigest()[:6]}"


def as_predicted(letters: str) -> str:
    """Return upper-case letters as those that are predicted: selenocysteine as C, for example."""
    return "".join(_READ_AS.get(letter, letter) for letter in letters)


def numbering_in(header: str, where: str = "") -> str:
    """Return the residue numbers that a header gives after its first word; empty where it gives none.

    Raises:
        NumberingError: It gives them twice, or says `numbering=` and no more.
    """
    given = _NUMBERING.findall(header)
    if len(given) > 1:
        raise NumberingError("the header gives residue numbers twice", where, "leave one numbering= in it")
    if given == ["numbering="]:
        raise NumberingError("expected residue numbers after numbering=", where, MEND)
    return given[0].partition("=")[2] if given else ""


def _records(text: str, path: Path) -> Iterator[_Record]:
    record: _Record | None = None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.startswith(">"):
            if record:
                yield record
            record = _Record(line[1:].strip(), number, [])
        elif line.strip():
            if record is None:
                problem = f"expected a header line that starts with '>', found {_shown(line.strip())}"
                raise FastaError(problem, f"{path}:{number}")
            record.lines.append((number, line))
    if record:
        yield record


def _target(record: _Record, path: Path) -> Target:
    where = f"{path}:{record.line}"
    if not record.header:
        raise FastaError("the record has no name", where, "write a name after '>'")
    name = safe_name(record.header)
    if not name:
        problem = f"no file name can be made of {_shown(record.header.split()[0])}"
        raise FastaError(problem, where, "begin the header with a word of letters or digits")
    shown = _shown(record.header.split()[0])
    letters, stops = _letters(record, path, shown)
    if not letters:
        raise FastaError(f"{shown} has no sequence", where)
    sequence = as_predicted(letters)
    if set(sequence) == {"X"}:
        raise FastaError(f"{shown} has no known residue, only X", where)
    numbers = author_numbers(numbering_in(record.header, where) or "1", len(sequence), f"{where}: {shown}")
    chain = Chain(sequence, numbering_of(numbers))
    return Target(name, record.header, (chain,), tuple(_notes(letters, stops)), where)


def _letters(record: _Record, path: Path, shown: str) -> tuple[str, int]:
    """Return the upper-case letters of a record, without the stops at its end, and the number of those stops."""
    lines = [(number, "".join(line.split())) for number, line in record.lines]
    whole = "".join(line for _, line in lines)
    letters = whole.rstrip("*").upper()
    if not (whole.isascii() and set(letters) <= _AMINO_ACIDS | _READ_AS.keys() | {"X"}):
        _refuse_letter(lines, path, shown)
    return letters, len(whole) - len(whole.rstrip("*"))


def _refuse_letter(lines: Iterable[tuple[int, str]], path: Path, shown: str) -> None:
    position = 0
    for number, line in lines:
        for character in line:
            position += 1
            if not character.isascii() or character.upper() not in _AMINO_ACIDS | _READ_AS.keys() | {"X"}:
                what, mend = _wrong_letter(character)
                problem = f"{what} at position {position} of {shown} is no amino acid"
                raise FastaError(problem, f"{path}:{number}", mend)


def _wrong_letter(character: str) -> tuple[str, str]:
    if character in ":/":
        mend = "complexes are not predicted yet: give each chain a record of its own"
        return f"chain separator {character!r}", mend
    if character in "-.~":
        return f"gap {character!r}", "give the sequence without gaps"
    if character == "*":
        return "stop '*'", "it may stand at the end only"
    if character.isdigit():
        return f"digit {character!r}", "give the sequence without numbers"
    return repr(character), "use X for an unknown residue"


def _notes(letters: str, stops: int) -> Iterator[str]:
    for letter, replacement in _READ_AS.items():
        if letter in letters:
            places = [str(i) for i, found in enumerate(letters, start=1) if found == letter]
            more = ", ..." if len(places) > _SHOWN_POSITIONS else ""
            where = ", ".join(places[:_SHOWN_POSITIONS]) + more
            yield f"{len(places)} {letter} ({_SPELLED[letter]}) read as {replacement}, at position {where}"
    if "X" in letters:
        yield f"{letters.count('X')} X kept as unknown residues"
    if stops:
        yield "'*' at the end dropped"
    if set(letters) <= _NUCLEOTIDES:
        yield "all letters are also nucleotides: is this DNA or RNA?"


def _check_length(target: Target, limits: Limits) -> None:
    length, shown = len(target.sequence), _shown(target.name)
    if length < limits.min_length:
        problem = f"{shown} has {length} residues, fewer than min_length = {limits.min_length}"
        raise FastaError(problem, target.source, "leave it out or change the limit in the config")
    if length > limits.max_length:
        problem = f"{shown} has {length} residues, more than max_length = {limits.max_length}"
        raise FastaError(problem, target.source, "leave it out, cut it into domains or change the limit in the config")


def _check_names(targets: Iterable[Target]) -> None:
    """Refuse names that one folder cannot hold side by side, on file systems that ignore case too."""
    first: dict[str, Target] = collections.OrderedDict()
    for target in targets:
        other = first.setdefault(target.name.casefold(), target)
        if other is not target:
            problem = f"name {_shown(target.name)} is already used at {other.source}"
            raise FastaError(problem, target.source, "give each record its own first word")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_NAME else text[:_SHOWN_NAME] + "...")
