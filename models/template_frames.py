"""Initial backbone frames from templates: their backbones where the network's own distances agree with them.

What a template leaves open comes from multidimensional scaling (`models/distogram_frames.py`), in which the distances
of the template stand for those of its own residues. So gaps are closed and several templates are put together by what
the network believes of the rest, and a wrong template, which the distogram contradicts, counts for nothing.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from models import distogram_frames, geometry
from models.geometry import Rigid
from models.shapes import SeqMask
from models.templates import BACKBONE, Template

_NEAR = 15.0  # angstrom: pairs that decide whether a residue of a template is believed
_SLACK = 1.0  # angstrom, beside two standard deviations of the predicted distance
_BELIEVED = 0.5  # share of its near pairs that agree
_WEIGHT = 4.0  # 1/A^2: as sure as a distance known to 0.5 A
_EPSILON = 1e-6


class Scaffold(NamedTuple):
    """The backbones of the templates in the target's numbering.

    Args:
        frames: Backbone frames, shape (t, n), angstrom; each template has a place of its own.
        mask: 1 where N, CA and C are known, shape (t, n).
    """

    frames: Rigid
    mask: Float[Array, "t n"]


def scaffold_of(template: Template, template_mask: Float[Array, " t"], seq_mask: SeqMask) -> Scaffold:
    """Return the backbones of the templates that exist."""
    frames = geometry.backbone_frames(*(template.positions[..., atom, :] for atom in BACKBONE))
    known = template.atom_mask[..., BACKBONE].prod(axis=-1)
    return Scaffold(frames, known * template_mask[:, None] * seq_mask)


def frames_from_templates(belief: distogram_frames.Belief, scaffold: Scaffold) -> Rigid:
    """Return backbone frames that follow the templates and, between them, the distances of a CA distogram.

    Args:
        belief: What the network believes of the chain.
        scaffold: The templates' backbones, the best first. Without any, the frames are those of
            `distogram_frames.frames_from_distogram`.

    Returns:
        One frame per residue, angstrom; masked residues lie at the origin. No gradient flows through them.
    """
    expected = distogram_frames.expected_distances(belief)
    distance, weight, handedness = expected.distance, expected.weight, belief.handedness
    believed = jax.vmap(lambda ca, mask: believe(ca, mask, expected))(scaffold.frames.translation, scaffold.mask)
    numbered = list(zip(scaffold.frames.translation, scaffold.frames.rotation, believed, strict=True))[::-1]
    for ca, _, trust in numbered:  # the best template last, so that it has the last word
        pairs = trust[:, None] * trust[None, :] * (1 - jnp.eye(len(trust), dtype=trust.dtype)) > 0
        distance = jnp.where(pairs, geometry.distances(ca, ca, _EPSILON), distance)
        weight = jnp.where(pairs, _WEIGHT, weight)
        handedness = jnp.where(_whole_runs(trust)[:, None], distogram_frames.pseudo_dihedral(ca), handedness)
    trace = distogram_frames.trace_of(distance, weight, belief._replace(handedness=handedness))
    rotation, translation = distogram_frames.frames_from_trace(trace, belief.seq_mask)
    for ca, turn, trust in numbered:
        placed, rotated = _placed(ca, turn, trace, trust)
        translation = jnp.where(trust[:, None] > 0, placed, translation)
        rotation = jnp.where(trust[:, None, None] > 0, rotated, rotation)
    return jax.lax.stop_gradient(Rigid(rotation, translation))


def believe(
    ca: Float[Array, "n 3"], mask: Float[Array, " n"], expected: distogram_frames.Expected
) -> Float[Array, " n"]:
    """Return 1 for the residues of a template whose near distances agree with the predicted ones, 0 for the others.

    Args:
        ca: CA atoms of the template, angstrom.
        mask: 1 where the template has the residue.
        expected: Predicted distances; a pair that is far by them agrees with no near one.
    """
    ours = geometry.distances(ca, ca, _EPSILON)
    agrees = jnp.abs(ours - expected.distance) < _SLACK + 2 / jnp.sqrt(expected.weight + _EPSILON)
    counted = mask[:, None] * mask[None, :] * (ours < _NEAR) * (1 - jnp.eye(len(mask), dtype=mask.dtype))
    share = jnp.sum(counted * (agrees & ~expected.far), axis=-1) / (jnp.sum(counted, axis=-1) + _EPSILON)
    return mask * (share > _BELIEVED)


def _whole_runs(trust: Float[Array, " n"]) -> Array:
    """Return whether the residues i-1 .. i+2 are all of the template."""
    return trust * jnp.roll(trust, 1) * jnp.roll(trust, -1) * jnp.roll(trust, -2) > 0


def _placed(
    ca: Float[Array, "n 3"], rotation: Float[Array, "n 3 3"], trace: Float[Array, "n 3"], trust: Float[Array, " n"]
) -> tuple[Float[Array, "n 3"], Float[Array, "n 3 3"]]:
    """Return a template's positions and rotations after the best superposition of its CA atoms onto the trace.

    Source: Kabsch 1976, Acta Cryst. A32, 922.
    """
    count = jnp.maximum(trust.sum(), 1)
    centre, target = trust @ ca / count, trust @ trace / count
    covariance = jnp.einsum("n,nx,ny->xy", trust, trace - target, ca - centre)
    u, _, vt = jnp.linalg.svd(covariance + _EPSILON * jnp.eye(3, dtype=ca.dtype))
    sign = jnp.ones(3, ca.dtype).at[2].set(jnp.sign(jnp.linalg.det(u @ vt)))
    turn = (u * sign) @ vt
    return (ca - centre) @ turn.T + target, geometry.product(turn[None], rotation)
