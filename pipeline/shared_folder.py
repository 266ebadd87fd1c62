"""Folders that a group shares (setgid, writable by it): what is made there is the group's, whatever the umask."""

import contextlib
import stat
from pathlib import Path

_GROUP = stat.S_IRGRP | stat.S_IWGRP | stat.S_IXGRP
_SHARED = stat.S_ISGID | stat.S_IWGRP


def make_folder(folder: Path) -> None:
    """Make a folder and those that it lies in, unless they are there; in a shared folder they are shared too."""
    if folder.exists():
        return
    make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):  # another process was faster, and shares it
        folder.mkdir()
        share(folder, folder.parent)


def share(path: Path, folder: Path) -> None:
    """Give a new file or folder of one's own to the group, where a folder is shared.

    Args:
        path: File or folder.
        folder: Where it lies, or will lie.
    """
    if not (bits := group_rights(folder)):
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(mode | (bits | stat.S_ISGID if path.is_dir() else bits & ~stat.S_IXGRP))


def group_rights(folder: Path) -> int:
    """Return the rights of the group that what lies in a folder shall have beside those of the umask; 0 for most."""
    return _GROUP if folder.stat().st_mode & _SHARED == _SHARED else 0
