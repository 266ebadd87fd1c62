"""What a molecular mechanics force field knows of a molecule, as arrays. NumPy only; `force_field` computes with them.

Lengths are in angstrom, energies in kcal/mol, angles in radian, charges in elementary charges.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Bonds(NamedTuple):
    """Harmonic bonds, 0.5 k (d - d0)^2.

    Args:
        atoms: Shape (b, 2).
        length: d0, angstrom, shape (b,).
        stiffness: k, kcal/mol/A^2, shape (b,).
    """

    atoms: Int[np.ndarray, "b 2"]
    length: Float[np.ndarray, " b"]
    stiffness: Float[np.ndarray, " b"]


class Angles(NamedTuple):
    """Harmonic angles, 0.5 k (a - a0)^2.

    Args:
        atoms: The vertex is the second, shape (a, 3).
        angle: a0, radian, shape (a,).
        stiffness: k, kcal/mol/rad^2, shape (a,).
    """

    atoms: Int[np.ndarray, "a 3"]
    angle: Float[np.ndarray, " a"]
    stiffness: Float[np.ndarray, " a"]


class Torsions(NamedTuple):
    """Periodic torsions, proper and improper, k (1 + cos(m t - t0)).

    Args:
        atoms: Shape (t, 4).
        periodicity: m, shape (t,).
        phase: t0, radian, shape (t,).
        stiffness: k, kcal/mol, shape (t,).
    """

    atoms: Int[np.ndarray, "t 4"]
    periodicity: Int[np.ndarray, " t"]
    phase: Float[np.ndarray, " t"]
    stiffness: Float[np.ndarray, " t"]


class Atoms(NamedTuple):
    """What makes pairs of atoms attract and repel that are not close along the bonds.

    Args:
        charge: Elementary charges, shape (n,).
        sigma: Lennard-Jones diameter, angstrom; a pair takes the mean; shape (n,).
        epsilon: Lennard-Jones depth, kcal/mol; a pair takes the geometric mean; shape (n,).
        excluded: Atoms that do not act on an atom in this way, itself among them and repeated to fill, shape (n, e).
    """

    charge: Float[np.ndarray, " n"]
    sigma: Float[np.ndarray, " n"]
    epsilon: Float[np.ndarray, " n"]
    excluded: Int[np.ndarray, "n e"]


class Pairs(NamedTuple):
    """Pairs with parameters of their own: those three bonds apart, whose forces are scaled down.

    Args:
        atoms: Shape (p, 2).
        charges: Product of the charges, scaled, shape (p,).
        sigma: angstrom, shape (p,).
        epsilon: kcal/mol, scaled, shape (p,).
    """

    atoms: Int[np.ndarray, "p 2"]
    charges: Float[np.ndarray, " p"]
    sigma: Float[np.ndarray, " p"]
    epsilon: Float[np.ndarray, " p"]


class Molecule(NamedTuple):
    """Everything the energy of a molecule depends on but its positions."""

    bonds: Bonds
    angles: Angles
    torsions: Torsions
    atoms: Atoms
    pairs: Pairs
