"""The rungs of relaxation, tried in turn until one gives a better structure, and the classes of what goes wrong."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import openmm

from pipeline import quality
from pipeline.protein import Protein
from pipeline.relax import build
from pipeline.relax.minimise import Budget, Minimiser
from pipeline.relax.prepare import Prepared, prepare
from pipeline.relax.settings import RelaxFailure, Settings

RELEASE = (0.1, 0.0)  # of the stiffness, round by round, for residues that stay in violation and their neighbours
HOPELESS = 100.0  # kcal/mol for each residue; a minimum above this still overlaps


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a rung gives.

    Args:
        start: All heavy atoms in place, before minimisation.
        protein: The same after it, with hydrogens.
        energy_before: Of the force field, hydrogens placed, kcal/mol.
        energy_after: The same after minimisation.
        platform: OpenMM's.
        changes: What was added or left out.
        rung: Its name.
        iterations: All that were done.
        stopped: What ran out before the end; else empty.
    """

    start: Protein
    protein: Protein
    energy_before: float
    energy_after: float
    platform: str
    changes: tuple[str, ...]
    rung: str = ""
    iterations: int = 0
    stopped: str = ""


def descend(protein: Protein, settings: Settings, started: float) -> Outcome:
    """Try the rungs in turn.

    Args:
        protein: The input.
        settings: Of the stage.
        started: When the budget began to run, of `time.monotonic`, seconds.

    Raises:
        RelaxFailure: No rung gave a better structure; the failure of the last one.
    """
    prepared = prepare(protein, settings.longest_bond)
    budget = Budget(settings.iterations, started + settings.seconds)
    failure = RelaxFailure("budget")
    for name, rung in LADDER:
        try:
            outcome = _attempt(rung, prepared, settings, budget)
        except RelaxFailure as error:
            spent = f"{budget.stopped}; {error}"
            failure = RelaxFailure("budget", spent) if budget.stopped else error
            continue
        return dataclasses.replace(
            outcome,
            protein=prepared.restore(outcome.protein),
            rung=name,
            iterations=budget.used,
            stopped=budget.stopped,
            changes=(*prepared.changes, *outcome.changes),
        )
    raise failure


def _attempt(rung: "Rung", prepared: Prepared, settings: Settings, budget: Budget) -> Outcome:
    """Run a rung, name the class of what OpenMM and PDBFixer raise, and hold what comes out against what went in.

    Raises:
        RelaxFailure: The rung gave nothing better.
    """
    try:
        outcome = rung(prepared, settings, budget)
    except openmm.OpenMMException as error:
        raise RelaxFailure(_kind(str(error)), _first_line(error)) from error
    except MemoryError as error:
        raise RelaxFailure("memory") from error
    except (ValueError, KeyError, IndexError, ArithmeticError) as error:
        kind = "template" if "template" in str(error) else "topology"
        raise RelaxFailure(kind, _first_line(error)) from error
    _check(outcome)
    return outcome


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _kind(text: str) -> str:
    """Return the class of an OpenMM exception, which has but one type, from its text."""
    lowered = text.lower()
    words = {"nan": "energy", "infinite": "energy", "platform": "platform", "memory": "memory", "alloc": "memory"}
    return next((kind for word, kind in words.items() if word in lowered), "topology")


def _check(outcome: Outcome) -> None:
    """Refuse a structure that is no better.

    Raises:
        RelaxFailure: The energy is no number or absurd, or there are more violations than before.
    """
    if not math.isfinite(outcome.energy_after) or not np.isfinite(outcome.protein.atom37_positions).all():
        raise RelaxFailure("energy", f"{outcome.energy_after}")
    if outcome.energy_after > HOPELESS * len(outcome.protein):
        raise RelaxFailure("overlap", f"{outcome.energy_after:.3g} kcal/mol remain")
    before, after = (int(quality.violations(p).residues.sum()) for p in (outcome.start, outcome.protein))
    if after > before:
        raise RelaxFailure("worse", f"{after} residues in violation instead of {before}")
    if outcome.energy_after > outcome.energy_before:
        raise RelaxFailure("worse", f"{outcome.energy_after:.6g} kcal/mol instead of {outcome.energy_before:.6g}")


# The rungs ------------------------------------------------------------------------------------------------------------

Rung = Callable[[Prepared, Settings, Budget], Outcome]


def _restrained(prepared: Prepared, settings: Settings, budget: Budget) -> Outcome:
    """Minimise everything under restraints, which are weakened where violations remain."""
    machine = build.choose_machine(settings.platform, settings.threads)
    model, complete, changes = _model(prepared, settings, machine)
    minimiser = Minimiser(model, machine, settings.tolerance, budget)
    before = minimiser.energy()
    relaxed = complete
    for release in (*RELEASE[: max(settings.rounds, 1) - 1], None):
        minimiser.minimise()
        relaxed = build.to_protein(model, complete, minimiser.positions())
        bad = quality.violations(relaxed).residues
        if budget.stopped or release is None or not bad.any():
            break
        near = np.convolve(bad, np.ones(3), "same") > 0
        minimiser.weaken(near[model.residue[model.restrained]], release)
    return Outcome(complete, relaxed, before, minimiser.energy(), machine.name, changes)


def _model(
    prepared: Prepared, settings: Settings, machine: build.Machine
) -> tuple[build.Model, Protein, tuple[str, ...]]:
    """Return the system of a protein, the protein with the atoms that were added, and the changes."""
    protein, runs = prepared.protein, prepared.runs
    complete, added = build.add_missing_atoms(protein, runs, machine)
    bridges = build.disulfides(complete, runs, settings.disulfide)
    bonds = [f"disulfide bond {complete.label(i)} {complete.label(j)}" for i, j in bridges]
    complete = build.add_terminal_oxygens(complete, runs)
    stiffness = np.where(protein.atom37_mask, settings.stiffness, 0.0)  # what was added is free
    stiffness[prepared.immobile] = np.where(protein.atom37_mask[prepared.immobile], np.inf, 0.0)
    chemistry = build.Chemistry(settings.force_field, settings.ph, settings.cutoff)
    model = build.build(complete, runs, bridges, stiffness, chemistry, machine)
    return model, complete, (*added, *bonds)


LADDER: tuple[tuple[str, Rung], ...] = (("full", _restrained),)
