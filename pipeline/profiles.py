"""Profiles: folders of Snakemake options that say on which machine, or by which scheduler, a run runs."""

import importlib.util
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from pipeline.command_line import nearest
from pipeline.config import ROOT
from pipeline.errors import ConfigError

FOLDER = ROOT / "profiles"
LOCAL = FOLDER / "local"
PLUGIN = "snakemake_executor_plugin_slurm"
INSTALL = "uv pip install --python .venv/bin/python -r requirements-slurm.lock"
_NO_ACCOUNTS = "accounting_storage/none"
_PATIENCE = 60.0  # seconds


def find_profile(name: str) -> Path:
    """Return the folder of a profile: one of Foldline's own by its name, or a folder of the user's.

    Raises:
        ConfigError: There is no such profile.
    """
    own = FOLDER / name
    for folder in (Path(name), own):  # a folder of the user's may have the name of ours
        if _options_file(folder):
            return folder
    known = sorted(path.name for path in FOLDER.iterdir() if _options_file(path))
    mend = f"choose {', '.join(known)}, or a folder with a config.yaml"
    raise ConfigError(f"there is no profile '{name}'{nearest(name, known)}", mend=mend)


def profile_flags(folder: Path, out: Path) -> list[str]:
    """Return Snakemake's flags for a profile: its folder, and what depends on the run and the cluster.

    Args:
        folder: Of the profile.
        out: Output folder of the run.

    Raises:
        ConfigError: The profile cannot be read.
    """
    flags = ["--profile", str(folder)]
    options = _options(folder)
    if options.get("executor") != "slurm":
        return flags
    if "slurm-logdir" not in options:
        flags += ["--slurm-logdir", str((out / "logs" / "slurm").resolve())]
    if "slurm-status-command" not in options and has_no_accounts():
        flags += ["--slurm-status-command", "squeue"]
    return flags


def check_scheduler(folder: Path) -> None:
    """Refuse a profile whose scheduler is not here.

    Raises:
        ConfigError: The profile cannot be read, or needs Slurm and there is none, or no plugin for it.
    """
    if _options(folder).get("executor") != "slurm":
        return
    if not shutil.which("sbatch"):
        problem = f"the profile '{folder.name}' submits jobs to Slurm, and there is no sbatch here"
        raise ConfigError(problem, mend="run on a login node of the cluster")
    if not importlib.util.find_spec(PLUGIN):
        raise ConfigError("Snakemake's plugin for Slurm is not installed", mend=f"{INSTALL} (docs/hpc.md)")


def has_no_accounts() -> bool:
    """Whether Slurm is here and forgets finished jobs; the plugin would ask sacct for them, and wait for ever."""
    scontrol = shutil.which("scontrol")
    if not scontrol:
        return False
    try:
        done = subprocess.run(
            [scontrol, "show", "config"], text=True, check=False, capture_output=True, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired:  # its controller does not answer
        return False
    return _NO_ACCOUNTS in done.stdout


def _options_file(folder: Path) -> Path | None:
    """Return the file with a profile's options, of which Snakemake reads the one for its own version first."""
    names: Iterable[Path] = [*sorted(folder.glob("config.v*+.yaml"), reverse=True), folder / "config.yaml"]
    return next((path for path in names if path.is_file()), None)


def _options(folder: Path) -> dict[str, Any]:
    path = _options_file(folder)
    try:
        options = yaml.safe_load(path.read_text(encoding="utf-8")) if path else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"the profile cannot be read: {' '.join(str(error).split())}", str(path)) from error
    return options if isinstance(options, dict) else {}
