"""Golden: the losses of the published AlphaFold 2 code on a real 29-residue chain with a gap, a missing residue, a
missing side chain and three residues whose atoms want renaming. Its torsion loss covers the chi angles only.
"""

import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import geometry, losses, objective, structure
from models import residue_constants as rc
from models.config import HeadsConfig, ModelConfig
from models.geometry import Rigid
from models.physics_losses import Densities

GOLDEN = dict(np.load(Path(__file__).parent / "golden" / "losses.npz", allow_pickle=False))
N = len(GOLDEN["aatype"])
AATYPE, RESIDUE_INDEX = jnp.asarray(GOLDEN["aatype"]), GOLDEN["residue_index"]
DISTOGRAM_EDGES, PAE_EDGES = np.linspace(2.3125, 21.6875, 63), np.linspace(0, 31, 63)


def logits(name):
    return jnp.asarray(GOLDEN[f"{name}_logits"] / 100.0)


@pytest.fixture(scope="module", autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def case(double):
    return types.SimpleNamespace(**jax.jit(make_case)())


def make_case():
    mask = GOLDEN["mask"].astype(float)
    positions = np.zeros((N, 37, 3))
    positions[mask > 0] = GOLDEN["positions"]
    raw = jnp.asarray(GOLDEN["raw_torsions"].astype(float))
    sin_cos = raw / jnp.linalg.norm(raw, axis=-1, keepdims=True)
    rotation = geometry.rotation_from_quaternion(jnp.asarray(GOLDEN["quaternions"].astype(float)))
    trajectory = Rigid(rotation, jnp.asarray(GOLDEN["translations"].astype(float)))
    last = Rigid(trajectory.rotation[-1], trajectory.translation[-1])
    frames, atoms = structure.place_atoms(AATYPE, last, sin_cos[-1])
    return {
        "positions": jnp.asarray(positions),
        "mask": jnp.asarray(mask),
        "truth": losses.truth_of(AATYPE, jnp.arange(N), jnp.asarray(positions), jnp.asarray(mask)),
        "trajectory": trajectory,
        "last": last,
        "raw": raw,
        "sin_cos": sin_cos,
        "frames": frames,
        "atoms": atoms,
        "exists": jnp.asarray(rc.ATOM14_MASK[AATYPE], float),
    }


def close(actual, name, rtol=2e-6, atol=2e-6):
    np.testing.assert_allclose(np.asarray(actual), GOLDEN[name], rtol=rtol, atol=atol)


def moved(frames, seed=1):
    rng = np.random.default_rng(seed)
    rotation = jax.jit(geometry.rotation_from_quaternion)(jnp.asarray(rng.normal(size=4)))
    motion = Rigid(rotation, jnp.asarray(rng.normal(size=3) * 50))
    return jax.jit(Rigid.compose)(motion, frames), motion


def test_golden_truth(case):
    expected = GOLDEN["gt_frames"].astype(float)
    exists = GOLDEN["gt_exists"]
    np.testing.assert_array_equal(case.truth.frame_mask, exists)
    rotation = expected[..., :9].reshape(N, 8, 3, 3)
    np.testing.assert_allclose(case.truth.frames.rotation[exists > 0], rotation[exists > 0], atol=2e-6)
    np.testing.assert_allclose(case.truth.frames.translation[exists > 0], expected[..., 9:][exists > 0], atol=2e-5)
    seen = GOLDEN["torsion_mask"][..., None]
    np.testing.assert_array_equal(case.truth.torsions.mask, GOLDEN["torsion_mask"])
    np.testing.assert_allclose(case.truth.torsions.sin_cos * seen, GOLDEN["torsions"] * seen, atol=1e-6)
    np.testing.assert_allclose(case.truth.torsions.alternative * seen, GOLDEN["alt_torsions"] * seen, atol=1e-6)


def test_golden_atoms_and_renaming(case):
    close(case.atoms, "atoms14", atol=2e-5)
    renamed = jax.jit(losses.rename)(AATYPE, case.truth, case.atoms)
    changed = np.abs(np.asarray(renamed.atom14 - case.truth.atom14)).max((1, 2)) > 0
    np.testing.assert_array_equal(changed, GOLDEN["alt_naming_is_better"] > 0)
    assert changed.sum() == 3


def test_golden_structure_losses(case):
    @jax.jit
    def found():
        renamed = losses.rename(AATYPE, case.truth, case.atoms)
        chi_only = case.truth.torsions._replace(mask=case.truth.torsions.mask.at[:, :3].set(0))
        return {
            "backbone_fape_clamped": losses.backbone_fape(case.trajectory, case.truth, 0.0)[0],
            "backbone_fape_unclamped": losses.backbone_fape(case.trajectory, case.truth, 1.0)[0],
            "side_chain_fape": losses.side_chain_fape(case.frames, case.atoms, renamed),
            "chi_loss": losses.torsion_loss(case.sin_cos, chi_only),
            "angle_norm_loss": losses.angle_norm_loss(case.raw, jnp.ones(N)),
        }

    for name, value in found().items():
        close(value, name)


def test_golden_head_losses(case):
    @jax.jit
    def found():
        beta, beta_mask = geometry.pseudo_beta(AATYPE, case.positions, case.mask)
        ca, ca_mask = case.positions[:, 1], case.mask[:, 1]
        return {
            "distogram_loss": losses.distogram_loss(logits("distogram"), jnp.asarray(DISTOGRAM_EDGES), beta, beta_mask),
            "lddt": losses.lddt(case.last.translation, ca, ca_mask),
            "plddt_loss": losses.plddt_loss(logits("plddt"), case.last.translation, ca, ca_mask),
            "pae_loss": losses.pae_loss(logits("pae"), jnp.asarray(PAE_EDGES), case.last, case.truth),
            "msa_loss": losses.masked_msa_loss(
                logits("msa"), jnp.asarray(GOLDEN["true_msa"]), jnp.asarray(GOLDEN["bert_mask"], float)
            ),
            "resolved_loss": losses.experimentally_resolved_loss(
                logits("resolved"), case.mask, jnp.asarray(rc.ATOM37_MASK[GOLDEN["aatype"]])
            ),
        }

    for name, value in found().items():
        close(value, name)


def test_fape_does_not_feel_rigid_motions(case):
    @jax.jit
    def both(trajectory, frames, atoms):
        renamed = losses.rename(AATYPE, case.truth, atoms)
        backbone = losses.backbone_fape(trajectory, case.truth, 0.1)[0]
        return backbone, losses.side_chain_fape(frames, atoms, renamed)

    trajectory, _ = moved(case.trajectory)
    frames, motion = moved(case.frames)
    before = both(case.trajectory, case.frames, case.atoms)
    after = both(trajectory, frames, motion.apply(case.atoms))
    np.testing.assert_allclose(after, before, rtol=1e-10)


def test_fape_feels_the_mirror_image(case):
    truth = Rigid(case.truth.frames.rotation[:, 0], case.truth.frames.translation[:, 0])
    mask = case.truth.frame_mask[:, 0]
    mirror = np.asarray(truth.translation) * [1, 1, -1]
    turn = np.array([[1, 1, -1], [1, 1, -1], [-1, -1, 1]])  # the mirrored frame, made right-handed again

    @jax.jit
    def score(frames):
        return losses.fape(losses.aligned_errors(frames, truth, frames.translation, truth.translation), mask, mask)

    assert score(truth) < 1.01e-3  # sqrt(epsilon) / scale
    assert score(Rigid(np.asarray(truth.rotation) * turn, mirror)) > 0.3


def test_aligned_errors_are_local_distances(case):
    truth = Rigid(case.truth.frames.rotation[:, 0], case.truth.frames.translation[:, 0])

    @jax.jit
    def both(frames):
        ours = frames.per_atom().apply_inverse(frames.translation)
        theirs = truth.per_atom().apply_inverse(truth.translation)
        direct = jnp.sqrt(jnp.sum(jnp.square(ours - theirs), -1) + 1e-4)
        return direct, losses.aligned_errors(frames, truth, frames.translation, truth.translation)

    direct, errors = both(case.last)
    np.testing.assert_allclose(errors, direct, rtol=1e-10)


PADDING = 5
CONFIG = ModelConfig("test", heads=HeadsConfig(handedness=True, torsion_bins=6, hydrogen_bonds=True))
TERMS = {
    "side_chain_fape": "side_chain_fape",
    "pae": "pae_loss",
    "distogram": "distogram_loss",
    "plddt": "plddt_loss",
    "masked_msa": "msa_loss",
    "experimentally_resolved": "resolved_loss",
}


def padded(x, axes=(0,), value=0.0):
    return jnp.pad(jnp.asarray(x), [(0, PADDING if a in axes else 0) for a in range(np.ndim(x))], constant_values=value)


def example(case):
    """Return the truth as the network's batch, padded."""
    return {
        "aatype": padded(AATYPE),
        "residue_index": jnp.asarray(np.concatenate([RESIDUE_INDEX, RESIDUE_INDEX[-1] + 1 + np.arange(PADDING)])),
        "seq_mask": padded(jnp.ones(N)),
        "all_atom_positions": padded(case.positions),
        "all_atom_mask": padded(case.mask),
        "true_msa": padded(GOLDEN["true_msa"], (1,)),
        "bert_mask": padded(GOLDEN["bert_mask"], (1,)),
        "bonded": padded(jnp.arange(N)[::-1]),
    }


def outputs_of(translation, raw, case, batch, value=0.3):
    """Return what a network might predict, with junk in the padding."""
    rotation = jnp.concatenate([case.trajectory.rotation, jnp.tile(jnp.eye(3), (2, PADDING, 1, 1))], axis=1)
    translation, raw = padded(translation, (1,), 30 * value), padded(raw, (1,), value)
    sin_cos = geometry.normalized(raw, 1e-12)
    frames, atoms = structure.place_atoms(batch["aatype"], Rigid(rotation[-1], translation[-1]), sin_cos[-1])
    return {
        "structure_module": {
            "rotations": rotation,
            "translations": translation,
            "sidechains": {"angles_sin_cos": sin_cos, "unnormalized_angles_sin_cos": raw, "frames": frames},
            "final_atom14_positions": atoms,
            "final_atom14_mask": jnp.asarray(rc.ATOM14_MASK, float)[batch["aatype"]] * batch["seq_mask"][:, None],
        },
        "distogram": {"logits": padded(logits("distogram"), (0, 1), value), "bin_edges": jnp.asarray(DISTOGRAM_EDGES)},
        "predicted_lddt": {"logits": padded(logits("plddt"), (0,), value)},
        "predicted_aligned_error": {
            "logits": padded(logits("pae"), (0, 1), value),
            "bin_edges": jnp.asarray(PAE_EDGES),
        },
        "masked_msa": {"logits": padded(logits("msa"), (1,), value)},
        "experimentally_resolved": {"logits": padded(logits("resolved"), (0,), value)},
        "handedness": {"sin_cos": raw[0, :, 2]},
        "torsions": {"logits": jnp.concatenate([raw[0, :, 1:3]] * 3, axis=-1)},
        "hydrogen_bonds": {"logits": padded(logits("pae")[..., 0], (0, 1), value)},
    }


DENSITIES = Densities(*(-jnp.ones((kinds, *more, 6, 6)) for kinds, *more in ((6,), (21, 3))))  # all torsions alike


def weights_of(violation):
    """Return weights of which those of violations and physics are switched together."""
    return objective.LossWeights(violation=violation, strain=0.1 * violation, ramachandran=violation, rotamer=violation)


QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # to compile, not to run


@pytest.fixture(scope="module")
def total_and_gradient(case):
    def run(translation, raw, batch, violation, value):
        outputs = outputs_of(translation, raw, case, batch, value)
        return objective.total(outputs, batch, CONFIG, weights_of(violation), DENSITIES)

    both = jax.jit(jax.value_and_grad(run, argnums=(0, 1), has_aux=True), compiler_options=QUICK)
    return lambda translation, raw, batch, violation, value=0.3: both(translation, raw, batch, violation, value)


@pytest.fixture(scope="module")
def total(total_and_gradient):
    return lambda *arguments: total_and_gradient(*arguments)[0]


def test_total_is_the_weighted_sum(case, total):
    loss, terms = total(case.trajectory.translation, case.raw, example(case), 0.5)
    assert set(terms) == {
        *("backbone_fape", "side_chain_fape", "torsion", "angle_norm", "violation", "distogram", "plddt", "pae"),
        *("masked_msa", "experimentally_resolved", "handedness", "torsion_bins", "hydrogen_bonds"),
        *("strain", "ramachandran", "rotamer", "loss"),
    }
    # numbers of the chain without padding
    for name, known in TERMS.items():
        close(terms[name], known)
    weights = weights_of(0.5)
    expected = sum(getattr(weights, name) * value for name, value in terms.items() if name != "loss")
    np.testing.assert_allclose(loss, expected, rtol=1e-12)


def test_what_has_weight_zero_costs_nothing(case, total):
    without, with_ = (total(case.trajectory.translation, case.raw, example(case), w)[1] for w in (0.0, 0.5))
    assert all(without[name] == 0 for name in ("violation", "strain", "ramachandran", "rotamer"))
    assert with_["ramachandran"] == pytest.approx(1, rel=1e-5)  # every torsion has the log density -1
    assert with_["strain"] > 0
    expected = GOLDEN["v_means"].sum() + (GOLDEN["v_clash"] + GOLDEN["v_within"]).sum() / case.exists.sum()
    # the published code forgives clashes between the sixth atoms of any two residues, we only between sulphurs
    np.testing.assert_allclose(with_["violation"], expected, rtol=2e-3)


def test_padding_changes_nothing(case, total):
    first, second = (
        total(case.trajectory.translation, case.raw, example(case), 0.5, value)[1] for value in (0.3, -0.7)
    )
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, rtol=1e-9, err_msg=name)


def test_heads_that_are_not_there_have_no_term(case):
    batch = example(case)
    ca = ModelConfig("test", heads=HeadsConfig(distogram_atom="ca"))

    def few():
        outputs = outputs_of(case.trajectory.translation, case.raw, case, batch)
        few = {name: outputs[name] for name in ("structure_module", "distogram")}
        return objective.total(few, batch, ca, objective.LossWeights())[1]

    terms = jax.eval_shape(few)
    assert not {"plddt", "pae", "masked_msa", "experimentally_resolved", "handedness"} & set(terms)
    assert not {"torsion_bins", "hydrogen_bonds"} & set(terms)


def test_gradients_are_finite_where_everything_coincides(case, total_and_gradient):
    gradients = total_and_gradient(jnp.zeros((2, N, 3)), case.raw, example(case), 0.5)[1]
    assert all(np.isfinite(g).all() for g in gradients)
    assert np.abs(gradients[0]).max() > 0
    batch = example(case)
    nothing = batch | {name: jnp.zeros_like(batch[name]) for name in ("all_atom_mask", "all_atom_positions")}
    gradients = total_and_gradient(case.trajectory.translation, case.raw, nothing, 0.5)[1]
    assert all(np.isfinite(g).all() for g in gradients)


def test_there_are_no_torsions_across_a_gap(case):
    positions, mask, gap = jnp.asarray(case.positions), jnp.asarray(case.mask), N // 2
    whole = losses.truth_of(AATYPE, jnp.arange(N), positions, mask).torsions
    cut = losses.truth_of(AATYPE, jnp.arange(N) + 5 * (jnp.arange(N) >= gap), positions, mask).torsions
    lost = np.argwhere(np.asarray(whole.mask) != np.asarray(cut.mask)).tolist()
    assert lost == [[gap, 0], [gap, 1]]  # pre-omega and phi
    np.testing.assert_array_equal(whole.sin_cos, cut.sin_cos)


def test_expected_torsions_are_judged_by_the_bin_of_the_truth(case):
    torsions = losses.truth_of(AATYPE, jnp.arange(N), jnp.asarray(case.positions), jnp.asarray(case.mask)).torsions
    there = np.asarray(torsions.mask)[:, 1:3] > 0
    assert there.any()
    angle = np.arctan2(*np.moveaxis(np.asarray(torsions.sin_cos), -1, 0))[:, 1:3]
    bins = 12
    target = ((angle + np.pi) // (2 * np.pi / bins)).astype(int) % bins
    right = jnp.asarray(20.0 * np.eye(bins)[target])
    loss = jax.jit(losses.torsion_bins_loss)
    assert loss(right, torsions) < 1e-6
    assert loss(jnp.roll(right, 1, axis=-1), torsions) == pytest.approx(20, rel=1e-5)
    assert loss(jnp.zeros_like(right), torsions) == pytest.approx(np.log(bins), rel=1e-6)
    missing = jnp.where(there[..., None], right, -right)  # what is not there does not count
    assert loss(missing, torsions) < 1e-6


def test_expected_hydrogen_bonds_are_judged_by_what_is_known():
    bonded, seq_mask = jnp.array([3, 1, 0, -1, -1]), jnp.array([1.0, 1, 1, 1, 0])
    right = 30.0 * jnp.eye(5)[jnp.maximum(bonded, 0)]
    loss = jax.jit(losses.hydrogen_bond_loss)
    assert loss(right, bonded, seq_mask) < 1e-6
    assert loss(jnp.zeros((5, 5)), bonded, seq_mask) == pytest.approx(np.log(4), rel=1e-5)  # of four residues
    for row in range(3):
        wrong = right.at[row, :4].set(jnp.roll(right[row, :4], 1))
        assert loss(wrong, bonded, seq_mask) == pytest.approx(10, rel=1e-3)
    for row in (3, 4):  # what is not known does not count
        assert loss(right.at[row].set(jnp.roll(right[row], 1)), bonded, seq_mask) < 1e-6


def test_handedness_tells_mirror_images_apart():
    turn = np.deg2rad(100) * np.arange(11)
    helix = jnp.asarray(np.stack([2.3 * np.cos(turn), 2.3 * np.sin(turn), 1.5 * np.arange(11)], -1))
    target = jnp.tile(jnp.array([np.sin(np.deg2rad(50)), np.cos(np.deg2rad(50))]), (11, 1))  # alpha helix: +50 degrees
    index, mask = jnp.arange(11), jnp.ones(11)
    loss = jax.jit(losses.handedness_loss)
    right = loss(target, helix, mask, index)
    left = loss(target, helix * jnp.array([1, 1, -1]), mask, index)
    assert right < 1e-3
    assert left > 2
    broken = loss(target, helix, mask.at[4].set(0), index.at[7:].add(1))
    assert broken < 1e-3  # runs across a hole or a break do not count
    assert losses.handedness_loss(target[:3], helix[:3], mask[:3], index[:3]) == 0
