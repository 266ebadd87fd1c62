"""Hydrogen bonds of the backbone: their energy, those of a structure, and those that the network expects.

Each N-H binds at most one C=O, of another residue. In a square array of logits the row is the residue of the N-H, the
column that of the C=O; the diagonal stands for no hydrogen bond at all. So a row is one distribution.

Source: the charges of Kabsch & Sander 1983, Biopolymers 22, 2577.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from models import residue_constants as rc
from models.shapes import Aatype, ResidueIndex, SeqMask

_NEIGHBOURS = 2  # residues along the chain that make no hydrogen bond
_COUPLING = 332.0 * 0.42 * 0.20  # kcal/mol angstrom
_REACH = 5.0  # angstrom between N and O; charges further apart do not count
_SOFT = 0.1  # square angstrom: keeps charges that coincide apart
_EPSILON = 1e-6  # square angstrom
_BOND = -0.5  # kcal/mol; a hydrogen bond is stronger
_OXYGEN_HYDROGEN, _OXYGEN_NITROGEN = 1.95, 2.9  # angstrom
_IMPOSSIBLE = -1e9


class Sites(NamedTuple):
    """The atoms of a backbone that take part, angstrom.

    Args:
        nitrogen, hydrogen, carbon, oxygen: Of N-H and of C=O of each residue.
        gives: 1 for residues whose N-H is known.
        takes: 1 for residues whose C=O is known.
        residue_index: Numbers of the residues.
    """

    nitrogen: Float[Array, "n 3"]
    hydrogen: Float[Array, "n 3"]
    carbon: Float[Array, "n 3"]
    oxygen: Float[Array, "n 3"]
    gives: Float[Array, " n"]
    takes: Float[Array, " n"]
    residue_index: ResidueIndex


class Expected(NamedTuple):
    """The likeliest partners of each residue, with their probabilities.

    Args:
        acceptors: Residues whose C=O its N-H may bind, shape (n, k).
        given: How likely each is.
        donors: Residues whose N-H its C=O may bind, shape (n, k).
        taken: How likely each is.
    """

    acceptors: Int[Array, "n k"]
    given: Float[Array, "n k"]
    donors: Int[Array, "n k"]
    taken: Float[Array, "n k"]


def sites(positions: Float[Array, "n 4 3"], aatype: Aatype, residue_index: ResidueIndex, there: SeqMask) -> Sites:
    """Return the atoms of N-H and C=O.

    Args:
        positions: N, CA, C and O, angstrom.
        aatype: Residue types; proline has no N-H.
        residue_index: Numbers of the residues; where they do not follow each other the place of H is not known.
        there: 1 for residues that have all four atoms.
    """
    n, _, c, o = (positions[:, column] for column in range(4))
    carbonyl = jnp.roll(c - o, 1, axis=0)
    hydrogen = n + carbonyl / jnp.sqrt(jnp.sum(jnp.square(carbonyl), axis=-1, keepdims=True) + _EPSILON)
    return Sites(n, hydrogen, c, o, giving(aatype, residue_index, there), there, residue_index)


def giving(aatype: Aatype, residue_index: ResidueIndex, there: SeqMask) -> Float[Array, " n"]:
    """Return 1 for residues that have an N-H of known place; arguments as of `sites`."""
    joined = jnp.pad(residue_index[1:] - residue_index[:-1] == 1, (1, 0)) * jnp.roll(there, 1)
    return there * joined * (aatype != rc.RESTYPE_ID["P"])


def energies_of(own: Sites, residues: Int[Array, "n r"]) -> Float[Array, "2 n r"]:
    """Return the energies of N-H with C=O of some residues, and of C=O with N-H, kcal/mol; none is above 0.

    Gradients move each residue as if the others stood still: a pair that both meet is met from both sides.
    """
    other = Sites(*(jax.lax.stop_gradient(x)[residues] for x in own))
    n, h, c, o = (x[:, None] for x in (own.nitrogen, own.hydrogen, own.carbon, own.oxygen))
    given = _charges(n, h, other.carbon, other.oxygen) * own.gives[:, None] * other.takes
    taken = _charges(other.nitrogen, other.hydrogen, c, o) * other.gives * own.takes[:, None]
    return jnp.stack([given, taken]) * (jnp.abs(own.residue_index[:, None] - other.residue_index) > _NEIGHBOURS)


def strongest(own: Sites) -> Int[Array, " n"]:
    """Return the residue whose C=O each N-H binds most strongly; the residue itself where it binds none."""
    count = len(own.gives)
    everyone = jnp.broadcast_to(jnp.arange(count), (count, count))
    energy = energies_of(own, everyone)[0]
    return jnp.where(jnp.min(energy, axis=1) < _BOND, jnp.argmin(energy, axis=1), jnp.arange(count))


def log_shares(logits: Float[Array, "n n"], takes: Float[Array, " n"]) -> Float[Array, "n n"]:
    """Return the logarithms of the probabilities of each row; those of residues without a C=O are as good as 0."""
    possible = jnp.eye(len(takes), dtype=bool) | (takes > 0)
    return jax.nn.log_softmax(jnp.where(possible, logits, _IMPOSSIBLE), axis=1)


def expected(
    logits: Float[Array, "n n"], gives: Float[Array, " n"], takes: Float[Array, " n"], number: int
) -> Expected:
    """Return the likeliest partners, `number` to each N-H and each C=O; `gives` and `takes` as of `Sites`."""
    count = len(gives)
    others = (1 - jnp.eye(count)) * gives[:, None] * takes
    shares = jnp.exp(log_shares(logits, takes)) * others
    given, acceptors = jax.lax.top_k(shares, min(number, count))
    taken, donors = jax.lax.top_k(shares.T, min(number, count))
    return Expected(acceptors, given, donors, taken)


def missed(own: Sites, wanted: Expected, sigma: float) -> Float[Array, "2 n k"]:
    """Return half the squares of how far expected bonds are too long, in `sigma` (angstrom), of N-H and of C=O.

    Both distances of O, to H and to N, count: then the three atoms are nearly in line. Gradients as in `energies_of`.
    """
    still = Sites(*map(jax.lax.stop_gradient, own))
    given = _too_long(own.nitrogen[:, None], own.hydrogen[:, None], still.oxygen[wanted.acceptors])
    taken = _too_long(still.nitrogen[wanted.donors], still.hydrogen[wanted.donors], own.oxygen[:, None])
    exists = own.gives[:, None] * own.takes[wanted.acceptors], own.takes[:, None] * own.gives[wanted.donors]
    return 0.5 * jnp.stack([given * exists[0], taken * exists[1]]) / sigma**2


def _too_long(n: Array, h: Array, o: Array) -> Float[Array, "n k"]:
    """Return the sum of the squares of what O-H and O-N have beyond their lengths, square angstrom."""
    return sum(
        (
            jnp.square(jax.nn.relu(jnp.sqrt(_square(o, x) + _EPSILON) - length))
            for x, length in ((h, _OXYGEN_HYDROGEN), (n, _OXYGEN_NITROGEN))
        ),
        jnp.zeros(()),
    )


def _charges(n: Array, h: Array, c: Array, o: Array) -> Float[Array, "n r"]:
    """Return the energy of charges at N, H, C and O where it is below 0, kcal/mol."""
    on, ch, oh, cn = (_square(*pair) + _SOFT for pair in ((o, n), (c, h), (o, h), (c, n)))
    energy = _COUPLING * (jax.lax.rsqrt(on) + jax.lax.rsqrt(ch) - jax.lax.rsqrt(oh) - jax.lax.rsqrt(cn))
    return jnp.where(on < _REACH**2, jnp.minimum(energy, 0), 0)


def _square(one: Array, other: Array) -> Array:
    gap = one - other
    return sum((jnp.square(gap[..., axis]) for axis in range(3)), jnp.zeros(()))
