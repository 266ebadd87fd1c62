"""A batch that is killed leaves no record: its log, or Slurm's, says how it ended, and so do its targets."""

import os
import subprocess
import time

import pytest

from pipeline.batch_record import outcome, record_file, write_batch
from pipeline.config import ROOT
from pipeline.endings import ending, endings, shell_prefix
from pipeline.outcomes import lost_targets
from pipeline.records import write_json

MEMORY = "StepId=3.0 exceeded memory limit (422727680 > 419430400), being killed"
SLURM = f"""rule predict:
srun: cluster configuration lacks support for cpu binding
slurmstepd-vm: error: {MEMORY}
slurmstepd-vm: error: *** STEP 3.0 ON vm CANCELLED AT 2026-11-29T14:24:02 ***
srun: error: vm: task 0: Killed
"""


def run_in_shell(script, conda=False):
    prefix = shell_prefix(conda=conda).replace("{{", "{").replace("}}", "}")
    command = ["/bin/bash", "-c", f"set -euo pipefail; {prefix}{script}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Put a command `foldline` on PATH that ends as its first argument says."""
    script = tmp_path / "bin/foldline"
    script.parent.mkdir()
    script.write_text('#!/bin/sh\necho "$2"; case $1 in [0-9]*) exit $1;; *) kill -s $1 $$;; esac\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("0", 0, ""),
        ("70", 70, ""),
        ("130", 130, ""),
        ("KILL", 137, "the signal SIGKILL, for example for want of memory or at a limit of time"),
        ("SEGV", 139, "the signal SIGSEGV"),
        ("TERM", 143, "the signal SIGTERM"),
    ],
)
def test_the_log_says_which_signal_ended_the_command(commands, how, code, said):
    log = commands / "logs/search/0001.log"
    log.parent.mkdir(parents=True)
    done = run_in_shell(f"foldline {how} 'a  b' 2> {log}")
    assert (done.returncode, done.stdout) == (code, "a  b\n")
    assert ending(commands, "search", "0001") == (said and f"ended by {said}")
    assert ("error: " in log.read_text()) == bool(said)


def test_a_conda_environment_runs_this_code():
    done = run_in_shell("python() { echo $PYTHONPATH $@; }; foldline search 'a b'", conda=True)
    assert done.stdout == f"{ROOT} -P -m pipeline.cli search a b\n"


@pytest.fixture
def out(tmp_path):
    """A run of four targets, two searches, and a batch for three of them; nothing has begun."""
    plan = {
        "searches": {"a": "0001", "b": "0001", "c": "0002", "d": "0002"},
        "batches": {"a": "0032-001", "b": "0032-001", "c": "0032-001", "d": "0064-001"},
        "relaxations": {"a": "0032-001-01", "b": "0032-001-02", "c": "0032-001-02", "d": "0064-001-01"},
    }
    write_json(tmp_path / "plan.json", plan, "foldline.plan/1")
    return tmp_path


def log(out, stage, name, text=""):
    path = out / "logs" / stage / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def done(out, stage, name, *targets):
    log(out, stage, name, "INFO done\n")
    write_batch(record_file(out, stage, name), [outcome(target) for target in targets])


def test_what_has_not_begun_has_not_ended(out, tmp_path):
    assert endings(out) == {}
    assert endings(tmp_path / "none") == {}


def test_a_lost_search_is_named_by_its_targets_and_by_those_that_wait_for_them(out):
    done(out, "search", "0001", "a", "b")
    done(out, "featurize", "0001", "a", "b")
    log(out, "search", "0002", "INFO x\nerror: first\nerror: \x1b[1mno memory\n")
    lost = "search 0002: ?[1mno memory"
    waits = f"predict 0032-001 did not begin: {lost}"
    assert endings(out) == {"a": waits, "b": waits, "c": lost, "d": lost}


def test_what_the_shell_or_python_said_last_is_the_end(out):
    path = log(out, "search", "0001", "INFO a\nbash: line 1: foldline: command not found\n\n")
    assert ending(out, "search", "0001") == "bash: line 1: foldline: command not found"
    path.write_text("INFO a\nWARNING b\n")
    assert ending(out, "search", "0001") == ""


def test_slurm_says_how_a_job_ended(out):
    for number in ("0001", "0002"):
        done(out, "search", number)
        done(out, "featurize", number)
    path = log(out, "predict", "0032-001", "INFO a\n")
    of_slurm = out / "logs/slurm/rule_predict/0032-001/3.log"
    of_slurm.parent.mkdir(parents=True)
    of_slurm.write_text(SLURM)
    os.utime(path, (time.time() + 100,) * 2)
    said = f"predict 0032-001: Slurm: {MEMORY}"
    assert endings(out) == {"a": said, "b": said, "c": said}
    of_slurm.with_name("4.log").write_text("slurmstepd: error: *** JOB 4 ON vm CANCELLED AT 1 DUE TO TIME LIMIT ***\n")
    assert ending(out, "predict", "0032-001") == "Slurm: JOB 4 ON vm CANCELLED AT 1 DUE TO TIME LIMIT"
    for old in of_slurm.parent.iterdir():
        os.utime(old, (9e8, 9e8))
    unknown = "predict 0032-001 left no record: it goes on, or was killed; see logs/predict/0032-001.log"
    assert set(endings(out).values()) == {unknown}
    assert endings(out, since=time.time() + 200) == {}


def test_only_what_is_not_done_is_lost(out):
    for stage, name in (("search", "0001"), ("search", "0002"), ("featurize", "0001"), ("featurize", "0002")):
        done(out, stage, name)
    for batch in ("0032-001", "0064-001"):
        done(out, "predict", batch)
    log(out, "relax", "0032-001-02", "error: ended by the signal SIGKILL\n")
    (out / "targets/b").mkdir(parents=True)
    for name in ("predicted.cif", "relax.json"):
        (out / "targets/b" / name).touch()
    plan = type("Plan", (), {"targets": dict.fromkeys("dcba")})
    assert lost_targets(out, plan) == {"c": "relax 0032-001-02: ended by the signal SIGKILL"}
