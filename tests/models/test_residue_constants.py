"""Laws of the tables, and a few numbers from Engh & Huber 1991 and the AlphaFold 2 supplement."""

import subprocess
import sys

import numpy as np
import pytest

from models import residue_constants as rc

LETTERS = list(rc.RESTYPES)


def test_alphabets():
    assert len(rc.RESTYPES) == 20
    assert "".join(sorted(rc.RESTYPES)) == rc.HHBLITS_ALPHABET[:20]
    assert sorted(rc.ONE_TO_THREE[letter] for letter in rc.RESTYPES) == [rc.ONE_TO_THREE[a] for a in rc.RESTYPES]
    assert rc.RESNAMES[rc.UNKNOWN] == "UNK"
    assert rc.RESTYPES_X_GAP[rc.GAP] == "-"


def test_hhblits_ids_round_trip():
    for letter in rc.RESTYPES_X_GAP:
        assert rc.RESTYPES_X_GAP[rc.HHBLITS_TO_RESTYPE[rc.HHBLITS_ID[letter]]] == letter
    np.testing.assert_array_equal(rc.HHBLITS_TO_RESTYPE[rc.RESTYPE_TO_HHBLITS], np.arange(22))
    read_as = {"B": "D", "Z": "E", "U": "C", "J": "X", "O": "X"}
    assert {a: rc.HHBLITS_ALPHABET[rc.HHBLITS_ID[a]] for a in read_as} == read_as


def test_atom_tables_agree():
    assert len(rc.ATOM37) == 37
    assert rc.ATOM14_MASK.sum() == rc.ATOM37_MASK.sum() == 167  # heavy atoms of the twenty amino acids
    assert rc.ATOM14_MASK[rc.UNKNOWN].sum() == 0
    assert rc.ATOM37_MASK[:, rc.ATOM37_ID["OXT"]].sum() == 0
    for i, letter in enumerate(rc.RESTYPES):
        names = rc.RESIDUE_ATOMS[letter]
        assert names[:4] == ("N", "CA", "C", "O")
        assert [rc.ATOM37[k] for k in rc.ATOM14_TO_ATOM37[i, : len(names)]] == list(names)
        there = np.flatnonzero(rc.ATOM37_MASK[i])
        np.testing.assert_array_equal(rc.ATOM14_TO_ATOM37[i, rc.ATOM37_TO_ATOM14[i, there]], there)


def test_chi_angles():
    numbers = dict(
        zip("ARNDCQEGHILKMFPSTWYV", [0, 4, 2, 2, 1, 3, 3, 0, 2, 2, 2, 4, 3, 2, 2, 1, 1, 2, 2, 1], strict=True)
    )
    assert {letter: len(rc.CHI_ATOMS[letter]) for letter in LETTERS} == numbers
    np.testing.assert_array_equal(rc.CHI_MASK.sum(1)[:20], list(numbers.values()))
    periodic = {(rc.RESTYPES[i], k + 1) for i, k in zip(*np.nonzero(rc.CHI_PI_PERIODIC), strict=True)}
    assert periodic == {("D", 2), ("E", 3), ("F", 2), ("Y", 2)}


def test_swaps_are_their_own_inverse():
    twice = np.take_along_axis(rc.ATOM14_SWAP, rc.ATOM14_SWAP, axis=1)
    np.testing.assert_array_equal(twice, np.tile(np.arange(14), (21, 1)))
    assert {rc.RESTYPES[i] for i in np.flatnonzero(rc.ATOM14_AMBIGUOUS.sum(1))} == set("DEFY")


def test_group_frames_are_rotations():
    product = rc.GROUP_ROTATION @ np.swapaxes(rc.GROUP_ROTATION, -1, -2)
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(rc.GROUP_ROTATION), 1, atol=1e-6)


@pytest.mark.parametrize("letter", LETTERS)
def test_ideal_bonds_match_the_literature(letter):
    """Within one rigid group the ideal positions have the literature's bond lengths to 0.06 angstrom."""
    i, names = rc.RESTYPE_ID[letter], rc.RESIDUE_ATOMS[letter]
    for atoms, mean, stddev in rc.BONDS[letter]:
        a, b = (names.index(name) for name in atoms.split("-"))
        assert 0.01 <= stddev < 0.07
        if rc.ATOM14_GROUP[i, a] == rc.ATOM14_GROUP[i, b]:
            distance = np.linalg.norm(rc.ATOM14_LOCAL[i, a] - rc.ATOM14_LOCAL[i, b])
            assert abs(distance - mean) < 0.06, atoms


def test_bonds_and_angles_have_literature_values():
    assert ("CA-CB", 1.52, 0.021) in rc.BONDS["A"]
    assert ("CB-SG", 1.812, 0.016) in rc.BONDS["C"]
    assert ("N-CA", 1.456, 0.015) in rc.BONDS["G"]
    assert ("N-CA", 1.459, 0.02) in rc.BONDS["W"]
    assert ("CG-CD-N", 103.2, 1.5) in rc.ANGLES["P"]
    assert ("N-CA-C", 111.0, 2.7) in rc.ANGLES["V"]
    assert len(rc.BONDS["W"]) == 15
    assert len(rc.ANGLES["W"]) == 20


def test_third_side_of_a_right_angle():
    length, stddev = rc._third_side((3.0, 0.1), (4.0, 0.2), (np.pi / 2, 0.0))
    assert length == pytest.approx(5)
    assert stddev == pytest.approx(np.hypot(0.6 * 0.1, 0.8 * 0.2))


def test_distance_bounds():
    lower, upper = rc.distance_bounds(1.5, 12.0)
    exists = rc.ATOM14_MASK[:, :, None] * rc.ATOM14_MASK[:, None, :] * (1 - np.eye(14))
    np.testing.assert_array_equal(lower, np.swapaxes(lower, 1, 2))
    assert np.all((lower > 0) == (exists > 0))
    assert np.all(upper >= lower)
    i = rc.RESTYPE_ID["A"]
    assert (lower[i, 0, 1], upper[i, 0, 1]) == pytest.approx((1.459 - 12 * 0.02, 1.459 + 12 * 0.02))
    assert lower[i, 3, 4] == pytest.approx(1.52 + 1.7 - 1.5)  # O and CB: no bond, no angle
    assert upper[i, 3, 4] == pytest.approx(1e10)


def test_imports_numpy_alone():
    code = "import sys, models.residue_constants; print('jax' in sys.modules or 'scipy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
