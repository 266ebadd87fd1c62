"""Golden: violations as the published code finds them in a predicted and in a noisy structure; laws."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import geometry, physics
from models import residue_constants as rc
from models.geometry import Rigid

GOLDEN = dict(np.load(Path(__file__).parent / "golden" / "losses.npz", allow_pickle=False))
AATYPE, RESIDUE_INDEX = jnp.asarray(GOLDEN["aatype"]), jnp.asarray(GOLDEN["residue_index"])
N = len(AATYPE)
EXISTS = rc.ATOM14_MASK[GOLDEN["aatype"]].astype(float)
SIXTH = rc.RESIDUE_ATOMS["C"].index("SG")


@pytest.fixture(scope="module", autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def measure(double):
    run = jax.jit(physics.structural_violations)
    return lambda x, mask=EXISTS, index=RESIDUE_INDEX: run(jnp.asarray(x), jnp.asarray(mask), AATYPE, index)


def seen():
    """Return the experiment's atom14 mask."""
    columns = rc.ATOM14_TO_ATOM37[GOLDEN["aatype"]]
    return np.take_along_axis(GOLDEN["mask"].astype(float), columns, axis=1) * EXISTS


def experiment():
    atoms = np.zeros((N, 37, 3))
    atoms[GOLDEN["mask"] > 0] = GOLDEN["positions"]
    return np.take_along_axis(atoms, rc.ATOM14_TO_ATOM37[GOLDEN["aatype"]][..., None], axis=1) * seen()[..., None]


def close(actual, expected, atol=2e-5):
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=2e-5, atol=atol)


def cases():
    return {"v": (GOLDEN["atoms14"].astype(float), EXISTS), "n": (GOLDEN["noisy"].astype(float), seen())}


@pytest.mark.parametrize("name", ["v", "n"])
def test_golden_violations(measure, name):
    found = measure(*cases()[name])
    close(found.peptide, GOLDEN[f"{name}_means"])
    close(found.broken, GOLDEN[f"{name}_connection_mask"])
    close(found.within_per_atom, GOLDEN[f"{name}_within"])
    # the published code lets the sixth atoms of any two residues overlap, where it means sulphurs of cysteines
    sixth = np.abs(np.asarray(found.clash_per_atom) - GOLDEN[f"{name}_clash"]) > 2e-5
    assert not sixth[:, np.arange(14) != SIXTH].any()
    assert np.all(np.asarray(found.clash_per_atom) >= GOLDEN[f"{name}_clash"] - 2e-5)
    if not sixth.any():
        close(found.any, GOLDEN[f"{name}_total"])


def test_golden_loss(measure):
    atoms, mask = cases()["n"]
    close(physics.violation_loss(measure(atoms, mask), jnp.asarray(mask)), GOLDEN["n_loss"], 1e-4)


def test_an_experimental_chain_has_hardly_a_violation(measure):
    found = measure(experiment(), seen(), np.arange(N))
    assert np.asarray(found.clashing).sum() == np.asarray(found.broken).sum() == 0
    assert np.asarray(found.distorted).sum() <= 1


def test_rigid_motions_change_nothing(measure):
    atoms, mask = cases()["n"]
    rotation = geometry.rotation_from_quaternion(jnp.array([0.3, -1.0, 0.2, 0.5]))
    moved = Rigid(rotation, jnp.array([100.0, -30.0, 7.0])).apply(jnp.asarray(atoms))
    for a, b in zip(measure(atoms, mask), measure(moved, mask), strict=True):
        close(a, b, 1e-7)


def test_atoms_that_are_not_there_do_not_count(measure):
    atoms, mask = cases()["n"]
    moved = np.where(mask[..., None] > 0, atoms, 3.3)
    for a, b in zip(measure(atoms, mask), measure(moved, mask), strict=True):
        close(a, b, 1e-9)


def test_peptide_bonds_are_only_where_numbers_follow(measure):
    atoms, mask = experiment(), seen()
    atoms[7:] += 50.0
    assert np.flatnonzero(measure(atoms, mask).broken).tolist()[:2] == [6, 7]
    broken = RESIDUE_INDEX + 10 * (np.arange(N) >= 7)
    assert np.asarray(measure(atoms, mask, broken).broken)[[6, 7]].sum() == 0


def test_disulfide_bonds_are_no_clash():
    aatype = jnp.full(2, rc.RESTYPE_ID["C"])
    atoms = np.arange(2)[:, None, None] * 100.0 + np.arange(14)[None, :, None] * np.array([5.0, 0, 0])
    atoms[:, SIXTH] = [[0, 50, 0], [1.8, 50, 0]]
    mask, index = jnp.asarray(rc.ATOM14_MASK[aatype]), jnp.array([3, 40])
    clash = jax.jit(physics.clash_errors)
    assert clash(jnp.asarray(atoms), mask, aatype, index).sum() == 0
    leucines = jnp.full(2, rc.RESTYPE_ID["L"])
    assert clash(jnp.asarray(atoms), mask, leucines, index).sum() > 0


def test_gradients_are_finite_and_lead_downhill():
    mask = jnp.asarray(seen())

    def loss(x):
        return physics.violation_loss(physics.structural_violations(x, mask, AATYPE, RESIDUE_INDEX), mask)

    step = jax.jit(jax.value_and_grad(loss))
    x = jnp.asarray(GOLDEN["noisy"], float)
    before, gradient = step(x)
    assert step(x - 0.5 * gradient)[0] < before
    assert np.isfinite(step(jnp.zeros_like(x))[1]).all()
