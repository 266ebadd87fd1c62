"""What is kept of a database: whole or not there, made once whoever asks."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from pipeline.errors import LibraryError
from pipeline.search import made as module
from pipeline.search.cache_items import INDICES, items, problem
from pipeline.search.engines.programs import workspace
from pipeline.search.made import MANIFEST, is_whole, made, passing, place_of, unused

ASKING = 5


def write(work):
    (work / "data").write_bytes(bytes(9))


def make_once(folder, make=write):
    with made(folder, "db", make) as whole:
        return whole


def ask(folder, log, ready):
    def make(work):
        with log.open("a") as file:
            file.write("made\n")
        (work / "data").write_bytes(bytes(1000))

    ready.wait()
    make_once(folder, make)


def test_processes_that_ask_at_once_make_it_once(tmp_path):
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(ASKING)
    words = (tmp_path / "db", tmp_path / "log", ready)
    processes = [context.Process(target=ask, args=words) for _ in range(ASKING)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * ASKING
    assert (tmp_path / "log").read_text() == "made\n"
    assert (tmp_path / "db" / "data").stat().st_size == 1000


def test_what_fails_leaves_nothing(tmp_path):
    def fail(work):
        (work / "data").touch()
        raise LibraryError("no")

    with pytest.raises(LibraryError):
        make_once(tmp_path / "db", fail)
    assert [path.name for path in tmp_path.iterdir()] == [".db.lock"]


def test_what_cannot_be_removed_is_said(tmp_path, monkeypatch):
    (tmp_path / "db").mkdir()
    monkeypatch.setattr(module.shutil, "rmtree", lambda _: (_ for _ in ()).throw(PermissionError(13, "Denied")))
    with pytest.raises(LibraryError, match=r"db: .* cannot be removed \(denied\); remove this folder"):
        make_once(tmp_path / "db")


def test_the_cache_tells_damage(tmp_path):
    folder = make_once(tmp_path / INDICES / "mmseqs" / "db")
    (item,) = items(tmp_path)
    assert problem(item) == ""
    (folder / "data").write_bytes(bytes(8))
    assert problem(item) == "damaged: files have other sizes than they were made in"


def test_what_is_used_is_held_and_touched(tmp_path):
    folder = make_once(tmp_path / "db")
    os.utime(folder / MANIFEST, (1, 1))
    with made(folder, "db", write), made(folder, "db", write):
        assert time.time() - (folder / MANIFEST).stat().st_mtime < 100
        with unused(folder) as free:
            assert not free
    with unused(folder) as free:
        assert free


def test_a_running_search_holds_its_files(tmp_path):
    with passing(tmp_path, ".search-") as work, unused(work) as free:
        assert not free
    assert not work.exists()


def test_what_is_removed_before_it_is_in_use_is_made_again(tmp_path, monkeypatch):
    """Between making and using, the lock is free for a moment."""
    original, removed = module._take, []

    def take(lock, kind):
        if kind == module.fcntl.LOCK_SH and is_whole(tmp_path / "db") and not removed:
            removed.append((tmp_path / "db" / "data").unlink())
        original(lock, kind)

    monkeypatch.setattr(module, "_take", take)
    assert is_whole(make_once(tmp_path / "db"))
    assert removed


def test_without_locks_it_is_made_all_the_same(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(module.fcntl, "flock", refuse)
    with made(tmp_path / "db", "db", write) as folder, unused(folder) as free:
        assert is_whole(folder)
        assert free


def test_the_lock_may_be_of_another_user(tmp_path, monkeypatch):
    """In a folder that a group shares, who finds a lock may take it but not change its rights."""
    tmp_path.chmod(0o2775)
    (tmp_path / ".db.lock").touch()
    original = Path.chmod

    def chmod(path, mode):
        if path.name == ".db.lock":
            raise PermissionError(1, "Operation not permitted")
        original(path, mode)

    monkeypatch.setattr(Path, "chmod", chmod)
    assert is_whole(make_once(tmp_path / "db"))


@pytest.fixture
def read_only(monkeypatch):
    """Return a function after which this user, who may be root, may not write in a folder."""
    original = os.access

    def protect(folder):
        def access(path, mode):
            return original(path, mode) and not (mode & os.W_OK and Path(path).is_relative_to(folder))

        monkeypatch.setattr(os, "access", access)

    return protect


def test_who_may_not_write_uses_what_is_there_and_makes_the_rest_for_himself(tmp_path, read_only, caplog):
    kept, own = tmp_path / "kept", tmp_path / "own"
    make_once(kept / "db")
    before = sorted(kept.rglob("*"))
    read_only(kept)
    assert place_of(Path("db"), kept, own) == make_once(kept / "db") == kept / "db"
    assert not caplog.messages
    assert place_of(Path("other"), kept, own) == own / "other"
    assert caplog.messages == [f"{kept}/other: you may not write here: what is made of this database serves one search"]
    with workspace(kept) as work:
        assert not work.is_relative_to(kept)
    with workspace(kept / "not" / "there") as work:
        assert not work.is_relative_to(kept)
    assert sorted(kept.rglob("*")) == before
