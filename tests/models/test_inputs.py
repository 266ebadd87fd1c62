"""Golden: AlphaFold 2's own feature processing of one alignment (60 rows of 45), without and with random choices."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from models import alphafold, coevolution
from models import config as model_config
from models.inputs import (
    HHBLITS_TO_AATYPE,
    Choices,
    Sizes,
    draw_choices,
    full_sizes,
    make_inputs,
    msa_inputs,
    msa_profile,
    nearest_cluster,
    pad_inputs,
    sizes_for,
    summarise_clusters,
)

GOLDEN = Path(__file__).parent / "golden"
CONFIG = model_config.InputConfig(max_msa_clusters=16, max_extra_msa=24, max_templates=4, reserve_template_rows=False)
MINI = model_config.mini().input
NETWORK = model_config.alphafold2(1, ptm=True)


def golden(name):
    return dict(np.load(GOLDEN / f"features_{name}.npz", allow_pickle=False))


@pytest.fixture(scope="module")
def raw():
    arrays = golden("raw")
    return {
        "aatype": arrays["aatype"].argmax(axis=1),
        "residue_index": arrays["residue_index"],
        "msa": arrays["msa"].astype(np.int8),
        "deletion_matrix": arrays["deletion_matrix_int"].astype(np.int16),
        "template_aatype": HHBLITS_TO_AATYPE[arrays["template_aatype"].argmax(axis=-1)],
        "template_positions": arrays["template_all_atom_positions"],
        "template_mask": arrays["template_all_atom_masks"] > 0,
    }


@pytest.fixture(scope="module")
def random_msa():
    rng = np.random.default_rng(5)
    return rng.integers(0, 22, (23, 17)).astype(np.int8), rng.integers(0, 5, (23, 17)).astype(np.int16)


def golden_choices(name, raw):
    """The choices of the golden file; its clustered rows after masking are the replacements."""
    arrays = golden(name)
    order = arrays.get("choice/msa_order_without_query", np.arange(1, len(raw["msa"])))
    extra_order = arrays.get("choice/extra_order", np.arange(len(raw["msa"]) - 16))
    replacement = arrays.get("choice/bert_sample_flat", arrays["stage/msa"]).reshape(16, -1)
    return Choices(order, arrays["stage/bert_mask"] > 0, replacement, extra_order)


@pytest.mark.parametrize("name", ["det", "rand"])
def test_msa_inputs_are_alphafolds(name, raw):
    expected = golden(name)
    msa = HHBLITS_TO_AATYPE[raw["msa"]]
    inputs = msa_inputs(msa, raw["deletion_matrix"], CONFIG, golden_choices(name, raw))
    assert inputs["msa_feat"].shape == (16, 45, 49)
    for key, array in inputs.items():
        assert array.dtype == expected[key].dtype, key
        np.testing.assert_allclose(array, expected[key][0], rtol=0, atol=3e-7, err_msg=key)


@pytest.mark.parametrize("name", ["det", "rand"])
def test_stages_are_alphafolds(name, raw):
    expected, choices = golden(name), golden_choices(name, raw)
    msa, deletions = HHBLITS_TO_AATYPE[raw["msa"]], raw["deletion_matrix"]
    np.testing.assert_allclose(msa_profile(msa), expected["stage/hhblits_profile"], atol=1e-7)
    rows = np.concatenate([[0], choices.order])
    members = msa[rows[16:]]
    assignment = nearest_cluster(expected["stage/msa"], members)
    np.testing.assert_array_equal(assignment, expected["stage/extra_cluster_assignment"])
    profile, deletion_mean = summarise_clusters(
        expected["stage/msa"], deletions[rows[:16]], members, deletions[rows[16:]], assignment
    )
    np.testing.assert_allclose(profile, expected["stage/cluster_profile"], atol=1e-7)
    np.testing.assert_allclose(deletion_mean, expected["stage/cluster_deletion_mean"], rtol=1e-6)


def test_other_inputs_and_padding_are_alphafolds(raw):
    expected = golden("det")
    inputs = pad_inputs(make_inputs(raw, CONFIG, np.random.default_rng(0)), NETWORK, full_sizes(CONFIG, 45))
    constant = [key for key in inputs if "msa" not in key and "extra" not in key and "bert" not in key]
    assert len(constant) == 10
    for key in constant:
        np.testing.assert_array_equal(inputs[key], expected[key], err_msg=key)


def test_masking_hides_as_alphafold(raw):
    """The shares of section 1.2.7: 70 % mask, 10 % uniform, 10 % profile, 10 % the same letter."""
    msa = np.repeat(HHBLITS_TO_AATYPE[raw["msa"]][:1], 4000, axis=0)
    config = dataclasses.replace(CONFIG, max_msa_clusters=4000)
    choices = draw_choices(msa, msa_profile(msa), config, np.random.default_rng(11))
    drawn, before = choices.replacement[choices.masked], msa[choices.masked]
    assert choices.masked.mean() == pytest.approx(0.15, abs=0.005)
    assert (drawn == 22).mean() == pytest.approx(0.7, abs=0.015)
    assert (drawn == before).mean() == pytest.approx(0.1 + 0.1 + 0.005, abs=0.015)
    assert not np.isin(drawn, [20, 21]).any()
    np.testing.assert_array_equal(choices.replacement[~choices.masked], msa[~choices.masked])


def test_seed_decides_everything(raw):
    one, same, other = (make_inputs(raw, CONFIG, np.random.default_rng(seed), 3) for seed in (7, 7, 8))
    for key in one:
        np.testing.assert_array_equal(one[key], same[key])
    assert not np.array_equal(one["extra_msa"], other["extra_msa"])


def test_every_iteration_has_its_own_sample(raw):
    inputs = make_inputs(raw, CONFIG, np.random.default_rng(3), 3)
    assert {array.shape[0] for array in inputs.values()} == {3}
    assert not np.array_equal(inputs["msa_feat"][0], inputs["msa_feat"][1])
    np.testing.assert_array_equal(inputs["true_msa"][:, 0], inputs["aatype"])


def test_mini_reads_the_profile_of_the_alignment(raw):
    inputs = make_inputs(raw, MINI, np.random.default_rng(0), 4)
    assert inputs["msa_feat"].shape == (4, 1, 45, 49)
    assert not any(key.startswith("extra") for key in inputs)
    profile = msa_profile(HHBLITS_TO_AATYPE[raw["msa"]])
    np.testing.assert_allclose(inputs["msa_feat"][2, 0, :, 25:47], profile, atol=1e-6)
    deletion_mean = raw["deletion_matrix"].mean(axis=0)
    np.testing.assert_allclose(inputs["msa_feat"][0, 0, :, 48], 2 / np.pi * np.arctan(deletion_mean / 3), atol=1e-6)


def test_mini_does_not_depend_on_row_order_or_seed(raw):
    order = np.r_[0, 1 + np.random.default_rng(1).permutation(59)]
    shuffled = raw | {"msa": raw["msa"][order], "deletion_matrix": raw["deletion_matrix"][order]}
    one = make_inputs(raw, MINI, np.random.default_rng(0))
    two = make_inputs(shuffled, MINI, np.random.default_rng(9))
    for key in one:
        np.testing.assert_array_equal(one[key], two[key])


def test_couplings_are_those_of_the_alignment_or_those_that_are_given(raw):
    rng = np.random.default_rng(4)
    msa = rng.integers(0, 22, (211, 45)).astype(np.int8)
    deep = raw | {"msa": msa, "deletion_matrix": np.zeros(msa.shape, np.int16)}
    found = make_inputs(deep, MINI, rng, 2)["couplings"]
    assert found.shape == (2, 45, 45)
    np.testing.assert_array_equal(found[1], coevolution.couplings(HHBLITS_TO_AATYPE[msa]))
    assert found.any()
    given = rng.normal(size=(45, 45)).astype(np.float32)
    np.testing.assert_array_equal(make_inputs(deep | {"couplings": given}, MINI, rng)["couplings"][0], given)
    assert "couplings" not in make_inputs(deep, CONFIG, rng)


def test_couplings_that_are_not_looked_for_are_padding(raw):
    config = dataclasses.replace(MINI, couplings=False)
    padded = pad_inputs(make_inputs(raw, config, np.random.default_rng(0)), model_config.mini(), full_sizes(MINI, 47))
    assert padded["couplings"].shape == (1, 47, 47)
    assert not padded["couplings"].any()


def test_mini_is_quick_for_a_deep_alignment():
    rng = np.random.default_rng(2)
    rows, n = 20_000, 211
    raw = {
        "aatype": rng.integers(0, 20, n),
        "residue_index": np.arange(n),
        "msa": rng.integers(0, 22, (rows, n)).astype(np.int8),
        "deletion_matrix": np.zeros((rows, n), dtype=np.int16),
    }
    config = dataclasses.replace(MINI, max_templates=0, couplings=False)
    start = time.process_time()
    make_inputs(raw, config, rng, 4)
    assert time.process_time() - start < 3.0


def test_nearest_cluster_counts_neither_gaps_nor_masks_and_takes_the_first():
    members = np.array([[21, 21, 21, 21, 5], [1, 2, 3, 21, 21], [20, 20, 0, 0, 0]])
    centres = np.array([[21, 21, 21, 21, 4], [1, 22, 22, 22, 5], [1, 9, 9, 9, 9], [20, 7, 7, 7, 7]])
    np.testing.assert_array_equal(nearest_cluster(centres, members), [1, 1, 3])


def test_nearest_cluster_over_many_chunks(random_msa):
    centres, _ = random_msa
    members = np.random.default_rng(3).integers(0, 22, (1201, 17))
    same = (centres[None] == members[:, None]) & (members[:, None] < 21)
    np.testing.assert_array_equal(nearest_cluster(centres, members), same.sum(-1).argmax(1))


def test_profiles_sum_to_one_and_conserve_letters(random_msa):
    msa, deletions = random_msa
    assignment = np.arange(16) % 7
    profile, _ = summarise_clusters(msa[:7], deletions[:7], msa[7:], deletions[7:], assignment)
    np.testing.assert_allclose(profile.sum(-1), 1, atol=1e-5)
    size = 1 + np.bincount(assignment)
    np.testing.assert_allclose((profile[..., :22] * size[:, None, None]).sum(0) / 23, msa_profile(msa), atol=1e-5)


def test_order_of_members_does_not_matter(random_msa):
    msa, deletions = random_msa
    order = np.random.default_rng(4).permutation(16)
    one = summarise_clusters(msa[:7], deletions[:7], msa[7:], deletions[7:], np.arange(16) % 7)
    two = summarise_clusters(msa[:7], deletions[:7], msa[7:][order], deletions[7:][order], (np.arange(16) % 7)[order])
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("config", [CONFIG, MINI, model_config.alphafold2(1, ptm=True).input])
def test_a_single_row_and_an_unknown_residue(raw, config):
    single = raw | {"msa": raw["msa"][:1].copy(), "deletion_matrix": raw["deletion_matrix"][:1]}
    single["aatype"] = np.r_[20, single["aatype"][1:]]
    single["msa"][0, 0] = 20
    config = dataclasses.replace(config, masked_msa_fraction=0.0)
    inputs = make_inputs(single, config, np.random.default_rng(0), 2)
    assert inputs["msa_feat"].shape == (2, 1, 45, 49)
    np.testing.assert_allclose(inputs["msa_feat"][..., :23], inputs["msa_feat"][..., 25:48], atol=2e-6)
    assert inputs["target_feat"][0, 0, 21] == 1
    padded = pad_inputs(inputs, NETWORK, full_sizes(config, 47))
    assert padded["msa_feat"].shape == (2, config.sequences, 47, 49)
    if config.max_extra_msa:
        assert padded["extra_msa"].shape == (2, config.max_extra_msa, 47)
        assert padded["extra_msa_mask"].sum() == 0


def test_alphafold_keeps_room_for_template_rows():
    sizes = [model_config.alphafold2(i, ptm=True).input.sequences for i in range(1, 6)]
    assert sizes == [508, 508, 512, 512, 512]


def test_padding_adds_only_zeros(raw):
    inputs = make_inputs(raw, CONFIG, np.random.default_rng(0), 2)
    padded = pad_inputs(inputs, NETWORK, full_sizes(CONFIG, 53))
    for key, array in inputs.items():
        inside = tuple(slice(size) for size in array.shape)
        np.testing.assert_array_equal(padded[key][inside], array)
        assert np.abs(padded[key]).sum(dtype=np.float64) == np.abs(array).sum(dtype=np.float64)
    single = pad_inputs({key: array[1] for key, array in inputs.items()}, NETWORK, full_sizes(CONFIG, 53))
    np.testing.assert_array_equal(single["msa_feat"], padded["msa_feat"][1])


def test_padding_refuses_to_cut(raw):
    inputs = make_inputs(raw, CONFIG, np.random.default_rng(0))
    with pytest.raises(ValueError, match="aatype has 45 along axis 'n', more than the 41 to pad to"):
        pad_inputs(inputs, NETWORK, full_sizes(CONFIG, 41))


def test_what_the_network_reads_and_the_inputs_lack_is_padding(raw, network_tests):
    config = model_config.alphafold2(3, ptm=True)
    inputs = make_inputs(
        raw, dataclasses.replace(CONFIG, max_templates=0, max_extra_msa=0), np.random.default_rng(0), 2
    )
    padded = pad_inputs(inputs, NETWORK, full_sizes(CONFIG, 47))
    read = alphafold.example_batch(dataclasses.replace(NETWORK, input=CONFIG), 47, 2)
    assert {name: (x.shape, x.dtype) for name, x in padded.items() if name in read} == {
        name: (x.shape, x.dtype) for name, x in read.items()
    }
    assert not any(padded[name].any() for name in padded.keys() - inputs.keys())
    assert not any("template" in name for name in pad_inputs(inputs, config, full_sizes(CONFIG, 47)))


def test_sizes_hold_the_inputs_of_all_networks():
    several = [model_config.alphafold2(i, ptm=True).input for i in (1, 2, 3)]
    assert sizes_for(20000, 64, several) == Sizes(64, 512, 5120, 4)
    assert sizes_for(600, 64, several) == Sizes(64, 512, 128, 4)
    assert sizes_for(1, 64, several) == Sizes(64, 16, 16, 4)
    assert sizes_for(600, 64, several[1:2]) == Sizes(64, 508, 128, 4)
    assert sizes_for(600, 64, [MINI]) == full_sizes(MINI, 64) == Sizes(64, 1, 0, 2)


def test_iterations_are_counted(raw):
    with pytest.raises(ValueError, match="at least one iteration, got 0"):
        make_inputs(raw, CONFIG, np.random.default_rng(0), 0)


def test_only_what_draws_nothing_is_deterministic():
    mini = model_config.mini()
    assert mini.deterministic
    assert not model_config.alphafold2(3, ptm=True).deterministic
    trunk = mini.evoformer
    dropping = dataclasses.replace(trunk.template, block=dataclasses.replace(trunk.template.block, pair_dropout=0.1))
    assert not dataclasses.replace(mini, evoformer=dataclasses.replace(trunk, template=dropping)).deterministic
    for change in ({"max_msa_clusters": 2}, {"max_extra_msa": 1}, {"masked_msa_fraction": 0.1}):
        assert not dataclasses.replace(mini, input=dataclasses.replace(mini.input, **change)).deterministic
