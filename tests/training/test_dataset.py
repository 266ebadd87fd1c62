"""Training examples from a small made-up set: alignments, templates, crops, the split, and determinism."""

import dataclasses

import numpy as np
import pytest

from models import residue_constants as rc
from pipeline.protein import read_structure
from training import chain_sets, dataset, sources

LENGTHS = (41, 47, 53, 59, 61)  # of the chains of conftest.py
SEED = 11


def test_alignments_are_read_as_runs(database):
    hits = database.hits(0)
    with_insertion = chain_sets.template_map(LENGTHS[0], hits, 0)
    assert with_insertion[:3].tolist() == [-1, -1, -1]
    assert with_insertion[3:10].tolist() == list(range(5, 12))
    assert with_insertion[10:21].tolist() == list(range(16, 27))  # four residues of the hit are skipped
    with_gap = chain_sets.template_map(LENGTHS[0], hits, 1)
    assert with_gap[13:15].tolist() == [-1, -1]
    assert with_gap[15:32].tolist() == list(range(15, 32))


def test_alignment_rows_hold_the_hits_letters_and_deletions(database):
    msa, deletions = database.hit_msa(0, [0])
    assert msa.shape == (2, LENGTHS[0])
    letters = "".join(rc.HHBLITS_ALPHABET[i] for i in msa[1])
    hit = database.letters(1).tobytes().decode()
    assert letters[3:10] == hit[5:12]
    assert letters[10:21] == hit[16:27]
    assert letters[:3] == "---"
    assert deletions[1, 10] == 4
    assert deletions[1].sum() == 4


def test_templates_are_the_hits_backbone(source):
    example = source.example(0, np.random.default_rng(0), LENGTHS[0], [1, 0])
    positions, mask = source.database.atom37(2)
    np.testing.assert_array_equal(example["template_all_atom_positions"][0, :13], positions[2:15])
    np.testing.assert_array_equal(example["template_all_atom_masks"][0, :13], mask[2:15])
    assert example["template_mask"].tolist() == [1, 1]
    assert not example["template_all_atom_masks"][0, 13:15].any()


@pytest.mark.parametrize("crop", [31, 43])
def test_examples_have_the_size_of_the_crop(source, crop):
    example = source.example(0, np.random.default_rng(1), crop, [0])
    assert example["aatype"].shape == (crop,)
    assert example["all_atom_positions"].shape == (crop, 37, 3)
    real = min(crop, LENGTHS[0])
    assert example["seq_mask"].sum() == real
    assert example["all_atom_mask"][real:].sum() == 0
    np.testing.assert_array_equal(np.diff(example["residue_index"][:real]), 1)


def test_glycine_has_no_cb(database):
    for index in range(len(LENGTHS)):
        _, mask = database.atom37(index)
        np.testing.assert_array_equal(mask[:, rc.ATOM37_ID["CB"]], database.letters(index) != ord("G"))


def test_batches_depend_on_seed_and_step_alone(source):
    first = dataset.batches(source, SEED, 0, 2, (31, 37))
    next(first)
    second, resumed = next(first), next(dataset.batches(source, SEED, 1, 2, (31, 37)))
    assert second["aatype"].shape == (2, 37)
    for name, array in second.items():
        np.testing.assert_array_equal(resumed[name], array, err_msg=name)
    other = next(dataset.batches(source, SEED + 1, 1, 2, (31, 37)))
    assert any(not np.array_equal(other[name], second[name]) for name in second)


def test_excluded_chains_are_no_templates_and_no_examples(folder):
    database = chain_sets.StructureDB(folder / "structuredb", folder / "hits.npz", frozenset({"1ABC_A"}))
    assert database.hits(0).target.tolist() == [2]
    training, validation = sources.split(database, 1, seed=0)
    assert 1 not in training
    assert 1 not in validation


def test_training_has_no_relative_of_a_validation_chain(database):
    for seed in range(7):
        training, validation = sources.split(database, 2, seed)
        assert not set(training) & set(validation)
        for i in validation:
            assert not set(database.hits(i).target) & set(training)
        for i in training:
            assert not set(database.hits(i).target) & set(validation)


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_examples_carry_couplings(source, fraction):
    settings = dataclasses.replace(source.settings, coupled_fraction=fraction)
    example = dataclasses.replace(source, settings=settings).example(0, np.random.default_rng(1), 43, [])
    real = LENGTHS[0]
    assert example["couplings"].shape == (43, 43)
    assert np.mean(example["couplings"][:real, :real] != 0) == pytest.approx(fraction * (1 - 1 / real))
    assert not example["couplings"][real:].any()
    rows = example["msa_feat"][0, :real, 25:47]  # the profile of the rows
    assert (rows > 0).sum(axis=1).mean() > 15 or fraction == 0  # couplings come with deep alignments


def test_secondary_structure_is_known_of_the_chains_of_the_set(source, folder):
    crop = 37
    example = source.example(2, np.random.default_rng(SEED), crop, [])
    start = sum(LENGTHS[:2]) + int(example["residue_index"][0])
    letters = np.load(folder / "structuredb" / "dssp.npy")[start : start + crop].tobytes().decode()
    wanted = [{"H": 0, "G": 0, "I": 0, "E": 1}.get(letter, 2) for letter in letters]
    assert example["secondary_structure"].tolist() == wanted
    whole = source.example(0, np.random.default_rng(SEED), 43, [])
    assert whole["secondary_structure"][LENGTHS[0] :].tolist() == [-1, -1]


def test_validation_chains_that_the_allatom_set_holds_are_left_out(database):
    class AllAtom:
        def letters(self):
            return ["A" * 30, database.letters(3)[11:25].tobytes().decode()]

    assert sources.unseen(database, np.array([1, 3, 4]), AllAtom()).tolist() == [1, 4]


def test_what_is_held_back_has_no_hit_among_the_rest(database):
    for seed in range(5):
        rest, held = sources.hold_back(database, np.arange(5), 1, seed)
        assert len(held) == 1
        related = {0: {1, 2}, 1: {0}, 2: {0}}.get(int(held[0]), set())
        assert sorted([*rest, *held, *related]) == [0, 1, 2, 3, 4]


def test_hydrogen_bonds_are_those_of_the_whole_chain(golden):
    protein = read_structure(golden / "1bpi_A.pdb")
    n, index = len(protein), np.arange(len(protein))
    found = dataset.bonded_residues(protein.aatype, index, protein.atom37_positions, protein.atom37_mask)
    letters = np.array([rc.RESTYPES_X[a] for a in protein.aatype])
    assert (found[letters == "P"] == -1).all()
    assert found[0] == -1
    assert {(21, 30), (51, 47)} <= {(int(i), int(j)) for i, j in enumerate(found)}  # of the hairpin and of the helix
    window = slice(18, 28)
    here = dataset.within(found, window)
    for k, i in enumerate(range(window.start, window.stop)):
        inside = window.start <= found[i] < window.stop
        assert here[k] == (found[i] - window.start if inside else -1)
    assert here[21 - 18] == -1  # it binds a residue outside: not known, and not none
    none = [k for k in range(10) if found[18 + k] == 18 + k]
    assert none
    assert all(here[k] == k for k in none)
    gone = protein.atom37_mask.copy()
    gone[30] = False
    without = dataset.bonded_residues(protein.aatype, index, protein.atom37_positions, gone)
    assert without[21] != 30
    assert without.shape == (n,)
