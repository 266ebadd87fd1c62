"""How usual torsions are: differentiable log densities of backbones (Ramachandran) and side chains (rotamers).

The densities are arguments: logarithms on periodic grids, in cells from -pi on, whose values hold at their centres.
Between centres they are interpolated by cubic splines, so that the gradient is continuous. Foldline's own are those of
`pipeline.quality.statistics`. Positions are atom14 in angstrom; densities are per radian of each torsion.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from models import residue_constants as rc
from models.geometry import dihedral_angle, table
from models.shapes import Aatype, Atom14, Atom14Mask, ResidueIndex

_N, _CA, _C = range(3)  # columns of atom14
_PAIRS = 3  # of torsions that follow one another in the longest side chain
_FULL_TURN = 2 * np.pi


class LogDensity(NamedTuple):
    """Log densities of the torsions of each residue.

    Args:
        value: 0 where not defined, shape (n,).
        mask: 1 where all torsions are there, shape (n,).
    """

    value: Float[Array, " n"]
    mask: Float[Array, " n"]


class BackboneTorsions(NamedTuple):
    """Torsions of each residue in radian; those of residues without both neighbours mean nothing.

    Args:
        omega: Of the bond before the residue.
        phi: About N-CA.
        psi: About CA-C.
        mask: 1 where phi and psi are there.
    """

    omega: Float[Array, " n"]
    phi: Float[Array, " n"]
    psi: Float[Array, " n"]
    mask: Float[Array, " n"]


# Grids ----------------------------------------------------------------------------------------------------------------


def normalized(logarithms: np.ndarray) -> np.ndarray:
    """Return log densities whose densities have the integral 1 over the last two axes, which go around once."""
    area = (_FULL_TURN / logarithms.shape[-1]) * (_FULL_TURN / logarithms.shape[-2])
    return logarithms - np.log(np.sum(np.exp(logarithms), axis=(-2, -1), keepdims=True) * area)


def side_chain_grids(tables: Mapping[str, Sequence[np.ndarray]]) -> Float[np.ndarray, "21 3 cells cells"]:
    """Return the grids of all residue types from log densities of neighbouring torsions.

    The density of a side chain is that of the first two torsions, times that of each further one given the one before.

    Args:
        tables: By the letter of the residue type: of chi 1 (one axis), or of chi 1 and 2 and of each further pair (two
            axes); offsets do not matter.
    """
    cells = len(next(iter(tables.values()))[0])
    grids = np.zeros((21, _PAIRS, cells, cells))
    width = _FULL_TURN / cells
    for letter, pairs in tables.items():
        first, *further = (np.asarray(pair, float) for pair in pairs)
        row = grids[rc.RESTYPE_ID[letter]]
        if first.ndim == 1:  # the same at any second angle
            row[0] = (first - np.log(np.sum(np.exp(first)) * width))[:, None]
        else:
            row[0] = normalized(first)
        for k, pair in enumerate(further, start=1):
            row[k] = pair - np.log(np.sum(np.exp(pair), axis=1, keepdims=True) * width)
    return grids


def interpolated(
    grids: Float[Array, "grids cells cells"], which: Int[Array, "*n"], first: Float[Array, "*n"], second: Array
) -> Float[Array, "*n"]:
    """Return values of periodic grids at pairs of angles in radian, by cubic convolution.

    Args:
        grids: Values at the centres of cells from -pi on.
        which: The grid of each pair.
        first: Along the rows.
        second: Along the columns.

    Source: Keys 1981, IEEE Trans. Acoust. Speech Signal Process. 29, 1153.
    """
    rows, row_weights = _neighbours(first, grids.shape[1])
    columns, column_weights = _neighbours(second, grids.shape[2])
    values = grids[which[..., None, None], rows[..., :, None], columns[..., None, :]]
    return jnp.sum(row_weights[..., :, None] * column_weights[..., None, :] * values, axis=(-2, -1))


def _neighbours(angle: Float[Array, "*n"], cells: int) -> tuple[Int[Array, "*n 4"], Float[Array, "*n 4"]]:
    """Return the four cells about each angle and their weights."""
    place = (angle / _FULL_TURN + 0.5) * cells - 0.5
    before = jnp.floor(place)
    t = place - before
    weights = jnp.stack(
        [
            ((-0.5 * t + 1) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1,
            ((-1.5 * t + 2) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        ],
        axis=-1,
    )
    return (before.astype(jnp.int32)[..., None] + jnp.arange(-1, 3)) % cells, weights


# Backbone -------------------------------------------------------------------------------------------------------------


def ramachandran(
    positions: Atom14,
    mask: Atom14Mask,
    aatype: Aatype,
    residue_index: ResidueIndex,
    grids: Float[Array, "6 cells cells"],
) -> LogDensity:
    """Return the log densities of phi and psi.

    Args:
        positions: Atoms, angstrom.
        mask: 1 for atoms that are there.
        aatype: Residue types; X counts as any other.
        residue_index: Numbers of the residues; steps of one are peptide bonds.
        grids: Of general residues, Ile and Val, those before proline, glycine, trans and cis proline.
    """
    omega, phi, psi, there = backbone_torsions(positions, mask, residue_index)
    cis = (jnp.cos(omega) > 0) & (jnp.pad(mask[:-1, _CA], (1, 0)) > 0)
    value = interpolated(grids, _kinds(aatype, cis), phi, psi)
    return LogDensity(value * there, there)


def expected(
    positions: Atom14, mask: Atom14Mask, residue_index: ResidueIndex, tables: Float[Array, "n 2 cells"]
) -> LogDensity:
    """Return the sums of the log densities of phi and of psi that are expected of each residue by itself.

    Args:
        positions: Atoms, angstrom.
        mask: 1 for atoms that are there.
        residue_index: Numbers of the residues; steps of one are peptide bonds.
        tables: Log densities of phi and of psi.
    """
    _, phi, psi, there = backbone_torsions(positions, mask, residue_index)
    cells, weights = _neighbours(jnp.stack([phi, psi], axis=-1), tables.shape[-1])
    value = jnp.sum(weights * jnp.take_along_axis(tables, cells, axis=-1), axis=(-2, -1))
    return LogDensity(value * there, there)


def backbone_torsions(positions: Atom14, mask: Atom14Mask, residue_index: ResidueIndex) -> BackboneTorsions:
    """Return omega, phi and psi of each residue, in radian."""
    n, ca, c = (positions[:, column] for column in (_N, _CA, _C))
    before, after = jnp.roll(positions, 1, axis=0), jnp.roll(positions, -1, axis=0)
    path = (before[:, _CA], before[:, _C], n, ca, c, after[:, _N])
    omega, phi, psi = dihedral_angle(jnp.stack([jnp.stack(path[k : k + 4], axis=-2) for k in range(3)]))
    joined = (residue_index[1:] - residue_index[:-1] == 1) * mask[:-1, _C] * mask[1:, _N]
    there = jnp.pad(joined, (1, 0)) * mask[:, : _C + 1].prod(axis=1) * jnp.pad(joined, (0, 1))
    return BackboneTorsions(omega, phi, psi, there)


def _kinds(aatype: Aatype, cis: Bool[Array, " n"]) -> Int[Array, " n"]:
    """Return the grid of each residue."""
    glycine, proline, isoleucine, valine = (aatype == rc.RESTYPE_ID[letter] for letter in "GPIV")
    before_proline = jnp.pad(proline[1:], (0, 1))
    kind = jnp.where(isoleucine | valine, 1, 0)
    kind = jnp.where(before_proline, 2, kind)
    kind = jnp.where(glycine, 3, kind)
    return jnp.where(proline, jnp.where(cis, 5, 4), kind)


# Side chains ----------------------------------------------------------------------------------------------------------


def _chi_columns() -> np.ndarray:
    """Return the atom14 columns of the atoms of each torsion, shape (21, 4, 4)."""
    columns = np.zeros((21, 4, 4), np.int32)
    for i, letter in enumerate(rc.RESTYPES):
        for k, atoms in enumerate(rc.CHI_ATOMS[letter]):
            columns[i, k] = [rc.RESIDUE_ATOMS[letter].index(name) for name in atoms]
    return columns


_CHI_COLUMNS = _chi_columns()


def rotamers(
    positions: Atom14, mask: Atom14Mask, aatype: Aatype, grids: Float[Array, "21 3 cells cells"]
) -> LogDensity:
    """Return the log densities of the side chains' torsions.

    Args:
        positions: Atoms, angstrom.
        mask: 1 for atoms that are there.
        aatype: Residue types; those without torsions are not defined.
        grids: As `side_chain_grids` makes them.
    """
    columns = table(_CHI_COLUMNS, aatype)  # (n, 4, 4)
    flat = columns.reshape(-1, 16)
    points = jnp.take_along_axis(positions, flat[..., None], axis=1).reshape(*columns.shape, 3)
    exists = table(rc.CHI_MASK, aatype, mask.dtype)
    there = jnp.take_along_axis(mask, flat, axis=1).reshape(columns.shape).prod(axis=-1)
    chi = dihedral_angle(points)
    which = jnp.minimum(aatype, rc.UNKNOWN)[:, None] * _PAIRS + jnp.arange(_PAIRS)
    values = interpolated(grids.reshape(-1, *grids.shape[2:]), which, chi[:, :-1], chi[:, 1:])
    whole = jnp.where(exists > 0, there, 1).prod(axis=1) * exists[:, 0]
    return LogDensity(jnp.sum(values, axis=1) * whole, whole)
