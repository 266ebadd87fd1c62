"""The convolutions along the chain by themselves: they learn what the sequence says, and nothing else changes."""

import dataclasses

import numpy as np
import pytest

from models import params
from training import pretrain

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
    with caplog.at_level("INFO"):
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


def test_batches_depend_on_seed_and_step_alone(source):
    settings = pretrain.Settings(steps=3, batch=2, crop=CROP, seed=SEED)
    first, again = (list(pretrain.batches(source, settings)) for _ in range(2))
    assert len(first) == 3
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a["msa_feat"], b["msa_feat"])
    assert not np.array_equal(first[0]["msa_feat"], first[1]["msa_feat"])
