"""What weights are made from: what a training begins with, and the source and the licence of what comes of it."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import haiku as hk
import numpy as np

from models import params
from pipeline.errors import RecordError
from pipeline.weights.records import ALPHAFOLD2
from training import dataset

log = logging.getLogger(__name__)

SOURCE = "trained from scratch by training/train.py on ProMod3's StructureDB"
LICENCE = "Apache-2.0"
_UNKNOWN, _AND = "unknown", " and "
_LIST = "training_list_sha256"

About = Mapping[str, Any]  # `source`, `licence` and `training`


@dataclasses.dataclass(frozen=True)
class Start:
    """Weights to begin with.

    Args:
        params: All or some; the others are random.
        about: What the file of each says of itself, see `read_about`.
    """

    params: hk.Params
    about: tuple[About, ...] = ()


def read_about(path: Path) -> dict[str, Any]:
    """Return `source`, `licence` and `training` of the weights in a file; published ones do not say them.

    Raises:
        ParameterFileError: The file is missing, damaged or of another format.
    """
    found = params.read_metadata(path) or {"source": ALPHAFOLD2.title, "licence": ALPHAFOLD2.licence}
    said = {name: found.get(name, _UNKNOWN) for name in ("source", "licence")}
    return {**said, "training": found.get("training", {})}


def read_start(paths: Sequence[Path], source: dataset.ExampleSource) -> Start | None:
    """Return the weights of files, a later one before an earlier one, of another network's those that fit.

    Returns:
        The weights; None where there is no file.

    Raises:
        ParameterFileError: A file is missing, damaged or of another format, or nothing in it fits.
        RecordError: Weights were trained on another list of chains, where some that are held back now may be.
    """
    found: dict[str, np.ndarray] = {}
    about = tuple(read_about(path) for path in paths)
    for path, one in zip(paths, about, strict=True):
        _check_chains(path, one["training"].get(_LIST), source.describe()[_LIST])
        shared = params.flat(params.load_shared(path, source.config))
        log.info("%d of %d arrays from %s", len(shared), len(params.shapes(source.config)), path)
        found |= shared
    return Start(params.nested(found), about) if paths else None


def _check_chains(path: Path, found: str | None, wanted: str) -> None:
    if found is None:
        log.warning("%s: it is not known what these weights were trained on: held-back chains may be among it", path)
    elif found != wanted:
        problem = "these weights were trained on another list of chains, where held-back ones may be"
        flags = "--exclude, --omit, --validation-chains and --development-chains"
        raise RecordError(problem, str(path), f"give the {flags} of their training")


def of_trained(start: Sequence[About]) -> dict[str, str]:
    """Return source and licence of weights that were trained.

    Args:
        start: What the weights that they began with say of themselves; none for random ones.
    """
    others = [text for text in _sources(start) if text != SOURCE]
    source = f"{SOURCE.replace(' from scratch', '')}, beginning with: {'; '.join(others)}" if others else SOURCE
    return {"source": source, "licence": _licences([{"licence": LICENCE}, *start])}


def of_mean(parts: Sequence[About]) -> dict[str, str]:
    """Return source and licence of the mean of weights, from what they say of themselves."""
    sources = _sources(parts)
    source = sources[0] if len(sources) == 1 else f"mean of: {'; '.join(sources)}"
    return {"source": source, "licence": _licences(parts)}


def _sources(parts: Sequence[About]) -> list[str]:
    return list(dict.fromkeys(part["source"] for part in parts))


def _licences(parts: Sequence[About]) -> str:
    """Return all licences of parts, once each."""
    return _AND.join(dict.fromkeys(name for part in parts for name in part["licence"].split(_AND)))
