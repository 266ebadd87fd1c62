"""Predict: the features of a batch of targets to structures and confidences, with one load and one compilation.

Every target's files are written as it is done and its record says what they were made from, so a second run does only
what is missing. A target that fails does not stop the others.
"""

import argparse
import dataclasses
import hashlib
import importlib.metadata
import logging
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from models import alphafold, confidence, inputs, params
from models.config import PRESETS, ModelConfig
from pipeline import __version__, fasta
from pipeline.errors import ConfigError, FoldlineError, RecordError, StageError, WeightsError
from pipeline.features import RawFeatures
from pipeline.protein import Protein
from pipeline.protein_writer import write_mmcif, write_pdb
from pipeline.quality import assess
from pipeline.records import read_json, write_json, write_npz
from pipeline.settings import add_flags, from_args, setting

log = logging.getLogger(__name__)

CONFIDENCE_SCHEMA = "foldline.confidence/1"
BATCH_SCHEMA = "foldline.batch/1"
RESULTS = ("confidence.json", "confidence.npz", "predicted.cif", "predicted.pdb")
PAE_STEP = 0.125  # angstrom per count of the stored uint8; the largest PAE, 31.75 A, is 254


@dataclasses.dataclass(frozen=True)
class Settings:
    """What one prediction depends on beside features and weights."""

    model: str = setting("mini", "network: a preset of models/config.py")
    recycles: int | None = setting(None, "recycling iterations after the first; the model's own number where not given")
    seed: int = setting(0, "seed of MSA sampling and masking")
    pdb: bool = setting(False, "write predicted.pdb beside predicted.cif")

    def __post_init__(self) -> None:
        """Refuse values without meaning."""
        for name in ("recycles", "seed"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ConfigError(f"expected a number of at least 0, found {value}", f"predict.{name}")


@dataclasses.dataclass(frozen=True)
class Weights:
    """Parameters in memory, with the sha256 of the file that they came from."""

    config: ModelConfig
    parameters: hk.Params
    sha256: str


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One target's result.

    Args:
        protein: The structure with pLDDT as B-factors.
        plddt: 0-100, shape (n,).
        pae: Predicted aligned error in angstrom, shape (n, n); None where the model has no such head.
        ptm: Predicted TM-score; None where the model has no such head.
        ca_change: RMS change of the CA distances in each recycle, angstrom.
        seconds: Time of each step.
    """

    protein: Protein
    plddt: np.ndarray
    pae: np.ndarray | None
    ptm: float | None
    ca_change: tuple[float, ...]
    seconds: dict[str, float]


class Predictor:
    """A network with its weights; one compiled program per bucket."""

    def __init__(self, weights: Weights, settings: Settings) -> None:
        """Prepare; nothing is compiled yet."""
        self.weights, self.settings = weights, settings
        self.recycles = weights.config.recycles if settings.recycles is None else settings.recycles
        self._programs: dict[int, Any] = {}

    def predict(self, features: RawFeatures, bucket: int) -> Prediction:
        """Predict one target.

        Args:
            features: Raw features of n residues.
            bucket: Length to which residues are padded, at least n.
        """
        began = time.monotonic()
        batch = self._inputs(features, bucket)
        seconds = {"inputs": time.monotonic() - began}
        program, seconds["compile"] = self._program(bucket, batch)
        began = time.monotonic()
        outputs = jax.block_until_ready(program(self.weights.parameters, batch, jnp.int32(self.recycles)))
        seconds["run"] = time.monotonic() - began
        return _prediction(features, jax.tree.map(np.asarray, outputs), self.recycles, seconds)

    def _inputs(self, features: RawFeatures, bucket: int) -> dict[str, np.ndarray]:
        config = self.weights.config.input
        rng = np.random.default_rng(self.settings.seed)
        made = inputs.make_inputs(features.arrays(), config, rng, iterations=self.recycles + 1)
        return inputs.pad_inputs(made, config, bucket)

    def _program(self, bucket: int, batch: dict[str, np.ndarray]) -> tuple[Any, float]:
        """Return the compiled program of a bucket and the seconds that compiling took now."""
        if bucket in self._programs:
            return self._programs[bucket], 0.0
        began = time.monotonic()
        forward = hk.transform(lambda batch, recycles: alphafold.predict(self.weights.config, batch, recycles))
        lowered = jax.jit(lambda w, b, r: forward.apply(w, None, b, r)).lower(
            self.weights.parameters, batch, jnp.int32(self.recycles)
        )
        self._programs[bucket] = lowered.compile()
        return self._programs[bucket], time.monotonic() - began


def _prediction(features: RawFeatures, outputs: dict[str, Any], recycles: int, seconds: dict[str, float]) -> Prediction:
    n = len(features.aatype)
    structure = outputs["structure_module"]
    plddt = confidence.plddt(outputs["predicted_lddt"]["logits"][:n])
    positions = structure["final_atom_positions"][:n].astype(np.float32)
    if not (np.isfinite(positions).all() and np.isfinite(plddt).all()):
        raise StageError("the network gave coordinates that are no numbers", features.name)
    pae = ptm = None
    if "predicted_aligned_error" in outputs:
        logits = outputs["predicted_aligned_error"]["logits"][:n, :n]
        edges = outputs["predicted_aligned_error"]["bin_edges"]
        pae, ptm = confidence.predicted_aligned_error(logits, edges), confidence.predicted_tm_score(logits, edges)
    protein = Protein(
        aatype=features.aatype,
        atom37_positions=positions,
        atom37_mask=structure["final_atom_mask"][:n].astype(bool),
        residue_index=features.residue_index,
        chain_id=np.full(n, "A"),
        author_number=tuple(str(i + 1) for i in features.residue_index),
        b_factor=plddt.astype(np.float32),
    )
    change = tuple(float(x) for x in outputs["ca_change"][:recycles])
    return Prediction(protein, plddt, pae, None if ptm is None else float(ptm), change, seconds)


def load_weights(path: Path, model: str) -> Weights:
    """Read a parameter file and check that it fits the model.

    Raises:
        WeightsError: The model is unknown, or the file is missing, damaged or belongs to another network.
    """
    if model not in PRESETS:
        raise WeightsError(f"unknown model {model!r}", mend=f"choose one of {', '.join(PRESETS)}")
    config = PRESETS[model]
    try:
        parameters = params.load(path, config)
    except params.ParameterFileError as error:
        raise WeightsError(str(error)) from error
    return Weights(config, parameters, _sha256(path))


@dataclasses.dataclass(frozen=True)
class Job:
    """One target of a batch: where its features are and where its files go."""

    features: Path
    folder: Path

    @property
    def name(self) -> str:
        """The target's name: that of its folder."""
        return self.folder.name


def run_batch(jobs: Iterable[Job], predictor: Predictor, bucket: int | None) -> list[dict[str, str]]:
    """Predict every target that has no whole result yet; return one record per target: name, status, reason."""
    records = []
    for job in jobs:
        try:
            _run_job(job, predictor, bucket)
        except (FoldlineError, OSError, MemoryError, jax.errors.JaxRuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            log.error("%s failed: %s", job.name, reason)
            records.append({"name": job.name, "status": "failed", "reason": reason})
        else:
            digest = _sha256(job.folder / "predicted.cif")
            records.append({"name": job.name, "status": "ok", "reason": "", "predicted_sha256": digest})
    return records


def _run_job(job: Job, predictor: Predictor, bucket: int | None) -> None:
    made_from = provenance(job.features, predictor)
    wanted_pdb = predictor.settings.pdb and not (job.folder / "predicted.pdb").exists()
    if is_done(job.folder, made_from) and not wanted_pdb:
        log.info("%s: already predicted", job.name)
        return
    for name in RESULTS:  # nothing old may stand for a prediction that fails now
        (job.folder / name).unlink(missing_ok=True)
    features = RawFeatures.load(job.features)
    length = len(features.aatype)
    prediction = predictor.predict(features, max(bucket or length, length))
    write(job, prediction, features, made_from, predictor.settings)
    log.info(
        "%s: %d residues, mean pLDDT %.1f, %.1f s (compiling %.1f s)",
        *(job.name, length, prediction.plddt.mean(), prediction.seconds["run"], prediction.seconds["compile"]),
    )


def provenance(features: Path, predictor: Predictor) -> dict[str, Any]:
    """Return everything that the result is a function of."""
    if not features.is_file():
        raise RecordError("expected a features file: it does not exist", str(features), "run featurize first")
    return {
        "model": predictor.weights.config.name,
        "weights_sha256": predictor.weights.sha256,
        "features_sha256": _sha256(features),
        "seed": predictor.settings.seed,
        "recycles": predictor.recycles,
        "software": {
            "foldline": __version__,
            **{name: importlib.metadata.version(name) for name in ("jax", "dm-haiku")},
        },
    }


def is_done(folder: Path, made_from: dict[str, Any]) -> bool:
    """Return whether the folder holds a whole result of the same inputs (the record is written last)."""
    try:
        record = read_json(folder / "confidence.json", CONFIDENCE_SCHEMA)
        whole = all(_sha256(folder / name) == digest for name, digest in record.get("files", {}).items())
    except (RecordError, OSError):
        return False
    return whole and record.get("made_from") == made_from


def write(
    job: Job, prediction: Prediction, features: RawFeatures, made_from: dict[str, Any], settings: Settings
) -> None:
    """Write predicted.cif, confidence.npz and, last, confidence.json, which says that the others are whole."""
    header = _header(job)
    structure, arrays = job.folder / "predicted.cif", job.folder / "confidence.npz"
    write_mmcif(structure, prediction.protein, name=job.name, title=header)
    pdb = [job.folder / "predicted.pdb"] if settings.pdb else []
    for path in pdb:
        write_pdb(path, prediction.protein, title=header)
    stored: dict[str, np.ndarray] = {"plddt": prediction.plddt.astype(np.float32)}
    if prediction.pae is not None:
        stored["pae"] = np.clip(np.rint(prediction.pae / PAE_STEP), 0, 255).astype(np.uint8)
        stored["pae_step"] = np.array(PAE_STEP, np.float32)
    write_npz(arrays, stored, CONFIDENCE_SCHEMA)
    record = {
        "target": job.name,
        "header": header,
        "length": len(features.aatype),
        "model": made_from["model"],
        "mean_plddt": round(float(prediction.plddt.mean()), 2),
        "ptm": None if prediction.ptm is None else round(prediction.ptm, 4),
        "ca_change": [round(x, 3) for x in prediction.ca_change],
        "templates_used": list(features.template_ids[: PRESETS[made_from["model"]].input.max_templates]),
        "violations": assess(prediction.protein),
        "seconds": {name: round(value, 3) for name, value in prediction.seconds.items()},
        "device": jax.devices()[0].device_kind,
        "files": {path.name: _sha256(path) for path in (structure, arrays, *pdb)},
        "settings": dataclasses.asdict(settings),
        "made_from": made_from,
    }
    write_json(job.folder / "confidence.json", record, CONFIDENCE_SCHEMA)


def _header(job: Job) -> str:
    """Return the header that the user gave, where the target's FASTA lies beside its results."""
    path = job.folder / "target.fasta"
    return fasta.read_fasta(path)[0].header if path.is_file() else job.name


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def use_compilation_cache(folder: Path) -> None:
    """Keep compiled programs between processes."""
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def default_cache() -> Path:
    """Return the folder of compiled programs: of the user, not of the run."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foldline" / "jax"


def parser() -> argparse.ArgumentParser:
    """Return the command line of the stage."""
    made = argparse.ArgumentParser(prog="foldline predict", description="Predict the structures of a batch of targets.")
    made.add_argument("--features", type=Path, nargs="+", required=True, help="features.npz of each target")
    made.add_argument("--outputs", type=Path, nargs="+", required=True, help="folder of each target's files")
    made.add_argument("--weights", type=Path, required=True, help="parameter file (.npz)")
    made.add_argument("--batch", type=Path, help="record to write of what succeeded and what failed (JSON)")
    made.add_argument("--bucket", type=int, help="length to pad to, residues; each target's own where not given")
    made.add_argument("--compilation-cache", type=Path, default=default_cache(), help="folder of compiled programs")
    made.add_argument("--keep-going", action="store_true", help="exit with 0 although targets failed; see --batch")
    add_flags(made, Settings)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage from the command line."""
    flags = parser()
    arguments = flags.parse_args(argv)
    if len(arguments.features) != len(arguments.outputs):
        flags.error(
            f"{len(arguments.features)} features and {len(arguments.outputs)} outputs: give one folder for each"
        )
    use_compilation_cache(arguments.compilation_cache)
    settings = from_args(Settings, arguments)
    predictor = Predictor(load_weights(arguments.weights, settings.model), settings)
    jobs = [Job(*paths) for paths in zip(arguments.features, arguments.outputs, strict=True)]
    records = run_batch(jobs, predictor, arguments.bucket)
    if arguments.batch:
        write_json(arguments.batch, {"batch": arguments.batch.stem, "targets": records}, BATCH_SCHEMA)
    failed = [record["name"] for record in records if record["status"] == "failed"]
    if failed and not arguments.keep_going:
        raise StageError(f"{len(failed)} of {len(records)} targets failed: {', '.join(failed)}")
    return 0
