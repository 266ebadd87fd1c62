import hashlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.search.cache import Entry, Key, SearchCache, settings_hash

KEY = Key("pdb", "2018.06", "0123abc", "MKVLA", ".a3m")
ENTRY = Entry(">query\nMKVLA\n", {"rounds": 2})


@pytest.fixture
def cache(tmp_path):
    return SearchCache(tmp_path / "cache")


def test_path_says_what_the_result_is_a_function_of(cache):
    path = cache.path(KEY).relative_to(cache.root)
    assert path.parts == ("pdb-2018.06", "0123abc", hashlib.sha256(b"MKVLA").hexdigest() + ".a3m")


def test_what_is_put_is_got(cache):
    assert cache.get(KEY) is None
    cache.put(KEY, ENTRY)
    assert cache.get(KEY) == ENTRY
    assert cache.get(Key("pdb", "2018.06", "0123abc", "MKVLG", ".a3m")) is None
    assert sorted(path.name for path in cache.path(KEY).parent.iterdir()) == [
        cache.path(KEY).name,
        cache.path(KEY).name + ".json",
    ]


@pytest.mark.parametrize("damage", [b"", b">query\nMKV", b">query\nMKVLG\n"])
def test_damaged_results_count_as_missing(cache, caplog, damage):
    cache.put(KEY, ENTRY)
    cache.path(KEY).write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        assert cache.get(KEY) is None
    assert "damaged (wrong checksum); searching again" in caplog.text
    cache.put(KEY, ENTRY)
    assert cache.get(KEY) == ENTRY


@pytest.mark.parametrize("damage", ["", "{}", "[1]", '{"schema": "foldline.cache/0"}', "\x00"])
def test_damaged_checksums_count_as_missing(cache, damage):
    cache.put(KEY, ENTRY)
    cache.path(KEY).with_name(cache.path(KEY).name + ".json").write_text(damage)
    assert cache.get(KEY) is None


def test_a_result_without_its_checksum_is_not_finished(cache):
    """A process that is killed between the two writes leaves this."""
    cache.put(KEY, ENTRY)
    cache.path(KEY).with_name(cache.path(KEY).name + ".json").unlink()
    assert cache.get(KEY) is None


def test_a_checksum_without_its_result_is_damage(cache, caplog):
    cache.put(KEY, ENTRY)
    cache.path(KEY).unlink()
    assert cache.get(KEY) is None
    assert "is damaged" in caplog.text


def test_without_a_root_nothing_is_kept():
    SearchCache().put(KEY, ENTRY)
    assert SearchCache().get(KEY) is None


def test_a_cache_that_cannot_be_written_is_said(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    SearchCache(tmp_path / "file").put(KEY, ENTRY)
    assert "the search cannot be cached (not a directory)" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache_is_read(cache):
    cache.put(KEY, ENTRY)
    cache.path(KEY).parent.chmod(0o500)
    cache.put(KEY, Entry("other", {}))
    assert cache.get(KEY) == ENTRY


def test_processes_that_share_a_cache_never_see_half_a_result(cache):
    """Writers make the same bytes again and again; a reader gets them or nothing."""
    entry = Entry(">query\nMKVLA\n" * 20_000, {"rounds": 2})
    cache.put(KEY, entry)
    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(cache.put, KEY, entry) for _ in range(40)]
        readers = [pool.submit(cache.get, KEY) for _ in range(40)]
    assert all(writer.result() is None for writer in writers)
    assert all(reader.result() == entry for reader in readers)
    assert len(list(cache.path(KEY).parent.iterdir())) == 2


def test_settings_hash_ignores_order_only():
    assert settings_hash({"a": 1, "b": 2}) == settings_hash({"b": 2, "a": 1})
    assert settings_hash({"a": 1, "b": 2}) != settings_hash({"a": 1, "b": 2.5})
