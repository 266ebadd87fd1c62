"""Why a run did not finish, in one line: what stands in its way, else what the stage said that failed first."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import FoldlineError

_PROBE_BYTES = 1 << 18
_FOR_ALL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_ERROR = "error: "
_LONGEST_LOG = 1 << 20


def concerns_all(error: BaseException) -> bool:
    """Return whether an error of one target's files is one of all: the disk is full, or cannot be written."""
    return isinstance(error, OSError) and error.errno in _FOR_ALL


def obstacle(out: Path, inputs: Callable[[], object]) -> str:
    """Return what is in the way of a run, in words; empty where nothing is.

    Args:
        out: Its folder.
        inputs: Looks whether libraries, databases and weights are there.
    """
    try:
        _write_probe(out)
        inputs()
    except OSError as error:
        return f"{error.filename or out}: {(error.strerror or str(error)).lower()}"
    except FoldlineError as error:
        return str(error)
    return ""


def first_error(logs: Path, since: float) -> str:
    """Return what the stage said that failed first; empty where none did.

    Args:
        logs: Folder of the logs.
        since: When the run began, seconds since 1970.
    """
    found: list[tuple[float, str]] = []
    for path in logs.glob("*/*.log"):
        with contextlib.suppress(OSError):
            changed = path.stat()
            if changed.st_mtime >= since and changed.st_size <= _LONGEST_LOG:
                lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
                said = [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]
                found += [(changed.st_mtime, f"{path.parent.name} {path.stem}: {said[-1]}")] if said else []
    return min(found)[1] if found else ""


def _write_probe(folder: Path) -> None:
    """Write as much as a small file.

    Raises:
        OSError: It could not be written.
    """
    handle, name = tempfile.mkstemp(prefix=".probe.", suffix=".tmp", dir=folder)
    try:
        os.write(handle, os.urandom(_PROBE_BYTES))
        os.fsync(handle)
    finally:
        os.close(handle)
        Path(name).unlink()
