"""The archive of a published parameter set: look at all members before any is written, then take out what we read."""

import contextlib
import dataclasses
import hashlib
import logging
import tarfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath

from pipeline.errors import WeightsError
from pipeline.records import atomic
from pipeline.weights.records import ParameterSet

_BLOCK = 1 << 20
_LARGEST = 2.0  # of the published file's size: files that were written anew differ a little

log = logging.getLogger(__name__)

Check = Callable[[Path, str, str], None]  # file, its final name, what to call it in an error


@dataclasses.dataclass(frozen=True)
class Extracted:
    """A file that was taken out: its size in bytes and its checksum."""

    size: int
    sha256: str


def members(archive: Path, published: ParameterSet) -> dict[str, tarfile.TarInfo]:
    """Return the members of an archive that are kept, by name, after a look at all of them.

    Raises:
        WeightsError: A member is unknown, twice there, too large or no plain file, or the archive is damaged.
    """
    found: dict[str, tarfile.TarInfo] = {}
    with _opened(archive) as tar:
        for member in tar:
            name = _checked_name(archive, member, published)
            if name in found:
                raise WeightsError(f"the member {name!r} is there twice", str(archive), _mend())
            if name:
                found[name] = member
    unused = [name for name in found if name in published.unused]
    if unused:
        log.info("%s: left out: %d of complexes (multimer), which no network here reads", archive, len(unused))
    return {name: member for name, member in found.items() if name in published.files}


def extract(
    archive: Path, wanted: Collection[tarfile.TarInfo], folder: Path, check: Check
) -> Iterator[tuple[str, Extracted]]:
    """Take members out, one after the other; each appears under its name when it is whole and checked.

    Args:
        archive: Path of the archive.
        wanted: Members of it that `members` returned.
        folder: Where the files go.
        check: Raises WeightsError for a file that does not hold what its name says.

    Raises:
        WeightsError: The archive is damaged, or a file fails its check.
    """
    with _opened(archive) as tar:
        for member in wanted:
            name = PurePosixPath(member.name).name
            log.info("%s: taking out %s", archive.name, name)
            with atomic(folder / name) as temporary:
                extracted = _copy(tar, member, temporary)
                check(temporary, name, f"{archive}: {name}")
            yield name, extracted


def _checked_name(archive: Path, member: tarfile.TarInfo, published: ParameterSet) -> str:
    """Return the name of a member without `./`; empty for the folder `.` itself."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise WeightsError(f"the member {member.name!r} leads out of the folder", str(archive), _mend())
    if member.isdir() and path == PurePosixPath():
        return ""
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
        raise WeightsError(f"the member {member.name!r} is no plain file", str(archive), _mend())
    if str(path) not in {*published.files, *published.unused}:
        raise WeightsError(f"the member {member.name!r} is not of {published.name}", str(archive), _mend())
    limit = int(_LARGEST * published.files.get(str(path), max(published.files.values())))
    if not 0 < member.size <= limit:
        problem = f"the member {member.name!r} has {member.size} bytes; expected 1 to {limit}"
        raise WeightsError(problem, str(archive), _mend())
    return str(path)


def _copy(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> Extracted:
    digest, size = hashlib.sha256(), 0
    source = tar.extractfile(member)
    if source is None:
        raise WeightsError(f"the member {member.name!r} is no plain file", str(tar.name), _mend())
    with source, target.open("wb") as file:
        while block := source.read(_BLOCK):
            file.write(block)
            digest.update(block)
            size += len(block)
    if size != member.size:
        raise WeightsError(f"{member.name} ends after {size} of {member.size} bytes", str(tar.name), _mend())
    return Extracted(size, digest.hexdigest())


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(archive, "r:") as tar:
            yield tar
    except tarfile.TarError as error:
        raise WeightsError(f"expected a whole tar archive ({error})", str(archive), _mend()) from error


def _mend() -> str:
    return "get the archive anew, or unpack it and import its .npz files"
