"""Initial backbone frames from predicted distances: weighted multidimensional scaling of the distogram.

A structure module that starts at the origin needs long training before any fold forms. Distances are learned at once,
so a small network starts from the CA trace that its own distogram implies. No gradient flows through this.

Sources: classical scaling, Torgerson 1952, Psychometrika 17, 401; majorisation of weighted stress, de Leeuw 1977.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from models import geometry
from models import residue_constants as rc
from models.shapes import ResidueIndex, SeqMask

_BONDED_WEIGHT = 4.0  # 1/A^2: as sure as a distance known to 0.5 A
_KNOWN = 0.5  # a pair less probable than this to lie within the last edge is far
_UNREACHED = 1e5  # angstrom: longer than any path
_DOUBLINGS = 3  # eight steps of up to the last edge reach along all but long chains
_FAR_WEIGHT = 0.003  # 1/A^2: keeps far pairs apart, decides nothing else
_ITERATIONS = 40  # the stress of a 300-residue chain changes by less than 1 % afterwards


class Belief(NamedTuple):
    """What the network believes of a chain before it has a structure.

    Args:
        logits: Logits of the distances between CA atoms; the last bin means "farther than the last edge".
        bin_edges: Edges between the bins, angstrom, one fewer than bins.
        handedness: Sine and cosine of the predicted CA pseudo-dihedral of residues i-1 .. i+2.
        residue_index: Numbers of the residues; steps of one are peptide bonds.
        seq_mask: 1 for real residues.
    """

    logits: Float[Array, "n n bins"]
    bin_edges: Float[Array, " edges"]
    handedness: Float[Array, "n 2"]
    residue_index: ResidueIndex
    seq_mask: SeqMask


class Expected(NamedTuple):
    """The distances that follow from a belief.

    Args:
        distance: Means, angstrom; 0 for masked pairs and on the diagonal.
        weight: Inverse variances, 1/angstrom^2; 0 as above.
        far: Whether a pair is probably beyond the last edge, where its distance is the length of a path.
    """

    distance: Float[Array, "n n"]
    weight: Float[Array, "n n"]
    far: Bool[Array, "n n"]


def frames_from_distogram(belief: Belief) -> geometry.Rigid:
    """Return backbone frames whose CA trace fits the distances of a CA distogram.

    Returns:
        One frame per residue, angstrom, centred; masked residues lie at the origin.
    """
    expected = expected_distances(belief)
    trace = trace_of(expected.distance, expected.weight, belief)
    return jax.lax.stop_gradient(frames_from_trace(trace, belief.seq_mask))


def trace_of(distance: Float[Array, "n n"], weight: Float[Array, "n n"], belief: Belief) -> Float[Array, "n 3"]:
    """Return the CA trace that fits distances (angstrom) of given weights (1/angstrom^2), of the believed hand."""
    seq_mask = belief.seq_mask
    trace = majorise(classical_scaling(distance, seq_mask), distance, weight, seq_mask)
    sine = pseudo_dihedral(trace)[:, 0]
    agreement = jnp.sum(sine * belief.handedness[:, 0] * _inner(belief.residue_index, seq_mask))
    return trace * jnp.where(agreement < 0, -1.0, 1.0)  # a point reflection turns the mirror image into the fold


def expected_distances(belief: Belief) -> Expected:
    """Return the mean distances and how sure they are.

    A pair that is probably beyond the last edge gets the length of the shortest path over nearer pairs; one that no
    path joins gets the longest of these lengths, and no weight.
    """
    logits, bin_edges, _, residue_index, seq_mask = jax.lax.stop_gradient(belief)
    step = bin_edges[1] - bin_edges[0]
    centres = jnp.concatenate([bin_edges - step / 2, bin_edges[-1:] + step / 2])
    probability = jax.nn.softmax(logits, axis=-1)
    distance = probability @ centres
    variance = probability @ centres**2 - distance**2
    known = 1 - probability[..., -1]
    # A floor of 1 A^2, growing with the square of the distance, keeps a few very sure pairs from deciding the fold.
    weight = known**2 / (jnp.maximum(variance, 0) + 1.0 + (0.05 * distance) ** 2)
    bonded = jnp.abs(residue_index[:, None] - residue_index[None, :]) == 1
    distance = jnp.where(bonded, rc.CA_CA_TRANS, distance)
    weight = jnp.where(bonded, _BONDED_WEIGHT, weight)
    far = known < _KNOWN
    itself = jnp.eye(len(seq_mask), dtype=seq_mask.dtype)
    pair_mask = seq_mask[:, None] * seq_mask[None, :] * (1 - itself)
    reached = jnp.where(far | (pair_mask == 0), _UNREACHED, distance) * (1 - itself)
    paths = shortest_paths(reached, pair_mask > 0)
    joined = paths < _UNREACHED
    longest = jnp.max(jnp.where(joined & (pair_mask > 0), paths, 0))
    distance = jnp.where(far, jnp.where(joined, paths, longest), distance)
    weight = jnp.where(far, _FAR_WEIGHT * joined, weight)
    return Expected(distance * pair_mask, weight * pair_mask, far)


def shortest_paths(distance: Float[Array, "n n"], wanted: Bool[Array, "n n"]) -> Float[Array, "n n"]:
    """Return the lengths of the shortest paths, of as many steps as join all pairs that are wanted, eight at least.

    Args:
        distance: Lengths of single steps, 0 on the diagonal, `_UNREACHED` where there is none.
        wanted: Pairs that are to be joined, where any path does.
    """
    most = max(math.ceil(math.log2(len(distance))), _DOUBLINGS)  # a path meets no residue twice

    def goes_on(state: tuple[Int[Array, ""], Float[Array, "n n"]]) -> Bool[Array, ""]:
        done, d = state
        return (done < _DOUBLINGS) | ((done < most) & jnp.any(wanted & (d >= _UNREACHED)))

    def double(state: tuple[Int[Array, ""], Float[Array, "n n"]]) -> tuple[Int[Array, ""], Float[Array, "n n"]]:
        done, d = state
        return done + 1, jnp.min(d[:, None, :] + d[None, :, :], axis=-1)  # symmetric: d_jk stands for d_kj

    return jax.lax.while_loop(goes_on, double, (jnp.zeros((), jnp.int32), distance))[1]


def classical_scaling(distance: Float[Array, "n n"], seq_mask: SeqMask) -> Float[Array, "n 3"]:
    """Return the three-dimensional embedding of a distance matrix (angstrom), up to a mirror image."""
    square = distance**2
    count = jnp.maximum(seq_mask.sum(), 1)
    row = square @ seq_mask / count
    total = row @ seq_mask / count
    gram = -0.5 * (square - row[:, None] - row[None, :] + total) * seq_mask[:, None] * seq_mask[None, :]
    values, vectors = jnp.linalg.eigh(gram)
    embedding = vectors[:, -3:] * jnp.sqrt(jnp.maximum(values[-3:], 0))
    return jnp.pad(embedding, ((0, 0), (3 - embedding.shape[1], 0)))  # of one or two residues


def majorise(
    start: Float[Array, "n 3"], distance: Float[Array, "n n"], weight: Float[Array, "n n"], seq_mask: SeqMask
) -> Float[Array, "n 3"]:
    """Lower the weighted stress, sum of w_ij (|x_i - x_j| - d_ij)^2, by a fixed number of Guttman transforms."""
    count = jnp.maximum(seq_mask.sum(), 1)
    laplacian = jnp.diag(weight.sum(-1)) - weight
    # The Laplacian is singular along translations (and at masked residues): fill those directions.
    filled = laplacian + seq_mask[:, None] * seq_mask[None, :] / count + jnp.diag(1 - seq_mask)
    inverse = jnp.linalg.inv(filled)

    def transform(_: int, x: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
        apart = jnp.sqrt(jnp.sum((x[:, None] - x[None]) ** 2, -1) + 1e-6)
        ratio = weight * distance / apart
        return inverse @ (ratio.sum(-1)[:, None] * x - ratio @ x)

    return jax.lax.fori_loop(0, _ITERATIONS, transform, start) * seq_mask[:, None]


def pseudo_dihedral(trace: Float[Array, "n 3"]) -> Float[Array, "n 2"]:
    """Return sine and cosine of the dihedral of points i-1 .. i+2; residues without all four get shifted ends."""
    a, b, c, d = jnp.roll(trace, 1, 0), trace, jnp.roll(trace, -1, 0), jnp.roll(trace, -2, 0)
    axis = (c - b) / (jnp.linalg.norm(c - b + 1e-6, axis=-1, keepdims=True) + 1e-6)
    left, right = jnp.cross(b - a, axis), jnp.cross(axis, d - c)
    cosine = jnp.sum(left * right, -1)
    sine = jnp.sum(jnp.cross(left, right) * axis, -1)
    norm = jnp.sqrt(sine**2 + cosine**2 + 1e-6)
    return jnp.stack([sine / norm, cosine / norm], -1)


def frames_from_trace(trace: Float[Array, "n 3"], seq_mask: SeqMask) -> geometry.Rigid:
    """Return backbone frames at the points of a CA trace, with C towards the next point and N towards the last.

    The ends of the real residues look where the chain would go on, a little bent, since three points on a line are no
    frame. Masked residues get the axes of space.
    """
    n = len(trace)
    real = seq_mask > 0
    previous, following = jnp.roll(trace, 1, axis=0), jnp.roll(trace, -1, axis=0)
    has_previous = jnp.roll(real, 1).at[0].set(False)
    has_following = jnp.roll(real, -1).at[n - 1].set(False)
    bend = jnp.array([0.3, 0.2, 0.1], trace.dtype)
    before = jnp.where(has_previous[:, None], previous, 2 * trace - following + bend)
    after = jnp.where(has_following[:, None], following, 2 * trace - previous + bend)
    frames = geometry.backbone_frames(before, trace, after)
    rotation = jnp.where(real[:, None, None], frames.rotation, jnp.eye(3, dtype=trace.dtype))
    return geometry.Rigid(rotation, trace)


def _inner(residue_index: ResidueIndex, seq_mask: SeqMask) -> Float[Array, " n"]:
    """Return 1 where residues i-1 .. i+2 exist and are consecutive."""
    ahead = (jnp.roll(residue_index, -2) - jnp.roll(residue_index, 1)) == 3
    real = seq_mask * jnp.roll(seq_mask, 1) * jnp.roll(seq_mask, -1) * jnp.roll(seq_mask, -2)
    position = jnp.arange(len(seq_mask))
    return real * ahead * (position > 0) * (position < len(seq_mask) - 2)
