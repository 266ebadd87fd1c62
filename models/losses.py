"""The losses (Suppl. 1.9). Each is a pure function of predictions, truth and float masks; `objective` adds them up.

Positions and errors are in angstrom.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from models import geometry, hydrogen_bonds
from models import residue_constants as rc
from models.geometry import Rigid, TorsionAngles, safe_norm, table
from models.shapes import Aatype, Atom14, Atom14Mask, ResidueIndex, SeqMask

Scalar = Float[Array, ""]

FAPE_CLAMP = 10.0  # angstrom
FAPE_SCALE = 10.0  # angstrom
_FAPE_EPSILON = 1e-4  # square angstrom
_DISTANCE_EPSILON = 1e-10  # square angstrom
_LDDT_CUTOFF = 15.0  # angstrom
_PHI_PSI = np.array([1, 2], np.int32)  # of the seven torsions
_OVER_THE_BOND = np.array([1, 1, 0, 0, 0, 0, 0], np.float32)  # those that reach to the residue before


def masked_mean(value: Array, mask: Array, epsilon: float = 1e-6) -> Scalar:
    """Return the mean of values where the mask is 1; 0 for an empty mask."""
    return jnp.sum(value * mask) / (jnp.sum(jnp.broadcast_to(mask, value.shape)) + epsilon)


def cross_entropy(logits: Float[Array, "*batch c"], target: Int[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Return -log p of the target class."""
    chosen = jnp.arange(logits.shape[-1]) == target[..., None]  # no gather: its gradient would be a scatter
    return jax.nn.logsumexp(logits, axis=-1) - jnp.sum(jnp.where(chosen, logits, 0), axis=-1)


def bin_of(value: Array, edges: Array) -> Int[Array, "..."]:
    """Return the number of edges below each value."""
    return jnp.sum(value[..., None] > edges, axis=-1)


# Truth ---------------------------------------------------------------------------------------------------------------


class Truth(NamedTuple):
    """What the experiment says of a chain, in the forms that the losses read.

    Args:
        frames: Frames of the rigid groups, shape (n, 8).
        frame_mask: 1 for groups that are seen, shape (n, 8).
        atom14: Positions, shape (n, 14, 3).
        atom14_mask: 1 for atoms that are seen, shape (n, 14).
        torsions: The seven torsions.
    """

    frames: Rigid
    frame_mask: Float[Array, "n 8"]
    atom14: Atom14
    atom14_mask: Atom14Mask
    torsions: TorsionAngles


def truth_of(
    aatype: Aatype, residue_index: ResidueIndex, positions: Float[Array, "n 37 3"], mask: Float[Array, "n 37"]
) -> Truth:
    """Return the truth of a chain from its atoms; across a gap in its numbers there are no torsions."""
    torsions = geometry.torsion_angles(aatype, positions, mask)
    bonded = jnp.concatenate([jnp.zeros(1), jnp.diff(residue_index) == 1])
    frames, frame_mask = geometry.frames_from_atoms(aatype, positions, mask)
    return Truth(
        frames,
        frame_mask,
        geometry.atom37_to_atom14(aatype, positions),
        geometry.atom37_to_atom14(aatype, mask),
        torsions._replace(mask=torsions.mask * jnp.where(_OVER_THE_BOND > 0, bonded[:, None], 1)),
    )


def _ambiguous_columns() -> tuple[np.ndarray, np.ndarray]:
    """Return up to four atom14 columns with two names per residue type, partners side by side, and their mask."""
    columns, mask = np.zeros((21, 4), np.int32), np.zeros((21, 4), np.float32)
    for i, swap in enumerate(rc.ATOM14_SWAP):
        both = [c for first in np.flatnonzero(swap > np.arange(14)) for c in (first, swap[first])]
        columns[i, : len(both)], mask[i, : len(both)] = both, 1
    return columns, mask


_AMBIGUOUS, _AMBIGUOUS_MASK = _ambiguous_columns()
_PARTNER = np.array([1, 0, 3, 2], np.int32)
_HALF_TURN = np.where(  # per residue type and group: what the other naming does to the y and z axes
    np.concatenate([np.zeros((21, 4)), rc.CHI_PI_PERIODIC], axis=1)[..., None] > 0, [1.0, -1.0, -1.0], [1.0, 1.0, 1.0]
)


def rename(aatype: Aatype, truth: Truth, predicted: Atom14) -> Truth:
    """Give the atoms with two names those that agree better with the prediction (Suppl. Alg. 26)."""
    predicted = jax.lax.stop_gradient(predicted)
    columns = table(_AMBIGUOUS, aatype)  # (n, 4)
    seen = jnp.take_along_axis(truth.atom14_mask, columns, axis=1) * table(_AMBIGUOUS_MASK, aatype, predicted.dtype)
    others = truth.atom14_mask * (1 - table(rc.ATOM14_AMBIGUOUS, aatype, predicted.dtype))

    def distances(atoms: Atom14) -> Float[Array, "n 4 a"]:
        few = jnp.take_along_axis(atoms, columns[..., None], axis=1).reshape(-1, 3)
        return geometry.distances(few, atoms.reshape(-1, 3), _DISTANCE_EPSILON).reshape(*columns.shape, -1)

    ours, theirs = distances(predicted), distances(truth.atom14)
    weight = seen[..., None] * others.reshape(-1)
    as_named = jnp.sum(weight * jnp.abs(ours - theirs), axis=(1, 2))
    renamed = jnp.sum(weight * jnp.abs(ours - theirs[:, _PARTNER]), axis=(1, 2))
    swap = renamed < as_named  # (n,)

    other = table(rc.ATOM14_SWAP, aatype)
    turn = table(_HALF_TURN, aatype, predicted.dtype)[:, :, None, :]
    return truth._replace(
        atom14=jnp.where(swap[:, None, None], jnp.take_along_axis(truth.atom14, other[..., None], 1), truth.atom14),
        atom14_mask=jnp.where(swap[:, None], jnp.take_along_axis(truth.atom14_mask, other, 1), truth.atom14_mask),
        frames=truth.frames._replace(
            rotation=truth.frames.rotation * jnp.where(swap[:, None, None, None], turn, jnp.ones_like(turn))
        ),
    )


# Structure -----------------------------------------------------------------------------------------------------------


def aligned_errors(
    frames: Rigid, true_frames: Rigid, points: Float[Array, "p 3"], true_points: Float[Array, "p 3"]
) -> Float[Array, "f p"]:
    """Return how far each point is from its true place as seen from each frame, angstrom.

    The difference of the two local positions is linear in both points: one matrix product gives all of them.
    """
    centre, true_centre = (jax.lax.stop_gradient(jnp.mean(f.translation, axis=0)) for f in (frames, true_frames))
    back, true_back = (jnp.moveaxis(f.rotation, -1, 0) for f in (frames, true_frames))  # (3, f, 3): rows of R^T
    shift = jnp.sum(true_back * (true_frames.translation - true_centre), -1)
    shift = shift - jnp.sum(back * (frames.translation - centre), -1)
    left = jnp.concatenate([back, -true_back, shift[..., None]], axis=-1)  # (3, f, 7)
    ones = jnp.ones_like(points[:, :1])
    right = jnp.concatenate([points - centre, true_points - true_centre, ones], axis=-1)
    products = jnp.matmul(left.reshape(-1, 7), right.T, precision="highest")
    # the barrier keeps the gradient a product as well; XLA would fuse it with what follows, element by element
    x, y, z = jax.lax.optimization_barrier(products).reshape(3, -1, len(points))
    return jnp.sqrt(x * x + y * y + z * z + _FAPE_EPSILON)


def fape(
    errors: Float[Array, "f p"],
    frame_mask: Float[Array, " f"],
    point_mask: Float[Array, " p"],
    clamp: float | None = FAPE_CLAMP,
) -> Scalar:
    """Return the frame-aligned point error in units of `FAPE_SCALE` (Suppl. Alg. 28).

    Args:
        errors: From `aligned_errors`.
        frame_mask: 1 for frames that count.
        point_mask: 1 for points that count.
        clamp: Largest error, angstrom; None for none.
    """
    if clamp is not None:
        errors = jnp.minimum(errors, clamp)
    weighted = jnp.dot(frame_mask, jnp.dot(errors, point_mask))
    return weighted / FAPE_SCALE / (jnp.sum(frame_mask) * jnp.sum(point_mask) + _FAPE_EPSILON)


def backbone_fape(trajectory: Rigid, truth: Truth, unclamped: float) -> tuple[Scalar, Scalar]:
    """Return the FAPE of CA in backbone frames: mean over the iterations, and of the last (Alg. 20, line 17).

    Args:
        trajectory: Backbone frames of each iteration, shape (layers, n).
        truth: From `truth_of`.
        unclamped: Share of the loss that is not clamped.
    """
    true_frames = Rigid(truth.frames.rotation[:, 0], truth.frames.translation[:, 0])
    mask = truth.frame_mask[:, 0]

    def of_layer(frames: Rigid) -> Scalar:
        errors = aligned_errors(frames, true_frames, frames.translation, true_frames.translation)
        return (1 - unclamped) * fape(errors, mask, mask) + unclamped * fape(errors, mask, mask, None)

    losses = jax.vmap(of_layer)(trajectory)
    return jnp.mean(losses), losses[-1]


_GROUPS_WITH_ATOMS = np.array([0, 3, 4, 5, 6, 7], np.int32)


def side_chain_fape(frames: Rigid, atoms: Atom14, truth: Truth) -> Scalar:
    """Return the clamped FAPE of all atoms in all frames (Alg. 20, line 28).

    Args:
        frames: Predicted frames, shape (n, 8).
        atoms: Predicted atoms.
        truth: Renamed truth.
    """
    ours, theirs = (
        Rigid(f.rotation[:, _GROUPS_WITH_ATOMS].reshape(-1, 3, 3), f.translation[:, _GROUPS_WITH_ATOMS].reshape(-1, 3))
        for f in (frames, truth.frames)
    )
    errors = aligned_errors(ours, theirs, atoms.reshape(-1, 3), truth.atom14.reshape(-1, 3))
    return fape(errors, truth.frame_mask[:, _GROUPS_WITH_ATOMS].reshape(-1), truth.atom14_mask.reshape(-1))


def torsion_loss(sin_cos: Float[Array, "layers n 7 2"], torsions: TorsionAngles) -> Scalar:
    """Return the mean square distance on the unit circle to the nearer of the two namings (Suppl. Alg. 27)."""
    as_named, renamed = (
        jnp.sum(jnp.square(sin_cos - target), axis=-1) for target in (torsions.sin_cos, torsions.alternative)
    )
    return masked_mean(jnp.minimum(as_named, renamed), torsions.mask, 1e-10)


def angle_norm_loss(unnormalized: Float[Array, "layers n 7 2"], seq_mask: SeqMask) -> Scalar:
    """Return how far the raw torsion vectors are from length one (Suppl. Alg. 27, line 3)."""
    return masked_mean(jnp.abs(safe_norm(unnormalized, 1e-6) - 1), seq_mask[:, None], 1e-10)


# Heads ---------------------------------------------------------------------------------------------------------------


def distogram_loss(
    logits: Float[Array, "n n bins"],
    edges: Float[Array, " edges"],
    points: Float[Array, "n 3"],
    mask: Float[Array, " n"],
) -> Scalar:
    """Return the cross entropy of the distances between points (Suppl. 1.9.8, eq. 41)."""
    target = bin_of(geometry.distances(points, points, 0.0), edges)
    return masked_mean(cross_entropy(logits, target), mask[:, None] * mask)


def lddt(points: Float[Array, "n 3"], true_points: Float[Array, "n 3"], mask: Float[Array, " n"]) -> Float[Array, " n"]:
    """Return the lDDT of each point, 0 to 1 (Mariani et al. 2013), over pairs nearer than 15 angstrom in truth."""
    ours, theirs = (geometry.distances(x, x, _DISTANCE_EPSILON) for x in (points, true_points))
    counted = (theirs < _LDDT_CUTOFF) * mask[:, None] * mask * (1 - jnp.eye(len(mask), dtype=mask.dtype))
    score = jnp.mean(jnp.abs(ours - theirs)[..., None] < jnp.array([0.5, 1.0, 2.0, 4.0]), axis=-1)
    return (jnp.sum(counted * score, axis=-1) + 1e-10) / (jnp.sum(counted, axis=-1) + 1e-10)


def plddt_loss(
    logits: Float[Array, "n bins"],
    points: Float[Array, "n 3"],
    true_points: Float[Array, "n 3"],
    mask: Float[Array, " n"],
) -> Scalar:
    """Return the cross entropy of the lDDT of CA that the prediction has (Suppl. Alg. 29)."""
    bins = logits.shape[-1]
    score = jax.lax.stop_gradient(lddt(points, true_points, mask))
    target = jnp.minimum(jnp.floor(score * bins).astype(jnp.int32), bins - 1)
    return masked_mean(cross_entropy(logits, target), mask, 1e-8)


def pae_loss(logits: Float[Array, "n n bins"], edges: Float[Array, " edges"], frames: Rigid, truth: Truth) -> Scalar:
    """Return the cross entropy of the aligned errors of CA that the prediction has (Suppl. 1.9.7)."""
    true_frames = Rigid(truth.frames.rotation[:, 0], truth.frames.translation[:, 0])
    errors = aligned_errors(frames, true_frames, frames.translation, true_frames.translation)
    square = jax.lax.stop_gradient(jnp.square(errors) - _FAPE_EPSILON)
    mask = truth.frame_mask[:, 0]
    return masked_mean(cross_entropy(logits, bin_of(square, jnp.square(edges))), mask[:, None] * mask, 1e-8)


def masked_msa_loss(
    logits: Float[Array, "s n c"], true_msa: Int[Array, "s n"], bert_mask: Float[Array, "s n"]
) -> Scalar:
    """Return the cross entropy of the hidden letters (Suppl. 1.9.9, eq. 42)."""
    return masked_mean(cross_entropy(logits, true_msa), bert_mask, 1e-8)


def experimentally_resolved_loss(
    logits: Float[Array, "n 37"], seen: Float[Array, "n 37"], exists: Float[Array, "n 37"]
) -> Scalar:
    """Return the binary cross entropy of whether atoms are seen, over those that exist (Suppl. 1.9.10, eq. 43)."""
    entropy = jax.nn.softplus(logits) - seen * logits
    return masked_mean(entropy, exists, 1e-8)


def torsion_bins_loss(logits: Float[Array, "n 2 bins"], torsions: TorsionAngles) -> Scalar:
    """Return the cross entropy of phi and psi over those that exist."""
    bins = logits.shape[-1]
    angle = jnp.arctan2(torsions.sin_cos[:, _PHI_PSI, 0], torsions.sin_cos[:, _PHI_PSI, 1])
    target = jnp.floor((angle / (2 * jnp.pi) + 0.5) * bins).astype(jnp.int32) % bins
    return masked_mean(cross_entropy(logits, target), torsions.mask[:, _PHI_PSI], 1e-8)


def secondary_structure_loss(logits: Float[Array, "n c"], states: Int[Array, " n"]) -> Scalar:
    """Return the cross entropy of helix, strand and neither (0, 1, 2) over those that are known (not below 0)."""
    return masked_mean(cross_entropy(logits, jnp.maximum(states, 0)), states >= 0, 1e-8)


def hydrogen_bond_loss(logits: Float[Array, "n n"], bonded: Int[Array, " n"], seq_mask: Float[Array, " n"]) -> Scalar:
    """Return the cross entropy of what each N-H binds, over those of which it is known.

    Args:
        logits: Of `heads.HydrogenBondHead`.
        bonded: The residue whose C=O each N-H binds, the residue itself where none; below 0 where not known.
        seq_mask: 1 for real residues.
    """
    shares = hydrogen_bonds.log_shares(logits, seq_mask)
    entropy = -jnp.take_along_axis(shares, jnp.maximum(bonded, 0)[:, None], axis=1)[:, 0]
    return masked_mean(entropy, (bonded >= 0) * seq_mask, 1e-8)


def handedness_loss(
    sin_cos: Float[Array, "n 2"], ca: Float[Array, "n 3"], mask: Float[Array, " n"], residue_index: ResidueIndex
) -> Scalar:
    """Return the mean square error of sine and cosine of the dihedrals of the CA of residues i-1 .. i+2."""
    if len(ca) < 4:
        return jnp.zeros((), sin_cos.dtype)

    def runs(x: Array) -> Array:  # (n - 3, 4, ...): residues i-1, i, i+1, i+2 for i = 1 .. n-3
        return jnp.stack([x[k : len(x) - 3 + k] for k in range(4)], axis=1)

    target = geometry.dihedral(runs(ca))
    known = runs(mask).prod(axis=1) * (residue_index[3:] - residue_index[:-3] == 3)
    return masked_mean(jnp.sum(jnp.square(sin_cos[1:-2] - target), axis=-1), known)
