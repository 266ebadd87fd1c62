"""The guided structure: a few steps down a physical energy, from the structure that the network gives.

A small network's backbone frames are right to some tenths of an angstrom, too little for a peptide bond. Here the
backbone moves until bonds and angles between residues, planes, contacts, hydrogen bonds and torsions are usual ones,
and hydrogen bonds and torsions those that the network expects, held where it is sure of a residue's place. Residues
stay ideal: they move and turn as wholes. Side chains beyond CB are not seen, only carried along. Nothing of it is
learned.

Source of the optimiser: Kingma & Ba 2015, arXiv:1412.6980.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from models import geometry, hydrogen_bonds, stereochemistry, torsion_density
from models import residue_constants as rc
from models.config import GuidanceConfig
from models.geometry import Rigid, table
from models.physics_losses import Densities, bounded
from models.shapes import Aatype, ResidueIndex, SeqMask, Torsions
from models.structure import place_atoms

_CA = 1  # column of atom14
_ATOMS = 5  # the first columns of atom14: N, CA, C, O, CB
_PSI = 2  # of the seven torsions
_FAR = 1e3  # angstrom
_EPSILON = 1e-6  # square angstrom
_MEAN, _SQUARE = 0.9, 0.99  # how much of the optimiser's running means stays
_FLOOR = 1.0  # of a gradient, so that rounding decides nothing: those of strain are ten times that and more


class Fold(NamedTuple):
    """A structure as frames and torsions.

    Args:
        frames: Backbone frames, shape (n,), angstrom.
        sin_cos: Sine and cosine of the seven torsions.
    """

    frames: Rigid
    sin_cos: Torsions


class Chain(NamedTuple):
    """What does not move.

    Args:
        aatype: Residue types; real residues are known ones.
        residue_index: Numbers of the residues; steps of one are peptide bonds.
        seq_mask: 1 for real residues.
        plddt: How sure the network is of each residue, 0 to 1.
        torsions: Logarithms of what it expects of phi and of psi, in equal cells from -pi on; None where it has no
            expectations.
        bonds: Hydrogen bonds that it expects; None as above.
        strand: How sure it is that each residue is in a strand, 0 to 1; None as above.
    """

    aatype: Aatype
    residue_index: ResidueIndex
    seq_mask: SeqMask
    plddt: Float[Array, " n"]
    torsions: Float[Array, "n 2 cells"] | None = None
    bonds: hydrogen_bonds.Expected | None = None
    strand: Float[Array, " n"] | None = None


class Move(NamedTuple):
    """How residues differ from where they began.

    Args:
        turn: Vector of `geometry.rotation_from_vector`, in the residue's frame.
        shift: In the residue's frame, angstrom.
        twist: Added to psi, radian.
    """

    turn: Float[Array, "n 3"]
    shift: Float[Array, "n 3"]
    twist: Float[Array, " n"]


class Contacts(NamedTuple):
    """Residues that are near, and atoms that each atom may stand in.

    Args:
        residues: The nearest residues of each residue.
        other: Numbers of the atoms, five to a residue, shape (n, 5, k).
        lowest: Distances that are no overlap, angstrom; 0 where no atom counts, shape (n, 5, k).
    """

    residues: Int[Array, "n r"]
    other: Int[Array, "n 5 k"]
    lowest: Float[Array, "n 5 k"]


class Descent(NamedTuple):
    """Where the optimiser is, and its running means of gradients and of their squares."""

    move: Move
    mean: Move
    square: Move


def guide(fold: Fold, chain: Chain, densities: Densities, config: GuidanceConfig) -> Fold:
    """Return the structure after some steps down the energy.

    Args:
        fold: From the network.
        chain: Its residues.
        densities: What torsions are usual.
        config: Weights, numbers and lengths of steps.
    """
    n, total = len(chain.aatype), config.rounds * config.steps
    lengths = Move(*(jnp.float32(x) for x in (config.turn, config.shift, config.twist)))

    def cost(move: Move, near: Contacts) -> Float[Array, ""]:
        return energy(applied(move, fold), near, chain, densities, config) + held(move, chain, config)

    def step(done: Int[Array, ""], state: Descent, near: Contacts) -> Descent:
        gradient = jax.tree.map(jnp.nan_to_num, jax.grad(cost)(state.move, near))
        mean = jax.tree.map(lambda m, g: _MEAN * m + (1 - _MEAN) * g, state.mean, gradient)
        square = jax.tree.map(lambda s, g: _SQUARE * s + (1 - _SQUARE) * g * g, state.square, gradient)
        size = 0.5 * (1 + jnp.cos(jnp.pi * done / total))
        size *= jnp.sqrt(1 - _SQUARE ** (done + 1.0)) / (1 - _MEAN ** (done + 1.0))
        move = jax.tree.map(
            lambda x, m, s, length: x - size * length * m / (jnp.sqrt(s) + _FLOOR), state.move, mean, square, lengths
        )
        return Descent(move, mean, square)

    def go(k: Int[Array, ""], state: Descent) -> Descent:
        near = contacts(backbone(applied(state.move, fold), chain), chain, config)
        return jax.lax.fori_loop(0, config.steps, lambda i, s: step(k * config.steps + i, s, near), state)

    zero = Move(jnp.zeros((n, 3)), jnp.zeros((n, 3)), jnp.zeros(n))
    return applied(jax.lax.fori_loop(0, config.rounds, go, Descent(zero, zero, zero)).move, fold)


def applied(move: Move, fold: Fold) -> Fold:
    """Return a structure that was moved."""
    frames = fold.frames.compose(Rigid(geometry.rotation_from_vector(move.turn), move.shift))
    sine, cosine = jnp.sin(move.twist), jnp.cos(move.twist)
    sin, cos = fold.sin_cos[:, _PSI, 0], fold.sin_cos[:, _PSI, 1]
    psi = jnp.stack([sin * cosine + cos * sine, cos * cosine - sin * sine], axis=-1)
    return Fold(frames, fold.sin_cos.at[:, _PSI].set(psi))


def held(move: Move, chain: Chain, config: GuidanceConfig) -> Float[Array, ""]:
    """Return what it costs to leave where the network saw a residue: the more, the surer it was."""
    spread = config.sure + (config.unsure - config.sure) * jnp.square(1 - chain.plddt)
    return 0.5 * jnp.sum(jnp.sum(jnp.square(move.shift), axis=-1) / jnp.square(spread) * chain.seq_mask)


def backbone(fold: Fold, chain: Chain) -> Float[Array, "n 5 3"]:
    """Return N, CA, C, O and CB, angstrom."""
    return place_atoms(chain.aatype, *fold)[1][:, :_ATOMS]


def energy(fold: Fold, near: Contacts, chain: Chain, densities: Densities, config: GuidanceConfig) -> Float[Array, ""]:
    """Return the physical energy of a structure, in half squares of standard deviations and logarithms of densities."""
    positions, mask = backbone(fold, chain), _exists(chain)
    residues = mask, chain.aatype, chain.residue_index
    strain = sum(jnp.sum(bounded(part)) for part in stereochemistry.peptide_energy(positions, *residues))
    torsions = torsion_density.ramachandran(positions, *residues, densities.ramachandran)
    expected = jnp.zeros(())
    if chain.torsions is not None:
        expected = jnp.sum(torsion_density.expected(positions, mask, chain.residue_index, chain.torsions).value)
    sites = hydrogen_bonds.sites(positions[:, :4], chain.aatype, chain.residue_index, chain.seq_mask)
    bonds = hydrogen_bonds.energies_of(sites, near.residues)
    wanted = config.hydrogen_bonds + config.strand_bonds * _both_in_strands(chain, near)
    return (
        strain
        + config.clash * jnp.sum(bounded(overlaps(positions, near, config.overlap_sigma)))
        + config.clash * jnp.sum(bounded(crowded(positions[:, _CA], chain, config)))
        - config.ramachandran * jnp.sum(torsions.value)
        - config.torsions * expected
        + jnp.sum(wanted * bonds)
        + config.expected_bonds * _missed(sites, chain, config)
    )


def _both_in_strands(chain: Chain, near: Contacts) -> Float[Array, "n r"]:
    """Return how sure it is that each residue and those near it are in strands but not where, 0 to 1."""
    strand = jnp.zeros(len(chain.aatype)) if chain.strand is None else chain.strand * jnp.square(1 - chain.plddt)
    return strand[:, None] * strand[near.residues]


def _missed(sites: hydrogen_bonds.Sites, chain: Chain, config: GuidanceConfig) -> Float[Array, ""]:
    """Return what it costs that hydrogen bonds which the network expects are not there, the likelier the more."""
    if chain.bonds is None:
        return jnp.zeros(())
    missed = bounded(hydrogen_bonds.missed(sites, chain.bonds, config.bond_sigma))
    return jnp.sum(missed * jnp.stack([chain.bonds.given, chain.bonds.taken]))


def contacts(positions: Float[Array, "n 5 3"], chain: Chain, config: GuidanceConfig) -> Contacts:
    """Return the nearest atoms of other residues, neighbours in sequence left out."""
    n = len(positions)
    residues = _nearest(geometry.distances(positions[:, _CA], positions[:, _CA]), chain.seq_mask, config.residues)
    there = _exists(chain)
    radius = table(rc.ATOM14_RADIUS, chain.aatype, positions.dtype)[:, :_ATOMS]
    apart = jnp.abs(chain.residue_index[:, None] - chain.residue_index[residues]) > 1
    counted = apart[:, None, :, None] * there[:, :, None, None] * there[residues][:, None]
    lowest = counted * (radius[:, :, None, None] + radius[residues][:, None] - config.overlap)
    gap = positions[:, :, None, None] - positions[residues][:, None]
    room = jnp.sqrt(sum(jnp.square(gap[..., axis]) for axis in range(3))) - lowest
    room = jnp.where(lowest > 0, room, _FAR).reshape(n, _ATOMS, -1)
    chosen = jax.lax.top_k(-room, min(config.atoms, room.shape[-1]))[1]
    other = jnp.broadcast_to((residues[:, :, None] * _ATOMS + np.arange(_ATOMS)).reshape(n, 1, -1), room.shape)
    return Contacts(residues, *(jnp.take_along_axis(x.reshape(room.shape), chosen, axis=-1) for x in (other, lowest)))


def _exists(chain: Chain) -> Float[Array, "n 5"]:
    """Return which of the atoms the residues have."""
    return table(rc.ATOM14_MASK, chain.aatype, chain.seq_mask.dtype)[:, :_ATOMS] * chain.seq_mask[:, None]


def _nearest(distance: Float[Array, "n n"], seq_mask: SeqMask, number: int) -> Int[Array, "n k"]:
    """Return the nearest real residues of each residue, itself among them."""
    return jax.lax.top_k(-jnp.where(seq_mask[None, :] > 0, distance, _FAR), min(number, len(distance)))[1]


def overlaps(positions: Float[Array, "n 5 3"], near: Contacts, sigma: float) -> Float[Array, "n 5 k"]:
    """Return half the squares of how far atoms stand in others, in `sigma` (angstrom)."""
    # Each pair is met from both sides, so one of them moves; a gradient through `other` would be a slow scatter.
    there = jax.lax.stop_gradient(positions).reshape(-1, 3)[near.other]
    gap = positions[:, :, None] - there
    distance = jnp.sqrt(sum(jnp.square(gap[..., axis]) for axis in range(3)) + _EPSILON)
    return 0.5 * jnp.square(jax.nn.relu(near.lowest - distance) / sigma)


def crowded(ca: Float[Array, "n 3"], chain: Chain, config: GuidanceConfig) -> Float[Array, "n n"]:
    """Return half the squares of how far CA atoms that are not neighbours in sequence are too near, as `overlaps`.

    Here both atoms of a pair move, so that it counts twice.
    """
    apart = jnp.abs(chain.residue_index[:, None] - chain.residue_index) > 1
    counted = apart * chain.seq_mask[:, None] * chain.seq_mask
    return 0.5 * jnp.square(
        counted * jax.nn.relu(config.ca_distance - geometry.distances(ca, ca)) / config.overlap_sigma
    )
