"""The trunk: embeddings, the extra-MSA stack and the Evoformer stack (Suppl. Alg. 2, 6 and 18)."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from models import embedders, msa, primitives, sequence, templates, triangle
from models.config import BlockConfig, EvoformerConfig, Precision
from models.shapes import Msa, MsaMask, Pair, PairMask, Single

Batch = Mapping[str, Array]


class Representations(NamedTuple):
    """What the trunk hands to the structure module, the heads and the next iteration.

    Args:
        msa: MSA representation without template rows, shape (s, n, c_m).
        msa_first_row: That of the target itself, shape (n, c_m).
        pair: Pair representation, shape (c_z, n, n).
        single: Single representation, shape (n, c_s).
    """

    msa: Msa
    msa_first_row: Single
    pair: Pair
    single: Single


class Activations(NamedTuple):
    """What one block hands to the next."""

    msa: Msa
    pair: Pair


class Masks(NamedTuple):
    """1 where an MSA entry, or both residues of a pair, are real."""

    msa: MsaMask
    pair: PairMask


def block(x: Activations, masks: Masks, config: BlockConfig, *, dropout: bool = False) -> Activations:
    """Apply one Evoformer or extra-MSA block (Alg. 6 and 18)."""
    rows, pair = x
    rows = msa.RowAttention(config.msa_heads)(rows, masks.msa, pair, config.msa_dropout if dropout else 0.0)
    if config.column_attention == "full":
        rows = msa.ColumnAttention(config.msa_heads)(rows, masks.msa)
    elif config.column_attention == "global":
        rows = msa.GlobalColumnAttention(config.msa_heads)(rows, masks.msa)
    rows = msa.MsaTransition(config.msa_transition_factor)(rows)
    pair = msa.OuterProductMean(config.outer_product_channels)(rows, masks.msa, pair)
    return Activations(rows, triangle.update_pair(pair, masks.pair, config, dropout=dropout))


def stack(
    function: Callable[[Activations], Activations], x: Activations, blocks: int, *, name: str, remat: bool
) -> Activations:
    """Apply a block several times, each with parameters of its own, compiled once.

    Args:
        function: The block.
        x: What the first block gets.
        blocks: Number of blocks.
        name: Scope of the parameters, which carry the blocks on their first axis.
        remat: Whether the gradient computes each block again instead of keeping its intermediate results.
    """
    body = hk.remat(function) if remat else function
    return Activations(*hk.layer_stack(blocks, name=name)(lambda msa, pair: tuple(body(Activations(msa, pair))))(*x))


@dataclasses.dataclass
class Evoformer(hk.Module):
    """Make the representations of a target (Alg. 2, lines 5-18).

    Args:
        config: Sizes and switches.
        precision: Of activations and weights here; sums and softmax are never below single precision.
        remat: Whether gradients recompute each block: less memory, more time.
    """

    config: EvoformerConfig
    precision: Precision = "float32"
    remat: bool = False
    name: str | None = "evoformer"

    @hk.name_like("__call__")
    def embed_templates(self, batch: Batch, *, dropout: bool = False) -> Float[Array, "t c_t n n"]:
        """Return the pair representations of the templates; they are the same in every iteration."""
        config = self.config.template
        assert config is not None  # noqa: S101 - the caller asks only where there are templates
        with self._parameters(batch) as dtype:
            embedding = templates.TemplateEmbedding(config, self.config.c_z)
            inputs = templates.Template.from_batch(batch), _pair_mask(batch, dtype)
            embed = functools.partial(embedding.embed, dropout=dropout)
            rows, n = batch["template_aatype"].shape
            zeros = jnp.zeros((rows, config.c_t, n, n), dtype)
            return _where_templates(batch, embed, zeros, *inputs)

    def __call__(
        self,
        batch: Batch,
        prev: Batch,
        template_pairs: Float[Array, "t c_t n n"] | None = None,
        *,
        dropout: bool = False,
    ) -> Representations:
        """Return the representations.

        Args:
            batch: The network's inputs of one iteration.
            prev: The recycled state.
            template_pairs: From `embed_templates`; None for a network without templates.
            dropout: Whether to drop rows and columns; needs a random key.
        """
        config = self.config
        with self._parameters(batch) as dtype:
            masks = Masks(batch["msa_mask"].astype(dtype), _pair_mask(batch, dtype))
            rows, pair = embedders.embed_input(batch, config, dtype)
            if config.sequence is not None:
                rows = rows.at[0].set(sequence.SequenceTrack(config.sequence)(rows[0], batch["seq_mask"]))
            if config.couplings:
                pair = pair + embedders.embed_couplings(batch["couplings"], config, dtype)
            rows, pair = embedders.embed_recycled(rows, pair, prev, batch["aatype"], config)
            pair = pair + embedders.embed_relative_positions(batch["residue_index"], config, dtype)
            if template_pairs is not None:
                pair = self._read_templates(batch, pair, template_pairs)
            pair = self._read_extra_msa(batch, pair, masks.pair, dropout)
            x, masks = self._add_torsion_rows(batch, Activations(rows, pair), masks)
            x = stack(
                lambda x: block(x, masks, config.block, dropout=dropout),
                x,
                config.blocks,
                name="evoformer_iteration",
                remat=self.remat,
            )
            single = primitives.linear(x.msa[0], config.c_s, "single_activations")
        outside = batch["msa_feat"].dtype
        found = Representations(x.msa[: len(rows)], x.msa[0], x.pair, single)
        return jax.tree.map(lambda array: array.astype(outside), found)

    @contextlib.contextmanager
    def _parameters(self, batch: Batch) -> Iterator[jnp.dtype]:
        """Give the type of the activations, and let parameters have it."""
        dtype = batch["msa_feat"].dtype if self.precision == "float32" else jnp.dtype(self.precision)
        with hk.custom_getter(lambda get, value, _: get(value).astype(dtype)):
            yield dtype

    @hk.transparent
    def _read_templates(self, batch: Batch, pair: Pair, template_pairs: Float[Array, "t c_t n n"]) -> Pair:
        """Add what the pairs read from the templates; nothing is computed where there is none."""
        assert self.config.template is not None  # noqa: S101 - there are pairs of templates
        read = templates.TemplateEmbedding(self.config.template, self.config.c_z)
        zeros = jnp.zeros_like(pair)
        return pair + _where_templates(batch, read, zeros, pair, template_pairs, batch["template_mask"])

    @hk.transparent
    def _read_extra_msa(self, batch: Batch, pair: Pair, pair_mask: PairMask, dropout: bool) -> Pair:
        """Run the extra-MSA stack, of which only the pair representation goes on (Alg. 18)."""
        extra = self.config.extra_msa
        if extra is None:
            return pair
        masks = Masks(batch["extra_msa_mask"].astype(pair.dtype), pair_mask)
        x = stack(
            lambda x: block(x, masks, extra.block, dropout=dropout),
            Activations(embedders.embed_extra_msa(batch, extra.c_e, pair.dtype), pair),
            extra.blocks,
            name="extra_msa_stack",
            remat=self.remat,
        )
        return x.pair

    @hk.transparent
    def _add_torsion_rows(self, batch: Batch, x: Activations, masks: Masks) -> tuple[Activations, Masks]:
        """Append the templates' torsions to the MSA."""
        config = self.config.template
        if config is None or not config.embed_torsions:
            return x, masks
        rows, mask = templates.embed_torsions(
            templates.Template.from_batch(batch), config, self.config.c_m, x.msa.dtype
        )
        return (
            Activations(jnp.concatenate([x.msa, rows]), x.pair),
            Masks(jnp.concatenate([masks.msa, mask.astype(masks.msa.dtype)]), masks.pair),
        )


def _where_templates(batch: Batch, function: Callable[..., Array], otherwise: Array, *operands: Any) -> Array:
    """Return what a function makes of its operands where there is any template; else compute nothing."""
    if hk.running_init():  # Haiku wants the parameters of both branches to be the same
        return function(*operands)
    return hk.cond(jnp.any(batch["template_mask"] > 0), function, lambda *_: otherwise, *operands)


def _pair_mask(batch: Batch, dtype: jnp.dtype) -> PairMask:
    """Return which pairs are of real residues."""
    mask = batch["seq_mask"].astype(dtype)
    return mask[:, None] * mask[None, :]
