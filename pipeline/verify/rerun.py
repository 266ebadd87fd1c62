"""Predict a target again and compare: the prediction must come out the same."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from models.residue_constants import ATOM37_ID
from pipeline.compare import rmsd
from pipeline.errors import RecordError, StageError, WeightsError
from pipeline.predict.records import ARRAYS, CONFIDENCE_SCHEMA, RECORD, STRUCTURE, Job, Run
from pipeline.predict.settings import Settings, from_section
from pipeline.predict.stage import Predictor, run_batch, stored_weights, use_compilation_cache
from pipeline.protein import read_structure
from pipeline.records import read_json, read_npz

_CA = ATOM37_ID["CA"]


@dataclasses.dataclass(frozen=True)
class Difference:
    """How much two predictions differ.

    Args:
        ca_rmsd: Of the CA atoms after superposition, angstrom.
        plddt: Largest difference of pLDDT.
    """

    ca_rmsd: float
    plddt: float


def rerun(folder: Path, bucket: int, cache: Path) -> Difference:
    """Predict the target's best prediction again, from its features, and compare.

    Args:
        folder: Of the target.
        bucket: Length to which it is padded, residues.
        cache: Folder of compiled programs.

    Raises:
        WeightsError: The parameters here are not those of the record.
        StageError: The prediction fails.
        RecordError: A file of the target is missing or damaged.
    """
    record = read_json(folder / RECORD, CONFIDENCE_SCHEMA)
    try:
        settings, run = settings_of(record), Run(record["model"], record["seed"])
        expected = record["made_from"]["weights_sha256"]
    except (KeyError, TypeError) as error:
        problem = "expected the settings of a prediction, and what it was made from"
        raise RecordError(problem, str(folder / RECORD), "delete it, and run again") from error
    weights = stored_weights(settings)
    if weights[run.model].sha256 != expected:
        problem = f"expected weights with sha256 {expected}, found {weights[run.model].sha256}"
        raise WeightsError(problem, str(weights[run.model].path), "rerun with the weights of the run")
    use_compilation_cache(cache)
    with tempfile.TemporaryDirectory() as scratch:
        job = Job(folder / "features.npz", Path(scratch) / folder.name)
        job.folder.mkdir()
        (said,) = run_batch([job], Predictor(settings), weights, bucket)
        if said["status"] != "ok":
            raise StageError(said["reason"], folder.name)
        return difference(folder, job.folder)


def settings_of(record: dict[str, Any]) -> Settings:
    """Return the settings that make one prediction again: its model and seed, with what it was stepped down to.

    Args:
        record: `confidence.json`.
    """
    made_from = record["made_from"]
    values = {**record["settings"], "model": record["model"], "models": [1], "seed": record["seed"], "seeds": 1}
    values |= {
        "recycles": made_from["recycles"],
        "precision": made_from["precision"],
        "rank_by": "auto",
        "pdb": False,
        "pae_json": False,
    }
    for step in record.get("stepped_down", [])[-1:]:
        values |= {"max_msa": step["max_msa"], "max_extra_msa": step["max_extra_msa"]}
    return from_section(values)


def difference(first: Path, second: Path) -> Difference:
    """Return how much the predictions of two folders differ."""
    ca = [read_structure(folder / STRUCTURE).atom37_positions[:, _CA].astype(np.float64) for folder in (first, second)]
    plddt = [read_npz(folder / ARRAYS, CONFIDENCE_SCHEMA)["plddt"] for folder in (first, second)]
    return Difference(rmsd(*ca), float(np.abs(plddt[0] - plddt[1]).max()))
