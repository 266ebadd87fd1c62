"""The parameters of an OpenMM system as arrays, for `models.force_field`."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import openmm

from models.molecule import Angles, Atoms, Bonds, Molecule, Pairs, Torsions

_KCAL, _NANOMETRE = 4.184, 10.0  # kJ in a kcal, angstrom in a nanometre
_FORCES = (openmm.HarmonicBondForce, openmm.HarmonicAngleForce, openmm.PeriodicTorsionForce, openmm.NonbondedForce)


def molecule(system: openmm.System) -> Molecule:
    """Read the parameters of a system of bonds, angles, torsions and nonbonded forces without cutoff.

    Raises:
        ValueError: The system has other forces, lacks one of these, has one twice, or has a cutoff.
    """
    forces = _forces(system)
    nonbonded = forces[openmm.NonbondedForce]
    if nonbonded.getNonbondedMethod() != openmm.NonbondedForce.NoCutoff:
        raise ValueError("the nonbonded forces have a cutoff")
    atoms, pairs = _nonbonded(nonbonded)
    return Molecule(
        bonds=_bonds(forces[openmm.HarmonicBondForce]),
        angles=_angles(forces[openmm.HarmonicAngleForce]),
        torsions=_torsions(forces[openmm.PeriodicTorsionForce]),
        atoms=atoms,
        pairs=pairs,
    )


def _forces(system: openmm.System) -> Mapping[type, Any]:
    """Return the forces by their types."""
    forces = [force for force in system.getForces() if not isinstance(force, openmm.CMMotionRemover)]
    found, wanted = (sorted(kind.__name__ for kind in kinds) for kinds in (map(type, forces), _FORCES))
    if found != wanted:
        raise ValueError(f"expected the forces {', '.join(wanted)}; the system has {', '.join(found)}")
    return {type(force): force for force in forces}


def _table(count: int, read: Callable[[int], Any], columns: int) -> np.ndarray:
    """Return what a force says of each of its terms, in OpenMM's units, shape (count, columns)."""
    rows = [[getattr(value, "_value", value) for value in read(k)] for k in range(count)]
    return np.array(rows, np.float64).reshape(count, columns)


def _bonds(force: openmm.HarmonicBondForce) -> Bonds:
    rows = _table(force.getNumBonds(), force.getBondParameters, 4)
    stiffness = rows[:, 3] / _KCAL / _NANOMETRE**2
    return Bonds(rows[:, :2].astype(np.int32), rows[:, 2] * _NANOMETRE, stiffness)


def _angles(force: openmm.HarmonicAngleForce) -> Angles:
    rows = _table(force.getNumAngles(), force.getAngleParameters, 5)
    return Angles(rows[:, :3].astype(np.int32), rows[:, 3], rows[:, 4] / _KCAL)


def _torsions(force: openmm.PeriodicTorsionForce) -> Torsions:
    rows = _table(force.getNumTorsions(), force.getTorsionParameters, 7)
    return Torsions(rows[:, :4].astype(np.int32), rows[:, 4].astype(np.int32), rows[:, 5], rows[:, 6] / _KCAL)


def _nonbonded(force: openmm.NonbondedForce) -> tuple[Atoms, Pairs]:
    count = force.getNumParticles()
    charge, sigma, epsilon = _table(count, force.getParticleParameters, 3).T
    rows = _table(force.getNumExceptions(), force.getExceptionParameters, 5)
    atoms = rows[:, :2].astype(np.int32)
    acts = (rows[:, 2] != 0) | (rows[:, 4] != 0)
    return (
        Atoms(charge, sigma * _NANOMETRE, epsilon / _KCAL, _excluded(count, atoms)),
        Pairs(atoms[acts], rows[acts, 2], rows[acts, 3] * _NANOMETRE, rows[acts, 4] / _KCAL),
    )


def _excluded(count: int, pairs: np.ndarray) -> np.ndarray:
    """Return for each atom itself and its partners in pairs, filled up with itself, shape (count, most)."""
    partners: list[list[int]] = [[k] for k in range(count)]
    for first, second in pairs.tolist():
        partners[first].append(second)
        partners[second].append(first)
    most = max(map(len, partners))
    return np.array([row + row[:1] * (most - len(row)) for row in partners], np.int32)
