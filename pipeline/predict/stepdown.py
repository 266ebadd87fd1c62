"""Predict with less where memory ends: fewer rows of the alignment, then the CPU in the place of a GPU."""

import dataclasses
import logging
from collections.abc import Iterator
from typing import Any

import jax

from models.config import InputConfig
from pipeline.features import RawFeatures
from pipeline.predict.memory import MEND, OutOfMemoryError
from pipeline.predict.network import Predictor, Weights
from pipeline.predict.records import Prediction, Run
from pipeline.predict.settings import Settings, fewest_rows

log = logging.getLogger(__name__)

_XLA = ("RESOURCE_EXHAUSTED", "out of memory")  # in the text of XLA's errors, which have no class of their own
_TIMES = 3  # that the rows are lowered
_FEWER_CLUSTERS, _FEWER_EXTRA = 2, 4


@dataclasses.dataclass(frozen=True)
class Step:
    """With what a prediction is tried.

    Args:
        max_msa: Most rows of the clustered MSA.
        max_extra_msa: Most rows of the extra MSA.
        platform: `cpu`, or empty for the device that JAX chose.
    """

    max_msa: int
    max_extra_msa: int
    platform: str = ""


class StepDown:
    """The chosen networks, with less where memory ends."""

    def __init__(self, predictor: Predictor) -> None:
        """Prepare; what is smaller is made when it is needed."""
        self.predictor = predictor
        self._smaller: dict[Step, Predictor] = {}

    def predict(self, features: RawFeatures, run: Run, weights: Weights, bucket: int | None) -> Prediction:
        """Predict one target; the prediction says what it was made with if that is less than asked for.

        Args:
            features: Raw features of n residues.
            run: The model and the seed.
            weights: Of the model.
            bucket: Length to pad to.

        Raises:
            OutOfMemoryError: There is not enough for the least, either.
            StageError: The coordinates are no numbers.
            WeightsError: The parameters cannot be read.
        """
        gone, reason = list[dict[str, Any]](), ""
        for step, predictor in self._ways(features, bucket):
            if step is not None:
                gone.append({"reason": reason, **dataclasses.asdict(step)})
                log.warning("%s: %s; trying with %s", features.name, reason, _in_words(step))
            try:
                predictor.load(weights)
                prediction = predictor.predict(features, run, bucket)
            except (OutOfMemoryError, MemoryError, jax.errors.JaxRuntimeError) as error:
                reason = _reason(error)
                predictor.refuse(predictor.sizes(features, bucket), reason)
            else:
                return dataclasses.replace(prediction, stepped_down=tuple(gone))
        tried = "".join(f", nor with {_in_words(_step_of(way))}" for way in gone)
        raise OutOfMemoryError(f"{reason}{tried}", features.name, self._mend())

    def _ways(self, features: RawFeatures, bucket: int | None) -> Iterator[tuple[Step | None, Predictor]]:
        """Give the predictors to try, the one that was asked for first, those with smaller inputs after it."""
        last = self.predictor.sizes(features, bucket)
        yield None, self.predictor
        for step in steps(self.predictor.settings, falls_back=self._falls_back()):
            predictor = self._made(step)
            sizes = predictor.sizes(features, bucket)
            if step.platform or sizes != last:
                yield step, predictor
            last = sizes

    def _made(self, step: Step) -> Predictor:
        if step not in self._smaller:
            fewer = dataclasses.replace(self.predictor.settings, max_msa=step.max_msa, max_extra_msa=step.max_extra_msa)
            self._smaller[step] = self.predictor.smaller(fewer, step.platform)
        if step.platform:
            self.predictor.drop()  # what the device holds is of no use meanwhile
        return self._smaller[step]

    def _falls_back(self) -> bool:
        return self.predictor.settings.cpu_fallback and jax.default_backend() != "cpu"

    def _mend(self) -> str:
        on_accelerator = jax.default_backend() != "cpu" and not self.predictor.settings.cpu_fallback
        return f"{MEND}; or allow the CPU with predict.cpu_fallback" if on_accelerator else MEND


def steps(settings: Settings, *, falls_back: bool) -> list[Step]:
    """Return what to try when memory ends, the largest first.

    Args:
        settings: Of predict.
        falls_back: Whether the last one is the CPU, with the rows that were asked for.
    """
    rows = [config.input for config in settings.configs]
    clusters, extra = _most(rows)
    least, found = fewest_rows(settings), list[Step]()
    for times in range(1, _TIMES + 1):
        left = max(min(extra, 1), extra // _FEWER_EXTRA**times)  # a network that reads extra rows needs one
        fewer = Step(max(least, clusters // _FEWER_CLUSTERS**times), left)
        if fewer not in found and (fewer.max_msa, fewer.max_extra_msa) != (clusters, extra):
            found.append(fewer)
    return [*found, Step(clusters, extra, "cpu")] if falls_back else found


def is_out_of_memory(error: Exception) -> bool:
    """Say whether an error of a prediction is that memory ended."""
    if isinstance(error, OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, jax.errors.JaxRuntimeError) and any(mark.lower() in str(error).lower() for mark in _XLA)


def _reason(error: Exception) -> str:
    """Return why there is a step down.

    Raises:
        JaxRuntimeError: The error is another one.
    """
    if not is_out_of_memory(error):
        raise error
    if isinstance(error, OutOfMemoryError):
        return error.problem
    device = jax.devices()[0].device_kind
    return f"memory ended on {device} ({(str(error).splitlines() or [''])[0][:200] or type(error).__name__})"


def _most(rows: list[InputConfig]) -> tuple[int, int]:
    return max(config.max_msa_clusters for config in rows), max(config.max_extra_msa for config in rows)


def _step_of(way: dict[str, Any]) -> Step:
    return Step(way["max_msa"], way["max_extra_msa"], way["platform"])


def _in_words(step: Step) -> str:
    rows = f"{step.max_msa} MSA and {step.max_extra_msa} extra rows"
    return f"{rows} on the CPU" if step.platform else rows
