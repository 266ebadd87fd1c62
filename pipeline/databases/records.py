"""Name the databases of a search: where each lies, which version it is, and what is searched differently there.

In the config a database is `library`, `NAME=PATH:VERSION`, or a mapping of the fields of `Database`; on the command
line the mapping is one JSON text.
"""

import dataclasses
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pipeline.config import find
from pipeline.errors import ConfigError, LibraryError
from pipeline.library.manifest import MANIFEST, Manifest, read_manifest, schema_of

LIBRARY = "library"  # how a config names the sequences of the template library
Kind = Literal["sequences", "profiles", "library"]
Value = bool | int | float | str
SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
LARGEST_HASHED = 1 << 30  # bytes
# A database of several files is named by what their names begin with: MMseqs2's, pressed profiles, HH-suite's, BLAST's.
_ANCHORS = (".dbtype", ".h3m", "_hhm.ffindex", "_a3m.ffindex", ".pal", ".pin")
_INDICES = (".pal", ".pin")  # which makeblastdb leaves beside a FASTA file; they are not part of it
_BLOCK = 1 << 20
_PROFILE = "profile"  # the setting of a search that is a path
_SHOWN = 60  # letters of a path that is none


@dataclasses.dataclass(frozen=True)
class Database:
    """A database to search.

    Args:
        name: Short name, safe in a file name.
        path: FASTA file (plain, gzip or zstd) or other file, what the names of its files begin with, or the folder of a
            template library.
        version: Release of the database, safe in a file name.
        kind: What it holds: protein sequences, profiles, or a template library whose sequences are searched.
        engine: What searches it; empty for the stage's engine.
        max_rows: Most of its sequences that join an alignment; 0 for the stage's number.
        settings: Settings of the search that differ from the stage's here.
    """

    name: str
    path: Path
    version: str = ""
    kind: Kind = "sequences"
    engine: str = ""
    max_rows: int = 0
    settings: Mapping[str, Value] = dataclasses.field(default_factory=dict, hash=False)

    @property
    def folder(self) -> str:
        """Name and version as one folder name of the cache."""
        return f"{self.name}-{self.version}"

    @property
    def anchor(self) -> Path:
        """The file that is there where the database is: itself, or the first of the files that its path stands for."""
        if self.kind == LIBRARY:
            return self.path / MANIFEST
        beside = (Path(f"{self.path}{suffix}") for suffix in _ANCHORS)
        return self.path if self.path.is_file() else next((path for path in beside if path.exists()), self.path)

    @property
    def files(self) -> list[Path]:
        """All its files, in order, but not the k-mer index that MMseqs2 makes beside them."""
        if self.kind == LIBRARY:
            return [self.anchor, *(self.path / name for name in _manifest(self.path).files)]
        ends = [end for end in _ANCHORS if end not in _INDICES or not self.path.is_file()]
        if not any(Path(f"{self.path}{end}").exists() for end in ends):
            return [self.path]
        pattern = re.sub(r"([*?\[])", r"[\1]", self.path.name)
        found = {*self.path.parent.glob(pattern), *self.path.parent.glob(f"{pattern}[._]*")}
        return sorted(path for path in found if not path.name.startswith(f"{self.path.name}.idx"))

    def content_version(self, sha256: str = "") -> str:
        """Return a version that changes with the content.

        Args:
            sha256: Checksum of all files, where it is known.

        Raises:
            LibraryError: The files cannot be read, or are too large to take the version from them.
        """
        if self.kind == LIBRARY:
            return _manifest(self.path).version
        try:
            if sum(path.stat().st_size for path in self.files) > LARGEST_HASHED:
                mend = "write NAME=PATH:VERSION"
                raise LibraryError("a database of this size needs a version", str(self.anchor), mend)
            return "sha256." + (sha256 or sha256_of(self.files))[:12]
        except OSError as error:
            problem = f"cannot read the database ({(error.strerror or str(error)).lower()})"
            raise LibraryError(problem, str(self.anchor)) from error


FIELDS = tuple(field.name for field in dataclasses.fields(Database))


def parse_database(text: str) -> Database:
    """Read `NAME=PATH`, `NAME=PATH:VERSION` or a JSON mapping; without a version, a hash of the content is the version.

    Raises:
        ConfigError: The text is not of this form.
        LibraryError: The file cannot be read, is empty, or is too large to take its version from its content.
    """
    database = locate(text)
    return dataclasses.replace(database, version=database.version or database.content_version())


def locate(text: str) -> Database:
    """Do the same without reading the file: the version stays empty where none is given.

    Raises:
        ConfigError: The text is not of this form.
        LibraryError: The file does not exist or is empty.
    """
    database = described(text)
    check_place(database)
    return database


def described(text: str) -> Database:
    """Do the same for a database that need not be there.

    Raises:
        ConfigError: The text is not of this form.
    """
    return _from_mapping(text) if text.lstrip().startswith("{") else _from_words(text)


def as_text(entry: str | Mapping[str, Any]) -> str:
    """Return an entry of `search.databases` as the command line and this module read it."""
    return entry if isinstance(entry, str) else json.dumps(entry)


def _from_words(text: str) -> Database:
    name, separator, place = text.partition("=")
    before, colon, version = place.rpartition(":")
    if not (separator and name and place) or (colon and not before):
        raise ConfigError(f"expected NAME=PATH:VERSION for a database, found {text!r}")
    if colon and not _exists(name, place):
        return _checked(Database(name, _path(before), version), has_version=True)
    return _checked(Database(name, _path(place)))


def _from_mapping(text: str) -> Database:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"expected a database as a JSON mapping, found {text!r}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"expected a database as a JSON mapping, found {text!r}")
    unknown = [key for key in values if key not in FIELDS]
    if unknown:
        raise ConfigError(f"{unknown[0]!r} says nothing about a database", mend=f"known are {', '.join(FIELDS)}")
    missing = [key for key in ("name", "path") if not values.get(key)]
    if missing:
        raise ConfigError(f"a database without {missing[0]!r}: {text}")
    _check_types(values)
    settings = dict(values.get("settings", {}))
    if isinstance(profile := settings.get(_PROFILE), str) and profile:
        settings[_PROFILE] = str(_path(profile))
    values |= {"path": _path(values["path"]), "settings": settings}
    return _checked(Database(**values), has_version=bool(values.get("version")))


def _check_types(values: Mapping[str, Any]) -> None:
    """Check what the schema of the config checks, for mappings that were written by hand."""
    kinds: dict[str, type] = {"max_rows": int, "settings": dict}
    for key, value in values.items():
        kind = kinds.get(key, str)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ConfigError(f"expected {kind.__name__} for {key!r} of the database, found {value!r}")
    for key, value in values.get("settings", {}).items():
        if not isinstance(value, Value):
            raise ConfigError(f"expected a number, a text or yes or no for {key!r} of the database, found {value!r}")


def _checked(database: Database, *, has_version: bool = False) -> Database:
    """Refuse names that are not safe in a path and values out of range."""
    words = [("name", database.name)]
    words += [("version", database.version)] if has_version else []
    words += [("engine", database.engine)] if database.engine else []
    for what, word in words:
        if not SAFE.fullmatch(word):
            raise ConfigError(f"{word!r} cannot be the {what} of a database", mend="use letters, digits and . _ + -")
    if database.kind not in get_args(Kind):
        problem = f"{database.kind!r} cannot be the kind of the database {database.name!r}"
        raise ConfigError(problem, mend=f"known are {', '.join(get_args(Kind))}")
    if database.max_rows < 0:
        raise ConfigError(f"max_rows of the database {database.name!r} must be at least 0, found {database.max_rows}")
    return database


def check_place(database: Database) -> None:
    """Refuse what is not there, and what holds nothing: an interrupted copy must not look like no relatives.

    Raises:
        LibraryError: The file does not exist or is empty.
    """
    anchor = database.anchor
    if not anchor.exists():
        problem = f"the database {database.name!r} does not exist"
        is_library = database.kind == LIBRARY and database.path.exists()
        mend = f"name the folder of its {MANIFEST}" if is_library else "correct its path in the config"
        raise LibraryError(problem, str(database.path), mend)
    if anchor.is_dir():
        mend = "name the file, or what the names of its files begin with"
        raise LibraryError(f"the database {database.name!r} is a folder", str(anchor), mend)
    if anchor.is_file() and not anchor.stat().st_size:
        raise LibraryError(f"the database {database.name!r} is empty", str(anchor), "put the whole file there")


def _path(text: str) -> Path:
    """Return a path of the config: from the home folder, the working folder or the repository.

    Raises:
        LibraryError: It cannot be one, or may not be looked at.
    """
    path = Path(text)
    try:
        if not text.isprintable() and any(unicodedata.category(letter) == "Cc" for letter in text):
            raise ValueError
        path = path.expanduser()
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, RuntimeError):
        pass  # it may be in the repository, or what names begin with; or there is no such home
    except (OSError, ValueError) as error:
        reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "no path has such letters"
        raise LibraryError(f"cannot look for the database ({reason})", repr(text[:_SHOWN])) from error
    return find(str(path))


def _exists(name: str, text: str) -> bool:
    return Database(name, _path(text)).anchor.exists()


def _manifest(folder: Path) -> Manifest:
    schema = schema_of(folder)
    if not schema:
        raise LibraryError("expected a template library", str(folder), "name the folder of its library.json")
    return read_manifest(folder, schema)


def sha256_of(files: Iterable[Path]) -> str:
    """Return the checksum of files, one after the other, of any size."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()
