"""`foldline plan`: what it prints, and that it writes nothing."""

import json

import pytest

from pipeline import plan_command
from pipeline.batch_record import outcome, write_batch
from pipeline.cli import main
from pipeline.plan import plan_run
from pipeline.run import effective_config

SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQ"


@pytest.fixture
def fasta(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "in.fasta"
    path.write_text("".join(f">t{n}\n{SEQUENCE * n}\n" for n in (1, 2, 3, 30)))
    return path


def record(capsys, *words):
    assert plan_command.main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_record_is_the_plan_that_a_run_makes(fasta, tmp_path, capsys):
    said = record(capsys, fasta, "--outdir", "out", "--cores", "2")
    assert sorted(tmp_path.iterdir()) == [fasta]
    words = plan_command.parser().parse_args([str(fasta), "--outdir", "out"])
    plan = plan_run(effective_config(words))
    assert said["batches"] == {name: list(batch.targets) for name, batch in plan.batches.items()}
    assert said["searches"] == {"0001": list(plan.searches["0001"])}
    assert said["schema"] == plan_command.SCHEMA
    assert said["targets"] == sum(bucket["targets"] for bucket in said["buckets"]) == 4
    assert said["buckets"][-1] == {"bucket": 704, "targets": 1, "shortest": 660, "longest": 660, "padding_percent": 12}
    stages = ["search", "featurize", *["predict"] * 2, *["relax"] * 2, *["report"] * 2]
    assert [work["stage"] for work in said["work"]] == stages
    assert {work["done"] for work in said["work"]} == {False}
    assert said["cpu_seconds"] == pytest.approx(sum(work["cost"]["cpu_seconds"] for work in said["work"]))
    assert said["wall_seconds"] == pytest.approx(said["cpu_seconds"] / 2)
    assert said["memory_mb"] == max(work["cost"]["memory_mb"] for work in said["work"])


@pytest.mark.parametrize(("templates", "share"), [("use_templates: false", 3 / 4), ("no_templates_for: [t1]", 3 / 4)])
def test_own_alignments_are_not_searched(fasta, tmp_path, capsys, templates, share):
    plain = record(capsys, fasta)["work"][0]
    (tmp_path / "t1.a3m").write_text(f">t1\n{SEQUENCE}\n")
    (tmp_path / "own.yaml").write_text(f"search:\n  own_msas: ['t1=t1.a3m']\n  {templates}\n")
    own = record(capsys, fasta, "--config", "own.yaml")["work"][0]
    assert own["cost"]["cpu_seconds"] == pytest.approx(plain["cost"]["cpu_seconds"] * share)


def test_templates_of_own_alignments_are_searched(fasta, tmp_path, capsys):
    plain = record(capsys, fasta)["work"][0]
    (tmp_path / "t1.a3m").write_text(f">t1\n{SEQUENCE}\n")
    (tmp_path / "own.yaml").write_text("search:\n  own_msas: ['t1=t1.a3m']\n")
    assert record(capsys, fasta, "--config", "own.yaml")["work"][0]["cost"] == plain["cost"]


def test_databases_cost(fasta, tmp_path, capsys):
    plain = record(capsys, fasta)["cpu_seconds"]
    (tmp_path / "db.fasta").write_text(f">a\n{SEQUENCE}\n" * 10_000)
    (tmp_path / "own.yaml").write_text("search:\n  databases: [library, 'own=db.fasta:1']\n")
    assert record(capsys, fasta, "--config", "own.yaml")["cpu_seconds"] > plain


def test_the_table_names_every_batch_and_the_source(fasta, capsys):
    assert main(["plan", str(fasta), "--cores", "2"]) == 0
    said = capsys.readouterr().out
    for words in ("predict 0096-001", "predict 0704-001", "search 0001", "wall, 2 cores", "docs/performance.md"):
        assert words in said
    assert "4 targets, 8 jobs and the run's page, one compilation for each padded length: " in said


def test_what_a_run_would_refuse_is_refused(fasta, tmp_path, capsys):
    fasta.write_text(">a\nMKTAYIAKQR1QISFVK\n")
    assert main(["plan", str(fasta)]) == 2
    assert "in.fasta:2" in capsys.readouterr().err
    assert main(["plan", str(fasta), "--cores", "0"]) == 2
    assert "--cores" in capsys.readouterr().err


def test_what_is_done_is_told_and_costs_nothing(fasta, tmp_path, capsys):
    before = record(capsys, fasta, "--outdir", "out")
    plan = plan_run(effective_config(plan_command.parser().parse_args([str(fasta), "--outdir", "out"])))
    for name in plan.targets:
        for file in ("msa.a3m", "templates.json", "templates.tsv", "search.json"):
            (tmp_path / "out/targets" / name / file).touch()
    write_batch(tmp_path / "out/batches/search-0001.json", [outcome(name) for name in plan.targets])
    after = record(capsys, fasta, "--outdir", "out")
    assert (after["jobs"], after["jobs_done"]) == (8, 1)
    assert [work["name"] for work in after["work"] if work["done"]] == ["0001"]
    assert after["cpu_seconds"] == pytest.approx(before["cpu_seconds"] - before["work"][0]["cost"]["cpu_seconds"])
    assert main(["plan", str(fasta), "--outdir", "out"]) == 0
    said = capsys.readouterr().out
    assert "8 jobs and the run's page, one compilation for each padded length; 1 of them done, the others need " in said
    assert "search" not in said.partition("job ")[2].partition("4 targets")[0]
