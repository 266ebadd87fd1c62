"""Golden: module outputs of the published code in float64 (bar: 20 times its float32 noise); names; laws."""

import dataclasses
import json

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import geometry, structure
from models import residue_constants as rc
from models.config import StructureConfig
from models.geometry import Rigid

SCOPE = "alphafold/alphafold_iteration/"
SMALL = StructureConfig(
    c=18, layers=2, heads=2, scalar_channels=5, query_points=3, value_points=2, torsion_channels=7, dropout=0.25
)
N, C_Z = 13, 6
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # to compile, not to run


@pytest.fixture(scope="module")
def reference(shared):
    folder = shared / "parity" / "cases"
    return np.load(folder / "modules.npz"), json.loads((folder / "modules.noise.json").read_text())


@pytest.fixture(scope="module")
def published_weights(shared, network_tests):
    """Return the seeded parameters of model_1_ptm's structure module, as `make_params.py` has them."""
    spec = json.loads((shared / "parity" / "params" / "spec_model_1_ptm.json").read_text())
    params = {}
    for key, shape in spec:
        if not key.startswith(f"{SCOPE}structure_module/"):
            continue
        scope, leaf = key.split("//")
        mean, std = spread(scope.split("/")[-1], leaf, shape)
        value = mean + std * 3**0.5 * network_tests.uniform(7, key, -1, tuple(shape))
        params.setdefault(scope.removeprefix(SCOPE), {})[leaf] = jnp.asarray(value, jnp.float32)
    return params


def spread(module, leaf, shape):
    fixed = {"scale": (1.0, 0.15), "offset": (0.0, 0.1), "trainable_point_weights": (0.541324854612918, 0.3)}
    if leaf in fixed:
        return fixed[leaf]
    if leaf == "bias":
        return 0.0, {"affine_update": 0.02, "unnormalized_angles": 0.3}.get(module, 0.1)
    gain = {"output_projection": 0.6, "transition_2": 0.6, "affine_update": 0.25}
    gain |= {"transition": 2**0.5, "transition_1": 2**0.5}
    return 0.0, gain.get(module, 1.0) / np.sqrt(shape[0])


def judge(reference, name, value):
    numbers, noise = reference
    bar = max(20 * noise[name]["f32_maxabs"], 2e-6 * noise[name]["absmax"])
    np.testing.assert_allclose(np.asarray(value), numbers[name], rtol=0, atol=bar, err_msg=name)


def frames_of(affine):
    return Rigid(turned(jnp.asarray(affine[..., :4])), jnp.asarray(affine[..., 4:]))


class Scope(hk.Module):
    def __call__(self):
        return structure.FoldParameters(StructureConfig())(128, jnp.dtype(jnp.float32))


def fold_weights(params):
    def run():
        return Scope(name="structure_module")()

    return hk.transform(run).apply(params, None)


def test_golden_attention(reference, published_weights):
    inputs = [reference[0][f"sm.invariant_point_attention/in/{i}"] for i in range(4)]
    weights = fold_weights(published_weights).ipa

    @jax.jit
    def run(single, pair, mask, affine):
        terms = structure.pair_terms(weights, jnp.moveaxis(pair, -1, 0), mask)
        return structure.invariant_point_attention(weights, StructureConfig(), single, terms, frames_of(affine))

    judge(reference, "sm.invariant_point_attention/out/", run(*inputs)[:11])


def test_golden_side_chains(reference, published_weights):
    affine, single, initial = (reference[0][f"sm.rigid_sidechain/in/{i}"] for i in range(3))
    weights = fold_weights(published_weights).side_chain

    @jax.jit
    def run(affine, single, initial):
        sin_cos, raw = structure.side_chain_torsions(weights, single, initial)
        return sin_cos, raw, structure.place_atoms(jnp.arange(13), frames_of(affine).scaled(10.0), sin_cos)[1]

    sin_cos, raw, atoms = run(affine, single, initial)
    judge(reference, "sm.rigid_sidechain/out/angles_sin_cos", sin_cos[:11])
    judge(reference, "sm.rigid_sidechain/out/unnormalized_angles_sin_cos", raw[:11])
    judge(reference, "sm.rigid_sidechain/out/atom_pos", atoms[:11])


def test_golden_structure_module(reference, published_weights):
    single, pair, mask = (reference[0][f"sm.structure_module/in/{i}"] for i in range(3))

    def run(*args):
        return structure.StructureModule(StructureConfig())(*args)

    apply = jax.jit(hk.transform(run).apply)
    out = apply(published_weights, None, single, np.moveaxis(pair, -1, 0), jnp.arange(13), mask)
    judge(reference, "sm.structure_module/out/act", out["act"][:11])
    judge(reference, "sm.structure_module/out/angles", out["sidechains"]["angles_sin_cos"][:, :11])
    judge(reference, "sm.structure_module/out/final_atom_positions", out["final_atom_positions"][:11])
    expected = frames_of(reference[0]["sm.structure_module/out/traj"])
    noise = reference[1]["sm.structure_module/out/traj"]["f32_maxabs"]
    np.testing.assert_allclose(out["rotations"][:, :11], expected.rotation, atol=20 * noise)
    np.testing.assert_allclose(out["translations"][:, :11], expected.translation, atol=20 * noise)


def test_parameters_have_the_published_names_and_shapes(published_weights):
    network = hk.transform(
        lambda: structure.StructureModule(StructureConfig())(
            jnp.zeros((3, 384)), jnp.zeros((128, 3, 3)), jnp.zeros(3, int), jnp.ones(3)
        )
    )
    ours = jax.eval_shape(network.init, jax.random.key(0))
    assert jax.tree.map(jnp.shape, ours) == jax.tree.map(jnp.shape, published_weights)


# Laws, on a small module with random parameters -------------------------------------------------------------------


def small_inputs(n=N, seed=2):
    rng = np.random.default_rng(seed)
    return (
        jnp.asarray(rng.normal(size=(n, 18)), jnp.float32),
        jnp.asarray(rng.normal(size=(C_Z, n, n)), jnp.float32),
        jnp.asarray(rng.integers(0, 20, n)),
        jnp.ones(n),
    )


turned = jax.jit(geometry.rotation_from_quaternion)


def random_frames(n=N, seed=4):
    rng = np.random.default_rng(seed)
    return Rigid(
        turned(jnp.asarray(rng.normal(size=(n, 4)), jnp.float32)),
        jnp.asarray(rng.normal(size=(n, 3)) * 9, jnp.float32),
    )


@pytest.fixture(scope="module")
def small():
    network = hk.transform(lambda *args, dropout=False: structure.StructureModule(SMALL)(*args, dropout=dropout))
    shapes = jax.eval_shape(network.init, jax.random.key(0), *small_inputs())
    rng = np.random.default_rng(9)
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape) * 0.3, jnp.float32), shapes)
    run = jax.jit(network.apply, static_argnames="dropout")
    return lambda *args, key=None, dropout=False: run(params, key, *args, dropout=dropout)


def test_moving_the_start_moves_the_structure(small):
    start, motion = random_frames(), jax.tree.map(lambda x: x[0], random_frames(1, seed=6))
    plain, moved = (small(*small_inputs(), tuple(f)) for f in (start, jax.jit(Rigid.compose)(motion, start)))
    np.testing.assert_allclose(moved["act"], plain["act"], atol=2e-4)
    expected = motion.apply(plain["final_atom14_positions"]) * plain["final_atom14_mask"][..., None]
    np.testing.assert_allclose(moved["final_atom14_positions"], expected, atol=5e-3)


def test_padding_changes_nothing(small):
    single, pair, aatype, mask = small_inputs()
    start = random_frames()
    mask = mask.at[9:].set(0)
    plain = small(single, pair, aatype, mask, tuple(start))
    junk = small(
        single.at[9:].add(3), pair.at[:, 9:].add(2).at[:, :, 9:].add(-5), aatype.at[9:].set(4), mask, tuple(start)
    )
    np.testing.assert_allclose(junk["act"][:9], plain["act"][:9], atol=2e-5)
    np.testing.assert_allclose(junk["final_atom_positions"][:9], plain["final_atom_positions"][:9], atol=2e-4)
    assert np.all(np.asarray(plain["final_atom_mask"])[9:] == 0)


def test_residues_may_come_in_any_order(small):
    single, pair, aatype, mask = small_inputs()
    start, order = random_frames(), np.random.default_rng(1).permutation(N)
    plain = small(single, pair, aatype, mask, tuple(start))
    shuffled = small(
        single[order], pair[:, order][:, :, order], aatype[order], mask, jax.tree.map(lambda x: x[order], tuple(start))
    )
    np.testing.assert_allclose(shuffled["final_atom14_positions"], plain["final_atom14_positions"][order], atol=5e-4)


def test_outputs_are_consistent(small):
    single, pair, aatype, mask = small_inputs()
    out = small(single, pair, aatype, mask, tuple(random_frames()))
    assert out["rotations"].shape == (2, N, 3, 3)
    np.testing.assert_allclose(jnp.linalg.det(out["rotations"]), 1, atol=1e-5)
    np.testing.assert_allclose(out["translations"][-1], out["final_atom_positions"][:, rc.ATOM37_ID["CA"]], atol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(out["sidechains"]["angles_sin_cos"], axis=-1), 1, atol=1e-5)
    np.testing.assert_array_equal(out["final_atom14_mask"], rc.ATOM14_MASK[aatype])
    frames = out["sidechains"]["frames"]
    np.testing.assert_allclose(frames.rotation[:, 0], out["rotations"][-1], atol=1e-6)


def test_dropout_is_random_and_drops_at_its_rate():
    """As initialised, attention and transition add nothing: an iteration is dropout and layer norm, twice."""
    config = dataclasses.replace(SMALL, c=211)
    parameters = hk.transform(lambda: structure.FoldParameters(config)(C_Z, jnp.dtype(jnp.float32)))
    weights = parameters.apply(parameters.init(jax.random.key(0)), None)
    single = jnp.asarray(np.random.default_rng(5).normal(size=(N, config.c)), jnp.float32)
    terms = structure.pair_terms(weights.ipa, small_inputs()[1], jnp.ones(N))

    def run(key):
        return np.asarray(structure.fold_iteration(weights, config, terms, (single, random_frames()), key)[0])

    first, again, other = (run(jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert share_of_equals(run(None)) == 0
    assert share_of_equals(first) == pytest.approx(1 - (1 - config.dropout) ** 2, abs=0.04)


def share_of_equals(rows):
    """Return the share of numbers that stand in their row more than once: what is dropped is 0 before a layer norm."""
    counts = np.concatenate([np.unique(row, return_counts=True)[1] for row in rows])
    return counts[counts > 1].sum() / rows.size


def test_dropout_needs_a_key(small):
    inputs = small_inputs()
    out = jax.eval_shape(lambda: small(*inputs, key=jax.random.key(0), dropout=True))
    assert out["act"].shape == (N, 18)
    with pytest.raises(ValueError, match="non-None PRNGKey"):
        jax.eval_shape(lambda: small(*inputs, dropout=True))


def test_no_start_means_all_at_the_origin_and_gradients_are_finite_there(small):
    single, pair, aatype, mask = small_inputs()

    def loss(single, pair):
        positions = small(single, pair, aatype, mask)["final_atom_positions"]
        return jnp.sum(jnp.square(positions)), positions

    gradients, positions = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True), compiler_options=QUICK)(single, pair)
    assert all(np.isfinite(g).all() and np.abs(g).max() > 0 for g in gradients)
    origin = small(single, pair, aatype, mask, tuple(geometry.identity((N,))))
    np.testing.assert_allclose(positions, origin["final_atom_positions"], atol=1e-4)


def test_rotations_pass_no_gradient_between_iterations():
    """The update of the first iteration reaches the last translation directly, not through the turned frames."""
    frames = random_frames(5)
    update = jnp.zeros((5, 6))

    def after_two(first):
        frames_1 = structure.update_backbone(first, frames)
        frames_1 = frames_1._replace(rotation=jax.lax.stop_gradient(frames_1.rotation))
        return jnp.sum(structure.update_backbone(update + 1.0, frames_1).translation)

    gradient = jax.jit(jax.grad(after_two))(update)
    assert np.all(np.asarray(gradient)[:, :3] == 0)
    assert np.all(np.abs(np.asarray(gradient)[:, 3:]).max(1) > 0)
