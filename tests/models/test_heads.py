"""Names and shapes as published; symmetry of the distogram; bins."""

import json

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import confidence, heads, losses
from models.config import PRESETS, HeadsConfig

CONFIG = HeadsConfig(torsion_bins=11)
N, S = 7, 5


def all_heads(config=CONFIG, c_z=128, c_s=384, c_m=256):
    def run():
        rng = np.random.default_rng(0)
        pair, single = (jnp.asarray(rng.normal(size=x), jnp.float32) for x in ((c_z, N, N), (N, c_s)))
        msa = jnp.asarray(rng.normal(size=(S, N, c_m)), jnp.float32)
        return {
            "distogram": heads.DistogramHead(config)(pair),
            "predicted_lddt": heads.PredictedLddtHead(config)(single),
            "predicted_aligned_error": heads.PredictedAlignedErrorHead(config)(pair),
            "experimentally_resolved": heads.ExperimentallyResolvedHead()(single),
            "masked_msa": heads.MaskedMsaHead()(msa),
            "handedness": heads.HandednessHead()(single),
            "torsions": heads.TorsionHead(config)(single),
            "hydrogen_bonds": heads.HydrogenBondHead()(pair),
        }

    return hk.transform(run)


def test_parameters_have_the_published_names_and_shapes(shared):
    spec = json.loads((shared / "parity" / "params" / "spec_model_1_ptm.json").read_text())
    scope = "alphafold/alphafold_iteration/"
    published = {key.removeprefix(scope): tuple(shape) for key, shape in spec if "_head/" in key}
    ours = jax.eval_shape(all_heads().init, jax.random.key(0))
    flat = {f"{module}//{leaf}": x.shape for module, leaves in ours.items() for leaf, x in leaves.items()}
    own = {
        "handedness_head/logits//weights": (384, 2),
        "handedness_head/logits//bias": (2,),
        "torsion_head/input_layer_norm//scale": (384,),
        "torsion_head/input_layer_norm//offset": (384,),
        "torsion_head/logits//weights": (384, 22),
        "torsion_head/logits//bias": (22,),
        "hydrogen_bond_head/logits//weights": (128, 1),
        "hydrogen_bond_head/logits//bias": (1,),
    }
    assert flat == published | own


def test_shapes_and_symmetry():
    out = run()
    shapes = {name: head.get("logits", head.get("sin_cos")).shape for name, head in out.items()}
    assert shapes == {
        "distogram": (N, N, 64),
        "predicted_lddt": (N, 50),
        "predicted_aligned_error": (N, N, 64),
        "experimentally_resolved": (N, 37),
        "masked_msa": (S, N, 23),
        "handedness": (N, 2),
        "torsions": (N, 2, 11),
        "hydrogen_bonds": (N, N),
    }
    logits = np.asarray(out["distogram"]["logits"])
    np.testing.assert_allclose(logits, np.swapaxes(logits, 0, 1), atol=1e-5)
    pae = np.asarray(out["predicted_aligned_error"]["logits"])
    assert not np.allclose(pae, np.swapaxes(pae, 0, 1), atol=1e-2)


def run():
    network = all_heads(c_z=6, c_s=9, c_m=4)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    rng = np.random.default_rng(1)
    return jax.jit(network.apply)(jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), shapes), None)


def test_pair_logits_are_the_plain_map():
    rng = np.random.default_rng(3)
    pair = jnp.asarray(rng.normal(size=(6, N, N)), jnp.float32)
    weights, bias = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((6, 64), (64,)))
    half = np.einsum("cij,cb->ijb", pair, weights) + bias
    network = hk.transform(lambda: heads.DistogramHead(CONFIG)(pair))
    logits = network.apply({"distogram_head/half_logits": {"weights": weights, "bias": bias}}, None)["logits"]
    np.testing.assert_allclose(logits, half + np.swapaxes(half, 0, 1), atol=1e-4)


def test_expected_torsions_go_around_and_nothing_is_impossible():
    logits = jnp.full((1, 2, 11), -1e3).at[:, :, 0].set(1e3)
    found = np.exp(heads.torsion_log_densities(logits))
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)
    assert found.min() > 1e-3
    np.testing.assert_allclose(found[..., 1], found[..., -1], rtol=1e-5)
    assert (found[..., 0] > found[..., 1]).all()
    assert (found[..., 1] > found[..., 2]).all()


def test_errors_of_mini_are_read_as_the_loss_counts_them():
    config = PRESETS["mini"].heads
    errors = np.arange(0.03, 31.4, 0.1, np.float32)
    bins = np.asarray(losses.bin_of(jnp.asarray(errors), jnp.asarray(heads.pae_edges(config), jnp.float32)))
    logits = np.where(np.arange(config.pae_bins) == bins[:, None], 0.0, -1e9)
    read = confidence.predicted_aligned_error(logits[None], heads.pae_edges(config) + config.pae_lowest)[0]
    np.testing.assert_allclose(read, errors, atol=0.2501)


@pytest.mark.parametrize(
    ("edges", "first", "last"), [(heads.distogram_edges(CONFIG), 2.3125, 21.6875), (heads.pae_edges(CONFIG), 0.0, 31.0)]
)
def test_edges_are_equal_steps(edges, first, last):
    assert (edges[0], edges[-1]) == (first, last)
    assert len(edges) == 63
    np.testing.assert_allclose(np.diff(edges), (last - first) / 62)
