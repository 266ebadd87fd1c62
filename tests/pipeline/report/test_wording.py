"""What a page says of a model in words: how it ended, and what should make a reader careful."""

from pipeline.records import read_json, write_json
from pipeline.target import TARGET_SCHEMA, Target


def test_without_relaxation_the_page_says_why(tmp_path, samples):
    page = samples.Page(samples.target_page(tmp_path, samples.make_target(tmp_path, "strained", relaxed=False)))
    assert "Predicted, not relaxed: atoms overlap so much that they cannot be parted <i>" in page.words
    assert "displacement" not in page.figures()


def test_without_a_record_of_relaxation_the_page_says_so(tmp_path, samples):
    page = samples.Page(samples.target_page(tmp_path, samples.make_target(tmp_path, "half", upto="predict")))
    assert "Predicted, not relaxed: relaxation was not run or left no record" in page.words
    assert {"pae", "ramachandran", "ribbon-front"} <= page.figures()


def test_faults_of_the_model_are_warnings(tmp_path, samples):
    folder = samples.make_target(tmp_path, "faulty")
    record = read_json(folder / "relax.json", "foldline.relax/1")
    record["violations_after"] = {"violating_residues": 1, "d_residues": 2, "chain_breaks": 3}
    write_json(folder / "relax.json", record, "foldline.relax/1")
    words = samples.Page(samples.target_page(tmp_path, folder)).words
    assert "1 residue of the model in violation" in words
    assert "2 residues of the wrong chirality" in words
    assert "The chain is broken in the model, 3 times." in words


def test_warnings_follow_the_settings(tmp_path, samples):
    folder = samples.make_target(tmp_path, "whole")
    page = samples.Page(
        samples.target_page(tmp_path, folder, "--low-confidence", "50", "--few-rows", "5", "--template-rows", "1")
    )
    assert "Low confidence" not in page.words
    assert "Few relatives" not in page.words
    assert "The first 1 of 3 template hits" in page.words
    assert "2XYZ_B" not in " ".join(page.text).partition("Template hits")[2].partition("Geometry")[0]


def test_a_search_that_ran_out_of_time_is_named(tmp_path, samples):
    folder = samples.make_target(tmp_path, "whole")
    record = read_json(folder / "search.json", "foldline.search/1")
    write_json(folder / "search.json", {**record, "timed_out": True}, "foldline.search/1")
    assert "The search ran into its time budget" in samples.Page(samples.target_page(tmp_path, folder)).words


def test_unknown_residues_are_named(tmp_path, samples):
    folder = samples.make_target(tmp_path, "unknown", upto="search")
    target = Target.monomer("unknown", "unknown", "ACDEFXXGHIKL")
    write_json(folder / "target.json", target.record(), TARGET_SCHEMA)
    assert "2 residues are unknown (X)" in samples.Page(samples.target_page(tmp_path, folder)).words
