"""What each idea of `mini` is worth: short trainings that differ in one thing, on the development chains.

    python -m training.ablation --data work --exclude LIST --output checkpoints/ablation --steps 500

Each begins with random numbers, or all with those of `--start`. A row is added to `ablation.tsv` for each condition
as a variant is done; variants that are in it are not trained again. Few steps tell what is learned soon, not what is
best in the end.
"""

import argparse
import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from models.config import ModelConfig
from pipeline.settings import add_flags
from training import curve, dataset, distillation, origin, scores, sources, train
from training.guard import guarded


@dataclasses.dataclass(frozen=True)
class Variant:
    """One change.

    Args:
        config: Makes the network from that of `mini`.
        settings: Settings of the training that differ.
        taught: Whether it learns from the teachers too.
    """

    config: Callable[[ModelConfig], ModelConfig] = lambda config: config
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    taught: bool = False


@dataclasses.dataclass(frozen=True)
class Files:
    """Weights that all variants begin with where they fit, and those of the teachers."""

    start: Sequence[Path] = ()
    teachers: Sequence[Path] = ()


def _trunk(**changes: Any) -> Callable[[ModelConfig], ModelConfig]:
    def change(config: ModelConfig) -> ModelConfig:
        return dataclasses.replace(config, evoformer=dataclasses.replace(config.evoformer, **changes))

    return change


def _block(**changes: Any) -> Callable[[ModelConfig], ModelConfig]:
    def change(config: ModelConfig) -> ModelConfig:
        return _trunk(block=dataclasses.replace(config.evoformer.block, **changes))(config)

    return change


def _frames(initial: Literal["origin", "distogram"]) -> Callable[[ModelConfig], ModelConfig]:
    def change(config: ModelConfig) -> ModelConfig:
        return dataclasses.replace(config, structure=dataclasses.replace(config.structure, initial_frames=initial))

    return change


def _heads(**changes: Any) -> Callable[[ModelConfig], ModelConfig]:
    def change(config: ModelConfig) -> ModelConfig:
        return dataclasses.replace(config, heads=dataclasses.replace(config.heads, **changes))

    return change


def _without_couplings(config: ModelConfig) -> ModelConfig:
    without = dataclasses.replace(config, input=dataclasses.replace(config.input, couplings=False))
    return _trunk(couplings=False)(without)


VARIANTS = {
    "as it is": Variant(),
    "frames begin at the origin": Variant(_frames("origin")),
    "frames begin with the distogram alone": Variant(_frames("distogram")),
    "no convolutions": Variant(_trunk(sequence=None)),
    "no couplings": Variant(_without_couplings),
    "no head for hydrogen bonds": Variant(_heads(hydrogen_bonds=False)),
    "no head for secondary structure": Variant(_heads(secondary_structure=False)),
    "triangle attention too": Variant(_block(triangle_attention=True)),
    "triangles at half resolution": Variant(_block(pair_stride=2)),
    "violations and physics from a third on": Variant(settings={"violation_from": 0.33, "physics_from": 0.33}),
    "taught by trained networks too": Variant(taught=True),
}


def run(
    source: dataset.ExampleSource, variant: Variant, settings: train.Settings, output: Path, files: Files
) -> tuple[scores.Way, float]:
    """Train a variant; return its way to predict and the seconds of a step in its notes, compiling included."""
    source = dataclasses.replace(source, config=variant.config(source.config))
    teachers = distillation.read(files.teachers, source.config) if variant.taught else None
    sitting = train.Sitting(start=origin.read_start(files.start, source))
    state = train.train(source, dataclasses.replace(settings, **variant.settings), output, sitting, None, teachers)
    taken = [float(row["seconds"]) for row in curve.read_table(output / "loss.tsv")]
    seconds = sum(taken) / max(len(taken), 1)
    return functools.partial(scores.predictor(source, source.config.recycles), state.mean), seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Train and measure the variants that are not yet in the table."""
    parser = argparse.ArgumentParser(prog="python -m training.ablation", description=__doc__)
    sources.add_data_flags(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder of ablation.tsv")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), help="default: all that --teachers allows")
    parser.add_argument("--start", type=Path, nargs="+", default=(), help="weights that all begin with where they fit")
    parser.add_argument(
        "--teachers", type=Path, nargs="+", default=(), help="weights of `mini`: what teaches a variant"
    )
    add_flags(parser, train.Settings)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    possible = [name for name, variant in VARIANTS.items() if arguments.teachers or not variant.taught]
    variants = arguments.variants or possible
    if not set(variants) <= set(possible):
        parser.error("a variant is taught: give --teachers")
    settings, files = train.settings_of(arguments), Files(arguments.start, arguments.teachers)
    source, held = sources.open_source(arguments, settings.model, settings.held_back)
    table = arguments.output / "ablation.tsv"
    done = {row["variant"] for row in curve.read_table(table)}
    for name in variants:
        if name in done:
            continue
        folder = arguments.output / name.replace(" ", "_")
        predict, seconds = run(source, VARIANTS[name], settings, folder, files)
        for condition, chains, lddt, _ in list(scores.table(source, held.development, predict)):
            row = {"variant": name, "condition": condition, "chains": chains, "CA-lDDT": lddt}
            train.append(table, row | {"seconds of a step": f"{seconds:.2f}"})
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(main))
