"""Predict with AlphaFold 2's five models, cut to a size that compiles in seconds: loop, ranking, resuming, sampling."""

import collections
import dataclasses
import itertools
import logging

import numpy as np
import pytest

from models import params
from models.config import PRESETS, InputConfig
from pipeline.batch_record import BATCH_SCHEMA
from pipeline.errors import StageError, WeightsError
from pipeline.features import RawFeatures
from pipeline.predict import network, stage
from pipeline.predict.records import CONFIDENCE_SCHEMA, RANKING_SCHEMA
from pipeline.protein import read_structure
from pipeline.records import read_json, read_npz

LENGTH, BUCKET, ROWS, TEMPLATES = 11, 16, 29, 2
FAST = {"xla_backend_optimization_level": 0}
FILES = {"predicted.cif", "confidence.npz", "confidence.json"}
ALL = (1, 2, 3, 4, 5)


@pytest.fixture(scope="module", autouse=True)
def _presets(narrow):
    with pytest.MonkeyPatch.context() as patch:
        for name, config in narrow.items():
            patch.setitem(PRESETS, name, config)
        yield


@pytest.fixture(scope="module")
def weights(narrow, tmp_path_factory, _presets):
    """A folder with random parameters of every model, away from zero."""
    folder = tmp_path_factory.mktemp("weights")
    for name, config in narrow.items():
        rng = np.random.default_rng(int.from_bytes(name.encode(), "little"))
        shapes = params.shapes(dataclasses.replace(config, name="", input=InputConfig()))
        arrays = {key: rng.normal(0, 0.3, shape).astype(np.float32) for key, shape in shapes.items()}
        params.save(folder / f"params_{name}.npz", params.nested(arrays), config, {})
    return folder


@pytest.fixture(scope="module")
def predictor():
    """Return the networks of some settings; those asked for before keep their programs."""
    made = {}

    def get(**settings):
        settings = stage.Settings(**{"model": "alphafold2", "recycles": 1, **settings})
        if settings not in made:
            made[settings] = stage.Predictor(settings)
            made[settings].compiler_options = FAST
        return made[settings]

    return get


def features(name: str, length: int = LENGTH, seed: int = 3) -> RawFeatures:
    rng = np.random.default_rng(seed)
    query = rng.integers(0, 20, length)
    msa = np.where(rng.random((ROWS, length)) < 0.5, query, rng.integers(0, 22, (ROWS, length))).astype(np.int8)
    return RawFeatures(
        name=name,
        aatype=query.astype(np.int32),
        residue_index=np.arange(length, dtype=np.int32),
        msa=msa,
        deletion_matrix=np.zeros((ROWS, length), np.int16),
        template_aatype=rng.integers(0, 20, (TEMPLATES, length)).astype(np.int8),
        template_positions=rng.normal(0, 9, (TEMPLATES, length, 37, 3)).astype(np.float32),
        template_mask=np.ones((TEMPLATES, length, 37), bool),
        template_sum_probs=np.full(TEMPLATES, length, np.float32),
        template_ids=("1ABC_A", "2XYZ_B"),
    )


def jobs(folder, *names: str) -> list[stage.Job]:
    made = []
    for seed, name in enumerate(names):
        path = folder / name / "features.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        features(name, LENGTH - 2 * seed, seed).save(path)
        made.append(stage.Job(path, path.parent))
    return made


def run(todo, predictor, weights, bucket=BUCKET):
    return stage.run_batch(todo, predictor, stage.stored_weights(predictor.settings, [weights]), bucket)


def one(predictor, weights, model, seed=0, bucket=BUCKET):
    """Return one prediction, nothing written."""
    predictor.load(stage.Weights(model, weights / f"params_{model}.npz", ""))
    return predictor.predict(features("one"), stage.Run(model, seed), bucket)


def confidence(folder):
    return read_json(folder / "confidence.json", CONFIDENCE_SCHEMA)


def differ(a, b):
    return np.abs(a.plddt - b.plddt).max()


def same(a, b, atol=1e-4):
    np.testing.assert_allclose(a.protein.atom37_positions, b.protein.atom37_positions, atol=atol)
    np.testing.assert_allclose(a.plddt, b.plddt, atol=atol)
    np.testing.assert_allclose(a.pae, b.pae, atol=atol)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, predictor, weights):
    """Two targets with five models and two seeds each, how often parameters were read, and what was logged."""
    folder, read = tmp_path_factory.mktemp("targets"), []
    load = params.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(params, "load", lambda path, config: read.append(path.name) or load(path, config))
        records = run(jobs(folder, "a", "b"), predictor(seeds=2), weights)
    assert [record["status"] for record in records] == ["ok", "ok"]
    return folder, read, records


def test_five_models_with_two_seeds_need_one_program_and_read_each_file_once(finished, predictor):
    _, read, _ = finished
    assert read == [f"params_model_{number}_ptm.npz" for number in ALL]
    assert len(predictor(seeds=2).programs) == 1


def test_every_prediction_is_written_and_the_best_is_the_targets_own(finished):
    folder, _, records = finished
    for name, record in zip("ab", records, strict=True):
        target = folder / name
        wanted = {f"model_{number}_ptm-{seed}" for number in ALL for seed in (0, 1)}
        assert {path.name for path in (target / "models").iterdir()} == wanted
        assert all({path.name for path in (target / "models" / run).iterdir()} == FILES for run in wanted)
        ranking = read_json(target / "ranking.json", RANKING_SCHEMA)
        assert ranking["rank_by"] == "ptm"
        assert {entry["folder"] for entry in ranking["ranked"]} == {f"models/{run}" for run in wanted}
        scores = [entry["score"] for entry in ranking["ranked"]]
        assert scores == sorted(scores, reverse=True)
        for entry in ranking["ranked"]:
            own = confidence(target / entry["folder"])
            found = [own[key] for key in ("model", "seed", "mean_plddt", "ptm", "ptm")]
            assert found == [entry[key] for key in ("model", "seed", "mean_plddt", "ptm", "score")]
        best = target / ranking["ranked"][0]["folder"]
        assert all((target / file).read_bytes() == (best / file).read_bytes() for file in FILES)
        assert stage.sha256(target / "predicted.cif") == record["predicted_sha256"]
        assert len(read_structure(target / "predicted.cif")) == confidence(target)["length"]


def test_models_and_seeds_differ(finished):
    folder, _, _ = finished
    runs = sorted((folder / "a/models").iterdir())
    plddt = {path.name: read_npz(path / "confidence.npz", CONFIDENCE_SCHEMA)["plddt"] for path in runs}
    assert all(np.abs(plddt[a] - plddt[b]).max() > 1e-3 for a, b in itertools.combinations(plddt, 2))


def test_only_models_with_templates_used_templates(finished):
    folder, _, _ = finished
    used = {number: confidence(folder / f"a/models/model_{number}_ptm-0")["templates_used"] for number in ALL}
    assert used == {1: ["1ABC_A", "2XYZ_B"], 2: ["1ABC_A", "2XYZ_B"], 3: [], 4: [], 5: []}


def test_the_record_says_what_the_program_needs_and_was_made_from(finished):
    folder, _, _ = finished
    record = confidence(folder / "a/models/model_2_ptm-1")
    assert record["memory_gb"] > 0
    assert record["couplings_used"] is None
    assert record["made_from"] | {"weights_sha256": "", "features_sha256": "", "software": {}} == {
        "model": "model_2_ptm",
        "weights_sha256": "",
        "features_sha256": "",
        "seed": 1,
        "recycles": 1,
        "recycle_tolerance": 0.0,
        "ensemble": 1,
        "guidance": False,
        "max_msa": 6,
        "max_extra_msa": 2,
        "dropout": False,
        "padding": None,
        "precision": "float32",
        "software": {},
    }


def digests(folder):
    return {path: (path.stat().st_mtime_ns, stage.sha256(path)) for path in folder.rglob("*") if path.is_file()}


def test_nothing_is_done_twice(finished, predictor, weights, caplog):
    folder, _, records = finished
    before = digests(folder)
    assert run(jobs(folder, "a", "b"), predictor(seeds=2), weights) == records
    changed = {path.name for path, what in digests(folder).items() if before[path] != what}
    assert changed <= {"features.npz"}  # written by this test


def test_a_subset_and_more_seeds_are_ranked_from_what_is_there(finished, predictor, weights, monkeypatch):
    folder, _, _ = finished
    made = count(monkeypatch)
    todo = jobs(folder, "a", "b")
    run(todo, predictor(models=(4, 2)), weights)
    assert made == {}
    ranking = read_json(folder / "a/ranking.json", RANKING_SCHEMA)
    assert {entry["folder"] for entry in ranking["ranked"]} == {"models/model_2_ptm-0", "models/model_4_ptm-0"}
    assert confidence(folder / "a")["model"] == ranking["ranked"][0]["model"]
    run(todo, predictor(seeds=2, rank_by="plddt"), weights)
    assert made == {}
    ranking = read_json(folder / "a/ranking.json", RANKING_SCHEMA)
    scores = [entry["mean_plddt"] for entry in ranking["ranked"]]
    assert ranking["rank_by"] == "plddt"
    assert scores == sorted(scores, reverse=True)
    assert confidence(folder / "a")["mean_plddt"] == scores[0]


def count(monkeypatch, fail=lambda name, run: None):
    """Count predictions by target and run; `fail` may raise."""
    made, whole = collections.Counter(), network.Predictor.predict

    def counted(self, features, run, bucket=None):
        fail(features.name, run)
        made[features.name, run.name] += 1
        return whole(self, features, run, bucket)

    monkeypatch.setattr(network.Predictor, "predict", counted)
    return made


def test_a_kill_between_models_costs_nothing_that_was_done(tmp_path, predictor, weights, monkeypatch):
    todo, settings = jobs(tmp_path, "a", "b"), {"models": (1, 3, 4)}

    def kill(name, run):
        if (name, run.model) == ("b", "model_3_ptm"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        made = count(patch, kill)
        with pytest.raises(KeyboardInterrupt):
            run(todo, predictor(**settings), weights)
    assert set(made) == {("a", "model_1_ptm-0"), ("b", "model_1_ptm-0"), ("a", "model_3_ptm-0")}
    assert not list(tmp_path.glob("*/predicted.cif"))
    with monkeypatch.context() as patch:
        rest = count(patch)
        records = run(todo, predictor(**settings), weights)
    assert [record["status"] for record in records] == ["ok", "ok"]
    assert set(rest) == {("b", "model_3_ptm-0"), ("a", "model_4_ptm-0"), ("b", "model_4_ptm-0")}
    assert len(read_json(tmp_path / "b/ranking.json", RANKING_SCHEMA)["ranked"]) == 3


def test_a_model_that_fails_costs_its_target_and_finished_models_stay(tmp_path, predictor, weights, monkeypatch):
    todo = jobs(tmp_path, "a", "b")

    def fail(name, run):
        if (name, run.model) == ("a", "model_3_ptm"):
            raise StageError("the network gave coordinates that are no numbers", name)

    with monkeypatch.context() as patch:
        made = count(patch, fail)
        records = run(todo, predictor(models=(1, 3, 4)), weights)
    assert [record["status"] for record in records] == ["failed", "ok"]
    assert records[0]["reason"] == "model_3_ptm, seed 0: a: the network gave coordinates that are no numbers"
    assert ("a", "model_4_ptm-0") not in made
    assert {path.name for path in todo[0].folder.iterdir()} == {"features.npz", "models"}
    assert confidence(tmp_path / "a/models/model_1_ptm-0")["model"] == "model_1_ptm"
    assert (tmp_path / "b/predicted.cif").exists()


def test_parameters_that_do_not_fit_end_the_batch(tmp_path, predictor, weights):
    (tmp_path / "weights").mkdir()
    for number, source in ((1, 1), (3, 2)):  # model 2 reads templates
        content = (weights / f"params_model_{source}_ptm.npz").read_bytes()
        (tmp_path / f"weights/params_model_{number}_ptm.npz").write_bytes(content)
    with pytest.raises(WeightsError, match=r"params_model_3_ptm\.npz: .* unexpected: .*template"):
        run(jobs(tmp_path, "a"), predictor(models=(1, 3)), tmp_path / "weights")
    assert (tmp_path / "a/models/model_1_ptm-0/confidence.json").exists()
    assert not (tmp_path / "a/predicted.cif").exists()


def test_a_file_that_is_cut_short_is_seen_before_anything_runs(tmp_path, predictor, weights):
    for number in (1, 3):
        whole = (weights / f"params_model_{number}_ptm.npz").read_bytes()
        (tmp_path / f"model_{number}_ptm.npz").write_bytes(whole if number == 1 else whole[:-99])
    with pytest.raises(WeightsError, match=r"model_3_ptm\.npz: expected an archive of parameters: it is cut short"):
        stage.stored_weights(predictor(models=(1, 3)).settings, [tmp_path])


def test_the_command_ranks_the_chosen_models(tmp_path, weights, monkeypatch):
    monkeypatch.setattr(stage, "use_compilation_cache", lambda folder: None)
    (todo,) = jobs(tmp_path, "a")
    flags = [*("--features", str(todo.features), "--outputs", str(todo.folder), "--weights", str(weights))]
    flags += ["--model", "alphafold2", "--models", "4", "3", "--recycles", "0", "--bucket", str(BUCKET)]
    assert stage.main([*flags, "--batch", str(tmp_path / "b.json")]) == 0
    assert {path.name for path in (todo.folder / "models").iterdir()} == {"model_3_ptm-0", "model_4_ptm-0"}
    assert read_json(tmp_path / "b.json", BATCH_SCHEMA)["targets"][0]["status"] == "ok"


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_near(predictor, weights, precision):
    half = predictor(models=(3, 4), precision=precision)
    assert half.precision == half.program.precision == precision
    plddt = [one(each, weights, "model_3_ptm").plddt for each in (half, predictor(models=(3, 4)))]
    assert 0 < np.abs(plddt[0] - plddt[1]).mean() < 5


def test_a_model_alone_is_that_of_the_five(predictor, weights):
    """Zeros in the place of templates change nothing, nor do the other models and their random choices."""
    for model in ("model_2_ptm", "model_3_ptm"):
        same(one(predictor(model=model), weights, model, seed=1), one(predictor(seeds=2), weights, model, seed=1))


def test_one_model_with_one_seed_has_no_models_folder(tmp_path, predictor, weights):
    (todo,) = jobs(tmp_path, "a")
    run([todo], predictor(models=(3,)), weights)
    assert {path.name for path in todo.folder.iterdir()} == {"features.npz", "provenance.json", *FILES}
    run([todo], predictor(models=(3, 4)), weights)
    assert (todo.folder / "ranking.json").exists()
    run([todo], predictor(models=(3,)), weights)
    assert not (todo.folder / "ranking.json").exists()
    assert confidence(todo.folder)["model"] == "model_3_ptm"


@pytest.mark.parametrize("model", ["model_1_ptm", "model_4_ptm"])
def test_padding_changes_nothing(predictor, weights, model):
    exact, padded = (one(predictor(seeds=2), weights, model, bucket=bucket) for bucket in (None, BUCKET))
    same(exact, padded)


def test_recycling_stops_early(predictor, weights, tmp_path):
    whole = one(predictor(models=(3, 4), recycles=3), weights, "model_3_ptm")
    assert len(whole.ca_change) == 3
    large = max(whole.ca_change) * 1.01
    stopped = one(predictor(models=(3, 4), recycles=3, recycle_tolerance=large), weights, "model_3_ptm")
    assert stopped.ca_change == pytest.approx(whole.ca_change[:1], rel=1e-4)


def test_ensembling_averages_samples(predictor, weights):
    single, averaged = (one(predictor(models=(3, 4), ensemble=n), weights, "model_4_ptm") for n in (1, 3))
    assert differ(single, averaged) > 1e-3
    same(averaged, one(predictor(models=(3, 4), ensemble=3), weights, "model_4_ptm"))


def test_dropout_makes_seeds_differ_and_one_seed_repeats(predictor, weights):
    sampled = predictor(models=(3, 4), dropout=True)
    first, again, other = (one(sampled, weights, "model_3_ptm", seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.protein.atom37_positions, again.protein.atom37_positions)
    assert differ(first, other) > 1e-2
    assert differ(first, one(predictor(models=(3, 4)), weights, "model_3_ptm")) > 1e-2


def test_dropout_depends_on_padding_and_the_record_says_so(tmp_path, predictor, weights):
    (todo,) = jobs(tmp_path, "a")
    sampled = predictor(models=(3, 4), dropout=True)
    stored = stage.Weights("model_3_ptm", weights, "")
    made_from = [
        stage.provenance(todo, stage.Run("model_3_ptm", 0), sampled, stored, bucket) for bucket in (None, BUCKET)
    ]
    assert [made["padding"][0] for made in made_from] == [LENGTH, BUCKET]


def test_the_msa_is_subsampled_to_what_is_asked_and_never_beyond(predictor, weights):
    few = predictor(models=(3, 4), max_msa=5, max_extra_msa=1)
    assert {(c.input.max_msa_clusters, c.input.max_extra_msa) for c in few.configs.values()} == {(5, 1)}
    sizes = few.sizes(features("one"), None)
    assert (sizes.length, sizes.clusters, sizes.extra) == (LENGTH, 5, 1)
    many = predictor(models=(2, 3), max_msa=10**6, max_extra_msa=10**6)
    assert [(c.input.max_msa_clusters, c.input.max_extra_msa) for c in many.configs.values()] == [(6, 2), (6, 10)]
    assert differ(one(few, weights, "model_3_ptm"), one(predictor(models=(3, 4)), weights, "model_3_ptm")) > 1e-3


def test_models_without_aligned_error_are_ranked_by_plddt(tmp_path, predictor, weights):
    (todo,) = jobs(tmp_path, "a")
    run([todo], predictor(models=(3, 5), ptm=False), weights)
    ranking = read_json(todo.folder / "ranking.json", RANKING_SCHEMA)
    assert ranking["rank_by"] == "plddt"
    assert {entry["model"] for entry in ranking["ranked"]} == {"model_3", "model_5"}
    assert confidence(todo.folder)["ptm"] is None


def test_too_little_memory_is_said_before_the_run(tmp_path, predictor, weights, monkeypatch):
    monkeypatch.setattr(network, "free_memory", lambda device: 1000)
    (todo,) = jobs(tmp_path, "a")
    (record,) = run([todo], predictor(models=(3, 4)), weights)
    assert record["status"] == "failed"
    assert record["reason"].startswith("model_3_ptm, seed 0: a: the network needs 0.0 GB of memory, and ")
    assert "lower predict.max_extra_msa" in record["reason"]


def test_a_pdb_file_that_is_wanted_later_needs_no_prediction(tmp_path, predictor, weights, monkeypatch):
    (todo,) = jobs(tmp_path, "a")
    run([todo], predictor(models=(3, 4)), weights)
    made = count(monkeypatch)
    with_pdb = stage.Predictor(dataclasses.replace(predictor(models=(3, 4)).settings, pdb=True))
    run([todo], with_pdb, weights)
    assert made == {}
    for folder in (todo.folder, todo.folder / "models/model_3_ptm-0"):
        assert confidence(folder)["files"]["predicted.pdb"] == stage.sha256(folder / "predicted.pdb")


def test_every_prediction_is_logged(tmp_path, predictor, weights, caplog):
    with caplog.at_level(logging.INFO, logger="pipeline.predict.stage"):
        run(jobs(tmp_path, "a", "b"), predictor(models=(3, 4)), weights)
    said = [message for message in caplog.messages if "mean pLDDT" in message]
    assert len(said) == 4
    assert said[0].startswith("a: model_3_ptm, seed 0: 11 residues, mean pLDDT ")
