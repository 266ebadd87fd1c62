"""Texts and tables as CIF holds them."""

import re
import textwrap
from collections.abc import Iterable, Mapping

Tables = dict[str, list[str]]  # the columns of an mmCIF file, by category and name
_RESERVED = re.compile(r"(loop_|stop_|global_|data_|save_)\S*", re.IGNORECASE)
_LINE = 1000  # characters; CIF 1.1 allows 2,048 a line
_SEQUENCE_LINE = 80


def table(category: str, columns: Mapping[str, Iterable[object]]) -> Tables:
    """Return the columns of a category as text, by their full names."""
    return {f"{category}.{name}": [str(value) for value in column] for name, column in columns.items()}


def text_of(text: str) -> str:
    """Return a text that every CIF reader gives back: ASCII, one space between words, lines of a bearable length."""
    plain = " ".join(text.encode("ascii", "backslashreplace").decode().split())
    plain = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in plain)
    if not plain or plain in "?.":
        return "?"
    if _RESERVED.fullmatch(plain):
        return f"({plain})"
    return plain if len(plain) <= _LINE else "\n ".join(textwrap.wrap(plain, _LINE))


def sequence_of(letters: str) -> str:
    """Return a sequence on lines that people can read."""
    return "\n".join(letters[i : i + _SEQUENCE_LINE] for i in range(0, len(letters), _SEQUENCE_LINE))
