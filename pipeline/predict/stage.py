"""Predict: the features of a batch of targets to structures and confidences, with one load and one compilation.

Models run in turn, each with every seed on every target, so that each file of parameters is read once. Each prediction
is written as it is done and its record says what it was made from, so a second run does only what is missing. A target
that fails does not stop the others.
"""

import argparse
import dataclasses
import itertools
import logging
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from pipeline.batch_record import FAILED, outcome, reason_of, write_batch
from pipeline.command_line import Parser
from pipeline.errors import FoldlineError, RecordError, StageError, WeightsError
from pipeline.features import RawFeatures
from pipeline.obstacles import concerns_all
from pipeline.predict.compiled import use_compilation_cache
from pipeline.predict.description import describe
from pipeline.predict.folders import default_cache
from pipeline.predict.network import Predictor, Weights
from pipeline.predict.records import (
    STRUCTURE,
    Job,
    Prediction,
    Run,
    add_extras,
    finish,
    forget,
    is_done,
    label_of,
    labelled,
    record_of,
    relabel,
    runs_of,
    said_to_run,
    sha256,
    software,
    write,
)
from pipeline.predict.settings import Settings, check_draws
from pipeline.predict.stepdown import StepDown
from pipeline.predict.weights import weights_files
from pipeline.progress import tracked
from pipeline.settings import add_flags, from_args

__all__ = [
    "Job",
    "Predictor",
    "Run",
    "Settings",
    "Weights",
    "main",
    "provenance",
    "run_batch",
    "sha256",
    "weights_files",
]

log = logging.getLogger(__name__)

_OF_THE_NETWORK = (StageError, MemoryError, jax.errors.JaxRuntimeError)


def run_batch(
    jobs: Sequence[Job], predictor: Predictor, weights: Mapping[str, Weights], bucket: int | None
) -> list[dict[str, str]]:
    """Make what is missing of every target; return one record per target: name, status, reason.

    Args:
        jobs: The targets.
        predictor: The networks.
        weights: Their parameters, by name of the model.
        bucket: Length to which residues are padded; each target's own where not given.

    Raises:
        WeightsError: Parameters cannot be read; no target could do without them.
        OSError: Nothing can be written.
    """
    runs, failed, stepdown = runs_of(predictor.settings), dict[Job, str](), StepDown(predictor)
    with tracked("predict", len(runs) * len(jobs), "predictions") as tracker:
        for run, job in itertools.product(runs, jobs):
            if job not in failed:
                try:
                    _make(job, run, stepdown, weights[run.model], bucket)
                    if run == runs[-1]:
                        finish(job, runs, predictor.settings)
                except WeightsError:
                    raise
                except (FoldlineError, OSError, *_OF_THE_NETWORK) as error:
                    if concerns_all(error):
                        raise
                    failed[job] = reason_of(error)
                    log.error("%s failed: %s", job.name, failed[job])
                    forget(job.folder)
            tracker.advance(done=job not in failed, failed=job in failed)
    return [_outcome(job, failed.get(job, "")) for job in jobs]


def _outcome(job: Job, reason: str) -> dict[str, str]:
    return outcome(job.name, reason, **({} if reason else {"predicted_sha256": sha256(job.folder / STRUCTURE)}))


def _make(job: Job, run: Run, stepdown: StepDown, weights: Weights, bucket: int | None) -> None:
    """Make one prediction of a target, unless it is there."""
    settings = stepdown.predictor.settings
    folder, made_from = run.folder(job, settings), provenance(job, run, stepdown.predictor, weights, bucket)
    label = label_of(job)
    if is_done(folder, made_from):
        log.info("%s: %s, seed %d: already predicted", job.name, run.model, run.seed)
        relabel(folder, label)
        add_extras(folder, settings)
        return
    forget(job.folder)  # nothing old may stand for a prediction that fails now
    forget(folder)
    features = RawFeatures.load(job.features)
    with said_to_run(job, run):
        prediction = _predicted(features, run, stepdown, weights, bucket)
    tables = describe(job, features, prediction, made_from)
    protein = dataclasses.replace(labelled(prediction.protein, label), described=tables)
    prediction = dataclasses.replace(prediction, protein=protein)
    write(folder, record_of(job, features, prediction, settings, made_from), prediction, settings)
    _report(job, run, prediction)


def _predicted(features: RawFeatures, run: Run, stepdown: StepDown, weights: Weights, bucket: int | None) -> Prediction:
    """Predict, and let a failure name the model where there are several."""
    try:
        return stepdown.predict(features, run, weights, bucket)
    except _OF_THE_NETWORK as error:
        if not stepdown.predictor.settings.several:
            raise
        raise StageError(f"{run.model}, seed {run.seed}: {reason_of(error)}") from error


def _report(job: Job, run: Run, prediction: Prediction) -> None:
    ptm = "" if prediction.ptm is None else f", pTM {prediction.ptm:.2f}"
    log.info(
        "%s: %s, seed %d: %d residues, mean pLDDT %.1f%s, %d recycles, %.1f s (compiling %.1f s)",
        *(job.name, run.model, run.seed, len(prediction.plddt), prediction.plddt.mean(), ptm),
        *(len(prediction.ca_change), prediction.seconds["run"], prediction.seconds["compile"]),
    )


def provenance(job: Job, run: Run, predictor: Predictor, weights: Weights, bucket: int | None) -> dict[str, Any]:
    """Return everything that a prediction is a function of, rounding aside.

    Raises:
        RecordError: There are no features.
    """
    if not job.features.is_file():
        raise RecordError("expected a features file: it does not exist", str(job.features), "run featurize first")
    settings, rows = predictor.settings, predictor.configs[run.model].input
    return {
        "model": run.model,
        "weights_sha256": weights.sha256,
        "features_sha256": sha256(job.features),
        "seed": run.seed,
        "recycles": predictor.recycles,
        "recycle_tolerance": settings.recycle_tolerance,
        "ensemble": settings.ensemble,
        "guidance": predictor.configs[run.model].guidance is not None,
        "max_msa": rows.max_msa_clusters,
        "max_extra_msa": rows.max_extra_msa,
        "dropout": settings.dropout,
        "padding": _padding(job, predictor, bucket),
        "precision": predictor.precision,
        "software": software(),
    }


def _padding(job: Job, predictor: Predictor, bucket: int | None) -> list[int] | None:
    """Return the sizes of the padded inputs where the result depends on them: dropout draws a number for each place."""
    if not predictor.settings.dropout:
        return None
    return list(dataclasses.astuple(predictor.sizes(RawFeatures.load(job.features), bucket)))


def stored_weights(settings: Settings, given: Sequence[Path] = ()) -> dict[str, Weights]:
    """Return where the parameters of each chosen model are; damage that is quick to see is seen before hours of work.

    Args:
        settings: Choose the models.
        given: See `weights_files`.

    Raises:
        WeightsError: A file is missing, cut short or of another kind.
    """
    files = weights_files(settings.model_names, given)
    for path in files.values():
        if not zipfile.is_zipfile(path):
            raise WeightsError("expected an archive of parameters: it is cut short, or another file", str(path))
    return {model: Weights(model, path, sha256(path)) for model, path in files.items()}


def parser() -> argparse.ArgumentParser:
    """Return the command line of the stage."""
    made = Parser(
        "foldline predict",
        "Predict the structures of a batch of targets.",
        example="foldline predict --targets my --model alphafold2 --seeds 5",
    )
    many: dict[str, Any] = {"type": Path, "nargs": "+", "default": []}
    made.add_argument("--features", **many, metavar="FILE", help="features.npz of each target")
    made.add_argument("--outputs", **many, metavar="DIR", help="folder of each target's files")
    made.add_argument("--targets", **many, metavar="DIR", help="folder of each target, with its features.npz in it")
    made.add_argument(
        "--weights",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="parameter file (.npz); for several models files or a folder of files called params_MODEL.npz or MODEL.npz"
        " (default: the installed ones)",
    )
    made.add_argument(
        "--batch", type=Path, metavar="FILE", help="record to write of what succeeded and what failed (JSON)"
    )
    made.add_argument("--bucket", type=int, metavar="N", help="length to pad to, residues (default: each target's own)")
    made.add_argument(
        "--compilation-cache", type=Path, metavar="DIR", default=default_cache(), help="folder of compiled programs"
    )
    made.add_argument("--keep-going", action="store_true", help="exit with 0 although targets failed; see --batch")
    add_flags(made, Settings)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage from the command line."""
    flags = parser()
    arguments = flags.parse_args(argv)
    if not (arguments.features or arguments.targets):
        flags.error("give --targets, or --features and --outputs")
    if len(arguments.features) != len(arguments.outputs):
        flags.error(
            f"{len(arguments.features)} features and {len(arguments.outputs)} outputs: give one folder for each"
        )
    settings = from_args(Settings, arguments)
    check_draws(settings)
    weights = stored_weights(settings, arguments.weights)
    use_compilation_cache(arguments.compilation_cache)
    jobs = [Job(*paths) for paths in zip(arguments.features, arguments.outputs, strict=True)]
    jobs += [Job(folder / "features.npz", folder) for folder in arguments.targets]
    records = run_batch(jobs, Predictor(settings), weights, arguments.bucket)
    if arguments.batch:
        write_batch(arguments.batch, records)
    failed = [record["name"] for record in records if record["status"] == FAILED]
    if failed and not arguments.keep_going:
        raise StageError(f"{len(failed)} of {len(records)} targets failed: {', '.join(failed)}")
    return 0
