"""AlphaFold 2's structural violations, differentiable: bonds between residues, clashes, distances within residues.

`stereochemistry` has harmonic terms of bonds, angles, planes and chirality, `torsion_density` log densities of
torsions, `force_field` the energy of a molecular mechanics force field.

Positions are atom14 in angstrom. Every term is a function of positions and float masks, and its gradient is finite
wherever atoms coincide. Violation terms are zero inside their tolerance.

Source: Jumper et al. 2021, Suppl. 1.9.11, eq. 44 to 47, with the constants of the published code.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from models import residue_constants as rc
from models.geometry import safe_norm, table
from models.shapes import Aatype, Atom14, Atom14Mask, ResidueIndex

TOLERANCE_FACTOR = 12.0  # standard deviations that bonds and angles may be off
OVERLAP_TOLERANCE = 1.5  # angstrom that van der Waals spheres may overlap
_N, _CA, _C = range(3)  # columns of atom14
_SG = rc.RESIDUE_ATOMS["C"].index("SG")
_BOND_EPSILON = 1e-6  # square angstrom
_PAIR_EPSILON = 1e-10  # square angstrom
_SIGMA_CA_C_N = rc.PEPTIDE_BOND[1]  # the published code has the bond's deviation here; kept, so that numbers agree


class PeptideTerms(NamedTuple):
    """Deviations at the bonds between residues i and i + 1 (n - 1 of them).

    Args:
        bond: C-N length beyond its tolerance, angstrom.
        ca_c_n: Cosine of the angle at C beyond its tolerance.
        c_n_ca: Cosine of the angle at N beyond its tolerance.
        masks: Where each of the three is defined, shape (3, n - 1).
    """

    bond: Float[Array, " b"]
    ca_c_n: Float[Array, " b"]
    c_n_ca: Float[Array, " b"]
    masks: Float[Array, "3 b"]


class Violations(NamedTuple):
    """What is wrong with a structure.

    Args:
        peptide: Means of the three terms between residues, shape (3,): bond, angle at C, angle at N.
        clash_per_atom: Overlaps with atoms of other residues, angstrom, shape (n, 14).
        within_per_atom: Distances within the residue that are too short or too long, angstrom, shape (n, 14).
        broken: 1 where a peptide bond or its angles are off, shape (n,).
        clashing: 1 where an atom clashes with another residue, shape (n,).
        distorted: 1 where a distance within the residue is off, shape (n,).
    """

    peptide: Float[Array, "3"]
    clash_per_atom: Atom14Mask
    within_per_atom: Atom14Mask
    broken: Float[Array, " n"]
    clashing: Float[Array, " n"]
    distorted: Float[Array, " n"]

    @property
    def any(self) -> Float[Array, " n"]:
        """Return 1 for residues with at least one violation."""
        return jnp.maximum(self.broken, jnp.maximum(self.clashing, self.distorted))


def structural_violations(
    positions: Atom14,
    mask: Atom14Mask,
    aatype: Aatype,
    residue_index: ResidueIndex,
    tolerance_factor: float = TOLERANCE_FACTOR,
    overlap_tolerance: float = OVERLAP_TOLERANCE,
) -> Violations:
    """Measure all violations of a structure.

    Args:
        positions: Atoms, angstrom.
        mask: 1 for atoms that are there.
        aatype: Residue types.
        residue_index: Numbers of the residues; steps of one are peptide bonds.
        tolerance_factor: Standard deviations that bonds and angles may be off.
        overlap_tolerance: Angstrom that van der Waals spheres may overlap.
    """
    terms = peptide_terms(positions, mask, aatype, residue_index, tolerance_factor)
    stacked = jnp.stack(terms[:3])
    means = jnp.sum(stacked * terms.masks, axis=1) / (jnp.sum(terms.masks, axis=1) + 1e-6)
    clash = clash_errors(positions, mask, aatype, residue_index, overlap_tolerance)
    within = within_errors(positions, mask, aatype, tolerance_factor, overlap_tolerance)
    return Violations(
        peptide=means,
        clash_per_atom=clash,
        within_per_atom=within,
        broken=_either_side(jnp.max(_flag(stacked * terms.masks), axis=0)),
        clashing=jnp.max(_flag(clash), axis=1),
        distorted=jnp.max(_flag(within), axis=1),
    )


def violation_loss(violations: Violations, mask: Atom14Mask) -> Float[Array, ""]:
    """Return the violation loss (eq. 47): means of the peptide terms, and errors of atoms per atom."""
    per_atom = jnp.sum(violations.clash_per_atom + violations.within_per_atom) / (jnp.sum(mask) + 1e-6)
    return jnp.sum(violations.peptide) + per_atom


def _flag(error: Array) -> Array:
    """Return 1 where an error is beyond its tolerance."""
    return (error > 0).astype(error.dtype)


def _either_side(bonds: Float[Array, " b"]) -> Float[Array, " n"]:
    """Give a flag of bond i to residues i and i + 1."""
    return jnp.maximum(jnp.pad(bonds, (0, 1)), jnp.pad(bonds, (1, 0)))


def _deviation(value: Array, target: Array | float, tolerance: Array | float) -> Array:
    """Return how far a value is from its target beyond the tolerance."""
    return jax.nn.relu(jnp.sqrt(jnp.square(value - target) + _BOND_EPSILON) - tolerance)


def peptide_terms(
    positions: Atom14,
    mask: Atom14Mask,
    aatype: Aatype,
    residue_index: ResidueIndex,
    tolerance_factor: float = TOLERANCE_FACTOR,
) -> PeptideTerms:
    """Measure the bonds between residues (eq. 44 and 45)."""
    ca, c = positions[:-1, _CA], positions[:-1, _C]
    next_n, next_ca = positions[1:, _N], positions[1:, _CA]
    proline = (aatype[1:] == rc.RESTYPE_ID["P"]).astype(positions.dtype)
    length, sigma = (
        usual + proline * (before_proline - usual)
        for usual, before_proline in zip(rc.PEPTIDE_BOND, rc.PEPTIDE_BOND_PROLINE, strict=True)
    )
    bond = safe_norm(next_n - c, _BOND_EPSILON)
    to_n = (next_n - c) / bond[:, None]
    to_ca = (ca - c) / safe_norm(ca - c, _BOND_EPSILON, keepdims=True)
    on = (next_ca - next_n) / safe_norm(next_ca - next_n, _BOND_EPSILON, keepdims=True)
    joined = (residue_index[1:] - residue_index[:-1] == 1).astype(mask.dtype)
    there = joined * mask[:-1, _C] * mask[1:, _N]
    return PeptideTerms(
        _deviation(bond, length, tolerance_factor * sigma),
        _deviation(jnp.sum(to_ca * to_n, -1), rc.COS_CA_C_N[0], tolerance_factor * _SIGMA_CA_C_N),
        _deviation(jnp.sum(-to_n * on, -1), rc.COS_C_N_CA[0], tolerance_factor * rc.COS_C_N_CA[1]),
        jnp.stack([there, there * mask[:-1, _CA], there * mask[1:, _CA]]),
    )


def _pair_distances(positions: Float[Array, "a 3"], weight: Float[Array, " a"]) -> Float[Array, "a a"]:
    """Return all distances, from one matrix product about the weighted centre."""
    centre = jnp.sum(positions * weight[:, None], axis=0) / (jnp.sum(weight) + 1e-6)
    x = positions - jax.lax.stop_gradient(centre)
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    ones = jnp.ones_like(square)
    left, right = jnp.concatenate([-2 * x, square, ones], axis=-1), jnp.concatenate([x, ones, square], axis=-1)
    # the barrier keeps the gradient a product as well; XLA would fuse it with what follows, element by element
    squares = jax.lax.optimization_barrier(jnp.matmul(left, right.T, precision="highest"))
    return jnp.sqrt(jnp.maximum(squares, 0) + _PAIR_EPSILON)


def clash_errors(
    positions: Atom14,
    mask: Atom14Mask,
    aatype: Aatype,
    residue_index: ResidueIndex,
    overlap_tolerance: float = OVERLAP_TOLERANCE,
) -> Atom14Mask:
    """Return the summed overlaps of each atom with atoms of other residues (eq. 46), angstrom.

    The bond from C to the next N and disulfide bonds are no clashes.
    """
    atoms = positions.shape[0] * 14
    radius = (table(rc.ATOM14_RADIUS, aatype, positions.dtype)).reshape(-1)
    there = mask.reshape(-1)
    index, column = jnp.repeat(residue_index, 14), jnp.tile(jnp.arange(14), positions.shape[0])
    step = index[None, :] - index[:, None]
    peptide = (step == 1) & (column == _C)[:, None] & (column == _N)[None, :]
    sulphur = (column == _SG) & (jnp.repeat(aatype, 14) == rc.RESTYPE_ID["C"])
    allowed = (step > 0) & ~peptide & ~(sulphur[:, None] & sulphur[None, :])
    weight = allowed * there[:, None] * there[None, :]
    lowest = radius[:, None] + radius[None, :] - overlap_tolerance
    error = weight * jax.nn.relu(lowest - _pair_distances(positions.reshape(atoms, 3), there))
    return (jnp.sum(error, axis=0) + jnp.sum(error, axis=1)).reshape(-1, 14)


def within_errors(
    positions: Atom14,
    mask: Atom14Mask,
    aatype: Aatype,
    tolerance_factor: float = TOLERANCE_FACTOR,
    overlap_tolerance: float = OVERLAP_TOLERANCE,
) -> Atom14Mask:
    """Return for each atom by how much its distances within the residue leave their bounds (eq. 46), angstrom.

    Each pair counts for both of its atoms, and in both orders.
    """
    lower, upper = (
        table(bound, aatype, positions.dtype) for bound in rc.distance_bounds(overlap_tolerance, tolerance_factor)
    )
    distance = safe_norm(positions[:, :, None] - positions[:, None, :], _PAIR_EPSILON)
    weight = mask[:, :, None] * mask[:, None, :] * (1 - jnp.eye(14, dtype=mask.dtype))
    error = weight * (jax.nn.relu(lower - distance) + jax.nn.relu(distance - upper))
    return 2 * jnp.sum(error, axis=1)
