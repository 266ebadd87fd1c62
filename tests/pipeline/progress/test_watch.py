"""Watching a Snakemake: a stand-in that says what a real one does, and the real one on a small workflow."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import types

import pytest

from pipeline.config import ROOT
from pipeline.progress import launch
from pipeline.progress.display import Silent
from pipeline.progress.jobs import Jobs
from pipeline.progress.watch import Watch
from pipeline.run import LAUNCHER

TALKS = """
import os, sys
print("chatter of Snakemake")
print("to standard error", file=sys.stderr)
with os.fdopen(int(sys.argv[-1]), "w") as events:
    print('{"event": "planned", "jobs": {"relax": 2}}', file=events)
    print('{"event": "nothing"}', file=events, end="")  # cut off
sys.exit(int(sys.argv[1]))
"""
TALKS_ON = """
import os, pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda *_: None)  # it waits for its jobs
try:
    for _ in range(20_000):
        os.write(int(sys.argv[-1]), b'{"event": "planned", "jobs": {"relax": 2}}\\n')
except BrokenPipeError:
    pathlib.Path(sys.argv[1]).touch()
"""
WORKFLOW = """
rule all:
    input: "a.txt"
rule relax:
    output: "{target}.txt"
    log: "{target}.log"
    shell: "echo $$ > pid; sleep {seconds}; touch {output}"
"""
TWO_JOBS = """
rule second:
    input: "a.txt"
    output: "b.done"
    shell: "touch {output}"
rule relax:
    output: "{target}.txt"
    log: "{target}.log"
    shell: "echo $$ > pid; sleep {seconds}; touch ended {output}"
"""
WATCHED = """
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from pipeline.progress.display import Lines
from pipeline.progress.jobs import Jobs
from pipeline.progress.launch import FLAGS
from pipeline.progress.watch import Watch
from pipeline.run import LAUNCHER
signal.signal(signal.SIGINT, signal.default_int_handler)  # the shell of a job in the background ignores it
plan = SimpleNamespace(targets={"a": None}, searches={}, batches={}, relaxations={"a": ("a",)})
jobs = Jobs(plan, Path("out"))
watch = Watch(jobs, Lines(), Path("logs/snakemake.log"))
command = [sys.executable, "-P", LAUNCHER, "--cores", "1", "--nolock", *sys.argv[1:]]
try:
    code = watch.start(command, FLAGS, ())
except KeyboardInterrupt:
    code = 130
print(code, jobs.tallies["relax"].done, [job.group.stage for job in jobs.failures], jobs.nothing_to_do)
"""


@pytest.fixture
def watch(tmp_path):
    pairs = {"1": ("a",), "2": ("b",)}
    plan = types.SimpleNamespace(targets={"a": None, "b": None}, searches={}, batches={}, relaxations=pairs)
    return Watch(Jobs(plan, tmp_path), Silent(), tmp_path / "logs/snakemake.log")


def test_events_come_and_what_is_printed_goes_to_a_file(watch, capfd):
    assert watch.start([sys.executable, "-c", TALKS, "3"], (), ()) == 3
    assert watch.jobs.tallies["relax"].total == 2
    assert not watch.jobs.nothing_to_do
    assert sorted(watch.log_file.read_text().splitlines()) == ["chatter of Snakemake", "to standard error"]
    assert capfd.readouterr() == ("", "")


def test_verbose_shows_it_too(watch, capsys):
    watch.verbose = True
    assert watch.start([sys.executable, "-u", "-c", TALKS, "0"], (), ()) == 0
    assert capsys.readouterr().err == "chatter of Snakemake\nto standard error\n"


@pytest.fixture
def small(tmp_path):
    """Return a function that starts a small workflow, watched, in a process of its own."""

    def started(*words, seconds=0, rule=WORKFLOW):
        (tmp_path / "Snakefile").write_text(rule.replace("{seconds}", str(seconds)))
        command = [sys.executable, "-c", WATCHED, *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        options = {"cwd": tmp_path, "env": environment, "text": True, "start_new_session": True}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    return started


def test_the_real_one_is_followed(small, tmp_path):
    said, _ = small().communicate(timeout=240)
    assert said == "0 1 [] False\n"
    assert "Finished jobid" in (tmp_path / "logs/snakemake.log").read_text()
    said, _ = small().communicate(timeout=240)
    assert said == "0 0 [] True\n"


def test_a_failed_job_is_named(small):
    said, _ = small(rule=WORKFLOW.replace("touch", "false")).communicate(timeout=240)
    assert said == "1 0 ['relax'] False\n"


def until_it_works(process, folder):
    while not (folder / "pid").exists() or not (folder / "pid").read_text():
        assert process.poll() is None
        time.sleep(0.05)


def test_nobody_waits_for_one_whose_events_nobody_takes(watch, tmp_path):
    """As where what reads the events of `foldline run --json` has ended."""

    def gone(_):
        raise BrokenPipeError

    watch.jobs = Jobs(types.SimpleNamespace(targets={}, searches={}, batches={}, relaxations={}), tmp_path, (), gone)
    with pytest.raises(BrokenPipeError):
        watch.start([sys.executable, "-c", TALKS_ON, str(tmp_path / "ended")], (), ())
    assert (tmp_path / "ended").exists()


def test_an_interrupt_of_the_process_alone_begins_no_job(small, tmp_path):
    process = small(seconds=3, rule=TWO_JOBS)
    until_it_works(process, tmp_path)
    os.kill(process.pid, signal.SIGINT)
    said, log = process.communicate(timeout=240)
    assert said.startswith("130 ")
    assert "interrupted: waiting for the jobs that run to end" in log
    assert (tmp_path / "ended").exists()
    assert not (tmp_path / "b.done").exists()


def test_interrupts_that_follow_each_other_are_one(monkeypatch, clock):
    monkeypatch.setattr(launch, "time", types.SimpleNamespace(monotonic=clock))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        launch.heed_interrupts_once()
        for later, heeded in ((0.0, True), (0.0, False), (4.0, False), (2.0, True), (1.0, False)):
            clock.now += later
            with pytest.raises(KeyboardInterrupt) if heeded else contextlib.nullcontext():
                signal.raise_signal(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background of a script
        launch.heed_interrupts_once()
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_ends_everything(small, tmp_path):
    process = small(seconds=60)
    until_it_works(process, tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert said == "130 0 [] False\n"
    assert not (tmp_path / "a.txt").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_folder_called_pipeline_is_not_taken_for_ours(small, tmp_path):
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline/__init__.py").write_text("raise SystemExit('the wrong one')")
    command = [sys.executable, "-P", LAUNCHER, "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert launch.NAME == "foldline"
