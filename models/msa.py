"""Updates of the MSA representation and its way into the pair representation (Suppl. Alg. 7-10, 19)."""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from models import primitives
from models.primitives import AttentionParameters, layer_norm, linear, mask_to_bias
from models.shapes import Msa, MsaMask, Pair

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

    def __call__(self, msa: Msa, mask: MsaMask, pair: Pair) -> Msa:
        """Return the update."""
        c, c_z = msa.shape[-1], pair.shape[0]
        x = layer_norm(msa, "query_norm")  # line 1
        edges = layer_norm(pair, "feat_2d_norm", channel_axis=0)  # line 3
        init = hk.initializers.RandomNormal(stddev=c_z**-0.5)
        to_bias = hk.get_parameter("feat_2d_weights", (c_z, self.heads), pair.dtype, init)
        bias = primitives.project(edges, to_bias, channel_axis=0)
        weights = AttentionParameters(self.heads, c, name="attention")(c, c, c, x.dtype)
        return primitives.self_attention(x, mask, weights, bias)  # lines 2, 4-7


@dataclasses.dataclass
class ColumnAttention(hk.Module):
    """Let the rows of each column attend to each other (Alg. 8).

    Args:
        heads: Number of heads.
    """

    heads: int
    name: str | None = "msa_column_attention"

    def __call__(self, msa: Msa, mask: MsaMask) -> Msa:
        """Return the update."""
        c = msa.shape[-1]
        x = layer_norm(jnp.swapaxes(msa, 0, 1), "query_norm")
        weights = AttentionParameters(self.heads, c, name="attention")(c, c, c, x.dtype)
        return jnp.swapaxes(primitives.self_attention(x, mask.T, weights), 0, 1)


@dataclasses.dataclass
class GlobalColumnAttention(hk.Module):
    """Let the mean of each column attend to its rows, each of which gates the result (Alg. 19).

    Args:
        heads: Number of heads.
    """

    heads: int
    name: str | None = "msa_column_global_attention"

    def __call__(self, msa: Msa, mask: MsaMask) -> Msa:
        """Return the update."""
        c = msa.shape[-1]
        x = layer_norm(msa, "query_norm")  # line 1
        weights = AttentionParameters(self.heads, c, one_key=True, name="attention")(c, c, c, x.dtype)
        assert weights.gate is not None and weights.gate_bias is not None  # noqa: S101, PT018 - gated by default
        total = jnp.einsum("snc,sn->nc", x, mask)
        mean = total / (jnp.sum(mask, axis=0)[:, None] + MEAN_EPSILON)
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
        """Return the update."""
        c = msa.shape[-1]
        x = layer_norm(msa, "input_layer_norm")
        x = jax.nn.relu(linear(x, self.factor * c, "transition1", init="relu"))
        return linear(x, c, "transition2", init="zeros")


@dataclasses.dataclass
class OuterProductMean(hk.Module):
    """Bring the MSA into the pair representation by the mean outer product of two columns (Alg. 10).

    Args:
        channels: Channels of each side.
        c_z: Channels of the pair representation.
    """

    channels: int
    c_z: int
    name: str | None = "outer_product_mean"

    def __call__(self, msa: Msa, mask: MsaMask) -> Pair:
        """Return the update. The bias is divided by the number of rows too, as in the published network."""
        c = self.channels
        x = layer_norm(msa, "layer_norm_input")  # line 1
        left = linear(x, c, "left_projection") * mask[..., None]  # line 2
        right = linear(x, c, "right_projection") * mask[..., None]
        zeros = hk.initializers.Constant(0.0)
        weights = hk.get_parameter("output_w", (c, c, self.c_z), x.dtype, zeros)
        bias = hk.get_parameter("output_b", (self.c_z,), x.dtype, zeros)
        rows = jnp.einsum("si,sj->ij", mask, mask)
        out = _outer_products(left, right, weights) + bias[:, None, None]  # lines 3 and 4
        return out / (OUTER_EPSILON + rows)[None]


def _outer_products(
    left: Float[Array, "s n c"], right: Float[Array, "s n c"], weights: Float[Array, "c c c_z"]
) -> Pair:
    """Return the sum over rows of weights . (left x right), contracted in the cheaper order."""
    s, n, c = left.shape
    c_z = weights.shape[-1]
    if s * c_z <= s * c + c * c_z:  # few rows: never make the n x n x c x c outer products
        half = jnp.einsum("sic,cdo->oisd", left, weights)
        return jnp.einsum("oisd,sjd->oij", half, right)

    def outer_row(left: Float[Array, "s c"]) -> Float[Array, "c_z n"]:
        return jnp.einsum("cjd,cdo->oj", jnp.einsum("sc,sjd->cjd", left, right), weights)

    return jnp.swapaxes(primitives.map_rows(outer_row, (jnp.swapaxes(left, 0, 1),), n * c * c), 0, 1)
