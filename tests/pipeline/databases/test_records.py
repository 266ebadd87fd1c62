import hashlib
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.config import ROOT
from pipeline.databases.records import Database, as_text, locate, parse_database
from pipeline.errors import ConfigError, FoldlineError, LibraryError


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "some proteins.fasta"
    path.write_text(">a\nMKV\n")
    return path


def test_name_path_and_version(fasta):
    database = parse_database(f"swissprot={fasta}:2026_01")
    assert (database.name, database.path, database.version) == ("swissprot", fasta, "2026_01")
    assert database.folder == "swissprot-2026_01"


def test_without_a_version_the_content_is_the_version(fasta):
    database = parse_database(f"own={fasta}")
    assert database.version == "sha256." + hashlib.sha256(b">a\nMKV\n").hexdigest()[:12]
    fasta.write_text(">a\nMKL\n")
    assert parse_database(f"own={fasta}").version != database.version


def test_a_colon_in_the_path(tmp_path):
    path = tmp_path / "a:b.fasta"
    path.write_text(">a\nMKV\n")
    assert parse_database(f"own={path}").path == path
    assert parse_database(f"own={path}:3").version == "3"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("swissprot", ConfigError, "expected NAME=PATH:VERSION for a database, found 'swissprot'"),
        ("=x", ConfigError, "expected NAME=PATH:VERSION"),
        ("a/b=x", ConfigError, "'a/b' cannot be the name of a database; use letters, digits"),
        ("a=x:../1", ConfigError, r"'\.\./1' cannot be the version of a database"),
        ("a=/nothing/here.fasta:1", LibraryError, r"/nothing/here\.fasta: the database 'a' does not exist; correct"),
        ("a=x:", ConfigError, "'' cannot be the version"),
        (
            "a=/",
            LibraryError,
            "/: the database 'a' is a folder; name the file, or what the names of its files begin with",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(text, error, message):
    with pytest.raises(error, match=message):
        parse_database(text)


def mapping(fasta, **values):
    return {"name": "own", "path": str(fasta), **values}


def test_a_mapping_is_the_whole_record(fasta):
    values = {"version": "7", "kind": "profiles", "engine": "mmseqs", "max_rows": 11, "settings": {"rounds": 2}}
    database = parse_database(as_text(mapping(fasta, **values)))
    assert database == Database("own", fasta, **values)
    assert hash(database)
    assert as_text("library") == "library"


def test_a_mapping_of_name_and_path_is_the_short_form(fasta):
    assert parse_database(json.dumps(mapping(fasta))) == parse_database(f"own={fasta}")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nme": 1}, "'nme' says nothing about a database; known are name, path, version, kind, engine"),
        ({"name": ""}, "a database without 'name'"),
        ({"name": "../x"}, "'../x' cannot be the name of a database"),
        ({"name": 3}, "expected str for 'name' of the database, found 3"),
        ({"version": 2026}, "expected str for 'version' of the database, found 2026"),
        ({"version": "a/b"}, "'a/b' cannot be the version of a database"),
        ({"kind": "genes"}, "'genes' cannot be the kind of the database 'own'; known are sequences, profiles, library"),
        ({"engine": "a b"}, "'a b' cannot be the engine of a database"),
        ({"max_rows": True}, "expected int for 'max_rows' of the database, found True"),
        ({"max_rows": -1}, "max_rows of the database 'own' must be at least 0, found -1"),
        ({"settings": []}, r"expected dict for 'settings' of the database, found \[\]"),
        ({"settings": {"a": [1]}}, r"expected a number, a text or yes or no for 'a' of the database, found \[1\]"),
    ],
)
def test_mappings_that_mean_nothing_are_refused(fasta, values, message):
    with pytest.raises(ConfigError, match=message):
        parse_database(json.dumps(mapping(fasta, **values)))


@pytest.mark.parametrize("text", ["{", "{}}", '{"name": "a", "path": "b"', "{1: 2}", "{NaN}"])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ConfigError, match="expected a database as a JSON mapping, found"):
        locate(text)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.fasta").touch()
    with pytest.raises(LibraryError, match="the database 'a' is empty; put the whole file there"):
        locate(f"a={tmp_path}/empty.fasta:1")


@pytest.mark.parametrize("suffix", [".dbtype", ".h3m", "_hhm.ffindex"])
def test_a_database_of_several_files(tmp_path, suffix):
    (tmp_path / f"db[1]{suffix}").write_text("one")
    database = parse_database(f"a={tmp_path}/db[1]")
    assert database.anchor == tmp_path / f"db[1]{suffix}"
    assert database.version == "sha256." + hashlib.sha256(b"one").hexdigest()[:12]
    assert locate(f"a={tmp_path}/db[1]:2").version == "2"


def test_an_index_is_not_the_database(tmp_path):
    (tmp_path / "db.dbtype").write_text("one")
    before = parse_database(f"a={tmp_path}/db")
    (tmp_path / "db.idx").write_text("large")
    (tmp_path / "db.idx.dbtype").write_text("large")
    assert parse_database(f"a={tmp_path}/db") == before
    (tmp_path / "db_h").write_text("headers")
    assert parse_database(f"a={tmp_path}/db") != before


def test_a_folder_beside_the_files_that_begin_with_its_name(tmp_path):
    (tmp_path / "db").mkdir()
    (tmp_path / "db.dbtype").write_text("one")
    assert locate(f"a={tmp_path}/db:1").anchor == tmp_path / "db.dbtype"


def test_a_library_has_its_own_version(tmp_path):
    database = parse_database(json.dumps(mapping(ROOT / "data/library", kind="library")))
    assert database.version == json.loads((ROOT / "data/library/library.json").read_text())["version"]
    assert database.anchor.name == "library.json"
    (tmp_path / "library.json").write_text("{}")
    with pytest.raises(LibraryError, match="expected a template library"):
        parse_database(json.dumps(mapping(tmp_path, kind="library")))


def test_paths_of_the_home_folder_and_of_the_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.fasta").write_text(">a\nMKV\n")
    assert locate("a=~/x.fasta:1").path == tmp_path / "x.fasta"
    assert locate("a=~/x.fasta").path == tmp_path / "x.fasta"
    monkeypatch.chdir(tmp_path)
    assert locate("a=data/library/sequences.fasta.gz").path == ROOT / "data/library/sequences.fasta.gz"
    for word, path in (("~/p.hmm", tmp_path / "p.hmm"), ("data/library", ROOT / "data/library"), ("p.hmm", "p.hmm")):
        entry = mapping(tmp_path / "x.fasta", engine="hmmsearch", settings={"profile": word, "rounds": 1})
        assert locate(json.dumps(entry)).settings == {"profile": str(path), "rounds": 1}


def problem_of(text):
    try:
        parse_database(text)  # a text may name a file of the working folder
    except FoldlineError as error:
        return str(error)
    return ""


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=2)
)
MAPPINGS = st.dictionaries(st.sampled_from(["name", "path", "version", "kind", "max_rows", "settings", "x"]), VALUES)


@settings(deadline=None)  # the machine may be busy
@given(text=st.text() | st.text().map(lambda path: f"a={path}:1") | MAPPINGS.map(json.dumps))
@example("a=\0")
@example("a=\n")
@example("a=" + "x" * 300)
@example("a=" + "x/" * 3000 + ":1")
@example("a=~nobody-of-this-name/x")
@example('{"name": "a", "path": "\\ud800"}')
@example('{"name": "a", "path": "x", "settings": {"profile": "\\ud800"}}')
@example('{"name": "a", "path": "x", "settings": {"profile": 3}}')
@example('{"name": "a", "path": "' + "y" * 10_000 + '"}')
def test_no_text_makes_a_traceback(text):
    assert "\n" not in problem_of(text).replace("\\n", "")
