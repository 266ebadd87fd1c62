"""Predict: files, records, failures and resuming, on a network small enough to compile at once."""

import dataclasses
import hashlib
import json

import haiku as hk
import jax
import numpy as np
import pytest

from models import alphafold, params
from pipeline import predict
from pipeline.errors import ConfigError, StageError, WeightsError
from pipeline.features import RawFeatures
from pipeline.protein import read_structure
from pipeline.records import read_json, read_npz

LENGTH, ROWS, SEED = 13, 5, 3


@pytest.fixture(scope="module")
def parameters(smallest):
    network = hk.transform(lambda batch: alphafold.predict(smallest, batch, 0))
    weights = network.init(jax.random.PRNGKey(SEED), alphafold.example_batch(smallest, 5))
    rng = np.random.default_rng(SEED)
    return jax.tree.map(lambda w: np.asarray(w) + rng.normal(0, 0.1, w.shape).astype(np.float32), weights)


@pytest.fixture(scope="module")
def predictor(smallest, parameters):
    weights = predict.Weights(smallest, parameters, "0" * 64)
    return predict.Predictor(weights, predict.Settings(model="smallest", recycles=1))


@pytest.fixture(autouse=True)
def _preset(monkeypatch, smallest):
    monkeypatch.setitem(predict.PRESETS, "smallest", smallest)


def features(name: str = "one", length: int = LENGTH) -> RawFeatures:
    rng = np.random.default_rng(SEED)
    msa = rng.integers(0, 22, (ROWS, length)).astype(np.int8)
    msa[0] = rng.integers(0, 20, length)
    return RawFeatures(
        name=name,
        aatype=rng.integers(0, 20, length).astype(np.int32),
        residue_index=np.arange(length, dtype=np.int32),
        msa=msa,
        deletion_matrix=np.zeros((ROWS, length), np.int16),
        template_aatype=np.zeros((0, length), np.int8),
        template_positions=np.zeros((0, length, 37, 3), np.float32),
        template_mask=np.zeros((0, length, 37), bool),
        template_sum_probs=np.zeros(0, np.float32),
    )


def job(folder, name: str = "one") -> predict.Job:
    target = folder / name
    target.mkdir(parents=True)
    features(name).save(target / "features.npz")
    return predict.Job(target / "features.npz", target)


def test_padding_changes_nothing(predictor):
    exact, padded = (predictor.predict(features(), bucket) for bucket in (LENGTH, LENGTH + 4))
    np.testing.assert_allclose(
        padded.protein.atom37_positions, exact.protein.atom37_positions, atol=2e-3, err_msg="positions, angstrom"
    )
    np.testing.assert_allclose(padded.plddt, exact.plddt, atol=1e-2)
    np.testing.assert_allclose(padded.pae, exact.pae, atol=1e-2)


def test_same_seed_same_numbers(predictor):
    first, second = (predictor.predict(features(), LENGTH) for _ in range(2))
    np.testing.assert_array_equal(first.protein.atom37_positions, second.protein.atom37_positions)
    assert len(first.ca_change) == 1


def test_files_hold_the_prediction(tmp_path, predictor):
    one = job(tmp_path)
    (one.folder / "target.fasta").write_text(">one of <b>many</b>\nACDEFGHIKLMNP\n", encoding="utf-8")
    (said,) = predict.run_batch([one], predictor, None)
    assert (said["name"], said["status"], said["reason"]) == ("one", "ok", "")
    assert said["predicted_sha256"] == hashlib.sha256((one.folder / "predicted.cif").read_bytes()).hexdigest()
    record = read_json(one.folder / "confidence.json", predict.CONFIDENCE_SCHEMA)
    arrays = read_npz(one.folder / "confidence.npz", predict.CONFIDENCE_SCHEMA)
    structure = read_structure(one.folder / "predicted.cif")
    assert len(structure) == record["length"] == LENGTH
    assert record["header"] == "one of <b>many</b>"
    assert record["mean_plddt"] == pytest.approx(arrays["plddt"].mean(), abs=0.01)
    np.testing.assert_allclose(structure.b_factor, arrays["plddt"], atol=0.01)
    assert arrays["pae"].shape == (LENGTH, LENGTH)
    assert record["made_from"]["weights_sha256"] == "0" * 64
    assert record["settings"] == {"model": "smallest", "recycles": 1, "seed": 0, "pdb": False}


def test_finished_targets_are_left_alone_and_damaged_ones_made_again(tmp_path, predictor):
    one = job(tmp_path)
    predict.run_batch([one], predictor, None)
    structure = one.folder / "predicted.cif"
    written = structure.stat().st_mtime_ns
    predict.run_batch([one], predictor, None)
    assert structure.stat().st_mtime_ns == written
    whole = structure.read_bytes()
    structure.write_bytes(whole[:100])
    predict.run_batch([one], predictor, None)
    assert structure.read_bytes() == whole


def test_a_pdb_file_that_is_wanted_later_is_written(tmp_path, predictor):
    one = job(tmp_path)
    predict.run_batch([one], predictor, None)
    assert not (one.folder / "predicted.pdb").exists()
    predict.run_batch(
        [one], predict.Predictor(predictor.weights, dataclasses.replace(predictor.settings, pdb=True)), None
    )
    assert (one.folder / "predicted.pdb").exists()
    assert "predicted.pdb" in read_json(one.folder / "confidence.json", predict.CONFIDENCE_SCHEMA)["files"]


def test_another_seed_is_another_prediction(tmp_path, predictor):
    one = job(tmp_path)
    predict.run_batch([one], predictor, None)
    other = predict.Predictor(predictor.weights, dataclasses.replace(predictor.settings, seed=1))
    assert not predict.is_done(one.folder, predict.provenance(one.features, other))


def test_a_failed_target_stops_no_other(tmp_path, predictor):
    broken, whole = job(tmp_path, "broken"), job(tmp_path, "whole")
    broken.features.write_bytes(whole.features.read_bytes()[:200])
    records = predict.run_batch([broken, whole], predictor, None)
    assert [r["status"] for r in records] == ["failed", "ok"]
    assert "damaged" in records[0]["reason"]
    assert not (broken.folder / "predicted.cif").exists()
    assert (whole.folder / "predicted.cif").exists()


def test_numbers_that_are_none_are_a_failure(tmp_path, predictor, monkeypatch):
    weights = jax.tree.map(lambda w: w * np.float32(np.nan), predictor.weights.parameters)
    monkeypatch.setattr(predictor, "weights", dataclasses.replace(predictor.weights, parameters=weights))
    records = predict.run_batch([job(tmp_path)], predictor, None)
    assert "no numbers" in records[0]["reason"]


def test_command_writes_the_batch_record_and_names_what_failed(tmp_path, smallest, parameters, monkeypatch):
    monkeypatch.setattr(predict, "use_compilation_cache", lambda folder: None)
    weights = tmp_path / "smallest.npz"
    params.save(weights, parameters, smallest, {})
    good, missing = job(tmp_path, "good"), predict.Job(tmp_path / "none.npz", tmp_path / "missing")
    flags = [
        *("--features", str(good.features), str(missing.features), "--outputs", str(good.folder), str(missing.folder)),
        *("--weights", str(weights), "--model", "smallest", "--recycles", "0", "--batch", str(tmp_path / "b.json")),
    ]
    with pytest.raises(StageError, match="1 of 2 targets failed: missing"):
        predict.main(flags)
    record = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert [t["status"] for t in record["targets"]] == ["ok", "failed"]
    assert predict.main([*flags, "--keep-going"]) == 0


def test_weights_that_cannot_be_used(tmp_path):
    with pytest.raises(WeightsError, match="unknown model 'huge'"):
        predict.load_weights(tmp_path / "x.npz", "huge")
    with pytest.raises(WeightsError, match=r"x\.npz"):
        predict.load_weights(tmp_path / "x.npz", "smallest")
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 but not an archive")
    with pytest.raises(WeightsError, match=r"x\.npz"):
        predict.load_weights(tmp_path / "x.npz", "smallest")


@pytest.mark.parametrize("name", ["recycles", "seed"])
def test_numbers_below_zero_are_refused(name):
    with pytest.raises(ConfigError, match=f"predict.{name}: expected a number of at least 0, found -1"):
        predict.Settings(**{name: -1})
