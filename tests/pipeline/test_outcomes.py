"""What came of a run: which targets failed, what is made anew, whose page is missing."""

import pytest

from pipeline.batch_record import outcome, write_batch
from pipeline.outcomes import failed_targets, forget_unfinished, groups_of, is_done, running_targets, without_page

FILES = ("msa.a3m", "templates.json", "search.json", "features.npz", "predicted.cif", "confidence.npz")
FILES += ("confidence.json", "relaxed.cif", "relax.json", "report.html")


@pytest.fixture
def plan(two_batches, tmp_path):
    """A run of two batches that is done."""
    for name in two_batches.targets:
        for file in FILES:
            (tmp_path / "targets" / name / file).touch()
    for group in groups_of(tmp_path, two_batches):
        write_batch(group.record, [outcome(name) for name in group.targets])
    return two_batches


def records(folder):
    return {path.stem for path in (folder / "batches").iterdir()}


def test_every_job_leaves_a_record(plan, tmp_path):
    assert records(tmp_path) == {
        *("search-0001", "featurize-0001", "0032-001", "0064-001"),
        *("relax-0032-001-01", "relax-0064-001-01", "relax-0064-001-02", "report-0032-001", "report-0064-001"),
    }


def test_what_is_whole_is_kept(plan, tmp_path):
    before = records(tmp_path)
    forget_unfinished(tmp_path, plan)
    assert records(tmp_path) == before


OF_BATCH = {"0064-001", "relax-0064-001-01", "relax-0064-001-02", "report-0064-001"}
OTHERS = {"0032-001", "relax-0032-001-01", "report-0032-001"}


@pytest.mark.parametrize(
    ("file", "lost"),
    [
        ("b/msa.a3m", {"search-0001", "featurize-0001", *OF_BATCH, *OTHERS}),
        ("b/features.npz", {"featurize-0001", *OF_BATCH, *OTHERS}),
        ("b/confidence.npz", OF_BATCH),
        ("b/relaxed.cif", {"relax-0064-001-01", "report-0064-001"}),
        ("c/report.html", {"report-0064-001"}),
    ],
)
def test_what_is_missing_or_changed_is_made_anew_and_what_follows(plan, tmp_path, file, lost):
    before, path = records(tmp_path), tmp_path / "targets" / file
    path.write_text("changed by hand")
    forget_unfinished(tmp_path, plan)
    assert records(tmp_path) == before - lost
    for group in groups_of(tmp_path, plan):
        write_batch(group.record, [outcome(name) for name in group.targets])
    path.unlink()
    forget_unfinished(tmp_path, plan)
    assert records(tmp_path) == before - lost


def test_a_record_that_is_damaged_or_names_a_failure_goes(plan, tmp_path):
    before = records(tmp_path)
    (tmp_path / "batches/0032-001.json").write_text("{")
    write_batch(tmp_path / "batches/relax-0064-001-02.json", [outcome("c", "no structure")])
    (tmp_path / "targets/b/running.json").touch()
    assert running_targets(tmp_path, plan) == ["b"]
    forget_unfinished(tmp_path, plan)
    assert running_targets(tmp_path, plan) == []
    assert records(tmp_path) == before - {*OTHERS, "relax-0064-001-02", "report-0064-001"}


def test_a_failed_prediction_tells_the_reason(plan, tmp_path):
    for name, reason in (
        ("search-0001", "no file"),
        ("0064-001", "search failed: no file"),
        ("relax-0064-001-01", "x"),
    ):
        write_batch(tmp_path / f"batches/{name}.json", [outcome("b", reason)])
    write_batch(tmp_path / "batches/relax-0032-001-01.json", [outcome("a", "damaged"), outcome("gone", "x")])
    assert failed_targets(tmp_path, plan) == {"a": "damaged", "b": "search failed: no file"}


def test_a_prediction_that_was_begun_anew_is_not_done(plan, tmp_path):
    assert is_done(tmp_path, "b")
    (tmp_path / "targets/b/predicted.cif").unlink()
    assert not is_done(tmp_path, "b")


def test_pages_are_missing_of_what_has_something_to_say(plan, tmp_path):
    assert without_page(tmp_path, plan) == []
    (tmp_path / "targets/a/relax.json").write_text("newer than the page")
    for name in FILES:
        (tmp_path / "targets/c" / name).unlink()
    assert without_page(tmp_path, plan) == ["a"]
    write_batch(tmp_path / "batches/0064-001.json", [outcome("c", "out of memory")])
    assert without_page(tmp_path, plan) == ["a", "c"]
