"""What half precision of the trunk changes: structures and confidences beside those in single precision.

    .venv/bin/python benchmarks/precision.py --features results/targets/*/features.npz

The same features, parameters and random choices; one process for all. `run s` is of one prediction, after compilation.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from machine import described, print_table

from models.residue_constants import ATOM37_ID
from pipeline import compare
from pipeline.features import RawFeatures
from pipeline.predict.network import Predictor, Weights
from pipeline.predict.records import Prediction, Run
from pipeline.predict.settings import Settings
from pipeline.weights import records as weights

HEAD = (
    *("target", "residues", "precision", "run s", "mean pLDDT"),
    *("mean pLDDT change", "largest", "CA lDDT to float32", "CA RMSD A"),
)
PRECISIONS = ("float32", "bfloat16", "float16")


def main(argv: Sequence[str] | None = None) -> int:
    """Predict each target in each precision and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini", help="preset of models/config.py (default: %(default)s)")
    parser.add_argument("--features", type=Path, nargs="+", required=True, help="features.npz of each target")
    parser.add_argument("--weights", type=Path, help="parameter file (default: the installed one)")
    parser.add_argument("--recycles", type=int, help="recycles (default: the model's own)")
    arguments = parser.parse_args(argv)
    path = arguments.weights or weights.locate(arguments.model)
    features = [RawFeatures.load(each) for each in arguments.features]
    made: dict[str, list[Prediction]] = {}
    for precision in PRECISIONS:
        predictor = Predictor(Settings(model=arguments.model, recycles=arguments.recycles, precision=precision))
        predictor.load(Weights(arguments.model, path, ""))
        made[precision] = [predict(predictor, target, arguments.model) for target in features]
    print(described())
    print()
    print_table(HEAD, [row(each, p, made[p][i], made["float32"][i]) for i, each in enumerate(features) for p in made])
    return 0


def predict(predictor: Predictor, features: RawFeatures, model: str) -> Prediction:
    """Predict a target twice, so that what is measured is not the first run."""
    predictor.predict(features, Run(model, 0))
    return predictor.predict(features, Run(model, 0))


def row(features: RawFeatures, precision: str, half: Prediction, full: Prediction) -> list[object]:
    """Return a row of the table: one prediction beside that in single precision."""
    change = np.abs(half.plddt - full.plddt)
    mobile, target = (each.protein.atom37_positions[:, ATOM37_ID["CA"]] for each in (half, full))
    figures = [f"{half.seconds['run']:.2f}", f"{half.plddt.mean():.1f}", f"{change.mean():.2f}", f"{change.max():.2f}"]
    near = [f"{compare.lddt(mobile, target).score:.3f}", f"{compare.rmsd(mobile, target):.2f}"]
    return [features.name, len(features.aatype), precision, *figures, *near]


if __name__ == "__main__":
    raise SystemExit(main())
