"""Measure weights on the validation chains: CA-lDDT with templates of 30 to 90 % identity, and without any.

    python -m training.evaluate --data FOLDER --exclude LIST --weights data/weights/mini.npz

No validation chain has a hit among the training chains; the templates shown are other chains of the library.
"""

import argparse
import dataclasses
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from models import confidence, params
from models import residue_constants as rc
from pipeline.compare import lddt
from pipeline.errors import RecordError
from training import dataset, train

log = logging.getLogger(__name__)

CONDITIONS = {"template 30-90 %": (0.3, 0.9), "no template": None}
_LARGEST = 208  # residues; validation chains have at most 200
_MSA_ROWS = 256
_CA = rc.ATOM37_ID["CA"]


@dataclasses.dataclass(frozen=True)
class Score:
    """One prediction, measured: lDDT over CA atoms and pLDDT, both 0 to 1, and the identity of the best template."""

    chain: str
    length: int
    identity: float
    lddt: float
    plddt: float


def predictor(source: dataset.ExampleSource, weights: hk.Params, recycles: int) -> Callable[[dataset.Arrays], Any]:
    """Return a function from an example to CA positions (n, 3) and pLDDT (n,), compiled once per length."""
    network = train.forward(source.config, recycles)

    @jax.jit
    def run(example: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        outputs = network.apply(weights, None, example, jnp.int32(recycles))
        return outputs["structure_module"]["final_atom_positions"][:, _CA], outputs["predicted_lddt"]["logits"]

    def predict(example: dataset.Arrays) -> tuple[np.ndarray, np.ndarray]:
        positions, logits = run(example)
        return np.asarray(positions), confidence.plddt(np.asarray(logits))

    return predict


def evaluate(
    source: dataset.ExampleSource,
    chains: np.ndarray,
    window: tuple[float, float] | None,
    predict: Callable[[dataset.Arrays], tuple[np.ndarray, np.ndarray]],
) -> list[Score]:
    """Predict every chain that has a template in the window of identities (all chains where there is none)."""
    quiet = dataclasses.replace(source.settings, wrong_template_fraction=0.0, partial_template_fraction=0.0)
    source = dataclasses.replace(source, settings=quiet)
    scores = []
    for index in chains:
        hits = source.database.hits(index)
        low, high = window or (1.0, 0.9)
        allowed = np.flatnonzero((hits.identity >= low) & (hits.identity <= high))
        if window and len(allowed) == 0:
            continue
        templates = [int(k) for k in allowed[: source.config.input.max_templates]]
        related = np.flatnonzero(hits.identity <= high)[:_MSA_ROWS]
        rng = np.random.default_rng(0)
        msa = source.database.hit_msa(index, related)
        example = source.example(index, rng, _LARGEST, templates, msa)
        positions, plddt = predict(example)
        n = int(source.database.lengths[index])
        truth = example["all_atom_positions"][:n, _CA]
        best = float(hits.identity[templates[0]]) if templates else 0.0
        value = lddt(positions[:n], truth).score
        scores.append(Score(str(source.database.ids[index]), n, best, value, plddt[:n].mean() / 100))
        log.info("%s", scores[-1])
    return scores


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table of mean CA-lDDT per condition, for the weights and for an untrained network."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    train.add_data_flags(parser)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--recycles", type=int, help="default: the model's own")
    parser.add_argument("--chains", type=int, default=96, help="how many validation chains to use")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO)
    about = params.read_metadata(arguments.weights).get("training", {})
    held_back = about.get("settings", {}).get("validation_chains", train.Settings.validation_chains)
    settings = train.Settings(model=arguments.model, validation_chains=held_back)
    source, validation = train.open_source(arguments, settings)
    if about.get("training_list_sha256") != source.describe()["training_list_sha256"]:
        raise RecordError("these weights were trained on another list of chains", str(arguments.weights))
    first = source.draw(np.random.default_rng(0), settings.crops[0])
    networks = {
        "trained": params.load(arguments.weights, source.config),
        "untrained": train.initial_state(source.config, settings, first).params,
    }
    out = sys.stdout.write
    out("network\tcondition\tchains\tmean CA-lDDT\tmean pLDDT\n")
    recycles = source.config.recycles if arguments.recycles is None else arguments.recycles
    for name, weights in networks.items():
        predict = predictor(source, weights, recycles)
        for condition, window in CONDITIONS.items():
            scores = evaluate(source, validation[: arguments.chains], window, predict)
            means = (np.mean([s.lddt for s in scores]), np.mean([s.plddt for s in scores]))
            out(f"{name}\t{condition}\t{len(scores)}\t{means[0]:.3f}\t{means[1]:.3f}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
