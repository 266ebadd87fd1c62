"""The content-addressed cache of searches: a result lies at a path made of what it is a function of.

`{root}/{database}-{version}/{settings_hash}/{sequence_sha256}{suffix}`, and beside it a JSON with its checksum. Both
are written under a temporary name and renamed, the checksum last, so that processes may share a cache and be killed.
A process claims the results that it makes; another that shares the cache makes others first and then waits for these.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import RecordError
from pipeline.records import atomic, read_json, write_json
from pipeline.shared_folder import make_folder, share

log = logging.getLogger(__name__)

SCHEMA = "foldline.cache/1"
LOCK = ".claims"
TEMPLATES_OF = "templates-"
"""Before the name of a library, for the templates that were found in it."""
_HASH_LENGTH = 16
_NO_RIGHTS = (
    "%s: you may not write in this cache of searches: what it holds is used, what you search is not kept. Where a group"
    " shares it, let its owner run: chgrp -R GROUP DIR; chmod -R g+rwX DIR; find DIR -type d -exec chmod g+s {} +"
)
_PLACES = 1 << 62  # bytes that a lock may stand at, whether they are there or not


@dataclasses.dataclass(frozen=True)
class Key:
    """What a cached result is a function of.

    Args:
        database: Its name, safe in a file name.
        version: Its version, safe in a file name.
        settings: `settings_hash` of the engine and everything else that shapes the result.
        sequence: The query.
        suffix: Kind of the result, for example `.a3m`.
    """

    database: str
    version: str
    settings: str
    sequence: str
    suffix: str

    @property
    def folder(self) -> str:
        """Folder of the database in the cache."""
        return f"{self.database}-{self.version}"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A cached text and the facts about how it was made."""

    text: str
    facts: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class SearchCache:
    """A folder of results; without a root nothing is kept."""

    root: Path | None = None

    def path(self, key: Key) -> Path:
        """Return where the result of a key lies."""
        name = hashlib.sha256(key.sequence.encode()).hexdigest() + key.suffix
        return (self.root or Path()) / key.folder / key.settings / name

    def get(self, key: Key) -> Entry | None:
        """Return an intact result; a damaged one is reported and counts as missing."""
        if self.root is None:
            return None
        path = self.path(key)
        try:
            if not _record_path(path).exists():
                return None
            data = path.read_bytes()
            record = read_json(_record_path(path), SCHEMA)
        except PermissionError:
            log.warning("%s: the cached search of another user cannot be read; searching again", path)
            return None
        except (RecordError, OSError) as error:
            log.warning("%s: the cached search is damaged (%s); searching again", path, error)
            return None
        if hashlib.sha256(data).hexdigest() != record.get("sha256"):
            log.warning("%s: the cached search is damaged (wrong checksum); searching again", path)
            return None
        with contextlib.suppress(OSError):  # of another user, or read-only: then its age is that of its making
            os.utime(_record_path(path))  # so that what is used is not pruned
        return Entry(data.decode(), dict(record.get("facts", {})))

    def put(self, key: Key, entry: Entry) -> None:
        """Keep a result; where that is impossible the search still counts, and the log says so."""
        if self.root is None:
            return
        path = self.path(key)
        data = entry.text.encode()
        try:
            with atomic(path) as temporary:
                temporary.write_bytes(data)
            record = {"database": key.database, "sha256": hashlib.sha256(data).hexdigest(), "facts": entry.facts}
            write_json(_record_path(path), record, SCHEMA)
        except OSError as error:
            said = isinstance(error, PermissionError) and not os.access(self.root, os.W_OK)  # once, by the claims
            level = logging.DEBUG if said else logging.WARNING
            log.log(level, "%s: the search cannot be cached (%s)", path, (error.strerror or str(error)).lower())

    @contextlib.contextmanager
    def claims(self) -> Iterator["Claims"]:
        """Give the claims of this process; they end with the block, and with the process however it ends.

        One such block at a time: a process that closes the file drops all its locks on it.
        """
        try:
            descriptor = self._open_lock()
        except OSError as error:  # a cache that cannot be written: what two make at once is the same
            if isinstance(error, PermissionError):
                log.warning(_NO_RIGHTS, self.root)
            yield Claims(self, None)
            return
        try:
            yield Claims(self, descriptor)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _open_lock(self) -> int | None:
        if self.root is None:
            return None
        make_folder(self.root)
        descriptor = os.open(self.root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with contextlib.suppress(PermissionError):  # another user made it
            share(self.root / LOCK, self.root)
        return descriptor


@dataclasses.dataclass(frozen=True)
class Claims:
    """Which results this process makes, so that another one that shares the cache waits for them.

    Each is a lock on one byte of one file, at a place made of its key: any number of them needs one open file, and the
    system drops them when the process ends. Who waits holds none, so that two cannot wait for each other. Where the
    file system knows no locks, every claim is granted: two processes may then make the same result, and each writes it
    whole.

    Args:
        cache: What is shared.
        descriptor: The open file; None grants every claim.
    """

    cache: SearchCache
    descriptor: int | None

    def take(self, key: Key) -> bool:
        """Claim a result; return whether no other process has."""
        return self._lock(key, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def drop(self, key: Key) -> None:
        """End a claim."""
        self._lock(key, fcntl.LOCK_UN)

    def wait(self, key: Key) -> None:
        """Wait until no other process claims a result."""
        if self._lock(key, fcntl.LOCK_EX):
            self.drop(key)

    def _lock(self, key: Key, operation: int) -> bool:
        if self.descriptor is None:
            return True
        digest = hashlib.sha256("/".join(dataclasses.astuple(key)).encode()).digest()
        try:
            fcntl.lockf(self.descriptor, operation, 1, int.from_bytes(digest[:8]) % _PLACES)
        except (BlockingIOError, PermissionError):  # POSIX allows both for what another process holds
            return False
        except OSError as error:
            log.debug("no locks in %s (%s)", self.cache.root, error)
        return True


@dataclasses.dataclass(frozen=True)
class Place:
    """Where results are kept and how many threads make them.

    Args:
        cache: Results of earlier searches.
        threads: Threads for one query.
    """

    cache: SearchCache = dataclasses.field(default_factory=SearchCache)
    threads: int = 1


def settings_hash(values: Mapping[str, Any]) -> str:
    """Return a short hash of values that JSON can hold, whatever their order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:_HASH_LENGTH]


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")
