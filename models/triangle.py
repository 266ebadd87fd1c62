"""Updates of the pair representation (Suppl. Alg. 11-15). Pair arrays are channel-first: (c, i, j)."""

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

import haiku as hk
import jax
import jax.numpy as jnp
from jax import Array

from models import primitives
from models.config import BlockConfig
from models.primitives import AttentionParameters, LinearParameters, layer_norm, linear, mask_to_bias
from models.shapes import Pair, PairMask

_Update: TypeAlias = Callable[[Pair, PairMask], Pair]


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

    def __call__(self, pair: Pair, mask: PairMask) -> Pair:
        """Return the update."""
        c_z, c = pair.shape[0], self.channels
        x = layer_norm(pair, "layer_norm_input", channel_axis=0)  # line 1
        maps = [
            LinearParameters(c, "linear", name="left_projection"),
            LinearParameters(c, "linear", name="right_projection"),
            LinearParameters(c, "gate", name="left_gate"),
            LinearParameters(c, "gate", name="right_gate"),
        ]
        weights, biases = zip(*[m(c_z, x.dtype) for m in maps], strict=True)
        joined = primitives.project(x, jnp.concatenate(weights, axis=1), jnp.concatenate(biases), channel_axis=0)
        values, gates = jnp.split(joined, 2)
        left, right = jnp.split(values * jax.nn.sigmoid(gates) * mask[None], 2)  # lines 2 and 3
        equation = "cik,cjk->cij" if self.outgoing else "ckj,cki->cij"
        out = layer_norm(jnp.einsum(equation, left, right), "center_layer_norm", channel_axis=0)
        gate = jax.nn.sigmoid(linear(x, c_z, "gating_linear", init="gate", channel_axis=0))
        return linear(out, c_z, "output_projection", init="zeros", channel_axis=0) * gate  # line 4


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

    def __call__(self, pair: Pair, mask: PairMask) -> Pair:
        """Return the update."""
        if not self.starting:
            return jnp.swapaxes(self._rows(jnp.swapaxes(pair, 1, 2), mask.T), 1, 2)
        return self._rows(pair, mask)

    @hk.transparent
    def _rows(self, pair: Pair, mask: PairMask) -> Pair:
        c, n, _ = pair.shape
        d = c // self.heads
        x = layer_norm(pair, "query_norm", channel_axis=0)
        edge = hk.get_parameter(
            "feat_2d_weights", (c, self.heads), x.dtype, hk.initializers.RandomNormal(stddev=c**-0.5)
        )
        weights = AttentionParameters(self.heads, c, name="attention")(c, c, c, x.dtype)
        assert weights.gate is not None and weights.gate_bias is not None  # noqa: S101, PT018 - gated by default
        parts = jnp.stack([weights.query * d**-0.5, weights.key, weights.value, weights.gate])
        query, key, value, gate = jnp.einsum("pchd,cij->pihdj", parts, x)
        edge_bias = primitives.single(primitives.project(x, edge, channel_axis=0))

        def attend_row(query: Array, key: Array, value: Array, bias: Array) -> Array:
            query, value = jnp.swapaxes(query, -1, -2), jnp.swapaxes(value, -1, -2)
            return primitives.attend(query, key, value, bias[None, None, :] + edge_bias)

        out = primitives.map_rows(attend_row, (query, key, value, mask_to_bias(mask)), self.heads * n * n)
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
        """Return the update."""
        c = pair.shape[0]
        x = layer_norm(pair, "input_layer_norm", channel_axis=0)
        x = jax.nn.relu(linear(x, self.factor * c, "transition1", init="relu", channel_axis=0))
        return linear(x, c, "transition2", init="zeros", channel_axis=0)


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
    # each with the axis along which its dropout mask is shared: 1 drops whole columns j, 2 whole rows i
    multiplications: list[tuple[_Update, int]] = [
        (TriangleMultiplication(channels, outgoing=True, name="triangle_multiplication_outgoing"), 1),
        (TriangleMultiplication(channels, outgoing=False, name="triangle_multiplication_incoming"), 1),
    ]
    attentions: list[tuple[_Update, int]] = [
        (TriangleAttention(heads, starting=True, name="triangle_attention_starting_node"), 1),
        (TriangleAttention(heads, starting=False, name="triangle_attention_ending_node"), 2),
    ]
    if not config.triangle_attention:
        attentions = []
    updates = [*attentions, *multiplications] if attention_first else [*multiplications, *attentions]
    for update, shared_axis in updates:
        rate = config.pair_dropout if dropout else 0.0
        pair = pair + primitives.dropout(update(pair, mask), rate, shared_axis)
    return pair + PairTransition(config.pair_transition_factor, name="pair_transition")(pair)
