"""Average the weights of several trainings of one network, or of several times in one.

    python -m training.average first.npz second.npz --output mean.npz

Weights of trainings that began with the same weights often lie in one valley, whose middle is better than its sides
(Wortsman et al. 2022, arXiv:2203.05482); those of unrelated trainings do not.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from models import params
from models.config import PRESETS
from pipeline.errors import RecordError
from training import origin
from training.guard import guarded

_DATA = ("training_list_sha256", "allatom_sequences_sha256")  # of what a file says of its training


def main(argv: Sequence[str] | None = None) -> int:
    """Read, average, write."""
    parser = argparse.ArgumentParser(prog="python -m training.average", description=__doc__)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--model", default="mini", choices=list(PRESETS))
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    config = PRESETS[arguments.model]
    read = [params.load(path, config) for path in arguments.weights]
    mean = jax.tree.map(lambda *arrays: np.mean(arrays, axis=0, dtype=np.float64).astype(np.float32), *read)
    about = [origin.read_about(path) for path in arguments.weights]
    of = [one["training"] for one in about]
    for path, one in zip(arguments.weights[1:], of[1:], strict=True):
        if any(one.get(name) != of[0].get(name) for name in _DATA):
            raise RecordError("these weights were trained on other chains than the first", str(path))
    settings = [one.get("settings", {}) for one in of]
    shared = {name: value for name, value in settings[0].items() if all(s.get(name) == value for s in settings)}
    made = {**{name: of[0].get(name) for name in _DATA}, "settings": shared, "mean_of": of}
    params.save(arguments.output, mean, config, {**origin.of_mean(about), "training": made}, half=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(main))
