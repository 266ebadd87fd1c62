"""Comparison of two structures."""

from pathlib import Path

import numpy as np
import pytest

from pipeline import compare
from pipeline.protein import CA, read_structure

BPTI = Path(__file__).parent / "golden" / "1bpi_A.pdb"


@pytest.fixture(scope="module")
def reference():
    return read_structure(BPTI).atom37_positions[:, CA].astype(np.float64)


@pytest.fixture(scope="module")
def model(reference):
    return reference + np.random.default_rng(5).normal(size=reference.shape)


@pytest.fixture(scope="module")
def rotation():
    q, _ = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


@pytest.mark.parametrize("score", [compare.tm_score, compare.gdt_ts, lambda a, b: compare.lddt(a, b).score])
def test_rigid_motion_changes_no_score(reference, model, rotation, score):
    assert score(reference, reference) == pytest.approx(1)
    assert score(model @ rotation.T + 23, reference) == pytest.approx(score(model, reference), abs=1e-9)
    assert 0 < score(model, reference) < 1


def test_superposition(reference, model, rotation):
    assert compare.rmsd(reference @ rotation.T - 11, reference) == pytest.approx(0, abs=1e-9)
    assert compare.rmsd(reference + 2, reference, superposed=False) == pytest.approx(2 * 3**0.5)
    found, translation = compare.superpose(reference @ rotation.T - 11, reference)
    np.testing.assert_allclose(found, rotation.T, atol=1e-9)
    np.testing.assert_allclose(translation, found @ np.full(3, 11.0), atol=1e-8)
    mirror = reference * [1, 1, -1]
    assert compare.rmsd(mirror, reference) > 3  # a reflection is no superposition


def test_lddt_by_its_definition(reference, model):
    kept, pairs = np.zeros(len(reference)), np.zeros(len(reference))
    for i in range(len(reference)):
        for j in range(len(reference)):
            distance = np.linalg.norm(reference[i] - reference[j])
            if i != j and distance < 15:
                change = abs(np.linalg.norm(model[i] - model[j]) - distance)
                kept[i] += sum(change < t for t in (0.5, 1, 2, 4)) / 4
                pairs[i] += 1
    found = compare.lddt(model, reference)
    np.testing.assert_allclose(found.per_residue, kept / pairs)
    assert found.score == pytest.approx(kept.sum() / pairs.sum())


def test_lddt_leaves_out_distances_within_a_residue():
    atoms = np.array([[0.0, 0, 0], [1, 0, 0], [40, 0, 0]])
    found = compare.lddt(atoms * 3, atoms, np.array([0, 0, 1]))
    assert found.score == 0
    assert np.isnan(found.per_residue).all()


def test_tm_score_finds_the_half_that_fits(reference):
    model = reference.copy()
    model[29:] += 40
    d0 = compare.tm_scale(58)
    assert d0 == pytest.approx(1.24 * 43 ** (1 / 3) - 1.8)
    assert 0.5 <= compare.tm_score(model, reference) < 0.53
    assert compare.tm_score(model, reference, length=116) == pytest.approx(
        compare.tm_score(model, reference) / 2, abs=0.1
    )


def test_unlike_shapes_are_refused(reference):
    for function in (compare.rmsd, compare.lddt, compare.tm_score, compare.gdt_ts):
        with pytest.raises(compare.ShapeMismatchError, match=r"found \(58, 3\) and \(57, 3\)"):
            function(reference, reference[1:])
