"""What a stage would refuse in its job is refused before a run."""

import importlib
import re
import shlex

import pytest

from pipeline.command_line import Parser
from pipeline.config import check_config, load_config, merged, schema
from pipeline.config_stages import check_stages
from pipeline.errors import ConfigError, FoldlineError
from pipeline.settings import add_flags, from_args, to_flags

STAGES = ("search", "featurize", "predict", "relax", "report")
NUMBERS = {
    "integer": (-1, 0, 1, 2, 100, 101, 10**9),
    "number": (-1.0, -1e-9, 0, 0.0, 1e-9, 1.0, 1.1, 14.1, 101.0, 1e300),
}


def check(stage, **values):
    config = merged(load_config(), {stage: values})
    check_config(config)
    check_stages(config)


def is_allowed(stage, **values):
    try:
        check(stage, **values)
    except ConfigError:
        return False
    return True


def in_job(stage, section):
    """Make the settings as the job of a stage does."""
    settings, parser = importlib.import_module(f"pipeline.{stage}.stage").Settings, Parser("foldline x")
    add_flags(parser, settings)
    return from_args(settings, parser.parse_args(shlex.split(to_flags(section))))


def numbers():
    """Give each setting that is a number, with values within, at and beyond its bounds."""
    for stage in STAGES:
        for name, rules in schema()["properties"][stage]["properties"].items():
            kinds = [rules["type"]] if isinstance(rules.get("type"), str) else rules.get("type", ())
            for kind in NUMBERS.keys() & set(kinds):
                bounds = [rules[key] for key in ("minimum", "maximum", "exclusiveMinimum") if key in rules]
                yield stage, name, [*bounds, *NUMBERS[kind]]


def test_the_defaults_are_allowed():
    check("search")


@pytest.mark.parametrize(("stage", "name", "values"), list(numbers()))
def test_what_is_allowed_before_a_run_is_allowed_in_the_job(stage, name, values):
    allowed = [value for value in values if is_allowed(stage, **{name: value})]
    assert 0 < len(allowed) < len(values)
    for value in allowed:
        in_job(stage, {**load_config()[stage], name: value})


@pytest.mark.parametrize(
    ("stage", "values", "message"),
    [
        ("relax", {"seconds": 0}, "'relax.seconds' must be more than 0, found 0"),
        ("relax", {"longest_bond": 0.0}, "'relax.longest_bond' must be more than 0, found 0.0"),
        ("relax", {"rounds": 0}, "'relax.rounds' must be at least 1, found 0"),
        ("relax", {"iterations": 0}, "'relax.iterations' must be at least 1, found 0"),
        ("relax", {"iterations": 2000.0}, "'relax.iterations' must be of type integer, found 2000.0"),
        ("relax", {"tolerance": float("nan")}, "'relax.tolerance' must be a finite number, found nan"),
        ("relax", {"bridges": ["A5-A55"]}, "relax.bridges: expected two residues such as A:5-A:55, found 'A5-A55'"),
        ("predict", {"models": [1, 1]}, "predict.models: expected some of the numbers 1 to 5, each once; found 1, 1"),
        (
            "search",
            {"inclusion_e_value": float("inf")},
            "'search.inclusion_e_value' must be a finite number, found inf",
        ),
        ("search", {"max_template_date": "2024-02-31"}, "search: max_template_date must be YYYY-MM-DD, found '2024-02"),
    ],
)
def test_what_a_stage_refuses_is_refused_before_a_run(stage, values, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        check(stage, **values)
    with pytest.raises(FoldlineError):
        in_job(stage, {**load_config()[stage], **values})


def test_an_endless_number_of_a_database_is_refused():
    entry = {"name": "a", "path": "b", "settings": {"seconds": float("-inf")}}
    message = r"'search\.databases\.1\.settings\.seconds' must be a finite number, found -inf"
    with pytest.raises(ConfigError, match=message):
        check("search", databases=["library", entry])


@pytest.mark.parametrize(
    ("key", "value"), [("own_templates", ["x.pdb", "-x.cif"]), ("own_msas", ["--mine"]), ("engine", "-x")]
)
def test_what_looks_like_an_option_is_refused(key, value):
    text = value[-1] if isinstance(value, list) else value
    message = f"search.{key}: '{text}' begins with '-', as an option does; if it is a file, write './{text}'"
    with pytest.raises(ConfigError, match=re.escape(message)):
        check("search", **{key: value})


def test_a_file_that_begins_with_a_dash_reaches_the_job():
    section = {**load_config()["search"], "own_templates": ["./-x.cif", "a=-y.cif"]}
    check("search", own_templates=section["own_templates"])
    assert in_job("search", section).own_templates == ("./-x.cif", "a=-y.cif")
