"""How the commands of training end: one line for what a user can mend, and a traceback for a bug."""

import runpy
import sys

import pytest

from models.params import ParameterFileError
from pipeline.errors import RecordError, StageError
from training.guard import guarded


def ending_with(error):
    def main():
        raise error

    return guarded(main)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (RecordError("bad", "a.npz", "mend it"), 2, "error: a.npz: bad; mend it\n"),
        (StageError("it ended early"), 1, "error: it ended early\n"),
        (ParameterFileError("w.npz", "no weights"), 2, "error: w.npz: no weights\n"),
        (FileNotFoundError(2, "No such file or directory", "mmseqs"), 2, "error: mmseqs: no such file or directory\n"),
        (OSError(28, "No space left on device"), 2, "error: no space left on device\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
    ],
)
def test_what_can_be_mended_is_one_line(capsys, monkeypatch, error, code, text):
    monkeypatch.delenv("FOLDLINE_DEBUG", raising=False)
    assert ending_with(error) == code
    assert capsys.readouterr().err == text


def test_debug_shows_the_traceback(monkeypatch, caplog):
    monkeypatch.setenv("FOLDLINE_DEBUG", "1")
    assert ending_with(RecordError("bad")) == 2
    assert "Traceback" in caplog.text


def test_a_bug_is_none_of_its_business():
    with pytest.raises(ZeroDivisionError):
        ending_with(ZeroDivisionError())
    assert guarded(lambda: 3) == 3


DATA = ["--data", "d", "--exclude", "e"]
LIBRARY = (
    "l/library.json: expected a foldline.library/1 file: it does not exist; "
    "fetch the files again (git checkout -- data/library) or run foldline library build"
)
COMMANDS = {
    "ablation": ([*DATA, "--output", "o", "--only", "plddt"], "--only: plddt is no part of mini"),
    "curve": (["f", "x.svg"], "f: expected the output of a training: there is no loss.tsv"),
    "hits": (["--data", "d"], "d/structuredb/ids.npy: no such file or directory"),
    "average": (["w.npz", "--output", "o"], "w.npz: expected a parameter file: there is none"),
    "evaluate": ([*DATA, "--weights", "w.npz"], "w.npz: expected a parameter file: there is none"),
    "homology": (["--run", "r", "--library", "l", "--output", "o"], LIBRARY),
    "quality_limits": (["--allatom", "a.npz"], "a.npz: no such file or directory"),
    "quality_statistics": (
        ["--dump", "d", "--allatom", "a.npz", "--held-out", "h"],
        "h: cannot read the chains to hold out: [Errno 2] No such file or directory: 'h'",
    ),
    "side_chain_statistics": (["--allatom", "a.npz"], "a.npz: no such file or directory"),
    "fragments": ([*DATA, "--weights", "w.npz"], "e: no such file or directory"),
    "pretrain": ([*DATA, "--output", "o", "--model", "model_1"], "--model: model_1 has no convolutions to teach"),
    "train": ([*DATA, "--output", "o", "--batch", "0"], "--batch: expected at least 1, found 0"),
    "validation": (["--run", "r", "--references", "f"], "r/summary.json: no such file or directory"),
}


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_refuses_in_one_line_what_it_cannot_use(command, capsys, monkeypatch, tmp_path):
    words, text = COMMANDS[command]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FOLDLINE_DEBUG", raising=False)
    monkeypatch.setattr(sys, "argv", [command, *words])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_module(f"training.{command}", run_name="__main__")
    assert capsys.readouterr().err == f"error: {text}\n"
    assert not list(tmp_path.iterdir())
