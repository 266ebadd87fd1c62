import gzip

import pytest

from pipeline import run
from pipeline.config import line_of, load_config, merged
from pipeline.databases.places import entries, located
from pipeline.errors import ConfigError, LibraryError


def test_databases_beside_the_library(place, config):
    entries = ["library", f"a={place}/plain.fasta", {"name": "b", "path": f"{place}/mm", "version": "1"}]
    assert [database.name for database in located(config(*entries))] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nothing.fasta", "the database 'own' does not exist; correct its path in the config"),
        ("empty.fasta", "the database 'own' is empty; put the whole file there"),
        ("empty.fasta.gz", "the database 'own' is empty; put the whole file there"),
        ("cut.fasta.gz", r"the file is damaged or cut short \(.*\); put the whole file there"),
    ],
)
def test_a_run_names_the_line_to_correct(place, written, monkeypatch, name, problem):
    (place / "empty.fasta").touch()
    (place / "empty.fasta.gz").write_bytes(gzip.compress(b""))
    (place / "cut.fasta.gz").write_bytes(gzip.compress(b">a\nMKV")[:8])
    monkeypatch.chdir(place)
    monkeypatch.setattr(run, "start", None)
    path = written("library", f"a={place}/plain.fasta", f"own={place}/{name}")
    with pytest.raises(LibraryError, match=rf"{name}: {problem}: search\.databases\[2\], {path}:7$"):
        run.main(["--config", str(path), "--outdir", "out"])
    assert not (place / "out").exists()


def test_an_entry_that_is_not_well_formed(config):
    message = r"expected NAME=PATH:VERSION for a database, found 'x'; correct the config: search\.databases\[1\]$"
    with pytest.raises(ConfigError, match=message):
        located(config("library", "x"))


def test_the_same_name_twice(place, config):
    message = r"the database 'a' is named twice; give it another name: search\.databases\[1\]$"
    with pytest.raises(ConfigError, match=message):
        located(config(f"a={place}/plain.fasta", {"name": "a", "path": f"{place}/mm"}))


def test_lines_of_settings(tmp_path, written):
    path = written("library", {"name": "b", "path": "x"})
    assert line_of(path, ("search", "databases", 1)) == 6
    assert line_of(path, ("search", "databases", 1, "path")) == 6
    for keys in (("search", "databases", 2), ("search", "rounds"), ("search", "databases", 0, "x"), ("predict", 0)):
        assert line_of(path, keys) is None
    assert line_of(tmp_path / "none.yaml", ("search",)) is None
    (tmp_path / "bad.yaml").write_text("a: [")
    assert line_of(tmp_path / "bad.yaml", ("a",)) is None


def test_a_list_of_the_defaults_has_no_line_in_the_users_file(tmp_path):
    (tmp_path / "my.yaml").write_text("predict: {seed: 3}\n")
    config = merged(load_config(tmp_path / "my.yaml"), {"search": {"databases": ["x=y:1"]}})
    assert [entry.place for entry in entries(config, tmp_path / "my.yaml")] == ["search.databases[0]"]


def test_the_profiles_of_templates_are_looked_for_too(place, written):
    path = written("library")
    with path.open("a") as file:
        file.write(f"  hhsearch: hh={place}/gone:1\n")
    with pytest.raises(LibraryError, match=rf"gone: the database 'hh' does not exist; .*: search\.hhsearch, {path}:6$"):
        located(load_config(path), path)
    path.write_text(path.read_text().replace("gone", "hh"))
    assert [database.anchor.name for database in located(load_config(path), path)] == ["hh_hhm.ffindex"]
