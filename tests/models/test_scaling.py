"""Frames from predicted distances: exact distances give back the trace, whatever the padding; the hand is chosen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import scaling

LENGTH, PADDED, BINS = 37, 41, 64
EDGES = jnp.linspace(2.3125, 42.0, BINS - 1)


def helix(length: int = LENGTH, *, kink: int = 19) -> np.ndarray:
    """Return the CA trace of two ideal alpha helices (1.5 A rise, 100 degrees, radius 2.3 A) joined at a kink."""
    i = np.arange(length)
    angle = np.deg2rad(100.0) * i
    trace = np.stack([2.3 * np.cos(angle), 2.3 * np.sin(angle), 1.5 * i], -1)
    turn = np.array([[1, 0, 0], [0, np.cos(2.1), -np.sin(2.1)], [0, np.sin(2.1), np.cos(2.1)]])
    trace[kink:] = (trace[kink:] - trace[kink]) @ turn.T + trace[kink]
    return trace.astype(np.float32)


def sharp_logits(trace: np.ndarray, padded: int) -> np.ndarray:
    """Return logits that are sure of every distance of a trace."""
    n = len(trace)
    distance = np.linalg.norm(trace[:, None] - trace[None], axis=-1)
    step = float(EDGES[1] - EDGES[0])
    centres = np.append(np.asarray(EDGES) - step / 2, float(EDGES[-1]) + step / 2)
    logits = np.zeros((padded, padded, BINS), np.float32)
    logits[:n, :n] = -2.0 * (centres - distance[..., None]) ** 2
    return logits


def frames(trace: np.ndarray, padded: int, hand: float = 1.0):
    mask = np.zeros(padded, np.float32)
    mask[: len(trace)] = 1
    handedness = np.zeros((padded, 2), np.float32)
    handedness[: len(trace)] = scaling.pseudo_dihedral(jnp.asarray(trace)) * np.array([hand, 1.0])
    return scaling.frames_from_distogram(
        jnp.asarray(sharp_logits(trace, padded)), EDGES, jnp.asarray(handedness), jnp.arange(padded), jnp.asarray(mask)
    )


def superposed_rmsd(a: np.ndarray, b: np.ndarray) -> float:
    """Return the RMSD after superposition by a rotation, angstrom: a mirror image does not fit."""
    a, b = a - a.mean(0), b - b.mean(0)
    u, singular, v = np.linalg.svd(a.T @ b)
    singular[-1] *= np.sign(np.linalg.det(u @ v))
    return float(np.sqrt(max(((a**2).sum() + (b**2).sum() - 2 * singular.sum()) / len(a), 0.0)))


@pytest.mark.parametrize("padded", [LENGTH, PADDED])
def test_exact_distances_give_the_trace(padded):
    found = np.asarray(frames(helix(), padded).translation)
    assert superposed_rmsd(found[:LENGTH], helix()) < 0.2
    assert np.all(found[LENGTH:] == 0)


def test_the_hand_is_the_predicted_one():
    mirrored = helix() * np.array([1, 1, -1])
    found = np.asarray(frames(helix(), LENGTH, hand=-1.0).translation)
    assert superposed_rmsd(found, mirrored) < 0.2
    assert superposed_rmsd(found, helix()) > 1.0


def test_padding_changes_no_frame():
    exact, padded = frames(helix(), LENGTH), frames(helix(), PADDED)
    inner = [
        np.einsum("nia,mib->nmab", x.rotation[:LENGTH], x.rotation[:LENGTH]) for x in (exact, padded)
    ]  # the same in any pose
    np.testing.assert_allclose(inner[1], inner[0], atol=2e-2)
    np.testing.assert_array_equal(padded.rotation[LENGTH:], np.tile(np.eye(3), (PADDED - LENGTH, 1, 1)))


def test_frames_are_rotations_that_look_along_the_chain():
    result = frames(helix(), LENGTH)
    rotation = np.asarray(result.rotation)
    np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (LENGTH, 1, 1)), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0, atol=1e-5)
    ahead = np.diff(np.asarray(result.translation), axis=0)
    along = np.einsum("ni,ni->n", rotation[:-1, :, 0], ahead)  # the x axis points to C
    assert np.all(along > 3.0)


def test_pairs_beyond_the_last_edge_get_the_length_of_a_path():
    line = np.stack([np.zeros(LENGTH), np.zeros(LENGTH), 3.8 * np.arange(LENGTH)], -1).astype(np.float32)
    distance, weight = scaling.expected_distances(
        jnp.asarray(sharp_logits(line, LENGTH)), EDGES, jnp.arange(LENGTH), jnp.ones(LENGTH)
    )
    assert float(distance[0, -1]) == pytest.approx(3.8 * (LENGTH - 1), rel=0.05)
    assert float(weight[0, -1]) < 0.01 < float(weight[0, 5])


def test_stress_goes_down():
    rng = np.random.default_rng(5)
    distance, weight = scaling.expected_distances(
        jnp.asarray(sharp_logits(helix(), LENGTH)), EDGES, jnp.arange(LENGTH), jnp.ones(LENGTH)
    )

    def stress(x):
        apart = jnp.sqrt(jnp.sum((x[:, None] - x[None]) ** 2, -1) + 1e-9)
        return float(jnp.sum(weight * (apart - distance) ** 2))

    start = jnp.asarray(helix() + rng.normal(0, 2.0, (LENGTH, 3)).astype(np.float32))
    assert stress(scaling.majorise(start, distance, weight, jnp.ones(LENGTH))) < 0.1 * stress(start)


def test_no_gradient_flows():
    def score(logits):
        handedness = jnp.ones((LENGTH, 2))
        made = scaling.frames_from_distogram(logits, EDGES, handedness, jnp.arange(LENGTH), jnp.ones(LENGTH))
        return made.translation.sum() + made.rotation.sum()

    gradient = jax.grad(score)(jnp.asarray(sharp_logits(helix(), LENGTH)))
    assert not np.any(np.asarray(gradient))
