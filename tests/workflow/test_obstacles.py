"""A full disk, a folder that cannot be written, a database that is gone: one line says so, and the next run goes on."""

import os
import shutil
import subprocess

import pytest

from pipeline import cli, obstacles, run
from pipeline.batch_record import outcome, write_batch
from pipeline.records import read_json
from pipeline.templates import TemplateHits, write_templates

SEQUENCE = "MKLAWGDARTYMKTAYIAKQRQISFVKSHFSRQ"


@pytest.fixture
def disk(tmp_path):
    """A disk of 400 kB, and a function that mounts it again with other options."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(*options):
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(place)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    if os.geteuid() != 0 or not shutil.which("mount") or not mount("size=400k"):
        pytest.skip("a small disk of our own needs root, and the right to mount")
    yield place, mount
    subprocess.run(["umount", str(place)], check=True)  # noqa: S607


def said(capsys, *words):
    """Run a command and return its exit code and its last line."""
    code = cli.main([*map(str, words)])
    return code, capsys.readouterr().err.splitlines()[-1]


def test_a_stage_on_a_full_disk_says_so_and_goes_on_when_there_is_room(disk, tmp_path, capsys):
    place, _ = disk
    folders = [place / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
        (folder / "target.fasta").write_text(f">{folder.name}\n{SEQUENCE}\n")
        (folder / "msa.a3m").write_text(f">{folder.name}\n{SEQUENCE}\n")
        write_templates(folder / "templates.json", TemplateHits({}, ()))
    write_batch(tmp_path / "search-0001.json", [outcome(folder.name) for folder in folders])
    words = ["featurize", "--targets", *folders, "--search", tmp_path / "search-0001.json", "--batch", place / "f.json"]
    assert cli.main(["featurize", "--targets", str(folders[0])]) == 0
    first = (folders[0] / "features.npz").stat().st_mtime_ns
    (place / "filler").write_bytes(bytes(free_bytes(place)))
    code, line = said(capsys, *words)
    assert (code, line.startswith("error: "), line.endswith("no space left on device")) == (2, True, True)
    assert not (folders[1] / "features.npz").exists()
    assert not list(place.rglob("*.tmp"))
    (place / "filler").unlink()
    assert cli.main([*map(str, words)]) == 0
    assert {entry["status"] for entry in read_json(place / "f.json", "foldline.batch/1")["targets"]} == {"ok"}
    assert (folders[0] / "features.npz").stat().st_mtime_ns == first


def free_bytes(place):
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize


@pytest.fixture
def user(tmp_path, monkeypatch):
    """A folder with a FASTA file, and a database of one's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.fasta").write_text(f">a\n{SEQUENCE}\n")
    (tmp_path / "own.fasta").write_text(f">x\n{SEQUENCE}\n")
    (tmp_path / "my.yaml").write_text("search:\n  databases: ['own=own.fasta:1']\n  use_templates: false\n")
    return tmp_path


def ending(monkeypatch, happens):
    """Let Snakemake end with 1 after something happened."""
    monkeypatch.setattr(run, "start", lambda *_, **__: happens() or 1)


def test_a_run_that_filled_the_disk_says_so(disk, user, monkeypatch, capsys):
    place, _ = disk
    filler = place / "out/filler"
    ending(monkeypatch, lambda: filler.write_bytes(bytes(free_bytes(place))) and None)
    code, line = said(capsys, "run", "in.fasta", "--config", "my.yaml", "--outdir", place / "out")
    assert code == 1
    assert "no space left on device; run it again when that is mended: what is done stays" in line
    filler.unlink()
    ending(monkeypatch, lambda: None)
    code, line = said(capsys, "run", "in.fasta", "--config", "my.yaml", "--outdir", place / "out")
    assert "the workflow did not finish (Snakemake ended with 1)" in line


def test_a_folder_that_cannot_be_written_is_named(disk, user, monkeypatch, capsys):
    place, mount = disk
    words = ("run", "in.fasta", "--config", "my.yaml", "--outdir", place / "out")
    assert mount("remount", "ro")
    code, line = said(capsys, *words)
    assert (code, line.endswith("read-only file system")) == (2, True)
    assert mount("remount", "rw")
    monkeypatch.setattr(run, "start", lambda *_, **__: 0)
    assert cli.main([*map(str, words)]) == 0


def test_a_database_that_vanished_is_named(user, monkeypatch, capsys):
    words = ("run", "in.fasta", "--config", "my.yaml")
    ending(monkeypatch, (user / "own.fasta").unlink)
    code, line = said(capsys, *words)
    assert code == 1
    assert "own.fasta: the database 'own' does not exist; correct" in line
    assert "what is done stays" in line
    (user / "own.fasta").write_text(f">x\n{SEQUENCE}\n")
    monkeypatch.setattr(run, "start", lambda *_, **__: 0)
    assert cli.main([*words]) == 0


def test_else_the_line_is_that_of_the_stage_that_failed_first(user, monkeypatch, capsys):
    def happens():
        for name, text, when in (("search/0001", "error: no MMseqs2 here", 10), ("predict/1-1", "error: later", 20)):
            log = user / f"results/logs/{name}.log"
            log.parent.mkdir(parents=True)
            log.write_text(f"INFO begins\n{text}\n")
            os.utime(log, (2e9 + when, 2e9 + when))

    ending(monkeypatch, happens)
    code, line = said(capsys, "run", "in.fasta", "--config", "my.yaml")
    expected = "error: the workflow did not finish (search 0001: no MMseqs2 here); see results/logs"
    assert (code, line) == (1, expected)


def test_what_concerns_one_target_concerns_no_other():
    assert obstacles.concerns_all(OSError(28, "No space left on device"))
    assert not obstacles.concerns_all(OSError(2, "No such file or directory"))
    assert not obstacles.concerns_all(ValueError())
