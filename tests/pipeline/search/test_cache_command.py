"""`foldline cache`, on a cache with intact, damaged and unfinished entries of several ages."""

import os
import time

import pytest

from pipeline.errors import ConfigError, StageError
from pipeline.search.cache import Entry, Key, SearchCache
from pipeline.search.cache_command import main, parse_size
from pipeline.search.cache_items import INDICES, items

DAY = 86_400
TEXT = ">query\nMKVLA\n" * 77  # 1001 bytes
AGES = {"uniref-2024": 40, "uniref-2025": 3, "templates-pdb-1": 100}


@pytest.fixture
def cache(tmp_path):
    made = SearchCache(tmp_path / "cache")
    for database, age in AGES.items():
        for sequence in ("MKVLA", "MKVLG"):
            put(made, Key(database, "0123abc", sequence, ".json" if "templates" in database else ".a3m"), age)
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
    cache.get(Key("uniref-2024", "0123abc", "MKVLA", ".a3m"))
    ages = sorted(round(item.age(time.time())) for item in items(cache.root) if item.database == "uniref-2024")
    assert ages == [0, 40]


def test_verify_an_intact_cache(cache, capsys):
    assert run(cache, "verify") == 0
    assert capsys.readouterr().out == "6 entries looked at\n"


def test_verify_names_what_is_damaged(cache, capsys):
    wrong = cache.path(Key("uniref-2024", "0123abc", "MKVLA", ".a3m"))
    wrong.write_text(TEXT + "x")
    gone = cache.path(Key("uniref-2025", "0123abc", "MKVLA", ".a3m"))
    gone.unlink()
    (cache.path(Key("templates-pdb-1", "0123abc", "MKVLA", ".json")).parent / ".x.a3m.abc.tmp").touch()
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
    path = cache.path(Key("uniref-2024", "0123abc", "MKVLA", ".a3m"))
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
        (["--to-size", "3.4k"], {"uniref-2024": 1, "uniref-2025": 2}),
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
    assert cache.get(Key("uniref-2024", "0123abc", "MKVLA", ".a3m")) is None
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
