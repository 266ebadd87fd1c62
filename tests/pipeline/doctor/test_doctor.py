import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pipeline.config import load_config, merged
from pipeline.doctor import command, data, machine
from pipeline.doctor.finding import Finding
from pipeline.errors import StageError

JAX = {"version": "0.10.2", "backend": "cpu", "devices": ["cpu"]}
OPENMM = {"version": "8.6", "working": ["Reference", "CPU"], "failing": {}}
PROBES = {"jax": JAX, "openmm": OPENMM}


def states(findings):
    return {finding.name: finding.state for finding in findings}


@pytest.fixture
def sound(monkeypatch, tmp_path):
    """A machine on which all is well, whatever this one is."""
    monkeypatch.setattr(machine, "free_on_host", lambda: 64_000_000_000)
    monkeypatch.setattr(machine, "asked", PROBES.__getitem__)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(machine, "_LITTLE_DISK", 0)
    monkeypatch.setattr(machine, "_LEAST_DISK", 0)
    (tmp_path / "my.yaml").write_text(f"outdir: {tmp_path}/out\ndatabases: {{cache: {tmp_path}/searches}}\n")
    return tmp_path


def test_one_screen(sound, capsys):
    assert command.main(["--config", str(sound / "my.yaml")]) == 0
    said = capsys.readouterr().out
    assert said.count("\n") <= 40
    for name in ("cores", "memory", "GPU", "JAX", "OpenMM", "scheduler", "programs", "results", "weights", "library"):
        assert f"  {name} " in said
    assert "!!" not in said
    assert [path.name for path in sound.iterdir()] == ["my.yaml"]  # it looks, and leaves nothing


def test_for_programs(sound, capsys):
    assert command.main(["--json", "--config", str(sound / "my.yaml")]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["schema"], record["works"]) == ("foldline.doctor/1", True)
    cores = next(finding for finding in record["findings"] if finding["name"] == "cores")
    assert 1 <= cores["facts"]["usable"] <= cores["facts"]["all"]


def test_problems_have_a_mend_and_an_exit_code(sound, capsys):
    (sound / "my.yaml").write_text("predict: {model: model_1}\nsearch: {databases: ['big=/nowhere/big.fasta:1']}\n")
    with pytest.raises(StageError, match="2 problems keep a run from working: databases, weights"):
        command.main(["--config", str(sound / "my.yaml")])
    lines = capsys.readouterr().out.splitlines()
    for name in ("databases", "weights"):
        index = next(i for i, line in enumerate(lines) if line.startswith(f"  !!  {name}"))
        assert lines[index + 1].startswith(" " * 17)
    assert any("foldline weights fetch alphafold2" in line for line in lines)


def test_a_home_that_is_none_is_a_problem_of_its_folder(sound, capsys):
    (sound / "my.yaml").write_text("outdir: ~nobody-here/out\ndatabases: {cache: ~nobody-here/cache}\n")
    with pytest.raises(StageError, match="problems keep a run from working: results, searches"):
        command.main(["--config", str(sound / "my.yaml")])
    said = capsys.readouterr().out
    assert "~nobody-here/out: there is no home folder '~nobody-here'\n" in said
    assert "compiled" in said


@pytest.mark.parametrize("what", ["jax", "openmm"])
def test_what_jax_and_openmm_see_here(what):
    answer = machine.asked(what)
    assert "problem" not in answer
    judge = {"jax": machine.jax_finding, "openmm": machine.openmm_finding}[what]
    assert judge(answer, False).state == "ok"


def test_a_probe_that_crashes_hangs_or_fails_is_a_problem(monkeypatch):
    crash = subprocess.CompletedProcess([], -11, "", "")
    monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: crash)
    assert machine.asked("jax") == {"problem": "crashed with signal 11"}
    failed = subprocess.CompletedProcess([], 1, "", "Traceback\nImportError: no libcuda")
    monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: failed)
    assert machine.asked("jax") == {"problem": "ImportError: no libcuda"}

    def hangs(command, **_):
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(machine.subprocess, "run", hangs)
    found = machine.jax_finding(machine.asked("jax"), False)
    assert (found.state, found.text) == ("problem", "no answer in 120 s")
    assert "predictions cannot run" in found.mend
    assert machine.openmm_finding({"problem": "x"}, False).state == "problem"


def test_a_gpu_that_stands_idle_is_noted():
    found = machine.jax_finding(JAX, True)
    assert (found.state, "the GPU stands idle" in found.text) == ("note", True)
    assert machine.jax_finding({**JAX, "backend": "gpu", "devices": ["H100"]}, True).state == "ok"
    assert machine.openmm_finding(OPENMM, True).state == "note"
    assert machine.openmm_finding({**OPENMM, "working": ["CPU", "CUDA"]}, True).state == "ok"
    assert machine.openmm_finding({**OPENMM, "working": ["Reference"]}, False).state == "problem"


def program(folder, name, text):
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_gpus_are_those_of_nvidia_smi(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.nvidia_cards() is None
    program(tmp_path, "nvidia-smi", "echo 'NVIDIA H100, 81559 MiB'")
    assert machine.nvidia_cards() == ["NVIDIA H100, 81559 MiB"]
    program(tmp_path, "nvidia-smi", "echo broken; exit 9")
    assert machine.nvidia_cards() == []


def test_programs_and_scheduler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.check_scheduler().state == "note"
    found = machine.check_programs()
    assert (found.state, found.text) == ("note", "none")
    assert "hhsearch (templates by HH-suite" in found.mend
    for name in (*machine.PROGRAMS, "sbatch"):
        program(tmp_path, name, "exit 0")
    assert machine.check_programs().state == "ok"
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None)
    assert "requirements-slurm.lock" in machine.check_scheduler().mend
    assert "missing: Bio, gemmi" in machine.check_python().text
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: name)
    assert machine.check_scheduler().state == "ok"


@pytest.mark.parametrize(("free", "state"), [(None, "note"), (1e9, "problem"), (5e9, "note"), (64e9, "ok")])
def test_memory(monkeypatch, free, state):
    monkeypatch.setattr(machine, "free_on_host", lambda: free)
    assert machine.check_memory().state == state


@pytest.mark.parametrize(("free", "state"), [(10**8, "problem"), (10**9, "note"), (10**12, "ok")])
def test_disk(tmp_path, monkeypatch, free, state):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free}))
    assert machine.check_folder("results", tmp_path / "a/b/c").state == state
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_locks_is_worth_a_note(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    monkeypatch.setattr(machine, "_LITTLE_DISK", 0)
    monkeypatch.setattr(machine, "_LEAST_DISK", 0)
    found = machine.check_folder("results", tmp_path)
    assert (found.state, found.mend) == ("note", "take care that no two runs share it")
    assert found.text.endswith("; no locks (function not implemented)")


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    found = machine.check_folder("results", tmp_path / "file" / "below")
    assert (found.state, found.mend) == ("problem", "choose another folder")
    assert "not a directory" in found.text


def test_weights_that_are_damaged(tmp_path, monkeypatch):
    path = tmp_path / "mini.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"x" * 9999)
    monkeypatch.setattr(data, "weights_files", lambda names: {"mini": path})
    (found,) = data.check_weights(load_config())
    assert (found.state, "mini: whole" in found.text) == ("ok", True)
    whole = bytearray(path.read_bytes())
    whole[5000] ^= 1
    path.write_bytes(whole)
    (found,) = data.check_weights(load_config())
    assert (found.state, found.mend) == ("problem", "fetch or copy the file again")
    path.write_bytes(b"")
    assert states(data.check_weights(load_config())) == {"weights": "problem"}


def test_a_library_that_is_not_there(tmp_path):
    config = merged(load_config(), {"databases": {"library": str(tmp_path)}})
    assert data.check_library(config).state == "problem"
    assert data.check_library(load_config()).state == "ok"


def test_no_databases_are_worth_a_note():
    config = merged(load_config(), {"search": {"databases": []}})
    assert states(data.check_databases(config, None)) == {"databases": "note"}


def test_a_finding_is_text_for_a_terminal():
    text = command.line_of(Finding("weights", "problem", "a\x1b[31mb", "mend\nit"))
    assert text == "  !!  weights    a?[31mb\n" + " " * 17 + "mend?it\n"


def test_nothing_of_it_is_loaded_here():
    code = "import sys; import pipeline.doctor.command; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert not {"jax", "openmm"} & set(done.stdout.split("'"))
