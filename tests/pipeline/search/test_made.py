"""What is kept of a database: whole or not there, made once whoever asks."""

import multiprocessing

import pytest

from pipeline.errors import LibraryError
from pipeline.search import made as module
from pipeline.search.cache_items import INDICES, items, problem
from pipeline.search.made import made

ASKING = 5


def ask(folder, log, ready):
    def make(work):
        with log.open("a") as file:
            file.write("made\n")
        (work / "data").write_bytes(bytes(1000))

    ready.wait()
    made(folder, make)


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
        made(tmp_path / "db", fail)
    assert [path.name for path in tmp_path.iterdir()] == [".db.lock"]


def test_what_cannot_be_removed_is_said(tmp_path, monkeypatch):
    (tmp_path / "db").mkdir()
    monkeypatch.setattr(module.shutil, "rmtree", lambda _: (_ for _ in ()).throw(PermissionError(13, "Denied")))
    with pytest.raises(LibraryError, match=r"db: .* cannot be removed \(denied\); remove this folder"):
        made(tmp_path / "db", lambda _: None)


def test_the_cache_tells_damage(tmp_path):
    folder = made(tmp_path / INDICES / "mmseqs" / "db", lambda work: (work / "data").write_bytes(bytes(9)))
    (item,) = items(tmp_path)
    assert problem(item) == ""
    (folder / "data").write_bytes(bytes(8))
    assert problem(item) == "damaged: files have other sizes than they were made in"
