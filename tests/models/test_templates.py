"""Laws of the template branch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import templates
from models.config import PRESETS

pytestmark = pytest.mark.usefixtures("strict_types")
N, C_Z = 7, 8


@pytest.fixture(scope="module")
def config(network_tests):
    return network_tests.tiny(PRESETS["model_1"]).evoformer.template


@pytest.fixture(scope="module")
def batch(network_tests):
    batch = network_tests.random_batch(network_tests.tiny(PRESETS["model_1"]), N)
    return {name: array[0] for name, array in batch.items()}


def embed(network_tests, config, batch):
    found = templates.Template.from_batch(batch)
    embedding = lambda x: templates.TemplateEmbedding(config, C_Z).embed(x, jnp.ones((N, N)))  # noqa: E731
    return network_tests.apply_random(embedding, found)


def test_each_template_is_embedded_alone(network_tests, config, batch):
    both = embed(network_tests, config, batch)
    turned = embed(network_tests, config, {n: x[::-1] if n.startswith("template") else x for n, x in batch.items()})
    np.testing.assert_allclose(both[::-1], turned, atol=1e-5)


def test_rigid_motion_changes_nothing(network_tests, config, batch):
    turn = jnp.linalg.qr(jnp.asarray(np.random.default_rng(0).normal(size=(3, 3)), jnp.float32))[0]
    turn = turn * jnp.linalg.det(turn)
    moved = {n: x @ turn + 5.0 if "positions" in n or n == "template_pseudo_beta" else x for n, x in batch.items()}
    config = dataclasses.replace(config, unit_vectors=True)
    np.testing.assert_allclose(embed(network_tests, config, moved), embed(network_tests, config, batch), atol=1e-3)


def test_unit_vectors_are_read(network_tests, config, batch):
    with_vectors = dataclasses.replace(config, unit_vectors=True)
    assert not np.allclose(embed(network_tests, with_vectors, batch), embed(network_tests, config, batch))


def test_residues_without_backbone_are_blank(network_tests, config, batch):
    """Where N, CA or C is missing, neither type nor position counts."""
    blank = batch | {"template_all_atom_masks": batch["template_all_atom_masks"].at[:, 3, 2].set(0.0)}
    other = blank | {
        "template_aatype": blank["template_aatype"].at[:, 3].set(5),
        "template_pseudo_beta": blank["template_pseudo_beta"].at[:, 3].set(1.0),
    }
    np.testing.assert_array_equal(embed(network_tests, config, blank), embed(network_tests, config, other))


def attend(network_tests, config, pairs, mask):
    pair = jax.random.normal(jax.random.key(1), (C_Z, N, N))
    return network_tests.apply_random(lambda p: templates.TemplateEmbedding(config, C_Z)(p, pairs, mask), pair)


def test_masked_templates_are_not_read(network_tests, config):
    pairs = jax.random.normal(jax.random.key(0), (3, config.c_t, N, N))
    mask = jnp.array([1.0, 0.0, 1.0])
    a, b = (attend(network_tests, config, x, mask) for x in (pairs, pairs.at[1].set(9.0)))
    np.testing.assert_array_equal(a, b)
    alone = attend(network_tests, config, pairs[jnp.array([0, 2])], jnp.ones(2))
    np.testing.assert_allclose(a, alone, atol=1e-5)


def test_no_template_is_no_update(network_tests, config):
    pairs = jax.random.normal(jax.random.key(0), (3, config.c_t, N, N))
    np.testing.assert_array_equal(attend(network_tests, config, pairs, jnp.zeros(3)), 0.0)


def test_torsion_rows(network_tests, config, batch):
    found = templates.Template.from_batch(batch)
    found = found._replace(atom_mask=found.atom_mask.at[0, 2].set(0.0))

    def run(config):
        return network_tests.apply_random(
            lambda x: templates.embed_torsions(x, config, 10, jnp.dtype("float32")), found
        )

    rows, mask = run(config)
    assert rows.shape == (2, N, 10)
    np.testing.assert_array_equal(mask[0], (jnp.arange(N) != 2).astype(jnp.float32))
    masked, _ = run(dataclasses.replace(config, mask_undefined_torsions=True))
    assert not np.allclose(masked[:, 0], rows[:, 0])  # the first residue has no pre-omega and no phi
