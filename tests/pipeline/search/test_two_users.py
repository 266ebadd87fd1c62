"""Two users share a cache of searches, a setgid folder of their group, whatever their umasks; else a line says why."""

import contextlib
import logging
import os
import shutil
import tempfile
import traceback
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.records import read_json
from pipeline.search.cache import Entry, Key, SearchCache

ONE, OTHER, GROUP = 61001, 61002, 61000  # numbers are enough: no accounts are needed
SEQUENCE = "MKLAWGDARTYMKTAYIAKQRQISFVKSHFSRQ"
DATABASE = f">x\n{SEQUENCE}\n>y\n{SEQUENCE[:20]}\n"
KEY, ENTRY = Key("own", "1", "0123abc", SEQUENCE, ".a3m"), Entry(f">query\n{SEQUENCE}\n", {})
PROGRAM, BY_PROGRAM = shutil.which("jackhmmer"), ("--engine", "jackhmmer-program")

needs_program = pytest.mark.skipif(not PROGRAM, reason="the program jackhmmer is not installed")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="taking the place of two users needs root")


def as_user(user, mask, function, *arguments):
    """Run a function in a process of another user; it may not raise."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([GROUP])
            os.setgid(user)
            os.setuid(user)
            os.umask(mask)
            function(*arguments)
            code = 0
        except BaseException:  # noqa: BLE001 - it is said, and the process ends
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture(scope="module")
def loaded():
    """Let this process load what a search needs: the users may not read this Python."""
    with folder_for_all() as folder, contextlib.chdir(folder):
        search(folder, folder / "cache", "loaded")
        if PROGRAM:
            search(folder, folder / "cache", "loaded_too", *BY_PROGRAM)


@pytest.fixture
def place(loaded):
    with folder_for_all() as folder:
        yield folder


@contextlib.contextmanager
def folder_for_all():
    """Give a folder where all may write; those of pytest are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "in.fasta").write_text(f">a\n{SEQUENCE}\n")
        (folder / "own.fasta").write_text(DATABASE)
        yield folder


@pytest.fixture
def shared(place):
    """A cache as an administrator makes it for a group."""
    folder = place / "cache"
    folder.mkdir()
    os.chown(folder, 0, GROUP)
    folder.chmod(0o2775)
    return folder


def search(place, cache, out, *more):
    os.chdir(place)
    words = ["search", "--fasta", "in.fasta", "--outputs", out, "--cache", str(cache), *more]
    assert cli.main([*words, "--databases", "own=own.fasta:1", "--no-use-templates"]) == 0


def cached(place, out):
    return [database["cached"] for database in read_json(place / out / "search.json", "foldline.search/1")["databases"]]


@pytest.mark.parametrize("mask", [0o002, 0o022, 0o077])
def test_what_one_searched_the_other_finds_and_may_replace(place, shared, mask):
    as_user(ONE, mask, search, place, shared, "one")
    as_user(OTHER, mask, search, place, shared, "other")
    assert (cached(place, "one"), cached(place, "other")) == ([False], [True])
    inside = [path for path in shared.rglob("*") if not path.is_symlink()]
    assert {path.stat().st_gid for path in inside} == {GROUP}
    assert all(path.stat().st_mode & 0o060 == 0o060 for path in inside)
    (entry,) = shared.rglob("*.a3m")
    as_user(OTHER, mask, entry.write_text, "damaged")
    as_user(OTHER, mask, search, place, shared, "again")
    assert cached(place, "again") == [False]
    as_user(ONE, mask, search, place, shared, "one_again")
    assert cached(place, "one_again") == [True]


def another_target(place):
    (place / "in.fasta").unlink()
    (place / "in.fasta").write_text(f">a\n{SEQUENCE[::-1]}\n")


@needs_program
def test_one_makes_again_what_the_other_made_of_a_database(place, shared):
    as_user(ONE, 0o022, search, place, shared, "one", *BY_PROGRAM)
    (fasta,) = shared.rglob("jackhmmer.fasta")
    whole = fasta.read_text()
    fasta.write_text(whole[:-5])
    another_target(place)
    as_user(OTHER, 0o022, search, place, shared, "other", *BY_PROGRAM)
    assert fasta.read_text() == whole
    assert fasta.stat().st_uid == OTHER


@needs_program
def test_who_may_only_read_uses_what_the_other_made_of_a_database(place):
    cache = place / "cache"
    as_user(ONE, 0o022, search, place, cache, "one", *BY_PROGRAM)
    before = sorted(cache.rglob("*"))
    another_target(place)
    as_user(OTHER, 0o022, search, place, cache, "other", *BY_PROGRAM)
    shutil.rmtree(cache / "indices")
    as_user(OTHER, 0o022, search, place, cache, "another", *BY_PROGRAM)
    assert cached(place, "other") == cached(place, "another") == [False]
    assert [path for path in before if "indices" not in path.parts] == sorted(cache.rglob("*"))


def test_one_waits_for_what_the_other_claims(shared):
    reader, writer = os.pipe()
    taken, told = os.pipe()

    def claim():
        with SearchCache(shared).claims() as claims:
            os.write(told, b"%d" % claims.take(KEY))
            os.read(reader, 1)

    def refused():
        with SearchCache(shared).claims() as claims:
            assert os.read(taken, 1) == b"1"
            assert not claims.take(KEY)
            os.write(writer, b"x")
            claims.wait(KEY)
            assert claims.take(KEY)

    first = os.fork()
    if first == 0:
        as_user(ONE, 0o022, claim)
        os._exit(0)
    as_user(OTHER, 0o022, refused)
    assert os.waitpid(first, 0)[1] == 0


def test_without_rights_one_line_says_what_is_missing(place, caplog):
    """The other's folder is not shared: what it holds is used, and what is searched is not kept."""
    cache = place / "cache"
    as_user(ONE, 0o022, search, place, cache, "one")

    def other():
        with caplog.at_level(logging.WARNING):
            search(place, cache, "other")
        assert cached(place, "other") == [True]
        (line,) = caplog.messages
        assert line.startswith(f"{cache}: you may not write in this cache of searches: what it holds is used")
        assert "let its owner run: chgrp -R GROUP DIR; chmod -R g+rwX DIR; find DIR -type d -exec chmod g+s" in line

        caplog.clear()
        another_target(place)
        search(place, cache, "another")
        assert cached(place, "another") == [False]
        assert [line.partition(": ")[0] for line in caplog.messages if str(cache) in line] == [str(cache)]

    as_user(OTHER, 0o022, other)


def test_what_cannot_be_read_is_searched_again(place, caplog):
    cache = place / "cache"
    as_user(ONE, 0o022, SearchCache(cache).put, KEY, ENTRY)
    SearchCache(cache).path(KEY).parent.chmod(0o700)

    def other():
        assert SearchCache(cache).get(KEY) is None
        assert "the cached search of another user cannot be read; searching again" in caplog.text

    as_user(OTHER, 0o022, other)
