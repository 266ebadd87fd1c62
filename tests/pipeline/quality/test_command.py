"""`foldline quality`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config import ROOT
from pipeline.errors import StageError, StructureError
from pipeline.quality.command import main

GOLDEN = Path(__file__).parents[1] / "golden"
CAGE, BPTI = str(GOLDEN / "1l2y_A.pdb"), str(GOLDEN / "1bpi_A.pdb")
DOC = (ROOT / "docs" / "quality.md").read_text(encoding="utf-8")


def test_a_row_for_each_file(capsys):
    assert main([CAGE, BPTI]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["file", "residues", "clash", "score"]
    assert [row.split()[1] for row in rows] == ["20", "58"]


def test_a_row_for_each_residue(capsys):
    assert main(["--residues", CAGE]) == 0
    head, *rows = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert {len(row) for row in rows} == {len(head)}
    assert [row[head.index("residue")] for row in rows[:3]] == ["ASN", "LEU", "TYR"]


def test_the_record_is_the_one_that_is_documented(capsys):
    assert main(["--json", CAGE]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["schema"] == "foldline.quality/1"
    (found,) = record["structures"]
    _, _, more = DOC.partition("More fields of the summary:")
    more, _, columns = more.partition("Columns of the residues:")
    columns = columns.partition("## ")[0]
    assert named(columns) == list(found["residues"])
    assert named(more) == list(found["summary"])[-len(named(more)) :]


def named(table):
    cells = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| `")]
    return [cell.strip("`") for cell in cells]


def test_files_that_cannot_be_read(tmp_path, capsys, caplog):
    empty = tmp_path / "empty.pdb"
    empty.write_text("")
    with pytest.raises(StructureError, match=r"empty\.pdb: expected an mmCIF or PDB file, found an empty one"):
        main([str(empty)])
    with pytest.raises(StageError, match="2 of 3 structures could not be read; the lines above say why"):
        main([str(empty), CAGE, str(tmp_path / "none.cif")])
    assert "none.cif: the structure file does not exist" in caplog.text
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_names_cannot_reach_the_terminal(tmp_path, capsys):
    name = tmp_path / "a\x1b[31m.pdb"
    name.write_bytes(Path(CAGE).read_bytes())
    main([str(name)])
    assert "\x1b" not in capsys.readouterr().out


def test_nothing_heavy_is_loaded():
    code = "import sys, pipeline.quality.command, pipeline.evaluate.command as _; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"jax", "openmm", "pyhmmer"} & set(done.stdout.split())
