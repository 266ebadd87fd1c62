"""Rigid motions, torsions and the ways between torsions, frames and atoms.

Positions are in angstrom unless a caller scales them. Small products over the three axes of space are written as sums:
they fuse, and they keep full precision on every device. The type of the inputs is kept.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from models import residue_constants as rc
from models.shapes import Aatype, Atom14, Atom37, Atom37Mask, Rotation, Torsions, Translation

_EPSILON = 1e-8  # keeps norms and their gradients finite where points coincide


def rotate(rotation: Float[Array, "... 3 3"], vector: Float[Array, "... 3"]) -> Float[Array, "... 3"]:
    """Turn vectors by rotation matrices; leading axes broadcast."""
    return jnp.sum(rotation * vector[..., None, :], axis=-1)


def product(first: Float[Array, "... 3 3"], second: Float[Array, "... 3 3"]) -> Float[Array, "... 3 3"]:
    """Multiply rotation matrices; leading axes broadcast."""
    return jnp.sum(first[..., :, :, None] * second[..., None, :, :], axis=-2)


def transposed(rotation: Rotation) -> Rotation:
    """Return the inverse of rotation matrices."""
    return jnp.swapaxes(rotation, -1, -2)


class Rigid(NamedTuple):
    """Rigid motions x -> R x + t.

    Args:
        rotation: R, shape (..., 3, 3).
        translation: t, shape (..., 3).
    """

    rotation: Rotation
    translation: Translation

    def apply(self, points: Float[Array, "... 3"]) -> Float[Array, "... 3"]:
        """Move points; leading axes broadcast."""
        return rotate(self.rotation, points) + self.translation

    def apply_inverse(self, points: Float[Array, "... 3"]) -> Float[Array, "... 3"]:
        """Return points in the frame's own coordinates; leading axes broadcast."""
        return rotate(transposed(self.rotation), points - self.translation)

    def compose(self, other: "Rigid") -> "Rigid":
        """Return the motion that does `other` first, then this one."""
        return Rigid(product(self.rotation, other.rotation), self.apply(other.translation))

    def inverse(self) -> "Rigid":
        """Return the motion that undoes this one."""
        back = transposed(self.rotation)
        return Rigid(back, -rotate(back, self.translation))

    def per_atom(self) -> "Rigid":
        """Add an axis before the axes of space, so that frames (..., n) move points (..., n, atoms)."""
        return Rigid(self.rotation[..., None, :, :], self.translation[..., None, :])

    def scaled(self, factor: float) -> "Rigid":
        """Multiply the translations, as for another unit of length."""
        return Rigid(self.rotation, self.translation * factor)


def identity(shape: tuple[int, ...], dtype: jnp.dtype | type = jnp.float32) -> Rigid:
    """Return frames at the origin with the axes of space, one per element of `shape`."""
    return Rigid(jnp.broadcast_to(jnp.eye(3, dtype=dtype), (*shape, 3, 3)), jnp.zeros((*shape, 3), dtype))


def safe_norm(vector: Float[Array, "*batch d"], epsilon: float = _EPSILON, *, keepdims: bool = False) -> Array:
    """Return the length of vectors as sqrt(|v|^2 + epsilon), whose gradient is finite at zero."""
    return jnp.sqrt(jnp.sum(jnp.square(vector), axis=-1, keepdims=keepdims) + epsilon)


def distances(
    first: Float[Array, "p 3"], second: Float[Array, "q 3"], epsilon: float = _EPSILON
) -> Float[Array, "p q"]:
    """Return all distances between two sets of points, as `safe_norm` has it."""
    # axis by axis: a sum over a trailing axis of three would not be vectorised
    square = sum(jnp.square(first[:, None, axis] - second[None, :, axis]) for axis in range(3))
    return jnp.sqrt(square + epsilon)


def normalized(vector: Float[Array, "*batch d"], epsilon: float = _EPSILON) -> Float[Array, "*batch d"]:
    """Return vectors of length one; zero stays zero."""
    return vector / safe_norm(vector, epsilon, keepdims=True)


def frames_from_points(
    x_axis: Float[Array, "*batch 3"], origin: Float[Array, "*batch 3"], in_plane: Float[Array, "*batch 3"]
) -> Rigid:
    """Make frames by Gram-Schmidt (Suppl. Alg. 21).

    Args:
        x_axis: Vector along x (not a point).
        origin: Origin, which becomes the translation.
        in_plane: Point in the x-y plane on the side of positive y.
    """
    e0 = normalized(x_axis)
    v = in_plane - origin
    e1 = normalized(v - jnp.sum(e0 * v, axis=-1, keepdims=True) * e0)
    return Rigid(jnp.stack([e0, e1, jnp.cross(e0, e1)], axis=-1), origin)


def backbone_frames(n: Float[Array, "*batch 3"], ca: Float[Array, "*batch 3"], c: Float[Array, "*batch 3"]) -> Rigid:
    """Return backbone frames: CA at the origin, C on x, N in the plane with positive y."""
    return frames_from_points(c - ca, ca, n)


def rotation_from_quaternion(quaternion: Float[Array, "*batch 4"]) -> Rotation:
    """Return the rotation of a quaternion (w, x, y, z) of any length but zero."""
    q = quaternion / jnp.linalg.norm(quaternion, axis=-1, keepdims=True)
    w, x, y, z = jnp.moveaxis(q, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def rotation_from_vector(vector: Float[Array, "*batch 3"]) -> Rotation:
    """Return the rotation of the quaternion (1, x, y, z), normalised (Suppl. Alg. 23)."""
    return rotation_from_quaternion(jnp.concatenate([jnp.ones_like(vector[..., :1]), vector], axis=-1))


def table(values: np.ndarray, aatype: Int[Array, "..."], dtype: jnp.dtype | type | None = None) -> Array:
    """Return the rows of a table over the 21 residue types; types beyond X (a gap) read as X."""
    return jnp.asarray(values, dtype)[jnp.minimum(aatype, rc.UNKNOWN)]


def pseudo_beta(
    aatype: Int[Array, "*batch n"], positions: Float[Array, "*batch n 37 3"], mask: Float[Array, "*batch n 37"]
) -> tuple[Float[Array, "*batch n 3"], Float[Array, "*batch n"]]:
    """Return the position and mask of CB, or of CA for glycine."""
    is_glycine = aatype == rc.RESTYPE_ID["G"]
    ca, cb = rc.ATOM37_ID["CA"], rc.ATOM37_ID["CB"]
    return (
        jnp.where(is_glycine[..., None], positions[..., ca, :], positions[..., cb, :]),
        jnp.where(is_glycine, mask[..., ca], mask[..., cb]),
    )


class TorsionAngles(NamedTuple):
    """Torsions in the order pre-omega, phi, psi, chi 1 to 4.

    Args:
        sin_cos: Sine and cosine, shape (..., n, 7, 2); not masked.
        alternative: The same with the other naming of symmetric side chains.
        mask: 1 where all four atoms are there, shape (..., n, 7).
    """

    sin_cos: Float[Array, "*batch n 7 2"]
    alternative: Float[Array, "*batch n 7 2"]
    mask: Float[Array, "*batch n 7"]


def dihedral(points: Float[Array, "*batch 4 3"]) -> Float[Array, "*batch 2"]:
    """Return sine and cosine of the dihedral of four points; both zero where it is undefined."""
    frame = frames_from_points(points[..., 2, :] - points[..., 1, :], points[..., 2, :], points[..., 0, :])
    fourth = frame.apply_inverse(points[..., 3, :])
    return normalized(fourth[..., :0:-1])  # z is the sine, y the cosine


def dihedral_angle(points: Float[Array, "*batch 4 3"]) -> Float[Array, "*batch"]:
    """Return the dihedral of four points in radian; 0, without a gradient, where it is undefined."""
    a, b, c, d = (points[..., k, :] for k in range(4))
    axis = c - b
    left, right = jnp.cross(b - a, axis), jnp.cross(axis, d - c)
    sine = safe_norm(axis) * jnp.sum((b - a) * right, axis=-1)
    cosine = jnp.sum(left * right, axis=-1)
    undefined = jnp.square(sine) + jnp.square(cosine) < _EPSILON
    return jnp.arctan2(jnp.where(undefined, 0, sine), jnp.where(undefined, 1, cosine))


def _shifted(x: Array, axis: int) -> Array:
    """Move everything one residue on; the first residue gets zeros."""
    start = jnp.zeros_like(jnp.take(x, jnp.array([0]), axis=axis))
    return jnp.concatenate([start, jnp.take(x, jnp.arange(x.shape[axis] - 1), axis=axis)], axis=axis)


def torsion_angles(
    aatype: Int[Array, "*batch n"], positions: Float[Array, "*batch n 37 3"], mask: Float[Array, "*batch n 37"]
) -> TorsionAngles:
    """Measure the seven torsions of each residue.

    Residues that follow one another in the arrays count as neighbours. Psi ends at O, half a turn from the next N, and
    has its signs turned for that.

    Source: Jumper et al. 2021, Suppl. 1.2.9 and Table 2.
    """
    n, ca, c, o = (rc.ATOM37_ID[name] for name in ("N", "CA", "C", "O"))
    before, before_mask = _shifted(positions, -3), _shifted(mask, -2)
    backbone = [
        [before[..., ca, :], before[..., c, :], positions[..., n, :], positions[..., ca, :]],
        [before[..., c, :], positions[..., n, :], positions[..., ca, :], positions[..., c, :]],
        [positions[..., n, :], positions[..., ca, :], positions[..., c, :], positions[..., o, :]],
    ]
    chi_atoms = table(rc.CHI_ATOM37, aatype)  # (..., n, 4, 4)
    flat = chi_atoms.reshape(*chi_atoms.shape[:-2], 16)
    chi = jnp.take_along_axis(positions, flat[..., None], axis=-2).reshape(*chi_atoms.shape, 3)
    points = jnp.concatenate([jnp.stack([jnp.stack(p, axis=-2) for p in backbone], axis=-3), chi], axis=-3)

    here = mask[..., n] * mask[..., ca]
    backbone_mask = jnp.stack(
        [
            before_mask[..., ca] * before_mask[..., c] * here,
            before_mask[..., c] * here * mask[..., c],
            here * mask[..., c] * mask[..., o],
        ],
        axis=-1,
    )
    chi_there = jnp.take_along_axis(mask, flat, axis=-1).reshape(chi_atoms.shape).prod(axis=-1)
    chi_mask = chi_there * table(rc.CHI_MASK, aatype, mask.dtype)

    signs = jnp.array([1, 1, -1, 1, 1, 1, 1], positions.dtype)[:, None]
    sin_cos = dihedral(points) * signs
    turned = 1 - 2 * table(rc.CHI_PI_PERIODIC, aatype, positions.dtype)
    turned = jnp.concatenate([jnp.ones_like(turned[..., :3]), turned], axis=-1)
    return TorsionAngles(sin_cos, sin_cos * turned[..., None], jnp.concatenate([backbone_mask, chi_mask], axis=-1))


def atom14_to_atom37(aatype: Aatype, atom14: Float[Array, "n 14 *x"]) -> Float[Array, "n 37 *x"]:
    """Spread packed atoms over the 37 columns; absent atoms are zero."""
    index, mask = table(rc.ATOM37_TO_ATOM14, aatype), table(rc.ATOM37_MASK, aatype, atom14.dtype)
    return _gathered(atom14, index, mask)


def atom37_to_atom14(aatype: Aatype, atom37: Float[Array, "n 37 *x"]) -> Float[Array, "n 14 *x"]:
    """Pack atoms to the left; absent atoms are zero."""
    index, mask = table(rc.ATOM14_TO_ATOM37, aatype), table(rc.ATOM14_MASK, aatype, atom37.dtype)
    return _gathered(atom37, index, mask)


def _gathered(atoms: Array, index: Array, mask: Array) -> Array:
    """Take columns of axis 1 and multiply by a mask."""
    more = (...,) + (None,) * (atoms.ndim - 2)
    return jnp.take_along_axis(atoms, index[more], axis=1) * mask[more]


def frames_from_torsions(aatype: Aatype, backbone: Rigid, sin_cos: Torsions) -> Rigid:
    """Place the eight rigid groups of each residue (Suppl. Alg. 24, lines 1 to 10).

    Args:
        aatype: Residue types, shape (n,).
        backbone: Backbone frames, shape (n,).
        sin_cos: Normalised sine and cosine of the seven torsions, shape (n, 7, 2).

    Returns:
        Frames in global coordinates, shape (n, 8).
    """
    dtype = sin_cos.dtype
    at_zero = table(rc.GROUP_ROTATION, aatype, dtype)  # (n, 8, 3, 3)
    origin = table(rc.GROUP_TRANSLATION, aatype, dtype)
    sin, cos = sin_cos[..., 0, None], sin_cos[..., 1, None]  # (n, 7, 1)
    y, z = at_zero[:, 1:, :, 1], at_zero[:, 1:, :, 2]
    turned = jnp.stack([at_zero[:, 1:, :, 0], cos * y + sin * z, cos * z - sin * y], axis=-1)
    # groups 5 to 7 are carried by the chi before; then the backbone carries all
    frames = [Rigid(turned[:, i], origin[:, i + 1]) for i in range(7)]
    for i in range(4, 7):
        frames[i] = frames[i - 1].compose(frames[i])
    carried = Rigid(*(jnp.stack(part, axis=1) for part in zip(*frames, strict=True)))
    placed = backbone.per_atom().compose(carried)
    return Rigid(
        jnp.concatenate([backbone.rotation[:, None], placed.rotation], axis=1),
        jnp.concatenate([backbone.translation[:, None], placed.translation], axis=1),
    )


_GROUP_OF_ATOM = np.eye(8, dtype=np.float32)[rc.ATOM14_GROUP]  # (21, 14, 8)


def atoms_from_frames(aatype: Aatype, frames: Rigid) -> Atom14:
    """Place the atoms of ideal residues (Suppl. Alg. 24, line 11); absent atoms are zero.

    Args:
        aatype: Residue types, shape (n,).
        frames: Frames of the rigid groups, shape (n, 8).
    """
    dtype = frames.translation.dtype
    group = table(_GROUP_OF_ATOM, aatype, dtype)
    numbers = jnp.concatenate([frames.rotation.reshape(-1, 8, 9), frames.translation], axis=-1)
    # a product with ones and zeros, not a gather: its gradient is a product too, where a gather's is a slow scatter
    per_atom = jnp.matmul(group, numbers, precision="highest")
    motion = Rigid(per_atom[..., :9].reshape(*per_atom.shape[:-1], 3, 3), per_atom[..., 9:])
    return motion.apply(table(rc.ATOM14_LOCAL, aatype, dtype)) * table(rc.ATOM14_MASK, aatype, dtype)[..., None]


def frames_from_atoms(aatype: Aatype, positions: Atom37, mask: Atom37Mask) -> tuple[Rigid, Float[Array, "n 8"]]:
    """Return the frames of the eight rigid groups that atoms define, and which are there.

    Undefined frames are the identity.

    Source: Jumper et al. 2021, Suppl. 1.8.4.
    """
    atoms = table(rc.GROUP_ATOM37, aatype)  # (n, 8, 3)
    flat = atoms.reshape(-1, 24)
    first, origin, plane = jnp.moveaxis(
        jnp.take_along_axis(positions, flat[..., None], axis=1).reshape(*atoms.shape, 3), 2, 0
    )
    # the axis ends at the origin, except in the backbone, where it leaves CA for C
    sign = jnp.where(jnp.arange(8) == 0, 1, -1).astype(positions.dtype)[:, None]
    frames = frames_from_points(sign * (first - origin), origin, plane)
    there = jnp.take_along_axis(mask, flat, axis=1).reshape(atoms.shape).prod(axis=-1)
    there = there * table(rc.GROUP_MASK, aatype, mask.dtype)
    none = identity(there.shape, positions.dtype)
    return (
        Rigid(
            jnp.where(there[..., None, None] > 0, frames.rotation, none.rotation),
            jnp.where(there[..., None] > 0, frames.translation, none.translation),
        ),
        there,
    )
