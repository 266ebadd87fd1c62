"""Read the rows of an alignment that a user made: A3M, Stockholm or aligned FASTA, plain or gzip."""

import dataclasses
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from models.residue_constants import HHBLITS_ID
from pipeline.a3m import aligned, records
from pipeline.errors import AlignmentError
from pipeline.text_file import read_user_bytes, refuse_control_characters, text_of

KIND = "an alignment (A3M, Stockholm or aligned FASTA)"
_GZIP = b"\x1f\x8b"
_LARGEST = 1 << 31  # bytes of text: a packed file may hold far more than it weighs
_STOCKHOLM = "# STOCKHOLM"
_SUFFIX = ".a3m"
_LETTERS = frozenset("".join(HHBLITS_ID) + "".join(HHBLITS_ID).lower())
_GAPS = str.maketrans("._~", "---")
_SPACE = str.maketrans("", "", " \t")
_STOP = "*"
_PADDING = str.maketrans("", "", ". \t")
_ANNOTATION = ("ss_pred", "ss_conf", "ss_dssp", "sa_dssp", "aa_dssp", "aa_pred")  # HH-suite's rows that are no sequence
_SHOWN = 40


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of an alignment.

    Args:
        name: Its header.
        letters: As in A3M: upper-case letters and gaps in columns, lower-case letters between them.
        line: Where it starts in the file.
    """

    name: str
    letters: str
    line: int


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a file, whichever of the formats it is.

    What begins with `# STOCKHOLM` is Stockholm. A file called `.a3m` is A3M, and so is any other whose rows have
    different lengths; where all have the same length, every letter stands in a column of its own.

    Raises:
        AlignmentError: The file cannot be read, a row has a wrong letter, or the rows do not have the same columns.
    """
    text = _text(path)
    refuse_control_characters(text, path, KIND, AlignmentError)
    rows = list(_stockholm(text, path)) if text.lstrip().startswith(_STOCKHOLM) else _fasta(text, path)
    if not rows:
        raise AlignmentError("the alignment has no rows", str(path))
    width = len(aligned(rows[0].letters))
    for row in rows:
        found = len(aligned(row.letters))
        if found != width:
            problem = f"{shown(row.name)} has {found} columns, the first row {width}"
            raise AlignmentError(problem, f"{path}:{row.line}", "give rows of an alignment, not single sequences")
    return rows


def shown(name: str) -> str:
    """Return a name for a message."""
    return repr(name if len(name) <= _SHOWN else name[:_SHOWN] + "...")


def _text(path: Path) -> str:
    data = read_user_bytes(path, KIND, AlignmentError)
    if data.startswith(_GZIP):
        data = _unpacked(path)
    return text_of(data.replace(b"\x00", b""), path, KIND, AlignmentError)  # MMseqs2 ends its entries with a zero


def _unpacked(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            data = file.read(_LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = str(error).lower() or type(error).__name__
        raise AlignmentError(f"the packed file is damaged ({reason})", str(path)) from error
    if len(data) > _LARGEST:
        raise AlignmentError(f"expected at most {_LARGEST} bytes of text in the packed file", str(path))
    return data


def _fasta(text: str, path: Path) -> list[Row]:
    found = [Row(*record) for record in _sequences(text, path)]
    is_a3m = Path(path.name.removesuffix(".gz")).suffix.lower() == _SUFFIX
    if is_a3m or len({len(row.letters.translate(_SPACE)) for row in found}) > 1:
        return [_checked(row, row.letters.translate(_PADDING).removesuffix(_STOP), path) for row in found]
    return [_in_columns(row, path) for row in found]


def _sequences(text: str, path: Path) -> Iterator[tuple[str, str, int]]:
    """Give the records that are sequences."""
    for line, name, letters in records(text, str(path)):
        if not name.startswith(_ANNOTATION):
            yield name, letters, line


def _stockholm(text: str, path: Path) -> Iterator[Row]:
    """Put the blocks of each sequence together."""
    parts: dict[str, list[str]] = {}
    first: dict[str, int] = {}
    described: dict[str, str] = {}
    ended = False
    for number, line in enumerate(text.split("\n"), start=1):
        content = line.strip()
        if ended and content:
            raise AlignmentError("the file holds more than one alignment", f"{path}:{number}", "leave the target's")
        if content == "//":
            ended = True
        elif content.startswith("#=GS"):
            described |= _description(content)
        elif content and not content.startswith("#"):
            name, letters = _stockholm_line(content, f"{path}:{number}")
            parts.setdefault(name, []).append(letters)
            first.setdefault(name, number)
    if not ended:
        raise AlignmentError("the alignment ends without '//': it is cut short", str(path))
    for name, pieces in parts.items():
        yield _in_columns(Row(f"{name} {described.get(name, '')}".strip(), "".join(pieces), first[name]), path)


def _stockholm_line(content: str, where: str) -> tuple[str, str]:
    words = content.split()
    if len(words) != 2:
        raise AlignmentError(f"expected a name and its row, found {shown(content)}", where)
    return words[0], words[1]


def _description(content: str) -> dict[str, str]:
    """Return the description of a sequence by its name, from `#=GS NAME DE ...`."""
    words = content.split(maxsplit=3)
    return {words[1]: words[3]} if len(words) == 4 and words[2] == "DE" else {}


def _in_columns(row: Row, path: Path) -> Row:
    """Read a row of a format in which all letters stand in columns."""
    letters = row.letters.translate(_SPACE).translate(_GAPS)
    residues = letters.rstrip("-")
    if residues.endswith(_STOP):  # a stop at the end is no residue, as in FASTA
        letters = residues.removesuffix(_STOP).ljust(len(letters), "-")
    checked = _checked(row, letters, path)
    return dataclasses.replace(checked, letters=checked.letters.upper())


def _checked(row: Row, letters: str, path: Path) -> Row:
    if not _LETTERS.issuperset(letters):
        wrong = next(i for i, letter in enumerate(letters) if letter not in _LETTERS)
        problem = f"{letters[wrong]!r} at position {wrong + 1} of {shown(row.name)} is neither amino acid nor gap"
        raise AlignmentError(problem, f"{path}:{row.line}")
    return dataclasses.replace(row, letters=letters)
