import json

import pytest

from pipeline.databases.command import main
from pipeline.errors import LibraryError


def test_a_table(place, written, capsys):
    assert main(["check", "--config", str(written(f"own={place}/plain.fasta:7", "library"))]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["NAME", "VERSION", "FORMAT", "SEQUENCES", "RESIDUES", "SIZE", "STATE", "PATH"]
    assert lines[1] == ["own", "7", "FASTA", "2", "27", "44", "bytes", "ok", f"{place}/plain.fasta"]
    assert lines[2][0] == "library"


def test_a_terminal_obeys_no_path(place, written, capsys, monkeypatch):
    (place / "a\x1b[31m").mkdir()
    monkeypatch.chdir(place)
    assert main(["list", "--folder", "a\x1b[31m"]) == 0
    assert "folder: a?[31m\n" in capsys.readouterr().out


def test_json(place, written, capsys):
    assert main(["check", "--json", "--config", str(written(f"own={place}/plain.fasta:7"))]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["schema"] == "foldline.databases/1"
    (state,) = record["databases"]
    assert (state["name"], state["sequences"], state["residues"], state["problem"]) == ("own", 2, 27, "")
    assert state["place"].endswith("my.yaml:5")


def test_a_problem_ends_it_after_the_table(place, written, capsys):
    path = written(f"own={place}/plain.fasta:7", "gone=x.fasta:1")
    with pytest.raises(LibraryError, match=r"'gone' does not exist; .* \(search\.databases\[1\], .*my\.yaml:6\)"):
        main(["check", "--config", str(path)])
    out = capsys.readouterr().out
    assert "ok" in out
    assert "unusable" in out


def test_several_problems(place, written, capsys, caplog):
    path = written("far=y.fasta:1", "gone=x.fasta:1")
    with pytest.raises(LibraryError, match="2 databases cannot be searched"):
        main(["check", "--config", str(path)])
    assert "'far' does not exist" in caplog.text
    assert "'gone' does not exist" in caplog.text
