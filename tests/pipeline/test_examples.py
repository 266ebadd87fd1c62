"""The example shows the range that its README promises."""

from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.a3m import Alignment, read_a3m
from pipeline.fasta import read_fasta, write_target
from pipeline.library.store import TemplateLibrary
from pipeline.search.cache import Place
from pipeline.search.stage import Job, Settings, open_searcher, run_batch
from pipeline.templates import TemplateHits, read_templates

FOLDER = Path(__file__).resolve().parents[2] / "data" / "examples"
TARGETS = {target.name: target for file in sorted(FOLDER.glob("*.fasta")) for target in read_fasta(file)}


class Found(NamedTuple):
    """What the search wrote of a target."""

    alignment: Alignment
    templates: TemplateHits


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    jobs = [Job(folder / name / "target.fasta", folder / name) for name in TARGETS]
    for job, target in zip(jobs, TARGETS.values(), strict=True):
        write_target(job.fasta, target)
    outcomes = run_batch(jobs, open_searcher(Settings(), TemplateLibrary.open(), Place()))
    assert not any(outcome.failure for outcome in outcomes.values())
    return {
        job.name: Found(read_a3m(job.folder / "msa.a3m"), read_templates(job.folder / "templates.json")) for job in jobs
    }


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
