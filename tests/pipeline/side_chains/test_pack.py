"""The rotamer library, and the side chains made from it."""

import dataclasses

import numpy as np
import pytest

from models import residue_constants as rc
from pipeline import quality
from pipeline.protein import read_structure
from pipeline.quality.rotamers import chi_angles
from pipeline.side_chains import rotamers
from pipeline.side_chains.pack import build_side_chains

BACKBONE = [rc.ATOM37_ID[name] for name in ("N", "CA", "C", "O")]


def chi_of(protein):
    return chi_angles(protein.aatype, protein.atom37_positions, protein.atom37_mask)


def without_side_chains(protein):
    mask = np.zeros_like(protein.atom37_mask)
    mask[:, BACKBONE] = protein.atom37_mask[:, BACKBONE]
    return dataclasses.replace(protein, atom37_mask=mask)


@pytest.fixture(scope="module")
def bpti(golden):
    return read_structure(golden / "1bpi_A.pdb")


def test_library_is_whole():
    library = rotamers.statistics()
    assert set(library.rotamers) == {letter for letter in rc.RESTYPES if rc.CHI_ATOMS[letter]}
    for letter, found in library.rotamers.items():
        assert found.chi.shape == found.spread.shape
        assert found.chi.shape[1] == len(rc.CHI_ATOMS[letter])
        assert found.log_probability.shape == (rotamers.CELLS, rotamers.CELLS, len(found.chi))
        np.testing.assert_allclose(np.exp(found.log_probability).sum(-1), 1, atol=0.05)
    assert library.facts["licence"]
    assert library.facts["source"]
    assert sum(library.facts["rotamers"].values()) > 100_000


def test_valine_on_a_helix_is_trans():
    valine = rotamers.statistics().rotamers["V"]
    best = valine.chi[np.argmax(valine.given(-60, -45)), 0]
    assert abs(abs(best) - 180) < 20
    assert np.isfinite(valine.given(np.nan, 120)).all()


@pytest.mark.parametrize("letter", [letter for letter in rc.RESTYPES if rc.CHI_ATOMS[letter]])
def test_torsions_come_back(letter):
    aatype = rc.RESTYPE_ID[letter]
    library = rotamers.statistics().rotamers[letter]
    q, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    frame = q * np.sign(np.linalg.det(q)), np.array([3.0, -5.0, 7.0])
    atoms = rotamers.place(aatype, frame, library.chi)
    names = rc.RESIDUE_ATOMS[letter]
    for k, quad in enumerate(rc.CHI_ATOMS[letter]):
        found = quality.torsion(*(atoms[:, names.index(name)] for name in quad))
        np.testing.assert_allclose(np.mod(found - library.chi[:, k] + 180, 360) - 180, 0, atol=0.5)


def test_most_first_torsions_are_found(bpti):
    built = build_side_chains(without_side_chains(bpti), range(len(bpti)))
    np.testing.assert_array_equal(built.atom37_mask[:, :36], (rc.ATOM37_MASK[bpti.aatype] > 0)[:, :36])
    offset = np.abs(np.mod(chi_of(built) - chi_of(bpti) + 180, 360) - 180)[:, 0]
    real = offset[np.isfinite(offset)]
    assert (real < 40).mean() > 0.65  # a third would be chance
    assert quality.assess(built)["clashes"] == 0
    assert quality.assess(built)["d_residues"] == 0


def test_what_is_there_stays(bpti):
    mask = bpti.atom37_mask.copy()
    mask[9, rc.ATOM37_ID["OH"]] = mask[17, rc.ATOM37_ID["CG1"]] = False
    rows = [9, int(np.flatnonzero(bpti.aatype == rc.RESTYPE_ID["K"])[0])]
    mask[rows[1], rc.ATOM37_ID["NZ"]] = False
    built = build_side_chains(dataclasses.replace(bpti, atom37_mask=mask), rows)
    np.testing.assert_array_equal(built.atom37_positions[mask], bpti.atom37_positions[mask])
    oh = rc.ATOM37_ID["OH"]
    assert np.linalg.norm(built.atom37_positions[9, oh] - bpti.atom37_positions[9, oh]) < 1.0


def test_the_same_each_time(bpti):
    bare = without_side_chains(bpti)
    first, second = (build_side_chains(bare, range(20)).atom37_positions for _ in range(2))
    np.testing.assert_array_equal(first, second)
