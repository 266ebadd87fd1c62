"""Relieve the strain and the clashes of a structure by bounded minimisation; on any failure hand the structure on.

The physics (OpenMM, PDBFixer) is in `ladder` and what it imports, and is loaded only where it runs.
"""

import argparse
import contextlib
import dataclasses
import functools
import importlib.metadata
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from models import residue_constants as rc
from pipeline import quality
from pipeline.batch_record import outcome, reason_of, reasons_in, write_batch
from pipeline.cif import Tables
from pipeline.command_line import Parser
from pipeline.errors import FoldlineError, StageError
from pipeline.modelcif import Description, Software, described, refined
from pipeline.obstacles import concerns_all
from pipeline.protein import Protein, read_structure
from pipeline.protein_writer import write_mmcif, write_pdb
from pipeline.provenance import sha256
from pipeline.records import read_json, write_json
from pipeline.relax.files import (
    SCHEMA,
    Places,
    copy_relaxation,
    is_relaxed,
    other_models,
    refuse_one_file_for_two,
    say_which,
    where_from,
)
from pipeline.relax.settings import RelaxFailure, Settings
from pipeline.relax.worker import Worker
from pipeline.settings import add_flags, from_args

if TYPE_CHECKING:
    from pipeline.relax.ladder import Descent

INSIDE = 0.95  # of the seconds, for the physics and what is measured after it
AFTERWARDS = 2.0  # times what it took to measure the input: the result is checked, measured and handed back
_CA = rc.ATOM37_ID["CA"]

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class RelaxRecord:
    """What was done (relax.json).

    Args:
        status: `relaxed` or `unrelaxed`.
        rung: Of the ladder that gave the structure; `none` where it is the input.
        reason: Why it is not relaxed, or not to the end; else empty.
        failure: The class of the reason, one of the keys of `settings.FAILURES`; else empty.
        platform: OpenMM's, empty where it was not reached.
        force_field: Its name.
        solvent: Of the energies; `none` is vacuum.
        protocol: Its name.
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
        findings: What was noticed and is still so: D residues, cis and twisted peptide bonds, bonds through rings.
        attempts: The rungs that failed before, each with its class and its reason.
        seconds: Wall time.
    """

    status: Literal["relaxed", "unrelaxed"]
    force_field: str
    solvent: str = "none"
    protocol: str = "foldline"
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
    findings: tuple[str, ...] = ()
    attempts: tuple[dict[str, str], ...] = ()
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class RelaxResult:
    """A structure, relaxed or as it came, and the record that says which."""

    protein: Protein
    record: RelaxRecord


_assessed = functools.lru_cache(maxsize=1)(quality.assess)  # of the structure in hand, which is asked for twice


def relax(protein: Protein, settings: Settings, started: float | None = None) -> RelaxResult:
    """Relax a structure within a budget; whatever goes wrong with the physics becomes the record's reason.

    Args:
        protein: Any structure; residues that the force field does not know are left where they are.
        settings: Force field, restraints, budget, platform.
        started: When the budget began to run, of `time.monotonic`, seconds; now unless given.
    """
    started = time.monotonic() if started is None else started
    from pipeline.relax import ladder  # noqa: PLC0415 - the parent of an isolated run must not load OpenMM

    began = time.monotonic()
    _assessed(protein)
    afterwards = AFTERWARDS * (time.monotonic() - began)
    deadline = started + INSIDE * settings.seconds - afterwards
    try:
        return _relaxed(protein, ladder.descend(protein, settings, deadline), settings, started)
    except RelaxFailure as failure:
        return unrelaxed(protein, failure, settings, started)


def relax_isolated(protein: Protein, settings: Settings) -> RelaxResult:
    """Do the same in a process of its own: a crash or a hang of native code becomes a reason too."""
    with Worker(relax, _assessed) as worker:
        return guarded(worker, protein, settings)


def guarded(physics: Callable[[Protein, Settings], RelaxResult], protein: Protein, settings: Settings) -> RelaxResult:
    """Relax, and hand the structure on as it came where the process of the physics fails."""
    started = time.monotonic()
    try:
        return physics(protein, settings)
    except RelaxFailure as failure:
        return unrelaxed(protein, failure, settings, started)


def _relaxed(protein: Protein, descent: "Descent", settings: Settings, started: float) -> RelaxResult:
    """Make the result of a rung that succeeded."""
    outcome, start = descent.outcome, descent.start
    moved = np.linalg.norm(outcome.protein.atom37_positions - start.atom37_positions, axis=-1)
    mask = start.atom37_mask & outcome.protein.atom37_mask
    squared = np.where(mask, moved.astype(np.float64) ** 2, 0.0)
    by_residue = np.sqrt(squared.sum(axis=1) / np.maximum(mask.sum(axis=1), 1))
    failure, reason = _shortfall(descent)
    record = RelaxRecord(
        status="relaxed",
        rung=descent.rung,
        reason=reason,
        failure=failure,
        platform=descent.platform,
        force_field=settings.resolved().force_field,
        solvent=settings.resolved().solvent,
        protocol=settings.protocol,
        iterations=descent.iterations,
        energy_before=_number(outcome.energy_before),
        energy_after=_number(outcome.energy_after),
        violations_before=_assessed(protein),
        violations_after=quality.assess(outcome.protein),
        rmsd=round(float(np.sqrt(squared.sum() / max(mask.sum(), 1))), 4),
        ca_rmsd=round(float(np.sqrt(squared[:, _CA].sum() / max(mask[:, _CA].sum(), 1))), 4),
        residues=_labels(protein),
        displacement=tuple(round(float(value), 3) for value in by_residue),
        changes=(*protein.notes, *descent.changes),
        findings=descent.findings,
        attempts=tuple(dataclasses.asdict(attempt) for attempt in descent.attempts),
        seconds=round(time.monotonic() - started, 3),
    )
    return RelaxResult(outcome.protein, record)


def _shortfall(descent: "Descent") -> tuple[str, str]:
    """Return the class and the reason of what keeps a relaxation from being full; both empty where it is."""
    if descent.attempts:
        return descent.attempts[0].failure, "; ".join(f"{a.rung}: {a.reason}" for a in descent.attempts)
    if descent.outcome.stopped:
        return "budget", f"the budget of {descent.outcome.stopped} was spent before the end"
    return "", ""


def unrelaxed(protein: Protein, failure: RelaxFailure, settings: Settings, started: float) -> RelaxResult:
    """Make the result that hands the structure on as it came."""
    return _as_it_came(protein, settings, {"reason": str(failure), "failure": failure.kind}, started)


def handed_on(protein: Protein, settings: Settings, reason: str) -> RelaxResult:
    """Make the result of a structure that is not to be relaxed."""
    return _as_it_came(protein, settings, {"reason": reason}, time.monotonic())


def _as_it_came(protein: Protein, settings: Settings, why: dict[str, str], started: float) -> RelaxResult:
    found = _assessed(protein)
    record = RelaxRecord(
        status="unrelaxed",
        reason=why["reason"],
        failure=why.get("failure", ""),
        force_field=settings.resolved().force_field,
        solvent=settings.resolved().solvent,
        protocol=settings.protocol,
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
    """Run `foldline relax`: structures in, structures and records out; the exit code is 0 also where it failed."""
    flags = parser()
    arguments = flags.parse_args(argv)
    settings = from_args(Settings, arguments)
    with Worker(relax, _assessed) as worker:
        relaxer = Relaxer(settings, worker if settings.isolate else relax)
        if arguments.targets:
            failed = reasons_in(arguments.predictions) if arguments.predictions else {}
            records = [relax_target(folder, relaxer, failed) for folder in arguments.targets]
            if arguments.batch:
                write_batch(arguments.batch, records)
            return 0
        files = (arguments.structure, arguments.output, arguments.report)
        if None in files:
            flags.error("give --targets, or --structure, --output and --report")
        relaxer.relax_all(Places(*files), arguments.ranking)
    return 0


def parser() -> argparse.ArgumentParser:
    """Describe the command."""
    made = Parser(
        "foldline relax",
        "Relieve strain and clashes of structures; where that fails they come out as they were, with exit code 0.",
        example="foldline relax --structure model.pdb --output relaxed.cif --report relax.json",
    )
    made.add_argument("--structure", type=Path, metavar="FILE", help="structure (mmCIF or PDB)")
    made.add_argument("--output", type=Path, metavar="FILE", help="structure to write (mmCIF)")
    made.add_argument("--report", type=Path, metavar="FILE", help="record to write (JSON)")
    made.add_argument("--ranking", type=Path, metavar="FILE", help="ranking.json of a target, for --models all")
    made.add_argument("--targets", type=Path, nargs="+", metavar="DIR", help="a batch: folder of each target")
    made.add_argument("--predictions", type=Path, metavar="FILE", help="record of the batch's predictions (JSON)")
    made.add_argument("--batch", type=Path, metavar="FILE", help="record to write of what succeeded and failed (JSON)")
    add_flags(made, Settings)
    return made


@dataclasses.dataclass(frozen=True)
class Relaxer:
    """The settings, and what does the physics: in this process or in another."""

    settings: Settings
    physics: Callable[[Protein, Settings], RelaxResult]

    def relax_all(self, best: Places, ranking: Path | None, *, again: bool = True) -> None:
        """Relax a target's prediction, and its other ones where the settings say so.

        Args:
            best: Files of the best prediction.
            ranking: Names the others, where there are any.
            again: Also what is relaxed already from the same prediction with the same settings.

        Raises:
            StageError: One was not relaxed to the end, and the settings are strict.
        """
        others = other_models(ranking, self.settings) if ranking else []
        done: dict[str, Places] = {}  # by the checksum of the prediction: the best one is also among the others
        for places in [best, *others]:
            digest = sha256(places.structure) if places.structure.is_file() else ""
            if again or not is_relaxed(places, self.settings):
                if digest in done:
                    copy_relaxation(done[digest], places, self.settings)
                else:
                    relax_file(places, self.settings, self.physics)
            done.setdefault(digest, places)
        if ranking and ranking.is_file():
            say_which(best, self.settings)
        for places in [best, *others] if self.settings.strict else []:
            record = read_json(places.report, SCHEMA)
            if record.get("failure"):
                raise StageError(f"not fully relaxed: {record.get('reason', '')}", str(best.structure))


def relax_target(folder: Path, relaxer: Relaxer, failed: Mapping[str, str]) -> dict[str, str]:
    """Relax the prediction of a target of a batch, unless it is relaxed; return what the batch's record says of it.

    Args:
        folder: Of the target.
        relaxer: Settings and physics.
        failed: Why there is no prediction, by the name of a target whose prediction failed.

    Raises:
        OSError: The disk is full or cannot be written.
    """
    places, name, reason = Places.of(folder), folder.resolve().name, ""
    if not places.structure.is_file():
        places.forget()
        return outcome(name, failed.get(name) or "there is no prediction")
    try:
        relaxer.relax_all(places, folder / "ranking.json", again=False)
    except (FoldlineError, OSError, MemoryError) as error:
        if concerns_all(error):
            raise
        reason = reason_of(error)
        log.error("%s failed: %s", name, reason)
        if not isinstance(error, StageError):  # which is strict, and keeps what it found wanting
            with contextlib.suppress(OSError):
                places.forget()
    digests = {"relaxed_sha256": sha256(places.output)} if places.output.is_file() else {}
    return outcome(name, reason, **digests)


def relax_file(
    places: Places, settings: Settings, physics: Callable[[Protein, Settings], RelaxResult] = relax
) -> RelaxRecord:
    """Relax one file, or hand it on where the settings say so; write the structure and the record, which comes last."""
    pdb = places.pdb(settings)
    refuse_one_file_for_two(places.structure, places.output, places.report, pdb)
    places.make_way()
    protein = read_structure(places.structure)
    unwanted = _unwanted(protein, settings)
    result = handed_on(protein, settings, unwanted) if unwanted else guarded(physics, protein, settings)
    record = result.record
    log.info("%s: %s in %.1f s %s", places.structure, record.status, record.seconds, record.reason)
    name = protein.name or places.output.stem
    written = dataclasses.replace(result.protein, described=_described(protein, record))
    write_mmcif(places.output, written, name=name, title=protein.title, plddt=protein.has_plddt)
    if pdb:
        write_pdb(pdb, result.protein, title=protein.title)
    body = {"target": name, **dataclasses.asdict(record), "settings": dataclasses.asdict(settings)}
    write_json(places.report, {**body, **where_from(places.structure, places.outputs(settings))}, SCHEMA)
    return record


def _described(protein: Protein, record: RelaxRecord) -> Tables:
    """Return what the structure said of its origin, with this step where it was done."""
    known = dict(protein.described)
    if not (protein.has_plddt and record.status == "relaxed"):
        return known
    known = known or described(Description(str(protein.chain_id[0]), float(protein.b_factor.mean())))
    tools = [Software(name, importlib.metadata.version(name.lower()), "refinement") for name in ("OpenMM", "PDBFixer")]
    return refined(known, tools, f"relax ({record.protocol}, {record.force_field}, {record.rung})")


def _unwanted(protein: Protein, settings: Settings) -> str:
    """Return why the settings leave a prediction as it is; else empty."""
    mean = float(np.mean(protein.b_factor))
    if settings.models == "none":
        return "not asked for (relax.models is none)"
    if protein.has_plddt and mean < settings.min_plddt:
        return f"the mean pLDDT of {mean:.1f} is below {settings.min_plddt:g} (relax.min_plddt)"
    return ""
