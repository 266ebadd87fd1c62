"""The protein record, its reader and its writers."""

import dataclasses
import gzip
from pathlib import Path

import numpy as np
import pytest
from Bio.PDB.MMCIF2Dict import MMCIF2Dict
from Bio.PDB.MMCIFParser import MMCIFParser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import residue_constants as rc
from pipeline import quality
from pipeline.errors import StructureError
from pipeline.protein import Hydrogens, read_structure
from pipeline.protein_writer import write_mmcif, write_pdb

GOLDEN = Path(__file__).parent / "golden"
TRP_CAGE = GOLDEN / "1l2y_A.pdb"


@pytest.fixture(scope="module")
def trp_cage():
    return read_structure(TRP_CAGE)


def test_reads_pdb(trp_cage):
    assert trp_cage.sequence == "NLYIQWLKDGGPSSGRPPPS"
    assert trp_cage.atom37_mask.sum() == 154
    assert trp_cage.author_number[:2] == ("1", "2")
    np.testing.assert_allclose(trp_cage.atom37_positions[0, rc.ATOM37_ID["N"]], [-8.901, 4.127, -0.555], atol=1e-4)


@pytest.mark.parametrize("kind", ["cif", "pdb", "cif.gz"])
def test_round_trip(trp_cage, tmp_path, kind):
    protein = dataclasses.replace(
        trp_cage,
        author_number=tuple(f"{k}A" if k == 7 else str(k - 3) for k in range(20)),
        chain_id=np.array(["B"] * 11 + ["C"] * 9),
        b_factor=np.linspace(3, 97, 20, dtype=np.float32),
    )
    path = tmp_path / f"x.{kind}"
    if kind == "pdb":
        write_pdb(path, protein, title="a title that is longer than one line of the format holds, so that it goes on")
    else:
        write_mmcif(path, protein, name="x")
    if kind == "cif.gz":
        path.write_bytes(gzip.compress(path.read_bytes()))
    back = read_structure(path)
    np.testing.assert_allclose(back.atom37_positions, protein.atom37_positions, atol=6e-4)
    np.testing.assert_array_equal(back.atom37_mask, protein.atom37_mask)
    np.testing.assert_array_equal(back.aatype, protein.aatype)
    np.testing.assert_array_equal(back.chain_id, protein.chain_id)
    np.testing.assert_allclose(back.b_factor, protein.b_factor, atol=6e-3)
    assert back.author_number == protein.author_number
    assert [len(range(20)[c]) for c in back.chains] == [11, 9]


def test_hydrogens_survive(trp_cage, tmp_path):
    hydrogens = Hydrogens(np.array([0, 0, 5]), ("H1", "H2", "HE1"), np.arange(9, dtype=np.float32).reshape(3, 3))
    write_mmcif(tmp_path / "h.cif", dataclasses.replace(trp_cage, hydrogens=hydrogens), name="h")
    back = read_structure(tmp_path / "h.cif").hydrogens
    assert back is not None
    assert back.names == hydrogens.names
    np.testing.assert_array_equal(back.residue, hydrogens.residue)
    np.testing.assert_allclose(back.positions, hydrogens.positions)


@pytest.mark.parametrize(
    "title",
    [
        'sp|P1 it\'s "quoted" ; semicolon',
        "line one\n;line two\ndata_x\nloop_",
        "<script>alert('x')</script>",
        "loop_",
        "data_evil",
        "_atom_site.id",
        ";",
        "a' b\" c' d\" e",
        "tab\there \x07 bell \u00e9",
        "word " * 900,
        "x" * 5000,
        "",
    ],
)
def test_hostile_titles(trp_cage, tmp_path, title):
    write_mmcif(tmp_path / "x.cif", trp_cage, name=title or "x", title=title)
    table = MMCIF2Dict(str(tmp_path / "x.cif"))
    assert len(table["_struct.title"]) == 1
    assert len(table["_atom_site.id"]) == 154
    assert max(map(len, (tmp_path / "x.cif").read_text().splitlines())) < 2048
    words = title.encode("ascii", "backslashreplace").decode().split()
    if 1 < len(words) < 10 and "\x07" not in title:
        assert table["_struct.title"][0].split() == words


def test_cif_is_complete(trp_cage, tmp_path):
    write_mmcif(tmp_path / "x.cif", trp_cage, name="x", title="t")
    table = MMCIF2Dict(str(tmp_path / "x.cif"))
    assert table["_entity_poly.type"] == ["polypeptide(L)"]
    assert table["_entity_poly.pdbx_seq_one_letter_code_can"] == [trp_cage.sequence]
    assert table["_entity_poly_seq.mon_id"][:3] == ["ASN", "LEU", "TYR"]
    assert table["_struct_asym.id"] == ["A"]
    assert len(table["_ma_qa_metric_local.metric_value"]) == 20
    residues = MMCIFParser(QUIET=True).get_structure("x", str(tmp_path / "x.cif")).get_residues()
    assert len(list(residues)) == 20


def test_gap_in_the_numbering_survives(trp_cage, tmp_path):
    gap = dataclasses.replace(trp_cage, residue_index=np.r_[0:9, 13:24].astype(np.int32))
    write_mmcif(tmp_path / "x.cif", gap, name="x")
    np.testing.assert_array_equal(read_structure(tmp_path / "x.cif").residue_index, gap.residue_index)


def renumbered(path, numbers):
    """Return the trp cage, read from PDB under these author's numbers, without the residues that have none."""
    lines = [line for line in TRP_CAGE.read_text().splitlines() if line.startswith("ATOM")]
    number_of = dict(zip(dict.fromkeys(line[22:27] for line in lines), numbers, strict=True))
    kept = [(line, number_of[line[22:27]]) for line in lines if number_of[line[22:27]]]
    path.write_text("\n".join(f"{line[:22]}{n if n[-1].isalpha() else n + ' ':>5}{line[27:]}" for line, n in kept))
    return read_structure(path)


@pytest.mark.parametrize(
    ("numbers", "index"),
    [
        ("1 2 3 3A 4 - - 7 8 9 10 11 12 13 14 15 16 17 18 19", [1, 2, 3, 4, 5, *range(8, 21)]),
        ("52 52A 52B - 52D 53 54 55 56 57 58 59 60 61 62 63 64 65 66 67", [52, 53, 54, *range(56, 72)]),
        ("1C 1B 1A 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 - 17", [*range(1, 19), 20]),  # as in thrombin
        ("-2 -1 1 2 3 4 5 6 7 8 9 10 901 902 20 21 22 - 24 25", [*range(-2, 15), *range(16, 18)]),  # a fusion
        ("1 2 3 5 6 6A 9 10 11 12 - - - 16 17 18 19 20 21 22", [*range(1, 11), *range(14, 21)]),  # places not filled
    ],
)
def test_author_numbers_count_insertions_and_gaps(tmp_path, numbers, index):
    protein = renumbered(tmp_path / "x.pdb", ["" if n == "-" else n for n in numbers.split()])
    assert list(protein.residue_index) == index
    counts = quality.assess(protein)
    assert counts["bond_violations"] == counts["clash_violations"] == 0
    assert counts["chain_breaks"] == ("-" in numbers.split())


@pytest.mark.parametrize(
    ("numbers", "index"),
    [
        (("7", "9"), [7, 9]),
        (("-2147483647", "2147483647"), [-2147483647, 2147483647]),
        (("7", "x"), [0, 1]),
        (("2147483647", "3"), [0, 1]),  # one more than an int32 holds
        (("7" * 5000 + "A", "9"), [0, 1]),
    ],
)
def test_numbers_that_cannot_be_counted(tmp_path, numbers, index):
    rows = [f"CA GLY Q . C {place} 2 3 {number}\n" for place, number in enumerate(numbers)]
    (tmp_path / "x.cif").write_text(f"{CIF}_atom_site.auth_seq_id\n{''.join(rows)}")
    assert list(read_structure(tmp_path / "x.cif").residue_index) == index


def _line(serial, name, residue, number, x, *, alternate=" ", element="", record="ATOM", insertion=" "):
    element = element or name[0]
    return (
        f"{record:6}{serial:5d}  {name:3}{alternate}{residue:3} A{number:4d}{insertion}   "
        f"{x:8.3f}{0:8.3f}{0:8.3f}  1.00  7.00          {element:>2}\n"
    )


def test_reads_what_crystallographers_write(tmp_path):
    (tmp_path / "x.pdb").write_text(
        "TITLE     A TITLE\n"
        + _line(1, "N", "MSE", 5, 1.0, record="HETATM")
        + _line(2, "CA", "MSE", 5, 2.0, record="HETATM")
        + _line(3, "SE", "MSE", 5, 3.0, record="HETATM", element="SE")
        + _line(4, "CA", "ALA", 5, 4.0, insertion="A", alternate="A")
        + _line(5, "CA", "ALA", 5, 5.0, insertion="A", alternate="B")
        + _line(6, "H", "ALA", 5, 5.5, insertion="A")
        + _line(7, "CA", "XYZ", 6, 6.0)
        + _line(8, "O", "HOH", 90, 7.0, record="HETATM")
        + "END\n"
    )
    protein = read_structure(tmp_path / "x.pdb")
    assert protein.sequence == "MA"
    assert protein.author_number == ("5", "5A")
    assert protein.title == "A TITLE"
    assert protein.atom37_positions[1, 1, 0] == 4.0
    assert protein.atom37_positions[0, rc.ATOM37_ID["SD"], 0] == 3.0
    assert protein.hydrogens is not None
    assert protein.notes == (
        "not part of the protein: 1 HOH, 1 XYZ",
        "A:5 MSE is read as MET",
        "A:5A ALA: one of several places of CA is read",
    )


@pytest.mark.parametrize(("residue", "sulphur"), [("MSE", "SD"), ("SEC", "SG")])
@pytest.mark.parametrize(("name", "element"), [("SE", "SE"), ("SE", "S"), ("SE", "  "), ("X", "SE")])
def test_selenium_by_its_name_or_its_element(tmp_path, residue, sulphur, name, element):
    atoms = _line(1, "CA", residue, 1, 2.0) + _line(2, name, residue, 1, 3.0, element=element)
    (tmp_path / "x.pdb").write_text(atoms + "END\n")
    protein = read_structure(tmp_path / "x.pdb")
    assert protein.atom37_mask[0].sum() == 2
    assert protein.atom37_positions[0, rc.ATOM37_ID[sulphur], 0] == 3.0
    assert not [note for note in protein.notes if "lost" in note]


CIF = (
    "data_x\nloop_\n_atom_site.label_atom_id\n_atom_site.label_comp_id\n_atom_site.label_asym_id\n_atom_site.label_seq_id\n"
    "_atom_site.type_symbol\n_atom_site.Cartn_x\n_atom_site.Cartn_y\n_atom_site.Cartn_z\n"
)


def test_of_alternates_the_likeliest_is_kept(tmp_path):
    low, high = (_line(k, "CA", "ALA", 5, x, alternate=letter) for k, letter, x in ((1, "A", 4.0), (2, "B", 5.0)))
    for first, second, x in ((0.4, 0.6, 5.0), (0.6, 0.4, 4.0), (0.5, 0.5, 4.0)):
        lines = [line.replace("  1.00", f"  {share:.2f}") for line, share in ((low, first), (high, second))]
        (tmp_path / "x.pdb").write_text("".join(lines) + "END\n")
        assert read_structure(tmp_path / "x.pdb").atom37_positions[0, 1, 0] == x


@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.parametrize(("shares", "letter"), [((0.3, 0.7), "S"), ((0.7, 0.3), "K"), ((0.5, 0.5), "K")])
def test_of_two_residues_at_one_place_the_likeliest_is_kept(tmp_path, one_by_one, shares, letter):
    lines = [_line(1, "CA", "GLY", 4, 1.0)]
    for k, name in enumerate(("N", "CA", "C")):
        for residue, alternate, share in (("LYS", "A", shares[0]), ("SER", "B", shares[1])):
            atom = _line(k + 2, name, residue, 5, 5.0 + k, alternate=alternate).replace("  1.00", f"  {share:.2f}")
            lines += [atom, f"ANISOU{atom[6:28]}{'    100' * 6}\n"]
    if not one_by_one:
        lines.sort(key=lambda line: (line[22:26], line[17:20]))
    (tmp_path / "x.pdb").write_text("".join([*lines, _line(9, "CA", "GLY", 6, 9.0)]).rstrip("\n"))
    protein = read_structure(tmp_path / "x.pdb")
    assert protein.sequence == f"G{letter}G"
    assert protein.atom37_mask[1].sum() == 3
    kept, other = ("SER", "LYS") if letter == "S" else ("LYS", "SER")
    assert protein.notes == (f"A:5 {kept}: {other} in its place is left out",)


def test_alternates_without_occupancy(tmp_path):
    lines = [_line(1, "CA", "ALA", 5, 4.0, alternate="A"), _line(2, "CA", "ALA", 5, 5.0, alternate="B")]
    (tmp_path / "x.pdb").write_text("".join(line.replace("  1.00", "      ") for line in lines) + "END\n")
    assert read_structure(tmp_path / "x.pdb").atom37_positions[0, 1, 0] == 4.0


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_read_or_refused(tmp_path, data):
    text = TRP_CAGE.read_text() if data.draw(st.booleans()) else CIF + "CA GLY Q 3 C 1 2 3\nCA TRP Q 4 C 4 5 6\n"
    for _ in range(data.draw(st.integers(1, 3))):
        start, length = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 90))
        new = data.draw(st.text("0123456789 .-?#'\";\nATOM_loop_data_\u00b2\u0663\u00e9\x00", max_size=9))
        text = text[:start] + new + text[start + length :]
    path = tmp_path / "x"
    path.write_text(text)
    try:
        protein = read_structure(path)
    except StructureError:
        return
    assert len(protein) == len(protein.author_number) == len(protein.atom37_mask)


def test_the_whole_sequence_of_a_chain(trp_cage, tmp_path):
    """Of the entity, where mmCIF gives it; ligands that look like residues are no part of it."""
    write_mmcif(tmp_path / "x.cif", trp_cage, name="x")
    text = (tmp_path / "x.cif").read_text()
    assert read_structure(tmp_path / "x.cif").deposited == {"A": trp_cage.sequence}
    rows = text.splitlines()
    atoms = [row for row in rows if row.startswith("ATOM")]
    ligand = [" ".join([*row.split()[:8], ".", *row.split()[9:15], "900", *row.split()[16:]]) for row in atoms[:8]]
    seen = [row for row in atoms if row.split()[8] not in ("1", "7", "20")]
    start = rows.index(atoms[0])
    (tmp_path / "x.cif").write_text("\n".join([*rows[:start], *seen, *ligand, *rows[start + len(atoms) :], ""]))
    protein = read_structure(tmp_path / "x.cif")
    assert protein.deposited == {"A": trp_cage.sequence}
    assert list(protein.residue_index) == [k for k in range(20) if k not in (0, 6, 19)]
    assert protein.notes == ("not part of the protein: 1 ASN",)
    (tmp_path / "x.cif").write_text(text.replace("_struct_asym.", "_other."))
    assert read_structure(tmp_path / "x.cif").deposited == {}


def test_reads_minimal_cif(tmp_path):
    (tmp_path / "x.cif").write_text(CIF + "CA GLY Q 3 C 1 2 3\nCA TRP Q 4 C 4 5 nan\n")
    protein = read_structure(tmp_path / "x.cif")
    assert protein.sequence == "GW"
    assert list(protein.residue_index) == [2, 3]
    assert not np.isfinite(protein.atom37_positions).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty one"),
        (b"<html></html>", "found no atom records"),
        (b"\x1f\x8bgarbage", "expected an mmCIF or PDB file"),
        (b"data_x\n_entry.id x\n", "without atoms"),
        (b"data_x\n_a.b 'open\n", "damaged syntax"),
        (b"data_x\nloop_\nfoo\n", "damaged syntax"),
        (CIF.encode() + b"CA GLY Q 3 C 1 2 3\nCA TRP Q 4 C 4", "cut off after row 1"),
        (CIF.encode() + b"CA GLY Q 3 C 1 abc 3\n", "Cartn_y of atom 1 is no number: 'abc'"),
        (CIF.replace("Cartn_z", "Cartn_w").encode() + b"CA GLY Q 3 C 1 2 3\n", "no column 'Cartn_z'"),
        (CIF.replace("label_seq", "other_seq").encode() + b"CA GLY Q 3 C 1 2 3\n", "no column 'auth_seq_id'"),
        (b"ATOM      1  N   ASN A   1\n", "cut off"),
        (b"ATOM      1  N   ASN A   1      -8.901     abc  -0.555  1.00  0.00           N\n", "at line 1"),
        (_line(1, "O", "HOH", 9, 1.0).encode(), "found no amino acid"),
    ],
)
def test_bad_files(tmp_path, content, message):
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(StructureError, match=message) as caught:
        read_structure(path)
    assert str(caught.value).startswith(str(path))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(StructureError, match="does not exist"):
        read_structure(tmp_path / "none.cif")
    with pytest.raises(StructureError, match="is a directory"):
        read_structure(tmp_path)


def test_too_large_for_pdb(trp_cage, tmp_path):
    with pytest.raises(StructureError, match="does not fit the PDB format"):
        write_pdb(tmp_path / "x.pdb", dataclasses.replace(trp_cage, author_number=("12345",) * 20))
    with pytest.raises(StructureError, match="does not fit the PDB format"):
        write_pdb(tmp_path / "x.pdb", dataclasses.replace(trp_cage, atom37_positions=trp_cage.atom37_positions + 2e6))
    assert not list(tmp_path.iterdir())
