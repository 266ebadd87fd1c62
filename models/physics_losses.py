"""Physics as losses: strain of bonds, angles, planes and chirality, and torsions that are rarely seen.

They are zero or low for structures as they are found, far from which they grow linearly, so that an unfolded start
does not drown the other losses.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from models import stereochemistry, torsion_density
from models.losses import masked_mean
from models.shapes import Aatype, Atom14, Atom14Mask, ResidueIndex

Scalar = Float[Array, ""]


class Densities(NamedTuple):
    """Log densities of torsions on grids, as `torsion_density` reads them.

    Args:
        ramachandran: Of phi and psi, by kind of residue.
        rotamers: Of the side chains' torsions, by residue type.
    """

    ramachandran: Float[Array, "6 cells cells"]
    rotamers: Float[Array, "21 3 cells cells"]


class PhysicsLosses(NamedTuple):
    """Means over the residues that have the term.

    Args:
        strain: Standard deviations by which bonds, angles, planes and chirality are off, the four added up.
        ramachandran: Negative log density of phi and psi, per square radian.
        rotamer: Negative log density of the side chain's torsions, per radian of each.
    """

    strain: Scalar
    ramachandran: Scalar
    rotamer: Scalar


def physics_losses(
    positions: Atom14, mask: Atom14Mask, aatype: Aatype, residue_index: ResidueIndex, densities: Densities
) -> PhysicsLosses:
    """Return the losses of a structure.

    Args:
        positions: Atoms, angstrom.
        mask: 1 for atoms that are there.
        aatype: Residue types.
        residue_index: Numbers of the residues; steps of one are peptide bonds.
        densities: What torsions are usual.
    """
    parts = stereochemistry.energy(positions, mask, aatype, residue_index)
    there = (mask.max(axis=1) > 0).astype(positions.dtype)
    deviation = sum((bounded(part) for part in parts), jnp.zeros_like(there))
    backbone = torsion_density.ramachandran(positions, mask, aatype, residue_index, densities.ramachandran)
    side_chains = torsion_density.rotamers(positions, mask, aatype, densities.rotamers)
    return PhysicsLosses(
        masked_mean(deviation, there),
        masked_mean(-backbone.value, backbone.mask),
        masked_mean(-side_chains.value, side_chains.mask),
    )


def bounded(energy: Array) -> Array:
    """Return a harmonic energy as what grows linearly with the deviation where that is large."""
    return jnp.sqrt(1 + 2 * energy) - 1
