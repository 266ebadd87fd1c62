"""Reading a file of a mirror: against Biopython's reader, and one case for each thing that the PDB has."""

import datetime
import gzip

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.residue_constants import ATOM37_ID
from pipeline.errors import StructureError
from pipeline.library import mmcif as reader
from pipeline.library.atoms import NO_NUMBER
from pipeline.library.mmcif import UnreadError, read_entry
from pipeline.protein import read_structure


@pytest.fixture
def read(tmp_path):
    """Return a function that writes and reads a file, and returns its first chain."""
    return lambda file: read_entry(file.write(tmp_path / "a.cif")).chains[0]


def observed(chain):
    return chain.atoms.atoms.mask.any(1)


def at(chain, index, name):
    assert chain.atoms.atoms.mask[index, ATOM37_ID[name]]
    return chain.atoms.atoms.positions[index, ATOM37_ID[name]]


def test_atoms_and_numbers_are_those_of_biopython(mmcif, tmp_path):
    path = mmcif.bpti().write(tmp_path / "1bpi.cif")
    expected, (chain,) = read_structure(path), read_entry(path).chains
    assert chain.sequence == expected.sequence
    assert (chain.atoms.atoms.mask == expected.atom37_mask).all()
    positions = expected.atom37_positions.copy()
    nitrogens = [ATOM37_ID["NH1"], ATOM37_ID["NH2"]]
    positions[52, nitrogens] = positions[52, nitrogens[::-1]]  # Arg 53 of the entry has their names the other way round
    np.testing.assert_allclose(chain.atoms.atoms.positions, positions, atol=1e-5)
    assert [str(n) for n in chain.atoms.numbers] == list(expected.author_number)


def test_sequence_date_and_atoms_are_alphafold_s(mmcif, tmp_path):
    parsing = pytest.importorskip("alphafold.data.mmcif_parsing", reason="needs ./foldline test --parity")
    from alphafold.data import templates  # noqa: PLC0415

    file = mmcif.bpti()
    residues = file.polymers[0].residues
    for gone in (0, 1, 29, 57):
        residues[gone].atoms = []
    residues[6].insertion, residues[6].number = "A", "6"
    assert residues[51].name == "MET"
    residues[51].name = "MSE"
    residues[51].atoms = [("SE", "SE", *a[2:]) if a[0] == "SD" else a for a in residues[51].atoms]
    first = [(*a[:5], "A", "0.40") for a in residues[10].atoms]
    residues[10].atoms = first + [(*a[:2], a[2] + 1, *a[3:5], "B", "0.60") for a in first]
    path = file.write(tmp_path / "a.cif")
    entry, theirs = read_entry(path), parsing.parse(file_id="1bpi", mmcif_string=path.read_text()).mmcif_object
    positions, mask = templates._get_atom_positions(theirs, "A", max_ca_ca_distance=1e9)
    (chain,) = entry.chains
    assert chain.sequence == theirs.chain_to_seqres["A"].replace("X", "M")  # with its Biopython, MSE has no parent
    assert entry.facts.date.isoformat() == theirs.header["release_date"]
    assert entry.facts.resolution == theirs.header["resolution"]
    assert (chain.atoms.atoms.mask == mask.astype(bool)).all()
    np.testing.assert_allclose(chain.atoms.atoms.positions, positions, atol=1e-5)


def test_facts(mmcif, tmp_path):
    entry = read_entry(mmcif.bpti().write(tmp_path / "a.cif"))
    assert entry.name == "1BPI"
    assert entry.facts == (datetime.date(2001, 2, 3), 1.95, "X-RAY DIFFRACTION")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"resolution": ("_em_3d_reconstruction.resolution", "3.40")}, (datetime.date(2001, 2, 3), 3.4)),
        ({"resolution": ("_reflns.d_resolution_high", "2.1")}, (datetime.date(2001, 2, 3), 2.1)),
        ({"resolution": ("_refine.ls_d_res_high", "?")}, (datetime.date(2001, 2, 3), None)),
        ({"resolution": None, "dates": ()}, (None, None)),
        ({"dates": ("2020-02-31", "2021-03-01", "soon")}, (datetime.date(2021, 3, 1), 1.95)),
    ],
)
def test_facts_that_are_elsewhere_or_missing(mmcif, tmp_path, changes, expected):
    facts = read_entry(mmcif.bpti(**changes).write(tmp_path / "a.cif")).facts
    assert (facts.date, facts.resolution) == expected


def test_only_the_first_model_is_read(mmcif, read, tmp_path):
    file = mmcif.trp_cage(models=3, method="'SOLUTION NMR'", resolution=None)
    expected = mmcif.trp_cage()
    np.testing.assert_array_equal(read(file).atoms.atoms.positions, read(expected).atoms.atoms.positions)
    assert read_entry(file.write(tmp_path / "b.cif")).facts.method == "SOLUTION NMR"


def test_residues_that_were_not_observed_have_a_place_and_a_number(mmcif, read):
    file = mmcif.bpti()
    for gone in (0, 1, 29, 57):
        file.polymers[0].residues[gone].atoms = []
    chain = read(file)
    assert len(chain.sequence) == 58
    assert np.flatnonzero(~observed(chain)).tolist() == [0, 1, 29, 57]
    assert chain.atoms.numbers.tolist() == list(range(1, 59))


def test_author_numbers_and_insertion_codes(mmcif, read):
    file = mmcif.trp_cage()
    for shift, residue in enumerate(file.polymers[0].residues):
        residue.number, residue.insertion = str(-3 + max(0, shift - 1)), "A" if shift == 1 else "?"
    chain = read(file)
    assert chain.atoms.numbers.tolist()[:4] == [-3, -3, -2, -1]
    assert bytes(chain.atoms.insertions)[:3] == b" A "


def test_the_alternate_with_the_highest_occupancy_is_taken_whole(mmcif, read):
    file = mmcif.trp_cage()
    residue = file.polymers[0].residues[2]
    moved = [(*a[:2], a[2] + 5, *a[3:5], "B", "0.60") for a in residue.atoms]
    residue.atoms = [(*a[:5], "A", "0.40") for a in residue.atoms] + moved
    original = read(mmcif.trp_cage())
    np.testing.assert_allclose(at(read(file), 2, "CA") - at(original, 2, "CA"), [5, 0, 0], atol=1e-4)
    residue.atoms = [(*a[:5], a[5], "0.50") for a in residue.atoms]
    np.testing.assert_allclose(at(read(file), 2, "CA"), at(original, 2, "CA"), atol=1e-4)


def test_an_atom_of_another_alternate_fills_a_gap(mmcif, read):
    file = mmcif.trp_cage()
    residue = file.polymers[0].residues[2]
    residue.atoms = [(*a[:5], "B" if a[0] == "CB" else "A", "0.3" if a[0] == "CB" else "0.7") for a in residue.atoms]
    assert observed(read(file)).all()
    assert at(read(file), 2, "CB").any()


def test_of_several_residues_at_one_place_the_more_frequent_is_taken(mmcif, read):
    file = mmcif.trp_cage()
    chain = file.polymers[0].residues
    for k, residue in enumerate(chain):
        residue.place = k + 1
    serine = mmcif.Residue("SER", chain[4].number, place=5)
    serine.atoms = [(*a[:5], "B", "0.70") for a in chain[4].atoms if a[0] in ("N", "CA", "C", "O", "CB")]
    chain[4].atoms = [(*a[:5], "A", "0.30") for a in chain[4].atoms]
    sequence = read(mmcif.trp_cage()).sequence
    chain.insert(5, serine)
    found = read(file)
    assert found.sequence == sequence[:4] + "S" + sequence[5:]
    assert found.atoms.atoms.mask[4].sum() == 5


def test_modified_residues_become_their_parents(mmcif, read):
    file = mmcif.trp_cage(parents={"ZZZ": "TYR"})
    residues = file.polymers[0].residues
    assert [residues[k].name for k in (1, 2, 13)] == ["LEU", "TYR", "SER"]
    residues[1].name, residues[2].name, residues[13].name = "MSE", "ZZZ", "SEP"
    residues[1].atoms = [("SE", "SE", *a[2:]) if a[0] == "CD1" else a for a in residues[1].atoms]
    residues[13].atoms.append(("P", "P", 1.0, 2.0, 3.0, ".", "1.00"))
    chain = read(file)
    assert chain.sequence[1:3] + chain.sequence[13] == "MYS"
    assert at(chain, 1, "SD").any()
    assert chain.atoms.atoms.mask[13].sum() == len(residues[13].atoms) - 1


def test_what_has_no_parent_is_unknown_and_keeps_its_backbone(mmcif, read):
    file = mmcif.trp_cage()
    file.polymers[0].residues[3].name = "QQQ"
    chain = read(file)
    assert chain.sequence[3] == "X"
    assert chain.atoms.atoms.mask[3, :3].all()


def test_arginine_s_nearer_nitrogen_is_nh1(mmcif, read):
    file = mmcif.bpti()
    swap = {"NH1": "NH2", "NH2": "NH1"}
    for residue in file.polymers[0].residues:
        residue.atoms = [(swap.get(a[0], a[0]), *a[1:]) for a in residue.atoms]
    original, swapped = read(mmcif.bpti()), read(file)
    np.testing.assert_array_equal(original.atoms.atoms.positions, swapped.atoms.atoms.positions)


def test_nucleic_acids_ligands_and_mirror_images_are_left_out(mmcif, tmp_path):
    file = mmcif.trp_cage()
    bases = [mmcif.Residue("DA", str(k), atoms=[("P", "P", k, 0.0, 0.0, ".", "1.0")]) for k in range(1, 5)]
    file.polymers.append(mmcif.Polymer("B", "B", bases, "polydeoxyribonucleotide"))
    file.polymers.append(mmcif.Polymer("C", "C", mmcif.residues_of("1l2y_A.pdb"), "polypeptide(D)"))
    assert [chain.name for chain in read_entry(file.write(tmp_path / "a.cif")).chains] == ["A"]
    del file.polymers[0]
    with pytest.raises(StructureError, match="no protein chain"):
        read_entry(file.write(tmp_path / "a.cif"))


def test_several_chains_and_two_that_the_author_calls_the_same(mmcif, tmp_path):
    file = mmcif.bpti()
    file.polymers.append(mmcif.Polymer("B", "Z", mmcif.residues_of("1l2y_A.pdb")))
    file.polymers.append(mmcif.Polymer("C", "Z", mmcif.residues_of("1l2y_A.pdb")))
    for residue in file.polymers[2].residues:
        residue.number = f"{100 + int(residue.number)}"
    assert [chain.name for chain in read_entry(file.write(tmp_path / "a.cif")).chains] == ["A", "Z", "C"]


def test_without_a_deposited_sequence_the_observed_one_is_taken(mmcif, read):
    file = mmcif.trp_cage(sequence=False)
    expected = read(mmcif.trp_cage())
    file.polymers[0].residues[4].atoms = []
    chain = read(file)
    assert chain.sequence == expected.sequence[:4] + expected.sequence[5:]
    assert chain.atoms.numbers.tolist() == [1, 2, 3, 4, *range(6, 21)]


@pytest.mark.parametrize(
    ("name", "expected"), [("1abc", "1ABC"), ("pdb_00001abc", "1ABC"), ("my_model.v2", "MY-MODEL.V2")]
)
def test_names_of_entries(mmcif, tmp_path, name, expected):
    assert read_entry(mmcif.trp_cage(name).write(tmp_path / "a.cif")).name == expected


@pytest.mark.parametrize("name", ["../../etc", "'<b>x</b>'", "-rf", "a" * 40])
def test_names_that_are_no_file_names_are_refused(mmcif, tmp_path, name):
    with pytest.raises(StructureError, match=r"the entry's name .* cannot be used"):
        read_entry(mmcif.trp_cage(name).write(tmp_path / "a.cif"))


def test_a_chain_s_name_that_is_no_file_name_is_replaced(mmcif, read):
    assert read(mmcif.trp_cage(author="../x")).name == "A"


def test_plain_and_packed_are_the_same(mmcif, tmp_path):
    path = mmcif.bpti().write(tmp_path / "a.cif")
    packed = gzip.compress(path.read_bytes()[:999]) + gzip.compress(path.read_bytes()[999:])
    (tmp_path / "a.cif.gz").write_bytes(packed)
    plain, unpacked = (read_entry(file).chains[0].atoms.atoms for file in (path, tmp_path / "a.cif.gz"))
    np.testing.assert_array_equal(plain.positions, unpacked.positions)


def test_a_residue_outside_the_sequence_is_damage(mmcif, tmp_path):
    text = mmcif.trp_cage().text().replace("ALA A 1 20 ", "ALA A 1 2000 ").replace("SER A 1 20 ", "SER A 1 2000 ")
    (tmp_path / "a.cif").write_text(text)
    with pytest.raises(StructureError, match="residue 2000 of a sequence of 20"):
        read_entry(tmp_path / "a.cif")


def test_a_coordinate_out_of_all_bounds_is_damage(mmcif, tmp_path):
    file = mmcif.trp_cage()
    file.polymers[0].residues[0].atoms[0] = ("N", "N", 1e9, 0.0, 0.0, ".", "1.0")
    with pytest.raises(StructureError, match="a coordinate is beyond 1000000 A"):
        read_entry(file.write(tmp_path / "a.cif"))


def test_damaged_files_say_what_is_wrong(mmcif, tmp_path):
    text = mmcif.bpti().text().encode()
    cases = {
        "empty": (b"", "it is empty"),
        "garbage": (b"\x00\xff\x13garbage", "expected mmCIF"),
        "html": (b"<html>503 Service Unavailable</html>", "expected mmCIF"),
        "no atoms": (b"data_1ABC\n_entry.id 1ABC\n", "no coordinates"),
        "cut off": (text[:-3000], "expected mmCIF"),
        "packed and cut off": (gzip.compress(text)[:-500], "cannot read it .the packed file is cut off"),
        "packed garbage": (b"\x1f\x8b" + b"x" * 50, "cannot read it"),
    }
    for content, problem in cases.values():
        (tmp_path / "a.cif").write_bytes(content)
        with pytest.raises(StructureError, match=problem) as raised:
            read_entry(tmp_path / "a.cif")
        assert not isinstance(raised.value, UnreadError)
    with pytest.raises(UnreadError, match=r"cannot read it .no such file"):
        read_entry(tmp_path / "b.cif")


def test_what_unpacks_to_too_much_is_refused(mmcif, tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "LARGEST", 1 << 20)
    (tmp_path / "a.cif.gz").write_bytes(gzip.compress(b"#" * (1 << 22)))
    with pytest.raises(StructureError, match="more than 0 GB of text"):
        read_entry(tmp_path / "a.cif.gz")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_makes_another_error(data, mmcif, tmp_path):
    content = bytearray(mmcif.trp_cage().text().encode())
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(content)))
        end = min(len(content), start + data.draw(st.integers(0, 40)))
        content[start:end] = data.draw(
            st.binary(max_size=12) | st.sampled_from([b" ? ", b" . ", b"nan", b"1e99", b"-7"])
        )
    (tmp_path / "a.cif").write_bytes(content)
    try:
        entry = read_entry(tmp_path / "a.cif")
    except StructureError:
        return
    for chain in entry.chains:
        assert len(chain.sequence) == len(chain.atoms.atoms.mask) == len(chain.atoms.numbers)
        assert np.isfinite(chain.atoms.atoms.positions).all()
        assert (chain.atoms.numbers >= NO_NUMBER).all()
