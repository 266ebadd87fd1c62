"""Templates: their pair representations, how the pair representation reads them, and their torsions as MSA rows."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from models import geometry, primitives, residue_constants, triangle
from models.config import TemplateConfig
from models.embedders import distogram
from models.primitives import AttentionParameters, LinearParameters, layer_norm, linear, mask_to_bias
from models.shapes import Msa, MsaMask, Pair, PairMask, PairPart

AATYPE_CLASSES = 22  # 20 amino acids, X, gap
UNIT_VECTOR_EPSILON = 1e-6  # square angstrom
BACKBONE = np.array([residue_constants.ATOM37_ID[name] for name in ("N", "CA", "C")], np.int32)


class Template(NamedTuple):
    """One template (or several, with a leading axis), in the target's numbering.

    Args:
        aatype: Residue types, shape (n,).
        positions: Atom positions, shape (n, 37, 3), angstrom.
        atom_mask: 1 where an atom is known, shape (n, 37).
        pseudo_beta: CB, or CA of glycine, shape (n, 3), angstrom.
        pseudo_beta_mask: 1 where it is known, shape (n,).
    """

    aatype: Array
    positions: Array
    atom_mask: Array
    pseudo_beta: Array
    pseudo_beta_mask: Array

    @classmethod
    def from_batch(cls, batch: Mapping[str, Array]) -> "Template":
        """Take all templates out of the network's inputs."""
        return cls(
            batch["template_aatype"],
            batch["template_all_atom_positions"],
            batch["template_all_atom_masks"],
            batch["template_pseudo_beta"],
            batch["template_pseudo_beta_mask"],
        )


@dataclasses.dataclass
class SingleTemplateEmbedding(hk.Module):
    """Embed the pairs of one template (Suppl. Alg. 2, line 10, and Alg. 16)."""

    config: TemplateConfig
    name: str | None = "single_template_embedding"

    def __call__(self, template: Template, pair_mask: PairMask, *, dropout: bool = False) -> Pair:
        """Return the template's pair representation."""
        config = self.config
        pair = self._embed(template, pair_mask.dtype)

        def block(pair: Pair) -> Pair:
            return triangle.update_pair(pair, pair_mask, config.block, attention_first=True, dropout=dropout)

        if config.blocks:
            pair = TemplatePairStack(config.blocks)(block, pair)
        return layer_norm(pair, "output_layer_norm", channel_axis=0)

    @hk.transparent
    def _embed(self, template: Template, dtype: jnp.dtype) -> Pair:
        """Return the affine map of 88 features: distogram, pseudo-beta mask, types of j and i, unit vector, mask.

        The types depend on one residue only and are mapped before they are spread over the pairs.
        """
        config = self.config
        bins = distogram(template.pseudo_beta, config.distogram_bins, config.distogram_min, config.distogram_max)
        bins = bins.astype(dtype)
        size = config.distogram_bins + 2 * AATYPE_CLASSES + 5
        weights, bias = LinearParameters(config.c_t, "relu", name="embedding2d")(size, bins.dtype)
        cuts = [config.distogram_bins, 1, AATYPE_CLASSES, AATYPE_CLASSES, 3, 1]
        of_bins, of_beta, of_j, of_i, of_vector, of_mask = jnp.split(weights, [sum(cuts[:k]) for k in range(1, 6)])
        types = jax.nn.one_hot(template.aatype, AATYPE_CLASSES, dtype=bins.dtype)
        beta_mask = _outer(template.pseudo_beta_mask)[None].astype(dtype)
        mask = _outer(template.atom_mask[:, BACKBONE].prod(axis=-1))[None].astype(dtype)
        pair = primitives.project(bins, of_bins, channel_axis=0)
        pair = pair + beta_mask * of_beta[0, :, None, None] + mask * of_mask[0, :, None, None]
        pair = pair + (types @ of_j).T[:, None, :] + (types @ of_i).T[:, :, None]
        if config.unit_vectors:
            pair = pair + jnp.einsum("ijx,xc->cij", _unit_vectors(template).astype(dtype), of_vector) * mask
        return pair * mask + primitives.project(jnp.ones_like(mask), bias[None, :], channel_axis=0)


@dataclasses.dataclass
class TemplatePairStack(hk.Module):
    """Repeat a block; the scopes are those of the published files."""

    blocks: int
    name: str | None = "template_pair_stack"

    def __call__(self, block: Callable[[Pair], Pair], pair: Pair) -> Pair:
        """Return what the last block returns."""
        return hk.layer_stack(self.blocks, name="__layer_stack_no_state")(block)(pair)


@dataclasses.dataclass
class TemplateEmbedding(hk.Module):
    """Let each pair of the target read the same pair of the templates (Suppl. Alg. 2, lines 9-13, and Alg. 17).

    Args:
        config: Of the template branch.
        c_z: Channels of the pair representation.
    """

    config: TemplateConfig
    c_z: int
    name: str | None = "template_embedding"

    @hk.name_like("__call__")
    def embed(self, templates: Template, pair_mask: PairMask, *, dropout: bool = False) -> Float[Array, "t c_t n n"]:
        """Return the pair representation of each template; it does not depend on the recycled state."""
        single = SingleTemplateEmbedding(self.config)
        return hk.map(lambda template: single(template, pair_mask, dropout=dropout), templates)

    def __call__(self, pair: Pair, templates: Float[Array, "t c_t n n"], template_mask: Float[Array, " t"]) -> Pair:
        """Return the update of the pair representation; zero where there is no template."""
        config = self.config
        parameters = AttentionParameters(config.pointwise_heads, config.c_t, gated=False, name="attention")
        weights = parameters(self.c_z, config.c_t, self.c_z, pair.dtype)
        mask_bias = mask_to_bias(template_mask)[None, :, None, None]
        scale = weights.query.shape[-1] ** -0.5

        def heads_of(x: Array, kernel: Float[Array, "c h d"]) -> Array:
            out = primitives.project(x, kernel.reshape(len(x), -1), channel_axis=0)
            return out.reshape(*kernel.shape[1:], *x.shape[1:])

        def read(pair: PairPart, templates: Float[Array, "t c_t i j"]) -> PairPart:
            # one plain product for all templates, whose gradient is one too (see `primitives.project`)
            query = heads_of(pair, weights.query * scale)[:, :, None]
            known = jnp.swapaxes(templates, 0, 1)
            key, value = heads_of(known, weights.key), heads_of(known, weights.value)
            logits = primitives.single(jnp.sum(query * key, axis=1)) + mask_bias
            share = jax.nn.softmax(logits, axis=1).astype(pair.dtype)
            out = jnp.sum(share[:, None] * value, axis=2).reshape(-1, *pair.shape[1:])
            return primitives.project(out, weights.output.reshape(len(out), -1), weights.output_bias, channel_axis=0)

        t, c_t, n, _ = templates.shape
        out = primitives.in_chunks(read, (pair, templates), (1, 2), out_axis=1, elements=2 * t * c_t * n)
        return out * (jnp.sum(template_mask) > 0).astype(out.dtype)


def embed_torsions(templates: Template, config: TemplateConfig, c_m: int, dtype: jnp.dtype) -> tuple[Msa, MsaMask]:
    """Return the templates' torsions as MSA rows, and their mask (Suppl. Alg. 2, lines 7 and 8)."""
    torsions = geometry.torsion_angles(templates.aatype, templates.positions, templates.atom_mask)
    sin_cos, alternative = torsions.sin_cos, torsions.alternative
    if config.mask_undefined_torsions:
        sin_cos, alternative = sin_cos * torsions.mask[..., None], alternative * torsions.mask[..., None]
    types = jax.nn.one_hot(templates.aatype, AATYPE_CLASSES, dtype=sin_cos.dtype)
    features = jnp.concatenate(
        [types, *(x.reshape(*x.shape[:2], -1) for x in (sin_cos, alternative)), torsions.mask], axis=-1
    )
    rows = jax.nn.relu(linear(features.astype(dtype), c_m, "template_single_embedding", init="relu"))
    return linear(rows, c_m, "template_projection"), torsions.mask[:, :, 2]  # that of psi


def _outer(mask: Float[Array, " n"]) -> PairMask:
    """Return the mask of pairs of a mask of residues."""
    return mask[:, None] * mask[None, :]


def _unit_vectors(template: Template) -> Float[Array, "n n 3"]:
    """Return the directions from residue i to residue j in the backbone frame of i."""
    frames = geometry.backbone_frames(*(template.positions[:, atom] for atom in BACKBONE))
    local = frames.per_atom().apply_inverse(frames.translation[None, :, :])
    return geometry.normalized(local, UNIT_VECTOR_EPSILON)
