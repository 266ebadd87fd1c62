"""A kill at any moment costs no finished work, and the next run ends with the same files.

Two kills by default; `FOLDLINE_KILLS=50 ./foldline test tests/workflow/test_kills.py` does more.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from pipeline.config import ROOT

KILLS = int(os.environ.get("FOLDLINE_KILLS", "2"))
FASTA = """>trp_cage Trp-cage miniprotein (1L2Y)
NLYIQWLKDGGPSSGRPPPS
>villin_headpiece Villin headpiece subdomain HP36, chicken (1VII)
MLSDEDFKAVFGMTRSAFANLPLWKQQNLKKEKGLF
"""
CONFIG = "input: {fasta: [in.fasta]}\ndatabases: {cache: cache}\nrelax: {iterations: 50}\n"
SAME = ("target.fasta", "target.json", "msa.a3m", "templates.json", "templates.tsv", "features.npz")
SAME += ("predicted.cif", "confidence.npz", "relaxed.cif")
MADE_BY = {"features.json": "features.npz", "confidence.json": "predicted.cif", "relax.json": "relaxed.cif"}
VICTIMS = ("everything", "a stage", "snakemake")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "data/weights/mini.npz").exists(), reason="no weights in data/weights"),
]


def start(folder, said):
    """Start a run in a session of its own."""
    command = [sys.executable, "-m", "pipeline.cli", "run", "--config", "my.yaml", "--cores", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder.parent / "xdg")}
    with said.open("w") as out:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out, start_new_session=True)


def filled(folder):
    folder.mkdir()
    (folder / "in.fasta").write_text(FASTA)
    (folder / "my.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run that nobody killed, and how long it took once the programs were compiled."""
    folder = filled(tmp_path_factory.mktemp("kills") / "undisturbed")
    for _ in range(2):
        shutil.rmtree(folder / "results", ignore_errors=True)
        shutil.rmtree(folder / ".snakemake", ignore_errors=True)
        began, said = time.monotonic(), folder / "said.txt"
        assert start(folder, said).wait() == 0, said.read_text()
    return folder, time.monotonic() - began


def processes(run, victim):
    """Return the processes to kill."""
    try:
        family = psutil.Process(run.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    lines = {process: command_of(process) for process in family}
    if victim == "everything":
        return [*family, psutil.Process(run.pid)]
    if victim == "snakemake":
        return [process for process, line in lines.items() if "progress/launch.py" in line][:1]
    return [process for process, line in lines.items() if "--targets" in line or "--fasta" in line]


def command_of(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def finished(targets):
    """Return when the files were written whose record, which comes last, is there."""
    return {
        record.with_name(MADE_BY[record.name]): record.with_name(MADE_BY[record.name]).stat().st_mtime_ns
        for record in targets.glob("*/*.json")
        if record.name in MADE_BY
    }


@pytest.mark.parametrize("number", range(KILLS))
def test_a_kill_costs_no_finished_work(undisturbed, tmp_path_factory, number):
    reference, seconds = undisturbed
    dice = random.Random(number)  # noqa: S311 - moments, no secrets
    folder = filled(reference.parent / f"killed-{number}")
    run, victim = start(folder, folder / "first.txt"), VICTIMS[number % len(VICTIMS)]
    time.sleep(dice.uniform(0.05, 1.0) * seconds)
    while not (victims := processes(run, victim)) and run.poll() is None:
        time.sleep(0.05)
    for process in victims:
        with contextlib.suppress(ProcessLookupError):  # it may just have ended
            os.kill(process.pid, signal.SIGKILL)
    run.wait()
    done = finished(folder / "results/targets")
    assert start(folder, folder / "second.txt").wait() == 0, (folder / "second.txt").read_text()
    for path, written in done.items():
        assert path.stat().st_mtime_ns == written, path
    for target in (reference / "results/targets").iterdir():
        for name in SAME:
            again = folder / "results/targets" / target.name / name
            assert again.read_bytes() == (target / name).read_bytes(), f"{target.name}/{name}"
        assert {path.name for path in target.iterdir()} == {path.name for path in (again.parent).iterdir()}
        assert json.loads((again.parent / "relax.json").read_text())["status"] == "relaxed"
    batches = {path.name for path in (reference / "results/batches").iterdir()}
    assert {path.name for path in (folder / "results/batches").iterdir()} == batches
    leftovers = [path for path in (folder / "results").rglob(".*") if path.name != ".lock"]
    assert all(path.suffix == ".tmp" for path in leftovers)
