"""Bounded minimisation with OpenMM: a budget that is enforced from inside, and a soft start for atoms in each other."""

import math
import time

import numpy as np
import openmm
from openmm import unit

from pipeline.relax.atoms import NANOMETRE
from pipeline.relax.budget import Budget, Reporter
from pipeline.relax.build import KCAL, NONBONDED_GROUP, SOLVENT_GROUP
from pipeline.relax.forces import Restrained
from pipeline.relax.machine import Machine

ABSURD = 1e6  # kcal/mol; a start above this overlaps, and is softened first
_SOFT_STIFFNESS = 5e4  # kJ/mol/nm^2, of spheres that overlap in the soft start
_SOFT_RADIUS = 0.85  # of the Lennard-Jones sigma
_SOFT_ITERATIONS = 300
_SOFT_CUTOFF = 0.4  # nm; no sigma is larger
_HOT, _STAGES = 400.0, 8  # kelvin at the start of dynamics; steps of the cooling
_STEP, _FRICTION = 0.0005, 5.0  # ps; 1/ps
_CHUNK = 20  # steps between two looks at the clock


class Minimiser:
    """One system with restraints: minimise, weaken them, minimise again."""

    def __init__(self, model: Restrained, machine: Machine, tolerance: float, budget: Budget) -> None:
        """Take over a model.

        Args:
            model: The system and where its atoms start.
            machine: The platform.
            tolerance: Root mean square force at which a minimisation is done, kcal/mol/A.
            budget: Shared by all that is done here.
        """
        self._model = model
        self._machine = machine
        self._tolerance = tolerance * KCAL / NANOMETRE
        self._budget = budget
        self._context = machine.context(model.system)
        self._context.setPositions(model.model.positions)
        self._bare = machine.context(model.model.system)

    def energy(self, positions: np.ndarray | None = None) -> float:
        """Return the energy of the force field without restraints, of all pairs, kcal/mol; nan where it is no number.

        Args:
            positions: Nanometre, shape (atoms, 3), of which to return it, instead of where the atoms are.
        """
        try:
            self._bare.setPositions(self.positions() if positions is None else positions)
            state = self._bare.getState(energy=True)
        except openmm.OpenMMException:  # raised for a position that is nan
            return math.nan
        return float(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)) / KCAL

    def positions(self) -> np.ndarray:
        """Return the positions in nanometre, shape (atoms, 3)."""
        return self._context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)

    def minimise(self, looseness: float = 1.0) -> bool:
        """Minimise; softly first where atoms are in each other. Return whether they were.

        Args:
            looseness: Times the tolerance, for a minimisation that is not the last.

        Raises:
            OpenMMException: The energy or a force is no number.
        """
        absurd = not self.energy() < ABSURD
        if absurd:
            self._context.setPositions(self._softened())
        self._descend(looseness)
        return absurd

    def _descend(self, looseness: float) -> None:
        if self._budget.left:
            reporter = Reporter(self._budget.spend)
            openmm.LocalEnergyMinimizer.minimize(
                self._context, looseness * self._tolerance, self._budget.left, reporter
            )

    def weaken(self, chosen: np.ndarray, factor: float) -> None:
        """Set the restraints of the chosen atoms, shape (restrained,), to a share of what the model started with."""
        force = self._model.force
        for particle in np.flatnonzero(chosen):
            index, (_, *place) = force.getParticleParameters(int(particle))
            force.setParticleParameters(int(particle), index, [factor * self._model.stiffness[particle], *place])
        force.updateParametersInContext(self._context)

    def hold_here(self) -> None:
        """Let the restraints pull to where the atoms are now."""
        force, places = self._model.force, self.positions()
        for particle in range(force.getNumParticles()):
            index, (k, *_) = force.getParticleParameters(particle)
            force.setParticleParameters(particle, index, [k, *places[index]])
        force.updateParametersInContext(self._context)

    def cool(self, picoseconds: float) -> None:
        """Shake the structure by restrained molecular dynamics, from 400 K down, within the seconds of the budget.

        Raises:
            OpenMMException: A position is no number.
        """
        integrator = openmm.LangevinMiddleIntegrator(_HOT, _FRICTION, _STEP)
        integrator.setRandomNumberSeed(1)
        context = self._machine.context(self._model.system, integrator)
        context.setPositions(self.positions())
        context.setVelocitiesToTemperature(_HOT, 1)
        chunks = max(round(picoseconds / _STEP / _STAGES / _CHUNK), 1)
        for stage in range(_STAGES):
            integrator.setTemperature(_HOT * (1 - stage / _STAGES))
            for _ in range(chunks):
                if time.monotonic() >= self._budget.deadline:
                    self._budget.stopped = "seconds"
                    return
                integrator.step(_CHUNK)
        self._context.setPositions(context.getState(positions=True).getPositions())

    def _softened(self) -> np.ndarray:
        """Return positions after soft spheres, in the place of charges and Lennard-Jones, pushed atoms apart."""
        context = self._machine.context(_soft_system(self._model.system))
        context.setPositions(self.positions())
        part = self._budget.at_most(_SOFT_ITERATIONS)
        openmm.LocalEnergyMinimizer.minimize(context, 10 * self._tolerance, 0, Reporter(part.spend))
        self._budget.used += part.used
        return context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)


def _soft_system(system: openmm.System) -> openmm.System:
    """Return a copy whose nonbonded force is a soft repulsion of the same atoms with the same exclusions."""
    soft = openmm.XmlSerializer.clone(system)
    for number, force in reversed(list(enumerate(soft.getForces()))):
        if force.getForceGroup() == SOLVENT_GROUP:
            soft.removeForce(number)
    number = next(k for k, force in enumerate(soft.getForces()) if force.getForceGroup() == NONBONDED_GROUP)
    nonbonded = soft.getForce(number)
    spheres = openmm.CustomNonbondedForce(f"{0.5 * _SOFT_STIFFNESS}*step(s-r)*(s-r)^2; s=sigma1+sigma2")
    spheres.addPerParticleParameter("sigma")
    for particle in range(nonbonded.getNumParticles()):
        _, sigma, epsilon = nonbonded.getParticleParameters(particle)
        radius = 0.5 * _SOFT_RADIUS * sigma.value_in_unit(unit.nanometer)
        spheres.addParticle([radius if epsilon.value_in_unit(unit.kilojoule_per_mole) > 0 else 0.0])
    for exception in range(nonbonded.getNumExceptions()):
        first, second, *_ = nonbonded.getExceptionParameters(exception)
        spheres.addExclusion(first, second)
    spheres.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffNonPeriodic)
    spheres.setCutoffDistance(_SOFT_CUTOFF)
    soft.removeForce(number)
    soft.addForce(spheres)
    return soft
