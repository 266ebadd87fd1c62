"""Updates of the pair representation (Suppl. Alg. 11-15). Pair arrays are channel-first: (c, i, j)."""

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

import haiku as hk
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from models import primitives
from models.config import BlockConfig
from models.primitives import (
    AttentionParameters,
    AttentionWeights,
    LayerNormParameters,
    LinearParameters,
    attention_elements,
    in_chunks,
    keep_mask,
    mask_to_bias,
    normalise,
    project,
    single,
    updated,
)
from models.shapes import Pair, PairMask, PairMaskPart, PairPart

_Update: TypeAlias = Callable[[Pair, PairMask, float], Pair]


@dataclasses.dataclass
class TriangleMultiplication(hk.Module):
    """Update each edge from the two other edges of its triangles (Alg. 11 outgoing, Alg. 12 incoming).

    Args:
        channels: Hidden channels.
        outgoing: Whether the edges leave i and j (Alg. 11) or enter them (Alg. 12).
    """

    channels: int
    outgoing: bool
    name: str | None = None

    def __call__(self, pair: Pair, mask: PairMask, dropout: float = 0.0) -> Pair:
        """Return the updated pair representation; dropout is shared by all rows i."""
        (c_z, n, _), c = pair.shape, self.channels
        norm = LayerNormParameters(name="layer_norm_input")(c_z, pair.dtype)
        center_norm = LayerNormParameters(name="center_layer_norm")(c, pair.dtype)
        maps = [
            LinearParameters(c, "linear", name="left_projection"),
            LinearParameters(c, "linear", name="right_projection"),
            LinearParameters(c, "gate", name="left_gate"),
            LinearParameters(c, "gate", name="right_gate"),
            LinearParameters(c_z, "gate", name="gating_linear"),
        ]
        weights, biases = zip(*[m(c_z, pair.dtype) for m in maps], strict=True)
        joined = jnp.concatenate(weights, axis=1), jnp.concatenate(biases)
        output = LinearParameters(c_z, "zeros", name="output_projection")(c, pair.dtype)

        def open_(pair: PairPart, mask: PairMaskPart) -> tuple[Array, Array, Array]:  # lines 1 to 3
            x = project(normalise(pair, *norm, channel_axis=0), *joined, channel_axis=0)
            values, gates, gate = jnp.split(x, [2 * c, 4 * c])
            left, right = jnp.split(values * jax.nn.sigmoid(gates) * mask[None], 2)
            return left, right, jax.nn.sigmoid(gate)

        def close(_: PairPart, product: Array, gate: Array) -> PairPart:  # line 4
            return project(normalise(product, *center_norm, channel_axis=0), *output, channel_axis=0) * gate

        elements = 4 * (c + c_z) * n
        left, right, gate = in_chunks(open_, (pair, mask), (1, 0), out_axis=1, elements=elements)
        product = jnp.einsum("cik,cjk->cij" if self.outgoing else "ckj,cki->cij", left, right)
        keep = keep_mask(pair.shape, dropout, shared_axis=1)
        return updated(pair, close, ((product, 1), (gate, 1)), axis=1, elements=elements, keep=keep)


@dataclasses.dataclass
class TriangleAttention(hk.Module):
    """Let the edges of one node attend to each other, biased by the third edge (Alg. 13 starting, 14 ending node).

    Args:
        heads: Number of heads.
        starting: Whether edges share their starting node (rows) or their ending node (columns).
    """

    heads: int
    starting: bool
    name: str | None = None

    def __call__(self, pair: Pair, mask: PairMask, dropout: float = 0.0) -> Pair:
        """Return the updated pair representation; dropout is shared by all rows (columns)."""
        c, n, _ = pair.shape
        norm = LayerNormParameters(name="query_norm")(c, pair.dtype)
        init = hk.initializers.RandomNormal(stddev=c**-0.5)
        to_bias = hk.get_parameter("feat_2d_weights", (c, self.heads), pair.dtype, init)
        weights = AttentionParameters(self.heads, c, name="attention")(c, c, c, pair.dtype)
        axis, mask_axis = (1, 0) if self.starting else (2, 1)

        def turned(array: Array) -> Array:
            return array if self.starting else jnp.swapaxes(array, -1, -2)

        def bias_of(pair: PairPart) -> Array:
            return turned(project(normalise(pair, *norm, channel_axis=0), to_bias, channel_axis=0))

        bias = single(in_chunks(bias_of, (pair,), (axis,), out_axis=1, elements=c * n))

        def update(pair: PairPart, mask: PairMaskPart) -> PairPart:
            x = normalise(turned(pair), *norm, channel_axis=0)
            return turned(_attention(x, mask_to_bias(turned(mask)), weights, bias))

        elements = attention_elements(n, weights)
        keep = keep_mask(pair.shape, dropout, shared_axis=axis)
        return updated(pair, update, ((mask, mask_axis),), axis=axis, elements=elements, keep=keep)


def _attention(
    x: PairPart, mask_bias: PairMaskPart, weights: AttentionWeights, pair_bias: Float[Array, "h n n"]
) -> PairPart:
    """Return gated self-attention in each row i of pairs (c, i, j); x is normalised."""
    assert weights.gate is not None and weights.gate_bias is not None  # noqa: S101, PT018 - gated by default
    parts = jnp.stack([weights.query * weights.query.shape[-1] ** -0.5, weights.key, weights.value, weights.gate])
    query, key, value, gate = jnp.einsum("pchd,cij->pihdj", parts, x)
    bias = mask_bias[:, None, None, :] + pair_bias[None]
    out = primitives.attend(jnp.swapaxes(query, -1, -2), key, jnp.swapaxes(value, -1, -2), bias)
    gated = jnp.swapaxes(out, -1, -2) * jax.nn.sigmoid(gate + weights.gate_bias[None, :, :, None])
    return jnp.einsum("ihdj,hdc->cij", gated, weights.output) + weights.output_bias[:, None, None]


@dataclasses.dataclass
class PairTransition(hk.Module):
    """Mix the channels of each pair with a two-layer perceptron (Alg. 15).

    Args:
        factor: Widening of the hidden layer.
    """

    factor: int
    name: str | None = None

    def __call__(self, pair: Pair) -> Pair:
        """Return the updated pair representation."""
        c, n, _ = pair.shape
        hidden = self.factor * c
        norm = LayerNormParameters(name="input_layer_norm")(c, pair.dtype)
        first = LinearParameters(hidden, "relu", name="transition1")(c, pair.dtype)
        second = LinearParameters(c, "zeros", name="transition2")(hidden, pair.dtype)

        def update(pair: PairPart) -> PairPart:
            x = normalise(pair, *norm, channel_axis=0)
            return project(jax.nn.relu(project(x, *first, channel_axis=0)), *second, channel_axis=0)

        return updated(pair, update, axis=1, elements=2 * hidden * n)


def update_pair(
    pair: Pair, mask: PairMask, config: BlockConfig, *, attention_first: bool = False, dropout: bool = False
) -> Pair:
    """Apply all pair updates of one block (Alg. 6, lines 6-10; Alg. 16, lines 2-6).

    Args:
        pair: Pair representation.
        mask: 1 for pairs of real residues.
        config: Sizes, switches and dropout rates.
        attention_first: Whether the attentions come before the multiplications, as in the template stack.
        dropout: Whether to drop rows and columns; needs a random key.
    """
    heads, channels = config.triangle_heads, config.triangle_channels
    multiplications: list[_Update] = [
        TriangleMultiplication(channels, outgoing=True, name="triangle_multiplication_outgoing"),
        TriangleMultiplication(channels, outgoing=False, name="triangle_multiplication_incoming"),
    ]
    attentions: list[_Update] = [
        TriangleAttention(heads, starting=True, name="triangle_attention_starting_node"),
        TriangleAttention(heads, starting=False, name="triangle_attention_ending_node"),
    ]
    if not config.triangle_attention:
        attentions = []
    updates = [*attentions, *multiplications] if attention_first else [*multiplications, *attentions]
    coarse, coarse_mask = pooled(pair, mask, config.pair_stride)
    changed = coarse
    for update in updates:
        changed = update(changed, coarse_mask, config.pair_dropout if dropout else 0.0)
    pair = changed if config.pair_stride == 1 else pair + spread(changed - coarse, config.pair_stride, pair.shape[-1])
    return PairTransition(config.pair_transition_factor, name="pair_transition")(pair)


def pooled(
    pair: Pair, mask: PairMask, stride: int
) -> tuple[Float[Array, "c_z squares squares"], Float[Array, "squares squares"]]:
    """Return the means over squares of `stride` residues each way, of real pairs, and which squares have any."""
    if stride == 1:
        return pair, mask
    missing = -pair.shape[-1] % stride
    squares = -(-pair.shape[-1] // stride), stride

    def summed(x: Array) -> Array:
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, missing)] * 2)
        return x.reshape(*x.shape[:-2], *squares, *squares).sum(axis=(-3, -1))

    count = summed(mask)
    return summed(pair * mask[None]) / jnp.maximum(count, 1)[None], (count > 0).astype(mask.dtype)


def spread(coarse: Float[Array, "c_z squares squares"], stride: int, length: int) -> Pair:
    """Return each square's value at all of its pairs."""
    return jnp.repeat(jnp.repeat(coarse, stride, axis=-2), stride, axis=-1)[..., :length, :length]
