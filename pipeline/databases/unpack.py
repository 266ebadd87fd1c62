"""Unpack what was fetched: a single packed file, or an archive of files, which may be hostile or cut short.

Files are written to a folder of their own; who calls gives them their final names when all of them are whole.
"""

import contextlib
import dataclasses
import errno
import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pipeline.databases.packed import opened
from pipeline.errors import DownloadError, LibraryError

_BLOCK = 1 << 20
_MEND = "it is not what it should be: check the address and the checksum"


@dataclasses.dataclass(frozen=True)
class Written:
    """A file that was unpacked: its size in bytes and its checksum."""

    bytes: int
    sha256: str


class Limit:
    """How much may be unpacked in all, bytes: a small file can be packed that fills every disk."""

    def __init__(self, most: int, where: Path) -> None:
        self.left, self.most, self.where = most, most, where

    def take(self, count: int) -> None:
        """Note that so much was written.

        Raises:
            LibraryError: It is too much.
        """
        self.left -= count
        if self.left < 0:
            raise LibraryError(f"more than {self.most} bytes are packed in this file", str(self.where), _MEND)


def unpack_file(packed: Path, target: Path, most: int, only: str = "") -> Written:
    """Unpack a file, or copy one that is not packed.

    Args:
        packed: What was fetched.
        target: Where to write.
        most: The most that may come out, bytes.
        only: Text in the header of each FASTA record that is kept; empty to keep all.

    Raises:
        LibraryError: The file is damaged, cut short, too large or holds nothing that is kept.
        DownloadError: The disk is full, or cannot be written.
    """
    with opened(packed) as file:
        blocks = _kept(file, only.encode()) if only else _blocks(file)
        written = _write(blocks, target, Limit(most, packed))
    if not written.bytes:
        what = f"no record of {only!r}" if only else "nothing"
        raise LibraryError(f"there is {what} in this file", str(packed), _MEND)
    return written


def unpack_archive(archive: Path, folder: Path, most: int) -> dict[str, Written]:
    """Unpack the files of a tar archive, itself packed or not, in one pass.

    Args:
        archive: What was fetched.
        folder: Where to write.
        most: The most that may come out, bytes.

    Returns:
        What was written, by path in the folder; links to files of the archive are written as such.

    Raises:
        LibraryError: The archive is damaged or cut short, holds nothing or too much, or a member leads elsewhere, is
            there twice, or is neither file, folder nor link to a file beside it.
        DownloadError: The disk is full, or cannot be written.
    """
    found: dict[str, Written] = {}
    links: dict[str, str] = {}
    limit = Limit(most, archive)
    try:
        with opened(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                name = _checked_name(archive, member)
                if name in found or name in links:
                    raise LibraryError(f"the member {name!r} is there twice", str(archive), _MEND)
                if member.isfile():
                    found[name] = _extract(tar, member, folder / name, limit)
                elif not member.isdir():
                    links[name] = member.linkname
            for block in _blocks(stream):  # to the end, where the checksum of the packing is
                limit.take(len(block))
    except tarfile.TarError as error:
        raise LibraryError(f"expected a whole tar archive ({error})", str(archive), _MEND) from error
    if not sum(written.bytes for written in found.values()):
        raise LibraryError("there is nothing in this archive", str(archive), _MEND)
    _make_links(archive, folder, links, found)
    return found


def _checked_name(archive: Path, member: tarfile.TarInfo) -> str:
    """Return the path of a member without `./`."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not member.name.isprintable():
        raise LibraryError(f"the member {member.name!r} leads out of the folder", str(archive), _MEND)
    is_link = member.issym() and PurePosixPath(member.linkname).name == member.linkname
    if member.issparse() or not (member.isfile() or member.isdir() or is_link):
        raise LibraryError(f"the member {member.name!r} is no plain file", str(archive), _MEND)
    return str(path)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, limit: Limit) -> Written:
    source = tar.extractfile(member)
    if source is None:
        raise LibraryError(f"the member {member.name!r} is no plain file", str(limit.where), _MEND)
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with source:
        written = _write(iter(lambda: source.read(_BLOCK), b""), target, limit)
    if written.bytes != member.size:
        problem = f"{member.name} ends after {written.bytes} of {member.size} bytes"
        raise LibraryError(problem, str(limit.where), _MEND)
    return written


def _make_links(archive: Path, folder: Path, links: dict[str, str], found: dict[str, Written]) -> None:
    """Make the links to files that were written; they are made last, so that nothing is written through them."""
    for name, goal in links.items():
        beside = str(PurePosixPath(name).with_name(goal))
        if beside not in found:
            raise LibraryError(f"the member {name!r} is a link to what is not there", str(archive), _MEND)
        with _writing(folder / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(goal)


def _write(blocks: Iterable[bytes], target: Path, limit: Limit) -> Written:
    digest, size = hashlib.sha256(), 0
    with _writing(target):
        file = target.open("wb", buffering=0)  # a buffer would fail again on closing a full disk
    with file:
        for block in blocks:
            limit.take(len(block))
            with _writing(target):
                _append(file, block)
            digest.update(block)
            size += len(block)
    return Written(size, digest.hexdigest())


def _append(file: io.FileIO, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[file.write(rest) :]


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Tell what goes wrong here from what is wrong with the file that was fetched.

    Raises:
        DownloadError: Something cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError("the disk is full", str(target), "make room and run the command again") from error
        raise DownloadError(f"cannot write ({(error.strerror or str(error)).lower()})", str(target)) from error


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.read(_BLOCK), b"")


def _kept(file: BinaryIO, text: bytes) -> Iterator[bytes]:
    """Give the lines of the FASTA records whose header holds a text, about a block at a time."""
    lines: list[bytes] = []
    size, is_kept, at_start = 0, False, True
    for line in iter(lambda: file.readline(_BLOCK), b""):  # of a longer line, the rest comes next
        if at_start and line.startswith(b">"):
            is_kept = text in line
        at_start = line.endswith(b"\n")
        if is_kept:
            lines.append(line)
            size += len(line)
        if size >= _BLOCK:
            yield b"".join(lines)
            lines, size = [], 0
    if lines:
        yield b"".join(lines)
