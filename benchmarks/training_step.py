"""Time of a training step by crop: forward, and forward with gradient, milliseconds for one crop.

    .venv/bin/python benchmarks/training_step.py --model mini --crops 64 96 128

The network with all its losses, blocks recomputed for the gradient as in training; without the optimiser, which costs
little. Weights and examples are random: the time does not depend on them. Medians of the repeats, after compilation.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from machine import described, peak_memory, print_table

from models import alphafold, objective, params
from models.config import PRESETS, ModelConfig

HEAD = ("crop", "forward ms", "forward CPU ms", "and gradient ms", "and gradient CPU ms", "compile s", "peak memory MB")
LABELS = ("all_atom_positions", "all_atom_mask", "bonded", "secondary_structure", "true_msa", "bert_mask")
SEED = 0
CA_STEP = 3.8  # angstrom between CA atoms

Timed = tuple[float, float, float]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure each crop and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini", choices=PRESETS, help="preset (default: %(default)s)")
    parser.add_argument("--crops", type=int, nargs="+", default=[64, 96, 128], help="residues (default: %(default)s)")
    parser.add_argument("--recycles", type=int, default=0, help="recycles before the last iteration (default: 0)")
    parser.add_argument("--violations", action="store_true", help="count the violation terms, as late in training")
    parser.add_argument("--repeats", type=int, default=5, help="steps after compilation (default: %(default)s)")
    arguments = parser.parse_args(argv)
    config = PRESETS[arguments.model]
    print(described())
    print()
    run = loss_of(config, arguments.recycles, float(arguments.violations))
    weights = random_weights(config)
    rows = []
    for crop in arguments.crops:  # from small to large: peak memory only grows
        example = random_example(config, crop)
        forward = timed(jax.jit(run), weights, example, arguments.repeats)
        gradient = timed(jax.jit(jax.value_and_grad(run)), weights, example, arguments.repeats)
        values = [1e3 * value for value in (*forward[:2], *gradient[:2])]
        rows.append([crop, *(f"{value:.0f}" for value in values), f"{gradient[2]:.1f}", f"{peak_memory():.0f}"])
    print_table(HEAD, rows)
    return 0


def loss_of(config: ModelConfig, recycles: int, violation: float) -> Callable[[hk.Params, Mapping[str, Any]], Any]:
    """Return the loss as a function of weights and one example."""

    def forward(example: Mapping[str, jax.Array]) -> dict[str, Any]:
        inputs = {name: x for name, x in example.items() if name not in LABELS}
        repeated = jax.tree.map(lambda x: jnp.broadcast_to(x, (recycles + 1, *x.shape)), inputs)
        return alphafold.forward(config, repeated, recycles, remat=True)

    network = hk.transform(forward)

    def loss(weights: hk.Params, example: Mapping[str, jax.Array]) -> jax.Array:
        outputs = network.apply(weights, None, example)
        return objective.total(outputs, example, config, objective.LossWeights(violation=violation))[0]

    return loss


def timed(function: Callable[..., Any], weights: hk.Params, example: Mapping[str, Any], repeats: int) -> Timed:
    """Return the median wall and CPU seconds of a compiled call, and the wall seconds of compiling it."""
    began = time.monotonic()
    compiled = function.lower(weights, example).compile()
    compiling = time.monotonic() - began
    jax.block_until_ready(compiled(weights, example))
    wall, cpu = [], []
    for _ in range(repeats):
        began, cpu_began = time.monotonic(), time.process_time()
        jax.block_until_ready(compiled(weights, example))
        wall.append(time.monotonic() - began)
        cpu.append(time.process_time() - cpu_began)
    return statistics.median(wall), statistics.median(cpu), compiling


def random_weights(config: ModelConfig) -> hk.Params:
    """Return random parameters, small enough that no number overflows."""
    rng = np.random.default_rng(SEED)
    shapes = params.shapes(config).items()
    return params.nested({name: rng.normal(scale=0.02, size=shape).astype(np.float32) for name, shape in shapes})


def random_example(config: ModelConfig, crop: int) -> dict[str, np.ndarray]:
    """Return the inputs of a random chain with all rows and templates present, and its labels."""
    rng = np.random.default_rng(SEED)
    zeros = {name: np.array(array[0]) for name, array in alphafold.example_batch(config, crop).items()}
    example = {name: np.ones_like(array) if "mask" in name else array for name, array in zeros.items()}
    step = rng.normal(size=(crop, 3))
    trace = np.cumsum(CA_STEP * step / np.linalg.norm(step, axis=-1, keepdims=True), axis=0)
    atoms = (trace[:, None] + rng.normal(size=(crop, 37, 3))).astype(np.float32)
    example |= {"aatype": rng.integers(0, 20, crop), "residue_index": np.arange(crop)}
    if "template_aatype" in example:
        example["template_all_atom_positions"] = example["template_all_atom_positions"] + atoms
        example["template_pseudo_beta"] = example["template_pseudo_beta"] + atoms[:, 1]
    rows = example["msa_mask"].shape
    labels = {"all_atom_positions": atoms, "all_atom_mask": np.ones((crop, 37), np.float32), "bonded": np.arange(crop)}
    labels["secondary_structure"] = rng.integers(0, 3, crop)
    labels |= {"true_msa": rng.integers(0, 22, rows), "bert_mask": np.ones(rows, np.float32)}
    return example | labels


if __name__ == "__main__":
    raise SystemExit(main())
