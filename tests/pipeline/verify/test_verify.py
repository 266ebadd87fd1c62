"""`foldline verify` on a small run whose network is a stand-in: what is missing, changed or of another run is named."""

import json
import os

import numpy as np
import pytest

from pipeline import provenance
from pipeline.batch_record import BATCH_SCHEMA, outcome, write_batch
from pipeline.cli import main
from pipeline.config import load_config, merged, write_config
from pipeline.errors import RecordError, StageError
from pipeline.fasta import write_target
from pipeline.features import RawFeatures
from pipeline.featurize.stage import SCHEMA as FEATURES_SCHEMA
from pipeline.outcomes import MADE, groups_of
from pipeline.plan import plan_run
from pipeline.predict import stage
from pipeline.predict.network import Predictor
from pipeline.predict.records import Prediction
from pipeline.predict.settings import Settings
from pipeline.protein import Protein
from pipeline.records import write_json
from pipeline.target import Target
from pipeline.verify import command, rerun
from pipeline.verify.checks import check_target, results_of

SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQ"
LENGTH = len(SEQUENCE)
WEIGHTS = {"mini": stage.Weights("mini", "none.npz", "0" * 64)}


def features():
    return RawFeatures(
        name="one",
        aatype=np.zeros(LENGTH, np.int32),
        residue_index=np.arange(LENGTH, dtype=np.int32),
        msa=np.zeros((1, LENGTH), np.int8),
        deletion_matrix=np.zeros((1, LENGTH), np.int16),
        template_aatype=np.zeros((0, LENGTH), np.int8),
        template_positions=np.zeros((0, LENGTH, 37, 3), np.float32),
        template_mask=np.zeros((0, LENGTH, 37), bool),
        template_sum_probs=np.zeros(0, np.float32),
    )


def prediction(seed, noise=0.0):
    rng, mask = np.random.default_rng(seed), np.zeros((LENGTH, 37), bool)
    mask[:, :3] = True
    positions = rng.normal(0, 9, (LENGTH, 37, 3)) + np.random.default_rng(1).normal(0, noise + 1e-9, (LENGTH, 37, 3))
    plddt, numbers = np.full(LENGTH, 50.0, np.float32), tuple(str(n + 1) for n in range(LENGTH))
    chain, index, aatype = np.full(LENGTH, "A"), np.arange(LENGTH, dtype=np.int32), np.zeros(LENGTH, np.int32)
    positions = positions.astype(np.float32)
    protein = Protein(aatype, positions, mask, index, chain_id=chain, author_number=numbers, b_factor=plddt)
    return Prediction(protein, plddt, None, 0.5, (0.1,), 0, {"run": 1.0, "compile": 0.0}, 10, "device")


@pytest.fixture
def network(monkeypatch):
    """Put predictions that depend on the seed alone in the place of the network; the list holds the noise to add."""
    noise = [0.0]
    monkeypatch.setattr(Predictor, "load", lambda *_: None)
    monkeypatch.setattr(Predictor, "predict", lambda self, made, run, bucket: prediction(run.seed, noise[0]))
    monkeypatch.setattr(rerun, "stored_weights", lambda settings: WEIGHTS)
    monkeypatch.setattr(rerun, "use_compilation_cache", lambda folder: None)
    return noise


@pytest.fixture(params=[1, 2], ids=["one seed", "two seeds"])
def results(request, tmp_path, monkeypatch, network):
    """A run of one target."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.fasta").write_text(f">one\n{SEQUENCE}\n")
    config = merged(load_config(), {"input": {"fasta": ["in.fasta"]}, "outdir": "out"})
    plan_run(config)
    write_config(tmp_path / "out/config.yaml", config)
    folder, out = tmp_path / "out/targets/one", tmp_path / "out"
    features().save(folder / "features.npz")
    texts = ("msa.a3m", "templates.json", "templates.tsv", "report.html", "../../report.html", "../../summary.tsv")
    for name in texts:
        (folder / name).write_text(name)
    write_json(folder / "features.json", {"files": provenance.checksums(folder, ["features.npz"])}, FEATURES_SCHEMA)
    (out / "summary.json").write_text("{}")
    databases = [{"name": "library", "version": "1", "seconds": 2}]
    write_json(folder / "search.json", {"databases": databases, "settings": {"rounds": 3}}, "foldline.search/1")
    job = stage.Job(folder / "features.npz", folder)
    records = stage.run_batch([job], Predictor(Settings(seeds=request.param)), WEIGHTS, None)
    write_json(out / "batches/0032-001.json", {"batch": "0032-001", "targets": records}, BATCH_SCHEMA)
    digests = {"msa_sha256": provenance.sha256(folder / "msa.a3m")}
    digests |= {"templates_sha256": provenance.sha256(folder / "templates.json")}
    write_batch(out / "batches/search-0001.json", [outcome("one", **digests)])
    (folder / "relaxed.cif").write_text("relaxed")
    relax = {"made_from": {"structure_sha256": provenance.sha256(folder / "predicted.cif")}}
    relax["files"] = {"relaxed.cif": provenance.sha256(folder / "relaxed.cif")}
    write_json(folder / "relax.json", relax, "foldline.relax/1")
    for name in ("featurize-0001", "relax-0032-001-01", "report-0032-001"):
        write_batch(out / f"batches/{name}.json", [outcome("one")])
    return out


def found(out):
    return [(finding.file, finding.problem) for finding in check_target(results_of(out), "one")]


def test_a_whole_run_is_whole(results, capsys):
    assert main(["verify", "out"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["verify", "out", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema": "foldline.verify/1", "targets": 1, "findings": []}


def test_the_record_says_where_the_prediction_comes_from(results):
    record = json.loads((results / "targets/one/provenance.json").read_text())
    assert record["databases"] == [{"name": "library", "version": "1"}]
    assert record["search_settings"] == {"rounds": 3}
    assert record["weights"] == {"mini": "0" * 64}
    assert record["device"] == "device"
    assert {"foldline", "commit", "python", "jax", "jaxlib", "numpy"} < set(record["software"])
    assert {"target.json", "target.fasta", "msa.a3m", "search.json", "features.npz"} < set(record["inputs"])
    assert {"predicted.cif", "confidence.npz", "confidence.json"} <= set(record["outputs"])
    assert record["predict_settings"]["seeds"] == len(record["seeds"])


NAMES = ("msa.a3m", "templates.tsv", "search.json", "target.fasta", "features.json", "features.npz")
NAMES += ("predicted.cif", "confidence.npz", "confidence.json", "provenance.json", "relaxed.cif", "relax.json")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_missing_is_named(results, name):
    (results / "targets/one" / name).unlink()
    assert (name, "missing") in found(results)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith((".a3m", ".cif"))])
def test_what_has_changed_is_named(results, name):
    path = results / "targets/one" / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert next(file for file, problem in found(results) if "is not the file that" in problem) == name


def test_what_is_cut_short_is_named(results):
    path = results / "targets/one/confidence.npz"
    path.write_bytes(path.read_bytes()[:-40])
    said = found(results)
    assert {file for file, _ in said} == {"confidence.npz"}
    assert "damaged" in said[0][1]


def test_one_damaged_record_hides_nothing(results):
    folder = results / "targets/one"
    (folder / "msa.a3m").write_text("other")
    (folder / "confidence.json").write_text("{")
    (folder / "templates.tsv").unlink()
    (folder / "relaxed.cif").write_text("other")
    (results / "batches/relax-0032-001-01.json").unlink()
    said = found(results)
    assert ("templates.tsv", "missing") in said
    assert ("msa.a3m", "is not the file that its search names") in said
    assert ("msa.a3m", "is not the file that provenance.json names") in said
    assert ("relaxed.cif", "is not the file that relax.json names") in said
    assert [problem for file, problem in said if file == "confidence.json" and "damaged" in problem]
    assert [
        problem for file, problem in said if file.endswith("relax-0032-001-01.json") and "does not exist" in problem
    ]


@pytest.mark.parametrize(
    ("file", "lacking"),
    [
        ("targets/one/confidence.json", "files"),
        ("targets/one/confidence.json", "made_from"),
        ("targets/one/provenance.json", "outputs"),
        ("targets/one/provenance.json", "weights"),
        ("targets/one/relax.json", "made_from"),
        ("targets/one/features.json", "files"),
        ("batches/0032-001.json", "targets"),
    ],
)
def test_a_record_that_lacks_a_part_is_named(results, file, lacking):
    path = results / file
    path.write_text(json.dumps({k: value for k, value in json.loads(path.read_text()).items() if k != lacking}))
    assert [(name, problem) for name, problem in found(results) if file.endswith(name) or name == str(path)]
    assert main(["verify", "out"]) == 1


def test_a_ranking_without_folders_is_named(results):
    path = results / "targets/one/ranking.json"
    write_json(path, {"ranked": [{"model": "mini"}]}, "foldline.ranking/1")
    assert ("ranking.json", "expected the folder of each prediction") in found(results)


def test_a_rerun_of_a_record_that_lacks_a_part_is_refused(results):
    path = results / "targets/one/confidence.json"
    path.write_text(json.dumps({k: value for k, value in json.loads(path.read_text()).items() if k != "settings"}))
    with pytest.raises(RecordError, match=r"confidence\.json: expected the settings of a prediction"):
        rerun.rerun(path.parent, 32, results)


def test_a_relaxation_of_another_prediction_is_named(results):
    path = results / "targets/one/relax.json"
    record = json.loads(path.read_text())
    record["made_from"]["structure_sha256"] = "1" * 64
    path.write_text(json.dumps(record))
    assert ("relax.json", "comes from another predicted.cif") in found(results)


def test_another_sequence_is_named(results):
    write_target(results / "targets/one/target.fasta", Target.monomer("one", "one", SEQUENCE[::-1]))
    assert ("target.fasta", "holds another sequence than target.json") in found(results)


def test_what_failed_says_why(results):
    record = {"batch": "0032-001", "targets": [{"name": "one", "status": "failed", "reason": "no memory"}]}
    write_json(results / "batches/0032-001.json", record, BATCH_SCHEMA)
    assert found(results) == [("", "failed: no memory")]


@pytest.mark.parametrize("record", ["relax-0032-001-01", "report-0032-001"])
def test_what_failed_after_the_prediction_says_why_too(results, record):
    write_batch(results / f"batches/{record}.json", [outcome("one", "not fully relaxed")])
    assert found(results) == [("", "failed: not fully relaxed")]
    (results / "targets/one/relaxed.cif").unlink()
    assert set(found(results)) == {("", "failed: not fully relaxed"), ("relaxed.cif", "missing")}


def test_what_is_named_is_made_anew_once_it_is_deleted(results):
    """The message says so: of what changed, a run sees nothing where the system tells no other time."""
    plan = plan_run(load_config(results / "config.yaml"))
    stage_of = {name: stage for stage, names in MADE.items() for name in names}

    def undone():
        return {group.stage for group in groups_of(results, plan) if not group.is_done()}

    assert undone() == set()
    made = [path for path in (results / "targets/one").rglob("*") if path.is_file()]
    made = [path for path in made if path.name not in ("target.fasta", "target.json")]  # every run writes them
    assert len(made) >= 12
    for path in made:
        held, times = path.read_bytes(), path.stat()
        path.unlink()
        assert undone() == {stage_of.get(path.name, "predict")}
        path.write_bytes(held)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert undone() == set()


def test_the_command_lists_and_fails(results, capsys):
    (results / "summary.tsv").unlink()
    (results / "targets/one/msa.a3m").write_text("other")
    assert main(["verify", "out"]) == 1
    said = capsys.readouterr()
    assert "summary.tsv: missing\n" in said.out
    assert "one: msa.a3m: is not the file that its search names\n" in said.out
    assert "1 of 1 targets are not whole" in said.err
    assert main(["verify", "nothing"]) == 2
    assert main(["verify", "out", "--rerun", "two"]) == 2
    assert "'two' is no target of this run" in capsys.readouterr().err


def test_a_prediction_comes_out_again(results, network, capsys):
    assert command.main(["out", "--rerun", "one"]) == 0
    network[0] = 1.0
    with pytest.raises(StageError, match=r"one: predicted again, the CA atoms differ by [12]\.\d+ A"):
        command.main(["out", "--rerun", "one"])
    assert command.main(["out", "--rerun", "one", "--ca-tolerance", "9"]) == 0


def test_other_weights_are_refused(results, monkeypatch, capsys):
    other = {"mini": stage.Weights("mini", "none.npz", "1" * 64)}
    monkeypatch.setattr(rerun, "stored_weights", lambda settings: other)
    assert main(["verify", "out", "--rerun", "one"]) == 2
    assert "rerun with the weights of the run" in capsys.readouterr().err


def test_a_rerun_takes_the_rows_of_the_last_step():
    made_from = {"recycles": 2, "precision": "float32"}
    settings = stage.dataclasses.asdict(Settings(model="alphafold2", seeds=3))
    step = {"max_msa": 64, "max_extra_msa": 80, "platform": "", "reason": "x"}
    record = {"model": "model_2", "seed": 5, "settings": settings, "made_from": made_from, "stepped_down": [step]}
    again = rerun.settings_of(record)
    assert (again.model, again.all_seeds, again.recycles) == ("model_2", range(5, 6), 2)
    assert (again.max_msa, again.max_extra_msa, again.several) == (64, 80, False)


def test_what_made_a_prediction_stays_said_when_nothing_is_predicted(results, monkeypatch):
    folder = results / "targets/one"
    path = folder / provenance.FILE
    before, seeds = path.read_bytes(), len(json.loads(path.read_text())["seeds"])
    monkeypatch.setattr("pipeline.predict.records.processor", lambda: "another processor")
    stage.run_batch([stage.Job(folder / "features.npz", folder)], Predictor(Settings(seeds=seeds)), WEIGHTS, None)
    assert path.read_bytes() == before
