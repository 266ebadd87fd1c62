"""The beginning of a file that is being fetched: `NAME.part`, and `NAME.part.json` about which file it is."""

import contextlib
import dataclasses
import errno
import hashlib
import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from pipeline.errors import DownloadError, RecordError
from pipeline.lock import take_lock
from pipeline.records import read_json, write_json

SCHEMA = "foldline.download/1"
_BLOCK = 1 << 20

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Version:
    """What tells one content of an address from another.

    Args:
        etag: The server's tag.
        modified: The server's date of the last change.
        total: Size of the whole, bytes; None where the server does not say.
    """

    etag: str = ""
    modified: str = ""
    total: int | None = None

    @property
    def validator(self) -> str:
        """What to ask with for the rest of this very content; a weak tag does not promise the same bytes (RFC 9110)."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def may_be(self, other: "Version") -> bool:
        """Whether nothing that both say differs; a partial answer need not repeat everything."""
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return all(ours == theirs or not ours or not theirs for ours, theirs in pairs)


class Part:
    """The beginning of a file, of one version, which no other process writes at the same time.

    Args:
        path: Final name of the file.
        url: Its address.
        file: `NAME.part`, opened and locked.
    """

    def __init__(self, path: Path, url: str, file: io.FileIO) -> None:
        self.final, self.path = path, _part_path(path)
        self.url, self.size, self.version = url, 0, Version()
        self.is_whole = False
        self.is_conditional = True  # whether to ask for the rest of this very version only
        self._record, self._file = path.with_name(f"{path.name}.part.json"), file
        self._digests = _new_digests()

    @classmethod
    @contextlib.contextmanager
    def opened(cls, path: Path, url: str) -> Iterator[Self]:
        """Open and lock what has come of a file, and read it once for its checksum.

        Raises:
            DownloadError: Another process is fetching the file.
        """
        with _locked(_part_path(path)) as file:
            part = cls(path, url, file)
            part._recover()
            yield part

    @property
    def sha256(self) -> str:
        """Checksum of what has come."""
        return self._digests["sha256"].hexdigest()

    @property
    def md5(self) -> str:
        """The same for publishers that give only this one."""
        return self._digests["md5"].hexdigest()

    def may_go_on_with(self, version: Version) -> bool:
        """Whether the rest of this version belongs to what has come."""
        certain = version.validator == self.version.validator
        return version.may_be(self.version) and (self.is_conditional or certain)

    def append(self, block: bytes) -> None:
        """Add what has come.

        Raises:
            DownloadError: The disk is full.
        """
        rest = memoryview(block)
        try:
            while rest:
                written = self._file.write(rest)
                self._update(rest[:written])
                self.size += written
                rest = rest[written:]
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise DownloadError("the disk is full", str(self.path), "make room and run the command again") from error

    def restart(self, version: Version) -> None:
        """Forget what has come; what comes next is of this version."""
        self._file.seek(0)
        self._file.truncate()
        self.size, self.version, self._digests = 0, version, _new_digests()
        write_json(self._record, {"url": self.url, **dataclasses.asdict(version)}, SCHEMA)

    def complete(self) -> None:
        """Note that nothing is missing."""
        self.is_whole = True

    def keep_or_discard(self) -> None:
        """Leave what has come for another time, and no trace where nothing came."""
        if self.size:
            log.info("%s: %d bytes are kept; the same command goes on from there", self.path, self.size)
        else:
            self.discard()

    def discard(self) -> None:
        """Remove what is not the file."""
        self.path.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)
        self.size = 0

    def finish(self) -> None:
        """Give the file its final name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self.path.replace(self.final)
        self._record.unlink(missing_ok=True)

    def _update(self, block: bytes | memoryview) -> None:
        for digest in self._digests.values():
            digest.update(block)

    def _recover(self) -> None:
        """Go on with what an earlier process left of the same address."""
        try:
            record = read_json(self._record, SCHEMA)
            total = record["total"]
            version = Version(str(record["etag"]), str(record["modified"]), None if total is None else int(total))
            known = record["url"] == self.url
        except (RecordError, KeyError, TypeError, ValueError):
            known, version = False, Version()
        if not known:
            self.restart(Version())
            return
        self.version = version
        self._file.seek(0)
        while block := self._file.read(_BLOCK):
            self._update(block)
            self.size += len(block)
        self.is_whole = bool(self.size) and self.size == version.total


def _new_digests() -> dict[str, "hashlib._Hash"]:
    return {"sha256": hashlib.sha256(), "md5": hashlib.md5(usedforsecurity=False)}


def _part_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[io.FileIO]:
    """Open a file as it is and hold its lock."""
    while True:
        with path.open("a+b", buffering=0) as file:  # a buffer would fail again on closing a full disk
            if not take_lock(file):
                raise DownloadError("another process is fetching this file", str(path), "wait for it")
            if _is_same(path, file):
                yield file
                return


def _is_same(path: Path, file: io.FileIO) -> bool:
    """Whether the name still means this file: a process that finished meanwhile has renamed it."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(file.fileno()))
