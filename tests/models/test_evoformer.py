"""The stacks: golden values of whole blocks, and laws of the trunk."""

from pathlib import Path

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import alphafold, evoformer
from models.config import PRESETS
from models.evoformer import Activations, Masks

pytestmark = pytest.mark.usefixtures("strict_types")
TRUNK = PRESETS["model_1_ptm"].evoformer
BLOCKS = {"evoformer_iteration": TRUNK.block, "extra_msa_stack": TRUNK.extra_msa.block}


@pytest.mark.parametrize("stack", BLOCKS)
def test_golden_block(stack, network_tests):
    golden = np.load(Path(__file__).parent / "golden" / f"{stack}.npz")
    msa, pair, msa_mask, pair_mask = (jnp.asarray(golden[key]) for key in ("msa", "pair", "msa_mask", "pair_mask"))
    x, masks = Activations(msa, jnp.moveaxis(pair, -1, 0)), Masks(msa_mask, pair_mask)
    scope = f"alphafold/alphafold_iteration/evoformer/{stack}"
    out = network_tests.apply_seeded(lambda: evoformer.block(x, masks, BLOCKS[stack]), scope)
    for name, found in (("msa", out.msa), ("pair", jnp.moveaxis(out.pair, 0, -1))):
        atol = 20 * golden[f"noise/block_{name}"]
        np.testing.assert_allclose(found[..., ::16], golden[f"out/block_{name}"], rtol=0, atol=atol)


@pytest.fixture(scope="module")
def config(network_tests):
    return network_tests.tiny(PRESETS["model_1"])


def trunk(config, batch, remat=False):
    model = evoformer.Evoformer(config.evoformer, remat=remat)
    pairs = model.embed_templates(batch) if config.evoformer.template else None
    return model(batch, alphafold.initial_state(config, len(batch["aatype"])), pairs)


def run(network_tests, config, batch):
    return network_tests.apply_random(lambda b: trunk(config, b), batch, scale=0.2)


def first(network_tests, config, length=5):
    return {name: array[0] for name, array in network_tests.random_batch(config, length).items()}


def test_padding_changes_nothing(network_tests, config):
    """Masked residues, MSA rows and extra rows do not reach the real ones."""
    batch = first(network_tests, config, 7)
    real = jnp.arange(7) < 5
    names = ("seq_mask", "msa_mask", "extra_msa_mask", "template_pseudo_beta_mask")
    padded = {n: x * real.astype(x.dtype) if n in names else x for n, x in batch.items()}
    padded["template_all_atom_masks"] = batch["template_all_atom_masks"] * real[None, :, None].astype(jnp.float32)
    residue_axis = {"aatype": 0, "residue_index": 0, "seq_mask": 0, "target_feat": 0, "template_mask": None}
    short = {
        n: x if residue_axis.get(n, 1) is None else jax.lax.slice_in_dim(x, 0, 5, axis=residue_axis.get(n, 1))
        for n, x in padded.items()
    }
    long, cut = run(network_tests, config, padded), run(network_tests, config, short)
    np.testing.assert_allclose(long.msa[:, :5], cut.msa, atol=2e-4)
    np.testing.assert_allclose(long.pair[:, :5, :5], cut.pair, atol=2e-4, rtol=1e-4)


def test_stack_is_the_block_repeated(network_tests, config):
    """Parameters of the blocks lie on the first axis, in order."""
    batch = first(network_tests, config)
    x = Activations(jnp.ones((3, 5, 10)), jax.random.normal(jax.random.key(0), (8, 5, 5)))
    masks = Masks(batch["msa_mask"], jnp.ones((5, 5)))

    def one(x):
        return evoformer.block(x, masks, config.evoformer.block)

    stacked = hk.transform(lambda x: evoformer.stack(one, x, 3, name="some_stack", remat=False))
    shapes = jax.eval_shape(stacked.init, jax.random.key(0), x)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda p: rng.normal(scale=0.2, size=p.shape).astype(np.float32), shapes)
    assert all(scope.startswith("some_stack/") for scope in params)
    expected = x
    for i in range(3):
        block = {scope.removeprefix("some_stack/"): {k: v[i] for k, v in p.items()} for scope, p in params.items()}
        expected = jax.jit(hk.transform(one).apply)(block, None, expected)
    found = jax.jit(stacked.apply)(params, None, x)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3, rtol=1e-4)


def test_recomputing_gives_the_same_gradient(network_tests):
    config = network_tests.tiny(PRESETS["mini"]).evoformer.block
    x = Activations(jnp.ones((2, 5, 10)), jax.random.normal(jax.random.key(0), (8, 5, 5)))
    masks = Masks(jnp.ones((2, 5)), jnp.ones((5, 5)))

    def gradient(remat):
        block = lambda x: evoformer.block(x, masks, config)  # noqa: E731
        network = hk.transform(lambda x: evoformer.stack(block, x, 2, name="a", remat=remat).pair)
        params = jax.tree.map(lambda p: p.shape, jax.eval_shape(network.init, jax.random.key(0), x))
        params = jax.tree.map(lambda shape: jnp.full(shape, 0.1), params, is_leaf=lambda p: isinstance(p, tuple))
        return jax.jit(jax.grad(lambda p: network.apply(p, None, x)[:, 1, 2].sum()))(params)

    for a, b in zip(jax.tree.leaves(gradient(False)), jax.tree.leaves(gradient(True)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
