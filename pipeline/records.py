"""Write and read the files between stages: atomic, versioned, never pickled."""

import contextlib
import dataclasses
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import RecordError
from pipeline.shared_folder import make_folder, share


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends, remove it when the block fails."""
    make_folder(path.parent)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        error.filename = str(path)  # which the user asked for
        raise
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        share(temporary, path.parent)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8 under its final name only when it is complete."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, record: Any, schema: str) -> None:
    """Write a dataclass or mapping as JSON with the name and version of its schema (for example `foldline.relax/1`)."""
    body = dataclasses.asdict(record) if dataclasses.is_dataclass(record) and not isinstance(record, type) else record
    write_text(path, json.dumps({"schema": schema, **body}, indent=1, allow_nan=False) + "\n")


def read_json(path: Path, schema: str) -> dict[str, Any]:
    """Read a JSON record.

    Raises:
        RecordError: The file is missing, is no JSON object, or has another schema.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"expected a {schema} file: {_reason(error)}", where=str(path)) from error
    if not isinstance(record, dict) or record.get("schema") != schema:
        found = record.get("schema") if isinstance(record, dict) else type(record).__name__
        raise RecordError(f"expected schema {schema!r}, found {found!r}", str(path), "make it again with this version")
    return record


def write_npz(path: Path, arrays: Mapping[str, np.ndarray], schema: str) -> None:
    """Write arrays as compressed npz with the name and version of their schema."""
    members: dict[str, Any] = {"schema": np.array(schema), **{name: np.asarray(a) for name, a in arrays.items()}}
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **members)


def read_npz(path: Path, schema: str) -> dict[str, np.ndarray]:
    """Read the arrays of an npz record, without its schema.

    Raises:
        RecordError: The file is missing, damaged, holds objects, or has another schema.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        TypeError,
        AttributeError,
        RuntimeError,  # zipfile's word for a method or an encryption that it does not know
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise RecordError(f"expected a {schema} file: {_reason(error)}", where=str(path)) from error
    found = str(arrays.pop("schema", None))
    if found != schema:
        raise RecordError(f"expected schema {schema!r}, found {found!r}", str(path), "make it again with this version")
    return arrays


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "it does not exist"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if "pickle" in str(error):  # NumPy's word for what is no zip of arrays, and its advice to trust it
        return "it is damaged, or no npz file"
    return f"it is damaged ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
