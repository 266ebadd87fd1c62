"""What is known of a target: what its stages left, why one ended early, what a missing or damaged record costs."""

import numpy as np
import pytest

from pipeline.batch_record import outcome, write_batch
from pipeline.errors import FoldlineError
from pipeline.records import write_json, write_npz
from pipeline.report.evidence import read_evidence

KILLED = {"killed": "search", "waiting": "search", "done": "predict"}


@pytest.mark.parametrize("upto", ["target", "search"])
def test_a_target_without_prediction_is_failed_with_its_reason(tmp_path, samples, upto):
    folder = samples.make_target(tmp_path, "lost", upto=upto)
    assert "no prediction was written" in samples.Page(samples.target_page(tmp_path, folder)).words
    batch = {"batch": "0032-000", "targets": [{"name": "lost", "status": "failed", "reason": "out of <memory>"}]}
    write_json(tmp_path / "batches" / "0032-000.json", batch, "foldline.batch/1")
    page = samples.Page(samples.target_page(tmp_path, folder))
    assert "No structure: out of <memory>" in page.words
    assert page.figures() == ({"depth", "coverage", "timing"} if upto == "search" else set())


def test_a_killed_prediction_is_named(tmp_path, samples):
    folder = samples.make_target(tmp_path, "killed", upto="search")
    write_json(folder / "running.json", {"target": "killed", "model": "model_3", "seed": 7}, "foldline.running/1")
    samples.run_page(tmp_path)
    reason = samples.rows(tmp_path)["killed"]["reason"]
    assert reason.startswith("its prediction (model_3, seed 7) began and did not end")
    assert reason in samples.Page(samples.target_page(tmp_path, folder)).words


def test_a_batch_that_was_killed_tells_how_it_ended(tmp_path, samples):
    """Of the target that was predicted, of one that waited, and of one that was done and is not relaxed."""
    folders = {name: samples.make_target(tmp_path, name, upto=upto) for name, upto in KILLED.items()}
    write_json(folders["killed"] / "running.json", {"model": "mini", "seed": 0}, "foldline.running/1")
    write_json(tmp_path / "plan.json", {"batches": dict.fromkeys(KILLED, "0032-001")}, "foldline.plan/1")
    (tmp_path / "logs/predict").mkdir(parents=True)
    (tmp_path / "logs/predict/0032-001.log").write_text("INFO x\nerror: ended by the signal <b>SIGKILL</b>\n")
    samples.run_page(tmp_path)
    said = "predict 0032-001: ended by the signal <b>SIGKILL</b>"
    reasons = {name: row["reason"] for name, row in samples.rows(tmp_path).items()}
    assert reasons == {
        "killed": f"its prediction (mini, seed 0) began and did not end: {said}",
        "waiting": said,
        "done": said,
    }
    for name, folder in folders.items():
        begins = "Predicted, not relaxed" if name == "done" else "No structure"
        assert f"{begins}: {reasons[name]}" in samples.Page(samples.target_page(tmp_path, folder)).words


def test_an_older_prediction_does_not_hide_a_failure(tmp_path, samples):
    folder = samples.make_target(tmp_path, "again")
    batch = {"batch": "b", "targets": [{"name": "again", "status": "failed", "reason": "out of memory"}]}
    write_json(tmp_path / "batches" / "0032-000.json", batch, "foldline.batch/1")
    page = samples.Page(samples.target_page(tmp_path, folder))
    assert "No structure: out of memory" in page.words
    assert "pae" not in page.figures()
    write_json(tmp_path / "plan.json", {"batches": {"again": "0032-001"}}, "foldline.plan/1")
    assert "Predicted and relaxed." in samples.Page(samples.target_page(tmp_path, folder)).words


def test_a_later_stage_does_not_hide_a_failure(tmp_path, samples):
    folder = samples.make_target(tmp_path, "again")
    write_batch(tmp_path / "batches/0032-000.json", [outcome("again", "out of memory")])
    write_batch(tmp_path / "batches/relax-0032-000-01.json", [outcome("again")])
    assert "No structure: out of memory" in samples.Page(samples.target_page(tmp_path, folder)).words


@pytest.mark.parametrize("missing", ["confidence.npz", "search.json", "templates.json", "target.json", "relaxed.cif"])
def test_a_missing_record_costs_its_part_only(tmp_path, samples, missing):
    folder = samples.make_target(tmp_path, "gap")
    (folder / missing).unlink()
    assert "Predicted and relaxed." in samples.Page(samples.target_page(tmp_path, folder)).words


def test_a_target_without_times_or_pae_is_shown(tmp_path, samples):
    folder = samples.make_target(tmp_path, "bare")
    (folder / "features.json").unlink()
    write_npz(folder / "confidence.npz", {"plddt": np.full(samples.LENGTH, 90.0)}, "foldline.confidence/1")
    assert "pae" not in samples.Page(samples.target_page(tmp_path, folder)).figures()
    assert read_evidence(folder, tmp_path).seconds == {"search": 1.5, "predict": 10.5, "relax": 2.5}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: [(f / f"target.{kind}").unlink() for kind in ("json", "fasta")], "target.fasta"),
        (lambda f: (f / "target.json").write_text("{}"), "target.json"),
        (lambda f: (f / "relax.json").write_text("{"), "relax.json: expected a foldline.relax/1 file"),
        (lambda f: write_json(f / "search.json", {}, "foldline.search/9"), "expected schema 'foldline.search/1'"),
        (lambda f: (f / "confidence.npz").write_bytes(b"PK"), "confidence.npz: expected a foldline.confidence/1"),
        (lambda f: (f / "predicted.cif").write_text("data_x\n"), "predicted.cif"),
    ],
)
def test_damaged_records_are_errors_of_one_line(tmp_path, samples, damage, message):
    folder = samples.make_target(tmp_path, "target")
    damage(folder)
    with pytest.raises(FoldlineError, match=message) as caught:
        samples.target_page(tmp_path, folder)
    assert "\n" not in str(caught.value)
    assert not (folder / "report.html").exists()
