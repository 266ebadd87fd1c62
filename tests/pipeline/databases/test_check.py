import hashlib
import json
import os
import re
import shutil

import pytest

from pipeline.databases import check as module
from pipeline.databases.check import check, records_folder
from pipeline.errors import LibraryError


def counted(monkeypatch):
    """Note which databases are read for their counts."""
    names, original = [], module.count
    monkeypatch.setattr(
        module, "count", lambda database, found: (names.append(database.name), original(database, found))[1]
    )
    return names


def test_what_is_known_of_a_database(place, config):
    (state,) = check(config({"name": "own", "path": f"{place}/plain.fasta", "engine": "jackhmmer"}))
    digest = hashlib.sha256((place / "plain.fasta").read_bytes()).hexdigest()
    assert (state.name, state.version, state.kind, state.engine) == (
        "own",
        f"sha256.{digest[:12]}",
        "sequences",
        "jackhmmer",
    )
    assert (state.format, state.bytes, state.sequences, state.residues) == ("FASTA", 44, 2, 27)
    assert (state.sha256, state.problem, state.place) == (digest, "", "search.databases[0]")


def test_the_library(config):
    (state,) = check(config("library"))
    assert (state.sequences, state.format, state.problem) == (21_119, "template library", "")
    assert state.version.startswith("3.2.1")
    assert check(config("library"), quick=True)[0].version == state.version


def test_a_database_is_counted_once_and_again_when_it_changes(place, config, monkeypatch):
    monkeypatch.setattr(module, "_check_method", lambda *_: None)
    names, run = counted(monkeypatch), config(f"a={place}/plain.fasta:1", {"name": "m", "path": f"{place}/mm"})
    first = check(run)
    assert names == ["a", "m"]
    assert check(run) == first
    assert names == ["a", "m"]
    with (place / "plain.fasta").open("ab") as file:
        file.write(b">c\nW\n")
    assert [state.sequences for state in check(run)] == [3, 2]
    os.utime(place / "mm.index", ns=(1, 1))
    check(run)
    assert names == ["a", "m", "a", "m"]


@pytest.mark.parametrize("damage", [b"", b"{", b'{"schema": "foldline.database/1"}', b"[]"])
def test_a_damaged_record_is_made_again(place, config, monkeypatch, damage):
    names, run = counted(monkeypatch), config(f"a={place}/plain.fasta:1")
    first = check(run)
    (record,) = records_folder(run).iterdir()
    record.write_bytes(damage)
    assert check(run) == first
    assert names == ["a", "a"]
    assert json.loads(record.read_text())["sequences"] == 2


def test_where_records_cannot_be_kept(place, config, monkeypatch, caplog):
    monkeypatch.setattr(
        module, "write_json", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
    )
    assert check(config(f"a={place}/plain.fasta:1"))[0].sequences == 2
    assert "the counts cannot be kept (permission denied)" in caplog.text


def test_records_without_a_cache(config, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    run = config()
    assert records_folder(run) == tmp_path / "cache/databases"
    run["databases"]["cache"] = None
    assert records_folder(run) == tmp_path / "xdg/foldline/databases"


def test_a_quick_look_reads_nothing(place, config, monkeypatch):
    names = counted(monkeypatch)
    (state,) = check(config(f"a={place}/plain.fasta"), quick=True)
    assert (state.format, state.version, state.sequences, state.problem, names) == ("FASTA", "", None, "", [])


def test_a_large_database(place, config, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_HASHED", 10)
    monkeypatch.setattr("pipeline.databases.records.LARGEST_HASHED", 10)
    with_version, without = check(config(f"a={place}/plain.fasta:7", f"b={place}/plain.fasta"))
    assert (with_version.version, with_version.sha256, with_version.sequences, with_version.problem) == ("7", "", 2, "")
    assert "a database of this size needs a version; write NAME=PATH:VERSION" in without.problem


def test_problems_are_told_beside_what_is_known(place, config):
    (place / "cut.gz").write_bytes((place / "a.fasta.gz").read_bytes()[:-9])
    (place / "empty.fasta").touch()
    states = check(
        config(
            f"gone={place}/x.fasta:1",
            f"empty={place}/empty.fasta:1",
            f"cut={place}/cut.gz:1",
            {"name": "page", "path": f"{place}/hh_hhm.ffindex"},
            "x",
            f"gone={place}/plain.fasta:1",
        )
    )
    problems = ["does not exist; correct", "'empty' is empty", "damaged or cut short", "expected sequences or profiles"]
    problems += ["expected NAME=PATH:VERSION", "the name is that of search.databases[0] too"]
    assert [part in state.problem for part, state in zip(problems, states, strict=True)] == [True] * 6
    assert [state.name for state in states] == ["gone", "empty", "cut", "page", "", "gone"]


def test_a_library_that_is_none(place, config):
    (state,) = check(config("library", library=place))
    assert "the database 'library' does not exist; name the folder of its library.json" in state.problem
    assert state.place == "databases.library"
    with pytest.raises(LibraryError, match="expected a template library"):
        module.Database("x", place, kind="library").content_version()


def test_the_profiles_of_templates(place, config):
    run = config(f"hh={place}/plain.fasta:1")
    run["search"]["hhsearch"] = f"hh={place}/hh:2"
    assert [(state.place, state.format, state.problem) for state in check(run)] == [
        ("search.databases[0]", "FASTA", ""),
        ("search.hhsearch", "HH-suite", ""),
    ]
    run["search"]["hhsearch"] = f"hh={place}/plain.fasta:2"
    assert "plain.fasta: expected a database of HH-suite, found FASTA" in check(run)[1].problem


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (
            {"path": "mm"},
            "the engine 'jackhmmer' does not search MMseqs2 sequences, but FASTA, .*; write engine: mmseqs",
        ),
        ({"path": "mm", "engine": "prefilter"}, "^$"),
        (
            {"path": "mmcompressed", "engine": "mmseqs"},
            r"'mmseqs' does not search MMseqs2 sequences \(compressed\), but",
        ),
        ({"path": "text.hmm", "kind": "profiles"}, "the engine 'jackhmmer' does not search HMMER profiles, but FASTA"),
        ({"path": "plain.fasta", "engine": "blast"}, "no search engine is called 'blast'; use one of jackhmmer"),
        ({"path": "plain.fasta", "settings": {"speed": 3}}, "the search engine 'jackhmmer' has no setting 'speed'"),
        (
            {"path": "plain.fasta", "settings": {"rounds": 1.5}},
            "expected a whole number for 'rounds' of the database 'x'",
        ),
        ({"path": "plain.fasta", "settings": {"rounds": 1}}, "^$"),
    ],
)
def test_what_the_engine_does_not_search(place, config, entry, problem):
    if entry.get("engine") in ("mmseqs", "prefilter") and not shutil.which("mmseqs"):
        pytest.skip("mmseqs is not installed")
    (state,) = check(config({"name": "x", "version": "1", **entry, "path": str(place / entry["path"])}))
    assert re.search(problem, state.problem)
