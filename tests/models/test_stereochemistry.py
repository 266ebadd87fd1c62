"""Laws of the harmonic terms: ideal residues cost almost nothing, mirror images much, deviations count in sigmas."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import geometry, stereochemistry
from models import residue_constants as rc

GOLDEN = dict(np.load(Path(__file__).parent / "golden" / "losses.npz", allow_pickle=False))
FAST = {"xla_backend_optimization_level": 0}  # to compile, not to run
ALL = np.arange(20)
APART = 10 * ALL  # no peptide bonds
HANDED = np.array([rc.RESTYPES[k] != "G" for k in ALL])
run = jax.jit(stereochemistry.energy, compiler_options=FAST)


@pytest.fixture(scope="module", autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def ideal(double):
    """Return one ideal residue of each type, side chains stretched out but that of proline."""
    chi = np.deg2rad(np.full((20, 7), 180.0))
    chi[rc.RESTYPE_ID["P"], 3:5] = np.deg2rad([-25.0, 36.0])
    torsions = jnp.asarray(np.stack([np.sin(chi), np.cos(chi)], axis=-1))
    frames = geometry.frames_from_torsions(jnp.asarray(ALL), geometry.identity((20,), jnp.float64), torsions)
    return np.asarray(geometry.atoms_from_frames(jnp.asarray(ALL), frames))


def measure(atoms, aatype=ALL, index=APART, mask=None):
    mask = rc.ATOM14_MASK[aatype] if mask is None else mask
    return run(*map(jnp.asarray, (atoms, np.asarray(mask, float), aatype, index)))


def test_ideal_residues_have_almost_no_energy(ideal):
    found = measure(ideal)
    assert np.max(found.chirality) < 0.1
    assert np.max(found.planarity) < 1
    atoms = rc.ATOM14_MASK[:20].sum(axis=1)
    proline = rc.RESTYPE_ID["P"] == ALL  # its ring does not quite close by two torsions
    assert np.all(found.bond < np.where(proline, 5, 1) * atoms)
    assert np.all(found.angle < np.where(proline, 5, 1) * atoms)


def test_mirror_images_differ_in_chirality_alone(ideal):
    here, mirror = measure(ideal), measure(ideal * np.array([1.0, 1.0, -1.0]))
    assert np.all(np.asarray(mirror.chirality)[HANDED] > 100)
    assert mirror.chirality[~HANDED] == 0
    for name in ("bond", "angle", "planarity"):
        np.testing.assert_allclose(getattr(mirror, name), getattr(here, name), atol=1e-9)


@pytest.mark.parametrize(("letter", "pair"), [("V", "CG1 CG2"), ("L", "CD1 CD2"), ("I", "CG1 CG2"), ("T", "OG1 CG2")])
def test_side_chains_have_a_hand_too(ideal, letter, pair):
    i = rc.RESTYPE_ID[letter]
    first, second = (rc.RESIDUE_ATOMS[letter].index(name) for name in pair.split())
    swapped = ideal.copy()
    swapped[i, [first, second]] = ideal[i, [second, first]]
    assert measure(swapped).chirality[i] > 100


@pytest.mark.parametrize("letter", "RNDQEHFWY")
def test_atoms_out_of_plane_cost(ideal, letter):
    i = rc.RESTYPE_ID[letter]
    bent = ideal.copy()
    last = len(rc.RESIDUE_ATOMS[letter]) - 1
    ring = ideal[i, last - 2 : last + 1]
    normal = np.cross(ring[1] - ring[0], ring[2] - ring[0])
    bent[i, last] += 0.3 * normal / np.linalg.norm(normal)
    assert measure(bent).planarity[i] - measure(ideal).planarity[i] > 5


def test_energies_are_half_a_square_of_sigmas():
    atoms = np.zeros((1, 14, 3))
    atoms[0, 1] = [1.456 + 2 * 0.015, 0, 0]  # N-CA two standard deviations too long; nothing else is there
    found = measure(atoms, np.array([rc.RESTYPE_ID["G"]]), np.array([0]), np.eye(14)[:1] + np.eye(14)[1:2])
    np.testing.assert_allclose(found.bond, 2.0, atol=1e-5)
    assert found.angle[0] == found.planarity[0] == found.chirality[0] == 0


def chain():
    """Return the atoms, mask and numbers of an experimental chain."""
    aatype = GOLDEN["aatype"]
    columns = rc.ATOM14_TO_ATOM37[aatype]
    atoms = np.zeros((len(aatype), 37, 3))
    atoms[GOLDEN["mask"] > 0] = GOLDEN["positions"]
    mask = np.take_along_axis(GOLDEN["mask"].astype(float), columns, axis=1) * rc.ATOM14_MASK[aatype]
    return np.take_along_axis(atoms, columns[..., None], axis=1), mask


def test_an_experimental_chain_costs_less_than_a_noisy_one():
    atoms, mask = chain()
    aatype, index = GOLDEN["aatype"], np.arange(len(GOLDEN["aatype"]))
    good = measure(atoms, aatype, index, mask)
    noise = np.random.default_rng(1).normal(scale=0.1, size=atoms.shape)
    bad = measure(atoms + noise, aatype, index, mask)
    for one, other in zip(good, bad, strict=True):
        assert 10 * np.mean(one) < np.mean(other)
    apart = measure(atoms, aatype, 10 * index, mask)
    assert all(np.sum(one) > np.sum(other) for one, other in zip(good[:3], apart[:3], strict=True))


def test_rigid_motions_change_nothing_and_steps_lead_downhill():
    atoms, mask = chain()
    aatype, index = jnp.asarray(GOLDEN["aatype"]), jnp.arange(len(GOLDEN["aatype"]))
    rng = np.random.default_rng(3)
    noisy = jnp.asarray(atoms + rng.normal(scale=0.1, size=atoms.shape))

    @jax.jit
    def total(x):
        return sum(jnp.sum(part) for part in stereochemistry.energy(x, jnp.asarray(mask), aatype, index))

    step = jax.jit(jax.value_and_grad(total), compiler_options=FAST)
    before, gradient = step(noisy)
    rotation = geometry.rotation_from_quaternion(jnp.array([0.3, -1.0, 0.2, 0.5]))
    moved = geometry.Rigid(rotation, jnp.array([100.0, -30.0, 7.0])).apply(noisy)
    np.testing.assert_allclose(step(moved)[0], before, rtol=1e-9)
    assert step(noisy - 1e-5 * gradient)[0] < before
    assert np.isfinite(step(jnp.zeros_like(noisy))[1]).all()
