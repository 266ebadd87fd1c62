import json

import pytest

from pipeline.errors import NumberingError, RecordError
from pipeline.records import write_json
from pipeline.target import TARGET_SCHEMA, Chain, Target, read_target_record


@pytest.fixture
def target():
    return Target("a", "a <b>first</b>", (Chain("MKVLA", "17-19,50-51"),), ("1 X kept",), "x.fasta:1")


def test_a_target_of_one_chain(target):
    assert target.sequence == target.chain.sequence == "MKVLA"
    assert target.chain.author_numbers == ("17", "18", "19", "50", "51")
    assert Target.monomer("b", "b", "MKV").chain == Chain("MKV", "1", "A")
    assert Target.monomer("b", "b", "MKV").chain.author_numbers == ("1", "2", "3")


def test_the_record_gives_the_target_back(target, tmp_path):
    path = tmp_path / "target.json"
    write_json(path, target.record(), TARGET_SCHEMA)
    found = read_target_record(path)
    assert (found.name, found.header, found.chains, found.notes) == (
        target.name,
        target.header,
        target.chains,
        target.notes,
    )
    assert json.loads(path.read_text())["length"] == 5


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"chains": None}, RecordError, r"target\.json: expected a target with its chains; delete it, and run again"),
        ({"chains": [{"sequence": "MKV"}]}, RecordError, "expected a target with its chains"),
        (
            {"chains": [{"sequence": "M<b>", "numbering": "1", "id": "A"}]},
            RecordError,
            "a sequence of upper-case letters",
        ),
        ({"chains": []}, RecordError, "expected one chain, found 0"),
        (
            {"chains": [{"id": "A", "sequence": "MKV", "numbering": "1-2"}]},
            NumberingError,
            r"target\.json: .* numbers 2",
        ),
        (
            {"schema": "foldline.target/1"},
            RecordError,
            "expected schema 'foldline.target/2', found 'foldline.target/1'",
        ),
    ],
)
def test_damaged_records_are_named(target, tmp_path, change, kind, message):
    path = tmp_path / "target.json"
    path.write_text(json.dumps({"schema": TARGET_SCHEMA, **target.record(), **change}))
    with pytest.raises(kind, match=message):
        read_target_record(path)
