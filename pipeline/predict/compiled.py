"""Where compiled programs are kept between processes: a folder for each version of JAX and kind of device."""

import hashlib
import importlib.metadata
import platform
import re
from pathlib import Path

import jax

_CPUINFO = Path("/proc/cpuinfo")
_ENTRIES = "*-cache"  # the files in which JAX keeps programs; beside them are files with times of access


def use_compilation_cache(folder: Path) -> Path:
    """Keep compiled programs between processes.

    Args:
        folder: For all versions and devices.

    Returns:
        The folder of this version and device.
    """
    own = folder / device_key()
    jax.config.update("jax_compilation_cache_dir", str(own))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    return own


def device_key() -> str:
    """Return the versions of JAX and XLA and what the device is, as the name of a folder.

    A program for a CPU holds instructions that another processor may not know, and JAX does not tell processors apart.
    """
    versions = [importlib.metadata.version(name) for name in ("jax", "jaxlib")]
    kind = jax.devices()[0].device_kind
    if jax.default_backend() == "cpu":
        kind = f"cpu-{platform.machine()}-{instructions()}"
    return re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join([*versions, kind]))


def instructions(cpuinfo: Path = _CPUINFO) -> str:
    """Return a short checksum of the instructions that the processor knows; empty where they are not listed."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    known = next((line for line in lines if re.match(r"(flags|Features)\s*:", line)), "")
    return hashlib.sha256(" ".join(sorted(known.split())).encode()).hexdigest()[:8] if known else ""


def kept(folder: Path) -> int:
    """Return the number of programs in the folder of a version and device."""
    return sum(1 for _ in folder.glob(_ENTRIES))
