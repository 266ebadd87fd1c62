"""Golden: energies and forces of `models.force_field` are OpenMM's, in double precision; what it refuses; laws."""

import functools
import random
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import openmm
import pytest
from openmm import app, unit

from models import force_field
from pipeline.relax import parameters

GOLDEN = Path(__file__).parents[1] / "golden"
KCAL, NANOMETRE = 4.184, 0.1
FAST = {"xla_backend_optimization_level": 0}  # to compile, not to run
BAR = 1e-5  # of an energy, and of the forces' root mean square; what is asked for is 1e-3
TERMS = {
    openmm.HarmonicBondForce: "bond",
    openmm.HarmonicAngleForce: "angle",
    openmm.PeriodicTorsionForce: "torsion",
    openmm.NonbondedForce: "pair",
}


@pytest.fixture(scope="module", autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def amber14(topology, **how):
    return app.ForceField("amber14/protein.ff14SB.xml").createSystem(topology, constraints=None, **how)


def with_hydrogens(path):
    """Return system and positions in angstrom of a structure file, hydrogens placed by OpenMM."""
    file = app.PDBFile(str(path))
    modeller = app.Modeller(file.topology, file.positions)
    modeller.delete([atom for atom in modeller.topology.atoms() if atom.element is app.element.hydrogen])
    random.seed(1)  # OpenMM's Python code draws from the global generator
    modeller.addHydrogens(platform=openmm.Platform.getPlatformByName("CPU"))
    return amber14(modeller.topology), np.array(modeller.positions.value_in_unit(unit.angstrom))


@pytest.fixture(scope="module")
def trp_cage():
    return with_hydrogens(GOLDEN / "1l2y_A.pdb")


def of_openmm(system, positions):
    """Return energies (kcal/mol) by term and forces (kcal/mol/A) of the bonded terms and of the pairs."""
    groups = {TERMS[type(f)]: k for k, f in enumerate(system.getForces()) if type(f) in TERMS}
    for k, force in enumerate(system.getForces()):
        force.setForceGroup(k)
    reference = openmm.Platform.getPlatformByName("Reference")  # in double precision
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)
    context.setPositions(positions * NANOMETRE)
    states = {name: context.getState(energy=True, forces=True, groups={k}) for name, k in groups.items()}
    energies = {name: state.getPotentialEnergy()._value / KCAL for name, state in states.items()}
    forces = {name: state.getForces(asNumpy=True)._value / KCAL * NANOMETRE for name, state in states.items()}
    bonded = forces["bond"] + forces["angle"] + forces["torsion"]
    return energies, np.stack([bonded, forces["pair"]])


def of_openmm_total(system, positions):
    return sum(of_openmm(system, positions)[0].values())


@functools.partial(jax.jit, compiler_options=FAST)
def of_ours(positions, molecule):
    """Return energies by term, and forces of the bonded terms and of the pairs."""

    def two(x):
        terms = force_field.energy(x, molecule)
        pair = terms.lennard_jones + terms.coulomb
        bonded = terms.bond + terms.angle + terms.torsion
        return jnp.stack([bonded, pair]), {"pair": pair, **terms._asdict()}

    _, pull, energies = jax.vjp(two, positions, has_aux=True)
    return energies, -jax.vmap(pull)(jnp.eye(2))[0]


def assert_the_same(system, positions):
    expected, forces = of_openmm(system, positions)
    energies, found = of_ours(jnp.asarray(positions), parameters.molecule(system))
    for name, value in expected.items():
        assert abs(energies[name] - value) < BAR * abs(value), name
    scale = np.sqrt(np.square(forces).mean(axis=(1, 2), keepdims=True))
    assert np.max(np.abs(found - forces) / scale) < BAR


def test_small_proteins_have_openmms_energy_and_forces(trp_cage):
    assert_the_same(*trp_cage)
    assert_the_same(*with_hydrogens(GOLDEN / "1bpi_A.pdb"))


@pytest.mark.parametrize("name", ["1guu_A", "1pga_A", "2ci2_I"])
def test_more_proteins_have_openmms_energy_and_forces(shared, name):
    assert_the_same(*with_hydrogens(shared / "validation" / "structures" / f"{name}.pdb"))


def test_a_distorted_protein_has_openmms_energy_and_forces(trp_cage):
    system, positions = trp_cage
    assert_the_same(system, positions + np.random.default_rng(1).normal(scale=0.2, size=positions.shape))


@pytest.fixture(scope="module")
def total(trp_cage):
    """Return the total energy and forces of the small protein, as a function of positions and softness."""
    molecule = parameters.molecule(trp_cage[0])
    run = jax.jit(force_field.energy_and_forces, compiler_options=FAST)
    return lambda x, softness=0.0: run(jnp.asarray(x), molecule, softness)


def test_steps_along_the_forces_lower_the_energy(trp_cage, total):
    rng = np.random.default_rng(2)
    x = trp_cage[1] + rng.normal(scale=0.1, size=trp_cage[1].shape)
    openmms = of_openmm_total(trp_cage[0], x)
    energies = []
    for _ in range(20):
        energy, forces = total(x)
        energies.append(float(energy))
        x = x + 0.02 * forces / np.abs(forces).max()
    assert all(np.diff(energies) < 0)
    assert of_openmm_total(trp_cage[0], x) < openmms - 100


def test_forces_cancel_and_make_no_torque(trp_cage, total):
    _, forces = total(trp_cage[1])
    scale = np.abs(forces).max()
    assert np.abs(np.sum(forces, axis=0)).max() < 1e-9 * scale
    assert np.abs(np.sum(np.cross(trp_cage[1], forces), axis=0)).max() < 1e-7 * scale


def test_a_soft_core_lets_atoms_stand_on_one_another(trp_cage, total):
    x = trp_cage[1].copy()
    x[-10] = x[5]
    hard, soft = total(x), total(x, 1.0)
    assert hard[0] > 1e12
    assert soft[0] < 1e6  # what is left is that of its bonds
    assert np.isfinite(hard[1]).all()
    assert np.isfinite(soft[1]).all()


def test_the_limit_of_the_soft_core_is_the_plain_energy(trp_cage, total):
    plain = total(trp_cage[1])[0]
    off = [abs(float(total(trp_cage[1], softness)[0] - plain)) for softness in (1e-1, 1e-3, 1e-5, 1e-7)]
    assert all(np.diff(off) < 0)
    assert off[-1] < 1e-4


def test_single_precision_has_finite_forces_where_all_atoms_coincide(trp_cage):
    molecule = jax.tree.map(
        lambda part: part.astype(np.float32) if part.dtype == np.float64 else part, parameters.molecule(trp_cage[0])
    )
    with jax.enable_x64(False):
        run = jax.jit(force_field.energy_and_forces, compiler_options=FAST)
        energy, forces = run(jnp.zeros(trp_cage[1].shape, jnp.float32), molecule)
    assert energy.dtype == jnp.float32
    assert np.isfinite(energy)
    assert np.isfinite(forces).all()


def test_no_system_with_other_forces_or_a_cutoff_is_read(trp_cage):
    system = openmm.XmlSerializer.clone(trp_cage[0])
    nonbonded = next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    with pytest.raises(ValueError, match="have a cutoff"):
        parameters.molecule(system)
    system.addForce(openmm.CustomExternalForce("x"))
    with pytest.raises(ValueError, match="the system has CustomExternalForce, Harmonic"):
        parameters.molecule(system)
