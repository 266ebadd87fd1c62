"""Laws of the input embeddings."""

import jax.numpy as jnp
import numpy as np
import pytest

from models import alphafold, embedders
from models.config import PRESETS, EvoformerConfig

pytestmark = pytest.mark.usefixtures("strict")
CONFIG = EvoformerConfig(c_m=10, c_z=6)


def test_distogram_bins_are_open():
    """Distances on an edge and below the first lie in no bin; the last bin has no end."""
    points = jnp.array([[0.0, 0, 0], [3.25, 0, 0], [4.0, 0, 0], [500.0, 0, 0]])
    bins = embedders.distogram(points, 15, 3.25, 20.75)
    assert bins.shape == (15, 4, 4)
    np.testing.assert_array_equal(bins[:, 0, 0], 0.0)
    np.testing.assert_array_equal(bins[:, 0, 1], 0.0)
    assert jnp.argmax(bins[:, 0, 2]) == 0
    assert bins[:, 0, 2].sum() == 1.0
    assert bins[14, 0, 3] == 1.0
    np.testing.assert_array_equal(bins, jnp.swapaxes(bins, 1, 2))


def test_first_iteration_recycles_nothing(network_tests):
    """Zeros give the offsets of the layer norms and the bias of an empty distogram, the same for all residues."""
    state = alphafold.initial_state(PRESETS["mini"], 7)
    state = {"prev_pos": state["prev_pos"], "prev_msa_first_row": jnp.zeros((7, 10)), "prev_pair": jnp.zeros((6, 7, 7))}
    msa, pair = network_tests.apply_random(
        lambda x: embedders.embed_recycled(x, jnp.zeros((6, 7, 7)), state, jnp.zeros(7, jnp.int32), CONFIG),
        jnp.zeros((3, 7, 10)),
    )
    np.testing.assert_array_equal(msa[1:], 0.0)
    np.testing.assert_array_equal(msa[0], jnp.broadcast_to(msa[0, :1], (7, 10)))
    np.testing.assert_allclose(pair, jnp.broadcast_to(pair[:, :1, :1], (6, 7, 7)), atol=1e-6)


def test_relative_positions_are_clipped(network_tests):
    index = jnp.array([0, 1, 2, 50, 51, 300, 301], jnp.int32)

    def run(index):
        return network_tests.apply_random(
            lambda i: embedders.embed_relative_positions(i, CONFIG, jnp.dtype("float32")), index
        )

    pair = run(index)
    np.testing.assert_array_equal(pair[:, 0, 1], pair[:, 3, 4])
    np.testing.assert_array_equal(pair[:, 0, 3], pair[:, 3, 5])  # 50 and 250 are both "far ahead"
    assert not np.allclose(pair[:, 0, 1], pair[:, 1, 0])
    np.testing.assert_array_equal(run(index + 1000), pair)


def test_couplings_rise_and_nothing_known_is_nothing_but_the_bias(network_tests):
    def run(couplings):
        return network_tests.apply_random(
            lambda x: embedders.embed_couplings(x, CONFIG, jnp.dtype("float32")), jnp.asarray(couplings, jnp.float32)
        )

    nothing, known = np.zeros((7, 7)), np.random.default_rng(0).normal(0, 5, (7, 7))
    np.testing.assert_array_equal(run(nothing), jnp.broadcast_to(run(nothing)[:, :1, :1], (6, 7, 7)))
    pair = run(known)
    assert pair.shape == (6, 7, 7)
    np.testing.assert_allclose(run(np.where(known < 0, -3.0, known)), pair, atol=1e-6)  # below 0 all are alike
    assert np.abs(pair - run(nothing)).max() > 0.1


def test_left_is_i_and_right_is_j(network_tests):
    rng = np.random.default_rng(0)
    batch = {"target_feat": rng.normal(size=(7, 22)), "msa_feat": rng.normal(size=(3, 7, 49))}
    batch = {name: jnp.asarray(x, jnp.float32) for name, x in batch.items()}
    _, pair = network_tests.apply_random(lambda b: embedders.embed_input(b, CONFIG, jnp.dtype("float32")), batch)
    changed = batch | {"target_feat": batch["target_feat"].at[4].set(0.0)}
    _, other = network_tests.apply_random(lambda b: embedders.embed_input(b, CONFIG, jnp.dtype("float32")), changed)
    differs = jnp.any(pair != other, axis=0)
    np.testing.assert_array_equal(differs, (jnp.arange(7) == 4)[:, None] | (jnp.arange(7) == 4)[None, :])
    np.testing.assert_allclose(pair[:, 1, 2] - pair[:, 1, 3], pair[:, 5, 2] - pair[:, 5, 3], atol=1e-5)


def test_extra_msa(network_tests):
    batch = {"extra_msa": jnp.zeros((5, 7), jnp.int32)}
    batch |= {name: jnp.ones((5, 7)) for name in ("extra_has_deletion", "extra_deletion_value")}
    assert network_tests.apply_random(
        lambda b: embedders.embed_extra_msa(b, 11, jnp.dtype("float32")), batch
    ).shape == (
        5,
        7,
        11,
    )
