"""The settings of a stage are written in four places: its dataclass, the config, the schema and the config's README."""

import argparse
import dataclasses
import importlib
import json
import re
import shlex
import types
import typing
from typing import Literal

import pytest
import yaml

from pipeline.config import ROOT, load_config
from pipeline.fasta import Limits
from pipeline.settings import add_flags, from_args, setting, to_flags

SCHEMA = yaml.safe_load((ROOT / "pipeline/config.schema.yaml").read_text())
STAGES = ("search", "featurize", "predict", "relax", "report")
SECTIONS = ("input", "plan", *STAGES)
MODULES = {"plan": "pipeline.batches"}
NOT_SETTINGS = {"input": {"fasta", "numbering"}}
WIDER = {("search", "databases"): ["string", "object"]}  # what a list holds beside texts: mappings, on one word each
JSON_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean"}


def settings_of(section):
    module = MODULES.get(section, f"pipeline.{section}.stage")
    return Limits if section == "input" else importlib.import_module(module).Settings


def fields_of(section):
    return {field.name: field for field in dataclasses.fields(settings_of(section))}


def documented():
    """Return the rows of config/README.md: meaning and default by section and key."""
    text = (ROOT / "config/README.md").read_text()
    parts = re.split(r"^## (\w+)\n", text, flags=re.MULTILINE)
    rows = {}
    for section, body in [("", parts[0]), *zip(parts[1::2], parts[2::2], strict=True)]:
        for key, meaning, default in re.findall(r"^\| `(\w+)` \| (.+) \| `(.+)` \|$", body, re.MULTILINE):
            rows[section, key] = meaning, yaml.safe_load(default)
    return rows


def in_schema(kind):
    """Return the schema of a field's type."""
    if isinstance(kind, types.UnionType):
        (inner,) = (part for part in typing.get_args(kind) if part is not types.NoneType)
        return {"type": [in_schema(inner)["type"], "null"]}
    if typing.get_origin(kind) is Literal:
        return {"enum": list(typing.get_args(kind))}
    if typing.get_origin(kind) is tuple:
        return {"type": "array", "items": in_schema(typing.get_args(kind)[0])}
    return {"type": JSON_TYPES[kind]}


@pytest.mark.parametrize("section", SECTIONS)
def test_config_holds_the_defaults(section):
    values = {key: value for key, value in load_config()[section].items() if key not in NOT_SETTINGS.get(section, ())}
    defaults = {name: field.default for name, field in fields_of(section).items()}
    assert values == {name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()}
    assert list(values) == list(defaults)


@pytest.mark.parametrize("section", SECTIONS)
def test_schema_holds_the_types(section):
    hints = typing.get_type_hints(settings_of(section))
    properties = SCHEMA["properties"][section]["properties"]
    properties = {key: value for key, value in properties.items() if key not in NOT_SETTINGS.get(section, ())}
    assert list(properties) == list(fields_of(section))
    for name in properties:
        expected, found = in_schema(hints[name]), dict(properties[name])
        if kinds := WIDER.get((section, name)):
            assert found["items"]["type"] == kinds
            assert found["items"]["additionalProperties"] is False
            found["items"] = {"type": kinds[0]}
        assert {key: found.get(key) for key in expected} == expected, name


@pytest.mark.parametrize("section", SECTIONS)
def test_readme_holds_meaning_and_default(section):
    rows = {key: row for (where, key), row in documented().items() if where == section}
    config = load_config()[section]
    assert list(rows) == list(config)
    assert {key: default for key, (_, default) in rows.items()} == config
    for name, field in fields_of(section).items():
        assert rows[name][0] == field.metadata["help"]


def test_readme_and_schema_hold_the_rest():
    rows, config = documented(), load_config()
    assert rows["", "outdir"][1] == config["outdir"]
    assert {key: rows["databases", key][1] for key in config["databases"]} == config["databases"]
    assert list(SCHEMA["properties"]) == list(config) == SCHEMA["required"]


def test_schema_is_closed():
    for section in (SCHEMA, *(SCHEMA["properties"][name] for name in SCHEMA["properties"] if name != "outdir")):
        assert section["additionalProperties"] is False
        assert section["required"] == list(section["properties"])


@dataclasses.dataclass(frozen=True)
class Example:
    count: int = setting(7, "how many")
    size: float = setting(1.5, "how large, A")
    on: bool = setting(True, "whether")
    kind: Literal["one", "two"] = setting("one", "which")
    names: tuple[str, ...] = setting((), "who")
    limit: int | None = setting(None, "most")
    some_text: str = setting("", "a text")


def parsed(words):
    parser = argparse.ArgumentParser()
    add_flags(parser, Example)
    return from_args(Example, parser.parse_args(words))


def test_defaults_survive_flags():
    assert parsed([]) == Example()
    values = {**dataclasses.asdict(Example()), "names": []}
    assert parsed(shlex.split(to_flags(values))) == Example()


def test_values_survive_flags():
    example = Example(13, 1e-5, False, "two", ("a b", "c'd", "$HOME"), 11, "x; rm -rf y")
    values = {**dataclasses.asdict(example), "names": list(example.names)}
    assert parsed(shlex.split(to_flags(values))) == example


def test_flags_are_quoted_and_in_order():
    assert (
        to_flags({"some_text": "a b", "on": False, "limit": None, "count": 3}) == "--some-text 'a b' --no-on --count 3"
    )


def test_a_mapping_is_one_word():
    entry = {"name": "it's", "path": "/a b", "settings": {"rounds": 1}}
    (found,) = parsed(shlex.split(to_flags({"names": [entry]}))).names
    assert json.loads(found) == entry


def test_wrong_choices_are_refused(capsys):
    with pytest.raises(SystemExit):
        parsed(["--kind", "three"])
    assert "invalid choice: 'three'" in capsys.readouterr().err


@pytest.mark.parametrize("stage", STAGES)
def test_every_setting_says_what_it_means(stage):
    for name, field in fields_of(stage).items():
        assert field.metadata["help"], name
        assert "|" not in field.metadata["help"], name
