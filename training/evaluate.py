"""Measure weights on the validation chains: CA-lDDT with templates of 30 to 90 % identity, and without any.

    python -m training.evaluate --data FOLDER --exclude LIST --weights data/weights/mini.npz

No validation chain has a hit among the training chains; the templates shown are other chains of the library.
"""

import argparse
import functools
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models import params
from models.config import PRESETS
from pipeline.errors import RecordError
from training import scores, sources, train
from training.guard import guarded


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table of mean CA-lDDT per condition, for the weights, an untrained network and the best template."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    sources.add_data_flags(parser)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--model", default="mini", choices=list(PRESETS))
    parser.add_argument("--recycles", type=int, help="default: the model's own")
    parser.add_argument("--chains", type=int, default=96, help="how many validation chains to use")
    parser.add_argument(
        "--msas", type=Path, help="folder of ID.a3m of chains of the set: what their couplings are worth"
    )
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO)
    about = params.read_metadata(arguments.weights).get("training", {})
    said = about.get("settings", {})
    number = sources.Number(said.get("validation_chains", sources.VALIDATION), said.get("development_chains", 0))
    source, held = sources.open_source(arguments, arguments.model, number)
    if about.get("training_list_sha256") != source.describe()["training_list_sha256"]:
        raise RecordError("these weights were trained on another list of chains", str(arguments.weights))
    settings = train.Settings(model=arguments.model)
    first = source.draw(np.random.default_rng(0), settings.crops[0])
    networks = {
        "trained": params.load(arguments.weights, source.config),
        "untrained": train.initial_state(source.config, settings, first).params,
    }
    out = sys.stdout.write
    out("network\tcondition\tchains\tmean CA-lDDT\tmean pLDDT\n")
    recycles = source.config.recycles if arguments.recycles is None else arguments.recycles
    predict = scores.predictor(source, recycles)
    ways: dict[str, scores.Way] = {name: functools.partial(predict, weights) for name, weights in networks.items()}
    for name, way in (ways | {"best template copied": scores.copied}).items():
        for row in scores.table(source, held.validation[: arguments.chains], way):
            out("\t".join((name, *row)) + "\n")
        if arguments.msas and way is not scores.copied:
            for row in scores.table_of_alignments(source, arguments.msas, way):
                out("\t".join((name, *row)) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(main))
