"""For the tests of the network: strict types and shapes, seeded parameters, small inputs."""

import dataclasses
import hashlib
import types
from collections.abc import Iterator

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import install_import_hook

TRUNK = ("primitives", "triangle", "msa", "templates", "embedders", "evoformer", "alphafold")
FAST = {"xla_backend_optimization_level": 0}  # to compile, not to run
install_import_hook([f"models.{module}" for module in TRUNK], "beartype.beartype")


@pytest.fixture
def strict() -> Iterator[None]:
    """Let no array change its type or its number of axes unasked."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def strict_types() -> Iterator[None]:
    """Let no array change its type unasked."""
    with jax.numpy_dtype_promotion("strict"):
        yield


def uniform(seed: int, name: str, layer: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers in [-1, 1), a function of the arguments only."""
    key = hashlib.sha256(f"{seed}|{name}|{layer}".encode()).digest()[:16]
    raw = np.random.Philox(key=np.frombuffer(key, "<u8")).random_raw(int(np.prod(shape)))
    return ((raw >> np.uint64(40)).astype(float) * 2.0**-23 - 1.0).reshape(shape)


SPREAD = {
    "scale": (1.0, 0.15),
    "offset": (0.0, 0.1),
    "gating_b": (1.0, 0.3),
    "bias": (0.0, 0.1),
    "output_b": (0.0, 0.1),
}
GATES = ("left_gate", "right_gate", "gating_linear")
GAIN = {"output_w": 0.6, "transition2": 0.6, "output_projection": 0.6, "transition1": 2**0.5}


def seeded(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the first block's value of a trunk parameter with which the golden files were made."""
    scope, leaf = name.split("//")
    module = scope.split("/")[-1]
    mean, std = SPREAD.get(leaf, (0.0, 0.0))
    if leaf == "bias" and module in GATES:
        mean, std = 1.0, 0.3
    if leaf not in SPREAD:
        fan_in = np.prod(shape[:-1]) if leaf == "output_w" else shape[0]
        std = GAIN.get(leaf, GAIN.get(module, 1.0)) / np.sqrt(fan_in)
    return (mean + std * 3**0.5 * uniform(7, name, 0, shape)).astype(np.float32)


def apply_seeded(function, scope: str) -> jax.Array:
    """Return what a Haiku function computes with the golden files' parameters of a scope."""
    network = hk.transform(function)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    params = {m: {leaf: seeded(f"{scope}/{m}//{leaf}", x.shape) for leaf, x in p.items()} for m, p in shapes.items()}
    return jax.jit(network.apply)(params, None)


def apply_random(function, *arguments, scale: float = 0.3, seed: int = 5) -> jax.Array:
    """Return what a Haiku function computes with parameters that are all away from zero."""
    network = hk.transform(function)
    shapes = jax.eval_shape(network.init, jax.random.key(0), *arguments)
    leaves, tree = jax.tree.flatten(shapes)
    rng = np.random.default_rng(seed)
    leaves = [rng.normal(scale=scale, size=x.shape).astype(x.dtype) for x in leaves]
    return jax.jit(network.apply, compiler_options=FAST)(jax.tree.unflatten(tree, leaves), None, *arguments)


def random_batch(config, length: int, iterations: int = 1, seed: int = 3) -> dict[str, jax.Array]:
    """Return inputs of the right shapes: random numbers, all masks one."""
    from models import alphafold  # noqa: PLC0415 - after the hook

    rng = np.random.default_rng(seed)
    batch = {}
    for name, array in alphafold.example_batch(config, length, iterations).items():
        if array.dtype == jnp.int32:
            batch[name] = rng.integers(0, 20, array.shape, np.int32)
        elif "mask" in name:
            batch[name] = np.ones(array.shape, np.float32)
        else:
            batch[name] = rng.normal(size=array.shape, scale=4.0 if "pos" in name else 1.0).astype(np.float32)
    for name in [name for name in batch if name.startswith("template")]:  # the same in all iterations
        batch[name] = np.broadcast_to(batch[name][:1], batch[name].shape)
    batch["residue_index"] = np.broadcast_to(np.arange(length, dtype=np.int32), (iterations, length))
    return {name: jnp.asarray(array) for name, array in batch.items()}


@pytest.fixture(scope="session")
def network_tests() -> types.SimpleNamespace:
    """Return the functions above, which test modules cannot import."""
    return types.SimpleNamespace(
        uniform=uniform,
        apply_seeded=apply_seeded,
        apply_random=apply_random,
        random_batch=random_batch,
        tiny=tiny,
    )


def tiny(config):
    """Return a preset with every stack cut to one or two blocks and every representation narrow."""
    trunk = config.evoformer
    block = dataclasses.replace(
        trunk.block, msa_heads=2, outer_product_channels=3, triangle_channels=6, triangle_heads=2
    )
    extra, template = trunk.extra_msa, trunk.template
    if extra is not None:
        extra = dataclasses.replace(extra, blocks=1, c_e=6, block=dataclasses.replace(block, column_attention="global"))
    if template is not None:
        small = dataclasses.replace(block, pair_transition_factor=2)
        template = dataclasses.replace(template, c_t=4, blocks=1, block=small, pointwise_heads=2)
    trunk = dataclasses.replace(trunk, c_m=10, c_z=8, c_s=14, blocks=2, block=block, extra_msa=extra, template=template)
    structure = dataclasses.replace(
        config.structure, c=14, layers=2, heads=2, scalar_channels=3, torsion_channels=5, query_points=2, value_points=3
    )
    inputs = dataclasses.replace(
        config.input,
        max_msa_clusters=min(config.input.max_msa_clusters, 3),
        max_extra_msa=min(config.input.max_extra_msa, 7),
        max_templates=min(config.input.max_templates, 2),
    )
    return dataclasses.replace(config, input=inputs, evoformer=trunk, structure=structure)
