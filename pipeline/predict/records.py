"""What predict writes of a target: each prediction with its record, and the ranking of several."""

import contextlib
import dataclasses
import importlib.metadata
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import __version__
from pipeline.batch_record import is_whole
from pipeline.errors import RecordError
from pipeline.fasta import read_target
from pipeline.features import RawFeatures
from pipeline.numbering import author_numbers, numbering_of
from pipeline.predict.extras import EXTRAS, wanted, write_extra
from pipeline.predict.settings import Settings
from pipeline.protein import Protein, read_structure
from pipeline.protein_writer import write_mmcif
from pipeline.provenance import FILE as PROVENANCE
from pipeline.provenance import processor, sha256, versions, write_provenance
from pipeline.quality import assess
from pipeline.records import atomic, read_json, read_npz, write_json, write_npz
from pipeline.target import Chain, read_target_record

log = logging.getLogger(__name__)

CONFIDENCE_SCHEMA = "foldline.confidence/1"
RANKING_SCHEMA = "foldline.ranking/1"
RUNNING_SCHEMA = "foldline.running/1"
RUNNING = "running.json"
RECORD, STRUCTURE, ARRAYS, RANKING = "confidence.json", "predicted.cif", "confidence.npz", "ranking.json"
_SOFTWARE = ("jax", "jaxlib", "dm-haiku", "numpy")
PAE_STEP = 0.125  # angstrom per count of the stored uint8; the largest PAE, 31.75 A, is 254


@dataclasses.dataclass(frozen=True)
class Job:
    """One target of a batch: where its features are and where its files go."""

    features: Path
    folder: Path

    @property
    def name(self) -> str:
        """The target's name: that of its folder."""
        return self.folder.resolve().name


@dataclasses.dataclass(frozen=True)
class Label:
    """What the user calls a target: nothing that its prediction depends on.

    Args:
        header: Of its FASTA record.
        chain: With its residue numbers.
    """

    header: str
    chain: Chain


@dataclasses.dataclass(frozen=True)
class Run:
    """One of the predictions of a target: a model with a seed."""

    model: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder among the target's models."""
        return f"{self.model}-{self.seed}"

    def folder(self, job: Job, settings: Settings) -> Path:
        """Return where its files go: the target's own folder where it is the only one."""
        return job.folder / "models" / self.name if settings.several else job.folder


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The result of one run on one target.

    Args:
        protein: The structure with pLDDT as B-factors.
        plddt: 0-100, shape (n,).
        pae: Predicted aligned error in angstrom, shape (n, n); None where the model has no such head.
        ptm: Predicted TM-score; None where the model has no such head.
        ca_change: RMS change of the CA distances in each recycle that ran, angstrom.
        templates: How many templates the network read at most.
        seconds: Time of each step.
        memory: What the program needs, bytes; None where it is not known.
        device: What it ran on.
        stepped_down: Where memory ended: why, and with what it was tried next; the last one made the prediction.
        couplings: Whether the network read couplings of the alignment's columns; None for one that never does.
        secondary_structure: Probabilities of helix, strand and neither, shape (n, 3); None without such a head.
    """

    protein: Protein
    plddt: np.ndarray
    pae: np.ndarray | None
    ptm: float | None
    ca_change: tuple[float, ...]
    templates: int
    seconds: dict[str, float]
    memory: int | None
    device: str
    stepped_down: tuple[dict[str, Any], ...] = ()
    couplings: bool | None = None
    secondary_structure: np.ndarray | None = None


def runs_of(settings: Settings) -> list[Run]:
    """Return the predictions that each target gets, model by model."""
    return [Run(model, seed) for model in settings.model_names for seed in settings.all_seeds]


def software() -> dict[str, str]:
    """Return the versions of what computes a prediction."""
    return {"foldline": __version__, **{name: importlib.metadata.version(name) for name in ("jax", "dm-haiku")}}


def is_done(folder: Path, made_from: Mapping[str, Any]) -> bool:
    """Return whether the folder holds a whole result of the same inputs (the record is written last)."""
    return is_whole(folder / RECORD, CONFIDENCE_SCHEMA, made_from)


def forget(folder: Path) -> None:
    """Remove results, so that nothing old stands for a prediction that fails; those of single models stay."""
    for name in (PROVENANCE, RANKING, RECORD, ARRAYS, STRUCTURE, *EXTRAS.values()):
        (folder / name).unlink(missing_ok=True)


def write(folder: Path, record: Mapping[str, Any], prediction: Prediction, settings: Settings) -> None:
    """Write predicted.cif, confidence.npz and, last, confidence.json, which says that the others are whole."""
    stored: dict[str, np.ndarray] = {"plddt": prediction.plddt.astype(np.float32)}
    if prediction.pae is not None:
        stored["pae"] = np.clip(np.rint(prediction.pae / PAE_STEP), 0, 255).astype(np.uint8)
        stored["pae_step"] = np.array(PAE_STEP, np.float32)
    if prediction.secondary_structure is not None:
        stored["secondary_structure"] = prediction.secondary_structure.astype(np.float32)
    _write_files(folder, record, prediction.protein, stored, wanted(settings, stored))


def _write_files(
    folder: Path,
    record: Mapping[str, Any],
    protein: Protein,
    arrays: Mapping[str, np.ndarray],
    extras: Sequence[str],
) -> None:
    header = record["header"]
    write_mmcif(folder / STRUCTURE, protein, name=record["target"], title=header)
    write_npz(folder / ARRAYS, {"author_number": np.array(protein.author_number), **arrays}, CONFIDENCE_SCHEMA)
    for name in extras:
        write_extra(folder / name, protein, arrays, header)
    digests = {file: sha256(folder / file) for file in (STRUCTURE, ARRAYS, *extras)}
    write_json(folder / RECORD, {**record, "files": digests}, CONFIDENCE_SCHEMA)


def record_of(
    job: Job, features: RawFeatures, prediction: Prediction, settings: Settings, made_from: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what confidence.json says of a prediction, without the checksums of its files."""
    memory = prediction.memory
    return {
        "target": job.name,
        "header": label_of(job).header,
        "length": len(features.aatype),
        "numbering": numbering_of(prediction.protein.author_number),
        "model": made_from["model"],
        "seed": made_from["seed"],
        "mean_plddt": round(float(prediction.plddt.mean()), 2),
        "ptm": None if prediction.ptm is None else round(prediction.ptm, 4),
        "recycles": len(prediction.ca_change),
        "ca_change": [round(x, 3) for x in prediction.ca_change],
        "templates_used": list(features.template_ids[: prediction.templates]),
        "couplings_used": prediction.couplings,
        "violations": assess(prediction.protein),
        "seconds": {name: round(value, 3) for name, value in prediction.seconds.items()},
        "memory_gb": None if memory is None else round(memory / 1e9, 3),
        "device": prediction.device,
        "stepped_down": list(prediction.stepped_down),
        "settings": dataclasses.asdict(settings),
        "made_from": dict(made_from),
    }


@contextlib.contextmanager
def said_to_run(job: Job, run: Run) -> Iterator[None]:
    """Leave word of a prediction that is going on: where the process is killed, nothing else says what it was doing."""
    path = job.folder / RUNNING
    write_json(path, {"target": job.name, "model": run.model, "seed": run.seed}, RUNNING_SCHEMA)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def label_of(job: Job) -> Label:
    """Return what the user calls a target, from its record, or from its FASTA file, where one lies beside its results.

    Raises:
        FoldlineError: That file is damaged.
    """
    record, fasta = job.folder / "target.json", job.folder / "target.fasta"
    if not (record.is_file() or fasta.is_file()):
        return Label(job.name, Chain(""))
    target = read_target_record(record) if record.is_file() else read_target(fasta)
    return Label(target.header, target.chain)


def labelled(protein: Protein, label: Label) -> Protein:
    """Return the structure with the user's residue numbers, and the chain's name.

    Raises:
        NumberingError: They are those of another sequence.
    """
    numbers = author_numbers(label.chain.numbering, len(protein), label.header)
    return dataclasses.replace(protein, author_number=numbers, chain_id=np.full(len(protein), label.chain.id))


def relabel(folder: Path, label: Label) -> None:
    """Give a finished result the header and the residue numbers of now, where they were others; its numbers stay."""
    record = read_json(folder / RECORD, CONFIDENCE_SCHEMA)
    numbering = numbering_of(author_numbers(label.chain.numbering, record["length"], label.header))
    if (record["header"], record.get("numbering")) == (label.header, numbering):
        return
    arrays = read_npz(folder / ARRAYS, CONFIDENCE_SCHEMA)
    arrays.pop("author_number", None)
    protein = dataclasses.replace(read_structure(folder / STRUCTURE), b_factor=arrays["plddt"])
    known = {**record, "header": label.header, "numbering": numbering}
    extras = [name for name in EXTRAS.values() if name in record["files"]]
    _write_files(folder, known, labelled(protein, label), arrays, extras)


def add_extras(folder: Path, settings: Settings) -> None:
    """Write the files that are asked for now beside a finished result, unless they are there."""
    record = read_json(folder / RECORD, CONFIDENCE_SCHEMA)
    if set(wanted(settings, {"pae": np.empty(0)})) <= set(record["files"]):
        return
    arrays = read_npz(folder / ARRAYS, CONFIDENCE_SCHEMA)
    missing = [name for name in wanted(settings, arrays) if name not in record["files"]]
    for name in missing:
        write_extra(folder / name, read_structure(folder / STRUCTURE), arrays, record["header"])
        record["files"][name] = sha256(folder / name)
    asked = {setting: True for setting, name in EXTRAS.items() if name in missing}
    if missing:
        write_json(folder / RECORD, {**record, "settings": {**record["settings"], **asked}}, CONFIDENCE_SCHEMA)


def finish(job: Job, runs: Sequence[Run], settings: Settings) -> None:
    """Rank the finished predictions of a target and make the best one's files the target's own."""
    if not settings.several:
        (job.folder / RANKING).unlink(missing_ok=True)  # of earlier settings
        _say_where_from(job, [""], settings)
        return
    entries = ranked(job, runs, settings)
    _take(job.folder / entries[0]["folder"], job.folder)
    record = {"target": job.name, "rank_by": settings.score, "ranked": entries}
    if not _holds(job.folder / RANKING, record):
        write_json(job.folder / RANKING, record, RANKING_SCHEMA)
    _say_where_from(job, ["", *(f"{entry['folder']}/" for entry in entries)], settings)


def _say_where_from(job: Job, places: Sequence[str], settings: Settings) -> None:
    """Write the record of where a target's files come from.

    Args:
        job: The target.
        places: What the names of each prediction's files begin with; the target's own first.
        settings: Of predict.
    """
    records = {place: read_json(job.folder / place / RECORD, CONFIDENCE_SCHEMA) for place in places}
    outputs = [f"{place}{name}" for place, record in records.items() for name in (*record["files"], RECORD)]
    made_from = [record["made_from"] for record in records.values()]
    made = {
        "weights": {made["model"]: made["weights_sha256"] for made in made_from if made},
        "seeds": list(settings.all_seeds),
        "predict_settings": dataclasses.asdict(settings),
        "device": records[places[0]].get("device", ""),
        "processor": processor(),
        "software": versions(_SOFTWARE),
    }
    write_provenance(job.folder, [*outputs, RANKING], made)


def ranked(job: Job, runs: Sequence[Run], settings: Settings) -> list[dict[str, Any]]:
    """Return the finished predictions of a target, the best first; of equals the one with the higher mean pLDDT."""
    entries = []
    for run in runs:
        folder = run.folder(job, settings)
        record = read_json(folder / RECORD, CONFIDENCE_SCHEMA)
        score = record["ptm"] if settings.score == "ptm" else record["mean_plddt"]
        entries.append(
            {
                "model": run.model,
                "seed": run.seed,
                "mean_plddt": record["mean_plddt"],
                "ptm": record["ptm"],
                "score": score,
                "recycles": record["recycles"],
                "seconds": round(sum(record["seconds"].values()), 3),
                "folder": folder.relative_to(job.folder).as_posix(),
            }
        )
    return sorted(entries, key=lambda entry: (-entry["score"], -entry["mean_plddt"]))


def _take(best: Path, folder: Path) -> None:
    """Copy a finished result, its record last, unless it is there."""
    record = read_json(best / RECORD, CONFIDENCE_SCHEMA)
    if _holds(folder / RECORD, record) and is_done(folder, record["made_from"]):
        return
    forget(folder)
    for name in (*record["files"], RECORD):
        with atomic(folder / name) as temporary:
            shutil.copyfile(best / name, temporary)


def _holds(path: Path, record: Mapping[str, Any]) -> bool:
    try:
        found = read_json(path, record.get("schema", RANKING_SCHEMA))
    except RecordError:
        return False
    return {**record, "schema": found["schema"]} == found
