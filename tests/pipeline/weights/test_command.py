"""`foldline weights` as a user calls it."""

import logging
import os
import zipfile

import numpy as np
import pytest

from models import params
from pipeline import cli
from pipeline.weights import check, command, records
from pipeline.weights.records import ALPHAFOLD2, read_record

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture(autouse=True)
def quiet_logging():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


def run(capsys, *words):
    code = cli.main(["weights", *map(str, words)])
    return code, *capsys.readouterr()


def test_list(tiny, folder, own, capsys):
    run(capsys, "import", own("params_model_1.npz", 1), own("params_model_1_ptm.npz", 2))
    assert cli.main(["weights", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines if line.startswith(("m", "M"))}
    assert rows["mini"].split()[1:5] == ["embedded", "7.9", "MB", "Apache-2.0"]
    assert " verified 20" in rows["model_1"]
    assert rows["model_1"].endswith(str(folder / "params_model_1.npz"))
    assert " absent " in rows["model_2"]
    assert "https://creativecommons.org/licenses/by/4.0/legalcode" in "\n".join(lines)
    assert "Jumper et al. 2021" in "\n".join(lines)


def test_a_terminal_obeys_no_path(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FOLDLINE_WEIGHTS", str(tmp_path / "a\x1b[31m"))
    assert cli.main(["weights", "list"]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "a?[31m" in said


def test_states(tiny, folder, own, tmp_path, capsys):
    run(capsys, "import", own("params_model_1.npz", 1), own("params_model_1_ptm.npz", 2))
    os.utime(folder / "params_model_1.npz", (1, 1))
    entries = read_record(tiny.published)
    assert command.state(tiny.published, "params_model_1.npz", entries["params_model_1.npz"]) == "changed"
    assert command.state(tiny.published, "params_model_1_ptm.npz", None) == "not verified"
    (folder / "params_model_1_ptm.npz").unlink()
    assert command.state(tiny.published, "params_model_1_ptm.npz", entries["params_model_1.npz"]) == "missing"
    assert command.state(tiny.published, "params_model_1_ptm.npz", None) == "absent"
    (tmp_path / "data" / "weights").mkdir(parents=True)
    own("data/weights/model_1.npz", 3)
    assert "not recorded" in run(capsys, "list")[1]


def test_verify(tiny, folder, own, capsys):
    run(capsys, "import", own("params_model_1.npz", 1))
    os.utime(folder / "params_model_1.npz", (1, 1))
    assert run(capsys, "verify")[0] == 0
    entry = read_record(tiny.published)["params_model_1.npz"]
    assert command.state(tiny.published, "params_model_1.npz", entry).startswith("verified 20")
    assert run(capsys, "verify", "alphafold2")[0] == 0
    assert run(capsys, "verify", "model_1")[0] == 0


def test_verify_records_what_was_not(tiny, folder, capsys):
    folder.mkdir(parents=True)
    (folder / "params_model_1.npz").write_bytes(b"one")
    assert run(capsys, "verify", "model_1")[0] == 0
    assert read_record(tiny.published)["params_model_1.npz"].source == "found in its place"


def test_verify_in_a_folder_of_another_user(tiny, folder, capsys, monkeypatch):
    folder.mkdir(parents=True)
    (folder / "params_model_1.npz").write_bytes(b"one")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert run(capsys, "verify", "model_1")[0] == 0
    assert tiny.here() == ["params_model_1.npz"]


def test_verify_names_what_changed(tiny, folder, own, capsys, caplog):
    run(capsys, "import", own("params_model_1.npz", 1), own("params_model_1_ptm.npz", 2))
    (folder / "params_model_1.npz").write_bytes(b"other")
    code, _, error = run(capsys, "verify", "alphafold2")
    assert code == 2
    assert f"error: {folder}/params_model_1.npz: expected sha256" in error
    assert "it has changed since" in error
    (folder / "params_model_1_ptm.npz").unlink()
    code, _, error = run(capsys, "verify")
    assert code == 2
    assert "a recorded file is missing; run: foldline weights fetch alphafold2" in caplog.text
    assert error == "error: 2 files are not as they should be\n"


def test_verify_of_nothing(capsys):
    code, _, error = run(capsys, "verify", "alphafold2")
    assert code == 2
    assert "params_model_1.npz: there are no weights of model 'model_1'; run: foldline weights fetch" in error


def test_fetch(tiny, misbehave, capsys, caplog):
    with misbehave.Web(tiny.archive) as web:
        code, _, _ = run(capsys, "fetch", "alphafold2", "--url", web.url())
    assert code == 0
    assert "Creative Commons Attribution 4.0" in caplog.text
    assert "Please cite Jumper et al. 2021" in caplog.text
    assert tiny.here() == tiny.installed


def test_fetch_refuses(tiny, capsys):
    assert "expected 64 hexadecimal digits" in run(capsys, "fetch", "alphafold2", "--sha256", "abc")[2]
    code, _, error = run(capsys, "fetch", "alphafold2", "--url", "file:///etc/passwd")
    assert code == 2
    assert error.endswith("error: file:///etc/passwd: expected an address that starts with http:// or https://\n")
    assert "'alphafold3' is none of alphafold2, did you mean 'alphafold2'?" in run(capsys, "fetch", "alphafold3")[2]


@pytest.fixture
def arrays(smallest, monkeypatch):
    monkeypatch.setattr(check, "PRESETS", {"model_1": smallest})
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in params.shapes(smallest).items()}


def take(tmp_path, arrays):
    np.savez(tmp_path / "params_model_1.npz", **arrays)
    return cli.main(["weights", "import", str(tmp_path / "params_model_1.npz")])


def test_a_good_file(tmp_path, arrays):
    assert take(tmp_path, arrays) == 0
    assert cli.main(["weights", "verify", "model_1"]) == 0


def test_missing_unexpected_and_misshapen(folder, tmp_path, arrays, capsys):
    first, second = sorted(arrays)[:2]
    other = {name: array for name, array in arrays.items() if name != first}
    other |= {second: arrays[second][None], "a//b": np.zeros(2, np.float32)}
    assert take(tmp_path, other) == 2
    error = capsys.readouterr().err
    assert f"params_model_1.npz: these are no parameters of model_1: 1 missing: {first}; 1 unexpected: a//b; " in error
    assert f"1 of wrong shape: {second} expected" in error
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_a_truncated_file(tmp_path, folder, arrays, capsys):
    take(tmp_path, arrays)
    path = folder / "params_model_1.npz"
    path.write_bytes(path.read_bytes()[:-500])
    records.record_path(ALPHAFOLD2).unlink()
    capsys.readouterr()
    assert cli.main(["weights", "verify", "model_1"]) == 2
    assert f"{path}: these are no parameters of model_1: expected a NumPy archive" in capsys.readouterr().err


def test_a_truncated_file_of_any_name(tmp_path, arrays, capsys):
    take(tmp_path, arrays)
    data = (tmp_path / "params_model_1.npz").read_bytes()
    for name in ("params_model_1.npz", "x"):
        (tmp_path / name).write_bytes(data[:-500])
        assert cli.main(["weights", "import", "--as", "model_1", "--replace", str(tmp_path / name)]) == 2
        assert f"{name}: these are no parameters of model_1: expected a NumPy archive" in capsys.readouterr().err


def test_a_damaged_byte(tmp_path, arrays, capsys):
    take(tmp_path, arrays)
    path = tmp_path / "params_model_1.npz"
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
    data[largest.header_offset + largest.compress_size // 2] ^= 1
    path.write_bytes(data)
    capsys.readouterr()
    assert cli.main(["weights", "import", str(path), "--replace"]) == 2
    assert "these are no parameters of model_1: expected a NumPy archive" in capsys.readouterr().err
