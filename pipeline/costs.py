"""What a job will cost: CPU time and memory, from what was measured. Every constant of these estimates is here.

The measurements are in docs/performance.md, with their commands: an AMD EPYC, two cores, JAX 0.10. On another processor
the times differ by its speed. Nothing here depends on JAX.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from models.config import ModelConfig
from pipeline.predict.settings import Settings, from_section
from pipeline.relax.settings import Settings as RelaxSettings

SOURCE = "figures of docs/performance.md, measured on two cores of an AMD EPYC without a GPU"

_START_S = 4.0  # of `foldline predict` without its predictions: Python, JAX, parameters, files
_COMPILE_S, _COMPILE_FULL_S = 16.5, 17.0  # of one program: `mini`, AlphaFold 2
# `mini`, benchmarks/predict.py, all its recycles: 0.52, 1.11, 2.50, 4.56, 8.56 and 16.2 CPU s, and 1126, 1112, 1061,
# 1208, 1207 and 1456 MB, at 64, 128, 224, 320, 448 and 640 padded residues.
_MINI_S, _MINI_SQUARE_S, _MINI_CUBE_S = 0.35, 4.0e-5, 1.0e-9
_MINI_MB, _MINI_SQUARE_MB = 1040.0, 0.0009
# `model_1_ptm`, 128 clustered and 1024 extra rows, an iteration: 19.1 and 58.0 CPU s at 64 and 128 padded residues. The
# part that grows with the residues is shared out over the rows that the 48 and the 4 blocks work on.
_ROW_S, _PAIR_S = 0.144 / (48 * 128 + 4 * 1024), 0.00242
# AlphaFold 2's five models in one program, with full alignments, by XLA's plan: 0.6 GB at 64 padded residues, 1.7 at
# 256, 3.6 at 512, 9.4 at 1024; the process needs about 1.2 GB besides.
_FULL_MB, _FULL_LENGTH_MB, _FULL_SQUARE_MB = 1670.0, 3.5, 0.0051
_SEARCH_S = 1.0  # of a target in the embedded library
_RESIDUE_S = (
    3.7e-7  # of a target and a residue of another database: 21 CPU s for 4 targets with 3,000 relatives in 14e6
)
_SEARCH_MB, _QUERY_MB = 100, 130  # a batch of four such targets needs 615 MB
_FEATURIZE_S, _FEATURIZE_MB = 0.5, 80
# The example: 1.0 CPU s at 36 residues, 5.5 at 110; no cutoff, so the square of the atoms.
_RELAX_S, _RELAX_SQUARE_S, _RELAX_MB = 0.5, 4.1e-4, 155
_SOLVENT, _CONSTRAINTS = 40.0, 6.0  # times slower: what `relax.solvent` (30 to 50 times) and `relax.constraints` say
_REPORT_S, _REPORT_MB = 0.5, 61
_RUN_PAGE_S, _RUN_PAGE_MB = 0.002, 0.06  # of a target: 12 CPU s and 584 MB for 10,000
_PACKED = 1.6  # residues in a byte of packed FASTA: the embedded library


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a job needs.

    Args:
        cpu_seconds: CPU time.
        memory_mb: Largest memory of its process.
    """

    cpu_seconds: float
    memory_mb: int


@dataclasses.dataclass(frozen=True)
class Relaxing:
    """How targets are relaxed, as far as the time depends on it; by default with the default settings.

    Args:
        structures: Of each target.
        times: As slow as with the default settings.
        most: CPU time at which the relaxation of a structure is ended, s.
    """

    structures: int = 1
    times: float = 1.0
    most: float = math.inf


PLAIN = Relaxing()


def predict_cost(section: Mapping[str, Any], bucket: int, targets: int) -> Cost:
    """Estimate the prediction of a batch in a process of its own, with nothing in the cache of compiled programs.

    Args:
        section: The config's section of predict.
        bucket: Padded length, residues.
        targets: Of the batch.
    """
    settings = from_section(section)
    full = any(config.evoformer.extra_msa for config in settings.configs)
    once = _START_S + (_COMPILE_FULL_S if full else _COMPILE_S)
    one = settings.seeds * sum(_prediction(config, settings, bucket) for config in settings.configs)
    return Cost(once + targets * one, predict_memory(settings, bucket))


def predict_memory(settings: Settings, bucket: int) -> int:
    """Estimate the memory of a prediction, MB.

    Args:
        settings: Of predict.
        bucket: Padded length, residues.
    """
    if any(config.evoformer.extra_msa for config in settings.configs):
        return round(_FULL_MB + _FULL_LENGTH_MB * bucket + _FULL_SQUARE_MB * bucket**2)
    return round(_MINI_MB + _MINI_SQUARE_MB * bucket**2)


def search_cost(targets: int, bytes_of_databases: Mapping[str, int], *, in_library: int) -> Cost:
    """Estimate the search of a batch of targets that the cache does not hold; thousands of relatives are assumed.

    Args:
        targets: Of the batch, those that are looked for in the databases.
        bytes_of_databases: Size of each database beside the library, by the name of its file.
        in_library: Targets that are looked for in the embedded library.
    """
    residues = sum(
        size * (_PACKED if name.endswith((".gz", ".zst")) else 1) for name, size in bytes_of_databases.items()
    )
    seconds = _SEARCH_S * in_library + _RESIDUE_S * residues * targets
    return Cost(seconds, _SEARCH_MB + (_QUERY_MB * targets if residues else 0))


def featurize_cost(targets: int = 1) -> Cost:
    """Estimate the features of targets."""
    return Cost(_FEATURIZE_S * targets, _FEATURIZE_MB)


def relaxing(relax: Mapping[str, Any], predict: Mapping[str, Any]) -> Relaxing:
    """Return how a run relaxes its targets.

    Args:
        relax: The config's section of relax.
        predict: That of predict: each of several predictions may be relaxed.

    Raises:
        ConfigError: A value has no meaning.
    """
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in relax.items()}
    settings, predictions = RelaxSettings(**given).resolved(), from_section(predict)
    return Relaxing(
        len(predictions.model_names) * predictions.seeds if settings.models == "all" else 1,
        (_SOLVENT if settings.solvent != "none" else 1.0) * (_CONSTRAINTS if settings.constraints else 1.0),
        settings.seconds * settings.threads,
    )


def relax_cost(lengths: Sequence[int], how: Relaxing = PLAIN) -> Cost:
    """Estimate the relaxation of targets one after the other.

    Args:
        lengths: Of the targets, residues.
        how: What `relaxing` says of the run.
    """
    ones = (min(how.most, how.times * (_RELAX_S + _RELAX_SQUARE_S * length**2)) for length in lengths)
    return Cost(how.structures * sum(ones), _RELAX_MB)


def report_cost(targets: int = 1) -> Cost:
    """Estimate the pages of targets."""
    return Cost(_REPORT_S * targets, _REPORT_MB)


def report_run_cost(targets: int) -> Cost:
    """Estimate the page of a run."""
    return Cost(_REPORT_S + _RUN_PAGE_S * targets, round(_REPORT_MB + _RUN_PAGE_MB * targets))


def _prediction(config: ModelConfig, settings: Settings, bucket: int) -> float:
    """Return the CPU seconds of one prediction with one model."""
    recycles = config.recycles if settings.recycles is None else settings.recycles
    iterations = (recycles + 1) * settings.ensemble
    trunk, rows = config.evoformer, config.input
    if trunk.extra_msa is None:
        return (_MINI_S + _MINI_SQUARE_S * bucket**2 + _MINI_CUBE_S * bucket**3) * iterations / (config.recycles + 1)
    worked_on = trunk.blocks * rows.max_msa_clusters + trunk.extra_msa.blocks * rows.max_extra_msa
    return iterations * (_ROW_S * worked_on * bucket + _PAIR_S * bucket**2)
