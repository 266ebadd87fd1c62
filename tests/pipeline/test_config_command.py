import json

import pytest
import yaml

from pipeline import config_command
from pipeline.config import DEFAULT_CONFIG, check_config, load_config, read_yaml
from pipeline.config_keys import keys
from pipeline.errors import ConfigError

OWN = """predict:
  seeds: 3
search:
  rounds: 5  # as in the paper
  max_rows: 77
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text(OWN)
    return tmp_path


def shown(capsys, *words):
    assert config_command.main(["show", *words]) == 0
    return capsys.readouterr().out


def test_init_writes_every_key_with_its_meaning_and_changes_nothing(here):
    assert config_command.main(["init", "new.yaml"]) == 0
    text = (here / "new.yaml").read_text()
    assert read_yaml(here / "new.yaml") == load_config()
    assert max(map(len, text.splitlines())) <= 100
    said = " ".join(line.strip().removeprefix("# ") for line in text.splitlines())
    assert all(key.meaning in said for key in keys().values())
    for comment in (line for line in DEFAULT_CONFIG.read_text().splitlines()[1:] if line.startswith("#")):
        assert comment in text.splitlines()


def test_init_overwrites_nothing(here):
    with pytest.raises(ConfigError, match=r"my.yaml: this file is there, and may hold settings of yours; name another"):
        config_command.main(["init", "my.yaml"])
    assert (here / "my.yaml").read_text() == OWN


def test_init_has_a_name_of_its_own(here):
    assert config_command.main(["init"]) == 0
    assert "foldline run --config foldline.yaml" in (here / "foldline.yaml").read_text()


def test_explain_a_key(capsys):
    assert config_command.main(["explain", "relax.stiffness"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        "relax.stiffness\n  meaning    restraint of the heavy atoms, kcal/mol/A^2\n  default    10.0\n"
    )
    assert "  allowed    number, at least 0\n" in said
    assert "  command    foldline relax --stiffness\n" in said


def test_explain_a_section_and_all(capsys):
    assert config_command.main(["explain", "featurize"]) == 0
    assert "  max_templates          most templates, the best first; 0 for none [4]\n" in capsys.readouterr().out
    assert config_command.main(["explain"]) == 0
    assert "  relax      Restrained minimisation (foldline relax).\n" in capsys.readouterr().out


def test_explain_for_programs(capsys):
    assert config_command.main(["explain", "predict.models", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["schema"] == "foldline.keys/1"
    assert record["keys"][0]["default"] == [1, 2, 3, 4, 5]


def test_show_says_where_each_value_comes_from(capsys):
    text = shown(capsys, "--config", "my.yaml", "a.fasta", "b.fasta", "--outdir", "out")
    lines = [line.split("  #") for line in text.splitlines()]
    found = {line[0].strip(): line[1].strip() for line in lines if len(line) == 2}
    assert found["outdir: out"] == "command line"
    assert found["fasta: [a.fasta, b.fasta]"] == "command line"
    assert found["rounds: 5"] == "my.yaml:4"
    assert found["seeds: 3"] == "my.yaml:2"
    assert found["stiffness: 10.0"] == "default"
    check_config(yaml.safe_load(text))
    assert list(yaml.safe_load(text)) == list(load_config())


def test_show_only_what_is_changed(capsys):
    text = shown(capsys, "--changed", "--config", "my.yaml")
    assert yaml.safe_load(text) == yaml.safe_load(OWN)
    assert shown(capsys, "--changed") == ""


def test_show_for_programs(capsys):
    record = json.loads(shown(capsys, "--json", "--config", "my.yaml", "--model", "model_1"))
    assert record["schema"] == "foldline.config/1"
    assert record["config"]["predict"]["model"] == "model_1"
    assert record["origins"]["predict.model"] == "command line"
    assert record["origins"]["search.max_rows"] == "my.yaml:5"
    assert list(record["origins"]) == list(keys())


def test_show_refuses_what_a_run_refuses(here):
    (here / "bad.yaml").write_text("relax:\n  stifness: 3\n")
    with pytest.raises(ConfigError, match=r"'relax.stifness' is no setting; did you mean 'relax.stiffness'"):
        config_command.main(["show", "--config", "bad.yaml"])
