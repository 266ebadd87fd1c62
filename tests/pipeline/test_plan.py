import dataclasses
import hashlib
import json
import re
from pathlib import Path

import pytest

from pipeline.config import load_config, merged
from pipeline.errors import ConfigError, FastaError, LibraryError, RecordError, WeightsError
from pipeline.plan import (
    cache_flag,
    data_of,
    fasta_files,
    plan_run,
    predict_memory,
    written_plan,
)

SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQ"
HMMSEARCH = {"name": "own", "path": "in.fasta", "engine": "hmmsearch"}


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.fasta").write_text(f">a first\n{SEQUENCE}\n>b\n{SEQUENCE * 2}\n>c\n{SEQUENCE * 2}W\n")
    return merged(load_config(), {"input": {"fasta": ["in.fasta"]}, "outdir": "out", "plan": {"compilation_cost": 0}})


def digests(folder):
    return {
        path: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_plan_writes_targets(config, tmp_path):
    plan = plan_run(config)
    assert list(plan.targets) == ["a", "b", "c"]
    assert plan.batch_of == {"a": "0032-001", "b": "0064-001", "c": "0064-001"}
    assert plan.batches["0064-001"].targets == ("b", "c")
    assert plan.searches == {"0001": ("a", "b", "c")}
    assert plan.search_of == dict.fromkeys("abc", "0001")
    assert plan.relaxations == {"0032-001-01": ("a",), "0064-001-01": ("b",), "0064-001-02": ("c",)}
    assert plan.relax_of == {"a": "0032-001-01", "b": "0064-001-01", "c": "0064-001-02"}
    assert plan.msas == {}
    assert (tmp_path / "out/targets/a/target.fasta").read_text() == f">a first\n{SEQUENCE}\n"
    assert json.loads((tmp_path / "out/targets/a/target.json").read_text()) == {
        "schema": "foldline.target/2",
        "name": "a",
        "header": "a first",
        "length": 22,
        "chains": [{"sequence": SEQUENCE, "numbering": "1-22", "id": "A"}],
        "notes": [],
    }
    assert (tmp_path / "out/targets.txt").read_text() == "a\nb\nc\n"


def test_a_plan_of_earlier_versions_gets_searches_and_relaxations(config, tmp_path):
    plan = plan_run(config)
    path = tmp_path / "out/plan.json"
    record = json.loads(path.read_text())
    del record["searches"], record["relaxations"]
    path.write_text(json.dumps(record))
    assert plan_run(config) == plan


def test_own_alignments_are_found_or_refused_before_anything_is_written(config, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/b.sto.gz").touch()
    with_folder = merged(config, {"search": {"own_msas": ["mine", "a=mine/b.sto.gz"]}})
    assert plan_run(with_folder).msas == {"b": Path("mine/b.sto.gz"), "a": Path("mine/b.sto.gz")}
    for entry, message in [
        ("nowhere", "there is no folder 'nowhere'; give a folder of files called by target, or TARGET=FILE"),
        ("x=mine/b.sto.gz", "'x=mine/b.sto.gz' has an alignment of no target of this run; call the files by the names"),
        ("a=none.a3m", "there is no file 'none.a3m' for the target 'a'"),
    ]:
        over = {"outdir": "other", "search": {"own_msas": [entry]}}
        with pytest.raises(ConfigError, match=re.escape(f"search.own_msas: {message}")):
            plan_run(merged(config, over))
    assert not (tmp_path / "other").exists()


def test_a_second_plan_writes_nothing(config, tmp_path):
    plan_run(config)
    before = digests(tmp_path / "out")
    plan_run(config)
    assert digests(tmp_path / "out") == before


def without_places(plan):
    """Return a plan that does not say where its targets were read."""
    targets = {name: dataclasses.replace(target, source="") for name, target in plan.targets.items()}
    return dataclasses.replace(plan, targets=targets)


def test_a_job_reads_the_plan_that_was_written(config, tmp_path):
    """Also of a second run of fewer targets in another order, with alignments and residue numbers of the user's own."""
    plan_run(config)
    (tmp_path / "c.a3m").touch()
    (tmp_path / "in.fasta").write_text(f">c numbering=7\n{SEQUENCE * 2}W\n>a first\n{SEQUENCE[::-1]}\n")
    plan = plan_run(merged(config, {"search": {"own_msas": ["c=c.a3m"]}}))
    assert plan.msas == {"c": Path("c.a3m")}
    (tmp_path / "in.fasta").unlink()
    (tmp_path / "c.a3m").unlink()
    before = digests(tmp_path / "out")
    found = written_plan(Path("out"))
    assert without_places(found) == without_places(plan)
    assert list(found.targets) == ["c", "a"]
    assert digests(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("plan.json", b'{"schema": "foldline.plan/1", "batches": {}, "msas": {}}', "expected the plan of this run's t"),
        ("plan.json", b"{", "expected a foldline.plan/1 file"),
        ("targets.txt", b"\xff", "expected the names of the targets; run it again"),
        ("targets.txt", None, "expected the names of the targets; run it again"),
        ("targets/a/target.json", None, "expected a foldline.target/2 file: it does not exist"),
    ],
)
def test_a_written_plan_that_is_damaged_is_named(config, tmp_path, name, content, message):
    plan_run(config)
    path = tmp_path / "out" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(RecordError, match=re.escape(f"out/{name}: {message}")):
        written_plan(Path("out"))


def test_a_list_of_targets_that_is_no_text_is_written_anew(config, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/targets.txt").write_bytes(b"\xff\xfe")
    plan_run(config)
    assert (tmp_path / "out/targets.txt").read_text() == "a\nb\nc\n"


def test_a_damaged_target_file_is_written_anew(config, tmp_path):
    plan_run(config)
    fasta, record = tmp_path / "out/targets/a/target.fasta", tmp_path / "out/targets/a/target.json"
    whole = record.read_text()
    fasta.write_text(">a fi")
    record.write_text(whole.replace("target/2", "target/1"))
    plan_run(config)
    assert fasta.read_text() == f">a first\n{SEQUENCE}\n"
    assert record.read_text() == whole


def test_a_subset_keeps_the_batches_of_the_others(config, tmp_path):
    everything = plan_run(config)
    (tmp_path / "one.fasta").write_text(f">b\n{SEQUENCE * 2}\n")
    assert plan_run(merged(config, {"input": {"fasta": ["one.fasta"]}})).batch_of == {"b": "0064-001"}
    assert plan_run(config).batch_of == everything.batch_of


def test_a_bad_record_writes_nothing(config, tmp_path):
    (tmp_path / "in.fasta").write_text(f">a\n{SEQUENCE}\n>b\nMKT\n")
    with pytest.raises(FastaError, match=r"in\.fasta:3: 'b' has 3 residues, fewer than min_length = 10"):
        plan_run(config)
    assert not (tmp_path / "out").exists()


def test_a_damaged_plan_is_named(config, tmp_path):
    plan_run(config)
    (tmp_path / "out/plan.json").write_text('{"schema": "foldline.plan/1"}')
    with pytest.raises(RecordError, match=r"plan\.json: expected the batches of an earlier plan; delete it"):
        plan_run(config)


@pytest.mark.parametrize("key", ["batches", "searches", "relaxations"])
def test_a_plan_with_other_names_is_named(config, tmp_path, key):
    plan_run(config)
    record = {"schema": "foldline.plan/1", "batches": {}, key: {"a": "../first"}}
    (tmp_path / "out/plan.json").write_text(json.dumps(record))
    with pytest.raises(RecordError, match=r"plan\.json: expected the batches of an earlier plan; delete it"):
        plan_run(config)


def test_patterns_and_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.fasta", "a.fasta", "c[1].fasta"):
        (tmp_path / name).touch()
    found = [path.name for path in fasta_files(["c[1].fasta", "*.fasta", str(tmp_path / "a*"), "none.fasta"])]
    assert found == ["c[1].fasta", "a.fasta", "b.fasta", "a.fasta", "none.fasta"]


def test_a_pattern_without_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"no file matches 'x/\*\.fa'; name your FASTA files"):
        fasta_files(["x/*.fa"])


def test_a_pattern_without_meaning(tmp_path, monkeypatch):
    """Pythons before 3.13 refuse it, later ones look for it."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"(the pattern|no file matches) 'x/\*\*y\*\.fa'.*; name your FASTA files"):
        fasta_files(["x/**y*.fa"])


def test_files_in_the_home_folder(config, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    (home / "x.fasta").write_text(f">x\n{SEQUENCE}\n")
    (home / "x.a3m").touch()
    (home / "numbers.tsv").write_text("target\tnumbering\nx\t7\n")
    assert fasta_files(["~/x.fasta"]) == fasta_files(["~/*.fasta"]) == [home / "x.fasta"]
    over = {
        **{"input": {"fasta": ["~/x.fasta"], "numbering": "~/numbers.tsv"}},
        **{"search": {"own_msas": ["x=~/x.a3m"]}},
    }
    plan = plan_run(merged(config, over))
    assert plan.targets["x"].chain.numbering == "7-28"
    assert plan.msas == {"x": home / "x.a3m"}
    (home / "lib").mkdir()
    (home / "lib/library.json").touch()
    assert data_of(merged(config, {"databases": {"library": "~/lib"}})).library == home / "lib"


def test_targets_without_templates_are_targets(config):
    plan_run(merged(config, {"search": {"no_templates_for": ["a", "c"]}}))
    message = r"search\.no_templates_for: 'kinase' is no target of this run; a target is named by its header"
    with pytest.raises(ConfigError, match=message):
        plan_run(merged(config, {"search": {"no_templates_for": ["a", "kinase"]}}))
    Path("t.fasta").write_text(f">kinase\n{SEQUENCE}\n")
    over = {"input": {"fasta": ["t.fasta"]}, "search": {"no_templates_for": ["kinas"]}}
    with pytest.raises(ConfigError, match=r"'kinas' is no target of this run; did you mean 'kinase'\?"):
        plan_run(merged(config, over))


def test_missing_library_and_weights(config, tmp_path):
    with pytest.raises(LibraryError, match="nowhere: there is no library here"):
        data_of(merged(config, {"databases": {"library": "nowhere"}}))
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/library.json").touch()
    with pytest.raises(WeightsError, match="model_4_ptm"):
        data_of(merged(config, {"databases": {"library": "lib"}, "predict": {"model": "alphafold2", "models": [4]}}))
    with pytest.raises(
        ConfigError, match=r"predict\.model: expected one of alphafold2, mini, model_1, .*; found 'huge'"
    ):
        data_of(merged(config, {"databases": {"library": "lib"}, "predict": {"model": "huge"}}))


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("seeds", 2, ": the 2 would all"),
        ("ensemble", 3, ": the 3 would all"),
        ("dropout", True, ", and has no dropout"),
    ],
)
def test_a_network_that_draws_nothing_is_not_asked_to(config, key, value, why):
    with pytest.raises(ConfigError, match=rf"predict\.{key}: mini draws nothing at random{why}"):
        data_of(merged(config, {"predict": {key: value}}))
    with pytest.raises(WeightsError):  # a step further: nobody fetched them
        data_of(merged(config, {"predict": {key: value, "model": "model_1"}}))


def test_databases_are_files_that_are_there(config, tmp_path):
    (tmp_path / "own.fasta").write_text(f">a\n{SEQUENCE}\n")
    (tmp_path / "big.dbtype").write_text("\0")
    own = ["library", "own=own.fasta", {"name": "big", "path": "big", "version": "1"}]
    found = data_of(merged(config, {"search": {"databases": own}})).databases
    assert [str(path) for path in found] == ["own.fasta", "big.dbtype"]
    (tmp_path / "own.fasta").write_text("")
    with pytest.raises(LibraryError, match=r"own\.fasta: the database 'own' is empty"):
        data_of(merged(config, {"search": {"databases": own}}))


def test_the_profile_of_a_search_is_a_file_of_the_run(config, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "own.fasta").write_text(f">a\n{SEQUENCE}\n")
    for name in ("p.hmm", "pressed.h3m", "home/q.hmm"):
        (tmp_path / name).touch()
    entries = [
        {"name": str(i), "path": "own.fasta", "engine": "hmmsearch", "settings": {"profile": profile}}
        for i, profile in enumerate(["p.hmm", "pressed", "~/q.hmm", "p.hmm"])
    ]
    found = data_of(merged(config, {"search": {"databases": ["library", *entries]}})).databases
    profiles = ["p.hmm", "pressed.h3m", str(tmp_path / "home/q.hmm")]
    assert [str(path) for path in found] == [*["own.fasta"] * 4, *profiles]


@pytest.mark.parametrize(
    "over", [{"outdir": "-out"}, {"databases": {"library": "./-lib"}}, {"databases": {"cache": "-c"}}]
)
def test_folders_that_look_like_options_are_refused(config, tmp_path, over):
    (tmp_path / "-lib").mkdir()
    (tmp_path / "-lib/library.json").touch()
    with pytest.raises(ConfigError, match=r"^-\w+: a run takes no path that begins with '-'"):
        data_of(merged(config, over))


def test_a_cache_in_no_home_is_refused(config):
    with pytest.raises(ConfigError, match="~nobody-here/x: there is no home folder '~nobody-here'"):
        data_of(merged(config, {"databases": {"cache": "~nobody-here/x"}}))


def test_templates_are_files_and_targets_that_are_there(config, tmp_path):
    (tmp_path / "x.pdb").touch()
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "y").touch()
    texts = ["x.pdb", "x.pdb:B", "a=x.pdb", "many"]
    found = data_of(merged(config, {"search": {"own_templates": texts}})).templates
    assert [str(path) for path in found] == ["x.pdb", "many/y"]
    with pytest.raises(ConfigError, match=r"the template 'none\.pdb' does not exist; write FILE"):
        data_of(merged(config, {"search": {"own_templates": ["none.pdb"]}}))
    (tmp_path / "t.fasta").write_text(f">kinase\n{SEQUENCE}\n")
    chosen = {"input": {"fasta": ["t.fasta"]}, "search": {"own_templates": ["kinas=x.pdb:A"]}}
    message = r"x\.pdb is a template of 'kinas', which is no target of this run; did you mean 'kinase'\?"
    with pytest.raises(ConfigError, match=message):
        plan_run(merged(config, chosen))
    chosen["search"]["own_templates"] = ["other=x.pdb"]
    with pytest.raises(ConfigError, match=r"which is no target of this run; a target is named by its header"):
        plan_run(merged(config, chosen))


@pytest.mark.parametrize(
    "over",
    [
        {"databases": {"library": "{lab}"}},
        {"predict": {"model": "model_1"}},
        {"search": {"databases": ["library", "own={lab}/own.fasta:1"]}},
        {"search": {"hhsearch": "hh={lab}/own.fasta:1"}},
        {"search": {"own_templates": ["a={lab}/own.fasta"]}},
        {"search": {"own_templates": ["many"]}},
        {"search": {"own_msas": ["a={lab}/own.fasta"]}},
        {"search": {"databases": [{**HMMSEARCH, "settings": {"profile": "{lab}/own.fasta"}}]}},
    ],
)
def test_paths_with_braces_are_refused_before_the_run(config, tmp_path, monkeypatch, over):
    for path in ("{lab}/own.fasta", "{lab}/library.json", "{lab}/alphafold2/params_model_1.npz", "many/{best}.pdb"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f">a\n{SEQUENCE}\n")
    monkeypatch.setenv("FOLDLINE_WEIGHTS", str(tmp_path / "{lab}"))
    with pytest.raises(ConfigError, match=r"\{.*: a run takes no path with braces, which are wildcards of Snakemake"):
        (plan_run if "own_msas" in over.get("search", ()) else data_of)(merged(config, over))
    assert not (tmp_path / "out").exists()


def test_weights_of_each_chosen_model(config, tmp_path):
    (tmp_path / "data/library").mkdir(parents=True)
    (tmp_path / "data/library/library.json").touch()
    (tmp_path / "data/weights").mkdir()
    for name in ("model_2", "model_5"):
        (tmp_path / f"data/weights/{name}.npz").touch()
    chosen = {"model": "alphafold2", "models": [5, 2], "ptm": False}
    assert [path.stem for path in data_of(merged(config, {"predict": chosen})).weights] == ["model_5", "model_2"]


def test_memory_is_asked_for_by_network_and_length(config):
    published = merged(config, {"predict": {"model": "alphafold2"}})
    assert [predict_memory(config, bucket) for bucket in (64, 2048)] == [3000, 7222]
    assert [predict_memory(published, bucket) for bucket in (64, 1024)] == [2290, 14834]


@pytest.mark.parametrize(
    ("folder", "flag"),
    [
        (None, ""),
        ("", ""),
        ("~/.cache/x", "--cache ~/.cache/x"),
        ("~/my cache", "--cache ~/'my cache'"),
        ("~", "--cache ~"),
        ("~/", "--cache ~"),
        ("~alice", "--cache ~alice"),
        ("~alice/my cache", "--cache ~alice/'my cache'"),
        ("~al ice/x", "--cache '~al ice/x'"),
        ("/a b", "--cache '/a b'"),
        ("a/~", "--cache 'a/~'"),
    ],
)
def test_the_shell_expands_the_home_of_the_cache(folder, flag):
    assert cache_flag({"databases": {"cache": folder}}) == flag


def test_a_table_numbers_the_residues(config, tmp_path):
    (tmp_path / "numbers.tsv").write_text("target\tnumbering\nb\t-3\n")
    plan = plan_run(merged(config, {"input": {"numbering": "numbers.tsv"}}))
    assert plan.targets["b"].chain.numbering == "-3-40"
    assert json.loads((tmp_path / "out/targets/b/target.json").read_text())["chains"][0]["numbering"] == "-3-40"
    assert (tmp_path / "out/targets/b/target.fasta").read_text().startswith(">b\n")


@pytest.mark.parametrize("stage", ["predict", "relax"])
def test_numbers_that_a_pdb_file_cannot_hold_are_refused_before_the_run(config, tmp_path, stage):
    (tmp_path / "in.fasta").write_text(f">a numbering=9990\n{SEQUENCE}\n")
    assert plan_run(config).targets["a"].chain.numbering == "9990-10011"
    with pytest.raises(
        FastaError, match=r"in\.fasta:1: 'a' has a residue 10000, .* holds -999 to 9999; set predict\.pdb"
    ):
        plan_run(merged(config, {stage: {"pdb": True}}))
