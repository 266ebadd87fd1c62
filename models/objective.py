"""What a network is trained for: the weighted sum of the losses (Suppl. 1.9).

The batch holds the truth: `all_atom_positions` (n, 37, 3), angstrom, `all_atom_mask` (n, 37), and for the heads of
hydrogen bonds and secondary structure `bonded` (n,) and `secondary_structure` (n,), see their losses.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from models import geometry, losses, physics, physics_losses
from models import residue_constants as rc
from models.config import ModelConfig
from models.geometry import Rigid, table

Scalar = Float[Array, ""]

_CA = rc.ATOM37_ID["CA"]


@dataclasses.dataclass(frozen=True)
class LossWeights:
    """Weights of the terms (eq. 7); a term whose weight is 0 counts for nothing.

    Args:
        unclamped: Share of the backbone FAPE that is not clamped (AlphaFold 2: one chain in ten).
        violation: AlphaFold 2 has 0 in training and 1 in fine-tuning. May be an array: then 0 costs nothing either.
        experimentally_resolved: AlphaFold 2 has 0 in training and 0.01 in fine-tuning.
        handedness, torsion_bins, secondary_structure, hydrogen_bonds: Our own heads.
        strain, ramachandran, rotamer: Our own (`physics_losses`); may be arrays, and cost nothing where all are 0.
    """

    backbone_fape: float = 0.5
    side_chain_fape: float = 0.5
    unclamped: float = 0.1
    torsion: float = 0.5
    angle_norm: float = 0.01
    distogram: float = 0.3
    masked_msa: float = 2.0
    plddt: float = 0.01
    pae: float = 0.1
    experimentally_resolved: float = 0.01
    violation: float | Array = 0.0
    handedness: float = 0.1
    torsion_bins: float = 0.1
    secondary_structure: float = 0.1
    hydrogen_bonds: float = 0.1
    strain: float | Array = 0.0
    ramachandran: float | Array = 0.0
    rotamer: float | Array = 0.0


def total(
    outputs: Mapping[str, Any],
    batch: Mapping[str, Array],
    config: ModelConfig,
    weights: LossWeights,
    densities: physics_losses.Densities | None = None,
) -> tuple[Scalar, dict[str, Scalar]]:
    """Return the weighted sum of the losses, and each term unweighted together with the sum as `loss`.

    Args:
        outputs: What the network returns; terms of heads that it lacks are left out.
        batch: What the network read, with `all_atom_positions` and `all_atom_mask`.
        config: The network.
        weights: Weights of the terms.
        densities: Of torsions, for the terms of physics; without them these are left out.
    """
    aatype, seq_mask = batch["aatype"], batch["seq_mask"]
    positions = batch["all_atom_positions"]
    mask = batch["all_atom_mask"].astype(positions.dtype) * seq_mask[:, None]
    truth = losses.truth_of(aatype, batch["residue_index"], positions, mask)
    terms = _structure_terms(outputs["structure_module"], batch, truth, weights)
    if densities is not None:
        terms |= _physics_terms(outputs["structure_module"], batch, weights, densities)
    terms |= _head_terms(outputs, batch, config, truth, positions, mask)
    loss = sum((getattr(weights, name) * value for name, value in terms.items()), jnp.zeros(()))
    return loss, {**terms, "loss": loss}


def _structure_terms(
    structure: Mapping[str, Any], batch: Mapping[str, Array], truth: losses.Truth, weights: LossWeights
) -> dict[str, Scalar]:
    """Return the terms of the structure module."""
    aatype, side_chains = batch["aatype"], structure["sidechains"]
    atoms, exists = structure["final_atom14_positions"], structure["final_atom14_mask"]
    trajectory = Rigid(structure["rotations"], structure["translations"])
    terms = {
        "backbone_fape": losses.backbone_fape(trajectory, truth, weights.unclamped)[0],
        "side_chain_fape": losses.side_chain_fape(side_chains["frames"], atoms, losses.rename(aatype, truth, atoms)),
        "torsion": losses.torsion_loss(side_chains["angles_sin_cos"], truth.torsions),
        "angle_norm": losses.angle_norm_loss(side_chains["unnormalized_angles_sin_cos"], batch["seq_mask"]),
    }

    def violation() -> Scalar:
        found = physics.structural_violations(atoms, exists, aatype, batch["residue_index"])
        return physics.violation_loss(found, exists)

    wanted = jnp.asarray(weights.violation) > 0
    return terms | {"violation": jax.lax.cond(wanted, violation, lambda: jnp.zeros((), atoms.dtype))}


def _physics_terms(
    structure: Mapping[str, Any],
    batch: Mapping[str, Array],
    weights: LossWeights,
    densities: physics_losses.Densities,
) -> dict[str, Scalar]:
    atoms, exists = structure["final_atom14_positions"], structure["final_atom14_mask"]

    def found() -> physics_losses.PhysicsLosses:
        return physics_losses.physics_losses(atoms, exists, batch["aatype"], batch["residue_index"], densities)

    def nothing() -> physics_losses.PhysicsLosses:
        return physics_losses.PhysicsLosses(*[jnp.zeros((), atoms.dtype)] * 3)

    wanted = jnp.asarray(weights.strain + weights.ramachandran + weights.rotamer) > 0
    return jax.lax.cond(wanted, found, nothing)._asdict()


def _head_terms(
    outputs: Mapping[str, Any],
    batch: Mapping[str, Array],
    config: ModelConfig,
    truth: losses.Truth,
    positions: Array,
    mask: Array,
) -> dict[str, Scalar]:
    """Return the terms of those heads that are there."""
    structure, ca, ca_mask = outputs["structure_module"], positions[:, _CA], mask[:, _CA]
    beta = geometry.pseudo_beta(batch["aatype"], positions, mask)
    points = (ca, ca_mask) if config.heads.distogram_atom == "ca" else beta
    last = Rigid(structure["rotations"][-1], structure["translations"][-1])
    exists = table(rc.ATOM37_MASK, batch["aatype"], mask.dtype) * batch["seq_mask"][:, None]
    terms = {
        "distogram": lambda head: losses.distogram_loss(head["logits"], head["bin_edges"], *points),
        "predicted_lddt": lambda head: losses.plddt_loss(head["logits"], last.translation, ca, ca_mask),
        "predicted_aligned_error": lambda head: losses.pae_loss(head["logits"], head["bin_edges"], last, truth),
        "masked_msa": lambda head: losses.masked_msa_loss(head["logits"], batch["true_msa"], batch["bert_mask"]),
        "experimentally_resolved": lambda head: losses.experimentally_resolved_loss(head["logits"], mask, exists),
        "handedness": lambda head: losses.handedness_loss(head["sin_cos"], ca, ca_mask, batch["residue_index"]),
        "torsions": lambda head: losses.torsion_bins_loss(head["logits"], truth.torsions),
        "secondary_structure": lambda head: losses.secondary_structure_loss(
            head["logits"], batch["secondary_structure"]
        ),
        "hydrogen_bonds": lambda head: losses.hydrogen_bond_loss(head["logits"], batch["bonded"], batch["seq_mask"]),
    }
    names = {"predicted_lddt": "plddt", "predicted_aligned_error": "pae", "torsions": "torsion_bins"}
    return {names.get(name, name): term(outputs[name]) for name, term in terms.items() if name in outputs}
