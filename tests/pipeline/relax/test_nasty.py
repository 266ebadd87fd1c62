"""Inputs that break relaxations: each with the status and the reason that it must end with."""

import gzip
import importlib.util
import json
import sys

import numpy as np
import pytest

from models import residue_constants as rc
from pipeline import quality
from pipeline.config import ROOT
from pipeline.errors import StructureError
from pipeline.protein import read_structure
from pipeline.protein_writer import write_mmcif
from pipeline.relax.stage import Settings, main, relax, relax_isolated

EXPECTED = {
    "a residue with no atoms": ("relaxed", "full", "", "A:GLY10 is left as it is: it is unknown or has no atoms"),
    "two chains in the same place": ("unrelaxed", "none", "overlap", "154 of 308 atoms stand on another"),
    "an atom 0.01 A from another": (
        "relaxed",
        "full",
        "",
        "A:ILE4 CD1: far from what it is bonded to",
    ),
    "a coordinate that is nan": ("relaxed", "full", "", "A:TYR3 CA: no usable coordinates, taken as missing"),
    "a coordinate that is infinite": ("relaxed", "full", "", "A:TYR3 CA: no usable coordinates, taken as missing"),
    "a residue that is nowhere": ("relaxed", "full", "", "A:GLY10 has no atom with usable coordinates"),
    "an atom at 9999 A": ("relaxed", "full", "", "A:LEU7 CG: no usable coordinates, taken as missing"),
    "a chain through the ring of another": ("relaxed", "full", "", "got a new side chain: a bond ran through a ring"),
    "all residues D": ("relaxed", "full", "", "A:ASN1 is a D residue"),
    "one residue": ("unrelaxed", "none", "coordinates", "no two residues are bonded"),
    "two residues": ("relaxed", "full", "", ""),
    "CA atoms alone": ("relaxed", "full", "", "A:TYR3 got N C CB O CG CD1 CD2 CE1 CE2 OH CZ"),
    "an unknown residue in the middle": ("relaxed", "full", "", "A:UNK9 is unknown and is held where it is"),
    "two cysteines at 2.1 A": ("relaxed", "full", "", "disulfide bond A:CYS5 A:CYS55"),
    "three cysteines within 2.5 A": ("relaxed", "full", "", "disulfide bond A:CYS5 A:CYS55"),
    "coordinates of 1e6": ("relaxed", "full", "", ""),
    "a gap in the chain": ("relaxed", "full", "", "the chain is broken between A:LEU7 and A:PRO12"),
    "all atoms in one place": ("unrelaxed", "none", "overlap", "atoms stand on another"),
}


@pytest.fixture(scope="module")
def inputs():
    spec = importlib.util.spec_from_file_location("relax_inputs", ROOT / "benchmarks" / "relax_inputs.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def cage(golden):
    return read_structure(golden / "1l2y_A.pdb")


@pytest.fixture(scope="module")
def proteins(inputs, cage, golden):
    return inputs.nasty(cage, read_structure(golden / "1bpi_A.pdb"))


def test_the_set_is_expected(proteins):
    assert set(proteins) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_status_and_reason(proteins, name):
    protein = proteins[name]
    result = relax(protein, Settings())
    record = result.record
    status, rung, failure, words = EXPECTED[name]
    assert (record.status, record.rung, record.failure) == (status, rung, failure)
    assert words in "\n".join((record.reason, *record.changes, *record.findings))
    if status == "unrelaxed":
        assert result.protein is protein
        return
    assert record.violations_after["violating_residues"] <= record.violations_before["violating_residues"]
    assert record.energy_after < record.energy_before
    assert result.protein.author_number == protein.author_number
    assert result.protein.sequence == protein.sequence
    nowhere = np.isnan(protein.atom37_positions).all(axis=(1, 2))
    assert np.all(result.protein.atom37_mask | ~protein.atom37_mask | nowhere[:, None])  # no atom is lost
    assert np.isfinite(result.protein.atom37_positions).all()


def test_no_cysteine_is_bonded_twice(proteins):
    changes = relax(proteins["three cysteines within 2.5 A"], Settings(iterations=5)).record.changes
    bonded = [word for change in changes if change.startswith("disulfide") for word in change.split()[2:]]
    assert len(bonded) == len(set(bonded))


def test_hands_stay(proteins):
    after = relax(proteins["all residues D"], Settings()).record.violations_after
    assert after["d_residues"] == 17  # all but three glycines
    assert relax(proteins["CA atoms alone"], Settings()).record.violations_after["d_residues"] == 0


def test_a_large_structure_keeps_to_its_budget(inputs, cage):
    """2,000 residues, 20 pairs of atoms that overlap: where the seconds end there is a structure and a reason."""
    protein = inputs.large(cage)
    assert len(protein) == 2000
    assert quality.violations(protein).residues.sum() >= 20
    result = relax_isolated(protein, Settings(seconds=4))
    assert result.record.failure == "budget"
    assert result.protein.sequence == protein.sequence


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "found an empty one"),
        (b"data_x\nloop_\n_atom_site.id\n_atom_site.type_symbol\n1 C\n2\n", "cut off|damaged|no column"),
        (b"\x1f\x8bno gzip at all", "expected an mmCIF or PDB file"),
        (b"ATOM      1  CA  ALA", "expected"),
    ],
)
def test_files_that_are_none(tmp_path, content, words):
    structure = tmp_path / "x.cif"
    structure.write_bytes(content)
    flags = ["--structure", str(structure), "--output", str(tmp_path / "y.cif"), "--report", str(tmp_path / "y.json")]
    with pytest.raises(StructureError, match=words):
        main(flags)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.cif"]


def test_a_truncated_mmcif(tmp_path, cage):
    write_mmcif(tmp_path / "whole.cif", cage, name="x")
    text = (tmp_path / "whole.cif").read_text()
    (tmp_path / "x.cif").write_text(text[: len(text) * 3 // 4])
    flags = ["--structure", str(tmp_path / "x.cif"), "--output", str(tmp_path / "y.cif")]
    with pytest.raises(StructureError, match="cut off"):
        main([*flags, "--report", str(tmp_path / "y.json")])
    assert not (tmp_path / "y.cif").exists()


PDB = """\
HETATM  900  FE  HEM A 201      40.000  40.000  40.000  1.00 20.00          FE
HETATM  901  O   HOH A 301      45.000  40.000  40.000  1.00 20.00           O
"""


def test_what_is_not_protein_stays(tmp_path, cage, golden):
    """Ligands, waters, an unknown residue with atoms of its own, insertion codes, alternates, hydrogens."""
    lines = [line for line in (golden / "1l2y_A.pdb").read_text().splitlines(keepends=True) if line.startswith("ATOM")]
    odd = [line.replace("LYS A   8", "XYZ A   8") for line in lines if " LYS A   8" in line]
    odd.append(odd[-1][:12] + " P1 " + odd[-1][16:30] + f"{1.5:8.3f}{2.5:8.3f}{3.5:8.3f}" + odd[-1][54:76] + " P\n")
    other = [line[:16] + "B" + line[17:54] + "  0.30" + line[60:] for line in lines if " CB  LEU A   2" in line]
    kept = [line for line in lines if " LYS A   8" not in line]
    place = next(k for k, line in enumerate(kept) if line[22:27] == "   9 ")
    text = [*kept[:place], *odd, *kept[place:]]
    text = [line.replace("A   9 ", "A   8A") for line in text] + other
    (tmp_path / "in.pdb").write_bytes(gzip.compress(("".join(text) + PDB + "END\n").encode()))
    flags = ["--structure", str(tmp_path / "in.pdb"), "--output", str(tmp_path / "out.cif")]
    assert main([*flags, "--report", str(tmp_path / "out.json"), "--no-isolate", "--iterations", "100", "--pdb"]) == 0
    record = json.loads((tmp_path / "out.json").read_text())
    changes = "\n".join(record["changes"])
    assert "not part of the protein: 1 HEM, 1 HOH" in changes
    assert "A:8 XYZ is read as an unknown residue" in changes
    assert "A:XYZ8 is unknown and is held where it is" in changes
    assert "3 atoms that no amino acid has stay where they are" in changes
    for name in ("out.cif", "out.pdb"):
        protein = read_structure(tmp_path / name)
        assert {atom.residue: atom.position for atom in protein.others} == {
            "HEM": (40.0, 40.0, 40.0),
            "HOH": (45.0, 40.0, 40.0),
            "XYZ": (1.5, 2.5, 3.5),
        }
        assert protein.residue_name(7) == "XYZ"
        assert protein.author_number[7:10] == ("8", "8A", "10")
        np.testing.assert_allclose(protein.atom37_positions[7, :5], cage.atom37_positions[7, :5], atol=2e-3)


def test_modified_residues_become_their_parents(tmp_path, golden):
    text = (golden / "1l2y_A.pdb").read_text().replace("SER A  13", "SEP A  13")
    (tmp_path / "in.pdb").write_text(text)
    flags = ["--structure", str(tmp_path / "in.pdb"), "--output", str(tmp_path / "out.cif")]
    assert main([*flags, "--report", str(tmp_path / "out.json"), "--no-isolate", "--iterations", "20"]) == 0
    assert "A:13 SEP is read as SER" in json.loads((tmp_path / "out.json").read_text())["changes"]
    assert read_structure(tmp_path / "out.cif").aatype[12] == rc.RESTYPE_ID["S"]


def test_hands_lost_to_distortion_come_back(inputs, cage):
    """A residue whose CB is on the wrong side of a bent CA was no D residue; a mirror image is."""
    positions = cage.atom37_positions.copy()
    n, ca, c, cb = (positions[6, rc.ATOM37_ID[name]].astype(float) for name in ("N", "CA", "C", "CB"))
    normal = np.cross(n - ca, c - ca)
    normal /= np.linalg.norm(normal)
    bent = inputs.with_atom(cage, 6, "CB", cb - 1.25 * np.dot(cb - ca, normal) * normal)
    assert quality.assess(bent)["d_residues"] == 1
    record = relax(bent, Settings()).record
    assert "A:LEU7 was distorted into a D residue: CB was put on the other side" in record.changes
    assert record.violations_after["d_residues"] == 0
