"""The structure module: invariant point attention, the fold iteration and side chains (Suppl. Alg. 20, 22, 23, 24).

All iterations share their weights. The parameters are therefore collected once, what does not change between iterations
(the pair bias) is computed once, and the iterations are one scan over pure functions.
"""

import dataclasses
import math
from typing import Any, NamedTuple, TypeAlias

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, PRNGKeyArray

from models import geometry
from models import residue_constants as rc
from models.config import StructureConfig
from models.geometry import Rigid
from models.primitives import Initialiser, LayerNormParameters, LinearParameters, layer_norm, linear, normalise, project
from models.shapes import Aatype, Pair, SeqMask, Single, Torsions

Affine: TypeAlias = tuple[Array, Array]  # weights (c, d) and bias (d,); or scale and offset of a layer norm
Bias: TypeAlias = Float[Array, "h n n"]

_MASKED_LOGIT = -1e5  # added for masked keys; Suppl. Alg. 22 has none, the published code has this value
_DISTANCE_EPSILON = 1e-8  # square angstrom, inside the norm of value points
_ANGLE_EPSILON = 1e-12
_TORSION_NUMBERS = 14


class IpaWeights(NamedTuple):
    """Parameters of invariant point attention."""

    q_scalar: Affine
    kv_scalar: Affine
    q_point: Affine
    kv_point: Affine
    point_weights: Float[Array, " h"]
    pair_bias: Affine
    output: Affine


class SideChainWeights(NamedTuple):
    """Parameters of the side-chain network: two inputs, residual blocks of two layers each, the torsions."""

    inputs: tuple[Affine, ...]
    blocks: tuple[tuple[Affine, Affine], ...]
    torsions: Affine


class FoldWeights(NamedTuple):
    """Parameters of the fold iteration."""

    ipa: IpaWeights
    attention_norm: Affine
    transition: tuple[Affine, ...]
    transition_norm: Affine
    backbone_update: Affine
    side_chain: SideChainWeights


@dataclasses.dataclass
class IpaParameters(hk.Module):
    """Own the parameters of invariant point attention."""

    config: StructureConfig
    name: str | None = "invariant_point_attention"

    def __call__(self, c_z: int, dtype: jnp.dtype) -> IpaWeights:
        """Return the weights for so many pair channels."""
        k = self.config
        features = k.heads * (k.scalar_channels + 4 * k.value_points + c_z)
        return IpaWeights(
            q_scalar=_affine("q_scalar", k.c, k.heads * k.scalar_channels, dtype),
            kv_scalar=_affine("kv_scalar", k.c, k.heads * 2 * k.scalar_channels, dtype),
            q_point=_affine("q_point_local", k.c, k.heads * 3 * k.query_points, dtype),
            kv_point=_affine("kv_point_local", k.c, k.heads * 3 * (k.query_points + k.value_points), dtype),
            point_weights=hk.get_parameter(
                "trainable_point_weights", (k.heads,), dtype, hk.initializers.Constant(math.log(math.e - 1))
            ),
            pair_bias=_affine("attention_2d", c_z, k.heads, dtype),
            output=_affine("output_projection", features, k.c, dtype, "zeros"),
        )


@dataclasses.dataclass
class SideChainParameters(hk.Module):
    """Own the parameters of the side-chain network."""

    config: StructureConfig
    name: str | None = "rigid_sidechain"

    def __call__(self, dtype: jnp.dtype) -> SideChainWeights:
        """Return the weights."""
        c, d = self.config.c, self.config.torsion_channels
        return SideChainWeights(
            inputs=tuple(_affine("input_projection", c, d, dtype) for _ in range(2)),
            blocks=tuple(
                (_affine("resblock1", d, d, dtype, "relu"), _affine("resblock2", d, d, dtype, "zeros"))
                for _ in range(2)
            ),
            torsions=_affine("unnormalized_angles", d, _TORSION_NUMBERS, dtype),
        )


@dataclasses.dataclass
class FoldParameters(hk.Module):
    """Own the parameters of the fold iteration."""

    config: StructureConfig
    name: str | None = "fold_iteration"

    def __call__(self, c_z: int, dtype: jnp.dtype) -> FoldWeights:
        """Return the weights for so many pair channels."""
        c, layers = self.config.c, self.config.transition_layers
        hidden: Initialiser = "relu"
        kinds: list[Initialiser] = [*([hidden] * (layers - 1)), "zeros"]
        return FoldWeights(
            ipa=IpaParameters(self.config)(c_z, dtype),
            attention_norm=LayerNormParameters(name="attention_layer_norm")(c, dtype),
            transition=tuple(_affine("transition", c, c, dtype, kind) for kind in kinds),
            transition_norm=LayerNormParameters(name="transition_layer_norm")(c, dtype),
            backbone_update=_affine("affine_update", c, 6, dtype, "zeros"),
            side_chain=SideChainParameters(self.config)(dtype),
        )


def _affine(name: str, c: int, size: int, dtype: jnp.dtype, init: Initialiser = "linear") -> Affine:
    """Return weights and bias of a linear map of the module that is being called."""
    return LinearParameters(size, init, name=name)(c, dtype)


# Invariant point attention --------------------------------------------------------------------------------------------


class PairTerms(NamedTuple):
    """What attention takes from the pair representation, the same in all iterations.

    Args:
        bias: Added to the logits, mask included.
        values: The pair representation as (i, j, c_z).
    """

    bias: Bias
    values: Float[Array, "n n c_z"]


def pair_terms(weights: IpaWeights, pair: Pair, seq_mask: SeqMask) -> PairTerms:
    """Return the pair bias (Alg. 22, line 4, with its factor of line 7) and the pair values."""
    bias = math.sqrt(1 / 3) * project(pair, *weights.pair_bias, channel_axis=0)
    return PairTerms(bias + _MASKED_LOGIT * (1 - seq_mask), jnp.moveaxis(pair, 0, -1))


def invariant_point_attention(
    weights: IpaWeights, config: StructureConfig, single: Single, pair: PairTerms, frames: Rigid
) -> Single:
    """Let residues attend to each other by features, by pair and by nearness of points (Alg. 22).

    Args:
        weights: The parameters.
        config: Heads, channels, points.
        single: Single representation, shape (n, c).
        pair: From `pair_terms`.
        frames: Backbone frames in internal units of length.
    """
    # Only differences of positions matter: near the origin they lose the fewest digits.
    centred = Rigid(frames.rotation, frames.translation - jnp.mean(frames.translation, axis=0))
    query, key, value, key_norm = _attention_operands(weights, config, single, centred)
    # |q - k|^2 = |q|^2 + |k|^2 - 2 q.k, and |q|^2 is the same for all keys: the softmax does not see it
    logits = jnp.matmul(query, jnp.swapaxes(key, 1, 2), precision="highest") - key_norm[:, None, :] + pair.bias
    attention = jax.nn.softmax(logits, axis=-1)
    mixed = jnp.matmul(attention, value, precision="highest")  # (h, n, d + 3 p)
    mixed_pair = jnp.einsum("hij,ijc->ihc", attention, pair.values)
    return project(_attention_features(config, mixed, mixed_pair, centred), *weights.output)


def _attention_operands(
    weights: IpaWeights, config: StructureConfig, single: Single, frames: Rigid
) -> tuple[Array, Array, Array, Array]:
    """Return queries, keys, values as (h, n, channels and points), and half the weighted square norms of key points."""
    n, h, d, p_q = single.shape[0], config.heads, config.scalar_channels, config.query_points
    maps = (weights.q_scalar, weights.kv_scalar, weights.q_point, weights.kv_point)
    kernel, offset = (jnp.concatenate(parts, axis=-1) for parts in zip(*maps, strict=True))
    sizes = np.cumsum([m[1].shape[0] for m in maps])[:-1].tolist()
    q, kv, q_point, kv_point = jnp.split(project(single, kernel, offset), sizes, axis=-1)

    local = jnp.concatenate([q_point.reshape(n, 3, h, -1), kv_point.reshape(n, 3, h, -1)], axis=-1)
    points = jnp.sum(frames.rotation[..., None, None] * local[:, None], axis=2) + frames.translation[..., None, None]
    points = jnp.transpose(points, (2, 0, 1, 3))  # (h, n, 3, points)
    q_point, k_point, v_point = (part.reshape(h, n, -1) for part in jnp.split(points, [p_q, 2 * p_q], axis=-1))
    # line 7: the three terms of the logits have equal variance
    w_point = math.sqrt(2 / (27 * p_q)) * jax.nn.softplus(weights.point_weights)[:, None, None]
    q = jnp.swapaxes(q.reshape(n, h, d), 0, 1) * math.sqrt(1 / (3 * d))
    k, v = jnp.split(jnp.swapaxes(kv.reshape(n, h, 2 * d), 0, 1), 2, axis=-1)
    return (
        jnp.concatenate([q, q_point * w_point], axis=-1),
        jnp.concatenate([k, k_point], axis=-1),
        jnp.concatenate([v, v_point], axis=-1),
        0.5 * jnp.sum(w_point * jnp.square(k_point), axis=-1),
    )


def _attention_features(config: StructureConfig, mixed: Array, mixed_pair: Array, frames: Rigid) -> Array:
    """Return the features of line 11: scalars, points in the residue's own frame, their norms, pair."""
    h, n = mixed.shape[:2]
    scalars, points = jnp.split(jnp.swapaxes(mixed, 0, 1), [config.scalar_channels], axis=-1)
    points = jnp.swapaxes(points.reshape(n, h, 3, -1), 1, 2) - frames.translation[..., None, None]
    local = jnp.sum(frames.rotation[..., None, None] * points[:, :, None], axis=1)  # (n, 3, h, p): lines 10 and 11
    norm = jnp.sqrt(jnp.sum(jnp.square(local), axis=1) + _DISTANCE_EPSILON)
    return jnp.concatenate([part.reshape(n, -1) for part in (scalars, local, norm, mixed_pair)], axis=-1)


# The fold iteration ---------------------------------------------------------------------------------------------------


def fold_iteration(
    weights: FoldWeights,
    config: StructureConfig,
    pair: PairTerms,
    state: tuple[Single, Rigid],
    key: PRNGKeyArray | None,
) -> tuple[Single, Rigid]:
    """Update the single representation and the backbone frames once (Alg. 20, lines 6 to 10).

    Args:
        weights: The parameters.
        config: Sizes and dropout.
        pair: From `pair_terms`.
        state: Single representation and frames, in internal units of length.
        key: Randomness of dropout; None for none.
    """
    single, frames = state
    keys = (None, None) if key is None else jax.random.split(key)
    single = single + invariant_point_attention(weights.ipa, config, single, pair, frames)
    single = normalise(_dropout(single, config.dropout, keys[0]), *weights.attention_norm)
    update = single
    for layer in weights.transition[:-1]:
        update = jax.nn.relu(project(update, *layer))
    single = single + project(update, *weights.transition[-1])
    single = normalise(_dropout(single, config.dropout, keys[1]), *weights.transition_norm)
    return single, update_backbone(project(single, *weights.backbone_update), frames)


def update_backbone(update: Float[Array, "n 6"], frames: Rigid) -> Rigid:
    """Turn and shift each frame within itself (Alg. 23)."""
    return frames.compose(Rigid(geometry.rotation_from_vector(update[:, :3]), update[:, 3:]))


def _dropout(x: Array, rate: float, key: PRNGKeyArray | None) -> Array:
    """Drop single entries at random."""
    if key is None or rate == 0:
        return x
    return x * jax.random.bernoulli(key, 1 - rate, x.shape).astype(x.dtype) / (1 - rate)


def side_chain_torsions(
    weights: SideChainWeights, single: Float[Array, "*layers n c"], initial: Single
) -> tuple[Float[Array, "*layers n 7 2"], Float[Array, "*layers n 7 2"]]:
    """Return sine and cosine of the seven torsions, normalised and as they come (Alg. 20, lines 11 to 14)."""
    x = sum(project(jax.nn.relu(a), *w) for a, w in zip((single, initial), weights.inputs, strict=True))
    for first, second in weights.blocks:
        x = x + project(jax.nn.relu(project(jax.nn.relu(x), *first)), *second)
    raw = project(jax.nn.relu(x), *weights.torsions)
    raw = raw.reshape(*raw.shape[:-1], 7, 2)
    square = jnp.sum(jnp.square(raw), axis=-1, keepdims=True)
    return raw / jnp.sqrt(jnp.maximum(square, _ANGLE_EPSILON)), raw


def place_atoms(aatype: Aatype, backbone: Rigid, sin_cos: Torsions) -> tuple[Rigid, Float[Array, "n 14 3"]]:
    """Return the frames of the rigid groups and the atoms; the backbone is in angstrom (Alg. 24)."""
    frames = geometry.frames_from_torsions(aatype, backbone, sin_cos)
    return frames, geometry.atoms_from_frames(aatype, frames)


@dataclasses.dataclass
class StructureModule(hk.Module):
    """Fold the chain (Alg. 20)."""

    config: StructureConfig
    name: str | None = "structure_module"

    def __call__(
        self,
        single: Single,
        pair: Pair,
        aatype: Aatype,
        seq_mask: SeqMask,
        initial: tuple[Array, Array] | None = None,
        *,
        dropout: bool = False,
    ) -> dict[str, Any]:
        """Return the structure and what led to it.

        Args:
            single: Single representation of the trunk, shape (n, c_s).
            pair: Pair representation, shape (c_z, n, n).
            aatype: Residue types.
            seq_mask: 1 for real residues.
            initial: Rotations (n, 3, 3) and translations (n, 3, angstrom) to start from; None for all at the origin.
            dropout: Whether to drop at random.

        Returns:
            `act` (n, c); `rotations` (layers, n, 3, 3) and `translations` (layers, n, 3, angstrom) after each
            iteration; `sidechains`: `angles_sin_cos` and `unnormalized_angles_sin_cos` (layers, n, 7, 2), and of the
            last iteration `frames` (Rigid, n by 8) and `atom_pos` (n, 14, 3); `final_atom14_positions`,
            `final_atom14_mask`, `final_atom_positions` (n, 37, 3), `final_atom_mask`. Angstrom.
        """
        config, dtype = self.config, single.dtype
        single = layer_norm(single, "single_layer_norm")  # line 1
        state = linear(single, config.c, "initial_projection")  # line 3
        pair = layer_norm(pair, "pair_layer_norm", channel_axis=0)  # line 2
        weights = FoldParameters(config)(pair.shape[0], dtype)
        terms = pair_terms(weights.ipa, pair, seq_mask)
        start = geometry.identity(aatype.shape, dtype) if initial is None else Rigid(*initial)

        def iterate(carry: tuple[Single, Rigid], key: PRNGKeyArray | None) -> tuple[tuple[Single, Rigid], Any]:
            act, frames = fold_iteration(weights, config, terms, carry, key)
            # line 20: rotations pass no gradient to the iteration before
            return (act, frames._replace(rotation=jax.lax.stop_gradient(frames.rotation))), (act, frames)

        keys = jax.random.split(hk.next_rng_key(), config.layers) if dropout and config.dropout else None
        _, (acts, trajectory) = jax.lax.scan(
            iterate, (state, start.scaled(1 / config.position_scale)), keys, length=config.layers
        )
        trajectory = trajectory.scaled(config.position_scale)
        sin_cos, raw = side_chain_torsions(weights.side_chain, acts, single)
        last = Rigid(trajectory.rotation[-1], trajectory.translation[-1])
        frames, atom14 = place_atoms(aatype, last, sin_cos[-1])
        return {
            "act": acts[-1],
            "rotations": trajectory.rotation,
            "translations": trajectory.translation,
            "sidechains": {
                "angles_sin_cos": sin_cos,
                "unnormalized_angles_sin_cos": raw,
                "frames": frames,
                "atom_pos": atom14,
            },
            **final_atoms(aatype, seq_mask, atom14),
        }


def final_atoms(aatype: Aatype, seq_mask: SeqMask, atom14: Array) -> dict[str, Array]:
    """Return the atoms of a structure (atom14, angstrom) in both layouts, with masks, as `StructureModule` does."""
    real = seq_mask[:, None].astype(atom14.dtype)
    return {
        "final_atom14_positions": atom14,
        "final_atom14_mask": geometry.table(rc.ATOM14_MASK, aatype, atom14.dtype) * real,
        "final_atom_positions": geometry.atom14_to_atom37(aatype, atom14),
        "final_atom_mask": geometry.table(rc.ATOM37_MASK, aatype, atom14.dtype) * real,
    }
