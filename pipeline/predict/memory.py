"""Say before a program runs whether it fits: what XLA has planned for it against what the device has free."""

import contextlib
import ctypes
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from pipeline.errors import StageError

GB = 1e9
_KIB = 1024
_UNLIMITED = 1 << 60  # cgroup v1 writes a number near 2^63 for no limit
MEND = "lower predict.max_extra_msa or predict.max_msa, or predict fewer residues"


class OutOfMemoryError(StageError):
    """A prediction needs more memory than there is."""


class Analysis(Protocol):
    """XLA's plan of a compiled program's memory, bytes."""

    temp_size_in_bytes: int
    argument_size_in_bytes: int
    output_size_in_bytes: int
    generated_code_size_in_bytes: int


@dataclasses.dataclass(frozen=True)
class Need:
    """Memory that a compiled program needs, bytes.

    Args:
        temporary: Intermediate results.
        arguments: Parameters and inputs.
        outputs: What it returns.
        code: The program itself.
    """

    temporary: int
    arguments: int
    outputs: int
    code: int

    @property
    def total(self) -> int:
        """The sum."""
        return self.temporary + self.arguments + self.outputs + self.code


def need_of(analysis: Analysis | None) -> Need | None:
    """Return what a program needs, from XLA's analysis; None where the backend gives none."""
    if analysis is None:
        return None
    return Need(
        int(analysis.temp_size_in_bytes),
        int(analysis.argument_size_in_bytes),
        int(analysis.output_size_in_bytes),
        int(analysis.generated_code_size_in_bytes),
    )


def check(need: Need | None, free: int | None, where: str, present: int = 0) -> None:
    """Refuse a program that does not fit.

    Args:
        need: Of the program; None where it is not known.
        free: Free memory of the device, bytes; None where it is not known.
        where: The target.
        present: Part of the need that lies in memory already, as the parameters do, bytes.

    Raises:
        OutOfMemoryError: The program needs more than there is.
    """
    if need is None or free is None or need.total - present <= free:
        return
    raise OutOfMemoryError(
        f"the network needs {need.total / GB:.1f} GB of memory, and {(free + present) / GB:.1f} GB are available",
        where,
        MEND,
    )


def free_on_device(stats: Mapping[str, int] | None) -> int | None:
    """Return the free memory of an accelerator from JAX's statistics, bytes; None where they do not say."""
    if not stats or "bytes_limit" not in stats:
        return None
    return stats["bytes_limit"] - stats.get("bytes_in_use", 0)


def free_on_host(root: Path = Path("/")) -> int | None:
    """Return the memory that this process can still take, bytes: the system's, or less where a cgroup says so.

    Args:
        root: Where `proc` and `sys` are.
    """
    known = [value for value in (_available(root), *_cgroups(root)) if value is not None]
    return min(known, default=None)


def _available(root: Path) -> int | None:
    for line in _lines(root / "proc/meminfo"):
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * _KIB
    return None


def _cgroups(root: Path) -> Iterator[int | None]:
    """Yield what each cgroup around this process leaves."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _around(root / "sys/fs/cgroup", path, ("memory.max", "memory.current"))
        elif "memory" in controllers.split(","):
            yield from _around(root / "sys/fs/cgroup/memory", path, ("memory.limit_in_bytes", "memory.usage_in_bytes"))


def _around(mount: Path, path: str, names: tuple[str, str]) -> Iterator[int | None]:
    """Yield what a cgroup and those around it leave; in a container the path may not be there, but the mount is."""
    own = mount / path.strip("/")
    for folder in (own, *own.parents):
        yield _left(folder, *names)
        if folder == mount:
            return


def _left(folder: Path, limit_name: str, usage_name: str) -> int | None:
    limit, usage = (_number(folder / name) for name in (limit_name, usage_name))
    if limit is None or usage is None or limit >= _UNLIMITED:
        return None
    return max(0, limit - usage + _droppable(folder))


def _droppable(folder: Path) -> int:
    """Return the part of a cgroup's use that the kernel gives back on demand: cached files not in use."""
    values = dict(line.split()[:2] for line in _lines(folder / "memory.stat") if len(line.split()) >= 2)
    return int(values.get("total_inactive_file") or values.get("inactive_file") or 0)


def _number(path: Path) -> int | None:
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:  # not this kernel, or not this cgroup
        return []


def give_back() -> None:
    """Return memory that was freed to the system, where the C library can: compiling leaves hundreds of megabytes."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
