"""`foldline cache`, on a cache with intact, damaged and unfinished entries of several ages."""

import json
import os
import time

import pytest

from pipeline.errors import ConfigError, StageError
from pipeline.search.cache import Entry, Key, SearchCache
from pipeline.search.cache_command import main, parse_size
from pipeline.search.cache_items import INDICES, items
from pipeline.search.made import made, passing

DAY = 86_400
TEXT = ">query\nMKVLA\n" * 77  # 1001 bytes
AGES = {"uniref-2024": 40, "uniref-2025": 3, "templates-pdb-1": 100}


@pytest.fixture
def cache(tmp_path):
    made = SearchCache(tmp_path / "cache")
    for database, age in AGES.items():
        for sequence in ("MKVLA", "MKVLG"):
            name, _, version = database.rpartition("-")
            put(made, Key(name, version, "0123abc", sequence, ".json" if "templates" in database else ".a3m"), age)
    return made


def put(cache, key, age):
    cache.put(key, Entry(TEXT, {}))
    path = cache.path(key)
    for file in (path, path.with_name(path.name + ".json")):
        os.utime(file, (time.time() - age * DAY,) * 2)
    return path


def run(cache, *words):
    return main([words[0], "--cache", str(cache.root), *words[1:]])


def here(cache):
    """Return the entries that are left, by database."""
    found = [item.database for item in items(cache.root)]
    return {database: found.count(database) for database in dict.fromkeys(found)}


def test_list_shows_sizes_and_ages(cache, capsys):
    assert run(cache, "list") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == ["templates-pdb-1", "2", "2.3", "kB", "100.0", "to", "100.0"]
    assert lines[2][:2] == ["uniref-2024", "2"]
    assert lines[3][-3:] == ["3.0", "to", "3.0"]
    assert lines[4][:2] == ["all", "6"]


def test_what_is_used_is_young_again(cache):
    cache.get(Key("uniref", "2024", "0123abc", "MKVLA", ".a3m"))
    ages = sorted(round(item.age(time.time())) for item in items(cache.root) if item.database == "uniref-2024")
    assert ages == [0, 40]


def test_verify_an_intact_cache(cache, capsys):
    assert run(cache, "verify") == 0
    assert capsys.readouterr().out == "6 entries looked at\n"


def test_verify_names_what_is_damaged(cache, capsys):
    wrong = cache.path(Key("uniref", "2024", "0123abc", "MKVLA", ".a3m"))
    wrong.write_text(TEXT + "x")
    gone = cache.path(Key("uniref", "2025", "0123abc", "MKVLA", ".a3m"))
    gone.unlink()
    (cache.path(Key("templates-pdb", "1", "0123abc", "MKVLA", ".json")).parent / ".x.a3m.abc.tmp").touch()
    with pytest.raises(StageError, match="2 entries are damaged; a search makes them again; --remove removes them"):
        run(cache, "verify")
    said = capsys.readouterr().out
    assert f"{wrong}: damaged: wrong checksum\n" in said
    assert f"{gone}: damaged: its data are gone\n" in said
    assert "abc.tmp: unfinished: a search was interrupted, or is going on\n" in said
    assert run(cache, "verify", "--remove") == 0
    assert "; removed" in capsys.readouterr().out
    assert here(cache) == {"templates-pdb-1": 3, "uniref-2024": 1, "uniref-2025": 1}  # what may be in the making stays


def test_unfinished_files_go_when_they_are_old(cache, capsys):
    path = cache.path(Key("uniref", "2024", "0123abc", "MKVLA", ".a3m"))
    path.with_name(path.name + ".json").unlink()
    assert run(cache, "verify", "--remove") == 0
    assert not path.exists()
    assert "unfinished: a search was interrupted, or is going on; removed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--older-than", "30"], {"uniref-2025": 2}),
        (["--older-than", "1000"], {"templates-pdb-1": 2, "uniref-2024": 2, "uniref-2025": 2}),
        (["--database", "uniref"], {"templates-pdb-1": 2}),
        (["--database", "uniref-2024", "pdb"], {"uniref-2025": 2}),
        (["--database", "uni"], {"templates-pdb-1": 2, "uniref-2024": 2, "uniref-2025": 2}),
        (["--older-than", "30", "--database", "uniref"], {"templates-pdb-1": 2, "uniref-2025": 2}),
        (["--to-size", "3.6k"], {"uniref-2024": 1, "uniref-2025": 2}),
        (["--to-size", "1G"], {"templates-pdb-1": 2, "uniref-2024": 2, "uniref-2025": 2}),
        (["--to-size", "0"], {}),
    ],
)
def test_prune(cache, capsys, words, left):
    before = here(cache)
    assert run(cache, "prune", "--dry-run", *words) == 0
    assert here(cache) == before
    said = capsys.readouterr().out
    assert "would be removed" in said
    assert run(cache, "prune", *words) == 0
    assert capsys.readouterr().out == said.replace("would be removed", "removed")
    assert here(cache) == left
    assert {path.name for path in cache.root.iterdir() if path.is_dir()} == set(left)


def test_a_pruned_entry_is_missing_not_damaged(cache, caplog):
    run(cache, "prune", "--to-size", "0")
    assert cache.get(Key("uniref", "2024", "0123abc", "MKVLA", ".a3m")) is None
    assert caplog.text == ""


def test_indices_are_pruned_too_and_other_files_stay(cache):
    index = cache.root / INDICES / "uniref-2024"
    index.mkdir(parents=True)
    (index / "db").write_bytes(bytes(1000))
    (cache.root / "notes.txt").write_text("mine")
    (cache.root / "uniref-2024" / "0123abc" / "notes.txt").write_text("mine")
    assert here(cache)[INDICES] == 1
    assert run(cache, "prune", "--to-size", "0") == 0
    assert not index.exists()
    assert {path.name for path in cache.root.rglob("*") if path.is_file()} == {"notes.txt"}


def index(cache, *name, days=0):
    """Make an engine's index of a database, not used for so many days."""
    with made(cache.root.joinpath(INDICES, *name), "uniref", lambda work: (work / "db").write_bytes(bytes(1000))) as it:
        pass
    return aged(it, days)


def aged(folder, days):
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (time.time() - days * DAY,) * 2)
    return folder


def test_each_index_is_used_and_removed_by_itself(cache, capsys):
    names = [("mmseqs", "uniref-2024"), ("mmseqs", "uniref-2025"), ("uniref-2024",)]
    old, new, fasta = (index(cache, *name, days=40) for name in names)
    assert index(cache, *names[1]) == new  # which is used again
    assert run(cache, "list") == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["indices", "3", "3.3", "kB", "0.0", "to", "40.0"]
    assert run(cache, "prune", "--older-than", "39", "--database", INDICES) == 0
    assert [path.exists() for path in (old, new, fasta)] == [False, True, False]
    assert here(cache) == {INDICES: 1, "templates-pdb-1": 2, "uniref-2024": 2, "uniref-2025": 2}


@pytest.mark.parametrize("name", ["uniref", "uniref-2024"])
def test_an_index_is_of_its_database(cache, name):
    made_of = index(cache, "mmseqs", "uniref-2024")
    assert run(cache, "prune", "--database", name) == 0
    assert not made_of.exists()


def test_what_a_search_uses_stays(cache, capsys):
    folder = cache.root / INDICES / "mmseqs" / "uniref-2024"
    index(cache, "mmseqs", "uniref-2024", days=100)
    with made(folder, "uniref", lambda _: None):
        assert run(cache, "prune", "--to-size", "0") == 0
        assert "6 of 7 entries removed" in capsys.readouterr().out
        (folder / "db").write_bytes(b"")
        with pytest.raises(StageError, match="1 entries are damaged"):
            run(cache, "verify", "--remove")
    assert here(cache) == {INDICES: 1}
    assert run(cache, "verify", "--remove") == 0
    assert here(cache) == {}


@pytest.mark.parametrize("words", [("prune", "--to-size", "0"), ("verify", "--remove")])
def test_what_is_in_the_making_stays(cache, words):
    index(cache, "mmseqs", "uniref-2024")
    with (
        passing(cache.root / INDICES, ".search-") as going,
        passing(cache.root / INDICES / "mmseqs", ".making-") as new,
    ):
        aged(going, 100)
        left = cache.root / INDICES / "mmseqs" / ".making-killed"
        left.mkdir()
        run(cache, *words)
        assert left.exists()  # it is young
        (left / "data").write_bytes(bytes(10))
        aged(left, 1)
        run(cache, *words)
        assert not left.exists()
        assert going.exists()
        assert new.exists()


def test_a_database_is_not_one_whose_name_begins_like_it(cache):
    put(cache, Key("uniref-clustered", "2024", "0123abc", "MKVLA", ".a3m"), 3)
    assert run(cache, "prune", "--database", "uniref", "") == 0
    assert here(cache) == {"templates-pdb-1": 2, "uniref-clustered-2024": 1}


def test_entries_that_do_not_say_their_database_go_by_name_and_version(cache):
    for path in cache.root.glob("uniref-2024/*/*.json"):
        record = json.loads(path.read_text())
        del record["database"]
        path.write_text(json.dumps(record))
    assert run(cache, "prune", "--database", "uniref", "") == 0
    assert here(cache) == {"templates-pdb-1": 2, "uniref-2024": 2}
    assert run(cache, "prune", "--database", "uniref-2024") == 0
    assert here(cache) == {"templates-pdb-1": 2}


def test_names_are_shown_without_what_a_terminal_obeys(cache, capsys):
    (cache.root / "uniref-2024").rename(cache.root / "uni\x1b[31mref-2024")
    assert run(cache, "list") == 0
    assert "uni?[31mref-2024" in capsys.readouterr().out
    assert run(cache, "prune", "--to-size", "0") == 0
    assert "uni?[31mref-2024: 2 entries" in capsys.readouterr().out


def test_what_cannot_be_done_is_said(cache, tmp_path):
    with pytest.raises(ConfigError, match="nothing says what to remove; give --older-than, --to-size or --database"):
        run(cache, "prune")
    with pytest.raises(ConfigError, match="expected a size such as 500M or 20G, found 'much'"):
        run(cache, "prune", "--to-size", "much")
    with pytest.raises(ConfigError, match="nowhere: there is no cache of searches here; name its folder by --cache"):
        main(["list", "--cache", str(tmp_path / "nowhere")])
    with pytest.raises(ConfigError, match="~nobody-here/x: there is no home folder '~nobody-here'"):
        main(["list", "--cache", "~nobody-here/x"])


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("500", 500), ("1.5k", 1500), ("20 GB", 20 * 10**9)])
def test_sizes(text, size):
    assert parse_size(text) == size
