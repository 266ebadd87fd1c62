"""What was done, and what to cite for it."""

import re

import pytest

from pipeline.report.done import citations, provenance, run_software
from pipeline.report.evidence import Evidence
from pipeline.report.tables import in_words


def known(**records):
    return Evidence("t", "t", "ACDE", **records)


@pytest.mark.parametrize(
    ("records", "cited", "not_cited"),
    [
        ({}, ("Snakemake", "AlphaFold", "3Dmol.js"), ("HMMER", "OpenMM", "Protein Data Bank", "CC BY")),
        ({"search": {"databases": [{"engine": "pyhmmer-jackhmmer/2"}]}}, ("PyHMMER", "profile HMM"), ("MMseqs2",)),
        ({"search": {"databases": [{"engine": "mmseqs/1"}, {}]}}, ("MMseqs2", "ColabFold"), ("HMMER",)),
        ({"confidence": {"model": "mini", "templates_used": ["1ABC_A"]}}, ("Protein Data Bank",), ("CC BY",)),
        ({"confidence": {"model": "model_3_ptm"}}, ("CC BY 4.0",), ("Protein Data Bank",)),
        (
            {"relax": {"status": "relaxed", "force_field": "amber99sb", "solvent": "gbn2"}},
            ("OpenMM 8", "ff99SB", "GB-neck2"),
            ("ff14SB", "OBC"),
        ),
        ({"relax": {"status": "unrelaxed", "force_field": "amber14"}}, (), ("OpenMM", "ff14SB")),
    ],
)
def test_what_is_cited_follows_what_was_used(records, cited, not_cited):
    words = " ".join(citations(known(**records)))
    assert all(work in words for work in cited)
    assert not [work for work in not_cited if work in words]


def test_the_record_of_provenance_is_shown():
    record = {
        "device": "cpu",
        "processor": "a processor",
        "seeds": [3, 5],
        "weights": {"mini": "ab" * 32},
        "inputs": {"msa.a3m": "cd" * 32},
        "outputs": {},
        "software": {"python": "3.12.1"},
    }
    tables = {title: dict(rows) for title, rows in provenance(known(provenance=record))}
    assert tables["Software"] == {"python": "3.12.1"}
    assert tables["Made from"] == {
        "Device": "cpu",
        "Processor": "a processor",
        "Seeds": "3, 5",
        "Weights mini (sha256)": "ab" * 32,
        "Input msa.a3m (sha256)": "cd" * 32,
    }


@pytest.mark.parametrize(
    ("used", "said"), [(True, "read"), (False, "none: too few different rows, or the chain is too long"), (None, None)]
)
def test_it_is_said_whether_couplings_were_read(used, said):
    tables = {title: dict(rows) for title, rows in provenance(known(confidence={"couplings_used": used}))}
    assert tables["Prediction"].get("Couplings of columns") == said


def test_the_search_says_what_its_rows_are_worth(tmp_path, samples):
    folder = samples.make_target(tmp_path, "whole")
    words = samples.Page(samples.target_page(tmp_path, folder)).words
    assert "version 1, 12 rows; left out: 3 (duplicate); more beyond the cap were not aligned" in words
    assert re.search(r"Effective rows \(80 % identity\)\s+7\.12\s+Effective rows \(62 % identity\)\s+3\.25", words)


def test_versions_that_differ_in_a_run_are_all_named():
    targets = [known(provenance={"software": {"jax": version}}) for version in ("0.10.2", "0.10.1", "0.10.2")]
    assert run_software([*targets, known()]) == [("jax", "0.10.1, 0.10.2")]


def test_settings_are_in_words():
    shown = {True: "yes", False: "no", None: "\u2013", "": "\u2013", 0.5: "0.5", "auto": "auto"}
    assert {value: in_words(value) for value in shown} == shown
    assert [in_words(value) for value in ([], ["a", 1, True], {"a": [1, 2]})] == ["none", "a, 1, yes", "a: 1, 2"]
