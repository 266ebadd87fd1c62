"""Name the sequence databases of a search: where each lies and which version it is."""

import dataclasses
import hashlib
import re
from pathlib import Path

from pipeline.errors import ConfigError, LibraryError

LIBRARY = "library"  # how a config names the sequences of the template library
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_LARGEST_HASHED = 1 << 30


@dataclasses.dataclass(frozen=True)
class Database:
    """A set of sequences to search.

    Args:
        name: Short name, safe in a file name.
        path: FASTA file, plain or gzip, or the folder of a template library.
        version: Release of the database, safe in a file name.
    """

    name: str
    path: Path
    version: str

    @property
    def folder(self) -> str:
        """Name and version as one folder name of the cache."""
        return f"{self.name}-{self.version}"


def parse_database(text: str) -> Database:
    """Read `NAME=PATH` or `NAME=PATH:VERSION`; without a version, a hash of the file's content is its version.

    Raises:
        ConfigError: The text is not of this form.
        LibraryError: The file cannot be read, or is too large to take its version from its content.
    """
    database = locate(text)
    return dataclasses.replace(database, version=database.version or _content_version(database.path))


def locate(text: str) -> Database:
    """Do the same without reading the file: the version stays empty where none is given."""
    name, separator, place = text.partition("=")
    if not (separator and name and place):
        raise ConfigError(f"expected NAME=PATH:VERSION for a database, found {text!r}")
    path, version = Path(place), ""
    if ":" in place and not path.exists():
        before, _, version = place.rpartition(":")
        path = Path(before)
    for what, word in (("name", name), ("version", version or "0")):
        if not _SAFE.fullmatch(word):
            raise ConfigError(f"{word!r} cannot be the {what} of a database", mend="use letters, digits and . _ + -")
    if not path.exists():
        raise LibraryError(f"the database {name!r} does not exist", str(path), "correct its path in the config")
    return Database(name, path, version)


def _content_version(path: Path) -> str:
    if not path.is_file():
        raise LibraryError("expected a FASTA file", str(path), "name a file, or give the library by --library")
    try:
        size = path.stat().st_size
        if size > _LARGEST_HASHED:
            raise LibraryError("a database of this size needs a version", str(path), "write NAME=PATH:VERSION")
        return "sha256." + hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise LibraryError(f"cannot read the database ({(error.strerror or str(error)).lower()})", str(path)) from error
