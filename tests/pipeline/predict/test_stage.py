"""Predict: files, records, failures and resuming, on a network small enough to compile at once."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from models import params
from models import residue_constants as rc
from models.config import PRESETS, GuidanceConfig
from pipeline.config import ROOT
from pipeline.errors import ConfigError, StageError, WeightsError
from pipeline.features import RawFeatures
from pipeline.numbering import author_numbers
from pipeline.predict import records
from pipeline.predict import stage as predict
from pipeline.predict.weights import weights_files
from pipeline.protein import read_structure
from pipeline.quality.rotamers import chi_angles
from pipeline.records import read_json, read_npz, write_json
from pipeline.side_chains import rotamers
from pipeline.target import TARGET_SCHEMA, Chain, Target

LENGTH, ROWS, SEED = 13, 5, 3
RUN = predict.Run("smallest", 0)
UNKNOWN_AT, BACKBONE = 5, [0, 1, 2, 4]  # N, CA, C, O of atom37


@pytest.fixture(scope="module", autouse=True)
def _preset(smallest):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "smallest", smallest)
        yield


@pytest.fixture(scope="module")
def weights(smallest, tmp_path_factory, _preset):
    """A file of random parameters."""
    rng, path = np.random.default_rng(SEED), tmp_path_factory.mktemp("weights") / "smallest.npz"
    arrays = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in params.shapes(smallest).items()}
    params.save(path, params.nested(arrays), smallest, {})
    return {"smallest": predict.Weights("smallest", path, "0" * 64)}


@pytest.fixture(scope="module")
def predictor(weights):
    made = predict.Predictor(predict.Settings(model="smallest", recycles=1))
    made.load(weights["smallest"])
    return made


def features(name: str = "one", length: int = LENGTH, rows: int = ROWS) -> RawFeatures:
    rng = np.random.default_rng(SEED)
    msa = rng.integers(0, 22, (rows, length)).astype(np.int8)
    msa[0] = rng.integers(0, 20, length)
    return RawFeatures(
        name=name,
        aatype=rng.integers(0, 20, length).astype(np.int32),
        residue_index=np.arange(length, dtype=np.int32),
        msa=msa,
        deletion_matrix=np.zeros((rows, length), np.int16),
        template_aatype=np.zeros((0, length), np.int8),
        template_positions=np.zeros((0, length, 37, 3), np.float32),
        template_mask=np.zeros((0, length, 37), bool),
        template_sum_probs=np.zeros(0, np.float32),
    )


def with_unknown() -> RawFeatures:
    one = features()
    one.aatype[UNKNOWN_AT] = rc.UNKNOWN
    return one


def job(folder, name: str = "one") -> predict.Job:
    target = folder / name
    target.mkdir(parents=True)
    features(name).save(target / "features.npz")
    return predict.Job(target / "features.npz", target)


def test_padding_changes_nothing(predictor):
    exact, padded = (predictor.predict(features(), RUN, bucket) for bucket in (LENGTH, LENGTH + 4))
    np.testing.assert_allclose(
        padded.protein.atom37_positions, exact.protein.atom37_positions, atol=2e-3, err_msg="positions, angstrom"
    )
    np.testing.assert_allclose(padded.plddt, exact.plddt, atol=1e-2)
    np.testing.assert_allclose(padded.pae, exact.pae, atol=1e-2)


def test_same_seed_same_numbers(predictor):
    first, second = (predictor.predict(features(), RUN, LENGTH) for _ in range(2))
    np.testing.assert_array_equal(first.protein.atom37_positions, second.protein.atom37_positions)
    assert len(first.ca_change) == 1


def test_guided_structures_have_ideal_residues_and_rotamers(smallest, weights, predictor, monkeypatch):
    monkeypatch.setitem(PRESETS, "smallest", dataclasses.replace(smallest, guidance=GuidanceConfig(rounds=1, steps=3)))
    plain = predict.Predictor(predict.Settings(model="smallest", recycles=1, guidance=False))
    guided = predict.Predictor(predict.Settings(model="smallest", recycles=1))
    parameters = params.load(weights["smallest"].path, smallest)
    for one in (plain, guided):
        one.hold("smallest", parameters)
    network, moved = (one.predict(features(), RUN, LENGTH) for one in (plain, guided))
    expected = predictor.predict(features(), RUN, LENGTH).protein.atom37_positions
    np.testing.assert_array_equal(network.protein.atom37_positions, expected)
    np.testing.assert_allclose(moved.plddt, network.plddt, atol=1e-3)
    before, after = network.protein, moved.protein
    np.testing.assert_array_equal(after.atom37_mask, before.atom37_mask)
    ca = [one.atom37_positions[:, 1] for one in (before, after)]
    assert 0 < np.linalg.norm(ca[0] - ca[1], axis=-1).max() < 1
    inside = [
        np.linalg.norm(one.atom37_positions[:, 0] - one.atom37_positions[:, 2], axis=-1) for one in (before, after)
    ]
    np.testing.assert_allclose(*inside, atol=1e-3)  # N to C of a residue
    chi = chi_angles(after.aatype, after.atom37_positions, after.atom37_mask)[:, 0]
    for letter, angle in zip(after.sequence, chi, strict=True):
        if letter in rotamers.statistics().rotamers:
            known = rotamers.statistics().rotamers[letter].chi[:, 0]
            assert np.abs((known - angle + 180) % 360 - 180).min() < 1  # degrees


@pytest.mark.parametrize("guidance", [None, GuidanceConfig(rounds=1, steps=3)])
def test_unknown_residues_have_a_backbone(smallest, weights, monkeypatch, guidance):
    monkeypatch.setitem(PRESETS, "smallest", dataclasses.replace(smallest, guidance=guidance))
    made = predict.Predictor(predict.Settings(model="smallest", recycles=1))
    made.hold("smallest", params.load(weights["smallest"].path, smallest))
    protein = made.predict(with_unknown(), RUN, LENGTH).protein
    assert protein.sequence[UNKNOWN_AT] == "X"
    assert np.flatnonzero(protein.atom37_mask[UNKNOWN_AT]).tolist() == BACKBONE
    n, ca, c, o = protein.atom37_positions[UNKNOWN_AT][BACKBONE]
    lengths = [float(np.linalg.norm(a - b)) for a, b in ((n, ca), (ca, c), (c, o))]
    np.testing.assert_allclose(lengths, [1.46, 1.52, 1.23], atol=0.03)


def test_files_hold_the_prediction(tmp_path, predictor, weights):
    one = job(tmp_path)
    (one.folder / "target.fasta").write_text(">one of <b>many</b>\nACDEFGHIKLMNP\n", encoding="utf-8")
    (said,) = predict.run_batch([one], predictor, weights, None)
    assert (said["name"], said["status"], said["reason"]) == ("one", "ok", "")
    assert said["predicted_sha256"] == hashlib.sha256((one.folder / "predicted.cif").read_bytes()).hexdigest()
    record = read_json(one.folder / "confidence.json", records.CONFIDENCE_SCHEMA)
    arrays = read_npz(one.folder / "confidence.npz", records.CONFIDENCE_SCHEMA)
    structure = read_structure(one.folder / "predicted.cif")
    assert len(structure) == record["length"] == LENGTH
    assert record["header"] == "one of <b>many</b>"
    assert record["mean_plddt"] == pytest.approx(arrays["plddt"].mean(), abs=0.01)
    np.testing.assert_allclose(structure.b_factor, arrays["plddt"], atol=0.01)
    assert arrays["pae"].shape == (LENGTH, LENGTH)
    assert arrays["secondary_structure"].shape == (LENGTH, 3)
    np.testing.assert_allclose(arrays["secondary_structure"].sum(axis=1), 1, atol=1e-5)
    assert record["couplings_used"] is False
    assert record["made_from"]["weights_sha256"] == "0" * 64
    assert record["settings"] == {**dataclasses.asdict(predictor.settings), "models": [1, 2, 3, 4, 5]}


def test_only_a_deep_alignment_has_couplings(predictor):
    few, many = (predictor.predict(features(rows=rows), RUN) for rows in (ROWS, 100))
    assert few.couplings is False
    assert many.couplings is True


def test_finished_targets_are_left_alone_and_damaged_ones_made_again(tmp_path, predictor, weights):
    one = job(tmp_path)
    predict.run_batch([one], predictor, weights, None)
    structure = one.folder / "predicted.cif"
    written = structure.stat().st_mtime_ns
    predict.run_batch([one], predictor, weights, None)
    assert structure.stat().st_mtime_ns == written
    whole = structure.read_bytes()
    structure.write_bytes(whole[:100])
    predict.run_batch([one], predictor, weights, None)
    assert structure.read_bytes() == whole


def test_files_that_are_wanted_later_are_written(tmp_path, predictor, weights, monkeypatch):
    one = job(tmp_path)
    predict.run_batch([one], predictor, weights, None)
    extras = {"predicted.pdb", "pae.json"}
    assert not extras & {path.name for path in one.folder.iterdir()}
    more = predict.Predictor(dataclasses.replace(predictor.settings, pdb=True, pae_json=True))
    monkeypatch.setattr(predict.Predictor, "predict", None)  # nothing is predicted again
    predict.run_batch([one], more, weights, None)
    record = read_json(one.folder / "confidence.json", records.CONFIDENCE_SCHEMA)
    assert extras < set(record["files"])
    assert record["settings"]["pdb"]
    assert record["settings"]["pae_json"]
    arrays = read_npz(one.folder / "confidence.npz", records.CONFIDENCE_SCHEMA)
    (found,) = json.loads((one.folder / "pae.json").read_text())
    error = arrays["pae"] * arrays["pae_step"]
    np.testing.assert_allclose(found["predicted_aligned_error"], error, atol=0.5)
    assert found["max_predicted_aligned_error"] == pytest.approx(error.max(), abs=0.01)


def number(one, numbering, header="one of many"):
    target = Target("one", header, (Chain("A" * LENGTH, numbering),))
    write_json(one.folder / "target.json", target.record(), TARGET_SCHEMA)


def test_a_finished_target_with_an_unknown_residue_gets_other_numbers(tmp_path, predictor, weights):
    one = job(tmp_path)
    with_unknown().save(one.folder / "features.npz")
    for numbering in ("1", "-2-4,50,50A,100"):
        number(one, numbering)
        (said,) = predict.run_batch([one], predictor, weights, None)
        assert said["reason"] == ""
    structure = read_structure(one.folder / "predicted.cif")
    assert structure.author_number == author_numbers(numbering, LENGTH)
    plddt = read_npz(one.folder / "confidence.npz", records.CONFIDENCE_SCHEMA)["plddt"]
    np.testing.assert_allclose(structure.b_factor, plddt, atol=0.01)


def test_the_users_numbers_change_no_prediction(tmp_path, predictor, weights, monkeypatch):
    plain, one = job(tmp_path / "plain"), job(tmp_path / "numbered")
    number(one, "-2-4,50,50A,100")
    with_pdb = predict.Predictor(dataclasses.replace(predictor.settings, pdb=True))
    predict.run_batch([plain, one], with_pdb, weights, None)
    numbers = author_numbers("-2-4,50,50A,100", LENGTH)
    arrays, expected = (read_npz(x.folder / "confidence.npz", records.CONFIDENCE_SCHEMA) for x in (one, plain))
    assert tuple(arrays.pop("author_number")) == numbers
    assert tuple(expected.pop("author_number")) == author_numbers("1", LENGTH)
    np.testing.assert_equal(arrays, expected)
    first = read_structure(plain.folder / "predicted.cif")
    for name in ("predicted.cif", "predicted.pdb"):
        found = read_structure(one.folder / name)
        assert found.author_number == numbers
        np.testing.assert_array_equal(found.atom37_positions, first.atom37_positions)
    np.testing.assert_array_equal(read_structure(one.folder / "predicted.cif").residue_index, first.residue_index)

    written = {name: (one.folder / name).read_bytes() for name in ("predicted.cif", "predicted.pdb", "confidence.npz")}
    number(one, "9", header="another")
    monkeypatch.setattr(predict.Predictor, "predict", None)  # nothing is predicted again
    (said,) = predict.run_batch([one], with_pdb, weights, None)
    record = read_json(one.folder / "confidence.json", records.CONFIDENCE_SCHEMA)
    assert (said["status"], record["numbering"], record["header"]) == ("ok", "9-21", "another")
    assert read_structure(one.folder / "predicted.pdb").author_number[0] == "9"
    number(one, "-2-4,50,50A,100")
    predict.run_batch([one], with_pdb, weights, None)
    number(one, "-2-4,50,50A,100", header="one")
    predict.run_batch([one], with_pdb, weights, None)
    number(one, "-2-4,50,50A,100")
    predict.run_batch([one], with_pdb, weights, None)
    assert {name: (one.folder / name).read_bytes() for name in written} == written


def test_numbers_of_another_sequence_are_a_failure(tmp_path, predictor, weights):
    one = job(tmp_path)
    (one.folder / "target.fasta").write_text(">one numbering=17\nACDE\n")
    (said,) = predict.run_batch([one], predictor, weights, None)
    assert said["reason"] == "one numbering=17: the sequence has 13 residues, '17-20' numbers 4"


def test_a_prediction_that_goes_on_is_named(tmp_path, predictor, weights, monkeypatch):
    one, seen, predicted = job(tmp_path), [], predict.Predictor.predict

    def watched(*arguments):
        seen.append(read_json(one.folder / "running.json", records.RUNNING_SCHEMA))
        return predicted(*arguments)

    monkeypatch.setattr(predict.Predictor, "predict", watched)
    predict.run_batch([one], predictor, weights, None)
    assert seen == [{"schema": records.RUNNING_SCHEMA, "target": "one", "model": "smallest", "seed": 0}]
    assert not (one.folder / "running.json").exists()
    with pytest.raises(StageError, match="x"), records.said_to_run(one, RUN):
        raise StageError("x")
    assert not (one.folder / "running.json").exists()


def test_a_killed_prediction_stays_named(tmp_path):
    script = (
        "import os, pathlib; from pipeline.predict.records import Job, Run, said_to_run\n"
        "with said_to_run(Job(pathlib.Path(), pathlib.Path('one')), Run('mini', 3)): os.kill(os.getpid(), 9)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=False).returncode == -9
    assert read_json(tmp_path / "one/running.json", records.RUNNING_SCHEMA)["seed"] == 3


def test_another_seed_is_another_prediction(tmp_path, predictor, weights):
    one = job(tmp_path)
    predict.run_batch([one], predictor, weights, None)
    made_from = [
        predict.provenance(one, predict.Run("smallest", seed), predictor, weights["smallest"], None) for seed in (0, 1)
    ]
    assert [records.is_done(one.folder, made) for made in made_from] == [True, False]


def test_every_setting_that_changes_numbers_makes_another_prediction(tmp_path):
    one = job(tmp_path)
    changed = {"recycles": 2, "recycle_tolerance": 0.5, "ensemble": 2, "max_msa": 5, "max_extra_msa": 3}
    changed |= {"dropout": True, "precision": "bfloat16", "guidance": False}
    others = {"model", "models", "ptm", "seed", "seeds", "rank_by", "cpu_fallback", "pdb", "pae_json"}
    assert {field.name for field in dataclasses.fields(predict.Settings)} == changed.keys() | others

    def made_from(model, **settings):
        predictor = predict.Predictor(predict.Settings(model=model, **settings))
        return predict.provenance(one, predict.Run(model, 0), predictor, predict.Weights(model, one.features, ""), None)

    for name, value in changed.items():
        model = "mini" if name == "guidance" else "model_1"
        assert made_from(model, **{name: value}) != made_from(model), name


def test_a_folder_is_named_wherever_one_stands(tmp_path, monkeypatch):
    folder = job(tmp_path).folder
    monkeypatch.chdir(folder)
    assert predict.Job(Path("features.npz"), Path()).name == "one"


def test_a_failed_target_stops_no_other(tmp_path, predictor, weights):
    broken, whole = job(tmp_path, "broken"), job(tmp_path, "whole")
    broken.features.write_bytes(whole.features.read_bytes()[:200])
    records = predict.run_batch([broken, whole], predictor, weights, None)
    assert [r["status"] for r in records] == ["failed", "ok"]
    assert "damaged" in records[0]["reason"]
    assert not (broken.folder / "predicted.cif").exists()
    assert (whole.folder / "predicted.cif").exists()


def test_numbers_that_are_none_are_a_failure(tmp_path, predictor, weights):
    nothing = jax.tree.map(lambda w: w * np.float32(np.nan), params.load(weights["smallest"].path, PRESETS["smallest"]))
    broken = predict.Predictor(predictor.settings)
    broken.hold("smallest", nothing)
    (record,) = predict.run_batch([job(tmp_path)], broken, weights, None)
    assert record["reason"] == "one: the network gave coordinates that are no numbers"


def test_command_writes_the_batch_record_and_names_what_failed(tmp_path, weights, monkeypatch):
    monkeypatch.setattr(predict, "use_compilation_cache", lambda folder: None)
    good, missing = job(tmp_path, "good"), predict.Job(tmp_path / "none.npz", tmp_path / "missing")
    flags = [
        *("--features", str(good.features), str(missing.features), "--outputs", str(good.folder), str(missing.folder)),
        *(
            "--weights",
            str(weights["smallest"].path),
            "--model",
            "smallest",
            "--recycles",
            "0",
            "--batch",
            str(tmp_path / "b.json"),
        ),
    ]
    with pytest.raises(StageError, match="1 of 2 targets failed: missing"):
        predict.main(flags)
    record = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert [t["status"] for t in record["targets"]] == ["ok", "failed"]
    assert predict.main([*flags, "--keep-going"]) == 0
    with pytest.raises(ConfigError, match="smallest draws nothing at random"):
        predict.main([*flags, "--seeds", "2"])


def test_weights_that_cannot_be_used(tmp_path, predictor):
    path = tmp_path / "x.npz"
    with pytest.raises(WeightsError, match=r"x\.npz: expected a parameter file or a folder of them: it does not exist"):
        predict.stored_weights(predictor.settings, [path])
    path.write_bytes(b"PK\x03\x04 but not an archive")
    with pytest.raises(WeightsError, match=r"x\.npz: expected an archive of parameters"):
        predict.stored_weights(predictor.settings, [path])
    fresh = predict.Predictor(predictor.settings)
    with pytest.raises(WeightsError, match=r"x\.npz"):
        fresh.load(predict.Weights("smallest", path, ""))


def test_weights_of_several_models_are_found_by_name(tmp_path):
    names = ("params_model_1.npz", "model_2.npz")
    for name in names:
        (tmp_path / name).touch()
    wanted = {"model_2": tmp_path / names[1], "model_1": tmp_path / names[0]}
    assert weights_files(["model_2", "model_1"], [tmp_path]) == wanted
    assert weights_files(["model_2", "model_1"], [tmp_path / name for name in names]) == wanted
    with pytest.raises(
        WeightsError, match=r"expected parameters of model_3: there is no params_model_3\.npz or model_3"
    ):
        weights_files(["model_1", "model_3"], [tmp_path])
