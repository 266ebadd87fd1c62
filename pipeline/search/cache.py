"""The content-addressed cache of searches: a result lies at a path made of what it is a function of.

`{root}/{database}-{version}/{settings_hash}/{sequence_sha256}{suffix}`, and beside it a JSON with its checksum. Both
are written under a temporary name and renamed, the checksum last, so that processes may share a cache and be killed.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import RecordError
from pipeline.records import atomic, read_json, write_json

log = logging.getLogger(__name__)

SCHEMA = "foldline.cache/1"
_HASH_LENGTH = 16


@dataclasses.dataclass(frozen=True)
class Key:
    """What a cached result is a function of.

    Args:
        database: Name and version, safe as a file name.
        settings: `settings_hash` of the engine and everything else that shapes the result.
        sequence: The query.
        suffix: Kind of the result, for example `.a3m`.
    """

    database: str
    settings: str
    sequence: str
    suffix: str


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
        return (self.root or Path()) / key.database / key.settings / name

    def get(self, key: Key) -> Entry | None:
        """Return an intact result; a damaged one is reported and counts as missing."""
        if self.root is None:
            return None
        path = self.path(key)
        if not _record_path(path).exists():
            return None
        try:
            record = read_json(_record_path(path), SCHEMA)
            data = path.read_bytes()
        except (RecordError, OSError) as error:
            log.warning("%s: the cached search is damaged (%s); searching again", path, error)
            return None
        if hashlib.sha256(data).hexdigest() != record.get("sha256"):
            log.warning("%s: the cached search is damaged (wrong checksum); searching again", path)
            return None
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
            record = {"sha256": hashlib.sha256(data).hexdigest(), "facts": entry.facts}
            write_json(_record_path(path), record, SCHEMA)
        except OSError as error:
            log.warning("%s: the search cannot be cached (%s)", path, (error.strerror or str(error)).lower())


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
