"""The record of a batch: what came of each of its targets. And whether what a target's own record names is there."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import RecordError
from pipeline.provenance import sha256
from pipeline.records import read_json, write_json

BATCH_SCHEMA = "foldline.batch/1"
FAILED, OK = "failed", "ok"


def record_file(out: Path, stage: str, name: str) -> Path:
    """Return the record of a stage's batch."""
    return out / "batches" / (f"{name}.json" if stage == "predict" else f"{stage}-{name}.json")


def outcome(name: str, reason: str = "", **digests: str) -> dict[str, str]:
    """Return what a batch's record says of a target.

    Args:
        name: Of the target.
        reason: Of a failure; empty where there is none.
        digests: Checksums of what was made; when they change, what follows must run again.
    """
    return {"name": name, "status": FAILED if reason else OK, "reason": reason, **digests}


def write_batch(path: Path, outcomes: Iterable[Mapping[str, str]]) -> None:
    """Write the record of a batch, which is called as its file."""
    write_json(path, {"batch": path.stem, "targets": list(outcomes)}, BATCH_SCHEMA)


def entries_in(path: Path) -> list[dict[str, Any]]:
    """Return what a record says of each target.

    Raises:
        RecordError: The record is missing or damaged.
    """
    entries = read_json(path, BATCH_SCHEMA).get("targets")
    if isinstance(entries, list) and all(isinstance(e, dict) and {"name", "status"} <= e.keys() for e in entries):
        return entries
    raise RecordError("expected the name and the status of each target", str(path), "delete it, and run again")


def reasons_in(path: Path) -> dict[str, str]:
    """Return the reason of each failure that a record names, by target.

    Raises:
        RecordError: The record is missing or damaged.
    """
    return {str(e["name"]): str(e.get("reason", "")) for e in entries_in(path) if e["status"] != OK}


def reason_of(error: BaseException) -> str:
    """Return a failure in one line."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def is_whole(record: Path, schema: str, made_from: Mapping[str, Any]) -> bool:
    """Return whether a target's record names the same origin, and the files that it names are there as they were.

    Args:
        record: Of the target, beside its files; written last.
        schema: Of the record.
        made_from: What the files are a function of.
    """
    try:
        found = read_json(record, schema)
        files = found.get("files", {})
        whole = bool(files) and all(sha256(record.parent / name) == digest for name, digest in files.items())
    except (RecordError, OSError):
        return False
    return whole and found.get("made_from") == dict(made_from)
