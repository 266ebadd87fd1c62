"""A Slurm of our own for the tests that submit jobs."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

CLUSTER = Path(__file__).with_name("cluster.py")


def missing():
    """Return why no Slurm can be started here; nothing where it can."""
    spec = importlib.util.spec_from_file_location("cluster", CLUSTER)
    cluster = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cluster)
    if not importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        return "the plugin is not installed: requirements-slurm.lock"
    if os.geteuid() != 0:
        return "a Slurm of our own needs root"
    path = f"{os.environ.get('PATH', '')}:{cluster.MAIN}"
    lacking = [name for name in cluster.PROGRAMS if not shutil.which(name, path=path)]
    return f"not installed: {', '.join(lacking)} (Debian: slurmctld slurmd slurm-client munge)" if lacking else ""


@pytest.fixture(scope="session")
def cluster():
    """Return the environment in which commands find a running Slurm; it ends with the tests, however they end."""
    if why := missing():
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as folder:
        place = Path(folder) / "s"
        command = [sys.executable, str(CLUSTER), str(place)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            ready = process.stdout.readline().split()
            if ready[:1] != ["ready"]:
                process.stdin.close()
                pytest.fail(f"Slurm did not start: {place}")
            path = os.pathsep.join([str(place / "bin"), os.environ.get("PATH", os.defpath), "/usr/bin"])
            yield {**os.environ, "SLURM_CONF": ready[1], "PATH": path}
            process.stdin.close()
            process.wait(60)
