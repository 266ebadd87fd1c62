import gzip

import pytest

from pipeline import run
from pipeline.config import ROOT, line_of, load_config, merged
from pipeline.databases.places import entries, located, profiles, searched_bytes
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


def test_settings_of_the_wrong_type_are_refused_before_any_job(place, written, monkeypatch):
    """YAML reads 1e4 as a text."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(run, "start", None)
    path = written({"name": "m", "path": f"{place}/mm", "engine": "mmseqs", "settings": {"max_seqs": "1e4"}})
    path.write_text(path.read_text().replace('"1e4"', "1e4"))
    message = r"expected a whole number for 'max_seqs' of the search engine 'mmseqs', found '1e4'; write it without"
    with pytest.raises(ConfigError, match=rf"{message} .*: search\.databases\[0\], {path}:5$"):
        run.main(["--config", str(path), "--outdir", "out"])
    assert not (place / "out").exists()


def test_settings_are_those_of_the_engine(place, config):
    entry = {"name": "m", "path": f"{place}/mm", "settings": {"max_seqs": 7, "rounds": 1}}
    with pytest.raises(ConfigError, match=r"'jackhmmer' has no setting 'max_seqs'; .*: search\.databases\[1\]$"):
        located(config("library", entry))
    searched = merged(config("library", entry), {"search": {"engine": "prefilter"}})
    assert [database.name for database in located(searched)] == ["m"]


@pytest.mark.parametrize(
    ("engine", "problem"),
    [
        ("jackhmer", "no search engine is called 'jackhmer'; use one of jackhmmer, "),
        (
            "hmmsearch",
            "the search engine 'hmmsearch' needs a profile for the database 'library'; name the database by a",
        ),
    ],
)
def test_the_engine_of_the_library_is_checked(written, config, engine, problem):
    path = written("library")
    path.write_text(f"{path.read_text()}  engine: {engine}\n")
    with pytest.raises(ConfigError, match=rf"^{problem}.*: search\.engine, {path}:6$"):
        located(load_config(path), path)
    assert located(merged(config(), {"search": {"engine": engine}})) == []  # nothing is searched by it


def test_profiles_are_files_that_are_there(place, config):
    def entry(**settings):
        return {"name": "own", "path": f"{place}/plain.fasta", "engine": "hmmsearch", "settings": settings}

    found = config("library", entry(profile=f"{place}/text.hmm"))
    assert profiles(found, located(found)) == [place / "text.hmm"]
    pressed = config(entry(profile=f"{place}/pressed.hmm"))
    assert profiles(pressed, located(pressed)) == [place / "pressed.hmm.h3m"]
    other = config("library", f"a={place}/plain.fasta")
    assert profiles(other, located(other)) == []
    for settings, problem in [
        ({}, "the search engine 'hmmsearch' needs a profile for the database 'own'; name the database by a mapping"),
        ({"profile": f"{place}/none"}, f"{place}/none: there is no profile here to search the database 'own' with; "),
        ({"profile": str(place)}, f"{place}: there is no profile here to search the database 'own' with; "),
    ]:
        with pytest.raises(ConfigError, match=rf"^{problem}.*: search\.databases\[1\]$"):
            located(config("library", entry(**settings)))


def test_what_a_search_reads_is_counted(place, config):
    """Not the embedded library, nor the profiles of hhsearch; of a library what holds its sequences."""
    other = {"name": "b", "path": str(ROOT / "data/library"), "kind": "library"}
    found = searched_bytes(
        merged(
            config("library", f"a={place}/plain.fasta:1", {"name": "m", "path": f"{place}/mm"}, other),
            {"search": {"hhsearch": f"hh={place}/hh:1"}},
        )
    )
    sequences = ROOT / "data/library/sequences.fasta.gz"
    assert found == {
        f"{place}/plain.fasta": 44,
        f"{place}/mm": 19,
        str(sequences): sequences.stat().st_size,
    }


def test_of_a_database_of_several_files_all_are_counted(place, config):
    (place / "split.0").write_bytes(b"MKTAYIAKQR\n\0")
    (place / "split.1").write_bytes(b"MLSDE\n\0")
    (place / "split.dbtype").write_bytes(bytes(4))
    found = searched_bytes(config({"name": "m", "path": f"{place}/split", "version": "1"}))
    assert found == {f"{place}/split.0": 12, f"{place}/split.1": 7, f"{place}/split.dbtype": 4}
