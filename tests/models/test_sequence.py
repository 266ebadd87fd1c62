"""Laws of the convolutions along the chain: padding, reach, and that they begin as nothing."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.config import SequenceConfig
from models.sequence import SequenceTrack, windows

pytestmark = pytest.mark.usefixtures("strict_types")
CONFIG = SequenceConfig(repeats=2, dilations=(1, 3), kernel=3, channels=5)
N, C, REACH = 29, 6, 2 * (1 + 3)


def row(seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(N, C)), jnp.float32)


def run(network_tests, row, mask=None):
    mask = jnp.ones(len(row)) if mask is None else mask
    return network_tests.apply_random(lambda *x: SequenceTrack(CONFIG)(*x), row, mask)  # noqa: PLW0108 - a module


def test_windows_hold_the_neighbours_in_order():
    found = np.asarray(windows(jnp.arange(1.0, 6.0)[:, None], 3, 2))
    np.testing.assert_array_equal(found, [[0, 1, 3], [0, 2, 4], [1, 3, 5], [2, 4, 0], [3, 5, 0]])


def test_padding_changes_nothing(network_tests):
    padded = jnp.pad(row(), ((0, 7), (0, 0)), constant_values=3.0)
    mask = jnp.pad(jnp.ones(N), (0, 7))
    np.testing.assert_allclose(run(network_tests, padded, mask)[:N], run(network_tests, row()), atol=1e-5)


def test_a_residue_reaches_its_neighbours_only(network_tests):
    changed = row().at[3, 2].add(1.0)
    different = np.abs(np.asarray(run(network_tests, changed) - run(network_tests, row()))).max(axis=-1) > 1e-6
    assert different[: 3 + REACH + 1].all()
    assert not different[3 + REACH + 1 :].any()


def test_it_begins_as_nothing():
    network = hk.transform(lambda x: SequenceTrack(CONFIG)(x, jnp.ones(len(x))))
    params = network.init(jax.random.key(0), row())
    np.testing.assert_array_equal(network.apply(params, None, row()), row())
