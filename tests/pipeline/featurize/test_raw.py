"""Golden: AlphaFold 2's raw features of an alignment (60 rows of 45)."""

from pathlib import Path

import numpy as np
import pytest

from models.config import mini
from models.inputs import make_inputs
from pipeline.a3m import Alignment, encode, read_a3m
from pipeline.errors import AlignmentError, ConfigError, RecordError
from pipeline.fasta import Target
from pipeline.featurize.raw import Settings, featurize, template_arrays
from pipeline.library.store import from_backbone
from pipeline.templates import TemplateChain, TemplateHit, TemplateHits

GOLDEN_A3M = Path(__file__).parents[1] / "golden" / "alphafold.a3m"
GOLDEN_RAW = Path(__file__).parents[2] / "models" / "golden" / "features_raw.npz"
NONE = TemplateHits({}, ())
TEMPLATE = "MKGADEFXH"


class TinyLibrary:
    """One chain; atom positions say which residue and atom they are."""

    name, version = "tiny", "1"

    def __len__(self):
        return 1

    def sequence(self, index):
        return TEMPLATE

    def atoms(self, index):
        residues, atoms = np.meshgrid(np.arange(1, 10), np.arange(1, 6), indexing="ij")
        positions = np.stack([residues, atoms, np.full_like(residues, 7)], axis=-1).astype(np.float32)
        positions[TEMPLATE.index("G"), 4] = np.nan
        return from_backbone(positions)


TINY = TemplateChain(TEMPLATE, *TinyLibrary().atoms(0))


def hit(**change):
    values = {
        "id": "1ABC_A",
        "index": 0,
        "e_value": 1e-9,
        "score": 50.0,
        "identity": 0.5,
        "coverage": 0.5,
        "query_start": 2,
        "query_alignment": "LAW-GD",
        "template_start": 1,
        "template_alignment": "KG-ADE",
        "sum_probs": 4.0,
    }
    return TemplateHit(**{**values, **change})


@pytest.fixture
def target():
    return Target.monomer("a", "a", "MKLAWGDXRTY")


def alone(target):
    return Alignment((target.name,), (target.sequence,))


def test_alignment_features_are_alphafolds():
    """The golden file keeps every row, as ColabFold does; DeepMind's pipeline keeps the first of equal ones."""
    alignment = read_a3m(GOLDEN_A3M)
    expected = np.load(GOLDEN_RAW, allow_pickle=False)
    msa, deletion_matrix = encode(alignment)
    np.testing.assert_array_equal(msa, expected["msa"])
    np.testing.assert_array_equal(deletion_matrix, expected["deletion_matrix_int"])
    features = featurize(Target.monomer("g", "g", alignment.query), alignment, NONE, None, Settings())
    first = np.sort(np.unique(expected["msa"], axis=0, return_index=True)[1])
    assert len(first) == 59
    np.testing.assert_array_equal(features.msa, expected["msa"][first])
    np.testing.assert_array_equal(features.deletion_matrix, expected["deletion_matrix_int"][first])
    np.testing.assert_array_equal(features.aatype, expected["aatype"].argmax(axis=1))
    np.testing.assert_array_equal(features.residue_index, expected["residue_index"])


def test_duplicates_are_dropped_and_the_first_kept(target):
    sequence = target.sequence
    rows = (sequence, "-" + sequence[1:], sequence, "aa-" + sequence[1:], "--" + sequence[2:])
    features = featurize(target, Alignment(tuple("abcde"), rows), NONE, None, Settings())
    assert features.msa.shape == (3, 11)
    assert features.deletion_matrix.sum() == 0


def test_template_residues_stand_at_their_places(target):
    aatype, positions, mask = template_arrays(hit(), 11, TINY)
    letters = "ARNDCQEGHILKMFPSTWYVX-"
    assert "".join(letters[i] for i in aatype) == "--KG-DE----"
    np.testing.assert_array_equal(mask.sum(axis=1), [0, 0, 5, 4, 0, 5, 5, 0, 0, 0, 0])
    np.testing.assert_array_equal(positions[2, :5, :2], [[2, 1], [2, 2], [2, 3], [2, 5], [2, 4]])  # N CA C CB O
    np.testing.assert_array_equal(positions[5, :3, 0], [5, 5, 5])
    assert not mask[3, 3]
    assert np.isfinite(positions).all()
    assert not positions[~mask].any()


def test_unknown_letters(target):
    alignment = hit(query_alignment="LAWGDXR", template_start=2, template_alignment="GADEFXH")
    aatype, _, _ = template_arrays(alignment, 11, TINY)
    assert aatype[7] == 20
    assert featurize(target, alone(target), NONE, None, Settings()).aatype[7] == 20


def test_the_best_kept_templates_are_used(target):
    hits = (hit(excluded="too close"), hit(id="2A_A"), hit(id="2B_A", sum_probs=3.0), hit(id="2C_A"))
    templates = TemplateHits({"name": "tiny", "version": "1"}, hits)
    features = featurize(target, alone(target), templates, TinyLibrary(), Settings(max_templates=2))
    assert features.template_ids == ("2A_A", "2B_A")
    np.testing.assert_array_equal(features.template_sum_probs, [4, 3])
    inputs = make_inputs(features.arrays(), mini().input, np.random.default_rng(0))
    np.testing.assert_array_equal(inputs["template_pseudo_beta_mask"][0, 0], [0, 0, 1, 1, 0, 1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(inputs["template_pseudo_beta"][0, 0, 3], [3, 2, 7])  # CA of the glycine


def test_no_templates_need_no_library(target):
    templates = TemplateHits({"name": "tiny", "version": "1"}, (hit(),))
    features = featurize(target, alone(target), templates, None, Settings(max_templates=0))
    assert features.template_positions.shape == (0, 11, 37, 3)
    assert features.template_aatype.shape == (0, 11)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("MKLAWGDXRT", "a: expected an alignment of 11 residues, its first row has 10; run search again"),
        ("MKLAWGEXRTY", "a: the first row of the alignment has 'E' at position 7, the target 'D'"),
    ],
)
def test_an_alignment_of_another_sequence(target, query, message):
    with pytest.raises(AlignmentError, match=message):
        featurize(target, Alignment(("q",), (query,)), NONE, None, Settings())


@pytest.mark.parametrize(
    ("made_with", "change", "message"),
    [
        ({"name": "tiny", "version": "0"}, {}, "the templates are of tiny 0, the library is tiny 1; run search again"),
        ({}, {}, "the templates are of no library, the library is tiny 1"),
        (None, {"index": 3}, "1ABC_A: the template is not in the library"),
        (None, {"query_alignment": "------"}, "1ABC_A: the template aligns nothing"),
        (None, {"template_start": 0}, "1ABC_A: the alignment does not fit the target and the template"),
        (None, {"query_start": 7}, "does not fit the target"),
        (None, {"template_start": 5}, "does not fit the target"),
    ],
)
def test_templates_that_do_not_belong(target, made_with, change, message):
    made_with = {"name": "tiny", "version": "1"} if made_with is None else made_with
    templates = TemplateHits(made_with, (hit(**change),))
    with pytest.raises(RecordError, match=message):
        featurize(target, alone(target), templates, TinyLibrary(), Settings())


def test_settings():
    with pytest.raises(ConfigError, match="max_templates must be at least 0, found -1"):
        Settings(max_templates=-1)
