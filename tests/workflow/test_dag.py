"""The Snakefile: what runs, what runs again after a change, and what is refused before anything runs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.batch_record import outcome, write_batch
from pipeline.config import ROOT, load_config, merged
from pipeline.outcomes import groups_of
from pipeline.plan import plan_of, plan_run
from pipeline.plan_command import works_of
from pipeline.resources import memory, minutes

SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQ"
FASTA = f">a first\n{SEQUENCE}\n>b\n{SEQUENCE * 2}\n>c <b>&amp;</b>\n{SEQUENCE * 2}W\n"
APART = {"plan": {"compilation_cost": 0}}  # two buckets, two batches
EVERYTHING = {"search": 1, "featurize": 1, "predict": 2, "relax": 3, "report": 2, "report_run": 1, "all": 1}


def snakemake(folder, *arguments):
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1", *arguments]
    return subprocess.run(command, cwd=folder, text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def planned(folder, **changes):
    """Return how often each rule would run, with these sections of the config changed."""
    (folder / "changes.yaml").write_text(yaml.safe_dump(merged(APART, changes)))
    done = snakemake(folder, "--dry-run", "--quiet", "host", "rules", "reason", "--configfile", "changes.yaml")
    assert done.returncode == 0, done.stdout
    jobs = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE)}
    jobs.pop("total", None)
    return jobs


def working_folder(folder):
    """Fill a folder with what the workflow reads: small FASTA, and places of library and weights."""
    for place, text in (
        ("data/examples/t.fasta", FASTA),
        ("data/library/library.json", ""),
        ("data/weights/mini.npz", ""),
    ):
        (folder / place).parent.mkdir(parents=True)
        (folder / place).write_text(text)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that is done, as far as Snakemake can tell: its files, and its own records of how they were made."""
    folder = working_folder(tmp_path_factory.mktemp("finished"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        plan = plan_run(merged(load_config(), APART))
    out = folder / "results"
    for group in groups_of(out, plan):
        write_batch(group.record, [outcome(name) for name in group.targets])
    for name in ("report.html", "summary.tsv"):
        (out / name).touch()
    (folder / "changes.yaml").write_text(yaml.safe_dump(APART))
    done = snakemake(folder, "--touch", "--forceall", "--configfile", "changes.yaml")
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture
def rerun(finished, tmp_path):
    """A copy of the finished run, to change."""
    return shutil.copytree(finished, tmp_path / "run")


def test_lint(tmp_path):
    done = snakemake(working_folder(tmp_path), "--lint")
    assert done.returncode == 0, done.stdout


def test_everything_runs_once(tmp_path):
    folder = working_folder(tmp_path)
    assert planned(folder) == EVERYTHING
    assert not list((folder / "results").rglob("*.json.tmp"))
    assert (folder / "results/targets/a/target.fasta").read_text() == f">a first\n{SEQUENCE}\n"


def test_finished_run_has_nothing_to_do(finished):
    assert planned(finished) == {}


@pytest.mark.parametrize(
    ("stage", "setting", "expected"),
    [
        ("search", None, EVERYTHING),
        ("featurize", None, {rule: n for rule, n in EVERYTHING.items() if rule != "search"}),
        ("predict", "seed", {"predict": 2, "relax": 3, "report": 2, "report_run": 1, "all": 1}),
        ("relax", None, {"relax": 3, "report": 2, "report_run": 1, "all": 1}),
        ("report", "few_rows", {"report": 2, "report_run": 1, "all": 1}),
    ],
)
def test_a_setting_reruns_its_stage_and_what_follows(finished, stage, setting, expected):
    section = load_config()[stage]
    name = setting or next(key for key, value in section.items() if type(value) in (int, float))
    assert planned(finished, **{stage: {name: section[name] + 1}}) == expected


def test_planning_settings_rerun_nothing(finished):
    assert (
        planned(
            finished,
            plan={
                **{"search_targets": 1, "batch_targets": 1, "batch_cost": 1024},
                **{"compilation_cost": 10**9, "relax_seconds": 1000.0},
            },
        )
        == {}
    )


def test_an_added_record_reruns_no_finished_target(rerun):
    with (rerun / "data/examples/t.fasta").open("a") as file:
        file.write(f">d\n{SEQUENCE * 2}\n")
    assert planned(rerun) == dict.fromkeys(EVERYTHING, 1)


def test_other_residue_numbers_rerun_no_search(rerun):
    (rerun / "numbers.tsv").write_text("target\tnumbering\na\t17\n")
    after = {rule: 1 for rule in EVERYTHING if rule not in ("search", "featurize")}
    assert planned(rerun, input={"numbering": "numbers.tsv"}) == after


def test_a_changed_sequence_reruns_what_was_searched_together(rerun):
    """What the others' searches found comes from the cache, and what is predicted from it stays."""
    path = rerun / "data/examples/t.fasta"
    path.write_text(path.read_text().replace(f">a first\n{SEQUENCE}", f">a first\n{SEQUENCE}W"))
    assert planned(rerun) == EVERYTHING


def test_targets_are_searched_in_groups(tmp_path):
    folder = working_folder(tmp_path)
    assert planned(folder, plan={"search_targets": 2}) == {**EVERYTHING, "search": 2, "featurize": 2}


def test_a_batch_waits_for_the_searches_of_its_targets_only(tmp_path):
    working_folder(tmp_path)
    (tmp_path / "changes.yaml").write_text(yaml.safe_dump({"plan": {**APART["plan"], "search_targets": 1}}))
    done = snakemake(tmp_path, "--dry-run", "--configfile", "changes.yaml")
    waits = re.findall(r"^rule predict:\n +input: (.*)\n +output: (.*)$", done.stdout, re.MULTILINE)
    found = {output: sorted(set(re.findall(r"featurize-\d+", files))) for files, output in waits}
    assert found == {
        "results/batches/0032-001.json": ["featurize-0001"],
        "results/batches/0064-001.json": ["featurize-0002", "featurize-0003"],
    }


def test_an_alignment_of_ones_own_is_an_input(rerun):
    (rerun / "mine").mkdir()
    (rerun / "mine/b.a3m").write_text(f">b\n{SEQUENCE * 2}\n")
    assert planned(rerun, search={"own_msas": ["mine"]})["search"] == 1
    done = snakemake(rerun, "--dry-run", "--configfile", "changes.yaml")
    assert re.search(r"^rule search:\n +input: .*, mine/b\.a3m$", done.stdout, re.MULTILINE)


def test_an_alignment_of_no_target_stops_before_any_job(tmp_path):
    folder = working_folder(tmp_path)
    (folder / "mine").mkdir()
    (folder / "changes.yaml").write_text("search:\n  own_msas: [mine]\n")
    done = snakemake(folder, "--dry-run", "--configfile", "changes.yaml")
    assert done.returncode != 0
    assert "search.own_msas: 'mine' has an alignment of no target of this run" in done.stdout
    assert not (folder / "results/targets").exists()


def test_another_order_of_records_reruns_only_the_report_of_the_run(rerun):
    lines = FASTA.splitlines(keepends=True)
    (rerun / "data/examples/t.fasta").write_text("".join([*lines[4:], *lines[:4]]))
    assert planned(rerun) == {"report_run": 1, "all": 1}


def test_bad_fasta_stops_before_any_job(tmp_path):
    folder = working_folder(tmp_path)
    (folder / "data/examples/t.fasta").write_text(">a\nMKTAYIAKQRQ1SFVKSHFSRQ\n")
    done = snakemake(folder, "--dry-run")
    assert done.returncode != 0
    assert "t.fasta:2: digit '1' at position 12 of 'a' is no amino acid" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (folder / "results/targets").exists()


@pytest.mark.parametrize("change", ["another sequence", "gone"])
def test_a_job_of_a_scheduler_reads_the_targets_as_they_were(finished, tmp_path, change):
    """It reads the Snakefile again, while the user may edit the FASTA file for another run."""
    folder = shutil.copytree(finished, tmp_path / "run")
    fasta, out = folder / "data/examples/t.fasta", folder / "results"
    files = [*out.glob("targets/*/target.*"), out / "plan.json", out / "targets.txt"]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    if change == "gone":
        fasta.unlink()
    else:
        fasta.write_text(FASTA.replace(SEQUENCE, SEQUENCE[::-1]))
    job = ("--mode", "remote", "--target-jobs", "featurize:search=0001", "--allowed-rules", "featurize", "--force")
    done = snakemake(folder, "--dry-run", "--nolock", *job, "--configfile", "changes.yaml")
    assert done.returncode == 0, done.stdout
    assert "featurize" in done.stdout
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files} == before


def test_what_a_stage_would_refuse_stops_before_any_job(tmp_path):
    folder = working_folder(tmp_path)
    (folder / "changes.yaml").write_text("relax: {bridges: [A5-A55]}\n")
    done = snakemake(folder, "--dry-run", "--configfile", "changes.yaml")
    assert done.returncode != 0
    assert "relax.bridges: expected two residues such as A:5-A:55, found 'A5-A55'" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (folder / "results/targets").exists()


def test_the_profile_of_a_search_is_an_input(tmp_path):
    working_folder(tmp_path)
    (tmp_path / "own.fasta").write_text(FASTA)
    (tmp_path / "my.hmm").touch()
    own = {"name": "own", "path": "own.fasta", "engine": "hmmsearch", "settings": {"profile": "my.hmm"}}
    (tmp_path / "changes.yaml").write_text(yaml.safe_dump({"search": {"databases": ["library", own]}}))
    done = snakemake(tmp_path, "--dry-run", "--configfile", "changes.yaml")
    assert re.search(r"^rule search:\n +input: .*, own\.fasta, my\.hmm$", done.stdout, re.MULTILINE), done.stdout


def test_a_database_that_is_missing_is_named_with_its_line(tmp_path):
    working_folder(tmp_path)
    (tmp_path / "my.yaml").write_text("search:\n  databases:\n    - library\n    - own=own.fasta:1\n")
    done = snakemake(tmp_path, "--dry-run", "--configfile", "my.yaml")
    assert done.returncode == 1
    expected = r"own\.fasta: the database 'own' does not exist; correct .*: search\.databases\[1\], \S*my\.yaml:4"
    assert re.search(expected, done.stdout)
    assert "Traceback" not in done.stdout


def test_a_database_of_several_files_is_an_input(tmp_path):
    working_folder(tmp_path)
    (tmp_path / "mm.dbtype").write_bytes(bytes(4))
    own = {"name": "mm", "path": "mm", "version": "1", "settings": {"rounds": 1}, "max_rows": 7}
    assert planned(tmp_path, search={"databases": ["library", own]}) == EVERYTHING


def test_a_path_with_braces_stops_before_any_job(tmp_path):
    """Snakemake would look for wildcards in it."""
    working_folder(tmp_path)
    (tmp_path / "model_{best}.pdb").touch()
    (tmp_path / "changes.yaml").write_text("search: {own_templates: ['model_{best}.pdb']}\n")
    done = snakemake(tmp_path, "--dry-run", "--configfile", "changes.yaml")
    assert done.returncode != 0
    assert "model_{best}.pdb: a run takes no path with braces, which are wildcards of Snakemake" in done.stdout
    assert "Traceback" not in done.stdout


def test_words_with_braces_reach_the_search(tmp_path):
    working_folder(tmp_path)
    over = {"databases": {"cache": "/data/{lab}/cache"}, "search": {"exclude_templates": ["{best}"]}}
    (tmp_path / "changes.yaml").write_text(yaml.safe_dump(over))
    done = snakemake(tmp_path, "--dry-run", "--printshellcmds", "--configfile", "changes.yaml")
    assert done.returncode == 0, done.stdout
    assert "--cache '/data/{lab}/cache'" in done.stdout
    assert "--exclude-templates '{best}'" in done.stdout


def test_a_search_asks_for_what_the_plan_says(tmp_path, monkeypatch):
    """Of two targets, since the third has an alignment of its own; hhsearch's files are not read as sequences."""
    working_folder(tmp_path)
    for name in ("big.fasta", "hh_hhm.ffindex"):
        with (tmp_path / name).open("w") as file:
            file.write(">a")
            file.truncate(3 * 10**9)  # a file of holes
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/b.a3m").write_text(f">b\n{SEQUENCE * 2}\n")
    over = {"own_msas": ["mine"], "databases": ["library", "big=big.fasta:1"], "hhsearch": "hh=hh:1"}
    (tmp_path / "changes.yaml").write_text(yaml.safe_dump({"search": over}))
    done = snakemake(tmp_path, "--dry-run", "--configfile", "changes.yaml")
    job = re.search(r"^rule search:\n(?: +.*\n)+", done.stdout, re.MULTILINE)[0]
    asked = {name: int(number) for name, number in re.findall(r"(mem_mb|runtime)=(\d+)", job)}
    monkeypatch.chdir(tmp_path)
    config = merged(load_config(), {"search": over})
    (work, *_) = works_of(config, plan_of(config))
    assert work.stage == "search"
    assert work.cost.cpu_seconds == pytest.approx(2 * 3.7e-7 * 3e9 + 3, rel=0.01)
    assert asked == {"mem_mb": memory(work.cost), "runtime": minutes(work.cost)}


def test_bad_config_is_named(tmp_path):
    folder = working_folder(tmp_path)
    (folder / "changes.yaml").write_text("predict:\n  recyles: 3\n")
    done = snakemake(folder, "--dry-run", "--configfile", "changes.yaml")
    assert done.returncode != 0
    assert "'predict.recyles' is no setting; did you mean 'predict.recycles'?" in done.stdout


def test_every_rule_has_the_same_anatomy():
    text = (ROOT / "Snakefile").read_text()
    rules = re.split(r"^rule ", text, flags=re.MULTILINE)[1:]
    assert len(rules) == 8
    for rule in rules:
        name = rule.split(":")[0]
        assert re.match(r'\w+:\n    """[A-Z].*', rule), name
        wanted = ("log", "benchmark", "conda", "threads", "resources", "params", "shell") if name != "all" else ()
        assert all(re.search(rf"^    {part}:", rule, re.MULTILINE) for part in wanted), name
        assert not re.search(r"^    (run|script):", rule, re.MULTILINE), name


def test_out_of_the_way_names_survive_the_shell(tmp_path):
    folder = working_folder(tmp_path)
    config = merged(load_config(), {"outdir": "my results; rm -rf x"})
    (folder / "changes.yaml").write_text(yaml.safe_dump(config))
    done = snakemake(folder, "--dry-run", "--printshellcmds", "--configfile", "changes.yaml")
    assert done.returncode == 0, done.stdout
    assert (
        "foldline featurize --targets 'my results; rm -rf x/targets/a' 'my results; rm -rf x/targets/b'" in done.stdout
    )


def test_snakefile_is_named_by_the_command():
    from pipeline.profiles import LOCAL  # noqa: PLC0415
    from pipeline.run import SNAKEFILE  # noqa: PLC0415

    assert SNAKEFILE.is_file()
    assert (LOCAL / "config.yaml").is_file()
    assert Path(ROOT / "foldline").stat().st_mode & 0o111
