import json

import pytest

from pipeline.errors import RecordError
from pipeline.templates import SCHEMA, TemplateHit, TemplateHits, read_templates, write_templates

HIT = TemplateHit(
    id="1ABC_A",
    index=3,
    e_value=1e-20,
    score=71.3,
    identity=0.5,
    coverage=0.4,
    query_start=2,
    query_alignment="AC-DEF",
    template_start=5,
    template_alignment="ACK-EF",
    sum_probs=4.0,
)


def test_pairs_skip_insertions_on_both_sides():
    assert HIT.pairs() == [(2, 5), (3, 6), (5, 8), (6, 9)]


def test_round_trip(tmp_path):
    excluded = TemplateHit(**{**HIT.__dict__, "id": "2XYZ_B", "excluded": "held out for evaluation"})
    templates = TemplateHits({"name": "pdb", "version": "1"}, (HIT, excluded))
    write_templates(tmp_path / "t.json", templates)
    assert read_templates(tmp_path / "t.json") == templates
    assert templates.kept == (HIT,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index": "3"}, "TypeError: index of '1ABC_A' is '3'"),
        ({"index": -1}, "a place in '1ABC_A' is negative"),
        ({"score": True}, "score of '1ABC_A' is True"),
        ({"query_alignment": "AC"}, "the alignment of '1ABC_A' has rows of different lengths"),
        ({"colour": "red"}, "unexpected keyword argument 'colour'"),
    ],
)
def test_damaged_hits(tmp_path, change, message):
    record = {"schema": SCHEMA, "library": {}, "hits": [{**HIT.__dict__, **change}]}
    (tmp_path / "t.json").write_text(json.dumps(record))
    with pytest.raises(RecordError, match=message + r".*run search again"):
        read_templates(tmp_path / "t.json")


@pytest.mark.parametrize("body", [{}, {"library": [], "hits": []}, {"library": {}, "hits": [3]}])
def test_damaged_records(tmp_path, body):
    (tmp_path / "t.json").write_text(json.dumps({"schema": SCHEMA, **body}))
    with pytest.raises(RecordError, match="the template hits are damaged"):
        read_templates(tmp_path / "t.json")
