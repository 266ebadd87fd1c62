"""The MSA updates: golden values of the published network, and laws."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from models import msa, primitives
from models.config import PRESETS

pytestmark = pytest.mark.usefixtures("strict")
SCOPE = "alphafold/alphafold_iteration/evoformer"
BLOCK = PRESETS["model_1_ptm"].evoformer.block


def update(name, config, rows, mask, pair):
    """Return what a module adds."""
    if name == "outer_product_mean":
        return msa.OuterProductMean(config.outer_product_channels)(rows, mask, pair) - pair
    new = {
        "msa_row_attention_with_pair_bias": lambda: msa.RowAttention(config.msa_heads)(rows, mask, pair),
        "msa_column_attention": lambda: msa.ColumnAttention(config.msa_heads)(rows, mask),
        "msa_column_global_attention": lambda: msa.GlobalColumnAttention(config.msa_heads)(rows, mask),
        "msa_transition": lambda: msa.MsaTransition(config.msa_transition_factor)(rows),
    }[name]()
    return new - rows


@pytest.mark.parametrize(
    ("stack", "name"),
    [
        ("evoformer_iteration", "msa_row_attention_with_pair_bias"),
        ("evoformer_iteration", "msa_column_attention"),
        ("evoformer_iteration", "msa_transition"),
        ("evoformer_iteration", "outer_product_mean"),
        ("extra_msa_stack", "msa_row_attention_with_pair_bias"),
        ("extra_msa_stack", "msa_column_global_attention"),
        ("extra_msa_stack", "msa_transition"),
        ("extra_msa_stack", "outer_product_mean"),
    ],
)
def test_golden(stack, name, network_tests):
    golden = np.load(Path(__file__).parent / "golden" / f"{stack}.npz")
    rows, mask, pair = (jnp.asarray(golden[key]) for key in ("msa", "msa_mask", "pair"))
    pair = jnp.moveaxis(pair, -1, 0)
    out = network_tests.apply_seeded(lambda: update(name, BLOCK, rows, mask, pair), f"{SCOPE}/{stack}")
    out = jnp.moveaxis(out, 0, -1) if name == "outer_product_mean" else out
    np.testing.assert_allclose(out[..., ::16], golden[f"out/{name}"], rtol=0, atol=20 * golden[f"noise/{name}"])


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def outer(network_tests, rows, mask):
    pair = jnp.zeros((5, rows.shape[1], rows.shape[1]))
    return network_tests.apply_random(lambda x: msa.OuterProductMean(3)(x, mask, pair), rows)


@pytest.mark.parametrize("rows", [2, 17])  # few rows are contracted in the other order
def test_outer_product_mean_ignores_masked_rows(rows, network_tests):
    x = normal(rows, 7, 11)
    mask = jnp.ones((rows, 7)).at[1].set(0.0)
    a, b = (outer(network_tests, y, mask) for y in (x, x.at[1].set(5.0)))
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_outer_product_mean_of_repeated_rows(network_tests):
    """The mean over a row and over 17 copies of it is the same, in both orders of contraction, up to the epsilon."""
    x = normal(1, 7, 11)
    once = outer(network_tests, x, jnp.ones((1, 7)))
    often = outer(network_tests, jnp.repeat(x, 17, axis=0), jnp.ones((17, 7)))
    bias = outer(network_tests, x, jnp.zeros((1, 7))) * msa.OUTER_EPSILON  # what an empty MSA leaves, trap 2
    np.testing.assert_allclose(once * 1.001 - bias, (often * 17.001 - bias) / 17, atol=1e-3)


def test_outer_product_chunks_change_nothing(network_tests, monkeypatch):
    x, mask = normal(17, 7, 11), jnp.ones((17, 7))
    whole = outer(network_tests, x, mask)
    monkeypatch.setattr(primitives, "CPU_WHOLE", 0)
    monkeypatch.setattr(primitives, "CPU_CHUNK", 2 * 7 * 9)
    np.testing.assert_allclose(outer(network_tests, x, mask), whole, atol=1e-4)


@pytest.mark.parametrize("attention", [msa.ColumnAttention, msa.GlobalColumnAttention])
def test_columns_do_not_mix(attention, network_tests):
    x, mask = normal(5, 7, 6), jnp.ones((5, 7))
    a, b = (network_tests.apply_random(lambda y: attention(2)(y, mask), y) for y in (x, x.at[:, 3].set(2.0)))
    same = jnp.array([0, 1, 2, 4, 5, 6])
    np.testing.assert_allclose(a[:, same], b[:, same], atol=1e-6)
    assert not np.allclose(a[:, 3], b[:, 3])


@pytest.mark.parametrize("attention", [msa.ColumnAttention, msa.GlobalColumnAttention])
def test_the_order_of_rows_does_not_matter(attention, network_tests):
    x, mask, order = normal(5, 7, 6), jnp.ones((5, 7)), jnp.array([3, 0, 4, 1, 2])
    a, b = (network_tests.apply_random(lambda y: attention(2)(y, mask), y) for y in (x, x[order]))
    np.testing.assert_allclose(a[order], b, atol=1e-5)
