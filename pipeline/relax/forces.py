"""Forces beside the force field: restraints, what leads to right hands and flat peptides, walls around ligands."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import openmm

from models import residue_constants as rc
from pipeline.ligands import obstacles
from pipeline.protein import Protein
from pipeline.relax.atoms import NANOMETRE
from pipeline.relax.build import KCAL, RESTRAINT_GROUP, Model
from pipeline.relax.stereo import Torsions

RADIUS = {"C": 1.7, "N": 1.55, "O": 1.4, "S": 1.8}  # angstrom
_METAL = 1.2  # angstrom, of other elements
_LEAD = 1000.0  # kJ/mol/rad^2, beyond `_FREE`; at 60 degrees more than a restraint of 10 kcal/mol/A^2 over an angstrom
_FREE = 20.0  # degrees that a torsion may be off without a force
_WALL = 5e4  # kJ/mol/nm^2
_TOUCH = 0.2  # angstrom that two spheres may overlap, as in a hydrogen bond
_WATCHED = 2.0  # angstrom further than touching, within which a pair has a wall

Particles = Mapping[tuple[int, int], int]  # of heavy atoms, by residue and atom37 column


@dataclasses.dataclass(frozen=True, eq=False)
class Restrained:
    """A model with restraints.

    Args:
        model: What it is of.
        system: Force field and restraints; atoms that must not move have no mass.
        force: One particle for each restrained atom.
        atoms: Those, shape (r,).
        stiffness: Of each, kJ/mol/nm^2, shape (r,).
    """

    model: Model
    system: openmm.System
    force: openmm.CustomExternalForce
    atoms: np.ndarray
    stiffness: np.ndarray


def restrain(model: Model, stiffness: np.ndarray, protein: Protein) -> Restrained:
    """Add harmonic restraints of the heavy atoms to a copy of the model's system.

    Args:
        model: Is not changed.
        stiffness: kcal/mol/A^2, shape (n, 37), by residue and atom37; infinite for an atom that must not move.
        protein: Where the restraints pull to.
    """
    system = openmm.XmlSerializer.clone(model.system)
    particle = model.particles
    places, atoms = np.array([*particle], np.int64).reshape(-1, 2), np.array([*particle.values()], np.int64)
    k = stiffness[places[:, 0], places[:, 1]]
    for index in atoms[np.isinf(k)].tolist():
        system.setParticleMass(index, 0)  # what has no mass does not move
    free = np.isfinite(k)
    positions = protein.atom37_positions[places[free, 0], places[free, 1]].astype(np.float64) * NANOMETRE
    constants = k[free] * KCAL / NANOMETRE**2
    force = hold(atoms[free], constants, positions)
    system.addForce(force)
    _free_of_massless(system)
    return Restrained(model, system, force, atoms[free], constants)


def shorten(system: openmm.System, cutoff: float) -> None:
    """Let the nonbonded forces of a system end at a cutoff (angstrom), the charges in a reaction field."""
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
            force.setCutoffDistance(cutoff * NANOMETRE)


def hold(atoms: np.ndarray, stiffness: np.ndarray, positions: np.ndarray) -> openmm.CustomExternalForce:
    """Return harmonic restraints, 0.5 k (x - x0)^2.

    Args:
        atoms: Particles, shape (p,).
        stiffness: kJ/mol/nm^2, shape (p,).
        positions: Nanometre, shape (p, 3).
    """
    force = openmm.CustomExternalForce("0.5*k*((x-x0)^2+(y-y0)^2+(z-z0)^2)")
    for name in ("k", "x0", "y0", "z0"):
        force.addPerParticleParameter(name)
    for index, k, place in zip(atoms.tolist(), stiffness.tolist(), positions.tolist(), strict=True):
        force.addParticle(index, [k, *place])
    force.setForceGroup(RESTRAINT_GROUP)
    return force


def _free_of_massless(system: openmm.System) -> None:
    """Remove the constraints of particles without mass, which OpenMM refuses; their bonds hold them."""
    for k in reversed(range(system.getNumConstraints())):
        first, second, _ = system.getConstraintParameters(k)
        if not (system.getParticleMass(first)._value and system.getParticleMass(second)._value):
            system.removeConstraint(k)


def lead(torsions: Torsions, particle: Particles) -> openmm.CustomTorsionForce:
    """Return a force that pulls torsions to what they are to be, and is silent near it."""
    force = openmm.CustomTorsionForce(
        f"{0.5 * _LEAD}*max(0, min(d, {2 * np.pi}-d)-{np.deg2rad(_FREE)})^2; d=abs(theta-goal)"
    )
    force.addPerTorsionParameter("goal")
    for rows, columns, angle in zip(
        torsions.residue.tolist(), torsions.column.tolist(), np.deg2rad(torsions.angle).tolist(), strict=True
    ):
        force.addTorsion(*(particle[place] for place in zip(rows, columns, strict=True)), [angle])
    force.setForceGroup(RESTRAINT_GROUP)
    return force


def fence(protein: Protein, given: np.ndarray, particle: Particles) -> openmm.CustomExternalForce | None:
    """Return what keeps heavy atoms out of ligands: none comes nearer to theirs than touching, or than it was.

    Args:
        protein: Before minimisation, with the ligands (`others`).
        given: Atoms that stand where the input had them, shape (n, 37); those that were built must all come out.
        particle: Of the heavy atoms.
    """
    elements, places = obstacles(protein)
    if not len(places):
        return None
    force = openmm.CustomExternalForce(
        f"{0.5 * _WALL}*max(0, d-r)^2; r=sqrt((x-x0)^2+(y-y0)^2+(z-z0)^2+1e-9)"  # never 0, which has no direction
    )
    for name in ("d", "x0", "y0", "z0"):
        force.addPerParticleParameter(name)
    radius = np.array([RADIUS.get(element, _METAL) for element in elements])
    for (i, column), index in particle.items():
        apart = np.linalg.norm(places - protein.atom37_positions[i, column], axis=1)
        touch = radius + RADIUS[rc.ATOM37[column][0]] - _TOUCH
        least = np.minimum(touch, apart) if given[i, column] else touch
        for k in np.flatnonzero(apart < touch + _WATCHED):
            force.addParticle(index, [least[k] * NANOMETRE, *(places[k] * NANOMETRE)])
    force.setForceGroup(RESTRAINT_GROUP)
    return force
