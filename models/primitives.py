"""Affine maps, layer norm and attention, under the parameter names of the published AlphaFold 2 files.

Most arrays carry their channels last; pair representations carry them first. `channel_axis` says which (-1 or 0).
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import haiku as hk
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

Initialiser: TypeAlias = Literal["linear", "relu", "zeros", "gate"]

LAYER_NORM_EPSILON = 1e-5
TRUNCATED_STDDEV = 0.87962566103423978  # of a unit normal cut at two standard deviations
MASKED_LOGIT = -1e30  # swallows any logit in float32 and float64: a row without real keys gets their mean
_SINGLE_BYTES = 4
CPU_CHUNK = 2**20  # numbers that a part of the work may hold between its products: what stays in the cache
CPU_WHOLE = 2**22  # numbers up to which all of it is done at once: the shared cache holds them
DEVICE_CHUNK = 2**28  # the same where only memory counts
_CUT = functools.partial(jax.lax.dynamic_slice_in_dim, allow_negative_indices=False)  # one kernel less to compile
_PUT = functools.partial(jax.lax.dynamic_update_slice_in_dim, allow_negative_indices=False)


def initialiser(kind: Initialiser, fan_in: int) -> hk.initializers.Initializer:
    """Return the initialiser of a weight matrix.

    Args:
        kind: `linear` (LeCun), `relu` (He), `zeros` for the last map of a residual branch, `gate` (zeros).
        fan_in: Input channels.
    Source: Suppl. 1.11.4.
    """
    if kind in ("zeros", "gate"):
        return hk.initializers.Constant(0.0)
    scale = 2.0 if kind == "relu" else 1.0
    return hk.initializers.TruncatedNormal(stddev=math.sqrt(scale / fan_in) / TRUNCATED_STDDEV)


@dataclasses.dataclass
class LinearParameters(hk.Module):
    """Own weights and bias of one affine map, for callers that join several maps into one product."""

    size: int
    init: Initialiser = "linear"
    name: str | None = None

    def __call__(self, channels: int, dtype: jnp.dtype) -> tuple[Float[Array, "c d"], Float[Array, " d"]]:
        """Return the weights for an input of so many channels, and the bias."""
        bias = 1.0 if self.init == "gate" else 0.0
        return (
            hk.get_parameter("weights", (channels, self.size), dtype, initialiser(self.init, channels)),
            hk.get_parameter("bias", (self.size,), dtype, hk.initializers.Constant(bias)),
        )


@dataclasses.dataclass
class LayerNormParameters(hk.Module):
    """Own scale and offset of one layer norm."""

    name: str | None = None

    def __call__(self, channels: int, dtype: jnp.dtype) -> tuple[Float[Array, " c"], Float[Array, " c"]]:
        """Return scale and offset."""
        return (
            hk.get_parameter("scale", (channels,), dtype, hk.initializers.Constant(1.0)),
            hk.get_parameter("offset", (channels,), dtype, hk.initializers.Constant(0.0)),
        )


def project(
    x: Float[Array, "*dims"],
    weights: Float[Array, "c d"],
    bias: Float[Array, " d"] | None = None,
    *,
    channel_axis: int = -1,
) -> Float[Array, "*out"]:
    """Return the affine map of the channels of an array; one plain matrix product in either layout.

    With channels first, positions are flattened and the bias is spread by a product with ones: so all gradients are
    plain matrix products too. XLA would fuse the sum that is a bias's gradient with what made its operand, and compute
    both element by element (three times slower on a CPU).
    """
    if channel_axis == 0:
        flat = weights.T @ x.reshape(x.shape[0], -1)
        if bias is not None:
            flat = flat + bias[:, None] @ jnp.ones((1, flat.shape[1]), flat.dtype)
        return flat.reshape(-1, *x.shape[1:])
    out = jnp.einsum("...c,cd->...d", x, weights)
    return out if bias is None else out + _along(bias, -1, x.ndim)


def linear(
    x: Float[Array, "*dims"], size: int, name: str, *, init: Initialiser = "linear", channel_axis: int = -1
) -> Float[Array, "*out"]:
    """Map the channels of an array to `size` channels with parameters of its own."""
    weights, bias = LinearParameters(size, init, name=name)(x.shape[channel_axis], x.dtype)
    return project(x, weights, bias, channel_axis=channel_axis)


def layer_norm(x: Float[Array, "*dims"], name: str, *, channel_axis: int = -1) -> Float[Array, "*dims"]:
    """Normalise over the channels, then scale and shift, with parameters of its own."""
    return normalise(x, *LayerNormParameters(name=name)(x.shape[channel_axis], x.dtype), channel_axis=channel_axis)


def normalise(
    x: Float[Array, "*dims"], scale: Float[Array, " c"], offset: Float[Array, " c"], *, channel_axis: int = -1
) -> Float[Array, "*dims"]:
    """Normalise over the channels, then scale and shift; in single precision at least."""
    dtype = x.dtype
    x, scale, offset = single(x), single(scale), single(offset)
    if channel_axis == 0:
        return _normalise_first(x.reshape(x.shape[0], -1), scale, offset).reshape(x.shape).astype(dtype)
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    normal = centred * jax.lax.rsqrt(variance + LAYER_NORM_EPSILON)
    return (normal * _along(scale, -1, x.ndim) + _along(offset, -1, x.ndim)).astype(dtype)


_Flat: TypeAlias = Float[Array, "c m"]
_Norm: TypeAlias = tuple[_Flat, Float[Array, "1 m"], Float[Array, "1 m"], Float[Array, " c"]]


@jax.custom_vjp
def _normalise_first(x: _Flat, scale: Float[Array, " c"], offset: Float[Array, " c"]) -> _Flat:
    """Normalise columns, with a gradient that keeps nothing but the input and sums by matrix products.

    Plain means here: XLA makes one call of the whole norm on a CPU, with nothing to compile.
    """
    return _normalise_forward(x, scale, offset)[0]


def _normalise_forward(x: _Flat, scale: Float[Array, " c"], offset: Float[Array, " c"]) -> tuple[_Flat, _Norm]:
    """Return the normalised columns, and what the gradient needs."""
    mean = jnp.mean(x, axis=0, keepdims=True)
    centred = x - mean
    inverse = jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=0, keepdims=True) + LAYER_NORM_EPSILON)
    return centred * inverse * scale[:, None] + offset[:, None], (x, mean, inverse, scale)


def _normalise_backward(kept: _Norm, gradient: _Flat) -> tuple[_Flat, Float[Array, " c"], Float[Array, " c"]]:
    """Return the gradients of input, scale and offset."""
    x, mean, inverse, scale = kept
    gradient = jax.lax.optimization_barrier(gradient)
    normal = (x - mean) * inverse
    turned = jax.lax.optimization_barrier(gradient * normal)
    mean_of = scale[None, :] / x.shape[0]
    of_x = inverse * (gradient * scale[:, None] - mean_of @ gradient - normal * (mean_of @ turned))
    ones = jnp.ones((x.shape[1], 1), x.dtype)
    return of_x, (turned @ ones)[:, 0], (gradient @ ones)[:, 0]


_normalise_first.defvjp(_normalise_forward, _normalise_backward)


def keep_mask(shape: tuple[int, ...], rate: float, shared_axis: int) -> Float[Array, "*dims"] | None:
    """Return factors that drop entries at random, the same along an axis, and scale the others up (Suppl. 1.11.6).

    A rate of 0 draws nothing and needs no random key: None.
    """
    if rate == 0.0:
        return None
    shape = tuple(1 if axis == shared_axis else size for axis, size in enumerate(shape))
    return jax.random.bernoulli(hk.next_rng_key(), 1.0 - rate, shape).astype(jnp.float32) / (1.0 - rate)


def in_chunks(
    function: Callable[..., Any], arrays: tuple[Array, ...], axes: tuple[int, ...], *, out_axis: int, elements: int
) -> Any:
    """Apply a function that works on each position of an axis by itself to some positions at a time.

    What lies between its matrix products then stays in the processor's cache (about twice as fast for attention, 1.5
    times for transitions), and memory does not grow with the length of the axis.

    Args:
        function: Takes the parts of the arrays, returns the same part of each result.
        arrays: Arrays with the same number of positions.
        axes: Which axis of each of them is cut.
        out_axis: Axis of the positions in each result.
        elements: Numbers that one position holds between the products.
    """
    n = arrays[0].shape[axes[0]]
    chunk = _chunk(n, elements)
    if chunk == n:
        return function(*arrays)

    def fill(k: Array, results: Any) -> Any:
        start = jnp.minimum(k * chunk, n - chunk)  # the last chunk may overlap the one before
        put = functools.partial(_PUT, start_index=start, axis=out_axis)
        return jax.tree.map(put, results, function(*_part(arrays, axes, start, chunk)))

    def empty(one: jax.ShapeDtypeStruct) -> Array:
        shape = [n if axis == out_axis % len(one.shape) else size for axis, size in enumerate(one.shape)]
        return jnp.zeros(shape, one.dtype)

    shapes = jax.eval_shape(lambda: function(*_part(arrays, axes, 0, chunk)))
    return jax.lax.fori_loop(0, -(-n // chunk), fill, jax.tree.map(empty, shapes))


def updated(
    x: Array,
    update: Callable[..., Array],
    others: tuple[tuple[Array, int], ...] = (),
    *,
    axis: int,
    elements: int,
    keep: Array | None = None,
) -> Array:
    """Return x plus an update that works on each position of an axis by itself, made in place in chunks.

    Args:
        x: What is updated.
        update: Takes the parts of x and of the others, returns what is added to the part of x.
        others: Arrays with the same number of positions, each with the axis that is cut.
        axis: Which axis of x is cut.
        elements: See `in_chunks`.
        keep: Factors of the update (`keep_mask`), shared along the axis.
    """
    n = x.shape[axis]
    chunk = _chunk(n, elements)

    def change(part: Array, *rest: Array) -> Array:
        made = update(part, *rest)
        return made if keep is None else made * keep.astype(made.dtype)

    arrays, axes = zip((x, axis), *others, strict=True)
    if chunk == n:
        return x + change(*arrays)

    def fill(k: Array, x: Array) -> Array:
        start = jnp.minimum(k * chunk, n - chunk)
        part, *rest = _part((x, *arrays[1:]), axes, start, chunk)
        added = change(part, *rest)
        if n % chunk:  # the last chunk overlaps positions that are updated already
            fresh = start + jnp.arange(chunk) >= k * chunk
            added = jnp.where(jnp.expand_dims(fresh, [i for i in range(x.ndim) if i != axis]), added, 0.0)
        return _PUT(x, part + added, start, axis)

    return jax.lax.fori_loop(0, -(-n // chunk), fill, x)


def _chunk(n: int, elements: int) -> int:
    """Return how many of n positions are worked on at a time."""
    whole, part = (CPU_WHOLE, CPU_CHUNK) if jax.default_backend() == "cpu" else (DEVICE_CHUNK, DEVICE_CHUNK)
    if n * elements <= whole:
        return n
    return -(-n // -(-n // max(1, part // elements)))


def _part(arrays: tuple[Array, ...], axes: tuple[int, ...], start: Array | int, chunk: int) -> tuple[Array, ...]:
    return tuple(_CUT(array, start, chunk, axis) for array, axis in zip(arrays, axes, strict=True))


class AttentionWeights(NamedTuple):
    """The parameters of one attention: `h` heads of `d` channels; gates are None where it has none."""

    query: Float[Array, "c_q h d"]
    key: Float[Array, "c_m h d"]
    value: Float[Array, "c_m h d"]
    gate: Float[Array, "c_q h d"] | None
    gate_bias: Float[Array, "h d"] | None
    output: Float[Array, "h d c_o"]
    output_bias: Float[Array, " c_o"]


@dataclasses.dataclass
class AttentionParameters(hk.Module):
    """Own the parameters of one attention.

    Args:
        heads: Number of heads.
        channels: Channels of all heads together.
        gated: Whether a gate multiplies the heads' results.
        one_key: Whether all heads share one key and one value (Alg. 19); their weights then lack the axis `h`.
    """

    heads: int
    channels: int
    gated: bool = True
    one_key: bool = False
    name: str | None = None

    def __call__(self, c_q: int, c_m: int, c_o: int, dtype: jnp.dtype) -> AttentionWeights:
        """Return the weights for query data, memory and output of so many channels."""
        heads = (self.heads, self.channels // self.heads)
        memory = heads[1:] if self.one_key else heads
        zeros, ones = hk.initializers.Constant(0.0), hk.initializers.Constant(1.0)

        def glorot(name: str, shape: tuple[int, ...]) -> Array:
            init = hk.initializers.VarianceScaling(1.0, "fan_avg", "uniform", fan_in_axes=[0])
            return hk.get_parameter(name, shape, dtype, init)

        return AttentionWeights(
            query=glorot("query_w", (c_q, *heads)),
            key=glorot("key_w", (c_m, *memory)),
            value=glorot("value_w", (c_m, *memory)),
            gate=hk.get_parameter("gating_w", (c_q, *heads), dtype, zeros) if self.gated else None,
            gate_bias=hk.get_parameter("gating_b", heads, dtype, ones) if self.gated else None,
            output=hk.get_parameter("output_w", (*heads, c_o), dtype, zeros),
            output_bias=hk.get_parameter("output_b", (c_o,), dtype, zeros),
        )


def single(x: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
    """Return an array in single precision, or in double where it has that already."""
    return x.astype(jnp.float32) if x.dtype.itemsize < _SINGLE_BYTES else x


def mask_to_bias(mask: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
    """Return what is added to the logits of keys: 0 where real, very negative elsewhere."""
    return MASKED_LOGIT * (1.0 - single(mask))


def attend(
    query: Float[Array, "*batch q d"],
    key: Float[Array, "*batch d k"],
    value: Float[Array, "*batch k d"],
    bias: Float[Array, "*batch_or_1 q_or_1 k"],
) -> Float[Array, "*batch q d"]:
    """Return softmax(query key + bias) value, for queries that are scaled already.

    The weights are normalised after the product with the values: fewer divisions, and the product can start at once.
    """
    logits = single(query @ key) + bias
    weights = jnp.exp(logits - jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True)))
    total = jnp.sum(weights, axis=-1, keepdims=True)
    return (single(weights.astype(value.dtype) @ value) / total).astype(value.dtype)


def self_attention(
    x: Float[Array, "b n c"],
    mask: Float[Array, "b n"],
    weights: AttentionWeights,
    pair_bias: Float[Array, "h n n"] | None = None,
) -> Float[Array, "b n c"]:
    """Return gated self-attention in each row, heads before positions.

    Args:
        x: Rows, normalised.
        mask: 1 where a key is real.
        weights: Of queries, keys, values, gates and output.
        pair_bias: Added to the logits of every row.
    """
    d = weights.query.shape[-1]
    parts = [weights.query * d**-0.5, weights.key, weights.value, weights.gate]
    joined = jnp.stack([part for part in parts if part is not None], axis=1)  # (c, parts, h, d)
    query, key, value, gate = jnp.moveaxis(jnp.einsum("bnc,cphd->bnphd", x, joined), (2, 3), (0, 2))
    bias = mask_to_bias(mask)[:, None, None, :]
    if pair_bias is not None:
        bias = bias + single(pair_bias)[None]
    out = attend(query, jnp.swapaxes(key, -1, -2), value, bias)
    assert weights.gate_bias is not None  # noqa: S101 - every self-attention of the network is gated
    out = out * jax.nn.sigmoid(gate + weights.gate_bias[None, :, None, :])
    return jnp.einsum("bhnd,hdo->bno", out, weights.output) + _along(weights.output_bias, -1, 3)


def attention_elements(n: int, weights: AttentionWeights) -> int:
    """Return how many numbers self-attention in one row of n positions holds."""
    _, heads, d = weights.query.shape
    return heads * n * (n + 4 * d)


def _along(vector: Float[Array, " c"], axis: int, ndim: int) -> Float[Array, "*dims"]:
    """Return a vector of channels shaped to be added to an array of `ndim` axes."""
    return jnp.expand_dims(vector, [i for i in range(ndim) if i != axis % ndim])
