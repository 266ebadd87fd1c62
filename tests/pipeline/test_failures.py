"""Why targets failed: one answer, for the last line of a run and for its pages."""

import os

import pytest

from pipeline import failures as module
from pipeline.batch_record import BATCH_SCHEMA, outcome, reasons_in, write_batch
from pipeline.errors import RecordError
from pipeline.failures import failures, failures_before_report
from pipeline.outcomes import failed_targets
from pipeline.records import write_json


def told(folder, name, *outcomes, when=0):
    """Write the record of a batch, last changed then."""
    path = folder / f"batches/{name}.json"
    write_batch(path, outcomes)
    os.utime(path, (when, when))
    return path


def test_a_prediction_tells_more_than_what_was_before_it(tmp_path):
    stages = ("search", "relax", "predict", "featurize", "report")
    groups = [(stage, told(tmp_path, stage, outcome("x", stage)), ("x",)) for stage in stages]
    said = []
    for _ in stages:
        said.append(failures(groups)["x"])
        groups = [group for group in groups if group[0] != said[-1]]
    assert said == ["predict", "relax", "report", "featurize", "search"]
    assert failures(groups) == {}


def test_a_record_speaks_for_the_targets_of_its_batch(tmp_path):
    record = told(tmp_path, "0032-001", outcome("mine", "no memory"), outcome("moved", "no memory"), outcome("well"))
    assert failures([("predict", record, {"mine", "well"})]) == {"mine": "no memory"}
    assert failures([("predict", record, None)]) == {"mine": "no memory", "moved": "no memory"}


@pytest.mark.parametrize("order", [1, -1])
def test_times_of_files_change_nothing(two_batches, tmp_path, order):
    """A copy of a folder has other ones."""
    told(tmp_path, "0064-001", outcome("b", "out of memory"), outcome("c"), when=1000)
    told(tmp_path, "relax-0064-001-01", outcome("b"), when=1000 + order)
    told(tmp_path, "relax-0064-001-02", outcome("c", "no structure"), when=1000)
    told(tmp_path, "search-0001", outcome("a"), outcome("b", "no file"), outcome("c"), when=1000 + 2 * order)
    said = {"b": "out of memory", "c": "no structure"}
    assert failures_before_report(tmp_path) == failed_targets(tmp_path, two_batches) == said


def test_batches_of_an_earlier_plan_say_nothing(two_batches, tmp_path):
    told(tmp_path, "0032-009", outcome("a", "too long"))
    assert failures_before_report(tmp_path) == failed_targets(tmp_path, two_batches) == {}
    (tmp_path / "plan.json").unlink()
    assert failures_before_report(tmp_path) == {"a": "too long"}


def test_a_page_that_failed_is_no_reason_for_itself(two_batches, tmp_path):
    told(tmp_path, "report-0032-001", outcome("a", "relax.json is damaged"))
    assert failed_targets(tmp_path, two_batches) == {"a": "relax.json is damaged"}
    assert failures_before_report(tmp_path) == {}
    (tmp_path / "plan.json").unlink()
    assert failures_before_report(tmp_path) == {}


@pytest.mark.parametrize("planned", [True, False])
def test_a_record_that_goes_while_others_are_read_says_nothing(two_batches, tmp_path, monkeypatch, planned):
    told(tmp_path, "relax-0032-001-01", outcome("a", "no structure"))
    told(tmp_path, "0064-001", outcome("b", "out of memory"))
    if not planned:
        (tmp_path / "plan.json").unlink()

    def begun_anew(path):
        if path.name == "0064-001.json":
            path.unlink(missing_ok=True)
        return reasons_in(path)

    monkeypatch.setattr(module, "reasons_in", begun_anew)
    assert failures_before_report(tmp_path) == {"a": "no structure"}
    assert failed_targets(tmp_path, two_batches) == {"a": "no structure"}


@pytest.mark.parametrize("targets", [None, {}, ["a"], [{"name": "a"}], [{"status": "failed"}]])
def test_a_record_that_does_not_say_what_came_of_its_targets_is_damaged(tmp_path, targets):
    write_json(tmp_path / "x.json", {"batch": "x", **({} if targets is None else {"targets": targets})}, BATCH_SCHEMA)
    with pytest.raises(RecordError, match=r"x\.json: expected the name and the status of each target; delete it"):
        reasons_in(tmp_path / "x.json")


def test_a_failure_may_have_no_reason(tmp_path):
    write_json(tmp_path / "x.json", {"targets": [{"name": "a", "status": "failed"}]}, BATCH_SCHEMA)
    assert reasons_in(tmp_path / "x.json") == {"a": ""}


def test_a_damaged_record_is_named(two_batches, tmp_path):
    (tmp_path / "batches/0064-001.json").write_text("{")
    with pytest.raises(RecordError, match=r"0064-001\.json: expected a foldline\.batch/1 file"):
        failures_before_report(tmp_path)
    with pytest.raises(RecordError, match=r"0064-001\.json: expected a foldline\.batch/1 file"):
        failed_targets(tmp_path, two_batches)
