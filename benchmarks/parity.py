"""Our network beside the published one (package `alphafold-colabfold`): the largest deviation of every output.

    .venv/bin/python benchmarks/parity.py --models model_1_ptm model_3_ptm --precision float32

Random parameters, random inputs; only real residues and rows count. Deviations are in units of the output's standard
deviation, positions in angstrom, sines and cosines as they are. `./foldline test --parity` holds the same comparison
to its bars.
"""

import argparse
import dataclasses
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import reference
from machine import described, print_table
from parity_inputs import CASES, CLUSTERS, EXTRA, RECYCLES, RESIDUES, TEMPLATES, random_inputs

from models import alphafold, inputs, params
from models import residue_constants as rc
from models.config import PRESETS, ModelConfig

Arrays = dict[str, np.ndarray]

BIN_MARGIN = 1e-4  # angstrom between a recycled distance and an edge, below which rounding may choose the bin

# Both networks --------------------------------------------------------------------------------------------------------


def reduced(config: ModelConfig, *, mask_undefined_torsions: bool = True) -> ModelConfig:
    """Return a published network of 2 and 1 blocks, all else at full size, that masks undefined torsions."""
    trunk = config.evoformer
    extra = trunk.extra_msa and dataclasses.replace(trunk.extra_msa, blocks=1)
    config = dataclasses.replace(config, evoformer=dataclasses.replace(trunk, blocks=2, extra_msa=extra))
    return full(config) if mask_undefined_torsions else config


def full(config: ModelConfig) -> ModelConfig:
    """Return a published network at its own depth that masks undefined torsions."""
    trunk = config.evoformer
    template = trunk.template and dataclasses.replace(trunk.template, mask_undefined_torsions=True)
    return dataclasses.replace(config, evoformer=dataclasses.replace(trunk, template=template))


class Pair:
    """Our network and the published one with the same parameters, compiled when first run.

    Args:
        config: One of our presets, of any depth.
        seed: Of the parameters.
        dtype: Of parameters, inputs and arithmetic; float64 needs JAX to be told from the start of the process.
        ensemble: Samples whose representations are averaged in each iteration.
        program: Our network that runs this and other models; None for the model's own.
    """

    def __init__(
        self,
        config: ModelConfig,
        seed: int,
        dtype: Any = np.float32,
        *,
        ensemble: int = 1,
        program: ModelConfig | None = None,
    ) -> None:
        self.config, self.dtype, self.ensemble = config, np.dtype(dtype), ensemble
        self.recycles = (RECYCLES + 1) // ensemble - 1
        arrays = reference.random_parameters(config, seed)
        self.parameters = params.nested({name: array.astype(dtype) for name, array in arrays.items()})
        self._program = program or config
        self._widened = self.parameters if program is None else params.widen(self.parameters, program)
        network = hk.transform(
            lambda batch, recycles: alphafold.predict(self._program, batch, recycles, ensemble=ensemble)
        )
        self._ours, self._theirs = jax.jit(network.apply), reference.iteration(config)

    def ours(self, batch: Arrays, recycles: int) -> Arrays:
        """Return our outputs after so many recycles."""
        sizes = inputs.Sizes(RESIDUES, CLUSTERS, EXTRA, TEMPLATES)
        padded = inputs.pad_inputs(_cast(batch, self.dtype), self._program, sizes)
        return ours_by_name(self._ours(self._widened, None, padded, jnp.int32(recycles)), recycles)

    def theirs(self, batch: Arrays) -> list["Theirs"]:
        """Return the published network's outputs of every iteration."""
        prev, changes, found = reference.initial_state(RESIDUES, self.dtype), [], []
        for i in range(self.recycles + 1):
            samples = [self._sample(batch, i * self.ensemble + k) for k in range(self.ensemble)]
            one = samples[0]
            margin = bin_margin(one["aatype"], prev["prev_pos"], one["seq_mask"]) if i else np.inf
            some = one if self.ensemble == 1 else {name: np.stack([x[name] for x in samples]) for name in one}
            outputs = jax.device_get(self._theirs(self.parameters, some, prev))
            after = reference.recycled(outputs)
            changes += [reference.ca_change(prev["prev_pos"], after["prev_pos"], one["seq_mask"])] if i else []
            found.append(Theirs(theirs_by_name(outputs) | _changes(changes), margin, outputs["torsions"]))
            prev = after
        return found

    def _sample(self, batch: Arrays, i: int) -> Arrays:
        return reference.inputs({name: array[i] for name, array in _cast(batch, self.dtype).items()})


@dataclasses.dataclass(frozen=True)
class Theirs:
    """Outputs of the published network.

    Args:
        outputs: By the names of `LAYOUT`.
        margin: Angstrom between the recycled distances and the nearest edge of a bin.
        torsions: Of the templates, as the network used them.
    """

    outputs: Arrays
    margin: float
    torsions: Arrays


def _cast(batch: Arrays, dtype: np.dtype) -> Arrays:
    return {name: x.astype(dtype) if x.dtype.kind == "f" else x for name, x in batch.items()}


def ours_by_name(outputs: Mapping[str, Any], recycles: int) -> Arrays:
    """Return our outputs after so many recycles by the names of `LAYOUT`."""
    outputs = jax.device_get(outputs)
    structure, representations = outputs["structure_module"], outputs["representations"]
    return (
        _heads(outputs)
        | _changes(outputs["ca_change"][:recycles])
        | {
            "pair": np.moveaxis(representations["pair"], 0, -1),
            "rotations": structure["rotations"],
            "translations": structure["translations"],
            "structure_act": structure["act"],
            **{name: representations[name] for name in ("single", "msa", "msa_first_row")},
            **{name: structure[name] for name in ("final_atom_positions", "final_atom14_positions")},
            **{name: structure["sidechains"][name] for name in ("angles_sin_cos", "unnormalized_angles_sin_cos")},
        }
    )


def theirs_by_name(outputs: Mapping[str, Any]) -> Arrays:
    """Return the published network's outputs by the names of `LAYOUT`."""
    structure, representations = outputs["structure_module"], outputs["representations"]
    return (
        _heads(outputs)
        | {
            "rotations": _rotations(structure["traj"][..., :4]),  # the signs of quaternions are free
            "translations": structure["traj"][..., 4:],
            "structure_act": representations["structure_module"],
            **{name: representations[name] for name in ("single", "pair", "msa", "msa_first_row")},
            **{name: structure[name] for name in ("final_atom_positions", "final_atom14_positions")},
            **{name: structure["sidechains"][name] for name in ("angles_sin_cos", "unnormalized_angles_sin_cos")},
        }
    )


def _rotations(quaternions: np.ndarray) -> np.ndarray:
    """Return rotation matrices of quaternions (w, x, y, z), shape (..., 4)."""
    w, v = quaternions[..., :1], quaternions[..., 1:]
    columns = [
        e + 2 * np.cross(v, w * e + np.cross(v, e)) / np.sum(quaternions**2, -1, keepdims=True) for e in np.eye(3)
    ]
    return np.stack(columns, axis=-1)


def _changes(changes: Sequence[float]) -> Arrays:
    """Return the changes of the CA distances where there was a recycle."""
    return {"ca_change": np.asarray(changes)} if len(changes) else {}


def _heads(outputs: Mapping[str, Any]) -> Arrays:
    names = ("distogram", "predicted_lddt", "predicted_aligned_error", "experimentally_resolved", "masked_msa")
    return {name: outputs[name]["logits"] for name in names if name in outputs}


# Deviations -----------------------------------------------------------------------------------------------------------

LAYOUT = {  # axes of residues (n) and MSA rows (s); the others count whole
    "distogram": "nn.",
    "predicted_aligned_error": "nn.",
    "predicted_lddt": "n.",
    "experimentally_resolved": "n.",
    "masked_msa": "sn.",
    "final_atom_positions": "n..",
    "final_atom14_positions": "n..",
    "rotations": ".n..",
    "translations": ".n.",
    "angles_sin_cos": ".n..",
    "unnormalized_angles_sin_cos": ".n..",
    "structure_act": "n.",
    "single": "n.",
    "pair": "nn.",
    "msa": "sn.",
    "msa_first_row": "n.",
    "ca_change": ".",
}
POSITIONS = ("final_atom_positions", "final_atom14_positions", "translations", "ca_change")
SINES = ("angles_sin_cos",)


def deviations(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], batch: Arrays, *, relative: bool = False
) -> dict[str, float]:
    """Return the largest deviation of each output at real residues and rows.

    Args:
        ours: Our outputs.
        theirs: The published network's.
        batch: The inputs, for their masks.
        relative: Whether positions, sines and cosines too are in units of their standard deviation.
    """
    if ours.keys() != theirs.keys():
        raise ValueError(f"outputs of one side only: {sorted(ours.keys() ^ theirs.keys())}")
    real = {"n": batch["seq_mask"][0] > 0, "s": batch["msa_mask"][0].any(axis=-1)}
    found = {}
    for name, expected in theirs.items():
        a, b = (_real(np.asarray(x, np.float64), LAYOUT[name], real) for x in (ours[name], expected))
        absolute = not relative and name in POSITIONS + SINES
        found[name] = float(np.max(np.abs(a - b)) / (1.0 if absolute else np.std(b)))
    return found


def _real(array: np.ndarray, layout: str, real: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the part of an array that is no padding."""
    for axis, kind in enumerate(layout):
        if kind in real:
            array = np.compress(real[kind], array, axis)
    return array


def bin_margin(aatype: np.ndarray, positions: np.ndarray, seq_mask: np.ndarray) -> float:
    """Return how far the recycled distances are from the nearest of the 15 edges of the bins, angstrom."""
    atom = np.where(np.asarray(aatype) == rc.RESTYPE_ID["G"], rc.ATOM37_ID["CA"], rc.ATOM37_ID["CB"])
    beta = np.asarray(positions, np.float64)[np.arange(len(atom)), atom][np.asarray(seq_mask) > 0]
    upper = np.triu_indices(len(beta), 1)
    distances = np.linalg.norm(beta[:, None] - beta[None, :], axis=-1)[upper]
    return float(np.min(np.abs(distances[:, None] - np.linspace(3.25, 20.75, 15)), initial=np.inf))


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How far the networks are apart.

    Args:
        deviations: The largest of each output.
        margin: Angstrom between a recycled distance and the nearest edge of a bin, the smallest of all iterations.
    """

    deviations: dict[str, float]
    margin: float


def compare(pair: Pair, batch: Arrays, *, relative: bool = False) -> dict[int, Comparison]:
    """Return the deviations after no recycle and after all; warn where rounding may choose a bin."""
    theirs = pair.theirs(batch)
    found = {}
    for number in (0, len(theirs) - 1):
        margin = min(one.margin for one in theirs[: number + 1])
        if margin < BIN_MARGIN:
            warnings.warn(f"a recycled distance is {margin:.0e} A from the edge of a bin", BinEdgeWarning, stacklevel=2)
        apart = deviations(pair.ours(batch, number), theirs[number].outputs, batch, relative=relative)
        found[number] = Comparison(apart, margin)
    return found


class BinEdgeWarning(UserWarning):
    """A recycled distance is so near to the edge of a bin that rounding may choose the bin."""


# The table ------------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Compare and print a table of the largest deviation over all cases, or all that was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["model_1_ptm", "model_3_ptm"], choices=list(PRESETS)[1:])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), help="(default: all)")
    parser.add_argument("--precision", choices=("float32", "float64"), default="float32")
    parser.add_argument("--full", action="store_true", help="all 48 and 4 blocks (default: 2 and 1)")
    parser.add_argument("--seed", type=int, default=0, help="of parameters and inputs (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print deviations and margins by model, case and recycles")
    arguments = parser.parse_args(argv)
    if name := reference.missing():
        parser.error(f"the package {name} is not installed; `./foldline test --parity --version` installs it")
    jax.config.update("jax_enable_x64", arguments.precision == "float64")
    depth = full if arguments.full else reduced
    found = {}
    for model in arguments.models:
        pair = Pair(depth(PRESETS[model]), arguments.seed, arguments.precision)
        found[model] = {case: _compared(pair, case, arguments.seed) for case in arguments.cases}
    if arguments.json:
        print(json.dumps(found, default=dataclasses.asdict))
    else:
        print(described())
        print()
        _print(found)
    return 0


def _compared(pair: Pair, case: str, seed: int) -> dict[int, Comparison]:
    """Return the deviations in one case."""
    return compare(pair, random_inputs(pair.config, CASES[case], seed), relative=pair.dtype == np.float64)


def _print(found: Mapping[str, Mapping[str, Mapping[int, Comparison]]]) -> None:
    """Print the largest deviation of each output over all cases."""
    worst: dict[str, dict[str, float]] = {}
    for model, cases in found.items():
        for by_recycles in cases.values():
            for recycles, one in by_recycles.items():
                column = worst.setdefault(f"{model}, {recycles} recycles", {})
                column.update({name: max(x, column.get(name, 0.0)) for name, x in one.deviations.items()})
    names = [name for name in LAYOUT if any(name in column for column in worst.values())]
    cells = [[f"{column[name]:.1e}" if name in column else "" for column in worst.values()] for name in names]
    print_table(["output", *worst], [[name, *row] for name, row in zip(names, cells, strict=True)])


if __name__ == "__main__":
    raise SystemExit(main())
