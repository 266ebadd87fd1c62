"""Read a text file that a user wrote: another kind, another encoding or a control character is one clear error."""

import unicodedata
from pathlib import Path

from pipeline.errors import FoldlineError

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}


def read_user_text(path: Path, kind: str, error: type[FoldlineError]) -> str:
    """Read a whole file, with one kind of line ends wherever it was made, and without a byte order mark.

    Args:
        path: The file.
        kind: What it should be, with its article, for messages: "a FASTA file".
        error: What to raise.
    """
    return text_of(read_user_bytes(path, kind, error), path, kind, error)


def text_of(data: bytes, path: Path, kind: str, error: type[FoldlineError]) -> str:
    """Do the same with the content of a file that is read already."""
    for magic, name in _COMPRESSED.items():
        if data.startswith(magic):
            raise error(f"expected {kind}, found {name} data", str(path), "decompress it first")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = data.count(b"\n", 0, wrong.start) + 1
        problem = f"byte 0x{data[wrong.start]:02x} is no UTF-8 text, expected {kind}"
        raise error(problem, f"{path}:{line}", "save the file as plain text in UTF-8") from wrong
    if not text.strip():
        raise error(f"the file is empty, expected {kind}", str(path))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def refuse_control_characters(text: str, path: Path, kind: str, error: type[FoldlineError]) -> None:
    """Refuse what no editor shows, tabs aside: a binary file, or a header that a terminal would obey."""
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.isprintable():
            for character in content:
                if unicodedata.category(character) in ("Cc", "Zl", "Zp") and character != "\t":
                    raise error(f"control character U+{ord(character):04X}, expected {kind}", f"{path}:{line}")


def read_user_bytes(path: Path, kind: str, error: type[FoldlineError]) -> bytes:
    """Read a whole file, if it is one."""
    if path.is_dir():
        raise error(f"this is a directory, expected {kind}", str(path))
    if path.exists() and not path.is_file():
        raise error(f"this is no regular file, expected {kind}", str(path), "write it to a file, it is read repeatedly")
    try:
        return path.read_bytes()
    except OSError as wrong:
        reason = (wrong.strerror or str(wrong)).lower()
        raise error(f"cannot read the {kind.partition(' ')[2]} ({reason})", str(path)) from wrong
