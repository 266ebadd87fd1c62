"""A model against a reference: pairing, scores, the command."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from models import residue_constants as rc
from pipeline.config import ROOT
from pipeline.errors import FoldlineError, StructureError
from pipeline.evaluate.command import main
from pipeline.evaluate.pairs import PairingError, pair_residues
from pipeline.evaluate.scores import evaluate
from pipeline.protein import Protein, read_structure

GOLDEN = Path(__file__).parents[1] / "golden"
BPTI = GOLDEN / "1bpi_A.pdb"


@pytest.fixture(scope="module")
def native():
    return read_structure(BPTI)


def part(protein, rows):
    """Return the residues chosen by a slice or indices."""
    names = ("aatype", "atom37_positions", "atom37_mask", "residue_index", "chain_id", "b_factor")
    numbers = tuple(np.array(protein.author_number)[rows].tolist())
    arrays = {name: getattr(protein, name)[rows] for name in names}
    return dataclasses.replace(protein, **arrays, author_number=numbers)


def renumbered(protein, start):
    return dataclasses.replace(protein, author_number=tuple(str(start + k) for k in range(len(protein))))


def chains(*proteins: Protein):
    """Put proteins together as chains A, B ..."""
    names = ("aatype", "atom37_positions", "atom37_mask", "residue_index", "b_factor")
    arrays = {name: np.concatenate([getattr(p, name) for p in proteins]) for name in names}
    letters = np.concatenate([np.full(len(p), "ABCD"[k]) for k, p in enumerate(proteins)])
    numbers = tuple(number for p in proteins for number in p.author_number)
    return dataclasses.replace(proteins[0], **arrays, chain_id=letters, author_number=numbers)


def noisy(protein, scale, seed=3):
    noise = np.random.default_rng(seed).normal(scale=scale, size=protein.atom37_positions.shape)
    return dataclasses.replace(protein, atom37_positions=(protein.atom37_positions + noise).astype(np.float32))


def test_a_structure_is_like_itself(native):
    found = evaluate(native, native)
    assert (found.ca_lddt, found.lddt, found.tm_score, found.gdt_ts) == (1, 1, 1, 1)
    assert found.ca_rmsd == pytest.approx(0, abs=1e-3)
    assert found.matched_by == {"A": "number"}


def test_numbers_that_differ_are_paired_by_sequence(native):
    model = noisy(native, 0.3)
    by_number, by_sequence = evaluate(model, native), evaluate(renumbered(model, 501), native)
    assert by_sequence.matched_by == {"A": "sequence"}
    assert dataclasses.replace(by_sequence, matched_by={}, per_residue={}) == dataclasses.replace(
        by_number, matched_by={}, per_residue={}
    )
    assert by_sequence.per_residue["model_number"][0] == "501"


def test_numbers_shifted_by_one_are_not_believed(native):
    assert pair_residues(renumbered(native, 2), native).model.tolist() == list(range(58))
    forced = pair_residues(renumbered(native, 2), native, "number").model
    assert forced.tolist() == [-1, *range(57)]


def test_what_the_model_lacks_counts_as_wrong(native):
    half = part(native, slice(0, 29))
    found = evaluate(half, native)
    assert found.paired == 29
    assert found.ca_rmsd == pytest.approx(0, abs=1e-3)
    assert found.ca_lddt < 0.6
    assert found.tm_score == pytest.approx(0.5)
    assert found.gdt_ts == pytest.approx(0.5)
    assert evaluate(native, half).tm_score == pytest.approx(1)


def test_a_gap_in_the_middle_is_aligned(native):
    model = renumbered(part(native, np.r_[0:20, 27:58]), 1)
    assert evaluate(model, native).paired == 51
    assert np.flatnonzero(pair_residues(model, native).model < 0).tolist() == list(range(20, 27))


def test_names_of_equal_atoms_do_not_matter(native):
    positions, mask = native.atom37_positions.copy(), native.atom37_mask
    swaps = {"D": ("OD1", "OD2"), "F": ("CD1", "CD2"), "R": ("NH1", "NH2"), "L": ("CD1", "CD2")}
    for letter, names in swaps.items():
        a, b = (rc.ATOM37_ID[name] for name in names)
        rows = np.flatnonzero(native.aatype == rc.RESTYPE_ID[letter])
        positions[rows[:, None], [a, b]] = positions[rows[:, None], [b, a]]
    rows = np.flatnonzero(native.aatype == rc.RESTYPE_ID["F"])
    a, b = rc.ATOM37_ID["CE1"], rc.ATOM37_ID["CE2"]
    positions[rows[:, None], [a, b]] = positions[rows[:, None], [b, a]]
    found = evaluate(dataclasses.replace(native, atom37_positions=positions, atom37_mask=mask), native)
    assert found.lddt == 1
    assert found.rmsd == pytest.approx(0, abs=1e-3)


def test_side_chains_count_in_lddt_alone(native):
    side = native.atom37_mask.copy()
    side[:, [rc.ATOM37_ID[name] for name in ("N", "CA", "C", "O", "CB")]] = False
    positions = np.where(side[..., None], native.atom37_positions + 3, native.atom37_positions).astype(np.float32)
    found = evaluate(dataclasses.replace(native, atom37_positions=positions), native)
    assert found.ca_lddt == found.tm_score == 1
    assert 0.4 < found.lddt < 0.9


def test_chains_are_paired_by_name_and_else_by_sequence(native):
    cage = read_structure(GOLDEN / "1l2y_A.pdb")
    reference = chains(native, cage)
    assert evaluate(reference, reference).chains == {"A": "A", "B": "B"}
    found = evaluate(chains(cage, native), reference)
    assert found.chains == {"A": "B", "B": "A"}
    assert found.paired == 78
    assert 0.9 < found.ca_lddt <= 1  # distances between the chains are another's


def test_nothing_to_pair(native):
    cage = read_structure(GOLDEN / "1l2y_A.pdb")
    with pytest.raises(PairingError, match="no residue of the model stands for one of the reference"):
        pair_residues(renumbered(cage, 100), native, "number")


def test_coordinates_that_are_no_numbers(native):
    positions = native.atom37_positions.copy()
    positions[5:9] = np.nan
    found = evaluate(dataclasses.replace(native, atom37_positions=positions), native)
    assert found.paired == 54
    json.dumps(dataclasses.asdict(found), allow_nan=False)


def test_two_residues_have_no_superposition(native):
    two = part(native, slice(0, 2))
    found = evaluate(two, two)
    assert found.ca_rmsd is None
    assert found.tm_score == 0


def test_the_command(native, capsys, tmp_path):
    assert main([str(BPTI), str(BPTI), str(BPTI)]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["model", "residues", "paired", "by"]
    assert [row.split()[4] for row in rows] == ["1.0000", "1.0000"]
    assert main(["--residues", str(BPTI), str(BPTI)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 59
    with pytest.raises(StructureError, match="does not exist"):
        main([str(tmp_path / "none.pdb"), str(BPTI)])
    with pytest.raises(FoldlineError, match=r"1l2y_A.pdb and .*1bpi_A.pdb: no residue of the model stands"):
        main(["--match", "number", str(renumbered_file(tmp_path)), str(BPTI)])


def renumbered_file(folder):
    """Write the cage with numbers that the reference does not have."""
    lines = (GOLDEN / "1l2y_A.pdb").read_text(encoding="utf-8").splitlines()
    moved = [
        f"{line[:22]}{int(line[22:26]) + 500:4d}{line[26:]}" if line.startswith("ATOM") else line for line in lines
    ]
    (folder / "1l2y_A.pdb").write_text("\n".join(moved) + "\n", encoding="utf-8")
    return folder / "1l2y_A.pdb"


def test_the_record_is_the_one_that_is_documented(capsys):
    assert main(["--json", str(BPTI), str(BPTI)]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["schema"] == "foldline.evaluation/1"
    text = (ROOT / "docs" / "quality.md").read_text(encoding="utf-8").partition("## A model against a reference")[2]
    named = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `models[].")]
    (found,) = record["models"]
    assert named == [f"models[].{name}" for name in found]
