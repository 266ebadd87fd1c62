"""Laws of affine maps, layer norm and attention."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from models import primitives

pytestmark = pytest.mark.usefixtures("strict")


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_layouts_agree(network_tests):
    x = normal(5, 3, 7)
    first = network_tests.apply_random(lambda x: primitives.linear(x, 11, "a", channel_axis=0), x)
    last = network_tests.apply_random(lambda x: primitives.linear(x, 11, "a"), jnp.moveaxis(x, 0, -1))
    np.testing.assert_allclose(jnp.moveaxis(first, 0, -1), last, atol=1e-5)


def test_layer_norm_layouts_and_moments(network_tests):
    x = 3.0 * normal(13, 3, 7) + 2.0
    first = network_tests.apply_random(lambda x: primitives.layer_norm(x, "a", channel_axis=0), x)
    last = network_tests.apply_random(lambda x: primitives.layer_norm(x, "a"), jnp.moveaxis(x, 0, -1))
    np.testing.assert_allclose(jnp.moveaxis(first, 0, -1), last, atol=1e-5)
    plain = primitives.normalise(x, jnp.ones(13), jnp.zeros(13), channel_axis=0)
    np.testing.assert_allclose(plain.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(plain.std(0), 1.0, atol=1e-4)


@pytest.mark.parametrize("axis", [0, -1])
def test_layer_norm_gradient(axis):
    with jax.enable_x64(True):
        x, scale, offset = (jnp.asarray(normal(*s, seed=1), jnp.float64) for s in ((5, 2, 5), (5,), (5,)))

        def run(*arguments):
            return primitives.normalise(*map(jnp.asarray, arguments), channel_axis=axis)

        check_grads(run, (x, scale, offset), order=1, modes=["rev"], atol=1e-6)


@pytest.mark.parametrize("kind", ["linear", "relu"])
def test_initial_spread(kind):
    weights = hk.transform(lambda: primitives.initialiser(kind, 101)((101, 997), jnp.float32)).apply(
        {}, jax.random.key(0)
    )
    assert weights.std() == pytest.approx(np.sqrt({"linear": 1.0, "relu": 2.0}[kind] / 101), rel=0.02)


@pytest.mark.parametrize(("kind", "bias"), [("zeros", 0.0), ("gate", 1.0)])
def test_initial_constants(kind, bias):
    network = hk.transform(lambda x: primitives.linear(x, 3, "a", init=kind))
    out = network.apply(network.init(jax.random.key(0), normal(2, 5)), None, normal(2, 5))
    np.testing.assert_array_equal(out, bias)


def test_attention_is_softmax():
    q, k, v, bias = normal(2, 3, 5), normal(2, 5, 7, seed=1), normal(2, 7, 5, seed=2), normal(2, 3, 7, seed=3)
    weights = jax.nn.softmax(q @ k + bias, axis=-1)
    np.testing.assert_allclose(primitives.attend(q, k, v, bias), weights @ v, atol=1e-5)


def test_attention_survives_large_logits():
    q, k, v = 100.0 * normal(1, 3, 5), 100.0 * normal(1, 5, 7), normal(1, 7, 5)
    assert jnp.isfinite(primitives.attend(q, k, v, jnp.zeros((1, 3, 7)))).all()


def self_attention(network_tests, x, mask, pair_bias=None):
    def run(x, mask):
        weights = primitives.AttentionParameters(3, 6, name="attention")(5, 5, 5, x.dtype)
        return primitives.self_attention(x, mask, weights, pair_bias)

    return network_tests.apply_random(run, x, mask)


def test_masked_keys_are_not_read(network_tests):
    x, mask = normal(2, 7, 5), jnp.ones((2, 7)).at[:, 4].set(0.0)
    other = x.at[:, 4].set(99.0)
    keep = jnp.array([0, 1, 2, 3, 5, 6])
    a, b = (self_attention(network_tests, y, mask)[:, keep] for y in (x, other))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("limit", [1, 15, 30, 1000])
@pytest.mark.parametrize("axis", [0, 1])
def test_chunks_change_nothing(monkeypatch, limit, axis):
    """Neither in results nor in gradients, also where the last chunk overlaps the one before."""
    x, y = normal(11, 11, 3), normal(11, 11, seed=1)

    def both(x, y):
        return {"product": x * y[..., None], "sum": jnp.sum(jnp.sin(x), axis=-1) + y}

    def chunked(x, y):
        return primitives.in_chunks(both, (x, y), (axis, axis), out_axis=axis, elements=5)

    def gradient(function):
        return jax.grad(lambda x: sum(jnp.sum(jnp.square(part)) for part in function(x, y).values()))(x)

    monkeypatch.setattr(primitives, "CPU_WHOLE", 0)
    monkeypatch.setattr(primitives, "CPU_CHUNK", limit)
    for a, b in zip(jax.tree.leaves(chunked(x, y)), jax.tree.leaves(both(x, y)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(gradient(chunked), gradient(both), atol=1e-5)


@pytest.mark.parametrize("limit", [1, 15, 20, 1000])
@pytest.mark.parametrize("axis", [0, 1])
def test_updates_in_place_change_nothing(monkeypatch, limit, axis):
    """Neither in results nor in gradients; no position is updated twice where the last chunk overlaps."""
    x, y, keep = normal(11, 11, 3), normal(11, 11, seed=1), normal(1, 11, 3) if axis == 0 else normal(11, 1, 3)

    def update(x, y):
        return jnp.sin(x) * y[..., None]

    def made(x, y):
        return primitives.updated(x, update, ((y, axis),), axis=axis, elements=5, keep=keep)

    def whole(x, y):
        return x + update(x, y) * keep

    monkeypatch.setattr(primitives, "CPU_WHOLE", 0)
    monkeypatch.setattr(primitives, "CPU_CHUNK", limit)
    np.testing.assert_allclose(made(x, y), whole(x, y), atol=1e-6)
    for argument in (0, 1):
        a, b = (jax.grad(lambda *z: jnp.sum(jnp.square(f(*z))), argument)(x, y) for f in (made, whole))  # noqa: B023
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_dropout_shares_its_mask():
    drop = hk.transform(lambda: primitives.keep_mask((5, 7, 997), 0.25, shared_axis=1))
    keep = drop.apply({}, jax.random.key(0))
    assert keep.shape == (5, 1, 997)
    assert keep.mean() == pytest.approx(1.0, abs=0.03)
    assert set(np.unique(keep)) == {np.float32(0.0), np.float32(1 / 0.75)}


def test_no_dropout_needs_no_key():
    assert hk.transform(lambda: primitives.keep_mask((2, 3), 0.0, shared_axis=1)).apply({}, None) is None
