import dataclasses
import json

import numpy as np
import pytest

from pipeline.errors import RecordError
from pipeline.templates import SCHEMA, TemplateChain, TemplateHit, TemplateHits, read_templates, write_templates

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


def test_the_users_chains_are_carried_along(tmp_path):
    rng = np.random.default_rng(3)
    chains = []
    for sequence in ("MKT", "GASXW"):
        mask = rng.random((len(sequence), 37)) < 0.5
        positions = rng.normal(size=(*mask.shape, 3)).astype(np.float32)
        chains.append(TemplateChain(sequence, positions, mask))
    own = dataclasses.replace(HIT, id="own:x_A", index=1, e_value=None, source="user", file="x.pdb", sha256="0" * 64)
    templates = TemplateHits({"name": "pdb", "version": "1"}, (own, HIT), tuple(chains))
    write_templates(tmp_path / "t.json", templates)
    back = read_templates(tmp_path / "t.json")
    assert back == templates
    for chain, expected in zip(back.own, chains, strict=True):
        assert chain.sequence == expected.sequence
        np.testing.assert_array_equal(chain.positions, expected.positions)
        np.testing.assert_array_equal(chain.mask, expected.mask)
    write_templates(tmp_path / "t.json", TemplateHits({}, (HIT,)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.json", "templates.tsv"]
    assert read_templates(tmp_path / "t.json").own == ()


def test_the_table_has_a_line_for_each_hit(tmp_path):
    hits = (
        dataclasses.replace(HIT, id="own:x_A", e_value=None, source="user", file="a\tb\nc.pdb"),
        dataclasses.replace(HIT, date="2001-02-28", excluded="identity 0.50 above max_template_identity 0.4"),
    )
    write_templates(tmp_path / "t.json", TemplateHits({}, hits))
    head, *lines = (tmp_path / "templates.tsv").read_text().splitlines()
    figures = ["identity", "coverage", "e_value", "score"]
    assert head.split("\t") == ["id", "source", "date", *figures, "kept", "reason", "file"]
    assert lines[0].split("\t") == ["own:x_A", "user", "", "0.5", "0.4", "", "71.3", "yes", "", "a b c.pdb"]
    assert lines[1].split("\t")[2] == "2001-02-28"
    assert lines[1].split("\t")[7:9] == ["no", "identity 0.50 above max_template_identity 0.4"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "mars"}, "the source of '1ABC_A' is 'mars'"),
        ({"e_value": "1"}, "TypeError: e_value of '1ABC_A' is '1'"),
        ({"index": "3"}, "TypeError: index of '1ABC_A' is '3'"),
        ({"index": -1}, "a place in '1ABC_A' is negative"),
        ({"score": True}, "score of '1ABC_A' is True"),
        ({"query_alignment": "AC"}, "the alignment of '1ABC_A' has rows of different lengths"),
        ({"colour": "red"}, "unexpected keyword argument 'colour'"),
    ],
)
def test_damaged_hits(tmp_path, change, message):
    record = {"schema": SCHEMA, "library": {}, "hits": [{**HIT.__dict__, **change}], "own": {}}
    (tmp_path / "t.json").write_text(json.dumps(record))
    with pytest.raises(RecordError, match=message + r".*run search again"):
        read_templates(tmp_path / "t.json")


BODIES = [{}, {"library": {}, "hits": []}, {"library": [], "hits": []}, {"library": {}, "hits": [3]}]


@pytest.mark.parametrize("body", BODIES)
def test_damaged_records(tmp_path, body):
    (tmp_path / "t.json").write_text(json.dumps({"schema": SCHEMA, **body}))
    with pytest.raises(RecordError, match="the template hits are damaged"):
        read_templates(tmp_path / "t.json")
