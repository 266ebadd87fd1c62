"""Distillation: the mean of the teachers is the aim, and nothing else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import params
from models.config import HeadsConfig
from training import distillation

N, BINS = 4, 5
LOGITS = np.random.default_rng(0).normal(size=(2, N, N, BINS)).astype(np.float32)


def lesson(logits, seq_mask=None, taught=LOGITS):
    return distillation.lesson(jnp.asarray(logits), jnp.ones(N) if seq_mask is None else seq_mask, list(taught))


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
    found = jax.grad(lambda taught: lesson(LOGITS[0], taught=[taught]))(jnp.asarray(LOGITS[1]))
    assert not np.asarray(found).any()


def written(path, config, seed):
    rng = np.random.default_rng(seed)
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in params.shapes(config).items()}
    params.save(path, params.nested(arrays), config, {"training": {"step": seed}})
    return path


def switched(config, **heads):
    return dataclasses.replace(config, heads=dataclasses.replace(config.heads, **heads))


SWITCHES = {field.name for field in dataclasses.fields(HeadsConfig) if isinstance(field.default, bool)}
OPTIONAL = {**dict.fromkeys(SWITCHES - {"handedness"}, (True, False)), "pae_bins": (64, 0), "torsion_bins": (12, 0)}


@pytest.mark.parametrize("head", sorted(OPTIONAL))
def test_a_teacher_may_lack_a_head_or_have_another(tmp_path, smallest, head):
    configs = [switched(smallest, **{head: value}) for value in OPTIONAL[head]]
    files = [written(tmp_path / f"{seed}.npz", config, seed) for seed, config in enumerate(configs)]
    for student in configs:
        teachers = distillation.read(files, student)
        assert [about["step"] for about in teachers.about] == [0, 1]
        assert len(set(teachers.sha256)) == 2
        assert params.shapes(teachers.config).keys() <= params.shapes(configs[1]).keys()


def test_a_teacher_may_not_lack_what_distances_come_from(tmp_path, smallest):
    path = written(tmp_path / "teacher.npz", smallest, 0)
    with pytest.raises(params.ParameterFileError, match="handedness_head"):
        distillation.read([path], switched(smallest, handedness=True))
