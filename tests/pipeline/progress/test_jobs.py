import json
from pathlib import Path

import pytest

from pipeline.config import load_config, merged
from pipeline.plan import plan_run
from pipeline.progress.jobs import STAGES, Jobs
from pipeline.records import write_json

NAMES = "abcde"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def plan(tmp_path, out):
    (tmp_path / "x.fasta").write_text("".join(f">{name}\nMKTAYIAKQRQISFVKSHFSRQ\n" for name in NAMES))
    over = {"input": {"fasta": [str(tmp_path / "x.fasta")]}, "outdir": str(out), "plan": {"batch_targets": 2}}
    return plan_run(merged(load_config(), over))


@pytest.fixture
def told():
    return []


@pytest.fixture
def jobs(plan, out, told):
    return Jobs(plan, out, listener=told.append)


def take(to, **event):
    to.take(json.dumps(event))


def start(jobs, number, rule, name=""):
    wildcards = {"any": name} if name else {}
    take(jobs, event="started", number=number, rule=rule, wildcards=wildcards, log=[f"logs/{rule}.log"])


def counts(jobs, stage):
    tally = jobs.tallies[stage]
    return tally.done, tally.failed, tally.total


def test_stages_with_something_to_do_are_shown(jobs):
    take(jobs, event="planned", jobs={"relax": 5, "report_run": 1, "all": 1})
    assert [tally.name for tally in jobs.shown] == ["relax"]
    take(jobs, event="nothing")
    assert jobs.nothing_to_do


def test_totals_are_targets_whatever_the_jobs(jobs, plan):
    assert len(plan.batches) == 3
    take(jobs, event="planned", jobs={"search": len(plan.searches), "predict": 3})
    assert counts(jobs, "search") == (0, 0, 5)
    assert counts(jobs, "predict") == (0, 0, 5)


def test_a_part_of_the_batches_is_estimated_until_they_are_known(jobs, plan):
    take(jobs, event="planned", jobs={"predict": 1})
    assert counts(jobs, "predict")[2] == round(5 / 3)
    name = next(name for name, batch in plan.batches.items() if len(batch.targets) == 1)
    start(jobs, 1, "predict", name)
    jobs.look()
    assert counts(jobs, "predict") == (0, 0, 1)


def test_a_job_of_several_targets_counts_as_its_files_appear(jobs, plan, out, told, caplog):
    name, batch = next((name, batch) for name, batch in plan.batches.items() if len(batch.targets) == 2)
    first, second = batch.targets
    old = out / "targets" / second / "confidence.json"
    old.touch()  # of an earlier run
    take(jobs, event="planned", jobs={"predict": 3})
    start(jobs, 7, "predict", name)
    jobs.look()
    assert counts(jobs, "predict") == (0, 0, 5)
    (out / "targets" / first / "confidence.json").touch()
    jobs.look()
    jobs.look()
    assert counts(jobs, "predict") == (1, 0, 5)
    assert [event["target"] for event in told if event["event"] == "target"] == [first]
    record = [{"name": first, "status": "ok", "reason": ""}, {"name": second, "status": "failed", "reason": "x"}]
    write_json(out / "batches" / f"{name}.json", {"targets": record}, "foldline.batch/1")
    take(jobs, event="finished", number=7)
    take(jobs, event="finished", number=7)
    assert counts(jobs, "predict") == (1, 1, 5)
    assert told[-1]["failed"] == {second: "x"}
    assert caplog.messages == [f"predict: {second} failed: x"]
    (relaxation,) = [name for name, targets in plan.relaxations.items() if second in targets]
    start(jobs, 8, "relax", relaxation)
    write_json(out / "batches" / f"relax-{relaxation}.json", {"targets": record}, "foldline.batch/1")
    take(jobs, event="finished", number=8)
    assert len(caplog.messages) == 1


def test_predictions_of_several_models_are_parts(plan, out):
    runs = [Path("models/model_1-0"), Path("models/model_2-0"), Path("models/model_3-0")]
    jobs = Jobs(plan, out, runs)
    name, batch = next((name, batch) for name, batch in plan.batches.items() if len(batch.targets) == 2)
    take(jobs, event="planned", jobs={"predict": 3})
    start(jobs, 1, "predict", name)
    for run in runs[:2]:
        for target in batch.targets:
            (out / "targets" / target / run).mkdir(parents=True)
            (out / "targets" / target / run / "confidence.json").touch()
    jobs.look()
    tally = jobs.tallies["predict"]
    assert (tally.done, tally.part, tally.left) == (0, 1.0, 5)
    (out / "targets" / batch.targets[0] / "confidence.json").touch()
    jobs.look()
    assert (tally.done, tally.part) == (1, 0.5)
    take(jobs, event="finished", number=1)
    assert (tally.done, tally.part) == (2, 0.0)


def test_a_job_that_is_tried_again_has_not_failed(jobs, caplog):
    take(jobs, event="planned", jobs=dict.fromkeys(STAGES, 1))
    start(jobs, 1, "search", "0001")
    take(jobs, event="failed", number=1)
    take(jobs, event="failed", number=1)
    assert counts(jobs, "search") == (0, 5, 5)
    assert [(job.group.stage, job.group.name) for job in jobs.failures] == [("search", "0001")]
    assert caplog.messages == ["search 0001 failed: it says nothing (logs/search.log)"]
    start(jobs, 1, "search", "0001")
    jobs.look()
    assert counts(jobs, "search") == (0, 0, 5)
    take(jobs, event="finished", number=1)  # without a record: all went well
    assert counts(jobs, "search") == (5, 0, 5)
    assert jobs.failures == []


def test_jobs_that_an_interrupt_ends_have_not_failed(jobs, told):
    take(jobs, event="planned", jobs={"search": 1})
    start(jobs, 1, "search", "0001")
    jobs.stopping = True
    take(jobs, event="failed", number=1)
    assert (counts(jobs, "search"), jobs.failures, told[-1]["event"]) == ((0, 0, 5), [], "stopped")


def test_the_page_of_the_run_counts_as_no_target(jobs):
    take(jobs, event="planned", jobs={"report_run": 1, "all": 1})
    start(jobs, 1, "report_run")
    take(jobs, event="finished", number=1)
    assert jobs.shown == []


@pytest.mark.parametrize("line", ["", "{", "[]", "3", '{"x": 1}', '{"event": "other", "y": 2}'])
def test_a_line_that_is_no_event_changes_nothing(jobs, line, told):
    jobs.take(line)
    assert (jobs.shown, told) == ([], [])


def test_every_stage_can_be_counted(jobs, plan):
    """Each stage's jobs are those of the plan, which together hold every target once."""
    rules = {group.stage: [] for group in jobs._groups.values()}
    for group in jobs._groups.values():
        rules[group.stage] += group.targets
    assert tuple(rules) == STAGES
    assert all(sorted(names) == sorted(plan.targets) for names in rules.values())
