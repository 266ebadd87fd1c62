"""Differentiable stereochemistry of all heavy atoms: harmonic energies of bonds, angles, planes and chirality.

Positions are atom14 in angstrom. Every energy is half the square of a deviation in standard deviations, so that terms
can be added; gradients are finite wherever atoms coincide.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from models import residue_constants as rc
from models.geometry import dihedral_angle, safe_norm, table
from models.shapes import Aatype, Atom14, Atom14Mask, ResidueIndex

_N, _CA, _C, _O = range(4)  # columns of atom14
_PLANE_SIGMA = 0.02  # angstrom, of an atom over the plane of others; as refinement programs restrain planes
_OMEGA_SIGMA = np.deg2rad(5.8)  # Morris et al. 1992, Proteins 12, 345
_VOLUME_SIGMA = 0.15  # cubic angstrom; about what the deviations of three angles at one atom amount to
# Three atoms of a plane, and those that lie in it too.
_PLANES = {
    "R": (("NE NH1 NH2", "CZ CD"),),
    "N": (("CB OD1 ND2", "CG"),),
    "D": (("CB OD1 OD2", "CG"),),
    "Q": (("CG OE1 NE2", "CD"),),
    "E": (("CG OE1 OE2", "CD"),),
    "H": (("CG CE1 CD2", "CB ND1 NE2"),),
    "F": (("CG CE1 CE2", "CB CD1 CD2 CZ"),),
    "W": (("CD1 CE3 CZ2", "CB CG CD2 NE1 CE2 CZ3 CH2"),),
    "Y": (("CG CE1 CE2", "CB CD1 CD2 CZ OH"),),
}
# A centre beyond CA with three neighbours that are told apart, or are by name; the first lies towards CA.
_CENTRES = {"I": "CB CA CG1 CG2", "T": "CB CA OG1 CG2", "V": "CB CA CG1 CG2", "L": "CG CB CD1 CD2"}


class Entries(NamedTuple):
    """What is measured in each residue type: of which atoms, and what it should be.

    Args:
        columns: Of atom14, shape (21, entries, atoms).
        mean: angstrom, radian or cubic angstrom, shape (21, entries).
        sigma: Standard deviation; 0 where the residue type has no such entry, shape (21, entries).
    """

    columns: np.ndarray
    mean: np.ndarray
    sigma: np.ndarray


def _entries(by_letter: dict[str, list[tuple[tuple[str, ...], float, float]]]) -> Entries:
    """Return entries (atoms, mean, sigma) of each residue type as arrays of the largest number."""
    most = max(map(len, by_letter.values()))
    atoms = len(next(entries[0][0] for entries in by_letter.values() if entries))
    columns, values = np.zeros((21, most, atoms), np.int32), np.zeros((21, most, 2))
    for letter, entries in by_letter.items():
        for k, (names, *numbers) in enumerate(entries):
            columns[rc.RESTYPE_ID[letter], k] = [rc.RESIDUE_ATOMS[letter].index(name) for name in names]
            values[rc.RESTYPE_ID[letter], k] = numbers
    return Entries(columns, values[..., 0], values[..., 1])


def _tabulated(source: dict[str, tuple[tuple[str, float, float], ...]], unit: float) -> Entries:
    return _entries(
        {
            letter: [(tuple(atoms.split("-")), mean * unit, sigma * unit) for atoms, mean, sigma in source[letter]]
            for letter in rc.RESTYPES
        }
    )


def _planes() -> Entries:
    return _entries(
        {
            letter: [((*plane.split(), atom), 0.0, _PLANE_SIGMA) for plane, others in planes for atom in others.split()]
            for letter, planes in _PLANES.items()
        }
    )


def _ideal_volume(letter: str, names: tuple[str, ...]) -> float:
    """Return the signed volume that three neighbours span about a centre in the ideal residue, cubic angstrom."""
    local = dict(zip(rc.RESIDUE_ATOMS[letter], rc.ATOM14_LOCAL[rc.RESTYPE_ID[letter]].astype(float), strict=False))
    centre, first, second, third = names
    if centre == "CA":
        return float(np.dot(local[first], np.cross(local[second], local[third])))
    # the frame of the second and third has the centre at its origin, and x comes from the first
    length = rc.bonded_distances(letter)[first, centre][0]
    return float(np.dot([-length, 0, 0], np.cross(local[second], local[third])))


def _volumes() -> Entries:
    names = {letter: [("CA", "N", "C", "CB")] for letter in rc.RESTYPES if letter != "G"}
    for letter, atoms in _CENTRES.items():
        centre, first, second, third = atoms.split()
        names[letter].append((centre, first, second, third))
    return _entries(
        {
            letter: [(atoms, _ideal_volume(letter, atoms), _VOLUME_SIGMA) for atoms in entries]
            for letter, entries in names.items()
        }
    )


_BONDS, _ANGLES = _tabulated(rc.BONDS, 1.0), _tabulated(rc.ANGLES, np.pi / 180)
_PLANE_ENTRIES, _VOLUME_ENTRIES = _planes(), _volumes()


class Energy(NamedTuple):
    """Harmonic energies of each residue; those of a peptide bond count for the residue before it.

    Args:
        bond: Shape (n,).
        angle: Shape (n,).
        planarity: Of side chains, of the atoms about C, and of omega, trans or cis, shape (n,).
        chirality: At CA, at CB of Ile, Thr, Val, at CG of Leu; the mirror image has the wrong sign; shape (n,).
    """

    bond: Float[Array, " n"]
    angle: Float[Array, " n"]
    planarity: Float[Array, " n"]
    chirality: Float[Array, " n"]


def energy(positions: Atom14, mask: Atom14Mask, aatype: Aatype, residue_index: ResidueIndex) -> Energy:
    """Return the harmonic energies of a structure.

    Args:
        positions: Atoms, angstrom.
        mask: 1 for atoms that are there; terms of others are left out.
        aatype: Residue types.
        residue_index: Numbers of the residues; steps of one are peptide bonds.

    Source: means and standard deviations of Engh & Huber 1991 and 2001, in `residue_constants`.
    """
    within = Energy(
        *(
            _harmonic(_of_residues(measure, entries, positions, aatype), entries, mask, aatype)
            for measure, entries in (
                (_length, _BONDS),
                (_angle, _ANGLES),
                (_height, _PLANE_ENTRIES),
                (_volume, _VOLUME_ENTRIES),
            )
        )
    )
    bond, angle, planarity = peptide_energy(positions, mask, aatype, residue_index)
    return Energy(within.bond + bond, within.angle + angle, within.planarity + planarity, within.chirality)


def _of_residues(
    measure: Callable[..., Array], entries: Entries, positions: Atom14, aatype: Aatype
) -> Float[Array, "n e"]:
    columns = table(entries.columns, aatype)
    points = jnp.take_along_axis(positions, columns.reshape(len(positions), -1, 1), axis=1)
    points = points.reshape(*columns.shape, 3)
    return measure(*(points[:, :, k] for k in range(columns.shape[-1])))


def _harmonic(value: Float[Array, "n e"], entries: Entries, mask: Atom14Mask, aatype: Aatype) -> Float[Array, " n"]:
    mean, sigma = (table(part, aatype, value.dtype) for part in (entries.mean, entries.sigma))
    columns = table(entries.columns, aatype)
    there = jnp.take_along_axis(mask, columns.reshape(len(mask), -1), axis=1).reshape(columns.shape).prod(axis=-1)
    known = there * (sigma > 0)
    return 0.5 * jnp.sum(known * jnp.square((value - mean) / jnp.where(sigma > 0, sigma, 1)), axis=-1)


def _length(first: Array, second: Array) -> Array:
    return safe_norm(second - first)


def _angle(first: Array, vertex: Array, second: Array) -> Array:
    left, right = first - vertex, second - vertex
    # atan2 of |a x b| and a.b is well behaved at 0 and 180 degrees, where the arc cosine is not
    return jnp.arctan2(safe_norm(jnp.cross(left, right)), jnp.sum(left * right, axis=-1))


def _height(first: Array, second: Array, third: Array, atom: Array) -> Array:
    """Return how far an atom is above the plane of three others."""
    normal = jnp.cross(second - first, third - first)
    return jnp.sum((atom - first) * normal, axis=-1) / safe_norm(normal)


def _volume(centre: Array, first: Array, second: Array, third: Array) -> Array:
    return jnp.sum((first - centre) * jnp.cross(second - centre, third - centre), axis=-1)


def peptide_energy(
    positions: Atom14, mask: Atom14Mask, aatype: Aatype, residue_index: ResidueIndex
) -> tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, " n"]]:
    """Return the energies of bonds, angles and planes between residues, given to the first of the two, each (n,).

    Args:
        positions: Atoms, angstrom; of each residue at least the first four of atom14.
        mask: 1 for atoms that are there.
        aatype: Residue types.
        residue_index: Numbers of the residues; steps of one are peptide bonds.
    """
    ca, c, o = (positions[:-1, column] for column in (_CA, _C, _O))
    n, next_ca = positions[1:, _N], positions[1:, _CA]
    proline = (aatype[1:] == rc.RESTYPE_ID["P"]).astype(positions.dtype)
    length, sigma = (
        usual + proline * (before_proline - usual)
        for usual, before_proline in zip(rc.PEPTIDE_BOND, rc.PEPTIDE_BOND_PROLINE, strict=True)
    )
    joined = (residue_index[1:] - residue_index[:-1] == 1) * mask[:-1, _C] * mask[1:, _N]
    has_ca, has_o, has_next = mask[:-1, _CA], mask[:-1, _O], mask[1:, _CA]
    bond = jnp.square((_length(c, n) - length) / sigma)
    angle = has_ca * _square_of_cosine(ca, c, n, rc.COS_CA_C_N) + has_next * _square_of_cosine(
        c, n, next_ca, rc.COS_C_N_CA
    )
    omega = dihedral_angle(jnp.stack([ca, c, n, next_ca], axis=-2))
    planarity = has_ca * has_o * jnp.square(_height(ca, o, n, c) / _PLANE_SIGMA)
    planarity += has_ca * has_next * jnp.square(jnp.sin(omega) / _OMEGA_SIGMA)
    bond, angle, planarity = (jnp.pad(0.5 * joined * square, (0, 1)) for square in (bond, angle, planarity))
    return bond, angle, planarity


def _square_of_cosine(first: Array, vertex: Array, second: Array, reference: tuple[float, float]) -> Array:
    """Return the square of the deviation of an angle's cosine in standard deviations."""
    return jnp.square((jnp.cos(_angle(first, vertex, second)) - reference[0]) / reference[1])
