"""The rungs of relaxation, tried in turn until one gives a better structure, and the classes of what goes wrong."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
import openmm
from openmm import app

from models import residue_constants as rc
from pipeline import quality
from pipeline.protein import Protein
from pipeline.quality.clashes import find_clashes
from pipeline.relax import atoms, build, forces, smooth
from pipeline.relax.budget import Budget
from pipeline.relax.machine import Machine, choose_machine
from pipeline.relax.minimise import Minimiser
from pipeline.relax.prepare import Prepared, prepare
from pipeline.relax.settings import RelaxFailure, Settings
from pipeline.relax.stereo import unusual

RELEASE = (0.1, 0.0)  # of the stiffness, round by round, for residues that stay in violation and their neighbours
EASED = (0.3, 0.2)  # the same, for residues with atoms that overlap
LOOSE = 5.0  # times the tolerance, in all rounds but the last: what they find decides which restraints are weakened
HOPELESS = 100.0  # kcal/mol for each residue; a minimum above this still overlaps
SURE, UNSURE, LEAST = 90.0, 50.0, 0.1  # pLDDT with full restraints, with the weakest, and their share
LOCAL = 8.0  # angstrom from CA to CA of a residue in violation, within which residues move in the second rung
SHARES = {"full": 0.75, "local": 0.7, "hydrogens": 1.0}  # of what is left of the budget
_CA = rc.ATOM37_ID["CA"]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a rung gives.

    Args:
        protein: After minimisation, with hydrogens.
        energy_before: Of the force field, hydrogens placed, kcal/mol.
        energy_after: The same after minimisation.
        stopped: What ran out before the end; else empty.
    """

    protein: Protein
    energy_before: float
    energy_after: float
    stopped: str = ""


@dataclasses.dataclass(frozen=True)
class Attempt:
    """A rung that gave nothing: its name, the class of the failure, and why."""

    rung: str
    failure: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Descent:
    """What the ladder gives.

    Args:
        outcome: Of the rung that succeeded, at the place of the input.
        start: The input, without atoms that have no usable coordinates.
        rung: Its name.
        platform: OpenMM's.
        iterations: Of all rungs.
        changes: What was added or left out.
        findings: What was noticed and is still so.
        attempts: The rungs that failed before.
    """

    outcome: Outcome
    start: Protein
    rung: str
    platform: str
    iterations: int
    changes: tuple[str, ...]
    findings: tuple[str, ...]
    attempts: tuple[Attempt, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """What the rungs share: one topology, hydrogens placed once.

    Args:
        prepared: The input.
        complete: All heavy atoms in place, before minimisation.
        start: The same after smoothing, if it was rough.
        model: Its system; hydrogens stand about the heavy atoms of `start`.
        bridges: Pairs of cysteines.
        machine: The platform.
        settings: Of the stage.
        changes: What was added.
    """

    prepared: Prepared
    complete: Protein
    start: Protein
    model: build.Model
    bridges: tuple[tuple[int, int], ...]
    machine: Machine
    settings: Settings
    changes: tuple[str, ...]

    def as_given(self) -> "Task":
        """Return the task with its heavy atoms where the input has them."""
        if self.start is self.complete:
            return self
        chemistry = _chemistry(self.settings)
        model = build.build(self.complete, self.prepared.runs, self.bridges, chemistry, self.machine)
        return dataclasses.replace(self, start=self.complete, model=model)


def descend(protein: Protein, settings: Settings, deadline: float) -> Descent:
    """Try the rungs in turn.

    Args:
        protein: The input.
        settings: Of the stage.
        deadline: When the seconds of the budget are spent, of `time.monotonic`.

    Raises:
        RelaxFailure: No rung gave a better structure; the failure of the first one.
    """
    settings = settings.resolved()
    budget = Budget(settings.iterations, deadline)
    budget.check()
    prepared = prepare(protein, settings.longest_bond)
    with _classified():
        task = _task(prepared, settings, budget)
    budget.check()
    attempts: list[Attempt] = []
    for name, rung in LADDER:
        if attempts and budget.over:
            break
        part = budget.part(SHARES[name])
        try:
            outcome = _attempt(name, rung, task, part)
        except RelaxFailure as error:
            budget.used += part.used
            failure = RelaxFailure("budget", f"{part.stopped}; {error}") if part.stopped else error
            attempts.append(Attempt(name, failure.kind, str(failure)))
            continue
        return Descent(
            outcome=dataclasses.replace(outcome, protein=prepared.restore(outcome.protein), stopped=part.stopped),
            start=prepared.original,
            rung=name,
            platform=task.machine.name,
            iterations=budget.used + part.used,
            changes=task.changes,
            findings=(*(one for one in unusual(outcome.protein) if one in prepared.unusual), *prepared.findings),
            attempts=tuple(attempts),
        )
    raise RelaxFailure(attempts[0].failure, "; ".join(f"{a.rung}: {a.reason}" for a in attempts))


def _attempt(name: str, rung: "Rung", task: Task, budget: Budget) -> Outcome:
    """Run a rung, and hold what comes out against what went in.

    Raises:
        RelaxFailure: The rung gave nothing better.
    """
    with _classified():
        outcome = rung(task, budget)
    _check(outcome, task.complete, moved=name != "hydrogens")
    return outcome


@contextlib.contextmanager
def _classified() -> Iterator[None]:
    """Name the class of what OpenMM and PDBFixer raise.

    Raises:
        RelaxFailure: Anything was raised.
    """
    try:
        yield
    except openmm.OpenMMException as error:
        raise RelaxFailure(_kind(str(error)), _first_line(error)) from error
    except MemoryError as error:
        raise RelaxFailure("memory") from error
    except (ValueError, KeyError, IndexError, ArithmeticError) as error:
        kind = "template" if "template" in str(error) else "topology"
        raise RelaxFailure(kind, _first_line(error)) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _kind(text: str) -> str:
    """Return the class of an OpenMM exception, which has but one type, from its text."""
    lowered = text.lower()
    words = {"nan": "energy", "infinite": "energy", "platform": "platform", "memory": "memory", "alloc": "memory"}
    return next((kind for word, kind in words.items() if word in lowered), "topology")


def _check(outcome: Outcome, start: Protein, *, moved: bool) -> None:
    """Refuse a structure that is no better.

    Raises:
        RelaxFailure: The energy is no number or absurd, or there are more violations than before.
    """
    if not math.isfinite(outcome.energy_after) or not np.isfinite(outcome.protein.atom37_positions).all():
        raise RelaxFailure("energy", f"{outcome.energy_after}")
    if moved and outcome.energy_after > HOPELESS * len(outcome.protein):
        raise RelaxFailure("overlap", f"{outcome.energy_after:.3g} kcal/mol remain")
    before, after = (int(quality.violations(p).residues.sum()) for p in (start, outcome.protein))
    if after > before:
        raise RelaxFailure("worse", f"{after} residues in violation instead of {before}")
    if outcome.energy_after > outcome.energy_before:
        raise RelaxFailure("worse", f"{outcome.energy_after:.6g} kcal/mol instead of {outcome.energy_before:.6g}")


# What the rungs share -------------------------------------------------------------------------------------------------


def _task(prepared: Prepared, settings: Settings, budget: Budget) -> Task:
    """Complete the protein and make its system."""
    protein, runs = prepared.protein, prepared.runs
    machine = choose_machine(settings.platform, settings.threads)
    complete, added = atoms.add_missing_atoms(protein, runs, machine)
    forced = atoms.forced_bridges(complete, runs, settings.pairs())
    bridges = tuple(atoms.disulfides(complete, runs, settings.disulfide, forced))
    budget.check()
    bonds = [f"disulfide bond {complete.label(i)} {complete.label(j)}" for i, j in bridges]
    start, smoothed = _smoothed(prepared, complete, bridges, (settings, machine, budget))
    complete, start = (atoms.add_terminal_oxygens(one, runs) for one in (complete, start))
    start = start if smoothed else complete
    model = build.build(start, runs, bridges, _chemistry(settings), machine)
    states = ", ".join(f"{complete.label(i)} is {state}" for i, state in model.histidines.items())
    cut = [f"nonbonded energies end at {model.cutoff:g} A"] if model.cutoff else []
    changes = (*prepared.changes, *added, *bonds, *smoothed, *filter(None, (states,)), *cut)
    return Task(prepared, complete, start, model, bridges, machine, settings, changes)


def _smoothed(
    prepared: Prepared,
    complete: Protein,
    bridges: tuple[tuple[int, int], ...],
    means: tuple[Settings, Machine, Budget],
) -> tuple[Protein, tuple[str, ...]]:
    """Return a start that has the shape of a protein, and that it was made; the input where it has it already."""
    settings, machine, budget = means
    springs = smooth.springs(complete, prepared.runs, prepared.torsions, bridges)
    if settings.protocol == "alphafold2" or not smooth.is_rough(complete, springs, prepared.torsions):
        return complete, ()
    stiffness = _stiffness(prepared, settings)
    start = smooth.smooth(complete, (springs, prepared.torsions), stiffness, prepared.given, (machine, budget))
    text = f"bonds and angles were off by {springs.strain(complete):.2f} A: heavy atoms were moved before hydrogens"
    return start, (text,)


def _chemistry(settings: Settings) -> build.Chemistry:
    return build.Chemistry(settings.force_field, settings.solvent, settings.constraints, settings.ph)


def _stiffness(prepared: Prepared, settings: Settings) -> np.ndarray:
    """Return the restraint of each heavy atom, kcal/mol/A^2, shape (n, 37); what was built is free."""
    share = np.ones(len(prepared.protein))
    if settings.confidence and prepared.original.has_plddt:
        share = np.interp(prepared.original.b_factor, (UNSURE, SURE), (LEAST, 1.0))
    stiffness = np.where(prepared.given, settings.stiffness * share[:, None], 0.0)
    still = prepared.immobile
    stiffness[still] = np.where(prepared.given[still], np.inf, 0.0)
    return np.asarray(stiffness)


def _restrained(task: Task, stiffness: np.ndarray) -> forces.Restrained:
    """Return the system with restraints at the input, walls around ligands, and what keeps peptide bonds flat.

    Its nonbonded forces may end nearer than those of the energies: neighbours decide where atoms go.
    """
    model = forces.restrain(task.model, stiffness, task.complete)
    if task.settings.cutoff and task.settings.solvent == "none":
        forces.shorten(model.system, task.settings.cutoff)
    walls = forces.fence(task.complete, task.prepared.given, task.model.particles)
    if walls is not None:
        model.system.addForce(walls)
    if task.start is not task.complete:
        model.system.addForce(forces.lead(task.prepared.torsions.peptides(), task.model.particles))
    return model


def _before(task: Task, minimiser: Minimiser) -> float:
    """Return the energy of the input, hydrogens placed, kcal/mol: they stand about `start`, and are moved along."""
    if task.start is task.complete:
        return minimiser.energy()
    step = np.zeros_like(task.model.positions)
    for (i, column), index in task.model.particles.items():
        step[index] = task.complete.atom37_positions[i, column] - task.start.atom37_positions[i, column]
    for bond in task.model.topology.bonds():
        for heavy, light in ((bond[0], bond[1]), (bond[1], bond[0])):
            if light.element is app.element.hydrogen:
                step[light.index] = step[heavy.index]
    return minimiser.energy(task.model.positions + atoms.NANOMETRE * step)


def _rounds(task: Task, stiffness: np.ndarray, budget: Budget) -> Outcome:
    """Minimise, and again with weaker restraints where something is still wrong."""
    model = _restrained(task, stiffness)
    minimiser = Minimiser(model, task.machine, task.settings.tolerance, budget)
    before = _before(task, minimiser)
    rounds = _published_rounds if task.settings.protocol == "alphafold2" else _own_rounds
    rounds(task, minimiser, model, budget)
    return Outcome(_now(task, minimiser), before, minimiser.energy())


def _own_rounds(task: Task, minimiser: Minimiser, model: forces.Restrained, budget: Budget) -> None:
    """Minimise loosely, weaken restraints where something is wrong, again, and at last to the tolerance."""
    rounds = task.settings.rounds
    looseness = LOOSE if rounds > 1 else 1.0
    absurd = minimiser.minimise(looseness) or task.start is not task.complete
    if absurd and task.settings.dynamics and not budget.stopped:
        minimiser.cool(task.settings.dynamics)
        minimiser.minimise(looseness)
    for number in range(rounds - 1):
        relaxed = _now(task, minimiser)
        bad, clashing = quality.violations(relaxed).residues, _clashing(relaxed)
        _weaken(minimiser, model, clashing, EASED[min(number, 1)])
        _weaken(minimiser, model, np.convolve(bad, np.ones(3), "same") > 0, RELEASE[min(number, 1)])
        last = number == rounds - 2 or not (bad.any() or clashing.any())
        minimiser.minimise(1.0 if last else LOOSE)
        if last or budget.stopped:
            break


def _published_rounds(task: Task, minimiser: Minimiser, model: forces.Restrained, budget: Budget) -> None:
    """Minimise as AlphaFold 2 does: residues in violation are freed, and the restraints move along."""
    minimiser.minimise()
    for _ in range(task.settings.rounds - 1):
        bad = quality.violations(_now(task, minimiser)).residues
        if budget.stopped or not bad.any():
            break
        minimiser.hold_here()
        _weaken(minimiser, model, bad, 0.0)
        minimiser.minimise()


def _now(task: Task, minimiser: Minimiser) -> Protein:
    return build.to_protein(task.model, task.complete, minimiser.positions())


def _weaken(minimiser: Minimiser, model: forces.Restrained, residues: np.ndarray, factor: float) -> None:
    minimiser.weaken(residues[model.model.residue[model.atoms]], factor)


def _clashing(protein: Protein) -> np.ndarray:
    """Return the residues with atoms that overlap others, hydrogens included, shape (n,)."""
    flags = np.zeros(len(protein), bool)
    flags[find_clashes(protein, quality.backbone(protein).bonded).residues.ravel()] = True
    return flags


# The rungs ------------------------------------------------------------------------------------------------------------

Rung = Callable[[Task, Budget], Outcome]


def _full(task: Task, budget: Budget) -> Outcome:
    """Minimise everything under restraints, which are weakened where violations remain."""
    return _rounds(task, _stiffness(task.prepared, task.settings), budget)


def _local(task: Task, budget: Budget) -> Outcome:
    """Minimise around the violations alone; all else stays where it is.

    Raises:
        RelaxFailure: There are no violations, or they are everywhere, so that this would be the first rung again.
    """
    bad = quality.violations(task.complete).residues
    ca = np.where(task.complete.atom37_mask[:, _CA, None], task.complete.atom37_positions[:, _CA], np.inf)
    near = bad.copy()
    for i in np.flatnonzero(bad):
        near |= np.linalg.norm(ca - ca[i], axis=1) < LOCAL if np.isfinite(ca[i]).all() else False
    near = np.convolve(near, np.ones(3), "same") > 0
    if not bad.any() or near.all():
        raise RelaxFailure("worse", "violations are nowhere or everywhere, so there is no smaller part to try")
    stiffness = _stiffness(task.prepared, task.settings)
    stiffness[~near] = np.where(task.prepared.given[~near], np.inf, stiffness[~near])
    return _rounds(task.as_given(), stiffness, budget)


def _hydrogens(task: Task, budget: Budget) -> Outcome:
    """Minimise hydrogens, and what was built, alone."""
    task = task.as_given()
    stiffness = np.where(task.prepared.given, np.inf, 0.0)
    minimiser = Minimiser(_restrained(task, stiffness), task.machine, task.settings.tolerance, budget)
    before = minimiser.energy()
    minimiser.minimise()
    return Outcome(_now(task, minimiser), before, minimiser.energy())


LADDER: tuple[tuple[str, Rung], ...] = (("full", _full), ("local", _local), ("hydrogens", _hydrogens))
