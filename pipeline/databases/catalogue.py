"""The public databases that can be fetched: the table `data/databases.tsv`, one row for each."""

import csv
import dataclasses
import os
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipeline.command_line import nearest
from pipeline.config import ROOT
from pipeline.databases.records import SAFE, Kind
from pipeline.errors import LibraryError
from pipeline.paths import expanded

TABLE = ROOT / "data" / "databases.tsv"
TIERS = ("embedded", "small", "full")
RELEASE, DATE = "release", "date"  # versions that are known when a database is fetched
_SUFFIXES = (".tar.gz", ".tar.zst", ".tar", ".gz", ".zst")


@dataclasses.dataclass(frozen=True)
class Offer:
    """A public database.

    Args:
        name: How commands and the config call it, and the name of its folder.
        tiers: Which tiers hold it; none where it is fetched by its name only.
        kind: What it holds, as in the config.
        engine: What searches it; empty for any.
        file: Its file, or what the names of its files begin with.
        version: Its release; `release` for the one that the publisher names beside the checksum, `date` for the day on
            which it is fetched.
        url: Its address.
        bytes: About the size of what is fetched.
        unpacked: About the size of what is made of it, bytes.
        only: Text in the header of each record that is kept; empty to keep all.
        checksum: `md5:HEX` or `sha256:HEX`, or the address of a metalink that gives checksum and release; empty where
            the publisher gives none.
        licence: Its short name, or where it is stated.
        citation: What to cite.
        basis: Where address and sizes are from.
        mirror: Another address of the same file; not in the table.
    """

    name: str
    tiers: tuple[str, ...]
    kind: Kind
    engine: str
    file: str
    version: str
    url: str
    bytes: int
    unpacked: int
    only: str
    checksum: str
    licence: str
    citation: str
    basis: str
    mirror: str = ""

    @property
    def source(self) -> str:
        """From where it is fetched."""
        return self.mirror or self.url

    @property
    def suffix(self) -> str:
        """How it is packed, by its address: `.tar.gz`, `.gz`, ... or nothing."""
        path = urllib.parse.urlsplit(self.url).path
        return next((suffix for suffix in _SUFFIXES if path.endswith(suffix)), "")

    @property
    def is_archive(self) -> bool:
        """Whether several files are packed in one."""
        return self.suffix.startswith(".tar")


def read_catalogue(path: Path = TABLE) -> dict[str, Offer]:
    """Return the public databases by name, in the order of the table.

    Raises:
        LibraryError: The table is damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            offers = [_offer(row) for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise LibraryError(f"the table of databases is damaged ({error!r})", str(path)) from error
    return {offer.name: offer for offer in offers}


def chosen(words: Iterable[str], catalogue: Mapping[str, Offer]) -> list[Offer]:
    """Return the databases that names and tiers mean, each once.

    Raises:
        LibraryError: A word is neither.
    """
    found: dict[str, Offer] = {}
    for word in words:
        members = [offer for offer in catalogue.values() if word in (offer.name, *offer.tiers)]
        if not members and word not in TIERS:
            known = [*TIERS, *catalogue]
            near = nearest(word, known)
            raise LibraryError(f"{word!r} is neither a tier nor a database{near}", mend=f"known are {', '.join(known)}")
        found |= {offer.name: offer for offer in members}
    return list(found.values())


def default_folder() -> Path:
    """Return where databases are fetched to: `$FOLDLINE_DATABASES`, else beside the user's other data.

    Raises:
        ConfigError: There is no home folder that it is in.
    """
    if own := os.environ.get("FOLDLINE_DATABASES"):
        return expanded(own)
    data = Path(os.environ.get("XDG_DATA_HOME") or ".")
    base = data if data.is_absolute() else expanded("~/.local/share")
    return base / "foldline" / "databases"


def _offer(row: Mapping[str, str]) -> Offer:
    values = {field.name: row[field.name] for field in dataclasses.fields(Offer) if field.name != "mirror"}
    if not (
        SAFE.fullmatch(values["name"])
        and SAFE.fullmatch(values["version"])
        and Path(values["file"]).name == values["file"]
    ):
        raise ValueError(values["name"])
    tiers = tuple(filter(None, values["tiers"].split(",")))
    sizes = {name: int(values[name]) for name in ("bytes", "unpacked")}
    return Offer(**{**values, **sizes, "tiers": tiers})  # type: ignore[arg-type]
