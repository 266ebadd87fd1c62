"""The energy of an Amber force field as a differentiable function of positions.

Pairs of atoms can be given a soft core, so that atoms may stand on one another; at softness 0 it is the energy that
OpenMM gives to the same parameters. Positions are in angstrom, with hydrogens; energies in kcal/mol.

Source: Maier et al. 2015, J. Chem. Theory Comput. 11, 3696 (ff14SB); Beutler et al. 1994, Chem. Phys. Lett. 222, 529
(soft core).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from models.geometry import dihedral_angle, safe_norm
from models.molecule import Angles, Atoms, Bonds, Molecule, Pairs, Torsions

COULOMB = 332.0637130  # kcal/mol A/e^2: 1 / (4 pi epsilon_0)
SOFT_LENNARD_JONES = 0.5  # of sigma^6, added to r^6 at softness 1
SOFT_COULOMB = 4.0  # square angstrom, added to r^2 at softness 1
_EPSILON_2, _EPSILON_6 = 1e-8, 1e-8  # A^2, A^6: gradients stay finite where atoms coincide, in single precision too
_EPSILON_SINE = 1e-16  # A^4: a larger one would be felt at angles of almost 180 degrees
_ROWS = 128  # atoms whose pairs with all others are held in memory at a time


class Energy(NamedTuple):
    """Terms of the energy, kcal/mol."""

    bond: Float[Array, ""]
    angle: Float[Array, ""]
    torsion: Float[Array, ""]
    lennard_jones: Float[Array, ""]
    coulomb: Float[Array, ""]

    @property
    def total(self) -> Float[Array, ""]:
        """Return the sum of the terms."""
        return sum(self, jnp.zeros_like(self.bond))


def energy(positions: Float[Array, "n 3"], molecule: Molecule, softness: float | Array = 0.0) -> Energy:
    """Return the energy of a molecule in vacuum, without cutoff.

    Atoms nearer than 0.2 angstrom repel a little less than they should: their energy is finite, and so is its gradient.

    Args:
        positions: All atoms, hydrogens too, angstrom.
        molecule: Parameters of the force field.
        softness: Of the core of each pair: 0 is none; at 1 atoms pass through one another.
    """
    lennard_jones, coulomb = _all_pairs(positions, molecule.atoms, softness)
    near_lennard_jones, near_coulomb = _listed_pairs(positions, molecule.pairs, softness)
    return Energy(
        bond=_bonds(positions, molecule.bonds),
        angle=_angles(positions, molecule.angles),
        torsion=_torsions(positions, molecule.torsions),
        lennard_jones=lennard_jones + near_lennard_jones,
        coulomb=coulomb + near_coulomb,
    )


def energy_and_forces(
    positions: Float[Array, "n 3"], molecule: Molecule, softness: float | Array = 0.0
) -> tuple[Float[Array, ""], Float[Array, "n 3"]]:
    """Return the total energy (kcal/mol) and the forces, the negative of its gradient (kcal/mol/A)."""
    total, gradient = jax.value_and_grad(lambda x: energy(x, molecule, softness).total)(positions)
    return total, -gradient


def _bonds(x: Float[Array, "n 3"], bonds: Bonds) -> Float[Array, ""]:
    first, second = x[bonds.atoms[:, 0]], x[bonds.atoms[:, 1]]
    return 0.5 * jnp.sum(bonds.stiffness * jnp.square(safe_norm(first - second) - bonds.length))


def _angles(x: Float[Array, "n 3"], angles: Angles) -> Float[Array, ""]:
    first, vertex, second = (x[angles.atoms[:, k]] for k in range(3))
    left, right = first - vertex, second - vertex
    # atan2 of |a x b| and a.b is well behaved at 0 and 180 degrees, where the arc cosine is not
    angle = jnp.arctan2(safe_norm(jnp.cross(left, right), _EPSILON_SINE), jnp.sum(left * right, axis=-1))
    return 0.5 * jnp.sum(angles.stiffness * jnp.square(angle - angles.angle))


def _torsions(x: Float[Array, "n 3"], torsions: Torsions) -> Float[Array, ""]:
    angle = dihedral_angle(x[torsions.atoms])
    return jnp.sum(torsions.stiffness * (1 + jnp.cos(torsions.periodicity * angle - torsions.phase)))


def _all_pairs(x: Float[Array, "n 3"], atoms: Atoms, softness: float | Array) -> tuple[Array, Array]:
    """Sum Lennard-Jones and Coulomb energies over all pairs that are not excluded."""
    n = len(x)
    size = min(_ROWS, n)
    charge, sigma, depth, excluded = (jnp.asarray(part) for part in (*atoms[:2], atoms.epsilon**0.5, atoms.excluded))

    @jax.checkpoint
    def block(rows: Int[Array, " rows"]) -> tuple[Array, Array]:
        there = jnp.ones((size, n), bool).at[jnp.arange(size)[:, None], excluded[rows]].set(False)
        there &= (rows < n)[:, None]
        # axis by axis: a sum over a trailing axis of three would not be vectorised
        square = sum(jnp.square(x[rows, axis][:, None] - x[None, :, axis]) for axis in range(3))
        lennard_jones, coulomb = _pair_energies(
            jnp.where(there, square, 1),
            charge[rows, None] * charge[None, :],
            0.5 * (sigma[rows, None] + sigma[None, :]),
            depth[rows, None] * depth[None, :],
            softness,
        )
        return jnp.sum(jnp.where(there, lennard_jones, 0)), jnp.sum(jnp.where(there, coulomb, 0))

    blocks = jnp.arange(-(-n // size) * size).reshape(-1, size)  # rows beyond n read the last atom and count nothing
    lennard_jones, coulomb = jax.lax.map(block, blocks)
    return 0.5 * jnp.sum(lennard_jones), 0.5 * jnp.sum(coulomb)  # each pair was met from both of its ends


def _listed_pairs(x: Float[Array, "n 3"], pairs: Pairs, softness: float | Array) -> tuple[Array, Array]:
    square = jnp.sum(jnp.square(x[pairs.atoms[:, 0]] - x[pairs.atoms[:, 1]]), axis=-1)
    charges, sigma, epsilon = (jnp.asarray(part) for part in pairs[1:])
    lennard_jones, coulomb = _pair_energies(square, charges, sigma, epsilon, softness)
    return jnp.sum(lennard_jones), jnp.sum(coulomb)


def _pair_energies(
    square: Array, charges: Array, sigma: Array, epsilon: Array, softness: float | Array
) -> tuple[Array, Array]:
    """Return Lennard-Jones and Coulomb energies of pairs by the squares of their distances."""
    sigma_6 = sigma**6
    ratio = sigma_6 / (square**3 + SOFT_LENNARD_JONES * softness * sigma_6 + _EPSILON_6)
    coulomb = COULOMB * charges * jax.lax.rsqrt(square + SOFT_COULOMB * softness + _EPSILON_2)
    return 4 * epsilon * (jnp.square(ratio) - ratio), coulomb
