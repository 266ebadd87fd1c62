"""The pair updates: golden values of the published network, and laws."""

import dataclasses
from pathlib import Path

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import triangle
from models.config import PRESETS, BlockConfig

pytestmark = pytest.mark.usefixtures("strict")
SCOPE = "alphafold/alphafold_iteration/evoformer"
BLOCKS = {
    "evoformer_iteration": PRESETS["model_1_ptm"].evoformer.block,
    "extra_msa_stack": PRESETS["model_1_ptm"].evoformer.extra_msa.block,
}


def update(name: str, config: BlockConfig, pair, mask):
    """Return what a module adds."""
    if name == "pair_transition":
        return triangle.PairTransition(config.pair_transition_factor, name=name)(pair) - pair
    if "multiplication" in name:
        module = triangle.TriangleMultiplication(config.triangle_channels, "outgoing" in name, name=name)
    else:
        module = triangle.TriangleAttention(config.triangle_heads, "starting" in name, name=name)
    return module(pair, mask) - pair


@pytest.mark.parametrize("stack", BLOCKS)
@pytest.mark.parametrize(
    "name",
    [
        "triangle_multiplication_outgoing",
        "triangle_multiplication_incoming",
        "triangle_attention_starting_node",
        "triangle_attention_ending_node",
        "pair_transition",
    ],
)
def test_golden(name, stack, network_tests):
    golden = np.load(Path(__file__).parent / "golden" / f"{stack}.npz")
    pair, mask = jnp.moveaxis(jnp.asarray(golden["pair"]), -1, 0), jnp.asarray(golden["pair_mask"])
    out = network_tests.apply_seeded(lambda: update(name, BLOCKS[stack], pair, mask), f"{SCOPE}/{stack}")
    np.testing.assert_allclose(
        jnp.moveaxis(out, 0, -1)[..., ::16], golden[f"out/{name}"], rtol=0, atol=20 * golden[f"noise/{name}"]
    )


SMALL = BlockConfig(triangle_channels=6, triangle_heads=2, pair_transition_factor=2)


def random_pair(n=7, c=8, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(c, n, n)), jnp.float32)


def test_incoming_is_outgoing_of_the_transpose(network_tests):
    pair, mask = random_pair(), jnp.ones((7, 7)).at[2, 3].set(0.0)

    def run(outgoing, pair, mask):
        product = lambda x: triangle.TriangleMultiplication(6, outgoing, name="a")(x, mask)  # noqa: E731
        return network_tests.apply_random(product, pair)

    turned = run(True, jnp.swapaxes(pair, 1, 2), mask.T)
    np.testing.assert_allclose(run(False, pair, mask), jnp.swapaxes(turned, 1, 2), atol=1e-5)


@pytest.mark.parametrize("name", ["triangle_multiplication_outgoing", "triangle_attention_ending_node"])
def test_masked_residues_are_not_read(name, network_tests):
    mask = jnp.ones(7).at[5].set(0.0)
    mask = mask[:, None] * mask[None, :]
    pair = random_pair()
    other = jnp.where(mask[None] > 0, pair, 9.0)
    keep = jnp.array([0, 1, 2, 3, 4, 6])
    a, b = (
        network_tests.apply_random(lambda x: update(name, SMALL, x, mask), x)[:, keep][:, :, keep]
        for x in (pair, other)
    )
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_permuting_residues_permutes_the_result(network_tests):
    order = jnp.array([3, 1, 6, 0, 2, 5, 4])
    pair, mask = random_pair(), jnp.ones((7, 7))

    def run(x):
        return network_tests.apply_random(lambda x: triangle.update_pair(x, mask, SMALL), x)

    np.testing.assert_allclose(run(pair)[:, order][:, :, order], run(pair[:, order][:, :, order]), atol=2e-4)


def test_a_new_block_changes_nothing():
    network = hk.transform(lambda x: triangle.update_pair(x, jnp.ones((7, 7)), SMALL))
    params = jax.jit(network.init)(jax.random.key(0), random_pair())
    np.testing.assert_array_equal(network.apply(params, None, random_pair()), random_pair())


def test_dropout_depends_on_its_key():
    config = dataclasses.replace(SMALL, pair_dropout=0.9)
    network = hk.transform(lambda x: triangle.update_pair(x, jnp.ones((7, 7)), config, dropout=True))
    params = jax.jit(network.init)(jax.random.key(0), random_pair())
    a, b = (network.apply(jax.tree.map(lambda p: p + 0.1, params), jax.random.key(k), random_pair()) for k in (0, 1))
    assert not np.allclose(a, b)


def test_switches_decide_the_parameters():
    def scopes(config):
        network = hk.transform(lambda x: triangle.update_pair(x, jnp.ones((7, 7)), config))
        return {scope.split("/")[0] for scope in jax.eval_shape(network.init, jax.random.key(0), random_pair())}

    without = scopes(dataclasses.replace(SMALL, triangle_attention=False))
    assert scopes(SMALL) - without == {"triangle_attention_starting_node", "triangle_attention_ending_node"}


def test_squares_are_means_of_real_pairs_and_spread_again():
    pair, mask = random_pair(n=5, c=2), jnp.ones((5, 5)).at[3:].set(0).at[:, 3:].set(0)
    coarse, there = triangle.pooled(pair, mask, 2)
    np.testing.assert_allclose(coarse[:, 0, 0], pair[:, :2, :2].mean(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_allclose(coarse[:, 0, 1], pair[:, :2, 2].mean(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(there, [[1, 1, 0], [1, 1, 0], [0, 0, 0]])
    again = triangle.spread(coarse, 2, 5)
    assert again.shape == pair.shape
    np.testing.assert_array_equal(again[:, 0, 0], again[:, 1, 1])
    np.testing.assert_array_equal(again[:, 0, 2], coarse[:, 0, 1])


@pytest.mark.parametrize("attention", [False, True])
def test_triangles_at_half_resolution_see_no_padding_and_change_whole_squares(network_tests, attention, monkeypatch):
    monkeypatch.setattr(triangle.PairTransition, "__call__", lambda self, pair: pair)
    config = dataclasses.replace(SMALL, triangle_attention=attention, pair_stride=2)
    pair, mask = random_pair(), jnp.ones((7, 7)).at[5:].set(0).at[:, 5:].set(0)
    changed = pair.at[:, 5:].add(3.0).at[:, :, 5:].add(3.0)
    run = lambda x: network_tests.apply_random(lambda x: triangle.update_pair(x, mask, config), x)  # noqa: E731
    change, other = (np.asarray(run(x) - x)[:, :5, :5] for x in (pair, changed))
    np.testing.assert_allclose(change, other, atol=1e-5)
    assert np.abs(change).max() > 0.01
    squares = change[:, :4:2, :4:2].repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(change[:, :4, :4], squares, atol=1e-5)
