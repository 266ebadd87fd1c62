"""Structural violations and the shape of the backbone."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from Bio.PDB.PDBParser import PDBParser
from Bio.PDB.Polypeptide import PPBuilder

from models import residue_constants as rc
from pipeline import quality
from pipeline.protein import read_structure

GOLDEN = Path(__file__).parents[1] / "golden"
STRUCTURES = ("1l2y_A", "1bpi_A")


@pytest.fixture(scope="module")
def proteins():
    return {name: read_structure(GOLDEN / f"{name}.pdb") for name in STRUCTURES}


def _ripple(protein, scale):
    """Displace every coordinate by a fixed wave, the one that the golden file was made with."""
    shape = protein.atom37_positions.shape
    phase = np.arange(protein.atom37_positions.size, dtype=np.float64).reshape(shape)
    moved = protein.atom37_positions + scale * np.sin(12.9898 * phase**1.1)
    return dataclasses.replace(protein, atom37_positions=moved.astype(np.float32))


def _rotation():
    q, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    return (q * np.sign(np.linalg.det(q))).astype(np.float32)


@pytest.mark.parametrize("case", range(6))
def test_violations_are_those_of_alphafold(proteins, case):
    golden = json.loads((GOLDEN / "violations.json").read_text())["cases"][case]
    found = quality.violations(_ripple(proteins[golden["structure"]], golden["scale"]))
    flags = {"between": found.bond | found.angle, "clash": found.clash, "within": found.within}
    assert {name: "".join("01"[int(x)] for x in value) for name, value in flags.items()} == {
        name: golden[name] for name in flags
    }


@pytest.mark.parametrize("name", STRUCTURES)
def test_rigid_motion_changes_nothing(proteins, name):
    protein = _ripple(proteins[name], 0.25)
    moved = dataclasses.replace(protein, atom37_positions=protein.atom37_positions @ _rotation().T + 17)
    assert quality.assess(moved) == quality.assess(protein)


@pytest.mark.parametrize("name", STRUCTURES)
def test_torsions_are_those_of_biopython(proteins, name):
    structure = PDBParser(QUIET=True).get_structure("x", GOLDEN / f"{name}.pdb")
    expected = np.array(
        [
            [np.nan if a is None else np.rad2deg(a) for a in pair]
            for pair in PPBuilder().build_peptides(structure)[0].get_phi_psi_list()
        ]
    )
    chain = quality.backbone(proteins[name])
    np.testing.assert_allclose(np.stack([chain.phi, chain.psi], axis=1), expected, atol=1e-2)


def test_mirror_image_is_all_d(proteins):
    protein = proteins["1l2y_A"]
    mirror = dataclasses.replace(protein, atom37_positions=protein.atom37_positions * np.array([1, 1, -1], np.float32))
    assert quality.assess(protein)["d_residues"] == 0
    assert quality.assess(mirror)["d_residues"] == 20 - protein.sequence.count("G")


def test_counts_of_a_good_structure(proteins):
    counts = quality.assess(proteins["1l2y_A"])
    zero = ("violating_residues", "clashes", "ca_clashes", "chain_breaks", "cis_peptides", "twisted_peptides")
    assert all(counts[name] == 0 for name in zero)
    assert counts["missing_atoms"] == counts["unknown_residues"] == counts["atoms_not_finite"] == 0


def test_break_in_space_and_in_the_numbering(proteins):
    protein = proteins["1l2y_A"]
    positions = protein.atom37_positions.copy()
    positions[7:] += 5.0
    apart = dataclasses.replace(protein, atom37_positions=positions)
    skipped = dataclasses.replace(protein, residue_index=np.r_[0:7, 11:24].astype(np.int32))
    for broken in (apart, skipped):
        assert list(quality.backbone(broken).breaks) == [6]
        assert np.isnan(quality.backbone(broken).omega[7])
    assert quality.assess(apart)["bond_violations"] == 2
    assert quality.assess(skipped)["bond_violations"] == 0


@pytest.mark.parametrize("lacking", [["C"], ["N"], ["C", "N"], ["C", "N", "CA"]])
def test_a_missing_atom_is_no_break(proteins, lacking):
    """What the missing atoms leave decides: CA atoms, else the numbering."""
    protein = proteins["1l2y_A"]
    mask, positions = protein.atom37_mask.copy(), protein.atom37_positions.copy()
    mask[6:8, [rc.ATOM37_ID[name] for name in lacking]] = False
    positions[7:] += 5.0
    lacks, apart = (
        dataclasses.replace(protein, atom37_mask=mask, atom37_positions=x)
        for x in (protein.atom37_positions, positions)
    )
    assert quality.assess(lacks)["chain_breaks"] == 0
    assert quality.backbone(lacks).bonded.all()
    assert list(quality.backbone(apart).breaks) == ([] if "CA" in lacking else [6])


def test_a_trace_of_ca_atoms_is_one_chain(proteins):
    protein = proteins["1l2y_A"]
    trace = np.arange(37) == rc.ATOM37_ID["CA"]
    assert quality.assess(dataclasses.replace(protein, atom37_mask=protein.atom37_mask & trace))["chain_breaks"] == 0


def test_two_atoms_in_one_place_clash(proteins):
    protein = proteins["1l2y_A"]
    positions = protein.atom37_positions.copy()
    positions[2, rc.ATOM37_ID["OH"]] = positions[17, rc.ATOM37_ID["CG"]]
    found = quality.violations(dataclasses.replace(protein, atom37_positions=positions))
    assert [2, 17] in found.clashes.tolist()


def test_disulfides_do_not_clash(proteins):
    assert quality.assess(proteins["1bpi_A"])["clashes"] == 0


def test_anything_is_assessed(proteins):
    protein = proteins["1l2y_A"]
    positions = protein.atom37_positions.copy()
    positions[3, 1] = np.nan
    positions[4, 2] = np.inf
    assert quality.assess(dataclasses.replace(protein, atom37_positions=positions))["atoms_not_finite"] == 2
    unknown = dataclasses.replace(protein, aatype=np.full(20, rc.UNKNOWN))
    assert quality.assess(unknown)["unknown_residues"] == 20
    nothing = dataclasses.replace(protein, atom37_mask=np.zeros((20, 37), bool))
    assert quality.assess(nothing)["violating_residues"] == 0
