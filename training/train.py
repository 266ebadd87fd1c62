"""Train a network on the CPU: resumable to the step, deterministic in its data, with averaged weights.

    python -m training.train --data FOLDER --exclude LIST --output checkpoints/mini

Every step's batch is a function of seed and step. The learning rate is a function of step and the number of steps. A
checkpoint holds weights, their running mean, the optimiser's state and the step; `loss.tsv` grows beside it.
"""

import argparse
import dataclasses
import functools
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

from models import alphafold, objective, params
from models.config import PRESETS, ModelConfig
from pipeline import records
from pipeline.errors import ConfigError, FoldlineError, RecordError
from pipeline.predict.torsions import usual_torsions
from pipeline.settings import add_flags, from_args, setting
from training import dataset, distillation, origin, scores, sources
from training.guard import guarded

log = logging.getLogger(__name__)

CHECKPOINT_SCHEMA = "foldline.checkpoint/1"

NOT_FINITE = 20  # steps in a row whose gradient is not finite, after which a training ends

# AlphaFold 2's, but for the terms from which a small network learns first (distances, their hand, and its own error),
# and for those of our own heads.
LOSS_WEIGHTS = objective.LossWeights(
    distogram=1.0, handedness=0.5, plddt=0.1, torsion_bins=0.3, secondary_structure=0.3, hydrogen_bonds=0.3
)
# Weights of what counts late. The norms of the gradients of `mini` (crops of 64 residues, one each) were 1 to 4 for the
# FAPE, 90 to 600 for violations, 5,000 to 19,000 for strain, 600 to 1,500 for phi and psi, 14 to 30 for rotamers: with
# AlphaFold 2's weight of 1 the violations alone decide where a clipped step goes.
VIOLATION_WEIGHT = 0.02
PHYSICS_WEIGHTS = {"strain": 0.0003, "ramachandran": 0.003, "rotamer": 0.03}


class DivergedError(FoldlineError):
    """A training came to weights from which no gradient is finite."""

    exit_code: ClassVar[int] = 1


@dataclasses.dataclass(frozen=True)
class Settings:
    """How long and how fast to train.

    Raises:
        ConfigError: One is out of range.
    """

    model: str = setting("mini", "preset of models/config.py")
    steps: int = setting(4000, "optimiser steps of the whole schedule")
    batch: int = setting(4, "crops per step")
    crops: tuple[int, ...] = setting((64, 64, 96, 64, 64, 128), "crop lengths in turn, residues")
    learning_rate: float = setting(7e-4, "highest learning rate of Adam")
    warmup: int = setting(200, "steps of linear warm-up")
    clip: float = setting(1.0, "global norm to which gradients are clipped")
    ema: float = setting(0.998, "decay of the running mean of the weights, per step")
    recycles: int = setting(1, "highest number of recycles, drawn uniformly for each step")
    recycle_from: float = setting(0.3, "fraction of the steps before which nothing is recycled: quicker")
    violation_from: float = setting(0.5, "fraction of the steps after which the violation terms count")
    physics_from: float = setting(0.75, "fraction of the steps after which the terms of physics count; 1 for never")
    validation_chains: int = setting(sources.VALIDATION, "chains held back for validation")
    development_chains: int = setting(sources.DEVELOPMENT, "more chains held back, for choices and the curve")
    score_every: int = setting(1000, "steps between measurements on the development chains; 0 for none")
    distillation: float = setting(1.0, "weight of what teachers expect of distances; the truth has 1")
    only: tuple[str, ...] = setting((), "parts of the network that are taught alone, by names of modules; none for all")
    seed: int = setting(0, "seed of initialisation and of the data order")
    checkpoint_every: int = setting(100, "steps between checkpoints")

    @property
    def held_back(self) -> sources.Number:
        """How many chains are held back."""
        return sources.Number(self.validation_chains, self.development_chains)

    def __post_init__(self) -> None:
        counts = {"batch": self.batch, "crops": min(self.crops, default=0), "checkpoint_every": self.checkpoint_every}
        check_settings(self.model, self.steps, self.warmup, **counts)


@dataclasses.dataclass(frozen=True)
class Sitting:
    """One of the sittings of a training: how it begins where there is no checkpoint, and when it ends to be resumed.

    Args:
        minutes: Longest time.
        until: Step after which it ends; None for the last of the schedule.
        start: Weights to begin with; None for random ones.
    """

    minutes: float = 1e9
    until: int | None = None
    start: origin.Start | None = None


class Turn(NamedTuple):
    """What differs between steps, beside the batch.

    Args:
        recycles: Number of recycles.
        violation: 1 where the violation terms count, else 0.
        physics: 1 where the terms of physics count, else 0.
    """

    recycles: jax.Array
    violation: jax.Array
    physics: jax.Array


@dataclasses.dataclass(frozen=True)
class State:
    """All that a resumed training needs.

    Args:
        params: The weights.
        mean: Their running mean.
        optimiser: The optimiser's state.
        step: Steps that were taken.
        start: What the weights that it began with say of themselves.
    """

    params: hk.Params
    mean: hk.Params
    optimiser: Any
    step: int
    start: tuple[origin.About, ...] = ()


def check_settings(model: str, steps: int, warmup: int, **counts: int) -> None:
    """Refuse settings that no training can have.

    Args:
        model: Name of the network.
        steps: Of the whole schedule.
        warmup: Steps of it.
        counts: Numbers of things, by the names of their settings.

    Raises:
        ConfigError: There is no such network, or a number is too small or too large.
    """
    if model not in PRESETS:
        raise ConfigError(f"expected one of {', '.join(PRESETS)}, found {model!r}", "--model")
    if not 0 <= warmup < steps:
        raise ConfigError(f"expected fewer than the {steps} steps of the schedule, found {warmup}", "--warmup")
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"expected at least 1, found {count}", f"--{name.replace('_', '-')}")


def schedule(settings: Settings) -> optax.Schedule:
    """Return the learning rate of each step: linear warm-up, then a cosine to a fiftieth."""
    return optax.warmup_cosine_decay_schedule(
        0.0, settings.learning_rate, settings.warmup, settings.steps, settings.learning_rate / 50
    )


def optimiser(settings: Settings) -> optax.GradientTransformation:
    """Return Adam on clipped gradients; a step whose gradient is not finite changes nothing."""
    chain = optax.chain(
        optax.clip_by_global_norm(settings.clip), optax.adam(schedule(settings), b1=0.9, b2=0.99, eps=1e-7)
    )
    return optax.apply_if_finite(chain, max_consecutive_errors=NOT_FINITE)


def forward(config: ModelConfig, recycles: int) -> hk.Transformed:
    """Return the network as a function of one example and its number of recycles, at most `recycles`."""

    def run(example: Mapping[str, jax.Array], number: jax.Array) -> dict[str, Any]:
        inputs = {name: x for name, x in example.items() if name not in dataset.LABELS}
        repeated = jax.tree.map(lambda x: jnp.broadcast_to(x, (recycles + 1, *x.shape)), inputs)
        return alphafold.forward(config, repeated, number, remat=True)

    return hk.transform(run)


def is_taught(module: str, settings: Settings) -> bool:
    """Return whether the parameters of a module, by its scopes, are taught."""
    return not settings.only or any(name in module.split("/") for name in settings.only)


def unknown_parts(settings: Settings) -> list[str]:
    """Return those of the parts to be taught alone that the network does not have."""
    modules = {name.split("//")[0] for name in params.shapes(PRESETS[settings.model])}
    parts = {part for module in modules for part in module.split("/")}
    return [name for name in settings.only if name not in parts]


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return the settings that flags give.

    Raises:
        ConfigError: One is out of range, or names what the network does not have.
    """
    settings = from_args(Settings, arguments)
    for name in unknown_parts(settings):
        raise ConfigError(f"{name} is no part of {settings.model}", "--only")
    return settings


def make_step(config: ModelConfig, settings: Settings, teachers: distillation.Teachers | None = None) -> Any:
    """Return the compiled step from one state, a batch and what the teachers know to the next state and its metrics."""
    network = forward(config, settings.recycles)
    teacher = forward(teachers.config, settings.recycles) if teachers else None
    update = optimiser(settings)

    densities = usual_torsions()

    def loss(weights: hk.Params, example: dict[str, jax.Array], turn: Turn, taught: Sequence[hk.Params]) -> Any:
        weights = hk.data_structures.map(
            lambda module, _, x: x if is_taught(module, settings) else jax.lax.stop_gradient(x), weights
        )
        outputs = network.apply(weights, None, example, turn.recycles)
        physics: dict[str, Any] = {name: weight * turn.physics for name, weight in PHYSICS_WEIGHTS.items()}
        wanted = dataclasses.replace(LOSS_WEIGHTS, violation=VIOLATION_WEIGHT * turn.violation, **physics)
        total, terms = objective.total(outputs, example, config, wanted, densities)
        if teacher is not None:
            answers = [teacher.apply(given, None, example, turn.recycles)["distogram"]["logits"] for given in taught]
            lesson = distillation.lesson(outputs["distogram"]["logits"], example["seq_mask"], answers)
            terms["distillation"] = lesson
            total += settings.distillation * lesson
        return total, terms

    def step(
        weights: hk.Params,
        mean: hk.Params,
        state: Any,
        batch: dict[str, jax.Array],
        turn: Turn,
        taught: Sequence[hk.Params] = (),
    ) -> Any:
        def add(total: hk.Params, example: dict[str, jax.Array]) -> Any:
            (_, terms), gradient = jax.value_and_grad(loss, has_aux=True)(weights, example, turn, taught)
            return jax.tree.map(jnp.add, total, gradient), terms

        total, terms = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, weights), batch)
        gradient = jax.tree.map(lambda g: g / settings.batch, total)
        changes, state = update.update(gradient, state, weights)
        weights = optax.apply_updates(weights, changes)
        mean = jax.tree.map(lambda m, w: settings.ema * m + (1 - settings.ema) * w, mean, weights)
        metrics = {name: value.mean() for name, value in terms.items()} | {"gradient": optax.tree.norm(gradient)}
        return weights, mean, state, metrics

    return jax.jit(step, donate_argnums=(0, 1, 2))


def initial_state(config: ModelConfig, settings: Settings, example: dict[str, np.ndarray]) -> State:
    """Return freshly initialised weights and optimiser state."""
    network = forward(config, settings.recycles)
    weights = jax.jit(network.init)(jax.random.PRNGKey(settings.seed), example, jnp.zeros((), jnp.int32))
    return State(weights, jax.tree.map(jnp.copy, weights), optimiser(settings).init(weights), 0)


def begun_with(state: State, start: origin.Start) -> State:
    """Return a fresh state with the weights to begin with in the place of its own."""
    begun = jax.tree.map(jnp.array, params.nested({**params.flat(state.params), **params.flat(start.params)}))
    return dataclasses.replace(state, params=begun, mean=jax.tree.map(jnp.copy, begun), start=start.about)


def save(path: Path, state: State, about: str) -> None:
    """Write a checkpoint; the last one stays whole if this is interrupted. `about` says what the training is."""
    leaves = jax.tree.leaves((state.params, state.mean, state.optimiser))
    arrays = {f"leaf_{i:05d}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
    said = {"step": np.array(state.step), "about": np.array(about), "start": np.array(json.dumps(state.start))}
    records.write_npz(path, {**arrays, **said}, CHECKPOINT_SCHEMA)


def restore(path: Path, template: State, about: str) -> State:
    """Read a checkpoint into the shape of `template`; an older one does not say what it began with, `template` does.

    Raises:
        RecordError: The file is damaged, or belongs to a training with other settings, data or network.
    """
    arrays = records.read_npz(path, CHECKPOINT_SCHEMA)
    if str(arrays.pop("about", "")) != about:
        raise RecordError("this checkpoint is of another training", str(path), "choose another --output, or remove it")
    step = int(arrays.pop("step"))
    start = json.loads(str(arrays.pop("start"))) if "start" in arrays else template.start
    tree = jax.tree.structure((template.params, template.mean, template.optimiser))
    leaves = [jnp.asarray(arrays[name]) for name in sorted(arrays)]
    weights, mean, state = jax.tree.unflatten(tree, leaves)
    return State(weights, mean, state, step, tuple(start))


def identity(source: dataset.ExampleSource, settings: Settings, teachers: distillation.Teachers | None = None) -> str:
    """Return a text that differs between trainings whose checkpoints must not be mixed."""
    chosen = dataclasses.asdict(settings)
    idle = ("checkpoint_every", "score_every", *(() if teachers else ("distillation",)))  # they change no number
    for name in idle:
        del chosen[name]
    parts = {
        "settings": chosen,
        "config": dataclasses.asdict(source.config),
        "data": source.describe(),
        "teachers": teachers.sha256 if teachers else [],
    }
    return json.dumps(parts, sort_keys=True)


def prefetch(items: Iterator[Any], depth: int = 3) -> Iterator[Any]:
    """Make the next items in a thread while the caller works; what goes wrong there is raised here."""
    end = object()
    pool = ThreadPoolExecutor(max_workers=1)
    try:
        coming = deque(pool.submit(next, items, end) for _ in range(depth))
        while (item := coming.popleft().result()) is not end:
            coming.append(pool.submit(next, items, end))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)


def turn_of(step: int, settings: Settings) -> Turn:
    """Return what a step does, a function of seed and step."""
    done = step / settings.steps
    recycles = 0
    if done >= settings.recycle_from:
        recycles = int(np.random.default_rng((settings.seed, step, 1)).integers(0, settings.recycles + 1))
    switches = (jnp.float32(done >= start) for start in (settings.violation_from, settings.physics_from))
    return Turn(jnp.int32(recycles), *switches)


def train(
    source: dataset.ExampleSource,
    settings: Settings,
    output: Path,
    sitting: Sitting,
    watch: Callable[[State], None] | None = None,
    teachers: distillation.Teachers | None = None,
) -> State:
    """Train from the last checkpoint until the schedule or the sitting ends.

    `watch` sees the state every `score_every` steps, just after it was saved. What teachers expect is learned too.

    Raises:
        RecordError: There is a checkpoint, damaged or of another training.
        DivergedError: The gradients are no longer finite; the weights of the last checkpoint are.
    """
    last = settings.steps if sitting.until is None else sitting.until
    config = source.config
    first = source.draw(np.random.default_rng(settings.seed), settings.crops[0])
    state = initial_state(config, settings, first)
    if sitting.start is not None:
        state = begun_with(state, sitting.start)
    checkpoint, notes, about = (
        output / "checkpoint.npz",
        output / "loss.tsv",
        identity(source, settings, teachers),
    )
    if checkpoint.exists():
        state = restore(checkpoint, state, about)
        log.info("resumed at step %d", state.step)
    for table in (notes, output / "curve.tsv"):
        _forget_after(table, state.step)
    step, taught = make_step(config, settings, teachers), teachers.params if teachers else ()
    data = prefetch(dataset.batches(source, settings.seed, state.step, settings.batch, settings.crops))
    end = time.monotonic() + 60 * sitting.minutes
    while state.step < last and time.monotonic() < end:
        began = time.monotonic()
        weights, mean, opt, metrics = step(
            state.params, state.mean, state.optimiser, next(data), turn_of(state.step, settings), taught
        )
        state = State(weights, mean, opt, state.step + 1, state.start)
        _note(notes, state.step, {k: float(v) for k, v in metrics.items()}, time.monotonic() - began)
        if opt.notfinite_count >= NOT_FINITE:  # the next one would be taken
            problem = f"the gradients of {NOT_FINITE} steps up to step {state.step} are not finite"
            raise DivergedError(problem, str(output), "begin again with a lower --learning-rate")
        if watch and settings.score_every and state.step % settings.score_every == 0:
            save(checkpoint, state, about)
            watch(state)
        elif state.step % settings.checkpoint_every == 0:
            save(checkpoint, state, about)
    save(checkpoint, state, about)
    return state


def _forget_after(path: Path, step: int) -> None:
    """Drop the notes of steps that an interrupted training took after its last checkpoint."""
    if path.exists():
        header, *rows = path.read_text(encoding="utf-8").splitlines()
        kept = [row for row in rows if int(row.split("\t")[0]) <= step]
        records.write_text(path, "\n".join([header, *kept]) + "\n")


def _note(path: Path, step: int, metrics: dict[str, float], seconds: float) -> None:
    row = {"step": step, **metrics, "seconds": seconds}
    append(path, {"step": str(step)} | {name: f"{value:.5g}" for name, value in row.items() if name != "step"})
    if step % 20 == 0:
        log.info("%s", "  ".join(f"{name} {value:.4g}" for name, value in row.items()))


def append(path: Path, row: Mapping[str, str]) -> None:
    """Add a line to a table, below a header where it is new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", encoding="utf-8") as file:
        file.write(("\t".join(row) + "\n") * new + "\t".join(row.values()) + "\n")


def watcher(source: dataset.ExampleSource, chains: np.ndarray, output: Path) -> Callable[[State], None]:
    """Return what measures the averaged weights: lines of `curve.tsv`."""
    predict = scores.predictor(source, source.config.recycles)

    def watch(state: State) -> None:
        for row in scores.table(source, chains, functools.partial(predict, state.mean)):
            names = ("condition", "chains", "CA-lDDT", "pLDDT")
            append(output / "curve.tsv", {"step": str(state.step), **dict(zip(names, row, strict=True))})

    return watch


def main(argv: Sequence[str] | None = None) -> int:
    """Train, then write the averaged weights in half precision."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    sources.add_data_flags(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder of checkpoint.npz, loss.tsv and weights.npz")
    parser.add_argument(
        "--start",
        type=Path,
        nargs="+",
        default=(),
        help="weights to begin with, of this network or of similar ones, later files first (default: random ones)",
    )
    parser.add_argument("--teachers", type=Path, nargs="+", default=(), help="weights whose distograms are learned too")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this time, to be resumed")
    parser.add_argument("--until", type=int, help="stop after this step, to be resumed")
    add_flags(parser, Settings)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = settings_of(arguments)
    source, held = sources.open_source(arguments, settings.model, settings.held_back)
    watch = watcher(source, held.development, arguments.output) if settings.development_chains else None
    sitting = Sitting(arguments.minutes, arguments.until, origin.read_start(arguments.start, source))
    teachers = distillation.read(arguments.teachers, source.config) if arguments.teachers else None
    state = train(source, settings, arguments.output, sitting, watch, teachers)
    made = {"step": state.step, "settings": dataclasses.asdict(settings), **source.describe()}
    if teachers:
        made["teachers"] = teachers.about
    else:
        del made["settings"]["distillation"]
    if state.start:
        made["start"] = [one["training"] for one in state.start]
    metadata = {**origin.of_trained(state.start), "training": made}
    params.save(arguments.output / "weights.npz", state.mean, source.config, metadata, half=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(main))
