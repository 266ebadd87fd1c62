"""Hands and peptide bonds of distorted structures, and the start that has them right."""

import dataclasses
import time

import numpy as np
import pytest

from models import residue_constants as rc
from pipeline import quality
from pipeline.ligands import obstacles
from pipeline.protein import read_structure
from pipeline.relax import smooth, stereo
from pipeline.relax.budget import Budget
from pipeline.relax.machine import choose_machine
from pipeline.relax.settings import Settings
from pipeline.relax.stage import relax

RUNS = [slice(0, 58)]


@pytest.fixture(scope="module")
def bpti(golden):
    return read_structure(golden / "1bpi_A.pdb")


def noisy(protein, width, seed=1):
    noise = np.random.default_rng(seed).normal(scale=width, size=protein.atom37_positions.shape)
    return dataclasses.replace(protein, atom37_positions=(protein.atom37_positions + noise).astype(np.float32))


def mirrored(protein):
    return dataclasses.replace(protein, atom37_positions=protein.atom37_positions * np.float32([1, 1, -1]))


def test_a_good_structure_is_as_it_is_to_be(bpti):
    wanted = stereo.intended(bpti, RUNS)
    letters = [bpti.sequence.count(letter) for letter in "GTI"]
    assert len(wanted.angle) == (58 - letters[0]) + letters[1] + letters[2] + 57  # CA, CB, peptide bonds
    assert wanted.off(bpti).max() < 30
    assert stereo.right_hands(bpti, RUNS) == (bpti, ())


def test_well_formed_d_residues_stay(bpti):
    mirror = mirrored(bpti)
    assert stereo.right_hands(mirror, RUNS)[1] == ()
    assert len(stereo.intended(mirror, RUNS).angle) == 57  # the peptide bonds alone


@pytest.mark.parametrize("width", [0.3, 0.5, 0.8])
def test_noise_changes_no_intention(bpti, width):
    true, found = (stereo.intended(stereo.right_hands(p, RUNS)[0], RUNS) for p in (bpti, noisy(bpti, width)))
    assert len(found.angle) >= len(true.angle) - 1  # an inverted side chain may look well-formed
    assert set(zip(map(tuple, found.residue.tolist()), found.angle, strict=True)) <= set(
        zip(map(tuple, true.residue.tolist()), true.angle, strict=True)
    )


def with_cis_peptide(protein, row):
    """Turn all that follows a peptide bond about it."""
    x = protein.atom37_positions.astype(np.float64)
    c, n = x[row - 1, rc.ATOM37_ID["C"]], x[row, rc.ATOM37_ID["N"]]
    axis = (n - c) / np.linalg.norm(n - c)
    omega = np.deg2rad(quality.backbone(protein).omega[row])
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.cos(omega) * np.eye(3) - np.sin(omega) * cross + (1 - np.cos(omega)) * np.outer(axis, axis)
    keep = x[row, rc.ATOM37_ID["N"]].copy()
    x[row:] = (x[row:] - n) @ turn.T + n
    x[row, rc.ATOM37_ID["N"]] = keep
    return dataclasses.replace(protein, atom37_positions=x.astype(np.float32))


def test_a_cis_peptide_stays_cis(bpti):
    row = 1  # a proline
    assert bpti.sequence[row] == "P"
    cis = with_cis_peptide(bpti, row)
    assert abs(quality.backbone(cis).omega[row]) < 1
    for width in (0.0, 0.3):
        wanted = stereo.intended(noisy(cis, width), RUNS)
        after, omega = wanted.residue[wanted.peptide, 2], wanted.angle[wanted.peptide]
        assert after[omega == 0].tolist() == [row]
        assert len(after) == 57


def test_springs_are_at_rest_in_a_good_structure(bpti):
    wanted = stereo.intended(bpti, RUNS)
    springs = smooth.springs(bpti, RUNS, wanted, [(4, 54), (13, 37), (29, 50)])
    assert springs.strain(bpti) < 0.06
    atoms = int((bpti.atom37_mask & (np.arange(37) != rc.ATOM37_ID["OXT"])).sum())
    assert int(springs.bond.sum()) == atoms - 1 + 3 + rings(bpti)  # a tree of atoms, disulfide bonds, rings
    assert not smooth.is_rough(bpti, springs, wanted)
    assert smooth.is_rough(noisy(bpti, 0.2), springs, wanted)


def rings(protein):
    return sum({"P": 1, "F": 1, "Y": 1, "H": 1, "W": 2}.get(letter, 0) for letter in protein.sequence)


def test_smoothing_gives_the_shape_of_a_protein(bpti):
    bad, _ = stereo.right_hands(noisy(bpti, 0.5), RUNS)
    wanted = stereo.intended(bad, RUNS)
    springs = smooth.springs(bad, RUNS, wanted, [])
    budget = Budget(1000, time.monotonic() + 60)
    stiffness = np.where(bad.atom37_mask, 10.0, 0.0)
    stiffness[7] = np.inf
    means = choose_machine("CPU", 1), budget
    found = smooth.smooth(bad, (springs, wanted), stiffness, bad.atom37_mask, means)
    assert springs.strain(found) < 0.1 < springs.strain(bad)
    assert quality.assess(found)["d_residues"] == 0
    assert 0 < budget.used <= 300
    np.testing.assert_allclose(found.atom37_positions[7], bad.atom37_positions[7], atol=1e-5)


@pytest.mark.parametrize("width", [0.3, 0.8])
def test_noise_leaves_no_d_residue_and_no_twisted_peptide(bpti, width):
    result = relax(noisy(bpti, width), Settings())
    after = result.record.violations_after
    assert (result.record.rung, after["d_residues"], after["twisted_peptides"], after["cis_peptides"]) == (
        "full",
        0,
        0,
        0,
    )
    assert any("heavy atoms were moved before hydrogens" in change for change in result.record.changes)
    assert result.record.energy_after < result.record.energy_before


def test_waters_and_hydrogens_are_no_obstacles(bpti):
    assert obstacles(bpti)[1].shape == (0, 3)
