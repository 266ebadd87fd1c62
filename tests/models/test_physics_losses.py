"""Laws of the losses of physics: zero for ideal geometry, linear far away, lower for torsions as they are found."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import physics_losses, torsion_density
from models import residue_constants as rc
from pipeline.protein import read_structure
from pipeline.quality.statistics import statistics

GOLDEN = Path(__file__).parents[1] / "pipeline" / "golden"


@pytest.fixture(scope="module")
def losses_of():
    """Return the losses of positions of a small crystal structure, as a compiled function."""
    protein = read_structure(GOLDEN / "1bpi_A.pdb")
    rows, columns = np.arange(len(protein))[:, None], rc.ATOM14_TO_ATOM37[protein.aatype]
    mask = jnp.asarray(rc.ATOM14_MASK[protein.aatype] * protein.atom37_mask[rows, columns], jnp.float32)
    found = statistics()
    densities = physics_losses.Densities(
        jnp.asarray(torsion_density.normalized(found.ramachandran_density), jnp.float32),
        jnp.asarray(
            torsion_density.side_chain_grids({letter: chi.tables for letter, chi in found.chi.items()}), jnp.float32
        ),
    )

    def run(positions):
        return physics_losses.physics_losses(positions, mask, protein.aatype, protein.residue_index, densities)

    native = jnp.asarray(protein.atom37_positions[rows, columns], jnp.float32) * mask[..., None]
    return native, jax.jit(run), jax.jit(jax.grad(lambda x: sum(run(x))))


def test_a_crystal_structure_has_less_of_each_than_a_disturbed_one(losses_of):
    native, run, _ = losses_of
    noise = np.random.default_rng(0).normal(scale=0.3, size=native.shape)
    natural, disturbed = run(native), run(native + noise)
    assert natural.strain < 0.2 * disturbed.strain
    assert natural.ramachandran < disturbed.ramachandran
    assert natural.rotamer < disturbed.rotamer


def test_strain_grows_linearly(losses_of):
    native, run, _ = losses_of
    noise = np.random.default_rng(1).normal(size=native.shape)
    small, large = (float(run(native + scale * noise).strain) for scale in (20.0, 40.0))
    assert large / small < 8  # the volumes at chiral centres grow with the cube, all else no faster than the noise


def test_a_bounded_energy_is_harmonic_near_zero_and_linear_far_away():
    deviation = jnp.array([0.0, 0.01, 200.0, 300.0])
    found = physics_losses.bounded(0.5 * jnp.square(deviation))
    assert found[0] == 0
    assert found[1] == pytest.approx(0.5 * 0.01**2, rel=0.01)
    assert found[3] - found[2] == pytest.approx(100, rel=1e-4)


def test_gradients_are_finite_where_all_atoms_coincide(losses_of):
    native, _, gradient = losses_of
    assert np.isfinite(gradient(native)).all()
    assert np.isfinite(gradient(jnp.zeros_like(native))).all()
