"""The tables of ModelCIF: its dictionary finds nothing wrong, other programs read them, a second writing keeps them."""

import dataclasses
import gzip
import math
from pathlib import Path

import gemmi
import numpy as np
import pytest
from Bio.PDB.MMCIF2Dict import MMCIF2Dict
from Bio.PDB.MMCIFParser import MMCIFParser

from pipeline import __version__
from pipeline.modelcif import Database, Description, Software, described, refined
from pipeline.numbering import author_numbers
from pipeline.protein import Hydrogens, read_structure
from pipeline.protein_writer import write_mmcif
from pipeline.structure_file import Atom
from pipeline.templates import USER, TemplateHit

GOLDEN = Path(__file__).parent / "golden"
# gemmi's words for what is no fault: categories of the extension, atoms that no dictionary of components lists, and
# water, which it looks for in the sequence and the numbering of the polymers
NO_FAULT = ("category indicated as CONTRIBUTED", "_chem_comp_atom.atom_id", "1st miss: A+HOH", "1st miss: HOH")
LIBRARY_HIT = TemplateHit("3BYB_B", 4, 1e-9, 31.5, 0.45, 0.9, 2, "YIQW-LK", 7, "FIQWGLR", 6.0)
OWN_HIT = dataclasses.replace(
    LIBRARY_HIT, id="own:my 'file' \"x\"_A", source=USER, file="/home/me/loop_ my; file.cif", sha256="a" * 64
)
DESCRIPTION = Description(
    chain="A",
    mean_plddt=71.25,
    parameters={"weights_sha256": "b" * 64, "seed": 3, "recycle_tolerance": 0.5, "dropout": False, "precision": "x y"},
    network="mini, sha256 " + "b" * 64,
    databases=(Database("structuredb", "3.2.1+ds-6"), Database("my 'own'\ndata_x", "")),
    alignment="msa.a3m",
    engines=(Software("jackhmmer", "1:pyhmmer-0.12", "sequence alignment"),),
    library=Database("structuredb", "3.2.1+ds-6"),
    templates=(LIBRARY_HIT, OWN_HIT),
    ptm=0.5659,
    pae_file="confidence.npz",
)
RELAXED = [Software("OpenMM", "8.6.1", "refinement"), Software("PDBFixer", "1.12", "refinement")]


@pytest.fixture(scope="module")
def trp_cage():
    """A model whose residues the user numbers."""
    protein = read_structure(GOLDEN / "1l2y_A.pdb")
    numbers = author_numbers("-3-4,52,52A,101", 20)
    return dataclasses.replace(protein, author_number=numbers, b_factor=np.linspace(50, 90, 20, dtype=np.float32))


@pytest.fixture(scope="module")
def complaints():
    """Return a function that says what ModelCIF's dictionary finds wrong with a file."""
    said = []
    dictionary = gemmi.cif.Ddl(logger=(said.append, 6))
    dictionary.read_ddl(gemmi.cif.read_string(gzip.decompress((GOLDEN / "mmcif_ma.dic.gz").read_bytes()).decode()))

    def check(path):
        said.clear()
        assert dictionary.validate_cif(gemmi.cif.read(str(path))), said
        return [line for line in said if not any(word in line for word in NO_FAULT)]

    return check


@pytest.fixture(scope="module")
def needed():
    """The items of the dictionary that must have a value."""
    text = gzip.decompress((GOLDEN / "mmcif_ma.dic.gz").read_bytes()).decode()
    frames = [item.frame for item in gemmi.cif.read_string(text)[0] if item.frame is not None]
    return {
        gemmi.cif.as_string(name)
        for frame in frames
        for name, code in zip(frame.find_values("_item.name"), frame.find_values("_item.mandatory_code"), strict=True)
        if code == "yes"
    }


def predicted(path, protein, description=DESCRIPTION):
    write_mmcif(path, dataclasses.replace(protein, described=described(description)), name="a target", title="t")
    return read_structure(path)


def relaxed(path, protein):
    tables = refined(protein.described, RELAXED, "relax")
    hydrogens = Hydrogens(np.array([0]), ("H1",), np.ones((1, 3), np.float32))
    write_mmcif(path, dataclasses.replace(protein, described=tables, hydrogens=hydrogens), name="a target")
    return read_structure(path)


def written(folder, protein):
    """Write each kind of file that there is, and return them."""
    water = Atom("A", "201", None, "HOH", "O", "O", (1.0, 2.0, 3.0), 0.0)
    zinc = Atom("A", "202", None, "ZN", "ZN", "ZN", (4.0, 2.0, 3.0), 0.0)
    gap = np.r_[0:9, 13:24].astype(np.int32)
    relaxed(folder / "relaxed.cif", predicted(folder / "predicted.cif", protein))
    predicted(folder / "alone.cif", protein, Description("A", 1.0, network="mini", ptm=None))
    others = {
        "elsewhere": protein,
        "ligands": dataclasses.replace(protein, others=(water, zinc)),
        "gap": dataclasses.replace(protein, residue_index=gap),
        "chains": dataclasses.replace(protein, chain_id=np.array(["B"] * 11 + ["C"] * 9)),
    }
    for name, other in others.items():
        write_mmcif(folder / f"{name}.cif", other, name=name)
    return sorted(folder.glob("*.cif"))


def test_the_dictionary_finds_nothing_wrong(trp_cage, tmp_path, complaints):
    files = written(tmp_path, trp_cage)
    assert len(files) == 7
    assert {path.name: complaints(path) for path in files} == {path.name: [] for path in files}


def test_the_dictionary_would_find_faults(trp_cage, tmp_path, complaints):
    predicted(tmp_path / "x.cif", trp_cage)
    text = (tmp_path / "x.cif").read_text()
    for right, wrong, fault in (
        ("_ma_data.name", "_ma_data.nome", "missing mandatory tag: _ma_data.name"),
        ("PAE   PAE ", "PAEE  PAE ", ""),
        ("_ma_entry_associated_files.file_type", "_ma_entry_associated_files.type", "unknown tag"),
    ):
        assert right in text
        (tmp_path / "y.cif").write_text(text.replace(right, wrong))
        assert bool(fault) == any(fault in line for line in complaints(tmp_path / "y.cif"))


def test_what_must_be_known_is_known(trp_cage, tmp_path, needed):
    assert len(needed) > 60
    for path in written(tmp_path, trp_cage):
        table = MMCIF2Dict(str(path))
        assert not [name for name in needed if "?" in table.get(name, ())], path.name


def test_python_modelcif_reads_it(trp_cage, tmp_path):
    reader = pytest.importorskip("modelcif.reader", reason="python-modelcif is part of the tests' packages")
    relaxed(tmp_path / "relaxed.cif", predicted(tmp_path / "predicted.cif", trp_cage))
    with (tmp_path / "relaxed.cif").open() as file:
        (system,) = reader.read(file)
    assert [(s.name, s.version) for s in system.software][::3] == [("Foldline", __version__), ("PDBFixer", "1.12")]
    assert [step.method_type for protocol in system.protocols for step in protocol.steps] == [
        *("coevolution MSA", "template search", "modeling", "model refinement")
    ]
    assert "".join(c.code for c in system.entities[0].sequence) == trp_cage.sequence
    ((model,),) = system.model_groups
    assert model.name == "relaxed prediction"
    values = {m.name: m.value for m in model.qa_metrics if not hasattr(m, "residue")}
    assert values == {"pLDDT": pytest.approx(71.25), "pTM": pytest.approx(0.5659)}
    local = [m.value for m in model.qa_metrics if hasattr(m, "residue")]
    assert [float(value) for value in local] == pytest.approx(list(trp_cage.b_factor), abs=0.01)
    templates = [template.name for template in system.templates]
    assert templates[0] == "3BYB_B"
    used = [one for group in system.software_groups for one in group if hasattr(one, "parameters")]
    parameters = {parameter.name: parameter.value for one in used for parameter in one.parameters}
    assert parameters["weights_sha256"] == "b" * 64
    assert parameters["seed"] == 3


def test_other_programs_read_it(trp_cage, tmp_path):
    relaxed(tmp_path / "x.cif", predicted(tmp_path / "predicted.cif", trp_cage))
    structure = gemmi.read_structure(str(tmp_path / "x.cif"))
    (chain,) = structure[0]
    assert [str(residue.seqid) for residue in chain] == list(trp_cage.author_number)
    assert [residue.label_seq for residue in chain] == list(range(1, 21))
    assert [residue[0].b_iso for residue in chain] == pytest.approx(list(trp_cage.b_factor), abs=0.01)
    assert structure.entities[0].polymer_type == gemmi.PolymerType.PeptideL
    assert gemmi.one_letter_code(structure.entities[0].full_sequence) == trp_cage.sequence
    residues = list(MMCIFParser(QUIET=True).get_structure("x", str(tmp_path / "x.cif")).get_residues())
    assert residues[9].id == (" ", 52, "A")
    numbers = MMCIF2Dict(str(tmp_path / "x.cif"))
    assert numbers["_pdbx_poly_seq_scheme.pdb_seq_num"][:2] == ["-3", "-2"]
    assert numbers["_pdbx_poly_seq_scheme.pdb_ins_code"][8:11] == ["?", "A", "?"]


def test_templates_say_where_they_align(trp_cage, tmp_path):
    predicted(tmp_path / "x.cif", trp_cage)
    table = MMCIF2Dict(str(tmp_path / "x.cif"))
    assert table["_ma_template_details.template_auth_asym_id"] == ["B", "A"]
    assert table["_ma_template_ref_db_details.db_accession_code"] == ["3BYB"]
    assert table["_ma_template_customized.details"] == [f"file loop_ my; file.cif sha256 {'a' * 64}"]
    begin, end = (f"_ma_target_template_poly_mapping.target_seq_id_{word}" for word in ("begin", "end"))
    assert (table[begin], table[end]) == (["3", "3"], ["8", "8"])
    assert table["_ma_template_poly_segment.residue_number_end"] == ["14", "14"]
    assert table["_ma_alignment.sequence"][:2] == ["YIQW-LK", "FIQWGLR"]


def test_a_second_writing_keeps_the_tables(trp_cage, tmp_path):
    first = predicted(tmp_path / "first.cif", trp_cage)
    assert {*described(DESCRIPTION)} < {*first.described}
    write_mmcif(tmp_path / "second.cif", first, name="a target", title="t")
    assert (tmp_path / "second.cif").read_bytes() == (tmp_path / "first.cif").read_bytes()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("Foldline", "Another"),
        ("_ma_model_list.data_id                    2", "_ma_model_list.data_id                    x"),
        ("_ma_data_group.group_id", "_ma_data_group.gruppe"),
    ],
)
def test_tables_of_others_are_not_handed_on(trp_cage, tmp_path, right, wrong):
    predicted(tmp_path / "x.cif", trp_cage)
    text = (tmp_path / "x.cif").read_text()
    assert right in text
    (tmp_path / "x.cif").write_text(text.replace(right, wrong))
    found = read_structure(tmp_path / "x.cif")
    assert found.described == {}
    assert found.has_plddt


def test_long_alignments_stay_on_short_lines(trp_cage, tmp_path):
    letters = "ACDEFGHIKL" * 300
    hit = dataclasses.replace(LIBRARY_HIT, query_alignment=letters, template_alignment=letters)
    predicted(tmp_path / "x.cif", trp_cage, dataclasses.replace(DESCRIPTION, templates=(hit,)))
    assert max(map(len, (tmp_path / "x.cif").read_text().splitlines())) < 300
    table = MMCIF2Dict(str(tmp_path / "x.cif"))
    assert table["_ma_alignment.sequence"][0].replace("\n", "") == letters
    assert math.isclose(float(table["_ma_qa_metric_global.metric_value"][0]), 71.25)
