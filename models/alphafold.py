"""The whole network: one iteration (trunk, structure module, heads), and its recycling (Suppl. Alg. 2, 30 and 31).

`predict` and `forward` are called inside `hk.transform`:

    network = hk.transform(lambda batch, recycles: alphafold.predict(config, batch, recycles))
    outputs = jax.jit(network.apply)(params, None, batch, recycles)
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from models import evoformer, heads, residue_constants, scaling, structure
from models.config import ModelConfig
from models.shapes import Atom37, Rotation, SeqMask, Translation

Batch = Mapping[str, Array]
Outputs = dict[str, Any]
_Learned = tuple[hk.Params, Array | None]

_CA = residue_constants.ATOM37_ID["CA"]
_CHANGE_EPSILON = 1e-8  # square angstrom


@dataclasses.dataclass
class AlphaFoldIteration(hk.Module):
    """One iteration: trunk, structure module, heads."""

    config: ModelConfig
    remat: bool = False
    name: str | None = "alphafold_iteration"

    @hk.name_like("__call__")
    def embed_templates(self, batch: Batch, *, dropout: bool = False) -> Float[Array, "t c_t n n"]:
        """Return the pair representations of the templates."""
        return evoformer.Evoformer(self.config.evoformer, self.remat).embed_templates(batch, dropout=dropout)

    def __call__(
        self,
        batch: Batch,
        prev: Batch,
        template_pairs: Float[Array, "t c_t n n"] | None = None,
        *,
        dropout: bool = False,
    ) -> Outputs:
        """Return the outputs; see `AlphaFold`."""
        config = self.config
        trunk = evoformer.Evoformer(config.evoformer, self.remat)
        if template_pairs is None and config.evoformer.template is not None:
            template_pairs = trunk.embed_templates(batch, dropout=dropout)
        x = trunk(batch, prev, template_pairs, dropout=dropout)
        outputs = self._read_trunk(x)
        fold = structure.StructureModule(config.structure)
        frames = self._initial_frames(outputs, batch)
        folded = fold(x.single, x.pair, batch["aatype"], batch["seq_mask"], frames, dropout=dropout)
        outputs["structure_module"] = folded
        outputs["predicted_lddt"] = heads.PredictedLddtHead(config.heads)(folded["act"])
        outputs["representations"] = {
            "msa": x.msa,
            "msa_first_row": x.msa[0],
            "pair": x.pair,
            "single": x.single,
        }
        return outputs

    @hk.transparent
    def _read_trunk(self, x: evoformer.Representations) -> Outputs:
        """Return the heads that do not need the structure."""
        config = self.config.heads
        outputs: Outputs = {"distogram": heads.DistogramHead(config)(x.pair)}
        if config.pae_bins:
            outputs["predicted_aligned_error"] = heads.PredictedAlignedErrorHead(config)(x.pair)
        if config.experimentally_resolved:
            outputs["experimentally_resolved"] = heads.ExperimentallyResolvedHead()(x.single)
        if config.masked_msa:
            outputs["masked_msa"] = heads.MaskedMsaHead()(x.msa)
        if config.handedness:
            outputs["handedness"] = heads.HandednessHead()(x.single)
        return outputs

    def _initial_frames(self, outputs: Outputs, batch: Batch) -> tuple[Rotation, Translation] | None:
        """Return the frames that the structure module starts from; None for all at the origin."""
        if self.config.structure.initial_frames == "origin":
            return None
        distogram = outputs["distogram"]
        return scaling.frames_from_distogram(
            distogram["logits"],
            distogram["bin_edges"],
            outputs["handedness"]["sin_cos"],
            batch["residue_index"],
            batch["seq_mask"],
        )


@dataclasses.dataclass
class AlphaFold(hk.Module):
    """The network in the scope of the published parameters.

    Args:
        config: Sizes and switches.
        remat: Whether gradients recompute each block of the trunk: less memory, more time.
    """

    config: ModelConfig
    remat: bool = False
    name: str | None = "alphafold"

    @hk.name_like("__call__")
    def embed_templates(self, batch: Batch, *, dropout: bool = False) -> Float[Array, "t c_t n n"]:
        """Return the pair representations of the templates; they are the same in every iteration."""
        return AlphaFoldIteration(self.config, self.remat).embed_templates(batch, dropout=dropout)

    def __call__(
        self,
        batch: Batch,
        prev: Batch,
        template_pairs: Float[Array, "t c_t n n"] | None = None,
        *,
        dropout: bool = False,
    ) -> Outputs:
        """Run one iteration.

        Args:
            batch: The network's inputs, without a leading axis of iterations.
            prev: The recycled state: `prev_pos` (n, 37, 3), `prev_msa_first_row` (n, c_m), `prev_pair` (c_z, n, n).
            template_pairs: From `embed_templates`; computed here where not given.
            dropout: Whether to drop rows and columns; needs a random key.

        Returns:
            `distogram` (logits, bin_edges), `predicted_lddt`, `predicted_aligned_error`, `experimentally_resolved`,
            `masked_msa`, `handedness` (where configured), `structure_module` (see there) and `representations`
            (`msa`, `msa_first_row`, `pair`, `single`).
        """
        return AlphaFoldIteration(self.config, self.remat)(batch, prev, template_pairs, dropout=dropout)


def initial_state(config: ModelConfig, length: int, dtype: jnp.dtype | type = jnp.float32) -> dict[str, Array]:
    """Return the recycled state of the first iteration: zeros."""
    c_m, c_z = config.evoformer.c_m, config.evoformer.c_z
    return {
        "prev_pos": jnp.zeros((length, len(residue_constants.ATOM37), 3), dtype),
        "prev_msa_first_row": jnp.zeros((length, c_m), dtype),
        "prev_pair": jnp.zeros((c_z, length, length), dtype),
    }


def recycled(outputs: Outputs) -> dict[str, Array]:
    """Return what one iteration hands to the next; no gradient flows through it."""
    state = {
        "prev_pos": outputs["structure_module"]["final_atom_positions"],
        "prev_msa_first_row": outputs["representations"]["msa_first_row"],
        "prev_pair": outputs["representations"]["pair"],
    }
    return jax.lax.stop_gradient(state)


def ca_change(before: Atom37, after: Atom37, seq_mask: SeqMask) -> Float[Array, ""]:
    """Return the root mean square change of the distances between CA atoms, angstrom."""

    def distances(positions: Atom37) -> Float[Array, "n n"]:
        ca = positions[:, _CA]
        return jnp.sqrt(jnp.sum(jnp.square(ca[:, None] - ca[None, :]), axis=-1))

    mask = seq_mask[:, None] * seq_mask[None, :]
    square = jnp.square(distances(after) - distances(before)) * mask
    return jnp.sqrt(jnp.sum(square) / jnp.maximum(jnp.sum(mask), 1.0) + _CHANGE_EPSILON)


class _Recycling(NamedTuple):
    """The network bound to its parameters and to one target's inputs, as pure functions of numbers.

    Args:
        run: From the number of an iteration, what was learned and the recycled state to the outputs.
        learned: All that gradients flow to: the parameters, and the templates' pair representations.
        start: The recycled state of the first iteration.
        iterations: Length of the inputs' axis of iterations.
    """

    run: Callable[[Int[Array, ""], "_Learned", dict[str, Array]], Outputs]
    learned: "_Learned"
    start: dict[str, Array]
    iterations: int


def predict(config: ModelConfig, batch: Batch, recycles: Int[Array, ""] | int) -> Outputs:
    """Run the network with recycling, compiled once for every number of recycles. Not for gradients: see `forward`.

    Args:
        config: The network.
        batch: Its inputs with a leading axis of iterations, at least `recycles` + 1.
        recycles: Iterations after the first.

    Returns:
        The last iteration's outputs (see `AlphaFold`), and `ca_change`, shape (iterations - 1,): the change of the CA
        distances in each recycle, angstrom, 0 for those that did not run.
    """
    x = _bind(config, batch, dropout=False, remat=False)
    seq_mask = batch["seq_mask"][0]
    number = jnp.minimum(jnp.asarray(recycles, jnp.int32), x.iterations - 1)
    first = jnp.zeros((), jnp.int32)
    if hk.running_init():
        return {}  # the parameters are made; nobody sees the outputs

    def iterate(i: Int[Array, ""], carry: tuple[Outputs, Array]) -> tuple[Outputs, Array]:
        before, changes = carry
        outputs = x.run(i, x.learned, recycled(before))
        old, new = (o["structure_module"]["final_atom_positions"] for o in (before, outputs))
        return outputs, changes.at[i].set(ca_change(old, new, seq_mask))

    # The first iteration recycles zeros: so the outputs before it are zeros, and one compiled body serves all.
    before = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(x.run, first, x.learned, x.start))
    changes = jnp.zeros(x.iterations, seq_mask.dtype)
    outputs, changes = jax.lax.fori_loop(0, number + 1, iterate, (before, changes))
    return {**outputs, "ca_change": changes[1:]}


def forward(
    config: ModelConfig, batch: Batch, recycles: Int[Array, ""] | int, *, dropout: bool = False, remat: bool = False
) -> Outputs:
    """Run the network with recycling; gradients flow through the last iteration only, as in training.

    Args:
        config: The network.
        batch: Its inputs with a leading axis of iterations, at least `recycles` + 1.
        recycles: Iterations after the first.
        dropout: Whether to drop rows and columns; needs a random key.
        remat: Whether gradients recompute each block of the trunk: less memory, more time.
    """
    x = _bind(config, batch, dropout=dropout, remat=remat)
    number = jnp.minimum(jnp.asarray(recycles, jnp.int32), x.iterations - 1)
    if hk.running_init():
        return {}
    fixed = jax.lax.stop_gradient(x.learned)
    state = jax.lax.fori_loop(0, number, lambda i, state: recycled(x.run(i, fixed, state)), x.start)
    return x.run(number, x.learned, state)


def _bind(config: ModelConfig, batch: Batch, *, dropout: bool, remat: bool) -> _Recycling:
    """Make the parameters in the current Haiku scope and return the network as pure functions.

    Templates are embedded once, outside the recycling.
    """
    network = hk.transform(lambda batch, prev, pairs: AlphaFold(config, remat)(batch, prev, pairs, dropout=dropout))
    embedding = hk.transform(lambda batch: AlphaFold(config, remat).embed_templates(batch, dropout=dropout))
    first = {name: array[0] for name, array in batch.items()}
    start = initial_state(config, first["aatype"].shape[0], first["msa_feat"].dtype)
    params = hk.transparent_lift(network.init)(hk.next_rng_key() if hk.running_init() else None, first, start, None)
    key = hk.next_rng_key() if dropout else None
    pairs = embedding.apply(params, key, first) if config.evoformer.template is not None else None

    def run(i: Int[Array, ""], learned: _Learned, prev: dict[str, Array]) -> Outputs:
        params, pairs = learned
        one = {name: jax.lax.dynamic_index_in_dim(array, i, keepdims=False) for name, array in batch.items()}
        return network.apply(params, None if key is None else jax.random.fold_in(key, i), one, prev, pairs)

    return _Recycling(run, (params, pairs), start, len(batch["aatype"]))


def example_batch(config: ModelConfig, length: int, iterations: int = 1) -> dict[str, Array]:
    """Return inputs of zeros, with a leading axis of iterations, as for tracing the network's shapes."""
    n, sizes = length, config.input
    shapes: dict[str, tuple[int, ...]] = {
        "seq_mask": (n,),
        "target_feat": (n, 22),
        "msa_feat": (sizes.max_msa_clusters, n, 49),
        "msa_mask": (sizes.max_msa_clusters, n),
    }
    integers: dict[str, tuple[int, ...]] = {"aatype": (n,), "residue_index": (n,)}
    if config.evoformer.extra_msa is not None:
        rows = (sizes.max_extra_msa, n)
        integers["extra_msa"] = rows
        shapes |= dict.fromkeys(("extra_has_deletion", "extra_deletion_value", "extra_msa_mask"), rows)
    if config.evoformer.template is not None:
        rows = (sizes.max_templates, n)
        integers["template_aatype"] = rows
        shapes |= {
            "template_all_atom_positions": (*rows, 37, 3),
            "template_all_atom_masks": (*rows, 37),
            "template_pseudo_beta": (*rows, 3),
            "template_pseudo_beta_mask": rows,
            "template_mask": rows[:1],
        }
    return {name: jnp.zeros((iterations, *shape), jnp.float32) for name, shape in shapes.items()} | {
        name: jnp.zeros((iterations, *shape), jnp.int32) for name, shape in integers.items()
    }
