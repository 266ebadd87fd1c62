"""What came of a run: which targets failed, what is made anew, whose page is missing."""

import pytest

from pipeline.batch_record import outcome, write_batch
from pipeline.outcomes import MADE, failed_targets, forget_unfinished, groups_of, is_done, running_targets, without_page
from pipeline.records import write_json
from pipeline.relax.files import SCHEMA as RELAX_SCHEMA

FILES = [name for names in MADE.values() for name in names]


@pytest.fixture
def plan(two_batches, tmp_path):
    """A run of two batches that is done."""
    for name in two_batches.targets:
        for file in FILES:
            (tmp_path / "targets" / name / file).touch()
    (tmp_path / "summary.tsv").touch()
    (tmp_path / "summary.json").touch()
    write_records(tmp_path, two_batches)
    return two_batches


def write_records(folder, plan):
    """Let every batch end well, now."""
    for group in groups_of(folder, plan):
        write_batch(group.record, [outcome(name) for name in group.targets])


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
        ("b/templates.tsv", {"search-0001", "featurize-0001", *OF_BATCH, *OTHERS}),
        ("b/features.npz", {"featurize-0001", *OF_BATCH, *OTHERS}),
        ("b/features.json", {"featurize-0001", *OF_BATCH, *OTHERS}),
        ("b/confidence.npz", OF_BATCH),
        ("b/provenance.json", OF_BATCH),
        ("b/relaxed.cif", {"relax-0064-001-01", "report-0064-001"}),
        ("c/report.html", {"report-0064-001"}),
    ],
)
def test_what_is_missing_or_changed_is_made_anew_and_what_follows(plan, tmp_path, file, lost):
    before, path = records(tmp_path), tmp_path / "targets" / file
    path.write_text("changed by hand")
    forget_unfinished(tmp_path, plan)
    assert records(tmp_path) == before - lost
    write_records(tmp_path, plan)
    path.unlink()
    forget_unfinished(tmp_path, plan)
    assert records(tmp_path) == before - lost


def told(folder, models="all", **failure):
    """Write the records of a target of two predictions, and the files that they name."""
    inputs, ranked = {"own_templates.npz": "x"}, ("models/m-0", "models/m-1")
    outputs = ["ranking.json", "pae.json", *(f"{place}/confidence.json" for place in ranked)]
    write_json(folder / "ranking.json", {"ranked": [{"folder": place} for place in ranked]}, "foldline.ranking/1")
    relax = {"files": {"relaxed.cif": "x", "relaxed.pdb": "x"}, "settings": {"models": models}}
    for place in ("", *ranked):
        for name in relax["files"]:
            (folder / place).mkdir(parents=True, exist_ok=True)
            (folder / place / name).touch()
        write_json(folder / place / "relax.json", {**relax, **(failure if place == ranked[-1] else {})}, RELAX_SCHEMA)
    for name in (*inputs, *outputs[1:]):
        (folder / name).touch()
    record = {"inputs": inputs, "outputs": dict.fromkeys(outputs, "x")}
    write_json(folder / "provenance.json", record, "foldline.provenance/1")


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("own_templates.npz", "search featurize predict relax report"),
        ("ranking.json", "predict relax report"),
        ("pae.json", "predict relax report"),
        ("models/m-1/confidence.json", "predict relax report"),
        ("models/m-1/relax.json", "relax report"),
        ("models/m-0/relaxed.pdb", "relax report"),
        ("relaxed.pdb", "relax report"),
    ],
)
def test_what_the_records_of_a_target_name_is_made_anew(plan, tmp_path, file, stages):
    told(tmp_path / "targets/a")
    write_records(tmp_path, plan)
    before = records(tmp_path)
    forget_unfinished(tmp_path, plan)
    assert records(tmp_path) == before
    (tmp_path / "targets/a" / file).unlink()
    forget_unfinished(tmp_path, plan)
    assert {group.stage for group in groups_of(tmp_path, plan) if not group.record.exists()} == set(stages.split())


def test_relaxations_that_are_not_asked_for_are_not_missed(plan, tmp_path):
    told(tmp_path / "targets/a", models="best")
    (tmp_path / "targets/a/models/m-1/relax.json").unlink()
    write_records(tmp_path, plan)
    before = records(tmp_path)
    forget_unfinished(tmp_path, plan)
    assert records(tmp_path) == before


@pytest.mark.parametrize(("failure", "again"), [("", False), ("worse", False), ("crash", True), ("memory", True)])
def test_a_relaxation_that_the_machine_ended_is_tried_again(plan, tmp_path, failure, again):
    told(tmp_path / "targets/a", failure=failure)
    write_records(tmp_path, plan)
    before = records(tmp_path)
    forget_unfinished(tmp_path, plan)
    assert records(tmp_path) == before - ({"relax-0032-001-01", "report-0032-001"} if again else set())


def test_half_a_summary_is_made_anew(plan, tmp_path):
    forget_unfinished(tmp_path, plan)
    assert (tmp_path / "summary.tsv").exists()
    (tmp_path / "summary.json").unlink()
    forget_unfinished(tmp_path, plan)
    assert not (tmp_path / "summary.tsv").exists()


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
