"""Locks of folders and files, which the system drops when their process ends, however it ends."""

import contextlib
import fcntl
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from pipeline.errors import FoldlineError

log = logging.getLogger(__name__)


@contextlib.contextmanager
def alone(folder: Path, command: str, error: type[FoldlineError]) -> Iterator[None]:
    """Hold the lock of a folder, which is made where there is none.

    Args:
        folder: What only one process may change.
        command: What changes it, for the message, such as `weights`.
        error: What is raised.

    Raises:
        FoldlineError: Another process holds the lock; of the type `error`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        if not take_lock(file):
            raise error(f"another foldline {command} is working in this folder", str(folder), "wait for it")
        yield


def take_lock(file: IO[Any]) -> bool:
    """Lock a file unless another process has; the system drops the lock when the process ends, however it ends.

    Some file systems of clusters have no locks. There, it is left to the user not to do the same thing twice at once.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        log.warning("%s: this file system has no locks (%s)", file.name, (error.strerror or str(error)).lower())
    return True
