"""Teach the convolutions along the chain alone, on long stretches of chains: what comes before `training.train`.

    python -m training.pretrain --data work --exclude LIST --output checkpoints/convolutions.npz

They predict phi, psi, secondary structure and how many residues surround each residue, by heads that are thrown
away. A residue costs a fraction of what it costs in the whole network. What is written are the weights of the
convolutions and of the embedding of their input, to be given to `training.train --start`.
"""

import argparse
import dataclasses
import functools
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from models import embedders, geometry, losses, params, residue_constants
from models.config import PRESETS, ModelConfig, SequenceConfig
from models.heads import SECONDARY_STRUCTURES
from models.primitives import layer_norm, linear
from models.sequence import SequenceTrack
from pipeline.errors import ConfigError
from pipeline.settings import add_flags, from_args, setting
from training import dataset, origin, scores, sources, train
from training.guard import guarded

log = logging.getLogger(__name__)

_CA = residue_constants.ATOM37_ID["CA"]
_SCOPES = ("alphafold", "alphafold_iteration", "evoformer")
_UNTAUGHT = tuple(
    f"{'/'.join(_SCOPES)}/{side}_single//{name}" for side in ("left", "right") for name in ("weights", "bias")
)
_LABELS = ("all_atom_positions", "all_atom_mask", "secondary_structure")
_INPUTS = ("target_feat", "msa_feat", "seq_mask", "aatype", *_LABELS)
_NEAR = 10.0  # angstrom
_NEIGHBOURS = np.array([8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 34], np.float32)  # edges between classes


@dataclasses.dataclass(frozen=True)
class Settings:
    """How it is done: flags of the command.

    Raises:
        ConfigError: One is out of range, or the network has no convolutions.
    """

    model: str = setting("mini", "preset of models/config.py")
    steps: int = setting(3000, "optimiser steps")
    batch: int = setting(16, "chains per step")
    crop: int = setting(160, "longest stretch of a chain, residues")
    learning_rate: float = setting(1e-3, "highest learning rate of Adam")
    warmup: int = setting(100, "steps of linear warm-up")
    ema: float = setting(0.995, "decay of the running mean of the weights, per step")
    validation_chains: int = setting(sources.VALIDATION, "chains held back, as in the training that comes after")
    development_chains: int = setting(sources.DEVELOPMENT, "more chains held back, to measure along the way")
    seed: int = setting(0, "seed of initialisation and of the data order")

    def __post_init__(self) -> None:
        train.check_settings(self.model, self.steps, self.warmup, batch=self.batch, crop=self.crop)
        convolutions(PRESETS[self.model])


def convolutions(config: ModelConfig) -> SequenceConfig:
    """Return the part of a network that is taught.

    Raises:
        ConfigError: It has none.
    """
    if config.evoformer.sequence is None:
        raise ConfigError(f"{config.name} has no convolutions to teach", "--model")
    return config.evoformer.sequence


def network(config: ModelConfig) -> hk.Transformed:
    """Return the convolutions with the heads that are thrown away, as a function of one example."""
    track, bins = convolutions(config), config.heads.torsion_bins

    def run(example: Mapping[str, Array]) -> dict[str, Array]:
        with hk.name_scope(_SCOPES[0]), hk.name_scope(_SCOPES[1]), hk.name_scope(_SCOPES[2]):
            rows, _ = embedders.embed_input(example, config.evoformer, jnp.dtype(jnp.float32))
            row = SequenceTrack(track)(rows[0], example["seq_mask"])
        x = layer_norm(row, "thrown_away_norm")
        return {
            "torsions": linear(x, 2 * bins, "thrown_away_torsions", init="zeros").reshape(-1, 2, bins),
            "states": linear(x, SECONDARY_STRUCTURES, "thrown_away_states", init="zeros"),
            "neighbours": linear(x, len(_NEIGHBOURS) + 1, "thrown_away_neighbours", init="zeros"),
        }

    return hk.transform(run)


def terms_of(outputs: Mapping[str, Array], example: Mapping[str, Any]) -> dict[str, Array]:
    """Return the losses, and the shares of residues whose phi and psi are right to 40 degrees, and whose state is."""
    positions, mask = example["all_atom_positions"], example["all_atom_mask"] * example["seq_mask"][:, None]
    torsions = geometry.torsion_angles(example["aatype"], positions, mask)
    ca, known = positions[:, _CA], mask[:, _CA]
    near = (geometry.distances(ca, ca) < _NEAR) * known[:, None] * known
    neighbours = losses.bin_of(near.sum(axis=-1) - 1, jnp.asarray(_NEIGHBOURS))
    entropy = losses.cross_entropy(outputs["neighbours"], neighbours)
    logits, angles = outputs["torsions"], jnp.arctan2(torsions.sin_cos[:, 1:3, 0], torsions.sin_cos[:, 1:3, 1])
    states = example["secondary_structure"]
    return {
        "states": losses.secondary_structure_loss(outputs["states"], states),
        "Q3": losses.masked_mean(jnp.argmax(outputs["states"], axis=-1) == states, states >= 0),
        "torsions": losses.torsion_bins_loss(logits, torsions),
        "neighbours": losses.masked_mean(entropy, known),
        "right": losses.masked_mean(scores.right_torsions(logits, angles), torsions.mask[:, 1:3].prod(axis=-1)),
    }


def batches(source: dataset.ExampleSource, settings: Settings) -> Iterator[dataset.Arrays]:
    """Yield batches of chains without templates; a step's batch depends on seed and step alone."""
    for step in range(settings.steps):
        rng = np.random.default_rng((settings.seed, step, 2))
        chains = rng.choice(source.training, settings.batch)
        yield stacked([source.example(int(i), rng, settings.crop, []) for i in chains])


def stacked(examples: Sequence[dataset.Arrays]) -> dataset.Arrays:
    """Return examples as one batch of what is read here."""
    return {name: np.stack([example[name] for example in examples]) for name in _INPUTS}


def teach(
    source: dataset.ExampleSource, settings: Settings, start: hk.Params, held: dataset.Arrays | None
) -> hk.Params:
    """Return the averaged weights after all steps; what is held back, if anything is, is measured along the way."""
    net = network(source.config)
    schedule = optax.warmup_cosine_decay_schedule(0.0, settings.learning_rate, settings.warmup, settings.steps, 1e-5)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule, b1=0.9, b2=0.99, eps=1e-7))

    def loss(weights: hk.Params, batch: dataset.Arrays) -> Any:
        outputs = jax.vmap(functools.partial(net.apply, weights, None))(batch)
        terms = jax.tree.map(jnp.mean, jax.vmap(terms_of)(outputs, batch))
        return terms["torsions"] + terms["states"] + 0.5 * terms["neighbours"], terms

    @jax.jit
    def step(weights: hk.Params, mean: hk.Params, state: Any, batch: dataset.Arrays) -> Any:
        (_, terms), gradient = jax.value_and_grad(loss, has_aux=True)(weights, batch)
        changes, state = optimiser.update(gradient, state, weights)
        weights = optax.apply_updates(weights, changes)
        mean = jax.tree.map(lambda m, w: settings.ema * m + (1 - settings.ema) * w, mean, weights)
        return weights, mean, state, terms

    measure = jax.jit(lambda weights, batch: loss(weights, batch)[1])
    data = train.prefetch(batches(source, settings))
    first = next(data)
    fresh = net.init(jax.random.PRNGKey(settings.seed), {name: jnp.asarray(array[0]) for name, array in first.items()})
    known, own = params.flat(start), params.flat(fresh)
    weights = params.nested({name: jnp.array(known.get(name, array)) for name, array in own.items()})
    mean, state, batch = jax.tree.map(jnp.copy, weights), optimiser.init(weights), first
    began = time.monotonic()
    for number in range(1, settings.steps + 1):
        weights, mean, state, terms = step(weights, mean, state, batch)
        if number % 100 == 0 or number == settings.steps:
            measured = measure(mean, held) if held else {}
            shown = {**terms, **{f"held back {name}": value for name, value in measured.items()}}
            text = "  ".join(f"{name} {float(value):.3f}" for name, value in shown.items())
            log.info("step %d  %s  %.0f s", number, text, time.monotonic() - began)
        if number < settings.steps:
            batch = next(data)
    return mean


def main(argv: Sequence[str] | None = None) -> int:
    """Teach the convolutions and write their weights, a part of a network's."""
    parser = argparse.ArgumentParser(prog="python -m training.pretrain", description=__doc__)
    sources.add_data_flags(parser)
    parser.add_argument("--output", type=Path, required=True, help="file of the weights to write")
    parser.add_argument("--start", type=Path, help="weights whose embedding of the input is begun with")
    add_flags(parser, Settings)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = from_args(Settings, arguments)
    config = PRESETS[settings.model]
    number = sources.Number(settings.validation_chains, settings.development_chains)
    source, held = sources.open_source(arguments, settings.model, number)
    rng = np.random.default_rng(0)
    examples = [source.example(int(i), rng, settings.crop, []) for i in held.development]
    start = origin.read_start([arguments.start] if arguments.start else [], source) or origin.Start({})
    taught = params.flat(teach(source, settings, start.params, stacked(examples) if examples else None))
    kept = {name: array for name, array in taught.items() if name in params.shapes(config) and name not in _UNTAUGHT}
    made = {"pretraining": dataclasses.asdict(settings), **source.describe()}
    if start.about:
        made["start"] = [one["training"] for one in start.about]
    metadata = {**origin.of_trained(start.about), "training": made}
    params.save(arguments.output, params.nested(kept), config, metadata, half=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(main))
