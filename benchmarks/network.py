"""Our network beside the published one (package `alphafold-colabfold`): time of an iteration, compilation, memory.

    .venv/bin/python benchmarks/network.py --model model_1_ptm --lengths 64 128 --msa 128/1024

Same random parameters, same inputs, float32, full depth where `--blocks` does not cut the Evoformer stack. Each network
has a process of its own; the two run in turns, and each figure is the median of the repeats. Ours runs a prediction
with `--recycles`, whose time is divided by its iterations, as templates are embedded once for all of them; theirs runs
one iteration, in chunks of four rows (its fastest single-precision setting on a CPU).
CPU seconds say more than wall seconds where the machine has other work. Memory is the process's peak: parameters, the
libraries and compiling included.
"""

import argparse
import dataclasses
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from machine import described, peak_memory, print_table

HEAD = (
    *("residues", "MSA / extra", "network", "compile s", "compile CPU s"),
    *("iteration s", "iteration CPU s", "peak memory MB"),
)
SEED = 0
CHUNK = 4  # rows at once: the published default, in time no worse than all at once on a CPU, and smaller


@dataclasses.dataclass(frozen=True)
class Case:
    """What both networks run.

    Args:
        model: Preset.
        blocks: Blocks of the Evoformer stack.
        length: Residues.
        clusters: Rows of the MSA, those made of templates included.
        extra: Rows of the extra MSA.
        recycles: Recycles of our prediction.
        precision: Of our trunk.
    """

    model: str
    blocks: int
    length: int
    clusters: int
    extra: int
    recycles: int
    precision: str


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every case and print a table of medians, and of ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="model_1_ptm", help="preset of models/config.py (default: %(default)s)")
    parser.add_argument("--lengths", type=int, nargs="+", default=[64], help="residues (default: %(default)s)")
    parser.add_argument(
        "--msa", nargs="+", default=["128/1024"], help="rows of MSA and extra MSA (default: %(default)s)"
    )
    parser.add_argument("--blocks", type=int, default=48, help="Evoformer blocks (default: %(default)s)")
    parser.add_argument("--recycles", type=int, default=1, help="recycles of our prediction (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, in turns (default: %(default)s)")
    parser.add_argument("--precision", default="float32", help="of our trunk's activations (default: %(default)s)")
    parser.add_argument("--ours-only", action="store_true", help="do not run the published network")
    arguments = parser.parse_args(argv)
    print(described())
    print()
    rows: list[list[object]] = []
    for length in arguments.lengths:
        for msa in arguments.msa:
            clusters, extra = (int(x) for x in msa.split("/"))
            case = Case(
                arguments.model, arguments.blocks, length, clusters, extra, arguments.recycles, arguments.precision
            )
            rows += compare(case, arguments.repeats, ["ours"] if arguments.ours_only else ["theirs", "ours"])
    print_table(HEAD, rows)
    return 0


def compare(case: Case, repeats: int, names: Sequence[str]) -> list[list[object]]:
    """Return a row for each network and one of the ratios."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    figures: dict[str, list[float]] = {}
    for name in names:  # compiled one after the other, so that neither disturbs the other
        pipes[name], far = context.Pipe()
        context.Process(target=serve, args=(name, case, far), daemon=True).start()
        far.close()
        figures[name] = pipes[name].recv()
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            pipes[name].send("run")
            runs[name].append(pipes[name].recv())
    for name in names:
        pipes[name].send("end")
        wall, cpu = (statistics.median(part) for part in zip(*runs[name], strict=True))
        figures[name] += [wall, cpu, pipes[name].recv()]
    label = [case.length, f"{case.clusters}/{case.extra}"]
    rows: list[list[object]] = [[*label, name, *(f"{value:.2f}" for value in figures[name])] for name in names]
    if "theirs" in figures:
        ratios = [a / b for a, b in zip(figures["ours"], figures["theirs"], strict=True)]
        rows.append([*label, "ratio", *(f"{ratio:.2f}" for ratio in ratios)])
    return rows


def serve(name: str, case: Case, pipe: Connection) -> None:
    """Compile one network, send what that took, and run it each time that is asked for."""
    run, *compiling = {"ours": ours, "theirs": theirs}[name](case)
    pipe.send(compiling)
    run()
    while pipe.recv() == "run":
        began, cpu_began = time.monotonic(), time.process_time()
        iterations = run()
        pipe.send(((time.monotonic() - began) / iterations, (time.process_time() - cpu_began) / iterations))
    pipe.send(peak_memory())


def prepared(case: Case) -> tuple[Any, Any, dict[str, np.ndarray]]:
    """Return the network's configuration, its parameters on the device and its inputs."""
    import jax  # noqa: PLC0415 - JAX is loaded in the measuring processes only
    from reference import random_parameter  # noqa: PLC0415

    from models import alphafold, params  # noqa: PLC0415
    from models.config import PRESETS  # noqa: PLC0415

    config = PRESETS[case.model]
    trunk = dataclasses.replace(config.evoformer, blocks=case.blocks)
    reserved = config.input.max_templates if config.input.reserve_template_rows else 0
    sizes = dataclasses.replace(
        config.input,
        max_msa_clusters=case.clusters - reserved,
        max_extra_msa=case.extra,
    )
    config = dataclasses.replace(config, evoformer=trunk, input=sizes)
    rng = np.random.default_rng(SEED)
    batch = {}
    for key, array in alphafold.example_batch(config, case.length, case.recycles + 1).items():
        shape = array.shape[1:]
        if array.dtype == np.int32:
            one = np.arange(case.length) if key == "residue_index" else rng.integers(0, 20, shape)
        elif "mask" in key:
            one = np.ones(shape)
        else:
            one = rng.normal(size=shape, scale=8.0 if "pos" in key or "beta" in key else 1.0)
        batch[key] = np.broadcast_to(one.astype(array.dtype), array.shape)
    names = params.shapes(config).items()
    parameters = {name: jax.device_put(random_parameter(name, shape, SEED)) for name, shape in names}
    return config, params.nested(parameters), batch


def ours(case: Case) -> tuple[Callable[[], int], float, float]:
    """Return a function that predicts and tells its iterations, and seconds and CPU seconds of compiling it."""
    import haiku as hk  # noqa: PLC0415
    import jax  # noqa: PLC0415

    from models import alphafold  # noqa: PLC0415
    from pipeline.predict.memory import give_back  # noqa: PLC0415

    config, parameters, batch = prepared(case)
    config = dataclasses.replace(config, precision=case.precision)
    network = hk.transform(lambda batch, recycles: alphafold.predict(config, batch, recycles))
    program, *compiling = compiled(lambda p, b, r: network.apply(p, None, b, r), parameters, batch, case.recycles)
    give_back()

    def run() -> int:
        return int(jax.block_until_ready(program(parameters, batch, case.recycles))["recycles"]) + 1

    return run, *compiling


def theirs(case: Case) -> tuple[Callable[[], int], float, float]:
    """Return a function that runs one iteration, and seconds and CPU seconds of tracing and compiling."""
    import jax  # noqa: PLC0415
    import reference  # noqa: PLC0415

    config, parameters, batch = prepared(case)
    one = reference.inputs({name: array[0] for name, array in batch.items()})
    prev = reference.initial_state(case.length)
    apply = reference.network(config, CHUNK).apply
    program, *compiling = compiled(lambda p, b, s: apply(p, jax.random.key(0), b, s), parameters, one, prev)

    def run() -> int:
        jax.block_until_ready(program(parameters, one, prev))
        return 1

    return run, *compiling


def compiled(function: Callable[..., Any], *arguments: Any) -> tuple[Callable[..., Any], float, float]:
    """Return a compiled function, and seconds and CPU seconds of tracing and compiling it."""
    import jax  # noqa: PLC0415

    began, cpu_began = time.monotonic(), time.process_time()
    program = jax.jit(function).lower(*arguments).compile()
    return program, time.monotonic() - began, time.process_time() - cpu_began


if __name__ == "__main__":
    raise SystemExit(main())
