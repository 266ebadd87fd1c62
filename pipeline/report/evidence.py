"""Read what the stages left of a target: every record is optional but the sequence."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.endings import endings
from pipeline.errors import FoldlineError
from pipeline.failures import failures_before_report
from pipeline.fasta import read_target
from pipeline.protein import CA, Protein, read_structure
from pipeline.quality.secondary import likeliest_states
from pipeline.records import read_json, read_npz
from pipeline.target import Target, read_target_record

Parts = Literal["all", "model", "records"]
STAGES = ("search", "featurize", "predict", "relax")
OTHERS = 25  # predictions of one target that are compared
NO_RECORD = "no prediction was written; the logs of search, featurize and predict say why"
KILLED = "its prediction ({model}, seed {seed}) began and did not end: {ending}"
UNKNOWN = "it goes on, or its process was killed, for example for want of memory or at a limit of time"
NO_REASON = "the prediction ended without a reason"


@dataclasses.dataclass(frozen=True)
class Other:
    """One of several predictions, not the best.

    Args:
        name: Model and seed.
        ca: CA atoms, shape (residues, 3), angstrom; nan where there is none.
    """

    name: str
    ca: np.ndarray


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Everything that is known about a target when the report is written.

    Args:
        name: Safe name of the target.
        header: Header as the user wrote it: hostile input.
        sequence: Normalised one-letter sequence.
        author_numbers: The user's number of each residue.
        notes: What the FASTA reader changed or kept, in words.
        search, templates, confidence, relax: The stages' JSON records; empty where there is none.
        ranking: The record of several predictions; empty where there is one.
        plddt: Shape (residues,), 0-100, or None.
        pae: Predicted aligned error, shape (residues, residues), angstrom, or None.
        expected_structure: Likeliest secondary structure by the network's head, `H`, `E` or `-`; empty without one.
        predicted, relaxed: The two structures, or None.
        others: Predictions of other models and seeds.
        provenance: What the prediction comes from; empty where there is no record.
        seconds: Wall time of each stage that has been measured.
        ending: How the batch ended that should have brought it further and left no record; empty where all left one.
        failure: Why there is no prediction; empty where there is one.
    """

    name: str
    header: str
    sequence: str
    author_numbers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    search: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    templates: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    confidence: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    relax: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    ranking: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    plddt: np.ndarray | None = None
    pae: np.ndarray | None = None
    expected_structure: str = ""
    predicted: Protein | None = None
    relaxed: Protein | None = None
    others: tuple[Other, ...] = ()
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    ending: str = ""
    failure: str = ""

    def numbers(self, length: int) -> tuple[str, ...]:
        """Return the number of each of so many residues: the user's, or from 1 where those are of others."""
        if len(self.author_numbers) == length:
            return self.author_numbers
        return tuple(str(i + 1) for i in range(length))

    @property
    def title(self) -> str:
        """Return the header without the name, where it begins with it."""
        first, _, rest = self.header.partition(" ")
        return rest.strip() if first == self.name else self.header

    @property
    def status(self) -> str:
        """Return `failed`, `unrelaxed` or `relaxed`."""
        if self.failure:
            return "failed"
        return "relaxed" if self.relax.get("status") == "relaxed" else "unrelaxed"

    @property
    def model(self) -> Protein | None:
        """Return the structure that the user takes away: relaxed where there is one."""
        return self.relaxed or self.predicted

    @property
    def violations_before(self) -> Mapping[str, Any]:
        """Return the quality of the prediction, from whichever stage recorded it."""
        return self.relax.get("violations_before") or self.confidence.get("violations") or {}


@dataclasses.dataclass(frozen=True)
class Told:
    """What the batches of a run tell of its targets, by name: why some failed, how those ended that left no record."""

    failures: Mapping[str, str]
    endings: Mapping[str, str]


def read_evidence(target_dir: Path, run: Path, *, parts: Parts = "all", told: Told | None = None) -> Evidence:
    """Read the records of a target.

    Args:
        target_dir: Folder of the target, `OUT/targets/NAME`.
        run: Output folder of the run, which holds `batches`.
        parts: `records` reads no coordinates and arrays, `model` only the coordinates of the final model, `all` all.
        told: What `read_told` gave; read from the run when it is not given.

    Raises:
        FastaError, RecordError, StructureError: The folder holds no record of a target, or a file is damaged.
    """
    name = target_dir.resolve().name
    told = told or read_told(run)
    failure, ending = told.failures.get(name, ""), told.endings.get(name, "")
    target = _target(target_dir)
    search = _optional_json(target_dir / "search.json", "foldline.search/1")
    made = {} if failure else _prediction(target_dir, parts)  # what lies there is of an earlier run
    features = _optional_json(target_dir / "features.json", "foldline.featurize/1")
    records = {
        "search": search,
        "featurize": features,
        "predict": _predict_record(made),
        "relax": made.get("relax", {}),
    }
    return Evidence(
        name=name,
        header=target.header,
        sequence=target.sequence,
        author_numbers=target.chain.author_numbers,
        notes=target.notes,
        search=search,
        templates=_optional_json(target_dir / "templates.json", "foldline.templates/2"),
        seconds=_stage_seconds(records),
        ending=ending,
        failure=failure or ("" if made.get("confidence") else _unfinished(target_dir, ending)),
        **made,
    )


def unreadable(target_dir: Path, error: FoldlineError) -> Evidence:
    """Return the evidence of a target whose records cannot be read: a failed row, so that one target costs one row."""
    name = target_dir.resolve().name
    return Evidence(name, name, "", failure=str(error))


def _unfinished(folder: Path, ending: str) -> str:
    """Say why there is no prediction, where no stage has said it."""
    if not (running := _optional_json(folder / "running.json", "foldline.running/1")):
        return ending or NO_RECORD
    return KILLED.format(model=running.get("model", "?"), seed=running.get("seed", "?"), ending=ending or UNKNOWN)


def _target(folder: Path) -> Target:
    """Read the target's record, or its FASTA file, which knows the numbers and the notes of the header only."""
    record = folder / "target.json"
    return read_target_record(record) if record.exists() else read_target(folder / "target.fasta")


def _optional_json(path: Path, schema: str) -> dict[str, Any]:
    return read_json(path, schema) if path.exists() else {}


def _optional_arrays(path: Path) -> dict[str, np.ndarray]:
    return read_npz(path, "foldline.confidence/1") if path.exists() else {}


def _optional_structure(path: Path) -> Protein | None:
    return read_structure(path) if path.exists() else None


def _prediction(folder: Path, parts: Parts) -> dict[str, Any]:
    """Read what predict and relax left, as fields of the evidence."""
    arrays = _optional_arrays(folder / "confidence.npz") if parts == "all" else {}
    relaxed = _optional_structure(folder / "relaxed.cif") if parts != "records" else None
    wanted = parts == "all" or (parts == "model" and relaxed is None)
    ranking = _optional_json(folder / "ranking.json", "foldline.ranking/1")
    return {
        "confidence": _optional_json(folder / "confidence.json", "foldline.confidence/1"),
        "relax": _optional_json(folder / "relax.json", "foldline.relax/1"),
        "ranking": ranking,
        "provenance": _optional_json(folder / "provenance.json", "foldline.provenance/1"),
        "others": _others(folder, ranking) if parts == "all" else (),
        "plddt": arrays.get("plddt"),
        "pae": _decode_pae(arrays),
        "expected_structure": likeliest_states(arrays.get("secondary_structure", np.empty((0, 3)))),
        "predicted": _optional_structure(folder / "predicted.cif") if wanted else None,
        "relaxed": relaxed,
    }


def _others(folder: Path, ranking: Mapping[str, Any]) -> tuple[Other, ...]:
    """Read the predictions that are not the best, as far as they are there."""
    others = []
    for entry in list(ranking.get("ranked") or ())[1:OTHERS]:
        model = _optional_structure(folder / str(entry["folder"]) / "predicted.cif")
        if model is not None:
            ca = np.where(model.atom37_mask[:, CA, None], model.atom37_positions[:, CA], np.nan)
            others.append(Other(f"{entry['model']}, seed {entry['seed']}", ca))
    return tuple(others)


def _predict_record(made: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the record that says how long predicting took: of all models where there are several."""
    several = made.get("ranking", {}).get("ranked") or ()
    return {"seconds": sum(entry["seconds"] for entry in several)} if several else made.get("confidence", {})


def _decode_pae(arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
    if "pae" not in arrays:
        return None
    return arrays["pae"].astype(np.float32) * float(arrays.get("pae_step", np.float32(1)))


def read_told(run: Path) -> Told:
    """Read what is known of the batches of a run.

    Raises:
        RecordError: The plan or a record of a batch is damaged.
    """
    failures = {name: reason or NO_REASON for name, reason in failures_before_report(run).items()}
    return Told(failures, endings(run))


def _stage_seconds(records: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the wall time of each stage, from its record of the target: what Snakemake measures is of a batch."""
    measured = {stage: record["seconds"] for stage, record in records.items() if "seconds" in record}
    return {s: float(sum(time.values()) if isinstance(time, Mapping) else time) for s, time in measured.items()}


def target_folders(run: Path, names: Sequence[str] | None) -> list[Path]:
    """List the folders of the targets to report, by name; all that hold a sequence when no names are given."""
    folder = run / "targets"
    if names is not None:
        return [folder / name for name in names]
    return sorted(path.parent for path in folder.glob("*/target.fasta"))
