"""docs/output.md says what the code writes; tests/workflow/test_whole_run.py holds it against a real run."""

import dataclasses
import re

from pipeline.config import ROOT
from pipeline.features import RawFeatures
from pipeline.predict.extras import EXTRAS
from pipeline.predict.records import (
    ARRAYS,
    CONFIDENCE_SCHEMA,
    RANKING,
    RANKING_SCHEMA,
    RECORD,
    RUNNING,
    STRUCTURE,
    Job,
    finish,
    runs_of,
)
from pipeline.predict.settings import Settings
from pipeline.protein import read_structure
from pipeline.quality import assess
from pipeline.records import read_json, write_json
from pipeline.relax.stage import RelaxRecord
from pipeline.report.evidence import Evidence
from pipeline.report.summary import summary_row
from pipeline.templates import OWN_FILE, TemplateHit

PLACES = {"OUT": "", "TARGET": "targets/NAME"}


def names(record):
    return {field.name for field in dataclasses.fields(record)}


def test_the_tree_holds_what_the_rules_write(documented):
    text = (ROOT / "Snakefile").read_text(encoding="utf-8")
    found = re.findall(r'f"\{(OUT|TARGET)\}(/[^"]+\.[a-z0-9]+)"', text)
    written = {
        f"{PLACES[place]}{path}".lstrip("/")
        .replace("{{target}}", "NAME")
        .replace("{{batch}}", "BATCH")
        .replace("{{search}}", "SEARCH")
        .replace("{{relax}}", "RELAX")
        for place, path in found
    }
    assert "batches/relax-RELAX.json" in written
    assert "logs/predict/BATCH.log" in written
    assert written <= documented.paths


def test_every_setting_that_adds_a_file_is_named(documented):
    each = {f"models/MODEL-SEED/{name}" for name in (STRUCTURE, ARRAYS, RECORD, *EXTRAS.values())}
    wanted = {*EXTRAS.values(), "relaxed.pdb", OWN_FILE, RANKING, RUNNING, *each}
    asked_for = {"pages/NAME.html", "logs/report/pages.log", "benchmarks/report/pages.tsv"}
    assert documented.optional == {f"targets/NAME/{name}" for name in wanted} | asked_for
    assert all(f"(only with predict.{setting}: true)" in documented.text for setting in EXTRAS)
    assert "(only with relax.pdb: true)" in documented.text


def test_records_have_the_fields_of_their_tables(documented):
    fields = {name: set(listed) for name, listed in documented.fields.items()}
    assert fields["relax.json"] == names(RelaxRecord) | {
        *("schema", "target", "settings", "files", "made_from.structure_sha256", "made_from.software")
    }
    assert fields["features.npz"] == names(RawFeatures) | {"schema"}
    assert {f"hits[].{name}" for name in names(TemplateHit)} < fields["templates.json"]
    assert documented.fields["summary.tsv"] == list(summary_row(Evidence("a", "a", "A")))
    golden = read_structure(ROOT / "tests/pipeline/golden/1l2y_A.pdb")
    assert documented.fields["quality"] == list(assess(golden))


def test_the_ranking_has_the_fields_of_its_table(documented, tmp_path):
    settings, job = Settings(seeds=2), Job(tmp_path / "features.npz", tmp_path)
    record = {"mean_plddt": 50.0, "ptm": 0.5, "recycles": 1, "seconds": {}, "files": {}, "made_from": {}}
    for run in runs_of(settings):
        folder = tmp_path / "models" / run.name
        folder.mkdir(parents=True)
        write_json(folder / RECORD, record, CONFIDENCE_SCHEMA)
    finish(job, runs_of(settings), settings)
    ranking = read_json(tmp_path / RANKING, RANKING_SCHEMA)
    assert documented.flattened(ranking) == set(documented.fields[RANKING])


def test_the_schemas_are_those_of_the_code(documented):
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "pipeline").rglob("*.py"))
    named = set(re.findall(r"`(foldline\.\w+/\d+)`", documented.text))
    assert len(named) == 16
    assert all(f'"{schema}"' in code for schema in named)
