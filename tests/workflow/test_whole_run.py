"""The whole line on two small real proteins: every file, nothing twice, and a failure that costs one target."""

import json
import os
import re
import shutil
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
    "features.json",
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
    jobs = ["search/0001", "featurize/0001", "predict/0064-001", "relax/0064-001-01", "relax/0064-001-02"]
    for job in [*jobs, "report/0064-001", "report/run"]:
        assert (out / "logs" / f"{job}.log").exists()
        assert (out / "benchmarks" / f"{job}.tsv").exists()
    done = {}
    for record in (out / "batches").iterdir():
        targets = json.loads(record.read_text())["targets"]
        done[record.stem] = {target["name"]: target["status"] for target in targets}
    both = dict.fromkeys(NAMES, "ok")
    each = {f"relax-0064-001-0{n}": {name: "ok"} for n, name in enumerate(NAMES, start=1)}
    assert done == {"search-0001": both, "featurize-0001": both, "0064-001": both, "report-0064-001": both, **each}
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


def test_snakemake_itself_has_nothing_to_do_either(folder):
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"]
    done = subprocess.run(
        [*command, "--configfile", "results/config.yaml"], cwd=folder, text=True, check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert "Nothing to be done" in done.stderr


def test_what_snakemake_printed_is_in_a_file(folder):
    assert "Nothing to be done" in (folder / "results/logs/snakemake.log").read_text()


def test_snakemakes_own_report_carries_the_pages(folder):
    out = folder / "results"
    assert foldline(folder, "--", "pages")[0] == 0
    for name in NAMES:
        assert (out / f"pages/{name}.html").read_bytes() == (out / f"targets/{name}/report.html").read_bytes()
    code, said = foldline(folder, "--", "pages", "--report", "own.html")
    assert code == 0, said
    page = (folder / "own.html").read_text()
    sizes = sum((out / f"targets/{name}/report.html").stat().st_size for name in NAMES)
    assert len(page) > sizes
    assert all(f"{name}.html" in page for name in (*NAMES, "report"))
    shutil.rmtree(out / "pages")
    for path in (out / "logs/report/pages.log", out / "benchmarks/report/pages.tsv"):
        path.unlink()


def test_what_is_damaged_is_made_anew_and_nothing_else(folder):
    out = folder / "results"
    features, others = out / "targets/villin_headpiece/features.npz", out / "targets/trp_cage"
    whole, before = features.read_bytes(), made(out)
    features.write_bytes(whole[:-99])
    code, said = foldline(folder)
    assert code == 0, said
    assert features.read_bytes() == whole
    changed = {path for path, time in made(out).items() if time != before[path]}
    assert {path for path in changed if path.name != "report.html"} == {features, features.with_suffix(".json")}
    assert (others / "report.html").exists()


def made(out):
    """Return when each file of a target was written."""
    return {path: path.stat().st_mtime_ns for path in (out / "targets").rglob("*") if path.is_file()}


def test_an_alignment_that_is_not_the_targets_costs_one_target_and_is_tried_again(folder):
    out, own = folder / "results", folder / "mine/trp_cage.fasta"
    other = out / "targets/villin_headpiece/relaxed.cif"
    before = other.stat().st_mtime_ns
    own.parent.mkdir()
    own.write_text(">trp_cage\nNLYIQWLKDGGPSSGRPPPA\n")
    (folder / "my.yaml").write_text(CONFIG + "search:\n  own_msas: [mine]\n")
    code, said = foldline(folder)
    assert code == 1, said
    assert "1 of 2 targets failed: trp_cage (search failed: mine/trp_cage.fasta:1: no row is the target" in said
    assert "has 'A' at position 20, the target 'S'" in said
    assert "Traceback" not in said
    assert "failed" in (out / "summary.tsv").read_text()
    assert not any((out / "targets/trp_cage" / name).exists() for name in ("msa.a3m", "predicted.cif", "relaxed.cif"))
    assert "search failed: mine" in (out / "targets/trp_cage/report.html").read_text()
    own.write_text(">trp_cage\nNLYIQWLKDGGPSSGRPPPS\n>r\nNLYIQWLKD--PSSGRPPPS\n")
    code, said = foldline(folder)
    assert code == 0, said
    assert json.loads((out / "targets/trp_cage/search.json").read_text())["own"] == "mine/trp_cage.fasta"
    assert json.loads((out / "targets/villin_headpiece/search.json").read_text())["cached"]
    assert "failed" not in (out / "summary.tsv").read_text()
    assert other.stat().st_mtime_ns == before


def emptied(expected, found):
    """Return the documented fields, with a list in place of its elements' fields where it is empty here."""
    empty = {name for name in found if any(field.startswith(f"{name}[].") for field in expected)}
    return empty | {field for field in expected if field.partition("[].")[0] not in empty}


def test_docs_name_every_file_and_field(folder, documented):
    out = folder / "results"
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    for name in NAMES:
        found = {path.replace(name, "NAME").replace("0064-001", "BATCH") for path in found}
    for stage in ("search", "featurize"):
        found = {
            path.replace(f"{stage}-0001", f"{stage}-SEARCH").replace(f"{stage}/0001", f"{stage}/SEARCH")
            for path in found
        }
    found = {re.sub(r"(relax[/-])BATCH-0\d", r"\1RELAX", path) for path in found}
    assert found == documented.paths - documented.optional
    target = out / "targets/villin_headpiece"
    records = [*target.glob("*.json"), out / "plan.json", *(out / "batches").glob("*.json")]
    assert len(records) == 14
    for path in records:
        name = path.name
        if path.parent.name == "batches":
            name = f"batches/{re.sub('0064-001-0[12]', 'relax', name)}".replace("0064-001", "batch").replace(
                "0001", "search"
            )
        expected = documented.fields[name]
        found_fields = documented.flattened(json.loads(path.read_text()))
        assert found_fields == emptied(set(expected), found_fields), path.name
    for path in target.glob("*.npz"):
        assert set(np.load(path)) == set(documented.fields[path.name]), path.name
