"""The manifest of a library: what it is called, and size and sha256 of its files."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import FoldlineError, LibraryError
from pipeline.records import read_json

MANIFEST = "library.json"
BACKBONE_SCHEMA, ATOM_SCHEMA = "foldline.library/1", "foldline.library/2"
MEND = "fetch the files again (git checkout -- data/library) or run foldline library build"


class Manifest(NamedTuple):
    """What opening a library needs of its manifest.

    Args:
        name: Name of the library.
        version: Its version.
        chains: How many it holds.
        files: Size in bytes and sha256 of the other files, by their names in the folder.
        record: All that the file says.
    """

    name: str
    version: str
    chains: int
    files: dict[str, tuple[int, str]]
    record: dict[str, Any]


def schema_of(folder: Path) -> str:
    """Return the schema that a library's manifest names, empty where there is no readable one."""
    try:
        record = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(record.get("schema", "")) if isinstance(record, dict) else ""


def read_manifest(folder: Path, schema: str, needed: Sequence[str] = ()) -> Manifest:
    """Read a manifest and compare the sizes of the files with it.

    Args:
        folder: The library.
        schema: The format that is expected.
        needed: Files that the manifest must name.

    Raises:
        LibraryError: The manifest or a file is missing, damaged or of another version.
    """
    try:
        record = read_json(folder / MANIFEST, schema)
        files = {str(name): (int(file["bytes"]), str(file["sha256"])) for name, file in record["files"].items()}
        _ = [files[name] for name in needed]
        manifest = Manifest(str(record["name"]), str(record["version"]), int(record["chains"]), files, record)
    except FoldlineError as error:
        raise LibraryError(error.problem, error.where, MEND) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LibraryError(f"the manifest is damaged ({error!r})", str(folder / MANIFEST), MEND) from error
    _check_sizes(folder, manifest)
    return manifest


def verify_sums(folder: Path, manifest: Manifest) -> None:
    """Compare the sha256 of every file with the manifest.

    Raises:
        LibraryError: A file has changed.
    """
    for name, (_, expected) in manifest.files.items():
        found = sha256_of(folder / name)
        if found != expected:
            problem = f"expected sha256 {expected[:12]}..., found {found[:12]}..."
            raise LibraryError(problem, str(folder / name), MEND)


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def entry_of(path: Path) -> dict[str, Any]:
    """Return what the manifest says of a file."""
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def _check_sizes(folder: Path, manifest: Manifest) -> None:
    for name, (expected, _) in manifest.files.items():
        file = folder / name
        if not file.is_file():
            raise LibraryError("a file of the library is missing", str(file), MEND)
        if file.stat().st_size != expected:
            raise LibraryError(f"expected {expected} bytes, found {file.stat().st_size}", str(file), MEND)
