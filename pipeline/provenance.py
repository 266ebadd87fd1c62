"""Where a target's files come from: one record of checksums, versions and settings."""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.errors import RecordError
from pipeline.records import read_json, write_json

SCHEMA = "foldline.provenance/1"
FILE = "provenance.json"
READ = ("target.json", "target.fasta", "msa.a3m", "templates.json", "search.json", "own_templates.npz", "features.npz")
"""Files of a target that its prediction comes from, in the order in which they are made."""
_ROOT = Path(__file__).resolve().parents[1]
_CPUINFO = Path("/proc/cpuinfo")
_SEARCH_SCHEMA_PREFIX = "foldline.search/"
_GIT_SECONDS = 5.0


def sha256(path: Path) -> str:
    """Return the checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the checksums of those files that are there, by name below the folder."""
    return {name: sha256(folder / name) for name in names if (folder / name).is_file()}


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of this code, of Python and of packages."""
    own = {"foldline": __version__, "commit": commit(), "python": platform.python_version()}
    return {**own, **{name: importlib.metadata.version(name) for name in packages}}


@functools.cache
def commit(root: Path = _ROOT) -> str:
    """Return the commit of this code, with `-modified` where files differ; empty outside a clone.

    Args:
        root: Folder of the code.
    """
    if not (root / ".git").exists():
        return ""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # nothing is written
    words = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty=-modified", "--match", ""]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_GIT_SECONDS, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def processor(cpuinfo: Path = _CPUINFO) -> str:
    """Return the name of the processor, as far as the system gives it."""
    with contextlib.suppress(OSError):
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def searched(folder: Path) -> dict[str, Any]:
    """Return the databases and the library of a target's search, with versions, and its settings; empty without one."""
    record = search_record(folder)
    templates = record.get("templates") or {}
    return {
        "databases": [{key: d.get(key) for key in ("name", "version")} for d in record.get("databases", [])],
        "library": templates.get("library") or {},
        "search_settings": record.get("settings", {}),
    }


def write_provenance(folder: Path, outputs: Iterable[str], made: Mapping[str, Any]) -> None:
    """Write a target's record, unless it says the same.

    What made the prediction, and on what, stays as it was said when the prediction was made.

    Args:
        folder: Of the target.
        outputs: Files that the prediction wrote, below the folder.
        made: Software, device, weights, seeds and settings.
    """
    read, written, path = checksums(folder, READ), checksums(folder, outputs), folder / FILE
    record = {"target": folder.name, "inputs": read, "outputs": written, **searched(folder), **made}
    record = json.loads(json.dumps(record))  # tuples become lists, as they do in the file
    with contextlib.suppress(RecordError):
        earlier = read_json(path, SCHEMA)
        if earlier.get("outputs", {}).get("predicted.cif") == written.get("predicted.cif"):
            record |= {key: earlier[key] for key in ("software", "processor") if key in earlier}
        if earlier == {"schema": SCHEMA, **record}:
            return
    write_json(path, record, SCHEMA)


def search_record(folder: Path) -> dict[str, Any]:
    """Return the record of a target's search; empty where there is none."""
    try:
        record = json.loads((folder / "search.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    is_search = isinstance(record, dict) and str(record.get("schema", "")).startswith(_SEARCH_SCHEMA_PREFIX)
    return record if is_search else {}
