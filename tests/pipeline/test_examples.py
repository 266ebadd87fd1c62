"""The example shows the range that its README promises."""

from pathlib import Path

import pytest

from pipeline.fasta import read_fasta
from pipeline.library.store import TemplateLibrary
from pipeline.search import stage as search

FOLDER = Path(__file__).resolve().parents[2] / "data" / "examples"
TARGETS = {target.name: target for file in sorted(FOLDER.glob("*.fasta")) for target in read_fasta(file)}


@pytest.fixture(scope="module")
def library():
    return TemplateLibrary.open()


@pytest.fixture(scope="module")
def found(library):
    settings = search.Settings()
    sources = search.open_sources(settings, library)
    return {name: search.search(target, sources, library, settings, search.Place()) for name, target in TARGETS.items()}


def test_at_least_four_small_proteins():
    assert len(TARGETS) >= 4
    assert all(35 <= len(target.sequence) <= 150 for target in TARGETS.values())


def test_one_has_a_close_template(found):
    best = found["villin_headpiece"].templates.kept[0]
    assert best.id == "1WY3_A"
    assert best.identity > 0.8
    assert best.coverage > 0.9


def test_one_has_remote_templates_only(found):
    kept = found["U1A_RRM1"].templates.kept
    assert len(kept) >= 4
    assert max(hit.identity for hit in kept) < 0.4


def test_one_has_neither_template_nor_relative(found):
    assert not found["barnase"].templates.hits
    assert len(found["barnase"].alignment) == 1


def test_the_readme_says_what_is_found(found):
    readme = (FOLDER / "README.md").read_text()
    for name, result in found.items():
        row = next(line for line in readme.splitlines() if line.startswith(f"| `{name}`"))
        _, _, residues, _, rows, templates, _ = (cell.strip() for cell in row.split("|"))
        assert int(residues) == len(TARGETS[name].sequence)
        assert int(rows) == len(result.alignment)
        for hit in result.templates.kept[:1]:
            assert f"{hit.id}, {hit.identity:.0%}".replace("%", " %") in templates
