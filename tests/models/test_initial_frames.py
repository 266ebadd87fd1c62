"""Frames from predicted distances and from templates.

Exact distances give back the trace, whatever the padding; the hand is chosen. A template that the distances agree with
is followed and its gaps are closed; one that they contradict is not read.
"""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import alphafold, distogram_frames, geometry, params, template_frames
from models import residue_constants as rc
from models.config import PRESETS

LENGTH, PADDED, BINS = 37, 41, 64
EDGES = jnp.linspace(2.3125, 42.0, BINS - 1)


def helix(length: int = LENGTH, *, kink: int | None = 19) -> np.ndarray:
    """Return the CA trace of ideal alpha helices (1.5 A rise, 100 degrees, radius 2.3 A): one, or two with a kink."""
    i = np.arange(length)
    angle = np.deg2rad(100.0) * i
    trace = np.stack([2.3 * np.cos(angle), 2.3 * np.sin(angle), 1.5 * i], -1)
    turn = np.array([[1, 0, 0], [0, np.cos(2.1), -np.sin(2.1)], [0, np.sin(2.1), np.cos(2.1)]])
    if kink is not None:
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
    handedness[: len(trace)] = distogram_frames.pseudo_dihedral(jnp.asarray(trace)) * np.array([hand, 1.0])
    logits = jnp.asarray(sharp_logits(trace, padded))
    return distogram_frames.frames_from_distogram(
        distogram_frames.Belief(logits, EDGES, jnp.asarray(handedness), jnp.arange(padded), jnp.asarray(mask))
    )


def belief_in(trace: np.ndarray) -> distogram_frames.Belief:
    """Return a sharp belief in the distances of a trace, of no hand."""
    logits = jnp.asarray(sharp_logits(trace, LENGTH))
    return distogram_frames.Belief(logits, EDGES, jnp.ones((LENGTH, 2)), jnp.arange(LENGTH), jnp.ones(LENGTH))


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
    distance, weight, far = distogram_frames.expected_distances(belief_in(line))
    assert far[0, -1]
    assert not far[0, 5]
    assert float(distance[0, -1]) == pytest.approx(3.8 * (LENGTH - 1), rel=0.05)
    assert float(weight[0, -1]) < 0.01 < float(weight[0, 5])


def test_a_path_takes_no_more_steps_than_it_needs():
    rng = np.random.default_rng(3)
    ends = rng.normal(0, 6, (24, 3)) + np.repeat([[0, 0, 0], [30, 0, 0]], 12, axis=0)
    apart = np.linalg.norm(ends[:, None] - ends[None], axis=-1)
    direct = np.where(apart > 25, 1e5, apart)
    paths = np.asarray(distogram_frames.shortest_paths(jnp.asarray(direct), jnp.asarray(apart > 0)))
    exact = direct.copy()
    for k in range(len(exact)):  # Floyd 1962, Communications of the ACM 5, 345
        exact = np.minimum(exact, exact[:, k, None] + exact[None, k])
    assert exact.max() > 25
    np.testing.assert_allclose(paths, exact, rtol=1e-5)


def test_a_long_helix_is_as_long_as_it_is():
    trace = helix(311, kink=None)
    logits = jnp.asarray(sharp_logits(trace, 311))
    belief = distogram_frames.Belief(logits, EDGES, jnp.ones((311, 2)), jnp.arange(311), jnp.ones(311))
    found = distogram_frames.expected_distances(belief)
    assert float(found.distance[0, -1]) == pytest.approx(1.5 * 310, rel=0.02)
    assert float(found.weight[0, -1]) > 0


def test_parts_that_nothing_joins_decide_nothing_of_each_other():
    trace = helix()
    trace[19:] += np.array([0, 0, 500.0], np.float32)
    logits = jnp.asarray(sharp_logits(trace, LENGTH))
    number = jnp.arange(LENGTH) + 100 * (jnp.arange(LENGTH) > 18)  # a gap in the numbering: no bond there
    found = distogram_frames.expected_distances(
        distogram_frames.Belief(logits, EDGES, jnp.ones((LENGTH, 2)), number, jnp.ones(LENGTH))
    )
    assert not np.any(np.asarray(found.weight)[:19, 19:])
    assert float(found.distance.max()) < 100


@pytest.mark.parametrize("length", [1, 2])
def test_the_shortest_chains_have_frames(length):
    found = frames(helix(length, kink=None), length)
    assert found.translation.shape == (length, 3)
    assert np.isfinite(found.translation).all()
    assert np.isfinite(found.rotation).all()


def test_stress_goes_down():
    rng = np.random.default_rng(5)
    distance, weight, _ = distogram_frames.expected_distances(belief_in(helix()))

    def stress(x):
        apart = jnp.sqrt(jnp.sum((x[:, None] - x[None]) ** 2, -1) + 1e-9)
        return float(jnp.sum(weight * (apart - distance) ** 2))

    start = jnp.asarray(helix() + rng.normal(0, 2.0, (LENGTH, 3)).astype(np.float32))
    assert stress(distogram_frames.majorise(start, distance, weight, jnp.ones(LENGTH))) < 0.1 * stress(start)


def test_no_gradient_flows():
    def score(logits):
        handedness = jnp.ones((LENGTH, 2))
        belief = distogram_frames.Belief(logits, EDGES, handedness, jnp.arange(LENGTH), jnp.ones(LENGTH))
        made = distogram_frames.frames_from_distogram(belief)
        return made.translation.sum() + made.rotation.sum()

    gradient = jax.grad(score)(jnp.asarray(sharp_logits(helix(), LENGTH)))
    assert not np.any(np.asarray(gradient))


# Templates (models/template_frames.py) -------------------------------------------------------------------------------

SEED = 7
SURE, UNSURE = 1.0, 0.02
GAP = slice(13, 18)


def backbone(trace: np.ndarray) -> geometry.Rigid:
    """Return frames at the points of a trace, with rotations of their own, somewhere else in space."""
    rng = np.random.default_rng(SEED)
    turns = np.linalg.qr(rng.normal(size=(len(trace) + 1, 3, 3)))[0]
    turns = turns * np.sign(np.linalg.det(turns))[:, None, None]
    moved = trace @ turns[-1].T + np.array([11.0, -5.0, 3.0])
    return geometry.Rigid(jnp.asarray(turns[:-1]), jnp.asarray(moved))


def scaffold(*traces: np.ndarray, gap: slice = slice(0, 0)) -> template_frames.Scaffold:
    frames = [backbone(trace) for trace in traces]
    mask = np.ones((len(traces), LENGTH), np.float32)
    mask[:, gap] = 0
    rotation, translation = (jnp.stack(parts) for parts in zip(*frames, strict=True))
    padding = ((0, 0), (0, PADDED - LENGTH))
    return template_frames.Scaffold(
        geometry.Rigid(jnp.pad(rotation, (*padding, (0, 0), (0, 0))), jnp.pad(translation, (*padding, (0, 0)))),
        jnp.pad(jnp.asarray(mask), padding),
    )


def thread(found: template_frames.Scaffold, *, belief: np.ndarray, sharpness: float) -> geometry.Rigid:
    """Return the frames for a distogram that believes in a trace, more or less."""
    mask = jnp.zeros(PADDED).at[:LENGTH].set(1)
    logits = jnp.asarray(sharpness * sharp_logits(belief, PADDED))
    hand = jnp.zeros((PADDED, 2)).at[:LENGTH].set(distogram_frames.pseudo_dihedral(jnp.asarray(belief)))
    return template_frames.frames_from_templates(
        distogram_frames.Belief(logits, EDGES, hand, jnp.arange(PADDED), mask), found
    )


def relative(rotation: np.ndarray, translation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all frames as seen from the first."""
    back = rotation[0].T
    return back @ rotation, (translation - translation[0]) @ back.T


def test_a_template_is_followed_exactly():
    found = scaffold(helix())
    frames = thread(found, belief=helix(), sharpness=UNSURE)
    ours = relative(*(np.asarray(x)[:LENGTH] for x in frames))
    theirs = relative(*(np.asarray(x)[0, :LENGTH] for x in found.frames))
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-4)
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-2)
    assert np.all(np.asarray(frames.translation)[LENGTH:] == 0)


def test_its_gap_is_closed():
    frames = thread(scaffold(helix(), gap=GAP), belief=helix(), sharpness=SURE)
    trace = np.asarray(frames.translation)[:LENGTH]
    assert superposed_rmsd(trace, helix()) < 0.3
    steps = np.linalg.norm(np.diff(trace, axis=0), axis=-1)
    assert np.all(np.abs(steps - rc.CA_CA_TRANS) < 0.6)


def test_its_hand_wins_over_the_predicted_one():
    mirrored = helix() * np.array([1, 1, -1], np.float32)  # the same distances
    frames = thread(scaffold(helix()), belief=mirrored, sharpness=SURE)
    assert superposed_rmsd(np.asarray(frames.translation)[:LENGTH], helix()) < 0.3


def test_a_template_that_the_distances_contradict_is_not_read():
    other = helix(kink=LENGTH - 1)  # one straight helix
    wrong = 3.0 * np.random.default_rng(SEED).normal(size=(LENGTH, 3)).astype(np.float32)
    with_it = thread(scaffold(wrong), belief=other, sharpness=SURE)
    without = thread(scaffold(wrong, gap=slice(0, LENGTH)), belief=other, sharpness=SURE)
    np.testing.assert_allclose(with_it.translation, without.translation, atol=1e-3)


def test_near_in_a_template_contradicts_far():
    triangle = jnp.asarray([[0.0, 0.0, 0.0], [12.0, 0.0, 0.0], [0.0, 12.0, 0.0]])
    apart = 45.0 * (1 - jnp.eye(3))
    expected = distogram_frames.Expected(apart, jnp.full((3, 3), 0.003), apart > 0)
    assert not template_frames.believe(triangle, jnp.ones(3), expected).any()
    unsure = expected._replace(far=jnp.zeros((3, 3), bool))
    assert template_frames.believe(triangle, jnp.ones(3), unsure).all()


def test_the_first_of_two_templates_has_the_last_word():
    both = thread(scaffold(helix(), helix() * 1.01), belief=helix(), sharpness=SURE)
    first = thread(scaffold(helix()), belief=helix(), sharpness=SURE)
    ours, theirs = (relative(*(np.asarray(x)[:LENGTH] for x in frames)) for frames in (both, first))
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-2)


def test_without_templates_they_are_those_of_the_distances():
    nothing = scaffold(helix(), gap=slice(0, LENGTH))
    mask = jnp.zeros(PADDED).at[:LENGTH].set(1)
    logits = jnp.asarray(sharp_logits(helix(), PADDED))
    hand = jnp.zeros((PADDED, 2)).at[:LENGTH].set(distogram_frames.pseudo_dihedral(jnp.asarray(helix())))
    belief = distogram_frames.Belief(logits, EDGES, hand, jnp.arange(PADDED), mask)
    frames = template_frames.frames_from_templates(belief, nothing), distogram_frames.frames_from_distogram(belief)
    for ours, theirs in zip(*frames, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.fixture(scope="module")
def network(network_tests):
    """Return a tiny network that starts from templates, its parameters and inputs."""
    config = network_tests.tiny(PRESETS["mini"])
    template = dataclasses.replace(config.evoformer.template, blocks=0)
    config = dataclasses.replace(config, evoformer=dataclasses.replace(config.evoformer, template=template))
    rng = np.random.default_rng(SEED)
    shapes = params.shapes(config)
    parameters = params.nested({n: rng.normal(scale=0.2, size=s).astype(np.float32) for n, s in shapes.items()})
    return config, parameters, network_tests.random_batch(config, 7, iterations=2)


def test_the_network_starts_from_them(network):
    config, parameters, batch = network
    assert not any("template_pair_stack" in scope for scope in parameters)
    run = jax.jit(hk.transform(lambda batch: alphafold.predict(config, batch, 1)).apply)
    with_templates = run(parameters, None, batch)["structure_module"]["final_atom_positions"]
    blank = {**batch, "template_mask": jnp.zeros_like(batch["template_mask"])}
    without = run(parameters, None, blank)["structure_module"]["final_atom_positions"]
    assert np.all(np.isfinite(with_templates))
    assert np.all(np.isfinite(without))
    assert float(jnp.abs(with_templates - without).max()) > 0.1
