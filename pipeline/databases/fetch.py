"""Fetch public databases: resumed, verified, unpacked, and recorded only when they are whole.

A database lies in the folder of its name. `foldline.json` is written last: where it is, and the files have the sizes
that it says, the database is complete. What is on its way lies in `incoming`.
"""

import dataclasses
import datetime
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.databases.catalogue import Offer
from pipeline.databases.formats import recognise
from pipeline.databases.publisher import Statement, statement, version_of
from pipeline.databases.records import Database, check_place
from pipeline.databases.unpack import Written, unpack_archive, unpack_file
from pipeline.download.fetch import Patience, Received, download, in_words
from pipeline.errors import DownloadError, LibraryError, RecordError
from pipeline.lock import alone
from pipeline.records import read_json, write_json

SCHEMA, ARCHIVE_SCHEMA = "foldline.fetched/1", "foldline.archive/1"
RECORD, INCOMING, UNPACKED = "foldline.json", "incoming", "unpacked"
_LARGEST = 3  # times the size that the table says: releases grow, and a bomb is larger

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Installed:
    """A database that is here and whole."""

    offer: Offer
    path: Path
    version: str


def fetch(offers: Sequence[Offer], folder: Path, patience: Patience | None = None) -> list[Installed]:
    """Fetch what is not here yet of some databases.

    Args:
        offers: The databases.
        folder: Where their folders go.
        patience: How long to try.

    Raises:
        DownloadError: There is no room, or a database does not come or is another one.
        LibraryError: What came cannot be unpacked or is no database.
    """
    _check_room([offer for offer in offers if installed(offer, folder) is None], folder)
    return [_one(offer, folder, patience or Patience()) for offer in offers]


def installed(offer: Offer, folder: Path) -> Installed | None:
    """Return a database that is here and whole, by its record and the sizes of its files."""
    place = folder / offer.name
    try:
        record = read_json(place / RECORD, SCHEMA)
        sizes = {str(name): int(file["bytes"]) for name, file in record["files"].items()}
        found = Installed(offer, place / str(record["file"]), str(record["version"]))
    except (RecordError, KeyError, TypeError, AttributeError, ValueError):
        return None
    is_whole = all(_size(place / name) == size for name, size in sizes.items())
    return found if sizes and is_whole else None


def _one(offer: Offer, folder: Path, patience: Patience) -> Installed:
    place = folder / offer.name
    with alone(place, "databases", DownloadError):
        if here := installed(offer, folder):
            log.info("%s: %s is here already", here.path, here.version)
            shutil.rmtree(place / INCOMING, ignore_errors=True)  # where a command was ended at the last moment
            return here
        log.info("%s (%s). Please cite %s", offer.name, offer.licence, offer.citation)
        (place / INCOMING).mkdir(exist_ok=True)
        shutil.rmtree(place / INCOMING / UNPACKED, ignore_errors=True)  # of a command that was ended: it takes room
        said = statement(offer, place / INCOMING, patience)
        version = version_of(offer, said, datetime.datetime.now(datetime.UTC).date().isoformat())
        archive, received = _fetched(offer, said, place / INCOMING, patience)
        files = _unpacked(offer, archive, version)
        _settle(place)
        write_json(place / RECORD, _record(offer, version, said, received, files), SCHEMA)
        shutil.rmtree(place / INCOMING)
        size = in_words(sum(file.bytes for file in files.values()))
        log.info("%s: %s, version %s", place / offer.file, size, version)
        return Installed(offer, place / offer.file, version)


def _fetched(offer: Offer, said: Statement, incoming: Path, patience: Patience) -> tuple[Path, Received]:
    """Fetch the file, unless an earlier run that was interrupted later has it."""
    path, record = incoming / f"{offer.name}{offer.suffix}", incoming / "archive.json"
    about = {"url": offer.source, **dataclasses.asdict(said.expected)}
    known = _earlier(record, about)
    if known and _size(path) == known.size:
        log.info("%s is here already", path)
        return path, known
    path.unlink(missing_ok=True)
    record.unlink(missing_ok=True)
    received = download(offer.source, path, said.expected, patience=patience, room=offer.unpacked)
    write_json(record, {"about": about, **dataclasses.asdict(received)}, ARCHIVE_SCHEMA)
    return path, received


def _earlier(record: Path, about: Mapping[str, Any]) -> Received | None:
    try:
        found = read_json(record, ARCHIVE_SCHEMA)
        return Received(int(found["size"]), str(found["sha256"])) if found["about"] == about else None
    except (RecordError, KeyError, TypeError, ValueError):
        return None


def _unpacked(offer: Offer, archive: Path, version: str) -> dict[str, Written]:
    """Unpack into a folder of its own, and look whether it is a database.

    Raises:
        LibraryError: It is none. The archive is removed, for the next attempt must not meet it again.
    """
    folder = archive.parent / UNPACKED
    folder.mkdir()
    log.info("%s: unpacking", archive)
    most = _LARGEST * offer.unpacked
    try:
        if offer.is_archive:
            files = unpack_archive(archive, folder, most)
        else:
            files = {offer.file: unpack_file(archive, folder / offer.file, most, offer.only)}
        database = Database(offer.name, folder / offer.file, version, offer.kind)
        check_place(database)
        recognise(database)
    except LibraryError:
        archive.unlink()
        raise
    return files


def _settle(place: Path) -> None:
    """Give the files their final names."""
    unpacked = place / INCOMING / UNPACKED
    (place / RECORD).unlink(missing_ok=True)
    for path in sorted(unpacked.iterdir()):
        target = place / path.name
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        path.replace(target)


def _record(
    offer: Offer, version: str, said: Statement, received: Received, files: Mapping[str, Written]
) -> dict[str, Any]:
    return {
        "name": offer.name,
        "version": version,
        "file": offer.file,
        "url": offer.source,
        "fetched": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "archive": {**dataclasses.asdict(received), "md5": said.expected.md5, "checked": said.basis},
        "files": {name: dataclasses.asdict(file) for name, file in files.items()},
        "licence": offer.licence,
        "citation": offer.citation,
    }


def _check_room(offers: Sequence[Offer], folder: Path) -> None:
    """Refuse to begin what does not fit: each database needs room for its archive and what is made of it.

    What an earlier command left counts: an archive that is here, or a part of it, and what was unpacked, which is
    removed first.
    """
    needed = kept = 0
    for offer in offers:
        incoming = folder / offer.name / INCOMING
        archive = incoming / f"{offer.name}{offer.suffix}"
        part = _size(archive.with_name(f"{archive.name}.part")) or 0
        to_come = 0 if _size(archive) else max(0, offer.bytes - part)
        unpacked = (path for path in (incoming / UNPACKED).rglob("*") if not path.is_symlink())
        to_make = offer.unpacked - sum(_size(path) or 0 for path in unpacked)
        needed = max(needed, kept + to_come + to_make)
        kept += to_make
    free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    if free < needed:
        names = ", ".join(offer.name for offer in offers)
        problem = f"expected about {in_words(needed)} of free disk for {names}; there are {in_words(free)}"
        raise DownloadError(problem, str(folder), "make room, name fewer databases, or another folder by --folder")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None
