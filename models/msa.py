"""Updates of the MSA representation and its way into the pair representation (Suppl. Alg. 7-10, 19)."""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from models import primitives
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
    self_attention,
    single,
    updated,
)
from models.shapes import Msa, MsaMask, Pair, PairPart

MEAN_EPSILON = 1e-10  # of the masked mean in Alg. 19
OUTER_EPSILON = 1e-3  # of the count of rows in Alg. 10


@dataclasses.dataclass
class RowAttention(hk.Module):
    """Let the residues of each row attend to each other, biased by the pair representation (Alg. 7).

    Args:
        heads: Number of heads.
    """

    heads: int
    name: str | None = "msa_row_attention_with_pair_bias"

    def __call__(self, msa: Msa, mask: MsaMask, pair: Pair, dropout: float = 0.0) -> Msa:
        """Return the updated MSA representation; dropout is shared by all rows."""
        c, (c_z, n, _) = msa.shape[-1], pair.shape
        norm = LayerNormParameters(name="query_norm")(c, msa.dtype)
        pair_norm = LayerNormParameters(name="feat_2d_norm")(c_z, pair.dtype)
        init = hk.initializers.RandomNormal(stddev=c_z**-0.5)
        to_bias = hk.get_parameter("feat_2d_weights", (c_z, self.heads), pair.dtype, init)
        weights = AttentionParameters(self.heads, c, name="attention")(c, c, c, msa.dtype)

        def bias_of(pair: PairPart) -> Array:  # line 3
            return project(normalise(pair, *pair_norm, channel_axis=0), to_bias, channel_axis=0)

        bias = in_chunks(bias_of, (pair,), (1,), out_axis=1, elements=c_z * n)

        def update(rows: Msa, mask: MsaMask) -> Msa:  # lines 1, 2, 4-7
            return self_attention(normalise(rows, *norm), mask, weights, bias)

        keep = keep_mask(msa.shape, dropout, shared_axis=0)
        return updated(msa, update, ((mask, 0),), axis=0, elements=attention_elements(n, weights), keep=keep)


@dataclasses.dataclass
class ColumnAttention(hk.Module):
    """Let the rows of each column attend to each other (Alg. 8).

    Args:
        heads: Number of heads.
    """

    heads: int
    name: str | None = "msa_column_attention"

    def __call__(self, msa: Msa, mask: MsaMask) -> Msa:
        """Return the updated MSA representation."""
        rows, _, c = msa.shape
        norm = LayerNormParameters(name="query_norm")(c, msa.dtype)
        weights = AttentionParameters(self.heads, c, name="attention")(c, c, c, msa.dtype)

        def update(columns: Msa, mask: MsaMask) -> Msa:
            x = normalise(jnp.swapaxes(columns, 0, 1), *norm)
            return jnp.swapaxes(self_attention(x, mask.T, weights), 0, 1)

        return updated(msa, update, ((mask, 1),), axis=1, elements=attention_elements(rows, weights))


@dataclasses.dataclass
class GlobalColumnAttention(hk.Module):
    """Let the mean of each column attend to its rows, each of which gates the result (Alg. 19).

    Args:
        heads: Number of heads.
    """

    heads: int
    name: str | None = "msa_column_global_attention"

    def __call__(self, msa: Msa, mask: MsaMask) -> Msa:
        """Return the updated MSA representation."""
        rows, _, c = msa.shape
        norm = LayerNormParameters(name="query_norm")(c, msa.dtype)
        weights = AttentionParameters(self.heads, c, one_key=True, name="attention")(c, c, c, msa.dtype)

        def update(columns: Msa, mask: MsaMask) -> Msa:
            return _global_attention(normalise(columns, *norm), mask, weights)

        return updated(msa, update, ((mask, 1),), axis=1, elements=4 * rows * c)


def _global_attention(x: Msa, mask: MsaMask, weights: AttentionWeights) -> Msa:
    """Return what the mean query of each column reads from it (Alg. 19, lines 2 to 6); x is normalised."""
    assert weights.gate is not None and weights.gate_bias is not None  # noqa: S101, PT018 - gated by default
    total, number = single(jnp.einsum("snc,sn->nc", x, mask)), jnp.sum(single(mask), axis=0)[:, None]
    mean = (total / (number + MEAN_EPSILON)).astype(x.dtype)
    query = jnp.einsum("nc,chd->nhd", mean, weights.query) * weights.query.shape[-1] ** -0.5  # line 3
    key = jnp.einsum("snc,cd->nds", x, weights.key)
    value = jnp.einsum("snc,cd->nsd", x, weights.value)
    column = primitives.attend(query, key, value, mask_to_bias(mask.T)[:, None, :])  # lines 4 and 5
    gate = jax.nn.sigmoid(jnp.einsum("snc,chd->snhd", x, weights.gate) + weights.gate_bias[None, None])
    return jnp.einsum("snhd,hdo->sno", gate * column[None], weights.output) + weights.output_bias[None, None]


@dataclasses.dataclass
class MsaTransition(hk.Module):
    """Mix the channels of each entry with a two-layer perceptron (Alg. 9).

    Args:
        factor: Widening of the hidden layer.
    """

    factor: int
    name: str | None = "msa_transition"

    def __call__(self, msa: Msa) -> Msa:
        """Return the updated MSA representation."""
        _, n, c = msa.shape
        hidden = self.factor * c
        norm = LayerNormParameters(name="input_layer_norm")(c, msa.dtype)
        first = LinearParameters(hidden, "relu", name="transition1")(c, msa.dtype)
        second = LinearParameters(c, "zeros", name="transition2")(hidden, msa.dtype)

        def update(rows: Msa) -> Msa:
            return project(jax.nn.relu(project(normalise(rows, *norm), *first)), *second)

        return updated(msa, update, axis=0, elements=2 * hidden * n)


@dataclasses.dataclass
class OuterProductMean(hk.Module):
    """Bring the MSA into the pair representation by the mean outer product of two columns (Alg. 10).

    Args:
        channels: Channels of each side.
    """

    channels: int
    name: str | None = "outer_product_mean"

    def __call__(self, msa: Msa, mask: MsaMask, pair: Pair) -> Pair:
        """Return the updated pair representation.

        The bias is divided by the number of rows too, as in the published network.
        """
        c, (rows, n, c_m) = self.channels, msa.shape
        norm = LayerNormParameters(name="layer_norm_input")(c_m, msa.dtype)
        of_left = LinearParameters(c, "linear", name="left_projection")(c_m, msa.dtype)
        of_right = LinearParameters(c, "linear", name="right_projection")(c_m, msa.dtype)
        zeros = hk.initializers.Constant(0.0)
        weights = hk.get_parameter("output_w", (c, c, len(pair)), msa.dtype, zeros)
        bias = hk.get_parameter("output_b", (len(pair),), msa.dtype, zeros)

        def sides(rows: Msa, mask: MsaMask) -> tuple[Array, Array]:  # lines 1 and 2
            x = normalise(rows, *norm)
            return project(x, *of_left) * mask[..., None], project(x, *of_right) * mask[..., None]

        left, right = in_chunks(sides, (msa, mask), (0, 0), out_axis=0, elements=2 * c_m * n)

        def update(_: PairPart, left: Float[Array, "s i d"], left_mask: Float[Array, "s i"]) -> PairPart:
            count = OUTER_EPSILON + jnp.einsum("si,sj->ij", left_mask, mask)
            return (_outer_products(left, right, weights) + bias[:, None, None]) / count[None]  # lines 3 and 4

        elements = 2 * n * c * c if _is_deep(rows, weights) else len(pair) * (n + rows * c)
        return updated(pair, update, ((left, 1), (mask, 1)), axis=1, elements=elements)


def _is_deep(rows: int, weights: Float[Array, "c c c_z"]) -> bool:
    """Return whether there are so many rows that it is cheaper to multiply the columns before the weights."""
    c, _, c_z = weights.shape
    return rows * c_z > rows * c + c * c_z


def _outer_products(
    left: Float[Array, "s i c"], right: Float[Array, "s n c"], weights: Float[Array, "c c c_z"]
) -> Float[Array, "c_z i n"]:
    """Return the sum over rows of weights . (left x right), contracted in the cheaper order."""
    if _is_deep(len(left), weights):
        return jnp.einsum("icjd,cdo->oij", jnp.einsum("sic,sjd->icjd", left, right), weights)
    return jnp.einsum("oisd,sjd->oij", jnp.einsum("sic,cdo->oisd", left, weights), right)
