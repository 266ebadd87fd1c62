"""Laws of log densities of torsions: they are densities, go around, lead uphill; made-up grids have known values."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import geometry, torsion_density
from models import residue_constants as rc

GOLDEN = dict(np.load(Path(__file__).parent / "golden" / "losses.npz", allow_pickle=False))
AATYPE, INDEX = jnp.asarray(GOLDEN["aatype"]), jnp.arange(len(GOLDEN["aatype"]))
CELLS = 36
CENTRES = (np.arange(CELLS) + 0.5) * 2 * np.pi / CELLS - np.pi
FAST = {"xla_backend_optimization_level": 0}  # to compile, not to run
ramachandran, rotamers, interpolated, torsion_angles, dihedral_angle = (
    jax.jit(function, compiler_options=FAST)
    for function in (
        torsion_density.ramachandran,
        torsion_density.rotamers,
        torsion_density.interpolated,
        geometry.torsion_angles,
        geometry.dihedral_angle,
    )
)


@pytest.fixture(scope="module", autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def waves(count):
    """Return smooth grids: the m-th is cos(first - m) + 0.5 sin(second)."""
    shift = np.arange(count)[:, None, None]
    return np.cos(CENTRES[None, :, None] - shift) + 0.5 * np.sin(CENTRES[None, None, :])


@pytest.fixture(scope="module")
def chain():
    """Return atoms and mask of an experimental chain."""
    columns = rc.ATOM14_TO_ATOM37[GOLDEN["aatype"]]
    atoms = np.zeros((len(columns), 37, 3))
    atoms[GOLDEN["mask"] > 0] = GOLDEN["positions"]
    mask = np.take_along_axis(GOLDEN["mask"].astype(float), columns, axis=1) * rc.ATOM14_MASK[GOLDEN["aatype"]]
    return jnp.asarray(np.take_along_axis(atoms, columns[..., None], axis=1)), jnp.asarray(mask)


@pytest.fixture(scope="module")
def measured(double):
    """Return the torsions phi, psi and chi of the chain in radian, and which are there."""
    atoms = np.zeros((len(AATYPE), 37, 3))
    atoms[GOLDEN["mask"] > 0] = GOLDEN["positions"]
    found = torsion_angles(AATYPE, atoms, GOLDEN["mask"].astype(float))
    angles = np.arctan2(found.sin_cos[..., 0], found.sin_cos[..., 1])
    return angles, np.asarray(found.mask)


def test_grids_are_met_at_their_centres_and_go_around():
    grids = jnp.asarray(np.random.default_rng(1).normal(size=(2, CELLS, CELLS)))
    which, row, column = jnp.array([0, 1, 1, 0]), jnp.array([0, 35, 17, 20]), jnp.array([35, 0, 3, 20])
    first, second = jnp.asarray(CENTRES)[row], jnp.asarray(CENTRES)[column]
    for turn in (0, 2 * np.pi):
        found = interpolated(grids, which, first + turn, second - turn)
        np.testing.assert_allclose(found, grids[which, row, column], atol=1e-9)


def test_smooth_grids_are_followed_between_the_centres():
    rng = np.random.default_rng(2)
    first, second = jnp.asarray(rng.uniform(-4, 4, (2, 101)))
    which = jnp.asarray(rng.integers(0, 3, 101))
    grids = jnp.asarray(waves(3))
    found = interpolated(grids, which, first, second)
    np.testing.assert_allclose(found, np.cos(first - which) + 0.5 * np.sin(second), atol=2e-3)
    slope = jax.jit(jax.grad(lambda x: jnp.sum(torsion_density.interpolated(grids, which, x, second))))(first)
    np.testing.assert_allclose(slope, -np.sin(first - which), atol=1e-2)


def test_densities_have_the_integral_one():
    area = (2 * np.pi / CELLS) ** 2
    np.testing.assert_allclose(np.exp(torsion_density.normalized(3 * waves(5))).sum(axis=(1, 2)) * area, 1)
    one, two = np.cos(CENTRES), waves(2)[1]
    grids = torsion_density.side_chain_grids({"S": [one], "F": [two], "M": [two, two + 7]})
    width = 2 * np.pi / CELLS
    np.testing.assert_allclose(np.exp(grids[rc.RESTYPE_ID["S"], 0]).sum(axis=0) * width, 1)
    np.testing.assert_allclose(np.exp(grids[rc.RESTYPE_ID["F"], 0]).sum() * area, 1)
    np.testing.assert_allclose(np.exp(grids[rc.RESTYPE_ID["M"], 1]).sum(axis=1) * width, 1)
    assert not grids[rc.RESTYPE_ID["F"], 1:].any()


def test_backbones_have_the_value_of_their_kind(chain, measured):
    found = ramachandran(*chain, AATYPE, INDEX, jnp.asarray(waves(6)))
    angles, there = measured
    there = there[:, 1] * np.append(there[1:, 1], 0)  # of psi only the next N is asked for
    np.testing.assert_array_equal(found.mask, there)
    letters = "".join(rc.RESTYPES_X[a] for a in AATYPE)
    kind = np.array([1 if x in "IV" else 0 for x in letters])
    kind[[i for i in range(len(letters) - 1) if letters[i + 1] == "P"]] = 2
    kind[[x == "G" for x in letters]] = 3
    kind[[x == "P" for x in letters]] = 4
    n, ca, c = (np.asarray(chain[0])[:, k] for k in range(3))
    psi = dihedral_angle(np.stack([n, ca, c, np.roll(n, -1, axis=0)], axis=-2))  # torsion_angles takes O
    expected = (np.cos(angles[:, 1] - kind) + 0.5 * np.sin(psi)) * there
    np.testing.assert_allclose(found.value, expected, atol=2e-3)
    apart = ramachandran(*chain, AATYPE, 2 * INDEX, jnp.asarray(waves(6)))
    assert not apart.mask.any()


def test_what_is_expected_of_each_residue_is_summed_over_phi_and_psi(chain, measured):
    shift = np.arange(len(AATYPE))[:, None]
    tables = np.stack([np.cos(CENTRES - shift), np.sin(CENTRES + shift)], axis=1)
    found = jax.jit(torsion_density.expected, compiler_options=FAST)(*chain, INDEX, jnp.asarray(tables))
    torsions = torsion_density.backbone_torsions(*chain, INDEX)
    np.testing.assert_array_equal(found.mask, torsions.mask)
    expected = np.cos(torsions.phi - shift[:, 0]) + np.sin(torsions.psi + shift[:, 0])
    np.testing.assert_allclose(found.value, expected * torsions.mask, atol=2e-3)
    there = np.asarray(found.mask) > 0
    np.testing.assert_allclose(np.cos(torsions.phi - measured[0][:, 1])[there], 1, atol=1e-9)


def test_side_chains_have_the_sum_of_their_pairs(chain, measured):
    one, two = np.cos(CENTRES), waves(1)[0]
    tables = {x: [two] * max(1, len(rc.CHI_ATOMS[x]) - 1) for x in rc.RESTYPES if len(rc.CHI_ATOMS[x]) > 1}
    tables |= {x: [one] for x in rc.RESTYPES if len(rc.CHI_ATOMS[x]) == 1}
    grids = torsion_density.side_chain_grids(tables)
    found = rotamers(*chain, AATYPE, jnp.asarray(grids))
    chi, there = measured[0][:, 3:], measured[1][:, 3:]
    for i, letter in enumerate(rc.RESTYPES_X[a] for a in AATYPE):
        count = len(rc.CHI_ATOMS[letter])
        assert found.mask[i] == (count > 0 and there[i, :count].all())
        if not found.mask[i]:
            continue
        grid = grids[rc.RESTYPE_ID[letter]]
        expected = np.cos(chi[i, 0]) + grid[0, 0, 0] - (one if count == 1 else two).flat[0]
        expected += 0.5 * np.sin(chi[i, 1:count]).sum()  # given the torsion before it, a further one has the sine alone
        expected += sum(grid[k - 1, 0, 0] - 0.5 * np.sin(CENTRES[0]) for k in range(2, count))
        np.testing.assert_allclose(found.value[i], expected, atol=2e-3)


def test_steps_lead_uphill_and_gradients_are_finite_where_atoms_coincide(chain):
    atoms, mask = chain
    backbone, side = jnp.asarray(waves(6)), jnp.asarray(np.tile(waves(3), (21, 1, 1, 1)))

    def total(x):
        parts = (
            torsion_density.ramachandran(x, mask, AATYPE, INDEX, backbone),
            torsion_density.rotamers(x, mask, AATYPE, side),
        )
        return sum(jnp.sum(part.value) for part in parts)

    step = jax.jit(jax.value_and_grad(total), compiler_options=FAST)
    before, gradient = step(atoms)
    assert step(atoms + 1e-3 * gradient)[0] > before
    rotation = geometry.rotation_from_quaternion(jnp.array([0.3, -1.0, 0.2, 0.5]))
    moved = geometry.Rigid(rotation, jnp.array([10.0, -30.0, 7.0])).apply(atoms)
    np.testing.assert_allclose(step(moved)[0], before, rtol=1e-9)
    assert np.isfinite(step(jnp.zeros_like(atoms))[1]).all()
