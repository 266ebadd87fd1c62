"""The convolutions along the chain by themselves: they learn what the sequence says, and nothing else changes."""

import argparse
import dataclasses

import numpy as np
import pytest

from models import params
from models.config import PRESETS
from pipeline.errors import ConfigError
from training import origin, pretrain, sources, train

SEED, CROP = 5, 23


class MadeUpSource:
    """Stands for the training data: helices where the letter is odd, else strands."""

    training = np.arange(50)

    def __init__(self, config):
        self.config = config

    def example(self, index, rng, crop, templates):
        assert not templates
        helical = index % 2
        angle = np.deg2rad(100.0 if helical else 170.0) * np.arange(crop)
        radius, rise = (2.3, 1.5) if helical else (0.9, 3.3)
        ca = np.stack([radius * np.cos(angle), radius * np.sin(angle), rise * np.arange(crop)], -1)
        positions = np.zeros((crop, 37, 3), np.float32)
        positions[:, :3] = ca[:, None] + np.array([[-1.2, 0.5, 0.4], [0, 0, 0], [0.6, 1.2, 0.7]])
        positions[:, 4] = ca + np.array([1.0, 2.0, 1.5])
        mask = np.zeros((crop, 37), np.float32)
        mask[:, [0, 1, 2, 4]] = 1
        features = np.full((1, crop, 49), float(helical), np.float32) + 0.1 * rng.normal(size=(1, crop, 49))
        return {
            "aatype": np.zeros(crop, np.int32),
            "seq_mask": np.ones(crop, np.float32),
            "target_feat": np.zeros((crop, 22), np.float32),
            "msa_feat": features.astype(np.float32),
            "all_atom_positions": positions,
            "all_atom_mask": mask,
            "secondary_structure": np.full(crop, 0 if helical else 1, np.int32),
        }


@pytest.fixture(scope="module")
def source(smallest):
    return MadeUpSource(smallest)


def test_what_the_sequence_says_is_learned(source, caplog):
    settings = pretrain.Settings(steps=60, batch=4, crop=CROP, learning_rate=3e-2, warmup=2, ema=0.8, seed=SEED)
    held = pretrain.stacked([source.example(i, np.random.default_rng(1), CROP, []) for i in (3, 4)])
    with caplog.at_level("INFO", "training.pretrain"):
        taught = params.flat(pretrain.teach(source, settings, {}, held))
        none = params.flat(pretrain.teach(source, dataclasses.replace(settings, learning_rate=0.0), {}, held))
    for term in ("torsions", "states"):
        after, before = (float(r.getMessage().split(f"held back {term} ")[1].split()[0]) for r in caplog.records)
        assert after < 0.5 * before
    network = params.shapes(source.config)
    ours = {name for name in taught if "thrown_away" not in name}
    assert all(network[name] == taught[name].shape for name in ours)  # they fit the whole network
    assert any("sequence_track" in name for name in ours)
    assert any(np.abs(taught[name] - none[name]).max() > 1e-3 for name in ours)


def test_it_begins_with_the_weights_that_it_is_given(source):
    settings = pretrain.Settings(steps=1, batch=2, crop=CROP, learning_rate=0.0, warmup=0, seed=SEED)
    name = "alphafold/alphafold_iteration/evoformer/preprocess_msa//bias"
    start = params.nested({name: np.full(8, 0.25, np.float32), "elsewhere//weights": np.zeros(3, np.float32)})
    held = pretrain.stacked([source.example(3, np.random.default_rng(1), CROP, [])])
    taught = params.flat(pretrain.teach(source, settings, start, held))
    np.testing.assert_allclose(taught[name], 0.25)
    assert "elsewhere//weights" not in taught


@pytest.mark.parametrize("development", [0, 1])
def test_the_training_that_comes_after_may_hold_back_the_same_chains(folder, smallest, monkeypatch, development):
    monkeypatch.setitem(PRESETS, "smallest", smallest)
    (folder / "list").touch()
    output = folder / "convolutions.npz"
    words = ["--data", str(folder), "--exclude", str(folder / "list"), "--output", str(output), "--model", "smallest"]
    words += ["--validation-chains", "1", "--development-chains", str(development)]
    assert pretrain.main([*words, "--steps", "1", "--warmup", "0", "--batch", "2", "--crop", str(CROP)]) == 0
    said = params.read_metadata(output)
    assert said["source"] == origin.SOURCE
    assert said["training"]["pretraining"]["development_chains"] == development
    data = argparse.Namespace(data=folder, exclude=folder / "list", omit=None, allatom=None)
    settings = train.Settings(model="smallest", validation_chains=1, development_chains=development)
    source, held = sources.open_source(data, settings.model, settings.held_back)
    assert len(held.development) == development
    assert origin.read_start([output], source).about[0]["training"] == said["training"]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"model": "model_1"}, "--model: model_1 has no convolutions to teach"),
        ({"model": "typo"}, "--model: expected one of mini, model_1, .*, found 'typo'"),
        ({"batch": 0}, "--batch: expected at least 1, found 0"),
        ({"crop": 0}, "--crop: expected at least 1, found 0"),
        ({"steps": 50}, "--warmup: expected fewer than the 50 steps of the schedule, found 100"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, text):
    with pytest.raises(ConfigError, match=text):
        pretrain.Settings(**wrong)


def test_batches_depend_on_seed_and_step_alone(source):
    settings = pretrain.Settings(steps=3, batch=2, crop=CROP, warmup=0, seed=SEED)
    first, again = (list(pretrain.batches(source, settings)) for _ in range(2))
    assert len(first) == 3
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a["msa_feat"], b["msa_feat"])
    assert not np.array_equal(first[0]["msa_feat"], first[1]["msa_feat"])
