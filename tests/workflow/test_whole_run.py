"""The whole line on two small real proteins: every file, nothing twice, and a failure that costs one target."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from pipeline.config import ROOT
from pipeline.numbering import author_numbers
from pipeline.protein import read_structure

FASTA = """>trp_cage numbering=-3-10,21 Trp-cage miniprotein, <b>designed</b> (1L2Y)
NLYIQWLKDGGPSSGRPPPS
>villin_headpiece Villin headpiece subdomain HP36, chicken (1VII)
MLSDEDFKAVFGMTRSAFANLPLWKQQNLKKEKGLF
"""
CONFIG = """
input:
  fasta: [in.fasta]
databases:
  cache: cache
relax:
  iterations: 50
"""
NAMES = ("trp_cage", "villin_headpiece")
FILES = {
    "target.fasta",
    "target.json",
    "msa.a3m",
    "templates.json",
    "templates.tsv",
    "search.json",
    "features.npz",
    "predicted.cif",
    "confidence.npz",
    "confidence.json",
    "provenance.json",
    "relaxed.cif",
    "relax.json",
    "report.html",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "data/weights/mini.npz").exists(), reason="no weights in data/weights"),
]


def foldline(folder, *words):
    command = [sys.executable, "-m", "pipeline.cli", "run", "--config", "my.yaml", "--cores", "2", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "xdg")}
    done = subprocess.run(
        command, cwd=folder, env=environment, text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of a user, with a run that is done."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "in.fasta").write_text(FASTA)
    (folder / "my.yaml").write_text(CONFIG)
    code, said = foldline(folder)
    assert code == 0, said
    assert "2 of 2 targets done" in said
    return folder


def test_every_file_is_there_and_no_other(folder):
    out = folder / "results"
    for name in NAMES:
        assert {path.name for path in (out / "targets" / name).iterdir()} == FILES
        confidence = json.loads((out / "targets" / name / "confidence.json").read_text())
        assert 0 < confidence["mean_plddt"] <= 100
        assert json.loads((out / "targets" / name / "relax.json").read_text())["status"] in ("relaxed", "unrelaxed")
        for stage in ("featurize", "relax", "report"):
            assert (out / "logs" / stage / f"{name}.log").exists()
            assert (out / "benchmarks" / stage / f"{name}.tsv").exists()
    assert (out / "logs/search/0001.log").exists()
    searched = json.loads((out / "batches/search-0001.json").read_text())
    assert {target["name"]: target["status"] for target in searched["targets"]} == dict.fromkeys(NAMES, "ok")
    batch = json.loads((out / "batches/0064-001.json").read_text())
    done = {target["name"]: target["status"] for target in batch["targets"]}
    assert done == {"trp_cage": "ok", "villin_headpiece": "ok"}
    assert {path.name for path in out.iterdir()} >= {"report.html", "summary.tsv", "config.yaml", "plan.json"}
    assert (out / "summary.tsv").read_text().count("\n") == 3


def test_hostile_headers_stay_text(folder):
    page = (folder / "results/targets/trp_cage/report.html").read_text()
    assert "<b>designed</b>" not in page
    assert "designed" in page


def test_the_users_residue_numbers_come_back(folder):
    target = folder / "results/targets/trp_cage"
    numbers = author_numbers("-3-10,21", 20)
    for name in ("predicted.cif", "relaxed.cif"):
        assert read_structure(target / name).author_number == numbers
    assert tuple(np.load(target / "confidence.npz")["author_number"]) == numbers
    assert json.loads((target / "relax.json").read_text())["residues"][0] == "A:ASN-3"
    assert '"author": ["-3", "-2"' in (target / "report.html").read_text()
    assert "\t-3-10,21-26\t" in (folder / "results/summary.tsv").read_text()


def test_a_second_run_has_nothing_to_do(folder):
    code, said = foldline(folder)
    assert code == 0
    assert "Nothing to be done" in said


def test_a_failure_costs_one_target_and_is_tried_again(folder):
    out = folder / "results"
    before = (out / "targets/trp_cage/relaxed.cif").read_bytes()
    features = out / "targets/villin_headpiece/features.npz"
    whole = features.read_bytes()
    features.write_bytes(whole[:-99])
    code, said = foldline(folder)
    assert code == 1
    assert "error: results: 1 of 2 targets failed: villin_headpiece (" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert not (out / "targets/villin_headpiece/predicted.cif").exists()
    assert (out / "targets/trp_cage/relaxed.cif").read_bytes() == before
    assert "failed" in (out / "summary.tsv").read_text()
    features.write_bytes(whole)
    code, said = foldline(folder)
    assert code == 0, said
    assert "failed" not in (out / "summary.tsv").read_text()


def test_an_alignment_that_is_not_the_targets_costs_one_target(folder):
    out, own = folder / "results", folder / "mine/trp_cage.fasta"
    own.parent.mkdir()
    own.write_text(">trp_cage\nNLYIQWLKDGGPSSGRPPPA\n")
    (folder / "my.yaml").write_text(CONFIG + "search:\n  own_msas: [mine]\n")
    code, said = foldline(folder)
    assert code == 1, said
    assert "1 of 2 targets failed: trp_cage (search failed: mine/trp_cage.fasta:1: no row is the target" in said
    assert "has 'A' at position 20, the target 'S'" in said
    assert not (out / "targets/trp_cage/msa.a3m").exists()
    assert "search failed: mine" in (out / "targets/trp_cage/report.html").read_text()
    own.write_text(">trp_cage\nNLYIQWLKDGGPSSGRPPPS\n>r\nNLYIQWLKD--PSSGRPPPS\n")
    code, said = foldline(folder)
    assert code == 0, said
    assert json.loads((out / "targets/trp_cage/search.json").read_text())["own"] == "mine/trp_cage.fasta"
    assert json.loads((out / "targets/villin_headpiece/search.json").read_text())["cached"]


def emptied(expected, found):
    """Return the documented fields, with a list in place of its elements' fields where it is empty here."""
    empty = {name for name in found if any(field.startswith(f"{name}[].") for field in expected)}
    return empty | {field for field in expected if field.partition("[].")[0] not in empty}


def test_docs_name_every_file_and_field(folder, documented):
    out = folder / "results"
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    for name in NAMES:
        found = {path.replace(name, "NAME").replace("0064-001", "BATCH") for path in found}
    found = {path.replace("search-0001", "search-SEARCH").replace("search/0001", "search/SEARCH") for path in found}
    assert found == documented.paths - documented.optional
    target = out / "targets/villin_headpiece"
    records = [*target.glob("*.json"), out / "plan.json", *(out / "batches").glob("*.json")]
    assert len(records) == 9
    for path in records:
        name = path.name.replace("0064-001", "batches/batch").replace("search-0001", "batches/search-search")
        expected = documented.fields[name]
        found_fields = documented.flattened(json.loads(path.read_text()))
        assert found_fields == emptied(set(expected), found_fields), path.name
    for path in target.glob("*.npz"):
        assert set(np.load(path)) == set(documented.fields[path.name]), path.name
