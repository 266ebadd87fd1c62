"""The published network (package `alphafold-colabfold`) made comparable to ours: parameters, one iteration, outputs.

It is evaluated at `AlphaFoldIteration` in float32 or float64, with explicit recycling: the package's own runner casts
results and recycled state to float16. Three things are changed while it is traced: the structure module returns all
that it has, sine and cosine of undefined template torsions are zero (the official network leaves them to rounding), and
in float64 its activations are float64 too.
"""

import contextlib
import dataclasses
import hashlib
import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest import mock

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from models import alphafold, params
from models.config import ModelConfig

Arrays = dict[str, np.ndarray]
Iterate = Callable[[hk.Params, Arrays, Arrays], dict[str, Any]]

PACKAGES = ("alphafold.model", "colabfold_kernels")
STACKS = ("/evoformer_iteration/", "/extra_msa_stack/", "/__layer_stack_no_state/")
TRIANGLES = ("outgoing", "incoming")

# Parameters -----------------------------------------------------------------------------------------------------------

_GATES = ("left_gate", "right_gate", "gating_linear")
_CENTRES = {"scale": (1.0, 0.2), "offset": (0.0, 0.15), "gating_b": (0.5, 0.4), "trainable_point_weights": (0.5, 0.3)}
_GAINS = {  # of the weights beyond 1 / sqrt(inputs): updates of the representations are kept small, logits large
    "transition1": math.sqrt(2),
    "transition2": 0.5,
    "output_projection": 0.5,
    "half_logits": 1.3,
    "logits": 2.0,
    "affine_update": 0.2,
}
_ONE_HOT = ("left_single", "right_single", "preprocess_1d", "pair_activiations", "prev_pos_linear", "embedding2d")


def random_parameters(config: ModelConfig, seed: int) -> Arrays:
    """Return parameters under their published names, none of them zero, each a function of seed, name and shape."""
    return {name: random_parameter(name, shape, seed) for name, shape in params.shapes(config).items()}


def random_parameter(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return normal numbers with the mean and the spread of one parameter."""
    one_block = shape[1:] if any(stack in name for stack in STACKS) else shape
    mean, spread = _mean_and_spread(name, one_block)
    key = np.frombuffer(hashlib.sha256(f"{name} {seed}".encode()).digest()[:16], np.uint64)
    normal = np.random.Generator(np.random.Philox(key=key)).standard_normal(shape, np.float32)
    return np.float32(mean) + np.float32(spread) * normal


def _mean_and_spread(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return mean and standard deviation that keep activations near one and gates half open."""
    scope, leaf = name.split("//")
    module = scope.split("/")[-1]
    if leaf in _CENTRES:
        return _CENTRES[leaf]
    if leaf in ("bias", "output_b"):
        return (0.5, 0.4) if module in _GATES else (0.0, 0.03 if module == "affine_update" else 0.15)
    if module in _ONE_HOT:
        return 0.0, 0.6
    inputs = math.prod(shape[:-1]) if leaf == "output_w" else shape[0]
    return 0.0, _GAINS.get(module, 0.5 if leaf == "output_w" else 1.0) / math.sqrt(inputs)


# The network ----------------------------------------------------------------------------------------------------------


def missing() -> str:
    """Return the first package that the reference lacks here; empty where it can run."""
    for name in PACKAGES:
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            found = None
        if found is None:
            return name.split(".")[0]
    return ""


def settings(config: ModelConfig, rows_at_once: int) -> Any:
    """Return the package's own configuration of one of our presets, at the preset's depth, in full precision."""
    from alphafold.model import config as published  # noqa: PLC0415 - not everywhere installed

    name = config.name
    made = published.model_config(name).model
    trunk = made.embeddings_and_evoformer
    trunk.evoformer_num_block = config.evoformer.blocks
    trunk.extra_msa_stack_num_block = config.evoformer.extra_msa.blocks if config.evoformer.extra_msa else 0
    for direction in TRIANGLES:  # the published files hold left and right apart
        for block in (trunk.evoformer, trunk.template.template_pair_stack):
            block[f"triangle_multiplication_{direction}"].fuse_projection_weights = False
    made.global_config.bfloat16 = False
    made.global_config.deterministic = True
    made.global_config.subbatch_size = rows_at_once
    return made


def network(config: ModelConfig, rows_at_once: int = 1 << 16) -> hk.Transformed:
    """Return one iteration of the published network as a Haiku transform of inputs and recycled state.

    The inputs are one sample's, or those of an ensemble with a leading axis.

    Args:
        config: One of our presets, of any depth.
        rows_at_once: Rows that it works on at once; all of them are compiled sooner.
    """
    from alphafold.model import modules  # noqa: PLC0415

    made = settings(config, rows_at_once)

    def iterate(batch: Mapping[str, jax.Array], prev: Mapping[str, jax.Array]) -> dict[str, Any]:
        one = batch["aatype"].ndim == 1
        samples = {name: x[None] for name, x in batch.items()} if one else batch
        with hk.experimental.name_scope("alphafold"):
            iteration = modules.AlphaFoldIteration(made, made.global_config)
            return iteration(samples, prev, is_training=False, ensemble_representations=not one)

    return hk.transform(iterate)


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of all parameters of the published network."""
    tiny = {"max_msa_clusters": 2, "max_extra_msa": 2, "max_templates": min(1, config.input.max_templates)}
    small = dataclasses.replace(config, input=dataclasses.replace(config.input, **tiny))
    batch = inputs({name: np.asarray(array[0]) for name, array in alphafold.example_batch(small, 5).items()})
    with comparable():
        made = jax.eval_shape(network(config).init, jax.random.key(0), batch, initial_state(5))
    return {name: tuple(leaf.shape) for name, leaf in params.flat(made).items()}


def iteration(config: ModelConfig) -> Iterate:
    """Return a compiled function of parameters, inputs and recycled state.

    Besides the network's outputs it returns the `torsions` of the templates that it used.

    Args:
        config: One of our presets, of any depth.
    """
    apply = network(config).apply
    template = config.evoformer.template
    masked = template is None or template.mask_undefined_torsions

    @jax.jit
    def run(parameters: hk.Params, batch: Arrays, prev: Arrays) -> dict[str, Any]:
        with comparable(mask_undefined_torsions=masked) as torsions:
            outputs = apply(parameters, jax.random.key(0), batch, prev)
        return {**outputs, "torsions": torsions}

    return run


@contextlib.contextmanager
def comparable(*, mask_undefined_torsions: bool = True) -> Iterator[dict[str, jax.Array]]:
    """Make the three changes that the module's docstring names, while the network is traced.

    Args:
        mask_undefined_torsions: Whether to make the second of them.

    Yields:
        What will hold the templates' torsions.
    """
    from alphafold.model import all_atom, folding, utils  # noqa: PLC0415

    measure = all_atom.atom37_to_torsion_angles
    torsions: dict[str, jax.Array] = {}

    class WholeStructureModule(folding.StructureModule):
        def __init__(self, config: Any, global_config: Any, **_: Any) -> None:
            super().__init__(config, global_config, compute_loss=True, name="structure_module")

    def measured(**arguments: Any) -> dict[str, jax.Array]:
        found = measure(**arguments)
        mask = found["torsion_angles_mask"]
        if mask_undefined_torsions:
            found = {name: x if x.ndim == mask.ndim else x * mask[..., None] for name, x in found.items()}
        torsions.update(found)
        return found

    with (
        mock.patch.object(folding, "StructureModule", WholeStructureModule),
        mock.patch.object(all_atom, "atom37_to_torsion_angles", measured),
        mock.patch.object(utils, "half_dtype", return_value=jnp.zeros(0).dtype),
    ):
        yield torsions


def inputs(batch: Mapping[str, np.ndarray]) -> Arrays:
    """Return our inputs of one sample with what only the published network reads: how atoms are laid out."""
    from alphafold.model.tf import data_transforms  # noqa: PLC0415

    atoms = data_transforms.make_atom14_masks({"aatype": np.asarray(batch["aatype"], np.int32)})
    for name in ("atom14_atom_exists", "atom37_atom_exists"):
        atoms[name] = atoms[name] * np.asarray(batch["seq_mask"])[:, None]
    return {**batch, **atoms, "seq_length": np.int32(len(batch["aatype"]))}


def recycled(outputs: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Return what one iteration hands to the next."""
    return {
        "prev_pos": outputs["structure_module"]["final_atom_positions"],
        "prev_msa_first_row": outputs["representations"]["msa_first_row"],
        "prev_pair": outputs["representations"]["pair"],
    }


def initial_state(length: int, dtype: Any = np.float32) -> Arrays:
    """Return the recycled state of the first iteration."""
    shapes = {"prev_pos": (length, 37, 3), "prev_msa_first_row": (length, 256), "prev_pair": (length, length, 128)}
    return {name: np.zeros(shape, dtype) for name, shape in shapes.items()}


def ca_change(before: np.ndarray, after: np.ndarray, seq_mask: np.ndarray) -> float:
    """Return the change of the CA distances by which the package stops recycling, angstrom."""
    from alphafold.common import confidence  # noqa: PLC0415

    return float(confidence.compute_tol(np.asarray(before), np.asarray(after), np.asarray(seq_mask)))
