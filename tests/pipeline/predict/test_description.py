"""What predicted.cif says of its origin comes from the records beside it."""

import dataclasses
import json
import types

import numpy as np

from pipeline.config import ROOT
from pipeline.predict.description import describe
from pipeline.predict.records import Job, Prediction
from pipeline.protein import read_structure
from pipeline.templates import TemplateHit, TemplateHits, write_templates

HIT = TemplateHit("3BYB_B", 4, 1e-9, 31.5, 0.45, 0.9, 2, "YIQWLK", 7, "FIQWLR", 6.0)
MADE_FROM = {
    "model": "mini",
    "weights_sha256": "b" * 64,
    "features_sha256": "c" * 64,
    "seed": 3,
    "padding": None,
    "software": {"foldline": "0.1.0", "jax": "0.10.2"},
}
SEARCH = {
    "schema": "foldline.search/1",
    "databases": [
        {"name": "one", "version": "1", "engine": "jackhmmer/1:pyhmmer-0.12.3"},
        {"name": "two", "version": "2", "engine": "jackhmmer/1:pyhmmer-0.12.3"},
    ],
    "templates": {"library": {"name": "structuredb", "version": "3"}},
}


def tables(folder, *used, pae=True):
    protein = read_structure(ROOT / "tests/pipeline/golden/1l2y_A.pdb")
    error = np.zeros((20, 20)) if pae else None
    prediction = Prediction(protein, protein.b_factor, error, 0.5 if pae else None, (), len(used), {}, None, "cpu")
    features = types.SimpleNamespace(template_ids=(*used, "beyond"))
    return describe(Job(folder / "features.npz", folder), features, prediction, MADE_FROM)


def test_records_are_told(tmp_path):
    (tmp_path / "search.json").write_text(json.dumps(SEARCH))
    other = dataclasses.replace(HIT, id="1ABC_A")
    write_templates(tmp_path / "templates.json", TemplateHits({}, (other, HIT)))
    found = tables(tmp_path, "3BYB_B")
    assert found["_ma_template_details.template_name"] == ["3BYB_B"]
    assert found["_software.name"] == ["Foldline", "jackhmmer"]
    assert found["_software.version"][1] == "1:pyhmmer-0.12.3"
    assert found["_ma_data_ref_db.name"] == ["one", "two", "structuredb"]
    assert found["_ma_data_ref_db.version"] == ["1", "2", "3"]
    parameters = dict(zip(found["_ma_software_parameter.name"], found["_ma_software_parameter.value"], strict=True))
    assert parameters == {"model": "mini", "weights_sha256": "b" * 64, "seed": "3", "jax_version": "0.10.2"}
    assert found["_ma_protocol_step.method_type"] == ["coevolution MSA", "template search", "modeling"]
    assert found["_ma_entry_associated_files.file_url"] == ["confidence.npz"]


def test_an_alignment_of_the_users_is_no_database(tmp_path):
    (tmp_path / "search.json").write_text(json.dumps({**SEARCH, "own": "my.a3m", "templates": {}}))
    found = tables(tmp_path)
    assert "_ma_data_ref_db.name" not in found
    assert "msa.a3m" in found["_ma_data.name"]


def test_features_alone_do(tmp_path):
    found = tables(tmp_path, "3BYB_B", pae=False)
    assert found["_ma_protocol_step.method_type"] == ["modeling"]
    assert found["_ma_model_list.model_type"] == ["Ab initio model"]
    assert found["_ma_qa_metric.name"] == ["pLDDT", "pLDDT"]
    assert not [name for name in found if name.startswith(("_ma_template", "_ma_entry_associated"))]
