"""Quality and evaluation against the programs that are installed here."""

import importlib
import sys

import numpy as np
import pytest

from pipeline.config import ROOT
from pipeline.protein import read_structure

GOLDEN = ROOT / "tests" / "pipeline" / "golden"
SCRIPTS = ("quality", "evaluate")
NOISE = (0.3, 1.0, 3.0)


@pytest.fixture(scope="module")
def scripts():
    modules = (*SCRIPTS, "structure_references")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield {name: importlib.import_module(name) for name in modules}
    for name in (*modules, "machine"):
        sys.modules.pop(name, None)


@pytest.fixture
def need(scripts):
    def installed(program):
        if not scripts["structure_references"].here(program):
            pytest.skip(f"{program} is not installed")

    return installed


@pytest.fixture(scope="module")
def structures():
    return [read_structure(GOLDEN / f"{name}.pdb") for name in ("1l2y_A", "1bpi_A")]


@pytest.fixture(scope="module")
def natives(shared):
    paths = sorted((shared / "validation" / "structures").glob("*.pdb"))[:10]
    if len(paths) < 10:
        pytest.skip("no validation structures among the reference data")
    return {path.stem: read_structure(path) for path in paths}


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_docstring_names_the_command(scripts, name):
    assert f"    .venv/bin/python benchmarks/{name}.py" in scripts[name].__doc__


def test_copies_are_apart(scripts, structures):
    copies = scripts["quality"].stacked(structures[0], 101)
    assert len(copies) == 101
    assert len(copies.chains) == 6
    centres = np.stack([copies.atom37_positions[chain, 1].mean(axis=0) for chain in copies.chains])
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=-1) + 100 * np.eye(6)
    assert distance.min() > 50


def test_secondary_structure_is_that_of_mkdssp(scripts, structures, need, tmp_path):
    need("mkdssp")
    rows = scripts["quality"].dssp_rows(structures, tmp_path)
    assert [(row[2], row[3]) for row in rows] == [(78, "100.00% equal")] * 2


def test_secondary_structure_of_real_chains_is_that_of_mkdssp(scripts, natives, need, tmp_path):
    need("mkdssp")
    (_, _, residues, text), _ = scripts["quality"].dssp_rows(list(natives.values()), tmp_path)
    assert residues > 1000
    assert float(text.partition("%")[0]) > 99.8


def test_the_surface_is_that_of_freesasa(scripts, structures, need, tmp_path):
    need("freesasa")
    for protein in structures:
        ours = scripts["quality"].accessible_surface(protein, 1000)
        theirs = scripts["structure_references"].freesasa(protein, tmp_path)
        assert ours.sum() == pytest.approx(theirs.sum(), rel=0.005)
        assert np.abs(ours - theirs).max() < 3


def test_unusual_side_chains_are_far_from_the_rotamers_of_a_library(scripts, natives, need, tmp_path):
    need("promod3")
    found = [scripts["quality"].find(protein) for protein in natives.values()]
    ((_, _, residues, text),) = scripts["quality"].rotamer_rows(found, tmp_path)
    assert residues > 700
    assert int(text.rpartition("; ")[2].partition("%")[0]) > 70  # the side chains that we flag are 20 degrees off


def test_outliers_of_bonds_and_angles_are_those_of_openstructure(scripts, natives, need, tmp_path):
    need("ost")
    rows = scripts["quality"].stereochemistry_rows(list(natives.values()), tmp_path, (0.0,))
    for what, _, residues, text in rows:
        ours, theirs, both = (int(part.split()[1]) for part in text.split(", "))
        assert (what, ours, theirs) == (what, both, both)
        assert residues > 1000
    assert rows[0][3] != "ours 0, theirs 0, both 0"


@pytest.fixture(scope="module")
def rows(scripts, natives, tmp_path_factory):
    """Compare thirty pairs once."""
    module = scripts["evaluate"]
    found = module.compared(module.noisy_cases(natives, NOISE), tmp_path_factory.mktemp("pairs"))
    assert len(found) == 30
    return {name: [row[k] for row in found] for k, name in enumerate(COLUMNS)}


COLUMNS = ("name", "n", "lddt", "ost", "ca_lddt", "ost_ca", "tm", "tm_align", "tm_score", "gdt", "tm_score_gdt")


def test_lddt_is_that_of_openstructure(rows, need):
    need("ost")
    np.testing.assert_allclose(rows["lddt"], rows["ost"], atol=5e-5)
    np.testing.assert_allclose(rows["ca_lddt"], rows["ost_ca"], atol=5e-5)


def test_tm_score_is_that_of_tm_align(rows, need):
    need("TMalign")
    np.testing.assert_allclose(rows["tm"], rows["tm_align"], atol=2e-5)


def test_tm_score_and_gdt_are_those_of_tm_score(rows, need):
    need("TMscore")
    np.testing.assert_allclose(rows["tm"], rows["tm_score"], atol=1e-4)
    off = np.subtract(rows["gdt"], rows["tm_score_gdt"])
    assert off.min() > -2e-3
    assert off.max() < 0.03  # each threshold has a search of its own here, which finds more
