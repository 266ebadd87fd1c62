"""What templates alone give: the copied backbone lies where it was, and ProMod3's alignment says what is aligned."""

import numpy as np
import pytest

from models import residue_constants as rc
from pipeline.templates import TemplateChain, TemplateHit
from training import homology

QUERY = "MACDEFGHK"
# Query CDE-FG on template CNEWFG: the template has an insertion, and its first residue is not aligned.
HIT = TemplateHit("1ABC_A", 0, 1e-9, 50.0, 0.8, 0.55, 2, "CDE-FG", 1, "CNEWFG", 5.0)


@pytest.fixture
def chain():
    sequence = "ACNEWFG"
    positions = np.arange(len(sequence) * 37 * 3, dtype=np.float32).reshape(-1, 37, 3)
    return TemplateChain(sequence, positions, np.ones((len(sequence), 37), bool))


def test_the_copy_has_the_aligned_backbone_and_the_target_letters(chain):
    made = homology.copied(QUERY, HIT, chain)
    assert made.sequence == QUERY
    assert made.atom37_mask.any(axis=1).tolist() == [False, False, True, True, True, True, True, False, False]
    np.testing.assert_array_equal(made.atom37_positions[2, :3], chain.positions[1, :3])
    np.testing.assert_array_equal(made.atom37_positions[5, :3], chain.positions[5, :3])
    assert not made.atom37_mask[:, rc.ATOM37_ID["O"] + 1 :].any()


def test_the_alignment_names_every_residue_of_the_target_and_those_of_the_template_that_are_there(chain):
    there = np.ones(len(chain.sequence), bool)
    lines = homology.alignment(QUERY, HIT, chain.sequence, there).split()
    assert lines == [">target", "MACDE-FGHK", ">template", "--CNEWFG--"]
    there[[3, 4]] = False
    lines = homology.alignment(QUERY, HIT, chain.sequence, there).split()
    assert lines[1::2] == ["MACDEFGHK", "--CN-FG--"]
