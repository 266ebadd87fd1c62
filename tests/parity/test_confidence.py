"""pLDDT, predicted aligned error and pTM by the published formulas, on random logits."""

import jax.numpy as jnp
import numpy as np
import pytest

from models import confidence

EDGES = np.linspace(0.0, 31.0, 63)
LENGTHS = (1, 5, 18, 19, 20, 37, 101)  # below 19 residues the length in d0 is held


@pytest.fixture
def published(parity):
    from alphafold.common import confidence as theirs  # noqa: PLC0415 - not everywhere installed

    return theirs


def logits(*shape, scale=3.0):
    return np.random.default_rng(sum(shape)).normal(size=shape, scale=scale)


@pytest.mark.parametrize("scale", [0.1, 3.0, 60.0])
@pytest.mark.parametrize("length", LENGTHS)
def test_plddt(published, length, scale):
    x = logits(length, 50, scale=scale)
    np.testing.assert_allclose(confidence.plddt(x), published.compute_plddt(x), rtol=1e-6)


@pytest.mark.parametrize("scale", [0.1, 3.0, 60.0])
@pytest.mark.parametrize("length", LENGTHS)
def test_predicted_aligned_error(published, length, scale):
    x = logits(length, length, 64, scale=scale)
    expected = published.compute_predicted_aligned_error(x, EDGES)["predicted_aligned_error"]
    np.testing.assert_allclose(confidence.predicted_aligned_error(x, EDGES), expected, rtol=1e-6)


@pytest.mark.parametrize("padding", [0, 7])
@pytest.mark.parametrize("length", LENGTHS)
def test_predicted_tm_score(published, length, padding):
    x = logits(length + padding, length + padding, 64)
    mask = np.arange(length + padding) < length
    expected = published.predicted_tm_score(x, EDGES, mask.astype(float))
    assert confidence.predicted_tm_score(x, EDGES, mask) == pytest.approx(expected, rel=1e-6)
    if not padding:
        assert confidence.predicted_tm_score(x, EDGES) == pytest.approx(expected, rel=1e-6)


def test_in_single_precision(published):
    """Logits as the network gives them: both in float32, and the published formulas as the network runs them."""
    plddt_logits, pae_logits = logits(37, 50).astype(np.float32), logits(37, 37, 64).astype(np.float32)
    edges = EDGES.astype(np.float32)
    mask = np.ones(37, np.float32)
    for numbers, use_jnp in ((np.asarray, False), (jnp.asarray, True)):
        expected = published.compute_plddt(numbers(plddt_logits), use_jnp=use_jnp)
        np.testing.assert_allclose(confidence.plddt(plddt_logits), expected, rtol=1e-6)
        pae = published.compute_predicted_aligned_error(numbers(pae_logits), numbers(edges), use_jnp=use_jnp)
        found = confidence.predicted_aligned_error(pae_logits, edges)
        np.testing.assert_allclose(found, pae["predicted_aligned_error"], rtol=1e-6)
        score = published.predicted_tm_score(numbers(pae_logits), numbers(edges), numbers(mask), use_jnp=use_jnp)
        assert confidence.predicted_tm_score(pae_logits, edges, mask) == pytest.approx(float(score), rel=1e-6)
