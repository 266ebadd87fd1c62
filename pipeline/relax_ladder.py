"""What can be relaxed of a structure, and how: rungs that are tried in turn until one gives a better structure."""

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np
import openmm

from models import residue_constants as rc
from pipeline import quality
from pipeline import relax_build as build
from pipeline.protein import Protein
from pipeline.relax import RelaxFailure, Settings
from pipeline.relax_minimise import Budget, Minimiser

RELEASE = (0.1, 0.0)  # of the stiffness, round by round, for residues that stay in violation and their neighbours
HOPELESS = 1000.0  # kcal/mol for each residue; a minimum above this still overlaps
COINCIDENT = 0.1  # angstrom; atoms nearer than this hardly know in which direction to push each other
_N, _CA, _C = (rc.ATOM37_ID[name] for name in ("N", "CA", "C"))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a rung gives.

    Args:
        protein: With hydrogens.
        energy_before: Of the force field, hydrogens placed, kcal/mol.
        energy_after: The same after minimisation.
        platform: OpenMM's.
        changes: What was added or left out.
        rung: Its name.
        iterations: All that were done.
        stopped: What ran out before the end; else empty.
    """

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
    prepared, changes = _prepare(protein, settings)
    budget = Budget(settings.iterations, started + settings.seconds)
    failure = RelaxFailure("budget")
    for name, rung in LADDER:
        try:
            outcome = _attempt(rung, prepared, settings, budget)
        except RelaxFailure as error:
            failure = error
            continue
        return dataclasses.replace(
            outcome,
            rung=name,
            iterations=budget.used,
            stopped=budget.stopped,
            changes=(*changes, *outcome.changes),
        )
    raise failure


def _attempt(rung: "Rung", protein: Protein, settings: Settings, budget: Budget) -> Outcome:
    """Run a rung, name the class of what OpenMM and PDBFixer raise, and hold what comes out against what went in.

    Raises:
        RelaxFailure: The rung gave nothing better.
    """
    try:
        outcome = rung(protein, settings, budget)
    except openmm.OpenMMException as error:
        raise RelaxFailure(_kind(str(error)), _first_line(error)) from error
    except MemoryError as error:
        raise RelaxFailure("memory") from error
    except (ValueError, KeyError, IndexError, ArithmeticError) as error:
        kind = "template" if "template" in str(error) else "topology"
        raise RelaxFailure(kind, _first_line(error)) from error
    _check(protein, outcome)
    return outcome


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _kind(text: str) -> str:
    """Return the class of an OpenMM exception, which has but one type, from its text."""
    lowered = text.lower()
    words = {"nan": "energy", "infinite": "energy", "platform": "platform", "memory": "memory", "alloc": "memory"}
    return next((kind for word, kind in words.items() if word in lowered), "topology")


def _check(protein: Protein, outcome: Outcome) -> None:
    """Refuse a structure that is no better.

    Raises:
        RelaxFailure: The energy is no number or absurd, or there are more violations than before.
    """
    if not math.isfinite(outcome.energy_after) or not np.isfinite(outcome.protein.atom37_positions).all():
        raise RelaxFailure("energy", f"{outcome.energy_after}")
    if outcome.energy_after > HOPELESS * len(protein):
        raise RelaxFailure("overlap", f"{outcome.energy_after:.3g} kcal/mol remain")
    before, after = (int(quality.violations(p).residues.sum()) for p in (protein, outcome.protein))
    if after > before:
        raise RelaxFailure("worse", f"{after} residues in violation instead of {before}")
    if outcome.energy_after > outcome.energy_before:
        raise RelaxFailure("worse", f"{outcome.energy_after:.6g} kcal/mol instead of {outcome.energy_before:.6g}")


# What can be relaxed --------------------------------------------------------------------------------------------------


def segments(protein: Protein, longest_bond: float = 4.0) -> tuple[tuple[slice, ...], tuple[str, ...]]:
    """Cut a protein into runs of bonded residues that the force field knows, and say where and what is left out.

    Args:
        protein: Any structure.
        longest_bond: Between C and N of consecutive residues, angstrom. Where the numbering skips, a bond is drawn only
            if nothing can be missing (`quality.BROKEN_BOND`).
    """
    changes: list[str] = []
    known = (protein.aatype != rc.UNKNOWN) & protein.atom37_mask.any(axis=1)
    changes += [f"{protein.label(i)} is left as it is: it is unknown or has no atoms" for i in _places(~known)]
    same_chain = protein.chain_id[1:] == protein.chain_id[:-1]
    limit = np.where(quality.joined(protein), longest_bond, quality.BROKEN_BOND)
    bonded = same_chain & known[1:] & known[:-1] & (_gaps(protein) <= limit)
    for i in _places(same_chain & known[1:] & known[:-1] & ~bonded):
        changes.append(f"the chain is broken between {protein.label(i)} and {protein.label(i + 1)}")
    edges = [0, *(np.flatnonzero(~bonded) + 1), len(protein)]
    runs = [slice(int(a), int(b)) for a, b in itertools.pairwise(edges) if known[a]]
    for run in runs:
        if run.stop - run.start == 1:
            changes.append(f"{protein.label(run.start)} is left as it is: it stands alone")
    return tuple(run for run in runs if run.stop - run.start > 1), tuple(changes)


def _places(mask: np.ndarray) -> list[int]:
    return [int(i) for i in np.flatnonzero(mask)]


def _gaps(protein: Protein) -> np.ndarray:
    """Return the distance from C to the next N, judged by the CA atoms where one is missing, shape (n - 1,), angstrom."""
    x, mask = protein.atom37_positions.astype(np.float64), protein.atom37_mask
    peptide = np.linalg.norm(x[1:, _N] - x[:-1, _C], axis=1)
    trace = np.linalg.norm(x[1:, _CA] - x[:-1, _CA], axis=1) - (rc.CA_CA_TRANS - rc.PEPTIDE_BOND[0])
    has_peptide = mask[1:, _N] & mask[:-1, _C]
    has_trace = mask[1:, _CA] & mask[:-1, _CA]
    return np.where(has_peptide, peptide, np.where(has_trace, trace, np.inf))


def _part_coincident(protein: Protein) -> tuple[Protein, tuple[str, ...]]:
    """Move atoms that stand on another one a little, the same way each time."""
    rows, columns = np.nonzero(protein.atom37_mask)
    x = protein.atom37_positions[rows, columns].astype(np.float64)
    order = np.argsort(x[:, 0], kind="stable")
    moved: set[int] = set()
    for step in range(1, len(order)):
        first, second = order[:-step], order[step:]
        if np.all(x[second, 0] - x[first, 0] > COINCIDENT):
            break
        near = np.linalg.norm(x[second] - x[first], axis=1) < COINCIDENT
        moved |= set(second[near].tolist())
    if not moved:
        return protein, ()
    index = np.array(sorted(moved))
    direction = np.random.default_rng(1).normal(size=(len(index), 3))
    xyz = protein.atom37_positions.copy()
    xyz[rows[index], columns[index]] += 0.3 * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    places = ", ".join(f"{protein.label(rows[k])} {rc.ATOM37[columns[k]]}" for k in index[:5])
    more = " ..." if len(index) > 5 else ""
    text = f"{len(index)} atoms that stood on another were moved by 0.3 A: {places}{more}"
    return dataclasses.replace(protein, atom37_positions=xyz), (text,)


def _prepare(protein: Protein, settings: Settings) -> tuple[Protein, tuple[str, ...]]:
    """Check that there is something to relax, and part atoms that stand on each other.

    Raises:
        RelaxFailure: A coordinate is no number, or no two residues are bonded.
    """
    lost = protein.atom37_mask & ~np.isfinite(protein.atom37_positions).all(axis=-1)
    if lost.any():
        row = int(np.flatnonzero(lost.any(axis=1))[0])
        raise RelaxFailure(
            "coordinates", f"{int(lost.sum())} atoms are nan or infinite, the first in {protein.label(row)}"
        )
    runs, changes = segments(protein, settings.longest_bond)
    if not runs:
        raise RelaxFailure("coordinates", "no two residues are bonded")
    if protein.hydrogens is not None:
        changes = (*changes, f"{len(protein.hydrogens.names)} hydrogens were placed anew")
    parted, moved = _part_coincident(protein)
    return parted, (*changes, *moved)


# The rungs ------------------------------------------------------------------------------------------------------------

Rung = Callable[[Protein, Settings, Budget], Outcome]


def _restrained(protein: Protein, settings: Settings, budget: Budget) -> Outcome:
    """Minimise everything under restraints, which are weakened where violations remain."""
    machine = build.choose_machine(settings.platform, settings.threads)
    model, complete, changes = _model(protein, settings, machine)
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
    return Outcome(relaxed, before, minimiser.energy(), machine.name, changes)


def _model(
    protein: Protein, settings: Settings, machine: build.Machine
) -> tuple[build.Model, Protein, tuple[str, ...]]:
    """Return the system of a protein, the protein with the atoms that were added, and the changes."""
    runs, _ = segments(protein, settings.longest_bond)
    complete, added = build.add_missing_atoms(protein, runs, machine)
    bridges = build.disulfides(complete, runs, settings.disulfide)
    bonds = [f"disulfide bond {complete.label(i)} {complete.label(j)}" for i, j in bridges]
    complete = build.add_terminal_oxygens(complete, runs)
    stiffness = np.where(protein.atom37_mask, settings.stiffness, 0.0)  # what was added is free
    chemistry = build.Chemistry(settings.force_field, settings.ph, settings.cutoff)
    model = build.build(complete, runs, bridges, stiffness, chemistry, machine)
    return model, complete, (*added, *bonds)


LADDER: tuple[tuple[str, Rung], ...] = (("full", _restrained),)
