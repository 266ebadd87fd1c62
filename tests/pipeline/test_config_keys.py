import pytest

from pipeline.config import load_config
from pipeline.config_keys import allowed, find_keys, keys, sections
from pipeline.errors import ConfigError


def test_every_key_of_the_config_is_known():
    config = load_config()
    expected = [
        path
        for name, value in config.items()
        for path in ([f"{name}.{key}" for key in value] if isinstance(value, dict) else [name])
    ]
    assert list(keys()) == expected
    assert list(sections()) == [name for name, value in config.items() if isinstance(value, dict)]


def test_every_key_says_what_is_allowed():
    assert all(key.allowed and key.meaning and key.remade for key in keys().values())


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("relax.stiffness", "number, at least 0"),
        ("relax.tolerance", "number, more than 0"),
        ("relax.force_field", "one of amber14, amber99sb"),
        ("predict.recycles", "whole number, at least 0, or null"),
        ("predict.models", "a list that is not empty, each entry: whole number"),
        ("search.min_row_coverage", "number, at least 0, at most 1"),
        ("search.max_template_date", "YYYY-MM-DD or empty"),
        ("search.use_templates", "true or false"),
        ("outdir", "text without braces"),
    ],
)
def test_what_is_allowed(path, text):
    assert keys()[path].allowed == text


def test_a_list_of_mappings_names_their_parts():
    text = keys()["search.databases"].allowed
    assert text.startswith("a list, each entry: text or a mapping of name, path, version, kind (sequences, profiles, ")
    assert allowed({"type": ["string", "object"], "properties": {"a": {}}}) == "text or a mapping of a"


def test_links_become_text():
    assert keys()["input.numbering"].meaning.startswith("table of residue numbers (docs/input.md#residue-numbers)")


def test_words_that_mean_keys():
    assert [key.path for key in find_keys("relax.stiffness")] == ["relax.stiffness"]
    assert [key.path for key in find_keys("stiffness")] == ["relax.stiffness"]
    assert [key.path for key in find_keys("use-templates")] == ["search.use_templates"]
    assert [key.path for key in find_keys("models")] == ["predict.models", "relax.models"]
    assert [key.path for key in find_keys("featurize")] == ["featurize.max_templates"]


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("stiffnes", "relax.stiffness"),
        ("relax.stifness", "relax.stiffness"),
        ("predcit", "predict"),
        ("modles", "models"),
    ],
)
def test_a_near_miss_suggests(word, nearest):
    with pytest.raises(ConfigError, match=f"'{word}' is no key of the config; did you mean '{nearest}'\\?"):
        find_keys(word)


def test_a_far_miss_names_the_sections():
    with pytest.raises(ConfigError, match="lists the sections: input, databases, plan, search, "):
        find_keys("qqqqqq")


def test_the_command_of_a_key():
    assert keys()["relax.force_field"].flag == "foldline relax --force-field"
    assert keys()["plan.batch_cost"].flag == ""
