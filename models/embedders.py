"""From the network's inputs and the last iteration's results to the first MSA and pair representations.

The functions make their parameters in the scope of the calling module, as in the published files, where
`pair_activiations` is spelled so.
"""

import itertools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from models import geometry
from models.config import EvoformerConfig
from models.primitives import layer_norm, linear
from models.shapes import Atom37, Msa, Pair, ResidueIndex

MSA_CLASSES = 23  # 20 amino acids, X, gap, mask
INFINITY = 1e8  # squared angstrom beyond any distance
_COUPLING_EDGES = (0.0, 1.0, 2.0, 3.0, 4.5, 6.5, 9.0, 13.0, 20.0)  # standard deviations


def one_hot_first(index: Int[Array, "i j"], classes: int, dtype: jnp.dtype) -> Float[Array, "c i j"]:
    """Return the one-hot code with the classes on the first axis."""
    return jax.nn.one_hot(index, classes, dtype=dtype, axis=0)


def distogram(positions: Float[Array, "n 3"], bins: int, shortest: float, longest: float) -> Float[Array, "bins n n"]:
    """Return in which bin each distance lies; the last bin has no end, and shorter distances lie in none.

    Args:
        positions: Points, angstrom.
        bins: Number of bins.
        shortest: Lower edge of the first bin, angstrom.
        longest: Lower edge of the last bin, angstrom.
    """
    lower = jnp.square(jnp.linspace(shortest, longest, bins, dtype=positions.dtype))
    upper = jnp.concatenate([lower[1:], jnp.array([INFINITY], positions.dtype)])
    square = jnp.sum(jnp.square(positions[:, None] - positions[None, :]), axis=-1)[None]
    inside = (square > lower[:, None, None]) & (square < upper[:, None, None])
    return inside.astype(positions.dtype)


def embed_input(batch: Mapping[str, Array], config: EvoformerConfig, dtype: jnp.dtype) -> tuple[Msa, Pair]:
    """Embed the target and its clustered MSA (Suppl. Alg. 3, lines 1-3)."""
    target, msa_feat = batch["target_feat"].astype(dtype), batch["msa_feat"].astype(dtype)
    left = linear(target, config.c_z, "left_single").T
    right = linear(target, config.c_z, "right_single").T
    msa = linear(msa_feat, config.c_m, "preprocess_msa") + linear(target, config.c_m, "preprocess_1d")[None]
    return msa, left[:, :, None] + right[:, None, :]


def embed_recycled(
    msa: Msa, pair: Pair, prev: Mapping[str, Array], aatype: Int[Array, " n"], config: EvoformerConfig
) -> tuple[Msa, Pair]:
    """Add the last iteration's distances, pair representation and first MSA row (Suppl. Alg. 32).

    In the first iteration all of them are zero.
    """
    positions: Atom37 = prev["prev_pos"]
    beta, _ = geometry.pseudo_beta(aatype, positions, jnp.ones_like(positions[..., 0]))
    bins = distogram(beta, config.recycle_bins, config.recycle_min, config.recycle_max)
    pair = pair + linear(bins.astype(pair.dtype), config.c_z, "prev_pos_linear", channel_axis=0)
    pair = pair + layer_norm(prev["prev_pair"].astype(pair.dtype), "prev_pair_norm", channel_axis=0)
    row = layer_norm(prev["prev_msa_first_row"].astype(msa.dtype), "prev_msa_first_row_norm")
    return msa.at[0].add(row), pair


def embed_relative_positions(residue_index: ResidueIndex, config: EvoformerConfig, dtype: jnp.dtype) -> Pair:
    """Embed the clipped distance along the sequence (Suppl. Alg. 4)."""
    longest = config.max_relative_position
    offset = residue_index[:, None] - residue_index[None, :]
    bins = one_hot_first(jnp.clip(offset + longest, 0, 2 * longest), 2 * longest + 1, dtype)
    return linear(bins, config.c_z, "pair_activiations", channel_axis=0)


def embed_couplings(couplings: Float[Array, "n n"], config: EvoformerConfig, dtype: jnp.dtype) -> Pair:
    """Embed how much columns of the alignment change together (`models/coevolution.py`); 0 where nothing is known.

    Not in AlphaFold 2.
    """
    known = jnp.any(couplings != 0).astype(couplings.dtype)
    ramps = [jnp.clip((couplings - low) / (high - low), 0, 1) for low, high in itertools.pairwise(_COUPLING_EDGES)]
    features = jnp.stack([*ramps, jnp.broadcast_to(known, couplings.shape)]).astype(dtype)
    return linear(features, config.c_z, "coupling_activations", channel_axis=0)


def embed_extra_msa(batch: Mapping[str, Array], c_e: int, dtype: jnp.dtype) -> Float[Array, "e n c_e"]:
    """Embed the MSA rows that are in no cluster centre (Suppl. Alg. 3, lines 14-16)."""
    deletions = jnp.stack([batch["extra_has_deletion"], batch["extra_deletion_value"]], axis=-1)
    letters = jax.nn.one_hot(batch["extra_msa"], MSA_CLASSES, dtype=dtype)
    return linear(jnp.concatenate([letters, deletions.astype(dtype)], axis=-1), c_e, "extra_msa_activations")
