"""Laws of rigid motions, and round trips between atoms, torsions and frames on a real chain (that of losses.npz)."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import geometry
from models import residue_constants as rc
from models.geometry import Rigid

GOLDEN = dict(np.load(Path(__file__).parent / "golden" / "losses.npz", allow_pickle=False))
AATYPE, MASK = jnp.asarray(GOLDEN["aatype"]), GOLDEN["mask"].astype(float)
N = len(AATYPE)


@pytest.fixture(scope="module", autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def positions():
    atoms = np.zeros((N, 37, 3))
    atoms[MASK > 0] = GOLDEN["positions"]
    return atoms


turned = jax.jit(geometry.rotation_from_quaternion)


def random_frames(rng, *shape):
    quaternion = jnp.asarray(rng.normal(size=(*shape, 4)))
    return Rigid(turned(quaternion), jnp.asarray(rng.normal(size=(*shape, 3)) * 7))


def close(a, b, atol=1e-12):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=atol), a, b)


def test_group_laws(rng):
    a, b, c = (random_frames(rng, 5) for _ in range(3))
    x = jnp.asarray(rng.normal(size=(5, 3)))

    @jax.jit
    def pairs(a, b, c, x):
        return (
            (a.compose(b).compose(c), a.compose(b.compose(c))),
            (a.compose(a.inverse()), geometry.identity((5,), jnp.float64)),
            (a.compose(b).apply(x), a.apply(b.apply(x))),
            (a.apply_inverse(a.apply(x)), x),
            (a.inverse().apply(x), a.apply_inverse(x)),
        )

    for one, other in pairs(a, b, c, x):
        close(one, other, 1e-10)


def test_per_atom_frames_move_atoms(rng):
    frames = random_frames(rng, 5)
    atoms = jnp.asarray(rng.normal(size=(5, 7, 3)))
    moved = jax.jit(lambda f, x: f.per_atom().apply(x))(frames, atoms)
    close(moved[3, 2], frames.rotation[3] @ atoms[3, 2] + frames.translation[3])
    close(frames.scaled(0.1).translation, frames.translation / 10)


def test_quaternions_give_rotations(rng):
    quaternion = rng.normal(size=(101, 4))
    quaternion[:4] = np.eye(4)  # half turns included
    rotation = turned(jnp.asarray(quaternion))
    close(np.linalg.det(rotation), np.ones(101))
    close(turned(jnp.asarray(-quaternion)), rotation)  # both signs are one turn
    close(jax.jit(geometry.rotation_from_vector)(jnp.zeros((1, 3))), np.eye(3)[None])


def test_small_quaternion_turns_by_twice_its_vector():
    turn = jax.jit(geometry.rotation_from_vector)(jnp.array([0.0, 0.0, 1e-4]))
    close(turn[:, 0], [1, 2e-4, 0], 1e-7)


def test_backbone_frames_put_ideal_atoms_in_place():
    i = rc.RESTYPE_ID["V"]
    frame = geometry.backbone_frames(*(jnp.asarray(rc.ATOM14_LOCAL[i, k], float) for k in range(3)))
    close(frame, Rigid(jnp.eye(3), jnp.zeros(3)), 1e-7)


measured = jax.jit(geometry.dihedral)


@pytest.mark.parametrize("degrees", [-179.0, -60.0, 0.0, 35.0, 120.0])
def test_dihedral_has_the_iupac_sign(degrees):
    angle = np.deg2rad(degrees)
    points = jnp.array([[0, 1.0, 0], [0, 0, 0], [1.5, 0, 0], [1.5, np.cos(angle), np.sin(angle)]])
    close(measured(points), [np.sin(angle), np.cos(angle)], 1e-7)


def test_dihedral_of_coinciding_points_is_zero_with_finite_gradient():
    assert np.all(np.asarray(measured(jnp.ones((4, 3)))) == 0)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(geometry.dihedral(x))))(jnp.ones((4, 3)))
    assert np.isfinite(gradient).all()


def test_pseudo_beta_is_ca_for_glycine(rng):
    aatype = jnp.array([rc.RESTYPE_ID["G"], rc.RESTYPE_ID["W"], rc.UNKNOWN])
    atoms, mask = jnp.asarray(rng.normal(size=(3, 37, 3))), jnp.asarray(rng.integers(0, 2, (3, 37)).astype(float))
    beta, beta_mask = geometry.pseudo_beta(aatype, atoms, mask)
    columns = [rc.ATOM37_ID["CA"], rc.ATOM37_ID["CB"], rc.ATOM37_ID["CB"]]
    close(beta, atoms[np.arange(3), columns])
    close(beta_mask, mask[np.arange(3), columns])


def test_torsions_take_templates_and_gaps():
    atoms, mask = positions(), MASK.copy()
    measure = jax.jit(geometry.torsion_angles)
    alone = measure(AATYPE, jnp.asarray(atoms), jnp.asarray(mask))
    two = measure(
        jnp.stack([jnp.full(N, rc.GAP), AATYPE]),
        jnp.asarray(np.stack([atoms, atoms])),
        jnp.asarray(np.stack([mask, mask])),
    )
    close(jax.tree.map(lambda x: x[1], two), alone)
    assert np.all(np.asarray(two.mask)[0, :, 3:] == 0)  # a gap has no side chain
    assert alone.mask[0, 0] == alone.mask[0, 1] == 0  # nothing comes before the first residue
    assert alone.mask[12, 0] == alone.mask[12, 1] == 0  # residue 11 is missing


def test_rebuilding_a_chain_from_its_torsions():
    aatype, atoms, mask = AATYPE, jnp.asarray(positions()), jnp.asarray(MASK)

    @jax.jit
    def rebuild():
        torsions = geometry.torsion_angles(aatype, atoms, mask)
        frames, _ = geometry.frames_from_atoms(aatype, atoms, mask)
        backbone = Rigid(frames.rotation[:, 0], frames.translation[:, 0])
        groups = geometry.frames_from_torsions(aatype, backbone, torsions.sin_cos)
        atom14 = geometry.atoms_from_frames(aatype, groups)
        again = geometry.atom14_to_atom37(aatype, atom14)
        exists = geometry.table(rc.ATOM37_MASK, aatype, jnp.float64)
        new = geometry.torsion_angles(aatype, again, exists)
        return torsions, new, again, exists

    torsions, new, again, exists = rebuild()
    seen = np.asarray(mask * exists) > 0
    error = np.linalg.norm(np.asarray(again) - np.asarray(atoms), axis=-1)[seen]
    assert np.mean(error) < 0.15
    assert np.max(error) < 1.5  # the far end of a bent tyrosine
    known = np.asarray(torsions.mask)[:, 2:, None]  # the peptide torsions join two residues that are no longer ideal
    close(np.asarray(new.sin_cos)[:, 2:] * known, np.asarray(torsions.sin_cos)[:, 2:] * known, 0.01)


def test_frames_from_torsions_agree_with_frames_from_atoms(rng):
    aatype = jnp.arange(20)
    angle = jnp.asarray(rng.uniform(-np.pi, np.pi, (20, 7)))
    sin_cos = jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1)

    @jax.jit
    def both(backbone):
        groups = geometry.frames_from_torsions(aatype, backbone, sin_cos)
        atom37 = geometry.atom14_to_atom37(aatype, geometry.atoms_from_frames(aatype, groups))
        return groups, *geometry.frames_from_atoms(aatype, atom37, jnp.asarray(rc.ATOM37_MASK[:20], float))

    groups, frames, there = both(random_frames(rng, 20))
    there = np.asarray(there) > 0
    assert there.sum() == 20 + 20 + rc.CHI_MASK.sum()
    close(frames.translation[there], groups.translation[there], 1e-6)
    close(frames.rotation[there], groups.rotation[there], 5e-3)  # the table's z are rounded to 0.001 angstrom


def test_atom14_and_atom37_round_trip(rng):
    aatype = jnp.arange(21)
    atom14 = jnp.asarray(rng.normal(size=(21, 14, 3)) * rc.ATOM14_MASK[..., None])
    close(geometry.atom37_to_atom14(aatype, geometry.atom14_to_atom37(aatype, atom14)), atom14)
    mask = geometry.atom14_to_atom37(aatype, jnp.asarray(rc.ATOM14_MASK))
    close(mask, rc.ATOM37_MASK)


def test_distances_match_norms(rng):
    a, b = jnp.asarray(rng.normal(size=(5, 3))), jnp.asarray(rng.normal(size=(7, 3)))
    close(geometry.distances(a, b, 0.0), np.linalg.norm(a[:, None] - b[None], axis=-1))


def test_types_are_kept():
    with jax.enable_x64(False):
        frames = geometry.identity((3,), jnp.float32)
        sin_cos = jnp.tile(jnp.array([0.0, 1.0], jnp.float32), (3, 7, 1))
        groups = jax.eval_shape(lambda: geometry.frames_from_torsions(jnp.arange(3), frames, sin_cos))
        assert groups.rotation.dtype == groups.translation.dtype == jnp.float32
