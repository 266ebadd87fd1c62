"""The training loop: a resumed training is the one that was never interrupted, and what it writes can be loaded."""

import argparse
import dataclasses
import itertools
import threading

import jax
import numpy as np
import pytest

from models import params
from models.config import PRESETS, ModelConfig
from pipeline import records
from pipeline.errors import ConfigError, RecordError
from training import distillation, origin, sources, train

CROP, SEED = 11, 2


class MadeUpSource:
    """Stands for the training data: a helix of random letters, drawn from the generator that it is given."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config

    def describe(self) -> dict[str, str]:
        return {"data": "made up"}

    def draw(self, rng: np.random.Generator, crop: int) -> dict[str, np.ndarray]:
        angle = np.deg2rad(100.0) * np.arange(crop)
        ca = np.stack([2.3 * np.cos(angle), 2.3 * np.sin(angle), 1.5 * np.arange(crop)], -1)
        positions = np.zeros((crop, 37, 3), np.float32)
        positions[:, :3] = ca[:, None] + np.array([[-1.2, 0.5, 0.4], [0, 0, 0], [0.6, 1.2, 0.7]])
        mask = np.zeros((crop, 37), np.float32)
        mask[:, :3] = 1
        return {
            "aatype": rng.integers(0, 20, crop).astype(np.int32),
            "residue_index": np.arange(crop, dtype=np.int32),
            "seq_mask": np.ones(crop, np.float32),
            "target_feat": rng.normal(size=(crop, 22)).astype(np.float32),
            "msa_feat": rng.normal(size=(1, crop, 49)).astype(np.float32),
            "msa_mask": np.ones((1, crop), np.float32),
            "couplings": np.zeros((crop, crop), np.float32),
            "all_atom_positions": positions,
            "all_atom_mask": mask,
            "bonded": np.full(crop, -1, np.int32),
            "secondary_structure": np.arange(crop, dtype=np.int32) % 4 - 1,
        }


SETTINGS = train.Settings(
    steps=3, batch=2, crops=(CROP,), warmup=1, learning_rate=1e-2, recycles=0, seed=SEED, checkpoint_every=1, ema=0.5
)


@pytest.fixture(scope="module")
def source(smallest):
    return MadeUpSource(smallest)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, source):
    """Train three steps at once, and again with a stop after the first."""
    whole, parts = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("parts")
    at_once = train.train(source, SETTINGS, whole, train.Sitting())
    stopped = train.train(source, SETTINGS, parts, train.Sitting(until=1))
    resumed = train.train(source, SETTINGS, parts, train.Sitting())
    return whole, at_once, stopped, resumed


def test_resuming_changes_nothing(runs):
    _, at_once, stopped, resumed = runs
    assert (at_once.step, stopped.step, resumed.step) == (3, 1, 3)
    for a, b in zip(jax.tree.leaves(at_once.mean), jax.tree.leaves(resumed.mean), strict=True):
        np.testing.assert_array_equal(a, b)


def test_steps_change_the_weights_and_are_noted(runs):
    folder, at_once, stopped, _ = runs
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), at_once.params, stopped.params)
    assert max(jax.tree.leaves(moved)) > 1e-3
    lines = (folder / "loss.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("step\t")
    assert [line.split("\t")[0] for line in lines[1:]] == ["1", "2", "3"]
    assert all(np.isfinite(float(value)) for line in lines[1:] for value in line.split("\t"))


def test_a_part_can_be_taught_alone(source, tmp_path):
    settings = dataclasses.replace(SETTINGS, only=("predicted_lddt_head",))
    begin, end = (train.train(source, settings, tmp_path, train.Sitting(until=step)) for step in (1, 3))
    before, after = params.flat(begin.params), params.flat(end.params)
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved
    assert moved == {name for name in moved if "/predicted_lddt_head" in name}


def test_a_part_that_is_not_there_is_refused(tmp_path):
    words = ["--data", str(tmp_path), "--exclude", "list", "--output", str(tmp_path / "out"), "--only", "plddt_head"]
    with pytest.raises(ConfigError, match="plddt_head is no part of mini"):
        train.main(words)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"model": "typo"}, "--model: expected one of mini, model_1, .*, found 'typo'"),
        ({"batch": 0}, "--batch: expected at least 1, found 0"),
        ({"checkpoint_every": 0}, "--checkpoint-every: expected at least 1, found 0"),
        ({"crops": (64, 0)}, "--crops: expected at least 1, found 0"),
        ({"crops": ()}, "--crops: expected at least 1, found 0"),
        ({"steps": 200}, "--warmup: expected fewer than the 200 steps of the schedule, found 200"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, text):
    with pytest.raises(ConfigError, match=text):
        train.Settings(**wrong)


@pytest.mark.parametrize(
    ("held", "text"),
    [
        ((6, 0), "--validation-chains 6 --development-chains 0: there are not as many chains"),
        ((1, 5), "--validation-chains 1 --development-chains 5: there are not as many chains"),
        ((5, 0), "no chain remains to train on"),
    ],
)
def test_more_chains_than_there_are_cannot_be_held_back(folder, held, text):
    (folder / "list").touch()
    data = argparse.Namespace(data=folder, exclude=folder / "list", omit=None, allatom=None)
    with pytest.raises(ConfigError, match=text):
        sources.open_source(data, number=sources.Number(*held))


def test_what_is_made_ahead_comes_in_order_and_ends():
    assert list(train.prefetch(iter(range(11)), depth=3)) == list(range(11))
    assert list(train.prefetch(iter(()))) == []


def test_what_goes_wrong_ahead_is_raised_in_its_turn():
    def items():
        yield 1
        raise RecordError("damaged", "chain 2")

    ahead = train.prefetch(items())
    assert next(ahead) == 1
    with pytest.raises(RecordError, match="chain 2: damaged"):
        next(ahead)


def test_nothing_is_made_once_nobody_waits():
    before = threading.active_count()
    ahead = train.prefetch(itertools.count())
    assert next(ahead) == 0
    assert threading.active_count() == before + 1
    ahead.close()
    assert threading.active_count() == before


def test_the_mean_lags_behind_the_weights(runs, source):
    _, at_once, _, _ = runs
    first = train.initial_state(source.config, SETTINGS, source.draw(np.random.default_rng(SEED), CROP))
    trees = (first.params, at_once.mean, at_once.params)
    start, mean, end = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)]) for tree in trees)
    assert 0 < np.linalg.norm(mean - start) < np.linalg.norm(end - start)


def test_weights_can_be_saved_and_loaded(runs, smallest, tmp_path):
    _, at_once, _, _ = runs
    params.save(tmp_path / "w.npz", at_once.mean, smallest, {"step": at_once.step}, half=True)
    loaded = params.load(tmp_path / "w.npz", smallest)
    for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(at_once.mean), strict=True):
        np.testing.assert_allclose(a, np.asarray(b), rtol=1e-3, atol=1e-6)


def test_the_learning_rate_is_a_function_of_the_step():
    rate = train.schedule(train.Settings(steps=100, warmup=10, learning_rate=1e-3))
    assert float(rate(0)) == 0.0
    assert float(rate(10)) == pytest.approx(1e-3)
    assert float(rate(100)) == pytest.approx(2e-5)


def test_a_checkpoint_of_another_training_is_refused(runs, source):
    folder, *_ = runs
    with pytest.raises(RecordError, match="another training"):
        train.train(source, dataclasses.replace(SETTINGS, learning_rate=1e-4), folder, train.Sitting())


def test_notes_after_the_last_checkpoint_are_dropped(runs, source):
    folder, *_ = runs
    notes = folder / "loss.tsv"
    before = notes.read_text(encoding="utf-8")
    notes.write_text(before + before.splitlines()[-1].replace("3\t", "4\t", 1) + "\n", encoding="utf-8")
    train.train(source, dataclasses.replace(SETTINGS, checkpoint_every=2), folder, train.Sitting())
    assert notes.read_text(encoding="utf-8") == before


def test_recycling_may_begin_late():
    settings = dataclasses.replace(SETTINGS, steps=100, recycles=1, recycle_from=0.5)
    drawn = [int(train.turn_of(step, settings).recycles) for step in range(100)]
    assert set(drawn[:50]) == {0}
    assert set(drawn[50:]) == {0, 1}


def test_violations_and_physics_count_from_their_step_on():
    settings = dataclasses.replace(SETTINGS, steps=10, violation_from=0.5, physics_from=0.8)
    turns = [train.turn_of(step, settings) for step in range(10)]
    assert [float(turn.violation) for turn in turns] == [0] * 5 + [1] * 5
    assert [float(turn.physics) for turn in turns] == [0] * 8 + [1] * 2
    never = [float(train.turn_of(step, SETTINGS).physics) for step in range(SETTINGS.steps)]
    assert set(never) == {0}


def test_a_fine_tuning_begins_with_the_weights_that_it_is_given(runs, source, tmp_path):
    start = runs[1].mean
    tuned = train.train(source, SETTINGS, tmp_path, train.Sitting(until=0, start=origin.Start(start)))
    for left, right in zip(jax.tree.leaves(start), jax.tree.leaves(tuned.params), strict=True):
        np.testing.assert_array_equal(left, right)


class BrokenSource(MadeUpSource):
    """Gives examples from which no gradient is finite."""

    def draw(self, rng, crop):
        example = super().draw(rng, crop)
        return example | {"msa_feat": example["msa_feat"] * np.nan}


def test_a_training_ends_before_it_takes_what_is_not_finite(smallest, source, tmp_path):
    good = train.train(source, SETTINGS, tmp_path, train.Sitting(until=1))
    with pytest.raises(train.DivergedError, match="the gradients of 20 steps up to step 21 are not finite") as caught:
        train.train(BrokenSource(smallest), SETTINGS, tmp_path, train.Sitting(until=30))
    assert (caught.value.where, caught.value.exit_code) == (str(tmp_path), 1)
    kept = train.train(source, SETTINGS, tmp_path, train.Sitting(until=0))
    assert kept.step == 20
    for before, after in zip(jax.tree.leaves(good.params), jax.tree.leaves(kept.params), strict=True):
        np.testing.assert_array_equal(before, after)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(kept.mean))


def test_a_resumed_training_knows_what_it_began_with(runs, source, tmp_path):
    _, at_once, *_ = runs
    about = ({"source": "elsewhere", "licence": "theirs", "training": {"step": 7}},)
    begun = train.Sitting(until=0, start=origin.Start(at_once.mean, about))
    assert train.train(source, SETTINGS, tmp_path, begun).start == about
    other = origin.Start(at_once.params, ({"source": "wrong"},))
    for start in (None, other):
        resumed = train.train(source, SETTINGS, tmp_path, train.Sitting(until=0, start=start))
        assert resumed.start == about
    for before, after in zip(jax.tree.leaves(at_once.mean), jax.tree.leaves(resumed.params), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_checkpoint_of_earlier_code_can_be_resumed(runs, source, tmp_path):
    folder, at_once, *_ = runs
    arrays = records.read_npz(folder / "checkpoint.npz", train.CHECKPOINT_SCHEMA)
    del arrays["start"]
    records.write_npz(tmp_path / "checkpoint.npz", arrays, train.CHECKPOINT_SCHEMA)
    about = ({"source": "elsewhere", "licence": "theirs", "training": {}},)
    resumed = train.train(source, SETTINGS, tmp_path, train.Sitting(start=origin.Start(at_once.params, about)))
    assert (resumed.step, resumed.start) == (3, about)
    for before, after in zip(jax.tree.leaves(at_once.mean), jax.tree.leaves(resumed.mean), strict=True):
        np.testing.assert_array_equal(before, after)


def test_weights_say_what_the_first_sitting_began_with(folder, smallest, monkeypatch, tmp_path):
    monkeypatch.setitem(PRESETS, "smallest", smallest)
    rng, output = np.random.default_rng(SEED), tmp_path / "out"
    arrays = {name: 0.1 * rng.normal(size=shape).astype(np.float32) for name, shape in params.shapes(smallest).items()}
    np.savez(tmp_path / "published.npz", **arrays)
    (folder / "list").touch()
    words = ["--data", str(folder), "--exclude", str(folder / "list"), "--output", str(output), "--model", "smallest"]
    words += ["--validation-chains", "1", "--development-chains", "0", "--crops", str(CROP), "--until", "0"]
    assert train.main([*words, "--start", str(tmp_path / "published.npz")]) == 0
    assert train.main(words) == 0
    said = params.read_metadata(output / "weights.npz")
    assert said["licence"] == "Apache-2.0 and CC BY 4.0"
    assert "beginning with: AlphaFold 2" in said["source"]
    assert said["training"]["start"] == [{}]
    found = params.flat(params.load(output / "weights.npz", smallest))
    for name, array in found.items():
        np.testing.assert_allclose(array, arrays[name], rtol=1e-3, atol=1e-4)  # half precision


def first_step(folder):
    """Return the notes of the first step by name."""
    header, first = (line.split("\t") for line in (folder / "loss.tsv").read_text(encoding="utf-8").splitlines()[:2])
    return dict(zip(header, map(float, first), strict=True))


def test_teachers_are_learned_from_and_belong_to_the_training(runs, source, tmp_path):
    folder, at_once, *_ = runs
    teachers = distillation.Teachers(source.config, (at_once.mean, at_once.params))
    for name, weight in (("taught", 100.0), ("idle", 0.0)):
        settings = dataclasses.replace(SETTINGS, distillation=weight)
        train.train(source, settings, tmp_path / name, train.Sitting(until=1), teachers=teachers)
    taught, idle, alone = map(first_step, (tmp_path / "taught", tmp_path / "idle", folder))
    assert taught["distillation"] > 0
    assert taught["loss"] == pytest.approx(alone["loss"], rel=1e-3)  # of the truth alone
    assert idle["gradient"] == pytest.approx(alone["gradient"], rel=1e-3)
    assert taught["gradient"] != pytest.approx(alone["gradient"], rel=0.01)
    with pytest.raises(RecordError, match="another training"):
        train.train(source, SETTINGS, tmp_path / "taught", train.Sitting())


def test_the_state_is_watched_and_its_notes_are_dropped_with_the_steps(tmp_path, source):
    seen = []

    def watch(state):
        seen.append(state.step)
        train.append(tmp_path / "curve.tsv", {"step": str(state.step), "CA-lDDT": "0.5"})

    settings = dataclasses.replace(SETTINGS, score_every=2, checkpoint_every=3)
    train.train(source, settings, tmp_path, train.Sitting(), watch)
    assert seen == [2]
    train.append(tmp_path / "curve.tsv", {"step": "4", "CA-lDDT": "0.5"})
    train.train(source, settings, tmp_path, train.Sitting(), watch)
    assert (tmp_path / "curve.tsv").read_text(encoding="utf-8") == "step\tCA-lDDT\n2\t0.5\n"
