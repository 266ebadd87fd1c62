"""Relieve the strain and the clashes of a structure by bounded minimisation; on any failure hand the structure on.

The physics (OpenMM, PDBFixer) is in `relax_ladder` and what it imports, and is loaded only where it runs.
"""

import argparse
import dataclasses
import logging
import math
import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from models import residue_constants as rc
from pipeline import quality
from pipeline.errors import ConfigError, StageError
from pipeline.protein import Protein, read_structure
from pipeline.protein_writer import write_mmcif, write_pdb
from pipeline.records import write_json
from pipeline.relax.settings import RelaxFailure, Settings
from pipeline.settings import add_flags, from_args

if TYPE_CHECKING:
    from pipeline.relax.ladder import Outcome

SCHEMA = "foldline.relax/1"
GRACE_FACTOR, GRACE_SECONDS = 1.05, 5.0  # over the budget, before the process of the physics is ended from outside
_CA = rc.ATOM37_ID["CA"]

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class RelaxRecord:
    """What was done (relax.json).

    Args:
        status: `relaxed` or `unrelaxed`.
        rung: Of the ladder that gave the structure; `none` where it is the input.
        reason: Why it is not relaxed, or not to the end; else empty.
        failure: The class of the reason, one of the keys of `relax_settings.FAILURES`; else empty.
        platform: OpenMM's, empty where it was not reached.
        force_field: Its name.
        iterations: L-BFGS iterations.
        energy_before: Of the force field without restraints, hydrogens placed, kcal/mol.
        energy_after: The same after minimisation.
        violations_before: Counts of `quality.assess`.
        violations_after: The same for the structure that is handed on.
        rmsd: Of the input's heavy atoms to the input, without superposition, A.
        ca_rmsd: The same for CA.
        residues: Chain, name and author's number of each residue, such as "A:CYS17".
        displacement: Root mean square over the heavy atoms of each residue, A.
        changes: What was added, renamed or left out.
        seconds: Wall time.
    """

    status: Literal["relaxed", "unrelaxed"]
    force_field: str
    rung: str = "none"
    reason: str = ""
    failure: str = ""
    platform: str = ""
    iterations: int = 0
    energy_before: float | None = None
    energy_after: float | None = None
    violations_before: dict[str, Any] = dataclasses.field(default_factory=dict)
    violations_after: dict[str, Any] = dataclasses.field(default_factory=dict)
    rmsd: float = 0.0
    ca_rmsd: float = 0.0
    residues: tuple[str, ...] = ()
    displacement: tuple[float, ...] = ()
    changes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class RelaxResult:
    """A structure, relaxed or as it came, and the record that says which."""

    protein: Protein
    record: RelaxRecord


def relax(protein: Protein, settings: Settings) -> RelaxResult:
    """Relax a structure within a budget; whatever goes wrong with the physics becomes the record's reason.

    Args:
        protein: Any structure; residues that the force field does not know are left where they are.
        settings: Force field, restraints, budget, platform.
    """
    started = time.monotonic()
    from pipeline.relax import ladder  # noqa: PLC0415 - the parent of an isolated run must not load OpenMM

    try:
        return _relaxed(protein, ladder.descend(protein, settings, started), settings, started)
    except RelaxFailure as failure:
        return unrelaxed(protein, failure, settings, started)


def relax_isolated(protein: Protein, settings: Settings) -> RelaxResult:
    """Do the same in a process of its own: a crash or a hang of native code becomes a reason too."""
    started = time.monotonic()
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send_result, args=(sender, protein, settings), daemon=True)
    child.start()
    sender.close()
    try:
        return _received(receiver, settings)
    except EOFError:
        child.join()
        failure = RelaxFailure("crash", f"exit code {child.exitcode}")
    except RelaxFailure as error:
        failure = error
    finally:
        child.kill()
        child.join()
        receiver.close()
    return unrelaxed(protein, failure, settings, started)


def _send_result(sender: Connection, protein: Protein, settings: Settings) -> None:
    sender.send(relax(protein, settings))
    sender.close()


def _received(receiver: Connection, settings: Settings) -> RelaxResult:
    limit = GRACE_FACTOR * settings.seconds + GRACE_SECONDS
    if not receiver.poll(limit):
        raise RelaxFailure("budget", f"ended from outside after {limit:.0f} s")
    result: RelaxResult = receiver.recv()
    return result


def _relaxed(protein: Protein, outcome: "Outcome", settings: Settings, started: float) -> RelaxResult:
    """Make the result of a rung that succeeded."""
    moved = np.linalg.norm(outcome.protein.atom37_positions - protein.atom37_positions, axis=-1)
    mask = protein.atom37_mask & outcome.protein.atom37_mask
    squared = np.where(mask, moved.astype(np.float64) ** 2, 0.0)
    by_residue = np.sqrt(squared.sum(axis=1) / np.maximum(mask.sum(axis=1), 1))
    record = RelaxRecord(
        status="relaxed",
        rung=outcome.rung,
        reason=f"the budget of {outcome.stopped} was spent before the end" if outcome.stopped else "",
        failure="budget" if outcome.stopped else "",
        platform=outcome.platform,
        force_field=settings.force_field,
        iterations=outcome.iterations,
        energy_before=_number(outcome.energy_before),
        energy_after=_number(outcome.energy_after),
        violations_before=quality.assess(protein),
        violations_after=quality.assess(outcome.protein),
        rmsd=round(float(np.sqrt(squared.sum() / max(mask.sum(), 1))), 4),
        ca_rmsd=round(float(np.sqrt(squared[:, _CA].sum() / max(mask[:, _CA].sum(), 1))), 4),
        residues=_labels(protein),
        displacement=tuple(round(float(value), 3) for value in by_residue),
        changes=(*protein.notes, *outcome.changes),
        seconds=round(time.monotonic() - started, 3),
    )
    return RelaxResult(outcome.protein, record)


def unrelaxed(protein: Protein, failure: RelaxFailure, settings: Settings, started: float) -> RelaxResult:
    """Make the result that hands the structure on as it came."""
    found = quality.assess(protein)
    record = RelaxRecord(
        status="unrelaxed",
        reason=str(failure),
        failure=failure.kind,
        force_field=settings.force_field,
        violations_before=found,
        violations_after=found,
        residues=_labels(protein),
        displacement=(0.0,) * len(protein),
        changes=protein.notes,
        seconds=round(time.monotonic() - started, 3),
    )
    return RelaxResult(protein, record)


def _labels(protein: Protein) -> tuple[str, ...]:
    return tuple(protein.label(i) for i in range(len(protein)))


def _number(energy: float) -> float | None:
    return round(energy, 2) if math.isfinite(energy) else None


def main(argv: Sequence[str] | None = None) -> int:
    """Run `foldline relax`: a structure in, a structure and a record out; the exit code is 0 also where it failed."""
    parser = argparse.ArgumentParser(prog="foldline relax", description=main.__doc__)
    parser.add_argument("--structure", type=Path, required=True, help="structure to relax (mmCIF or PDB)")
    parser.add_argument("--output", type=Path, required=True, help="structure to write (mmCIF)")
    parser.add_argument("--report", type=Path, required=True, help="record to write (JSON)")
    add_flags(parser, Settings)
    arguments = parser.parse_args(argv)
    settings = from_args(Settings, arguments)
    pdb = arguments.output.with_suffix(".pdb") if settings.pdb else None
    _refuse_one_file_for_two(arguments.structure, arguments.output, arguments.report, pdb)
    protein = read_structure(arguments.structure)
    result = (relax_isolated if settings.isolate else relax)(protein, settings)
    record = result.record
    log.info("%s: %s in %.1f s %s", arguments.structure, record.status, record.seconds, record.reason)
    name = protein.name or arguments.output.stem
    write_mmcif(arguments.output, result.protein, name=name, title=protein.title, plddt=protein.has_plddt)
    if pdb:
        write_pdb(pdb, result.protein, title=protein.title)
    written = {"target": name, **dataclasses.asdict(record), "settings": dataclasses.asdict(settings)}
    write_json(arguments.report, written, SCHEMA)
    if settings.strict and record.failure:
        raise StageError(f"not fully relaxed: {record.reason}", str(arguments.structure))
    return 0


def _refuse_one_file_for_two(*paths: Path | None) -> None:
    """Keep the input, and each output, from being overwritten by another output."""
    seen: set[Path] = set()
    for path in filter(None, paths):
        if path.resolve() in seen:
            raise ConfigError("this file would be written over", str(path), "give each file a name of its own")
        seen.add(path.resolve())
