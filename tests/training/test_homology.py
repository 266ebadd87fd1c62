"""What templates alone give: a copied backbone, ProMod3's alignment, and no model that outlives its alignment."""

import dataclasses

import numpy as np
import pytest

from models import residue_constants as rc
from pipeline.library.store import EMBEDDED, TemplateLibrary
from pipeline.protein import read_structure
from pipeline.templates import TemplateChain, TemplateHit, TemplateHits, write_templates
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
    assert lines == [">target", "MACDE-FGHK", ">1ABC_A", "--CNEWFG--"]
    there[[3, 4]] = False
    lines = homology.alignment(QUERY, HIT, chain.sequence, there).split()
    assert lines[1::2] == ["MACDEFGHK", "--CN-FG--"]


# Stands for the Python that has ProMod3: it is given -c SCRIPT ALIGNMENT TEMPLATE MODEL.
BUILDER = """#!/bin/sh
echo >> {folder}/built
cat "$3" > "$5"
test ! -e {folder}/broken
"""


class Run:
    """A finished run of one target, the first residues of a chain of the library, and what `main` makes of it."""

    def __init__(self, folder):
        self.folder, self.library = folder, TemplateLibrary.open(EMBEDDED)
        self.python = folder / "python"
        self.python.write_text(BUILDER.format(folder=folder))
        self.python.chmod(0o755)
        self.target = folder / "run" / "targets" / "one"
        self.target.mkdir(parents=True)
        self.sequence = self.library.sequence(0)[:23]
        (self.target / "msa.a3m").write_text(f">one\n{self.sequence}\n")
        self.copied, self.model = (folder / "out" / method / "one.pdb" for method in ("copied", "promod3"))

    def hit(self, start, end):
        part = self.sequence[start:end]
        return TemplateHit(self.library.ids[0], 0, 1e-9, 50.0, 1.0, 0.5, start, part, start, part, float(len(part)))

    def __call__(self, *hits, promod3=True):
        write_templates(self.target / "templates.json", TemplateHits({"name": "embedded", "version": "1"}, hits))
        paths = {"run": self.folder / "run", "library": EMBEDDED, "output": self.folder / "out"}
        paths |= {"promod3": self.python} if promod3 else {}
        assert homology.main([str(word) for name, path in paths.items() for word in (f"--{name}", path)]) == 0

    def built(self):
        return len((self.folder / "built").read_text())


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def test_a_model_is_built_again_only_when_its_alignment_changes(run):
    run(run.hit(2, 19))
    first = run.model.read_text()
    assert first.splitlines()[0::2] == [">target", f">{run.library.ids[0]}"]
    assert read_structure(run.copied).atom37_mask[:, 1].sum() == 17
    run(run.hit(2, 19))
    assert run.built() == 1
    run(run.hit(3, 14))
    assert run.built() == 2
    assert run.model.read_text() != first
    assert "-" * 3 + run.sequence[3:14] in run.model.read_text()


def test_another_chain_of_the_same_letters_is_another_alignment(chain):
    other = dataclasses.replace(HIT, id="2ABC_B")
    there = np.ones(len(chain.sequence), bool)
    made = [homology.alignment(QUERY, hit, chain.sequence, there) for hit in (HIT, other)]
    assert made[0] == made[1].replace("2ABC_B", "1ABC_A") != made[1]


def test_a_failure_leaves_no_model(run, caplog):
    run(run.hit(2, 19))
    (run.folder / "broken").touch()
    run(run.hit(3, 14))
    assert run.built() == 2
    assert not run.model.exists()
    assert "one: no model of ProMod3: CalledProcessError" in caplog.text
    (run.folder / "broken").unlink()
    run(run.hit(3, 14))
    assert run.built() == 3
    assert run.model.exists()


def test_nothing_stays_of_an_earlier_search(run):
    run(run.hit(2, 19))
    run(run.hit(2, 19), promod3=False)
    assert run.model.exists()
    run(run.hit(3, 14), promod3=False)
    assert run.copied.exists()
    assert not run.model.exists()
    run(run.hit(3, 14))
    assert run.model.exists()
    run(dataclasses.replace(run.hit(3, 14), excluded="identity"))
    assert not run.model.exists()
    assert not run.copied.exists()
