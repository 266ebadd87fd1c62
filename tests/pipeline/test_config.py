import datetime
import re

import pytest

from pipeline.config import ROOT, check_config, find, load_config, merged, read_yaml, write_config
from pipeline.errors import ConfigError


def refused(over):
    with pytest.raises(ConfigError) as caught:
        check_config(merged(load_config(), over))
    return str(caught.value)


def test_default_config_is_valid():
    check_config(load_config())


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"predict": {"recyles": 3}}, "'predict.recyles' is no setting; did you mean 'predict.recycles'?"),
        ({"serach": {}}, "'serach' is no setting; did you mean 'search'?"),
        (
            {"plan": {"zzz": 1}},
            "'plan.zzz' is no setting; known are search_targets, batch_targets, batch_cost, compilation_cost",
        ),
        ({"predict": {"seed": "x"}}, "'predict.seed' must be of type integer, found 'x'"),
        ({"predict": {"seed": 1.0}}, "'predict.seed' must be of type integer, found 1.0"),
        ({"plan": {"relax_seconds": float("inf")}}, "'plan.relax_seconds' must be a finite number, found inf"),
        ({"predict": {"seed": 1.5}}, "'predict.seed' must be of type integer, found 1.5"),
        ({"predict": {"pdb": 1}}, "'predict.pdb' must be of type boolean, found 1"),
        ({"predict": {"seed": True}}, "'predict.seed' must be of type integer, found True"),
        ({"input": {"fasta": "x.fasta"}}, "'input.fasta' must be of type array, found 'x.fasta'"),
        ({"input": {"fasta": []}}, "'input.fasta' must be a list with a length of at least 1, found []"),
        ({"input": {"min_length": 0}}, "'input.min_length' must be at least 1, found 0"),
        (
            {"search": {"databases": [{"name": "a", "path": "b", "version": 2026}]}},
            "'search.databases.0.version' must be of type string, found 2026; put it into quotes",
        ),
        (
            {"search": {"databases": ["library", {"name": "a", "pth": "b"}]}},
            "'search.databases.1.pth' is no setting; did you mean 'search.databases.1.path'?",
        ),
        (
            {"search": {"databases": [{"name": "a"}]}},
            "the setting 'search.databases.0.path' is missing",
        ),
        ({"search": {"databases": [3]}}, "'search.databases.0' must be of type string or object, found 3"),
        ({"outdir": "a{b}"}, "'outdir' must match"),
        ({"outdir": None}, "'outdir' must be of type string, found None"),
        (
            {"report": {"low_confidence": "7e1"}},
            "'report.low_confidence' must be of type number, found '7e1'; write a number with a point",
        ),
    ],
)
def test_wrong_settings_are_named(over, message):
    text = refused(over)
    assert message in text
    assert "\n" not in text


def test_a_missing_setting_is_named():
    config = load_config()
    del config["predict"]["seed"]
    with pytest.raises(ConfigError, match=r"the setting 'predict\.seed' is missing"):
        check_config(config)


def test_merged_replaces_values_and_lists():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert merged(base, {"a": {"c": [3]}, "e": 2}) == {"a": {"b": 1, "c": [3]}, "d": 1, "e": 2}
    assert merged(base, {"a": None}) == base
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: [1", r"c\.yaml:\d: the config is no YAML"),
        (b"a: 1\n\tb: 2", r"c\.yaml:2: the config is no YAML"),
        (b"- a", r"c\.yaml: expected sections such as 'search:', found \['a'\]"),
        (b"\xff\xfe", r"c\.yaml: the config is no text in UTF-8"),
    ],
)
def test_unreadable_configs(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=message):
        read_yaml(path)


def test_missing_configs(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot read the config \(no such file or directory\)"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=re.escape(f"{tmp_path}: cannot read the config (is a directory)")):
        load_config(tmp_path)


def test_empty_config_is_the_default(tmp_path):
    (tmp_path / "c.yaml").write_text("# nothing\n")
    assert load_config(tmp_path / "c.yaml") == load_config()


def test_a_written_config_reads_back_and_is_written_once(tmp_path):
    path = tmp_path / "out/config.yaml"
    write_config(path, load_config())
    assert read_yaml(path) == load_config()
    before = path.stat().st_mtime_ns
    write_config(path, load_config())
    assert path.stat().st_mtime_ns == before


def test_what_is_no_text_is_written_anew(tmp_path):
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe")
    write_config(tmp_path / "config.yaml", load_config())
    assert read_yaml(tmp_path / "config.yaml") == load_config()


def test_find_looks_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find("~/data/x.fasta") == tmp_path / "data/x.fasta"
    assert str(find("data/~")) == "data/~"
    with pytest.raises(ConfigError, match="~nobody-here/x: there is no home folder '~nobody-here'"):
        find("~nobody-here/x")


def test_find_prefers_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find("config/config.yaml") == ROOT / "config/config.yaml"
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").touch()
    assert str(find("config/config.yaml")) == "config/config.yaml"
    assert str(find("nowhere")) == "nowhere"
    assert find("/nowhere").is_absolute()


def test_a_date_is_a_text(tmp_path):
    (tmp_path / "c.yaml").write_text("search:\n  max_template_date: 2020-05-14\n")
    config = load_config(tmp_path / "c.yaml")
    check_config(config)
    assert config["search"]["max_template_date"] == "2020-05-14"
    config["search"]["max_template_date"] = datetime.date(2020, 5, 14)  # as Snakemake reads a config
    with pytest.raises(ConfigError, match=r"'search\.max_template_date' must be of type string.*into quotes"):
        check_config(config)
    config["search"]["max_template_date"] = "14 May 2020"
    with pytest.raises(ConfigError, match=r"'search\.max_template_date' must match"):
        check_config(config)
