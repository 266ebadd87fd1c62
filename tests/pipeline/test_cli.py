import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import __version__, cli, run
from pipeline.batch_record import outcome, write_batch
from pipeline.config import load_config, merged
from pipeline.errors import ConfigError, RecordError, StageError
from pipeline.outcomes import groups_of
from pipeline.plan import plan_run


@pytest.fixture(autouse=True)
def quiet_logging():
    """Undo what the command does to logging."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


def ending_with(monkeypatch, error):
    def main(argv):
        raise error

    monkeypatch.setattr(run, "main", main)
    return cli.main(["run"])


def foldline(*words, **options):
    command = [sys.executable, "-m", "pipeline.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_help_names_every_command(capsys):
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {command} " in text for command in cli.COMMANDS)


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"foldline {__version__}\n"


def test_no_command_is_a_usage_error(capsys):
    assert cli.main([]) == 2
    assert "usage: foldline" in capsys.readouterr().out


def test_an_unknown_command(capsys):
    assert cli.main(["predikt"]) == 2
    assert capsys.readouterr().err == "error: 'predikt' is no command of foldline, did you mean 'predict'?\n"
    assert cli.main(["xyzzy"]) == 2
    assert capsys.readouterr().err.startswith("error: 'xyzzy' is no command of foldline; known are run, plan")


def test_help_of_a_command_by_word(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["help", "run"])
    assert "usage: foldline run" in capsys.readouterr().out
    assert cli.main(["help"]) == 0
    assert "usage: foldline [" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ConfigError("bad", "c.yaml:3", "mend it"), 2, "error: c.yaml:3: bad; mend it\n"),
        (StageError("1 of 4 targets failed"), 1, "error: 1 of 4 targets failed\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (PermissionError(13, "Permission denied", "/x/y"), 2, "error: /x/y: permission denied\n"),
        (OSError(28, "No space left on device"), 2, "error: run: no space left on device\n"),
        (
            ZeroDivisionError("division by zero"),
            70,
            "error: this is a bug in foldline run (ZeroDivisionError: division by zero);"
            " FOLDLINE_DEBUG=1 shows where\n",
        ),
    ],
)
def test_errors_are_one_line(monkeypatch, capsys, error, code, text):
    monkeypatch.delenv("FOLDLINE_DEBUG", raising=False)
    assert ending_with(monkeypatch, error) == code
    assert capsys.readouterr().err == text


def test_debug_shows_the_traceback(monkeypatch, caplog):
    monkeypatch.setenv("FOLDLINE_DEBUG", "1")
    assert ending_with(monkeypatch, ConfigError("bad")) == 2
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_a_help(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main([command, "--help"])
    assert f"usage: foldline {command}" in capsys.readouterr().out


def test_help_is_quick_and_light():
    code = "import sys; from pipeline.cli import main; main(['--help']); print(sorted(sys.modules))"
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - began
    assert not {"numpy", "jax", "yaml", "snakemake"} & set(done.stdout.split("'"))
    assert seconds < 2  # 0.1 s on an idle machine; the modules above are what would make it slow


def test_a_closed_pipe_is_no_error():
    command = f"{sys.executable} -m pipeline.cli --help | true"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["none.fasta"], "error: none.fasta: cannot read the FASTA file (no such file or directory)\n"),
        (["."], "error: .: this is a directory, expected a FASTA file\n"),
        (
            ["x.fasta", "--config", "none.yaml"],
            "error: none.yaml: cannot read the config (no such file or directory)\n",
        ),
    ],
)
def test_run_refuses_what_it_cannot_use(tmp_path, monkeypatch, capsys, words, text):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "data_of", lambda *_: None)
    (tmp_path / "x.fasta").write_text(">a\nMKTAYIAKQRQISFVKSHFSRQ\n")
    assert cli.main(["run", *words]) == 2
    assert capsys.readouterr().err == text
    assert {path.name for path in tmp_path.iterdir()} == {"x.fasta"}


def test_run_names_an_unknown_model(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/library.json").touch()
    (tmp_path / "c.yaml").write_text("databases:\n  library: lib\n")
    assert cli.main(["run", "--config", "c.yaml", "--model", "huge"]) == 2
    assert "error: predict.model: expected one of alphafold2, mini, model_1, " in capsys.readouterr().err


def test_run_passes_on_what_follows_two_dashes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "data_of", lambda *_: None)
    started = []
    monkeypatch.setattr(run, "start", lambda command, **_: started.append(command) or 0)
    (tmp_path / "x.fasta").write_text(">a\nMKTAYIAKQRQISFVKSHFSRQ\n")
    assert cli.main(["run", "x.fasta", "--outdir", "out", "--cores", "3", "--", "--dry-run", "-p"]) == 0
    (command,) = started
    assert command[-4:] == ["--cores", "3", "--dry-run", "-p"]
    place = command.index("--configfile")
    assert command[place + 1] == os.path.join("out", "config.yaml")  # noqa: PTH118
    assert command[place + 2] == "--snakefile"  # not what is passed on: the option before it takes many words
    assert "- x.fasta" in (tmp_path / "out/config.yaml").read_text()


@pytest.mark.parametrize("words", [["pages", "--profile", "mine"], ["pages"]])
def test_words_that_are_passed_on_are_no_configs(words):
    from snakemake.cli import get_argument_parser  # noqa: PLC0415 - it takes a second

    command = run.snakemake_command(Path("out"), None, None, words)
    found = get_argument_parser().parse_args(command[command.index(run.LAUNCHER) + 1 :])
    assert found.configfile == [Path("out/config.yaml")]
    assert list(found.targets) == ["pages"]
    assert found.snakefile == str(run.SNAKEFILE)


@pytest.mark.parametrize(
    ("words", "looks"),
    [
        (["-np"], True),
        (["--dry-run"], True),
        (["--report=x.html"], True),
        (["--list-rules"], True),
        (["--detailed-summary"], True),
        (["-p", "--until", "relax"], False),
        (["--keep-going"], False),
        (["--set-threads", "relax=2"], False),
    ],
)
def test_only_looking_is_recognised(words, looks):
    assert run._only_looks(words) is looks


def test_one_folder_has_one_spelling(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spellings = ("out", "./out", str(tmp_path / "out"), "x/../out")
    assert {run._one_spelling(folder) for folder in spellings} == {"out"}
    assert run._one_spelling("/elsewhere/out") == "/elsewhere/out"


@pytest.mark.parametrize(
    ("outdir", "message"),
    [
        ("~nobody-here/out", "~nobody-here/out: there is no home folder '~nobody-here'; write the whole path"),
        ("../out", "{lab}/out: a run takes no path with braces, which are wildcards of Snakemake; rename it"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(tmp_path, monkeypatch, capsys, outdir, message):
    (tmp_path / "{lab}/here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "{lab}/here")
    assert cli.main(["run", "x.fasta", "--outdir", outdir]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def one_target(tmp_path, monkeypatch):
    """A run of one target, whose Snakemake ends with 3 and does nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "data_of", lambda *_: None)
    monkeypatch.setattr(run, "start", lambda *_, **__: 3)
    (tmp_path / "x.fasta").write_text(">a\nMKTAYIAKQRQISFVKSHFSRQ\n")
    return tmp_path


def test_programs_are_told_how_a_run_began_and_ended(one_target, monkeypatch, capsys):
    assert cli.main(["run", "x.fasta", "--json"]) == 1
    start, end = map(json.loads, capsys.readouterr().out.splitlines())
    assert {**start, "time": ""} == {
        **{"time": "", "event": "start", "schema": "foldline.events/1", "outdir": "results", "targets": ["a"]},
    }
    assert (end["event"], end["done"], end["failed"]) == ("end", [], {})
    assert end["problem"] == "the workflow did not finish (Snakemake ended with 3); see results/logs"

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "start", interrupted)
    assert cli.main(["run", "x.fasta", "--json"]) == 130
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["problem"] == "interrupted"
    monkeypatch.setattr(run, "start", lambda *_, **__: 0)
    assert cli.main(["run", "x.fasta", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["problem"] is None


@pytest.mark.parametrize(
    ("error", "problem", "code"),
    [
        (OSError(28, "No space left on device", "results/x"), "results/x: no space left on device", 2),
        (OSError(28, "No space left on device"), "run: no space left on device", 2),
        (RecordError("expected a plan", "plan.json"), "plan.json: expected a plan", 2),
        (TypeError("no number"), "TypeError('no number')", 70),
    ],
)
def test_programs_are_told_of_every_error(one_target, monkeypatch, capsys, error, problem, code):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(run, "start", fails)
    assert cli.main(["run", "x.fasta", "--json"]) == code
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["problem"] == problem


def test_programs_are_told_of_the_end_where_a_record_is_damaged(one_target, monkeypatch, capsys):
    damaged = one_target / "results/batches/0032-001.json"

    def fails(*_, **__):
        damaged.parent.mkdir(exist_ok=True)
        damaged.write_text("{")
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "start", fails)
    assert cli.main(["run", "x.fasta", "--json"]) == 130
    out, err = capsys.readouterr()
    end = json.loads(out.splitlines()[-1])
    assert (end["event"], end["done"], end["failed"], end["problem"]) == ("end", [], {}, "interrupted")
    assert err.endswith("error: interrupted\n")
    monkeypatch.setattr(run, "start", lambda *_, **__: damaged.write_text("{") and 0)
    assert cli.main(["run", "x.fasta", "--json"]) == 2
    end = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (end["event"], "0032-001.json: expected a foldline.batch/1 file" in end["problem"]) == ("end", True)


def test_a_failure_of_no_job_shows_what_snakemake_said(one_target, capsys):
    log = one_target / "results/logs/snakemake.log"
    log.parent.mkdir(parents=True)
    log.write_text("Building DAG of jobs...\nMissingInputException: \x1b[31mno weights\n")
    assert cli.main(["run", "x.fasta"]) == 1
    said = capsys.readouterr().err
    assert "Snakemake's last lines, of results/logs/snakemake.log:\n  Building DAG of jobs...\n" in said
    assert "  MissingInputException: ?[31mno weights\n" in said


def test_quiet_says_only_what_went_wrong(one_target, monkeypatch, caplog):
    monkeypatch.setattr(run, "start", lambda *_, **__: 0)
    for words, lines in (([], 1), (["--quiet"], 0)):
        caplog.clear()
        assert cli.main(["run", "x.fasta", *words]) == 0
        assert len(caplog.records) == lines
    assert cli.main(["run", "x.fasta", "--quiet", "--json"]) == 2  # one of them


def test_a_lost_prediction_is_made_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "data_of", lambda *_: None)
    (tmp_path / "x.fasta").write_text(">a\nMKTAYIAKQRQISFVKSHFSRQ\n")
    out, seen = tmp_path / "results", []
    plan = plan_run(merged(load_config(), {"input": {"fasta": ["x.fasta"]}}))

    def call(command, **_):
        seen.append([group.stage for group in groups_of(out, plan) if group.record.exists()])
        for group in groups_of(out, plan):
            for path in group.files():
                path.touch()
            write_batch(group.record, [outcome("a")])
        return 0

    monkeypatch.setattr(run, "start", call)
    for lose in (False, True, False):
        assert cli.main(["run", "x.fasta"]) == 0
        if lose:
            (out / "targets/a/predicted.cif").unlink()
    assert seen == [[], ["search", "featurize", "predict", "relax", "report"], ["search", "featurize"]]


def test_run_names_failed_targets_and_forgets_them_the_next_time(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "data_of", lambda *_: None)
    record = tmp_path / "results/batches/0032-001.json"
    failed = '{"schema": "foldline.batch/1", "targets": [{"name": "a", "status": "failed", "reason": "out of memory"}]}'
    seen = []

    def call(command, **_):
        seen.append(record.exists())
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(failed)
        return 1

    monkeypatch.setattr(run, "start", call)
    (tmp_path / "x.fasta").write_text(">a\nMKTAYIAKQRQISFVKSHFSRQ\n")
    for _ in range(2):
        assert cli.main(["run", "x.fasta"]) == 1
        assert "error: results: 1 of 1 targets failed: a (out of memory)\n" in capsys.readouterr().err
    assert seen == [False, False]


def test_run_names_the_target_whose_prediction_was_killed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "data_of", lambda *_: None)
    running = tmp_path / "results/targets/b/running.json"
    monkeypatch.setattr(run, "start", lambda *_, **__: running.touch() or 1)
    (tmp_path / "x.fasta").write_text(">a\nMKTAYIAKQRQISFVKSHFSRQ\n>b\nMKTAYIAKQRQISFVKSHFSRQ\n")
    assert cli.main(["run", "x.fasta"]) == 1
    said = capsys.readouterr().err
    assert "error: the workflow did not finish while it predicted b (Snakemake ended with 1); see " in said
    monkeypatch.setattr(run, "start", lambda *_, **__: 1)
    assert cli.main(["run", "x.fasta"]) == 1
    assert "did not finish (Snakemake" in capsys.readouterr().err
    assert not running.exists()


def test_after_a_failure_the_unfinished_targets_get_pages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.fasta").write_text("".join(f">{name}\nMKTAYIAKQRQISFVKSHFSRQ\n" for name in "abcd"))
    config = merged(load_config(), {"input": {"fasta": ["x.fasta"]}, "outdir": "my out"})
    plan = plan_run(config)
    for done in ("a/relax.json", "a/report.html", "b/running.json", "c/relax.json"):
        (tmp_path / "my out/targets" / done).touch()
    first, last = run.closing_commands(config, plan)
    assert first.startswith("foldline report --targets 'my out/targets/b' 'my out/targets/c' --run 'my out' --low")
    assert last.startswith("foldline report --run 'my out' --names 'my out/targets.txt' ")
    assert "--summary 'my out/summary.tsv' --low-confidence 70.0" in last


def test_rules_find_the_command_of_this_python(monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for _ in range(2):
        run.use_own_commands()
        assert os.environ["PATH"] == f"{os.path.dirname(sys.executable)}:/usr/bin:/bin"  # noqa: PTH120


INTERRUPTED = """
import sys, time
from pipeline.progress.launch import heed_interrupts_once
heed_interrupts_once()
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.5)
    print("tidied", flush=True)
    sys.exit(5)
"""


@pytest.mark.parametrize(
    ("send", "which", "code"),
    [(os.killpg, signal.SIGINT, 130), (os.kill, signal.SIGINT, 130), (os.kill, signal.SIGTERM, 143)],
    ids=["Ctrl-C", "an interrupt of the process alone", "SIGTERM"],
)
def test_an_interrupted_run_waits_for_snakemake(send, which, code):
    ours = f"""
import signal
import sys
from pipeline import cli, run
signal.signal(signal.SIGINT, signal.default_int_handler)  # the shell of a job in the background ignores it
run.main = lambda argv: 128 - run.start([sys.executable, "-c", {INTERRUPTED!r}])
sys.exit(cli.main(["run"]))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", ours], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout.readline() == "ready\n"
    send(process.pid, which)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert (out, err) == (("tidied\n", "error: interrupted\n") if which == signal.SIGINT else ("", ""))


def test_what_the_fasta_reader_changed_is_said(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "data_of", lambda *_: None)
    monkeypatch.setattr(run, "start", lambda command, **_: 0)
    (tmp_path / "x.fasta").write_text(">a\nMKTAYIAKQRQISFVKSUFSRQ\n")
    caplog.set_level(logging.INFO, "pipeline")
    assert cli.main(["run", "x.fasta"]) == 0
    assert "x.fasta:1: a: 1 U (selenocysteine) read as C, at position 18" in caplog.text
    assert "0 of 1 targets done" in caplog.text


def test_two_runs_do_not_share_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "data_of", lambda *_: None)
    monkeypatch.setattr(run, "start", lambda command, **_: 0)
    (tmp_path / "x.fasta").write_text(">a\nMKTAYIAKQRQISFVKSHFSRQ\n")
    with run.alone(tmp_path / "results"):
        assert cli.main(["run", "x.fasta"]) == 1
        assert "error: results: another run is working here; wait for it, or choose --outdir" in capsys.readouterr().err
        assert cli.main(["run", "x.fasta", "--outdir", "other"]) == 0
    assert cli.main(["run", "x.fasta"]) == 0


def test_a_file_system_without_locks_is_said_and_the_run_goes_on(one_target, monkeypatch, caplog):
    def flock(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    monkeypatch.setattr(run, "start", lambda *_, **__: 0)
    assert cli.main(["run", "x.fasta"]) == 0
    assert "results/.lock: this file system has no locks (function not implemented)" in caplog.text


def test_a_killed_run_holds_the_folder_as_long_as_its_snakemake_works(tmp_path):
    ours = f"""
import sys
from pathlib import Path
from pipeline import run
with run.alone(Path({str(tmp_path)!r})) as lock:
    run.start([sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(60)"], keep_open=(lock,))
"""
    process = subprocess.Popen([sys.executable, "-c", ours], start_new_session=True, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.wait()
    with pytest.raises(StageError, match="another run is working here"), run.alone(tmp_path):
        pass
    os.killpg(process.pid, signal.SIGKILL)
    time.sleep(0.2)
    with run.alone(tmp_path):
        pass
