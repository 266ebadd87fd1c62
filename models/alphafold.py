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

from models import (
    distogram_frames,
    evoformer,
    guidance,
    heads,
    hydrogen_bonds,
    residue_constants,
    structure,
    template_frames,
    templates,
)
from models.config import GuidanceConfig, ModelConfig
from models.evoformer import Representations
from models.geometry import Rigid
from models.physics_losses import Densities
from models.shapes import Aatype, Atom37, Rotation, SeqMask, Translation

Batch = Mapping[str, Array]
Outputs = dict[str, Any]

_CA = residue_constants.ATOM37_ID["CA"]
_GLYCINE = residue_constants.RESTYPE_ID["G"]
_CHANGE_EPSILON = 1e-8  # square angstrom


@dataclasses.dataclass
class AlphaFoldIteration(hk.Module):
    """One iteration: trunk, structure module, heads. `iteration` makes it in the scope of the published parameters.

    Args:
        config: Sizes and switches.
        remat: Whether gradients recompute each block of the trunk: less memory, more time.
    """

    config: ModelConfig
    remat: bool = False
    name: str | None = "alphafold_iteration"

    def __call__(self, batch: Batch, prev: Batch) -> Outputs:
        """Run one iteration.

        Args:
            batch: The network's inputs, without a leading axis of samples.
            prev: The recycled state: `prev_pos` (n, 37, 3), `prev_msa_first_row` (n, c_m), `prev_pair` (c_z, n, n).

        Returns:
            See `read`.
        """
        pairs = self.embed_templates(batch) if self.config.evoformer.template is not None else None
        x = self.represent(batch, prev, pairs)
        return self.read(x, self.fold(x, batch))

    @hk.name_like("__call__")
    def embed_templates(self, batch: Batch, *, dropout: bool = False) -> Float[Array, "t c_t n n"]:
        """Return the pair representations of the templates; they are the same in every iteration."""
        return self._trunk().embed_templates(batch, dropout=dropout)

    @hk.name_like("__call__")
    def represent(
        self, batch: Batch, prev: Batch, template_pairs: Float[Array, "t c_t n n"] | None, *, dropout: bool = False
    ) -> Representations:
        """Return what the trunk makes of the inputs, the recycled state and the templates."""
        return self._trunk()(batch, prev, template_pairs, dropout=dropout)

    @hk.name_like("__call__")
    def fold(self, x: Representations, batch: Batch, *, dropout: bool = False) -> Outputs:
        """Return what the structure module makes of the representations."""
        module, frames = structure.StructureModule(self.config.structure), self._initial_frames(x, batch)
        return module(x.single, x.pair, batch["aatype"], batch["seq_mask"], frames, dropout=dropout)

    @hk.name_like("__call__")
    def read(self, x: Representations, folded: Outputs) -> Outputs:
        """Return what the heads make of representations and structure.

        Returns:
            `distogram` (logits, bin_edges), `predicted_lddt`, `predicted_aligned_error`, `experimentally_resolved`,
            `masked_msa`, `handedness`, `torsions`, `secondary_structure`, `hydrogen_bonds` (where configured),
            `structure_module` (see there) and `representations` (`msa`, `msa_first_row`, `pair`, `single`).
        """
        config = self.config.heads
        outputs: Outputs = {
            "structure_module": folded,
            "representations": x._asdict(),
            "distogram": heads.DistogramHead(config)(x.pair),
            "predicted_lddt": heads.PredictedLddtHead(config)(folded["act"]),
        }
        if config.pae_bins:
            outputs["predicted_aligned_error"] = heads.PredictedAlignedErrorHead(config)(x.pair)
        if config.experimentally_resolved:
            outputs["experimentally_resolved"] = heads.ExperimentallyResolvedHead()(x.single)
        if config.masked_msa:
            outputs["masked_msa"] = heads.MaskedMsaHead()(x.msa)
        if config.handedness:
            outputs["handedness"] = heads.HandednessHead()(x.single)
        if config.torsion_bins:
            outputs["torsions"] = heads.TorsionHead(config)(x.single)
        if config.secondary_structure:
            outputs["secondary_structure"] = heads.SecondaryStructureHead()(x.single)
        if config.hydrogen_bonds:
            outputs["hydrogen_bonds"] = heads.HydrogenBondHead()(x.pair)
        return outputs

    @hk.transparent
    def _trunk(self) -> evoformer.Evoformer:
        return evoformer.Evoformer(self.config.evoformer, self.config.precision, self.remat)

    @hk.transparent
    def _initial_frames(self, x: Representations, batch: Batch) -> tuple[Rotation, Translation] | None:
        """Return the frames that the structure module starts from; None for all at the origin."""
        if self.config.structure.initial_frames == "origin":
            return None
        distogram = heads.DistogramHead(self.config.heads)(x.pair)
        handedness = heads.HandednessHead()(x.single)["sin_cos"]
        distances = distogram["logits"], distogram["bin_edges"]
        belief = distogram_frames.Belief(*distances, handedness, batch["residue_index"], batch["seq_mask"])
        if self.config.structure.initial_frames == "distogram":
            return distogram_frames.frames_from_distogram(belief)
        template = templates.Template.from_batch(batch)
        scaffold = template_frames.scaffold_of(template, batch["template_mask"], batch["seq_mask"])
        return template_frames.frames_from_templates(belief, scaffold)


def iteration(config: ModelConfig, *, remat: bool = False) -> AlphaFoldIteration:
    """Return the network in the scope of the published parameters."""
    with hk.name_scope("alphafold"):
        return AlphaFoldIteration(config, remat)


def initial_state(config: ModelConfig, length: int, dtype: jnp.dtype | type = jnp.float32) -> dict[str, Array]:
    """Return the recycled state of the first iteration: zeros."""
    c_m, c_z = config.evoformer.c_m, config.evoformer.c_z
    return {
        "prev_pos": jnp.zeros((length, len(residue_constants.ATOM37), 3), dtype),
        "prev_msa_first_row": jnp.zeros((length, c_m), dtype),
        "prev_pair": jnp.zeros((c_z, length, length), dtype),
    }


def recycled(x: Representations, folded: Outputs) -> dict[str, Array]:
    """Return what one iteration hands to the next; no gradient flows through it."""
    state = {
        "prev_pos": folded["final_atom_positions"],
        "prev_msa_first_row": x.msa_first_row,
        "prev_pair": x.pair,
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


def predict(
    config: ModelConfig,
    batch: Batch,
    recycles: Int[Array, ""] | int,
    *,
    tolerance: Float[Array, ""] | float = 0.0,
    ensemble: int = 1,
    dropout: bool = False,
) -> Outputs:
    """Run the network with recycling, compiled once for every number of recycles. Not for gradients: see `forward`.

    Args:
        config: The network.
        batch: Its inputs with a leading axis of samples, at least (`recycles` + 1) x `ensemble`.
        recycles: Iterations after the first.
        tolerance: Recycling ends early where the CA distances change by less than this, angstrom.
        ensemble: Samples whose representations are averaged in each iteration (Suppl. 1.11.2).
        dropout: Whether to drop rows and columns, for results that differ with the random key.

    Returns:
        The last iteration's outputs (see `AlphaFoldIteration.read`); `ca_change`, shape (iterations - 1,): the change
        of the CA distances in each recycle, angstrom, 0 for those that did not run; `recycles`: how many ran.
    """
    x = _bind(config, batch, ensemble=ensemble, dropout=dropout)
    seq_mask = batch["seq_mask"][0]
    number = jnp.minimum(jnp.asarray(recycles, jnp.int32), x.iterations - 1)
    if hk.running_init():
        return {}  # the parameters are made; nobody sees the outputs

    def goes_on(carry: _Progress) -> Array:
        settled = (carry.done > 1) & (carry.changes[carry.done - 1] < tolerance)
        return (carry.done <= number) & ~settled

    def iterate(carry: _Progress) -> _Progress:
        prev = recycled(carry.representations, carry.folded)
        representations, folded = x.run(carry.done, x.learned, prev)
        change = ca_change(prev["prev_pos"], folded["final_atom_positions"], seq_mask)
        return _Progress(carry.done + 1, representations, folded, carry.changes.at[carry.done].set(change))

    # The first iteration recycles zeros: so the results before it are zeros, and one compiled body serves all.
    first = jnp.zeros((), jnp.int32)
    shapes = jax.eval_shape(x.run, first, x.learned, initial_state(config, len(seq_mask), seq_mask.dtype))
    nothing, unfolded = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    start = _Progress(first, nothing, unfolded, jnp.zeros(x.iterations, seq_mask.dtype))
    end = jax.lax.while_loop(goes_on, iterate, start)
    outputs = x.read(x.learned, end.representations, end.folded)
    return {**outputs, "ca_change": end.changes[1:], "recycles": end.done - 1}


def finished(config: ModelConfig, batch: Batch, outputs: Outputs, densities: Densities | None) -> Outputs:
    """Return the outputs of `predict` with the final structure: guided, where the network has it so.

    Unknown residues, of which the structure module places no atom, have the backbone of their frames.

    Args:
        config: The network.
        batch: Its inputs, as for `predict`.
        outputs: Of `predict`.
        densities: What torsions are usual; guidance needs them.
    """
    folded, seq_mask = outputs["structure_module"], batch["seq_mask"][0]
    aatype = jnp.where(batch["aatype"][0] == residue_constants.UNKNOWN, _GLYCINE, batch["aatype"][0])
    frames = Rigid(folded["rotations"][-1], folded["translations"][-1])
    fold = guidance.Fold(frames, folded["sidechains"]["angles_sin_cos"][-1])
    if config.guidance is not None and densities is not None:
        fold = guidance.guide(fold, _chain(batch, aatype, outputs, config.guidance), densities, config.guidance)
    _, atom14 = structure.place_atoms(aatype, *fold)
    return {**outputs, "structure_module": {**folded, **structure.final_atoms(aatype, seq_mask, atom14)}}


def _chain(batch: Batch, aatype: Aatype, outputs: Outputs, config: GuidanceConfig) -> guidance.Chain:
    """Return the residues with what the network expects of them."""
    logits = outputs["predicted_lddt"]["logits"]
    bins = logits.shape[-1]
    residue_index, seq_mask = batch["residue_index"][0], batch["seq_mask"][0]
    torsions = bonds = strand = None
    if "torsions" in outputs:
        torsions = heads.torsion_log_densities(outputs["torsions"]["logits"])
    if "hydrogen_bonds" in outputs:
        gives = hydrogen_bonds.giving(aatype, residue_index, seq_mask)
        bonds = hydrogen_bonds.expected(outputs["hydrogen_bonds"]["logits"], gives, seq_mask, config.partners)
    if "secondary_structure" in outputs:
        strand = jax.nn.softmax(outputs["secondary_structure"]["logits"])[:, heads.STRAND]
    plddt = jax.nn.softmax(logits) @ ((jnp.arange(bins) + 0.5) / bins)
    return guidance.Chain(aatype, residue_index, seq_mask, plddt, torsions, bonds, strand)


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
    fixed, seq_mask = jax.lax.stop_gradient(x.learned), batch["seq_mask"][0]
    start = initial_state(config, len(seq_mask), seq_mask.dtype)
    state = jax.lax.fori_loop(0, number, lambda i, state: recycled(*x.run(i, fixed, state)), start)
    return x.read(x.learned, *x.run(number, x.learned, state))


class _Progress(NamedTuple):
    """What one iteration of `predict` hands to the next: iterations done, their last results, all changes of CA."""

    done: Int[Array, ""]
    representations: Representations
    folded: Outputs
    changes: Float[Array, " iterations"]


class _Learned(NamedTuple):
    """All that gradients flow to: the parameters, and the templates' pair representations."""

    params: hk.Params
    template_pairs: Array | None


class _Bound(NamedTuple):
    """The network bound to one target's inputs, as pure functions of numbers.

    Args:
        run: From the number of an iteration, what was learned and the recycled state to representations and structure.
        read: From what was learned, representations and structure to the outputs.
        learned: The parameters and the templates.
        iterations: How many the inputs last for.
    """

    run: Callable[[Int[Array, ""], _Learned, Batch], tuple[Representations, Outputs]]
    read: Callable[[_Learned, Representations, Outputs], Outputs]
    learned: _Learned
    iterations: int


def _bind(config: ModelConfig, batch: Batch, *, ensemble: int = 1, dropout: bool, remat: bool = False) -> _Bound:
    """Make the parameters in the current Haiku scope and return the network as pure functions.

    Templates are embedded once, outside the recycling.
    """

    def pure(step: Callable[..., Any]) -> Callable[..., Any]:
        return hk.transform(lambda *arguments: step(iteration(config, remat=remat), *arguments)).apply

    embed = pure(lambda x, batch: x.embed_templates(batch, dropout=dropout))
    represent = pure(lambda x, *arguments: x.represent(*arguments, dropout=dropout))
    fold = pure(lambda x, *arguments: x.fold(*arguments, dropout=dropout))
    read = pure(lambda x, *arguments: x.read(*arguments))

    def sample(i: Int[Array, ""] | int) -> dict[str, Array]:
        return {name: jax.lax.dynamic_index_in_dim(array, i, keepdims=False) for name, array in batch.items()}

    network = hk.transform(lambda batch, prev: iteration(config)(batch, prev))  # noqa: PLW0108 - a module
    start = initial_state(config, batch["aatype"].shape[1], batch["msa_feat"].dtype)
    params = hk.transparent_lift(network.init)(hk.next_rng_key() if hk.running_init() else None, sample(0), start)
    key = hk.next_rng_key() if dropout else None
    pairs = embed(params, key, sample(0)) if config.evoformer.template is not None else None

    def run(i: Int[Array, ""], learned: _Learned, prev: Batch) -> tuple[Representations, Outputs]:
        def of_sample(k: Int[Array, ""] | int) -> Representations:
            own = None if key is None else jax.random.fold_in(key, k)
            return represent(learned.params, own, sample(k), prev, learned.template_pairs)

        x = _mean(of_sample, i * ensemble, ensemble)
        own = None if key is None else jax.random.fold_in(key, -1 - i)
        return x, fold(learned.params, own, x, sample(i * ensemble))

    return _Bound(
        run,
        lambda learned, *x: read(learned.params, None, *x),
        _Learned(params, pairs),
        len(batch["aatype"]) // ensemble,
    )


def _mean(of_sample: Callable[..., Representations], first: Int[Array, ""], number: int) -> Representations:
    """Return the mean representations of several samples; the MSA, whose rows differ, is the first sample's."""
    x = of_sample(first)
    if number == 1:
        return x

    def add(k: Int[Array, ""], total: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(a + b for a, b in zip(total, of_sample(first + k)[1:], strict=True))

    return Representations(x.msa, *(a / number for a in jax.lax.fori_loop(1, number, add, tuple(x[1:]))))


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
    if config.evoformer.couplings:
        shapes["couplings"] = (n, n)
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
