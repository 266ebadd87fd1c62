"""Put parameter files into their folder: from the published archive, or from files that the user has.

A file appears under its name when it is whole and read once as the network reads it, and its checksum is recorded.
"""

import dataclasses
import datetime
import logging
import os
import shutil
import urllib.parse
from collections.abc import Collection
from pathlib import Path

from pipeline.download.fetch import Expected, Patience, download, in_words
from pipeline.errors import WeightsError
from pipeline.lock import alone
from pipeline.records import atomic
from pipeline.weights.archive import Check, Extracted, extract, members
from pipeline.weights.records import LICENCE_FILE, SETS, Entry, ParameterSet, read_record, sha256_of, write_record

_ZIP_MAGIC = b"PK"

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Fetch:
    """How to fetch a set.

    Args:
        url: Address of the archive; empty for the published one.
        sha256: Its checksum; empty for the known one.
        keep_archive: Whether the archive stays beside the files.
        patience: How long to try.
    """

    url: str = ""
    sha256: str = ""
    keep_archive: bool = False
    patience: Patience = dataclasses.field(default_factory=Patience)


@dataclasses.dataclass(frozen=True)
class Import:
    """How to import files.

    Args:
        name: Name of the model whose parameters the file holds; empty to take it from the file's name.
        link: Whether to make hard links instead of copies.
        replace: Whether a file may take the place of another one.
    """

    name: str = ""
    link: bool = False
    replace: bool = False


def fetch(published: ParameterSet, how: Fetch, check: Check) -> None:
    """Fetch what is missing or damaged of a set; where nothing is, nothing is fetched.

    Args:
        published: The set.
        how: From where.
        check: Raises WeightsError for a file that does not hold what its name says.

    Raises:
        DownloadError: The archive does not come, or is another one.
        WeightsError: The archive holds something else.
    """
    with alone(published.folder, "weights", WeightsError):
        wanted = [name for name in published.models.values() if not _is_good(published, name, check)]
        if not wanted:
            log.info("%s: all %d files are here and verified", published.folder, len(published.models))
            return
        archive = _archive(published, how, wanted)
        try:
            _take(published, archive, how.url or published.url, check, wanted=[*wanted, LICENCE_FILE], complete=True)
        except WeightsError:
            if not how.keep_archive:
                archive.unlink()  # the next attempt must not meet it again
            raise
        if not how.keep_archive:
            archive.unlink()
    log.info("%s: %d files put here and verified", published.folder, len(wanted))


def import_files(files: Collection[Path], how: Import, check: Check) -> None:
    """Import parameter files, folders of them, or archives of them.

    Raises:
        WeightsError: A file is no parameter file, or not one of a model that is known here, or is damaged.
    """
    paths = [path for given in files for path in _files_of(given)]
    if how.name and len(paths) != 1:
        raise WeightsError(f"--as {how.name} goes with one file, found {len(paths)}")
    for path in paths:
        if _is_npz(path):
            published, name = _target(path, how)
            with alone(published.folder, "weights", WeightsError):
                _import_one(published, path, name, how, check)
        else:
            _import_archive(path, how, check)


def recorded(published: ParameterSet, name: str, extracted: Extracted, source: str) -> Entry:
    """Record a file that was just put into its place, or found there, and verified."""
    modified = (published.folder / name).stat().st_mtime_ns
    entry = Entry(extracted.size, extracted.sha256, source, now(), now(), modified)
    write_record(published, {**read_record(published), name: entry})
    return entry


def now() -> str:
    """Return the date and time in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _is_good(published: ParameterSet, name: str, check: Check) -> bool:
    """Whether a file is here and is what is recorded; what is not recorded yet is checked and recorded."""
    path = published.folder / name
    if not path.is_file():
        return False
    log.info("checking %s", path)
    entry, found = read_record(published).get(name), Extracted(path.stat().st_size, sha256_of(path))
    if entry:
        if entry.sha256 != found.sha256:
            log.warning("%s: it has changed since %s and will be replaced", path, entry.date)
        return entry.sha256 == found.sha256
    try:
        check(path, name, str(path))
    except WeightsError as error:
        log.warning("%s; it will be replaced", error)
        return False
    recorded(published, name, found, "found in its place")
    return True


def _archive(published: ParameterSet, how: Fetch, wanted: Collection[str]) -> Path:
    """Return the archive, fetched unless an earlier run left it."""
    expected = Expected(None if how.sha256 else published.archive_bytes, how.sha256 or published.archive_sha256)
    path = published.folder / Path(urllib.parse.urlsplit(published.url).path).name
    if path.is_file() and (not expected.sha256 or sha256_of(path) == expected.sha256):
        log.info("%s: the archive is here", path)
        return path
    room = sum(published.files[name] for name in wanted)
    download(how.url or published.url, path, expected, patience=how.patience, room=room)
    return path


def _take(
    published: ParameterSet,
    archive: Path,
    source: str,
    check: Check,
    *,
    wanted: Collection[str],
    complete: bool = False,
) -> None:
    """Take the wanted files out of an archive, which must hold all of them where it is to be complete."""
    found = members(archive, published)
    missing = [name for name in published.files if name not in found]
    if complete and missing:
        problem = f"not in this archive: {', '.join(missing)}"
        raise WeightsError(problem, str(archive), "name the archive of all parameters")
    if not set(found) - {LICENCE_FILE}:
        raise WeightsError(f"there are no parameters of {published.name} in this archive", str(archive))
    chosen = [member for name, member in found.items() if name in wanted]
    _check_room(published.folder, sum(member.size for member in chosen))
    for name, extracted in extract(archive, chosen, published.folder, check):
        recorded(published, name, extracted, source)


def _import_archive(path: Path, how: Import, check: Check) -> None:
    if how.name:
        raise WeightsError(f"--as {how.name} goes with one .npz file; this is none", str(path))
    published = next(iter(SETS.values()))
    with alone(published.folder, "weights", WeightsError):
        here = {name for name in published.models.values() if (published.folder / name).exists() and not how.replace}
        if here:
            log.info("%s: kept as they are, without --replace: %s", published.folder, ", ".join(sorted(here)))
        _take(published, path, str(path.resolve()), check, wanted=set(published.files) - here)


def _files_of(path: Path) -> list[Path]:
    """Return a file, or the files of a folder whose names are known."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise WeightsError("there is no such file", str(path))
    names = [name for published in SETS.values() for name in published.models.values()]
    found = [path / name for name in names if (path / name).is_file()]
    if not found:
        raise WeightsError("there are no parameter files in this folder", str(path), f"expected for example {names[0]}")
    return found


def _is_npz(path: Path) -> bool:
    """Whether a file is meant to hold arrays; a truncated one is no readable archive, but begins as one."""
    with path.open("rb") as file:
        return path.suffix == ".npz" or file.read(2) == _ZIP_MAGIC


def _target(path: Path, how: Import) -> tuple[ParameterSet, str]:
    """Return the set and the name under which a file is known there."""
    model = how.name or path.name.removeprefix("params_").removesuffix(".npz")
    for published in SETS.values():
        if model in published.models:
            return published, published.models[model]
        if path.name in published.unused:
            problem = "this is a model of complexes (multimer); no network here reads it"
            raise WeightsError(problem, str(path))
    known = ", ".join(model for published in SETS.values() for model in published.models)
    problem = f"{model!r} is no model whose parameters can be imported"
    raise WeightsError(problem, str(path), f"say which one it is: --as NAME, of {known}")


def _import_one(published: ParameterSet, path: Path, name: str, how: Import, check: Check) -> None:
    target, found = published.folder / name, Extracted(path.stat().st_size, sha256_of(path))
    if target.exists() and sha256_of(target) == found.sha256:
        check(target, name, str(path))
    elif target.exists() and not how.replace:
        raise WeightsError(f"another {name} is here already", str(target), "--replace puts the new one there")
    elif how.link:
        check(path, name, str(path))
        _link(path, target)
    else:
        _check_room(published.folder, found.size)
        with atomic(target) as temporary:
            shutil.copyfile(path, temporary)
            check(temporary, name, str(path))
    recorded(published, name, found, str(path.resolve()))
    log.info("%s: %s, sha256 %s", target, in_words(found.size), found.sha256)


def _link(path: Path, target: Path) -> None:
    """Make a hard link under the final name. The file stays the user's, so that its mode is left as it is."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        os.link(path.resolve(), temporary)
        temporary.replace(target)
    except OSError as error:
        problem = f"no hard link can be made there ({(error.strerror or str(error)).lower()})"
        raise WeightsError(problem, str(path), "copy it: leave --link away") from error
    finally:
        temporary.unlink(missing_ok=True)


def _check_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size:
        problem = f"expected {in_words(size)} of free disk, there are {in_words(free)}"
        raise WeightsError(problem, str(folder), "make room, or set FOLDLINE_WEIGHTS to another folder")
