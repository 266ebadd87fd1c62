"""Backbone codes: errors stay where they arise, and what went in comes out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.library import backbone

TOLERANCE = 0.02  # angstrom: what the library promises


def walk(residues, seed, bond=1.5):
    """Return random N, CA, C and O with typical bonds, shape (residues, 4, 3), somewhere in space."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(residues * 3, 3)) + np.array([1.0, 0.5, 0.0])
    main_chain = np.cumsum(bond * steps / np.linalg.norm(steps, axis=-1, keepdims=True), axis=0).reshape(-1, 3, 3)
    direction = rng.normal(size=(residues, 3))
    oxygen = main_chain[:, 2] + 1.23 * direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    return np.concatenate([main_chain, oxygen[:, None]], axis=1) + rng.normal(size=3) * 50


def distances(positions):
    flat = positions[:, :4].reshape(-1, 3).astype(np.float64)
    return np.linalg.norm(flat[:, None] - flat[None], axis=-1)


def superposed_errors(found, expected):
    a, b = (x[:, :4].reshape(-1, 3).astype(np.float64) for x in (found, expected))
    a, b = a - a.mean(0), b - b.mean(0)
    left, _, right = np.linalg.svd(a.T @ b)
    mirror = np.diag([1, 1, np.sign(np.linalg.det(left @ right))])
    return np.linalg.norm(a @ left @ mirror @ right - b, axis=-1)


@pytest.mark.parametrize("residues", [1, 2, 3, 7, 127])
def test_round_trip_stays_below_the_tolerance(residues):
    chain = walk(residues, seed=residues)
    decoded = backbone.decode(backbone.encode([chain])[0])
    assert decoded.shape == (residues, 5, 3)
    assert decoded.dtype == np.float32
    assert superposed_errors(decoded, chain).max() < TOLERANCE


def test_errors_do_not_add_up_along_a_long_chain():
    chain = walk(1009, seed=5)
    errors = superposed_errors(backbone.decode(backbone.encode([chain])[0]), chain).reshape(-1, 4).max(-1)
    assert errors[-101:].mean() < 1.5 * errors[:101].mean()
    assert errors.max() < TOLERANCE


def test_a_mirror_image_stays_a_mirror_image():
    chain = walk(31, seed=2)
    mirrored = backbone.decode(backbone.encode([chain * [-1, 1, 1]])[0])
    assert superposed_errors(mirrored, chain * [-1, 1, 1]).max() < TOLERANCE
    assert superposed_errors(mirrored, chain).max() > 1


def test_chains_side_by_side_are_coded_as_each_alone():
    chains = [walk(residues, seed=residues) for residues in (13, 2, 41, 7)]
    for together, alone in zip(backbone.encode(chains), [backbone.encode([chain])[0] for chain in chains], strict=True):
        np.testing.assert_array_equal(together, alone)


def test_codes_do_not_depend_on_the_pose():
    chain = walk(17, seed=3)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    one, other = (backbone.decode(code) for code in backbone.encode([chain, chain @ turn.T + [7.0, 11.0, 13.0]]))
    assert np.abs(distances(one) - distances(other)).max() < 2 * TOLERANCE


def test_a_damaged_bond_is_kept_within_the_tolerance():
    chain = walk(23, seed=4)
    chain[11:] += [5.0, 0.0, 0.0]
    assert superposed_errors(backbone.decode(backbone.encode([chain])[0]), chain).max() < TOLERANCE


def test_straight_bonds_have_no_special_case():
    chain = np.zeros((5, 4, 3))
    chain[:, :3, 0] = 1.5 * np.arange(15).reshape(5, 3)
    chain[:, 3] = chain[:, 2] + [0.0, 1.2, 0.0]
    chain[0, 0, 1] = 0.3  # the first three atoms make the frame
    assert superposed_errors(backbone.decode(backbone.encode([chain])[0]), chain).max() < TOLERANCE


def test_beta_carbons_have_the_hand_and_length_of_l_amino_acids():
    # N, CA, C of ideal L-alanine and its CB; Source: Engh and Huber 1991 geometry with CB 1.53 A from CA.
    n, ca, c, cb = np.array([[-0.525, 1.363, 0.0], [0, 0, 0], [1.526, 0, 0], [-0.529, -0.774, -1.205]])
    found = backbone.beta_carbons(np.array([[n, ca, c]]))[0]
    np.testing.assert_allclose(found, cb, atol=0.05)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 37), st.integers(0, 2**32 - 1), st.sampled_from([3, 100, 300, 32767]))
def test_pack_round_trip(residues, seed, largest):
    code = np.random.default_rng(seed).integers(-largest - 1, largest + 1, size=(residues, 12)).astype(np.int16)
    unpacked = backbone.unpack(backbone.pack(code), residues)
    assert unpacked.dtype == np.int16
    np.testing.assert_array_equal(unpacked, code)


def test_damaged_bytes_and_a_wrong_length_are_errors():
    packed = backbone.pack(np.zeros((7, 12), np.int16))
    with pytest.raises(ValueError, match="expected the code of 11 residues"):
        backbone.unpack(packed, 11)
    with pytest.raises(ValueError, match="incomplete or truncated"):
        backbone.unpack(packed[:-3], 7)
