"""Distillation: the mean of the teachers is the aim, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from training import distillation

N, BINS = 4, 5
LOGITS = np.random.default_rng(0).normal(size=(2, N, N, BINS)).astype(np.float32)
TEACHERS = tuple({"distogram_head": {"bias": jnp.asarray(logits)}} for logits in LOGITS)


def network(weights):
    return {"distogram": {"logits": weights["distogram_head"]["bias"]}}


def lesson(logits, seq_mask=None, teachers=TEACHERS):
    seq_mask = jnp.ones(N) if seq_mask is None else seq_mask
    return distillation.lesson(jnp.asarray(logits), seq_mask, network, teachers)


def test_the_best_answer_is_the_mean_of_the_teachers():
    best = np.log(jax.nn.softmax(LOGITS).mean(axis=0))
    entropy = -(np.exp(best) * best).sum(axis=-1).mean()
    assert lesson(best) == pytest.approx(entropy, rel=1e-5)
    assert np.abs(jax.grad(lesson)(jnp.asarray(best))).max() < 1e-6
    assert min(lesson(LOGITS[0]), lesson(LOGITS[1])) > entropy


def test_padding_does_not_count():
    seq_mask, changed = jnp.array([1.0, 1, 1, 0]), LOGITS[0].copy()
    changed[:, 3] += 7 * np.arange(BINS)
    changed[3] -= 7 * np.arange(BINS)
    assert lesson(changed, seq_mask) == pytest.approx(float(lesson(LOGITS[0], seq_mask)), rel=1e-6)
    assert lesson(changed) > lesson(LOGITS[0]) + 0.1


def test_no_gradient_flows_to_the_teachers():
    found = jax.grad(lambda teacher: lesson(LOGITS[0], teachers=(teacher,)))(TEACHERS[1])
    assert not np.asarray(found["distogram_head"]["bias"]).any()


def test_digests_tell_teachers_apart():
    one, other = distillation.digest(TEACHERS)
    assert one != other
    assert distillation.digest(TEACHERS[:1]) == [one]
