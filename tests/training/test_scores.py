"""Scores of held-back chains: a perfect answer, a template as it is."""

import numpy as np
import pytest

from models import residue_constants as rc
from models.config import PRESETS
from pipeline.errors import RecordError
from training import chain_sets, dataset, scores

CA = rc.ATOM37_ID["CA"]
LENGTH = 43
COVERED = slice(7, 31)


def example(rng: np.random.Generator, padded: int) -> dataset.Arrays:
    """Return a chain, and itself as template, which covers a part of it."""
    positions = np.zeros((padded, 37, 3), np.float32)
    positions[:LENGTH, CA] = np.cumsum(rng.normal(size=(LENGTH, 3)) * 2.2, axis=0)
    known = np.zeros((2, padded, 37), np.float32)
    known[0, COVERED] = 1
    return {
        "all_atom_positions": positions,
        "template_all_atom_positions": np.stack([positions + 5.0, positions]) * known[..., None],
        "template_all_atom_masks": known,
    }


def test_a_copied_template_is_right_where_it_is():
    drawn = example(np.random.default_rng(3), 50)
    positions, plddt = scores.copied(drawn)
    assert positions.shape == (50, 3)
    assert not plddt.any()
    truth = drawn["all_atom_positions"][:, CA]
    np.testing.assert_allclose(positions[COVERED], truth[COVERED] + 5.0)
    outside = np.delete(positions, np.arange(50)[COVERED], axis=0)
    assert np.linalg.norm(outside[:, None] - outside[None], axis=-1)[~np.eye(len(outside), dtype=bool)].min() > 1e3


def test_alignments_are_shown_as_found_and_without_their_couplings(source, tmp_path):
    """Chain 1 has an alignment with two coupled columns; the way tells what it is shown."""
    rng = np.random.default_rng(3)
    query = source.database.letters(1).tobytes().decode()
    rows = rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), (211, len(query)))
    rows[:, 30] = rows[:, 5]
    text = "".join(f">{number}\n{''.join(row)}\n" for number, row in enumerate(rows))
    (tmp_path / "1ABC_A.a3m").write_text(f">query\n{query}\n{text}", encoding="utf-8")
    seen = []

    def way(shown: dataset.Arrays) -> scores.Answer:
        seen.append(shown["couplings"])
        return shown["all_atom_positions"][:, CA], np.full(len(shown["aatype"]), 70.0)

    names = ["as found", "couplings left out", "drawn"]
    expected = [(f"alignment, {name}", "1", "1.000", "0.700") for name in names]
    assert list(scores.table_of_alignments(source, tmp_path, way)) == expected
    found, left_out, drawn = seen
    assert found[5, 30] == found.max() > 8
    assert not left_out.any()
    assert drawn.any()
    assert drawn[5, 30] < found[5, 30]


def test_an_alignment_of_no_chain_is_refused(source, tmp_path):
    (tmp_path / "unknown.a3m").write_text(">query\nACD\n", encoding="utf-8")
    with pytest.raises(RecordError, match="no chain of the set has this name"):
        list(scores.table_of_alignments(source, tmp_path, scores.copied))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda query: query[:5] + "AC"[query[5] == "A"] + query[6:], "found 47, other ones from residue 6 on"),
        (lambda query: query[:-4], "found 43, other ones from residue 44 on"),
    ],
)
def test_an_alignment_of_another_chain_is_refused(source, tmp_path, change, text):
    query = source.database.letters(1).tobytes().decode()
    (tmp_path / "1ABC_A.a3m").write_text(f">query\n{change(query)}\n", encoding="utf-8")
    with pytest.raises(RecordError, match=f"expected the 47 residues of the chain as query, {text}") as caught:
        list(scores.table_of_alignments(source, tmp_path, scores.copied))
    assert caught.value.where == str(tmp_path / "1ABC_A.a3m")


def test_torsions_are_right_to_40_degrees():
    bins = 36
    centres = np.degrees(scores.torsion_centres(bins))
    np.testing.assert_allclose(centres, np.arange(-175, 180, 10))
    shares = np.zeros((4, 2, bins))
    shares[:, 0, 0] = shares[:, 1, 20] = 1  # phi of -175, psi of 25 degrees
    truth = np.radians([[-175, 25], [-137, 63], [146, 25], [-175, 66]])
    assert scores.right_torsions(shares, truth).tolist() == [True, True, True, False]


@pytest.mark.parametrize(("window", "chains"), [((0.3, 0.9), 1), (None, 2)])
def test_perfect_answers_score_one(window, chains):
    class Database:
        ids = np.array(["1ABC_A", "2ABC_A"])
        lengths = np.array([LENGTH, LENGTH])

        def hits(self, index: int) -> chain_sets.Hits:
            identity = np.array([0.5] if index == 0 else [], np.float32)
            none = np.zeros(len(identity), np.int32)
            return chain_sets.Hits(none, identity, none, none, ())

        def hit_msa(self, index: int, related: np.ndarray) -> chain_sets.Alignment:
            return np.zeros((1, LENGTH), np.int8), np.zeros((1, LENGTH), np.int16)

    source = dataset.ExampleSource(Database(), None, np.arange(2), PRESETS["mini"])
    drawn = example(np.random.default_rng(3), 208)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset.ExampleSource, "example", lambda *_: drawn)
        condition = scores.Condition(window)
        found = scores.evaluate(
            source, np.arange(2), condition, lambda e: (e["all_atom_positions"][:, CA], np.ones(208))
        )
    assert len(found) == chains
    assert {score.lddt for score in found} == {1.0}
    assert found[0].identity == (0.5 if window else 0.0)
