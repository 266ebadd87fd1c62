"""Time and memory of predictions by length: compiling, running (all recycles), largest resident memory.

    .venv/bin/python benchmarks/predict.py --model mini --lengths 64 100 200

Each length has a process of its own that compiles anew, as `foldline predict` does for the first target of a bucket.
Sequence, alignment and templates are random: the time does not depend on them. `run` is the median of the repeats.
CPU seconds say more than wall seconds where the machine has other work.
"""

import argparse
import dataclasses
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from machine import described, peak_memory, print_table

HEAD = (
    *("residues", "padded to", "inputs s", "compile s", "compile CPU s"),
    *("run s", "run CPU s", "peak memory MB", "weights"),
)
WEIGHTS = Path(__file__).resolve().parents[1] / "data" / "weights"
MSA_ROWS, TEMPLATES, SEED = 256, 4, 0
CA_STEP = 3.8  # angstrom between CA atoms


@dataclasses.dataclass(frozen=True)
class Case:
    """What one process measures."""

    model: str
    length: int
    recycles: int | None
    repeats: int
    weights: Path


def main(argv: Sequence[str] | None = None) -> int:
    """Measure each length in a fresh process and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini", help="preset of models/config.py (default: %(default)s)")
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=[64, 100, 200], help="residues (default: %(default)s)"
    )
    parser.add_argument("--recycles", type=int, help="recycles after the first iteration (default: the model's own)")
    parser.add_argument("--repeats", type=int, default=3, help="runs after compilation (default: %(default)s)")
    parser.add_argument("--weights", type=Path, help="parameter file (default: data/weights/MODEL.npz; else random)")
    arguments = parser.parse_args(argv)
    weights = arguments.weights or WEIGHTS / f"{arguments.model}.npz"
    print(described())
    print()
    rows = []
    for length in arguments.lengths:
        case = Case(arguments.model, length, arguments.recycles, arguments.repeats, weights)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            rows.append(pool.submit(measure, case).result())
    print_table(HEAD, rows)
    return 0


def measure(case: Case) -> list[object]:
    """Predict one length several times; return a row of the table."""
    from pipeline.batches import bucket_length  # noqa: PLC0415 - JAX is loaded in the measuring process only
    from pipeline.predict.stage import Predictor, Run, Settings  # noqa: PLC0415

    predictor, run_name = Predictor(Settings(model=case.model, recycles=case.recycles)), Run(case.model, SEED)
    parameters, source = load_parameters(case)
    predictor.hold(case.model, parameters)
    features, bucket = random_features(case.length), bucket_length(case.length)
    cpu_began = time.process_time()
    seconds = predictor.predict(features, run_name, bucket).seconds
    first_cpu = time.process_time() - cpu_began
    runs, cpu_runs = [], []
    for _ in range(case.repeats):
        cpu_began = time.process_time()
        runs.append(predictor.predict(features, run_name, bucket).seconds["run"])
        cpu_runs.append(time.process_time() - cpu_began)
    run, run_cpu = statistics.median(runs), statistics.median(cpu_runs)
    timed = [seconds["inputs"], seconds["compile"], first_cpu - run_cpu, run, run_cpu]
    return [case.length, bucket, *(f"{value:.2f}" for value in timed), f"{peak_memory():.0f}", source]


def load_parameters(case: Case):  # noqa: ANN201 - the type would load JAX here
    """Return the parameters of the file where there is one, else random ones, and which of the two they are."""
    from models import params  # noqa: PLC0415
    from models.config import PRESETS  # noqa: PLC0415

    config, rng = PRESETS[case.model], np.random.default_rng(SEED)
    if case.weights.is_file():
        return params.load(case.weights, config), case.weights.name
    arrays = {name: rng.normal(scale=0.05, size=s).astype(np.float32) for name, s in params.shapes(config).items()}
    return params.nested(arrays), "random"


def random_features(length: int):  # noqa: ANN201
    """Return raw features of a random chain: an alignment of 256 rows and four templates with a backbone."""
    from pipeline.features import RawFeatures  # noqa: PLC0415

    rng = np.random.default_rng(SEED)
    msa = rng.integers(0, 22, (MSA_ROWS, length)).astype(np.int8)
    msa[0] = rng.integers(0, 20, length)
    step = rng.normal(size=(TEMPLATES, length, 3))
    trace = np.cumsum(CA_STEP * step / np.linalg.norm(step, axis=-1, keepdims=True), axis=1)
    positions, mask = np.zeros((TEMPLATES, length, 37, 3), np.float32), np.zeros((TEMPLATES, length, 37), bool)
    backbone = [0, 1, 2, 3, 4]  # N, CA, C, CB, O of atom37
    positions[:, :, backbone] = trace[:, :, None] + rng.normal(size=(TEMPLATES, length, len(backbone), 3))
    mask[:, :, backbone] = True
    return RawFeatures(
        name=f"random_{length}",
        aatype=rng.integers(0, 20, length).astype(np.int32),
        residue_index=np.arange(length, dtype=np.int32),
        msa=msa,
        deletion_matrix=np.zeros(msa.shape, np.int16),
        template_aatype=rng.integers(0, 20, (TEMPLATES, length)).astype(np.int8),
        template_positions=positions,
        template_mask=mask,
        template_sum_probs=np.full(TEMPLATES, length, np.float32),
        template_ids=tuple(f"RAND_{k}" for k in range(TEMPLATES)),
    )


if __name__ == "__main__":
    raise SystemExit(main())
