"""The user's own templates: a real structure (1BPI) in all the states that files come in, aligned to its sequence."""

import gzip
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.residue_constants import ATOM37_ID, GAP
from pipeline.a3m import Alignment
from pipeline.errors import ConfigError, RecordError, StructureError
from pipeline.fasta import Target
from pipeline.featurize.raw import Settings as FeaturizeSettings
from pipeline.featurize.raw import featurize
from pipeline.protein import read_structure
from pipeline.protein_writer import write_mmcif
from pipeline.search.template_own import with_own
from pipeline.search.template_settings import TemplateSettings
from pipeline.templates import OWN_FILE, TemplateHits, read_templates, write_templates

GOLDEN = Path(__file__).parents[1] / "golden"
BPTI = GOLDEN / "1bpi_A.pdb"
TRP_CAGE = GOLDEN / "1l2y_A.pdb"
FACTS = {"kept": 3, "excluded": 2, "reason": ""}
LINES = [line for line in BPTI.read_text().splitlines() if line.startswith("ATOM")]


@pytest.fixture(scope="module")
def bpti():
    """The structure; the file has NH1 and NH2 of arginine 53 the wrong way round, which AlphaFold 2 sets right."""
    protein = read_structure(BPTI)
    nh1, nh2 = ATOM37_ID["NH1"], ATOM37_ID["NH2"]
    protein.atom37_positions[52, [nh1, nh2]] = protein.atom37_positions[52, [nh2, nh1]]
    return protein


def residue(line):
    return int(line[22:26])


def found(query, *texts, target="bpti", **change):
    given = TemplateSettings(own_templates=texts, **change)
    return with_own(TemplateHits({}, ()), FACTS, target, Alignment((target,), (query,)), given)


def features_of(query, hits):
    target = Target.monomer("bpti", "bpti", query)
    return featurize(target, Alignment(("bpti",), (query,)), hits, None, FeaturizeSettings())


def written(tmp_path, lines, name="model.pdb"):
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\nEND\n")
    return str(path)


def same_atoms(features, bpti, places):
    """Check that the residues at some places have the atoms of the structure, and the others none."""
    shown = np.isin(np.arange(len(bpti)), places)
    np.testing.assert_array_equal(features.template_mask[0], bpti.atom37_mask & shown[:, None])
    expected = np.where(features.template_mask[0][..., None], bpti.atom37_positions, 0)
    np.testing.assert_array_equal(features.template_positions[0], expected)
    np.testing.assert_array_equal(features.template_aatype[0], np.where(shown, bpti.aatype, GAP))


def test_all_atoms_arrive_and_are_the_users(bpti, tmp_path):
    hits, facts = found(bpti.sequence, str(BPTI))
    (hit,) = hits.hits
    assert (hit.id, hit.source, hit.excluded, hit.date) == ("own:1bpi_A_A", "user", "", "")
    assert (hit.identity, hit.coverage, hit.sum_probs) == (1.0, 1.0, 58.0)
    assert hit.e_value < 1e-20
    assert (hit.file, len(hit.sha256)) == (str(BPTI), 64)
    assert facts["kept"] == 4
    assert facts["own"] == [{"id": hit.id, "file": str(BPTI), "chain": "A", "notes": []}]
    write_templates(tmp_path / "t.json", hits)
    features = features_of(bpti.sequence, read_templates(tmp_path / "t.json"))
    same_atoms(features, bpti, np.arange(58))
    assert features.template_mask.sum() == len(LINES)
    assert features.template_ids == ("own:1bpi_A_A",)


@pytest.mark.parametrize("name", ["no-ending", "x.pdb.gz", "übung 1.ent", "1abc.cif", "a=b:c.pdb", "<b>.pdb"])
def test_any_file_name(bpti, tmp_path, name):
    path = tmp_path / name
    if name.endswith(".cif"):
        write_mmcif(path, bpti, name="x")
    else:
        path.write_bytes(gzip.compress(BPTI.read_bytes()) if name.endswith(".gz") else BPTI.read_bytes())
    hits, _ = found(bpti.sequence, str(path))
    assert hits.kept[0].coverage == 1.0
    assert set(hits.kept[0].id) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:")


def test_missing_residues_and_gaps_in_the_numbering(bpti, tmp_path):
    """Residues 11 to 35 are not there, and the author counts on from 500."""
    kept = [line for line in LINES if not 11 <= residue(line) <= 35]
    moved = [f"{line[:22]}{residue(line) + (500 if residue(line) > 35 else 0):4d}{line[26:]}" for line in kept]
    hits, _ = found(bpti.sequence, written(tmp_path, moved))
    places = np.r_[0:10, 35:58]
    assert hits.kept[0].pairs() == [(place, index) for index, place in enumerate(places)]
    same_atoms(features_of(bpti.sequence, hits), bpti, places)


def test_a_whole_sequence_in_mmcif_says_what_is_missing(bpti, tmp_path):
    path = tmp_path / "x.cif"
    kept = np.r_[0:10, 35:58]
    write_mmcif(path, bpti, name="x")
    head, *_ = path.read_text().partition("\nATOM ")
    atoms = [line for line in path.read_text().splitlines() if line.startswith("ATOM ")]
    seen = [line for line in atoms if int(line.split()[8]) - 1 in kept]
    path.write_text("\n".join([head, *seen, "#", ""]))
    hits, _ = found(bpti.sequence, str(path))
    assert hits.kept[0].coverage == 1.0
    features = features_of(bpti.sequence, hits)
    np.testing.assert_array_equal(features.template_aatype[0], bpti.aatype)  # as AlphaFold 2 does
    assert not features.template_mask[0, 10:35].any()
    np.testing.assert_array_equal(features.template_mask[0][kept], bpti.atom37_mask[kept])


def test_selenomethionine_and_other_modified_residues(bpti, tmp_path):
    """MET 52 becomes MSE, CYS 5 CSO with an extra oxygen; both are HETATM records."""
    lines = []
    for line in LINES:
        name = {5: "CSO", 52: "MSE"}.get(residue(line))
        lines.append(f"HETATM{line[6:17]}{name}{line[20:]}" if name else line)
        if name == "CSO" and line[12:16] == " SG ":
            lines.append(f"HETATM{line[6:12]} OD  CSO{line[20:76]} O")
        if name == "MSE" and line[12:16] == " SD ":
            lines[-1] = f"HETATM{line[6:12]}SE   MSE{line[20:76]}SE"
    hits, facts = found(bpti.sequence, written(tmp_path, lines))
    assert hits.kept[0].identity == 1.0
    same_atoms(features_of(bpti.sequence, hits), bpti, np.arange(58))
    notes = facts["own"][0]["notes"]
    assert "A:52 MSE is read as MET" in notes
    assert "A:5 CSO is read as CYS" in notes


def test_alternate_locations(bpti, tmp_path):
    """The side chain of residue 20 is there twice, the second time with the higher occupancy."""
    lines = []
    for line in LINES:
        twice = residue(line) == 20 and line[12:16].strip() not in ("N", "CA", "C", "O")
        if twice:
            lines.append(f"{line[:16]}A{line[17:30]}{99.0:8.3f}{line[38:54]}  0.40{line[60:]}")
        lines.append(f"{line[:16]}B{line[17:54]}  0.60{line[60:]}" if twice else line)
    hits, _ = found(bpti.sequence, written(tmp_path, lines))
    same_atoms(features_of(bpti.sequence, hits), bpti, np.arange(58))


def test_insertion_codes(bpti, tmp_path):
    """Residues 25 to 30 are numbered 24A to 24F."""
    lines = [
        f"{line[:22]}  24{'ABCDEF'[residue(line) - 25]}{line[27:]}" if 25 <= residue(line) <= 30 else line
        for line in LINES
    ]
    hits, _ = found(bpti.sequence, written(tmp_path, lines))
    same_atoms(features_of(bpti.sequence, hits), bpti, np.arange(58))


def test_sequence_and_structure_differ(bpti, tmp_path):
    """The target has a tag, two substitutions and an insertion; the template keeps its own residue types."""
    sequence = "MHHHHHHSSG" + bpti.sequence[:30] + "GSGSG" + bpti.sequence[30:]
    letters = list(sequence)
    letters[15], letters[50] = "A", "W"
    query = "".join(letters)
    hits, _ = found(query, str(BPTI))
    hit = hits.kept[0]
    places = np.r_[10:40, 45:73]
    assert hit.coverage == pytest.approx(58 / 73, abs=0.03)
    assert hit.identity == pytest.approx(56 / 58, abs=0.02)
    pairs = dict(hit.pairs())
    assert sum(pairs.get(int(place)) == index for index, place in enumerate(places)) >= 56
    features = features_of(query, hits)
    assert features.template_aatype[0, 15] == bpti.aatype[5]
    assert features.template_mask[0, 15, ATOM37_ID["CB"]]


def two_chains(tmp_path, bpti):
    other = [f"{line[:21]}Q{line[22:]}" for line in LINES]
    first = [line for line in TRP_CAGE.read_text().splitlines() if line.startswith("ATOM")]
    return written(tmp_path, [*first, "TER", *other, "TER"], "two.pdb")


def test_the_chain_is_found_or_chosen(bpti, tmp_path):
    path = two_chains(tmp_path, bpti)
    hits, facts = found(bpti.sequence, path)
    assert facts["own"][0]["chain"] == "Q"
    assert hits.kept[0].coverage == 1.0
    hits, facts = found(bpti.sequence, f"{path}:A")
    assert facts["own"][0]["chain"] == "A"
    assert hits.hits[0].coverage < 0.4
    with pytest.raises(StructureError, match=r"two\.pdb: the template has no chain 'B'; its chains are A, Q"):
        found(bpti.sequence, f"{path}:B")


def test_several_for_one_target_and_for_all(bpti, tmp_path):
    second = written(tmp_path, LINES, "second.pdb")
    texts = (str(BPTI), f"bpti={second}", f"other={tmp_path}/second.pdb:A", second)
    hits, facts = found(bpti.sequence, *texts)
    assert [hit.id for hit in hits.hits] == ["own:second_A", "own:1bpi_A_A", "own:second_A.2"]
    assert [hit.index for hit in hits.hits] == [0, 1, 2]
    assert facts["kept"] == 6
    same_atoms(features_of(bpti.sequence, hits), bpti, np.arange(58))
    hits, _ = found(bpti.sequence, *texts, target="nobody")
    assert [hit.id for hit in hits.hits] == ["own:1bpi_A_A", "own:second_A"]
    assert found(bpti.sequence, *texts, no_templates_for=("bpti",)) == (TemplateHits({}, ()), {**FACTS, "own": []})


def test_a_folder_of_templates(bpti, tmp_path):
    written(tmp_path, LINES, "b.pdb")
    written(tmp_path, LINES, "a.ent")
    (tmp_path / ".hidden").write_text("x")
    hits, _ = found(bpti.sequence, str(tmp_path))
    assert [hit.id for hit in hits.hits] == ["own:a_A", "own:b_A"]


def test_what_is_for_all_need_not_resemble_each_target(bpti):
    """Trp-cage is no template of BPTI, unless the user says so."""
    query = bpti.sequence
    (hit,) = found(query, str(TRP_CAGE), min_template_coverage=0.0)[0].hits
    assert hit.excluded == "E-value above template_e_value; write TARGET=FILE to use it all the same"
    assert hit.e_value is None
    (hit,) = found(query, f"bpti={TRP_CAGE}", min_template_coverage=0.0)[0].hits
    assert (hit.excluded, hit.e_value) == ("", None)


def test_a_template_that_does_not_belong_is_listed_with_the_reason(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        hits, facts = found("W" * 31, f"bpti={TRP_CAGE}", min_template_coverage=0.5)
    assert hits.kept == ()
    assert hits.hits[0].excluded == "coverage 0.03 below min_template_coverage 0.5"
    assert facts["excluded"] == 3
    assert "own:1l2y_A_A: coverage" in caplog.text
    path = written(tmp_path, [line for line in LINES if residue(line) == 21])  # one tyrosine
    assert found("G" * 31, f"bpti={path}")[0].hits[0].excluded == "nothing of it aligns to the target"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "bad.pdb: expected an mmCIF or PDB file, found an empty one"),
        (b"<html>", "bad.pdb: expected an mmCIF or PDB file, found no atom records"),
        (b"\x1f\x8bxx", "bad.pdb: expected an mmCIF or PDB file"),
        (b"HETATM    1  O   HOH A   1       0.000   0.000   0.000  1.00  0.00           O\n", "found no amino acid"),
    ],
)
def test_a_bad_file_is_named(bpti, tmp_path, content, message):
    (tmp_path / "bad.pdb").write_bytes(content)
    with pytest.raises(StructureError, match=message):
        found(bpti.sequence, str(BPTI), str(tmp_path / "bad.pdb"))


def test_files_that_do_not_exist(bpti, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"the template 'none\.pdb' does not exist; write FILE, FILE:CHAIN"):
        found(bpti.sequence, "none.pdb")
    with pytest.raises(ConfigError, match="empty: the folder of templates is empty"):
        found(bpti.sequence, str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match="golden: a folder of templates has no chain"):
        found(bpti.sequence, f"{GOLDEN}:A")


def test_atoms_that_changed_since_the_search(bpti, tmp_path):
    hits, _ = found(bpti.sequence, str(BPTI))
    write_templates(tmp_path / "t.json", hits)
    whole = (tmp_path / OWN_FILE).read_bytes()
    write_templates(tmp_path / "t.json", found(bpti.sequence, f"{TRP_CAGE}", str(BPTI))[0])
    (tmp_path / OWN_FILE).write_bytes(whole)
    with pytest.raises(RecordError, match="the user's templates are not those of the template hits; run search again"):
        read_templates(tmp_path / "t.json")
    (tmp_path / OWN_FILE).unlink()
    with pytest.raises(RecordError, match=r"own_templates\.npz: expected a foldline\.own_templates/1 file"):
        read_templates(tmp_path / "t.json")
    record = json.loads((tmp_path / "t.json").read_text())
    (tmp_path / "t.json").write_text(json.dumps({**record, "own": {}}))
    with pytest.raises(RecordError, match="own:1bpi_A_A: the template is not among the user's"):
        features_of(bpti.sequence, read_templates(tmp_path / "t.json"))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 50), st.integers(1, 30), st.integers(0, 4000), st.text("GSAH", max_size=12))
def test_any_stretch_may_be_missing(tmp_path_factory, first, missing, shift, tag):
    """Nearly every residue that is seen is put to its place; none is put there twice."""
    bpti = read_structure(BPTI)
    gone = range(first, first + missing)
    lines = [
        f"{line[:22]}{residue(line) + (shift if residue(line) > first else 0):4d}{line[26:]}"
        for line in LINES
        if residue(line) not in gone
    ]
    path = written(tmp_path_factory.mktemp("stretch"), lines)
    hits, _ = found(tag + bpti.sequence, path)
    seen = [index for index in range(58) if index + 1 not in gone]
    right = sum((len(tag) + seen[j]) == i for i, j in hits.hits[0].pairs())
    assert right >= len(seen) - 8  # an end of a few residues may not be worth its gap
    assert len({i for i, _ in hits.hits[0].pairs()}) == len(hits.hits[0].pairs())
