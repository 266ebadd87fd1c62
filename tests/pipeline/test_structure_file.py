"""Chains, numbers and columns as files have them."""

import time

import numpy as np
import pytest

from models import residue_constants as rc
from pipeline.errors import StructureError
from pipeline.own_templates import read_own
from pipeline.protein import read_structure
from pipeline.structure_file import read_contents

COLUMNS = (
    "label_atom_id",
    "label_comp_id",
    "label_asym_id",
    "label_seq_id",
    "type_symbol",
    "Cartn_x",
    "Cartn_y",
    "Cartn_z",
)
AUTHOR = ("auth_asym_id", "auth_seq_id")
OPTIONAL = ("pdbx_PDB_ins_code", "B_iso_or_equiv", "pdbx_PDB_model_num", "occupancy")
TER, END = "TER\n", "END\n"


def _atom(chain, number, residue, name="CA", *, x=0.0, record="ATOM", occupancy=1.0, element=""):
    return (
        f"{record:6}{1:5d}  {name:3} {residue:3} {chain}{number:4d}    {x:8.3f}{0:8.3f}{0:8.3f}{occupancy:6.2f}  7.00"
        f"          {element or name[0]:>2}\n"
    )


def _water(chain, number, x=0.0):
    return _atom(chain, number, "HOH", "O", x=x, record="HETATM")


def _copy(chain, *residues, first=1):
    return "".join(_atom(chain, first + k, residue) for k, residue in enumerate(residues))


@pytest.fixture
def read(tmp_path):
    def of(text):
        (tmp_path / "x").write_text(text)
        return read_structure(tmp_path / "x")

    return of


def _chains(protein):
    return {str(protein.chain_id[part.start]): protein.sequence[part] for part in protein.chains}


def _named(*names):
    return f"atoms without a chain's name are read as chain {' and '.join(names)}"


@pytest.mark.parametrize(
    ("text", "chains", "named"),
    [
        (_copy(" ", "ALA", "GLY"), {"A": "AG"}, ["A"]),
        (_copy("A", "ALA", "GLY") + _copy(" ", "ALA", "LYS"), {"A": "AG", "B": "AK"}, ["B"]),
        (_copy("A", "ALA") + TER + _copy(" ", "LYS", first=-3), {"A": "A", "B": "K"}, ["B"]),
        (_copy(" ", "ALA") + _copy("A", "GLY") + _copy("C", "SER"), {"B": "A", "A": "G", "C": "S"}, ["B"]),
        (_copy(" ", "ALA", "GLY") + TER + _copy(" ", "ALA", "GLY") + TER, {"A": "AG", "B": "AG"}, ["A", "B"]),
        (_copy(" ", "ALA", first=9) + TER + _copy(" ", "LYS", first=3), {"A": "A", "B": "K"}, ["A", "B"]),
        (_copy(" ", "ALA") + TER + _copy(" ", "LYS", first=3), {"A": "AK"}, ["A"]),
        (_copy(" ", "ALA") + TER + _water(" ", 1) + _copy(" ", "MSE", "LYS"), {"A": "A", "B": "MK"}, ["A", "B"]),
    ],
)
def test_chains_without_a_name(read, text, chains, named):
    protein = read(text + END)
    assert _chains(protein) == chains
    assert _named(*named) in protein.notes
    assert not [note for note in protein.notes if "left out" in note]


def test_the_next_free_letter_and_no_more_than_there_are(read):
    names = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    named = "".join(_copy(name, "GLY") for name in names[:-1])
    assert list(_chains(read(named + _copy(" ", "ALA")))) == list(names)
    with pytest.raises(StructureError, match="at most 1 chains without a name, found 2; give the file as mmCIF"):
        read(named + _copy(" ", "ALA") + TER + _copy(" ", "ALA"))


def test_displacements_stay_with_atoms_of_a_chain_without_a_name(read):
    both = [
        _atom(" ", 5, name)[:16] + alternate + _atom(" ", 5, name)[17:]
        for name, alternate in (("LYS", "A"), ("SER", "B"))
    ]
    protein = read("".join(f"{atom}ANISOU{atom[6:28]}{'    100' * 6}\n" for atom in both))
    assert protein.notes == (_named("A"), "A:5 LYS: SER in its place is left out")


@pytest.mark.parametrize("chain", ["A", " "])
def test_a_water_takes_no_residues_place(read, chain):
    residue = _atom("A", 1, "ALA", x=3.0, occupancy=0.9)
    for text in (residue + _water(chain, 1), _water(chain, 1) + residue):
        protein = read(text + END)
        assert protein.sequence == "A"
        assert protein.atom37_positions[0, rc.ATOM37_ID["CA"], 0] == 3.0
        assert [(atom.chain, atom.number, atom.residue) for atom in protein.others] == [
            ("A" if chain == "A" else "B", "1", "HOH")
        ]
        assert protein.notes[-1] == "not part of the protein: 1 HOH"


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        (_copy("A", "ALA", "GLY") + TER + _copy("A", "LYS", "GLY"), "2, for example of A:2 GLY"),
        (_copy("A", "ALA", "GLY") + _copy("A", "GLY", first=2), "1, for example of A:2 GLY"),
        (_copy("A", "ALA") + _water("A", 7) + _water("A", 8) + _water("A", 7), "1, for example of A:7 HOH"),
        (_copy("A", "ALA") + "CONECT    1    2\n" + _copy("B", "GLY", "SER") + "ATOM  \n", "3, for example of B:1 GLY"),
    ],
)
def test_what_is_dropped_is_said(read, text, lost):
    note = f"atoms left out: {lost} (their place is taken, or they follow END or CONECT)"
    assert note in read(text).notes


def test_of_several_models_the_first(read):
    header = f"{'HEADER    A PROTEIN':62}1ABC\nTITLE     ONE OF TWO\n"
    model = _copy(" ", "ALA", "GLY") + TER
    for text in (f"MODEL        1\n{model}ENDMDL\nMODEL        2\n{model}ENDMDL\n", f"{model}ENDMDL\n{model}"):
        protein = read(header + text + END)
        assert _chains(protein) == {"A": "AG"}
        assert (protein.name, protein.title) == ("1ABC", "ONE OF TWO")
        assert protein.notes == ("only the first of 2 models was read", _named("A"))


def _cif(*rows, columns=COLUMNS):
    names = "".join(f"_atom_site.{name}\n" for name in columns)
    return f"data_x\nloop_\n{names}" + "".join(f"{row}\n" for row in rows)


def test_author_names_that_are_unknown_in_some_rows(read):
    rows = ("CA GLY Q 3 C 1 2 3 Q 4", "CA TRP Q 4 C 4 5 6 . ?", "CA ALA Q 5 C 7 8 9 ? .", "CA SER Q 6 C 7 8 9 Q 17")
    protein = read(_cif(*rows, columns=(*COLUMNS, *AUTHOR)))
    assert protein.author_number == ("4", "4", "5", "17")
    assert list(protein.residue_index) == [2, 3, 4, 5]
    assert _chains(protein) == {"Q": "GWAS"}
    assert protein.notes == ()


def test_a_ligand_takes_no_residues_place(read):
    rows = ("CA GLY Q 3 C 1 2 3 Q 3 0.9", "CA TRP Q . C 4 5 6 Q 3 1.0", "O HOH Q . O 4 5 6 Q 3 1.0")
    protein = read(_cif(*rows, columns=(*COLUMNS, *AUTHOR, "occupancy")))
    assert protein.sequence == "G"
    assert protein.notes == ("not part of the protein: 1 HOH, 1 TRP",)


@pytest.mark.parametrize("number", ["2147483648", "99999999999", "9" * 5000])
@pytest.mark.parametrize("row", ["{} C 1 2 3 A 5 ?", "7 C 1 2 3 A {} ?", "7 C 1 2 3 A -{} ?", ". C 1 2 3 A 7 {}"])
def test_numbers_beyond_all_bounds(tmp_path, row, number):
    path = tmp_path / "x.cif"
    columns = (*COLUMNS, *AUTHOR, "pdbx_PDB_ins_code")
    path.write_text(_cif("N GLY Q 4 C 1 2 3 A 4 ?", f"CA GLY Q {row.format(number)}", columns=columns))
    for reader in (read_structure, read_own):
        with pytest.raises(StructureError, match=r"up to 2147483647, found .*\d at atom 2") as caught:
            reader(path)
        assert caught.value.where == str(path)


def test_the_largest_number(read):
    protein = read(_cif("CA GLY Q 2147483647 C 1 2 3"))
    assert protein.author_number == ("2147483647",)
    np.testing.assert_array_equal(protein.residue_index, [2147483646])


def _seconds(path, text):
    path.write_text(text)
    began = time.process_time()
    assert len(read_contents(path).atoms) == 20011
    return time.process_time() - began


def test_missing_columns_cost_no_more_than_columns(tmp_path):
    rows = [f"CA GLY Q {k + 1} C 1 2 3" for k in range(20011)]
    whole = _cif(*(f"{row} A {k} ? 7 1 1" for k, row in enumerate(rows)), columns=(*COLUMNS, *AUTHOR, *OPTIONAL))
    assert _seconds(tmp_path / "few.cif", _cif(*rows)) < 3 * _seconds(tmp_path / "whole.cif", whole)
