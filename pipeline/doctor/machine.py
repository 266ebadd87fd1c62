"""The machine: cores, memory, GPU, programs, scheduler, disk."""

import fcntl
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config import ROOT
from pipeline.doctor.finding import Finding
from pipeline.download.fetch import in_words
from pipeline.predict.memory import free_on_host
from pipeline.profiles import INSTALL, PLUGIN, has_no_accounts

PACKAGES = (
    "Bio",
    "gemmi",
    "haiku",
    "jax",
    "jinja2",
    "jsonschema",
    "numpy",
    "openmm",
    "pdbfixer",
    "pyhmmer",
    "snakemake",
)
PROGRAMS = {
    "mmseqs": "the engines mmseqs and prefilter, clusters of a library",
    "jackhmmer": "the engine jackhmmer-program",
    "hhsearch": "templates by HH-suite (search.hhsearch)",
}
GPU_PLATFORMS = ("CUDA", "HIP", "OpenCL")
_LITTLE_MEMORY, _LEAST_MEMORY = 8e9, 3e9  # bytes; what a prediction asks for at least (pipeline/plan.py)
_LITTLE_DISK, _LEAST_DISK = 5e9, 5e8  # bytes; a target's files are a few megabytes
_PATIENCE = 120.0  # seconds for JAX or OpenMM to answer; loading them takes a few


def check_python() -> Finding:
    """Look at the Python and the packages that this installation needs."""
    text = f"{platform.python_version()} on {platform.system()}, {platform.machine()}"
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        mend = "run ./foldline in the clone, which installs the lock, or install requirements.lock"
        return Finding("python", "problem", f"{text}; missing: {', '.join(missing)}", mend)
    return Finding("python", "ok", text)


def check_cores() -> Finding:
    """Count the cores that this process may use."""
    all_of_them = os.cpu_count() or 1
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else all_of_them
    return Finding("cores", "ok", f"{mine} of {all_of_them}", facts={"usable": mine, "all": all_of_them})


def check_memory() -> Finding:
    """Look at the memory that is free for this process, cgroups included."""
    free = free_on_host()
    if free is None:
        return Finding("memory", "note", "not known")
    text, facts = f"{in_words(free)} free", {"free_bytes": free}
    if free < _LEAST_MEMORY:
        return Finding("memory", "problem", text, f"a prediction needs {in_words(_LEAST_MEMORY)}: end something", facts)
    if free < _LITTLE_MEMORY:
        return Finding("memory", "note", text, "enough for mini; AlphaFold 2's models need more for long chains", facts)
    return Finding("memory", "ok", text, facts=facts)


def check_gpu() -> Iterator[Finding]:
    """Look for GPUs, and whether JAX and OpenMM see them."""
    cards = nvidia_cards()
    if cards is None:
        yield Finding("GPU", "note", "none (no nvidia-smi here): predictions run on the CPU")
    else:
        yield Finding("GPU", "ok" if cards else "note", ", ".join(cards) or "nvidia-smi lists none")
    yield jax_finding(asked("jax"), bool(cards))
    yield openmm_finding(asked("openmm"), bool(cards))


def nvidia_cards() -> list[str] | None:
    """Return the names of the NVIDIA GPUs; None where there is no driver to ask."""
    program = shutil.which("nvidia-smi")
    if not program:
        return None
    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def asked(what: str) -> dict[str, Any]:
    """Return what JAX or OpenMM say of themselves; `problem` where they do not answer."""
    command = [sys.executable, "-P", "-m", "pipeline.doctor.probe", what]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_PATIENCE, env=environment, cwd=ROOT
        )
    except subprocess.TimeoutExpired:
        return {"problem": f"no answer in {_PATIENCE:.0f} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        crash = f"crashed with signal {-done.returncode}" if done.returncode < 0 else ""
        return {"problem": crash or (lines[-1] if lines else f"ended with {done.returncode}")}
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def jax_finding(answer: Mapping[str, Any], has_gpu: bool) -> Finding:
    """Judge what JAX sees."""
    if problem := answer.get("problem"):
        mend = "predictions cannot run; `python -m pipeline.doctor.probe jax` shows all that it says"
        return Finding("JAX", "problem", problem, mend)
    text = f"{answer['version']}: {answer['backend']} ({', '.join(answer['devices'])})"
    if has_gpu and answer["backend"] == "cpu":
        mend = "it is built for the CPU: install requirements-cuda.lock in its place (docs/hpc.md)"
        return Finding("JAX", "note", f"{text}; the GPU stands idle", mend, dict(answer))
    return Finding("JAX", "ok", text, facts=dict(answer))


def openmm_finding(answer: Mapping[str, Any], has_gpu: bool) -> Finding:
    """Judge what OpenMM sees."""
    if problem := answer.get("problem"):
        mend = "relaxation cannot run; `python -m pipeline.doctor.probe openmm` shows all that it says"
        return Finding("OpenMM", "problem", problem, mend)
    text = f"{answer['version']}: {', '.join(answer['working'])}"
    if "CPU" not in answer["working"]:
        return Finding("OpenMM", "problem", text, "its CPU platform does not work: install it anew", dict(answer))
    idle = has_gpu and not any(name in answer["working"] for name in GPU_PLATFORMS)
    if idle:
        mend = "relaxation is quick on a CPU; for the GPU install openmm[cuda12] (relax.platform)"
        return Finding("OpenMM", "note", f"{text}; not the GPU", mend, dict(answer))
    return Finding("OpenMM", "ok", text, facts=dict(answer))


def check_programs(names: Sequence[str] = tuple(PROGRAMS)) -> Finding:
    """Look for programs that some settings need."""
    found = {name: shutil.which(name) for name in names}
    absent = [f"{name} ({PROGRAMS[name]})" for name, path in found.items() if not path]
    text = ", ".join(f"{name}: {path}" for name, path in found.items() if path) or "none"
    mend = f"optional, not here: {', '.join(absent)}" if absent else ""
    return Finding("programs", "note" if absent else "ok", text, mend, facts=found)


def check_scheduler() -> Finding:
    """Look for Slurm and for Snakemake's plugin for it."""
    sbatch = shutil.which("sbatch")
    if not sbatch:
        return Finding("scheduler", "note", "none (no sbatch here): runs stay on this machine")
    if not importlib.util.find_spec(PLUGIN):
        return Finding("scheduler", "note", f"Slurm ({sbatch}), without Snakemake's plugin", f"{INSTALL} (docs/hpc.md)")
    accounts = ", which forgets finished jobs" if has_no_accounts() else ""
    return Finding("scheduler", "ok", f"Slurm ({sbatch}){accounts}: foldline run --profile slurm")


def check_folder(name: str, folder: Path) -> Finding:
    """Look at the disk under a folder that is there or will be: room, permission, locks of files."""
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    text, facts = f"{folder}: {in_words(free)} free", {"path": str(folder), "free_bytes": free}
    if problem := _cannot_write(place):
        return Finding(name, "problem", f"{folder}: {problem}", "choose another folder", facts)
    if free < _LEAST_DISK:
        return Finding(name, "problem", text, "make room, or choose another folder", facts)
    if free < _LITTLE_DISK:
        return Finding(name, "note", text, "little for many targets", facts)
    if problem := _cannot_lock(place):
        return Finding(name, "note", f"{text}; no locks ({problem})", "take care that no two runs share it", facts)
    return Finding(name, "ok", text, facts=facts)


def _cannot_write(folder: Path) -> str:
    """Return why files cannot be written in a folder; empty where they can."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".foldline-doctor-"):
            return ""
    except OSError as error:
        return (error.strerror or str(error)).lower()


def _cannot_lock(folder: Path) -> str:
    """Return why files cannot be locked in a folder; empty where they can."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".foldline-doctor-") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return ""
    except OSError as error:
        return (error.strerror or str(error)).lower()
