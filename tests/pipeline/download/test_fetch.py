"""Downloads from a server that cuts, lies and stalls."""

import collections
import functools
import hashlib
import logging
import os
import shutil

import numpy as np
import pytest

from pipeline.download import fetch as module
from pipeline.download.fetch import Expected, Patience, Received, check_url, download, in_words
from pipeline.download.part import Part, Version
from pipeline.errors import DownloadError

CONTENT = np.random.default_rng(7).bytes(10_007)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = Patience(attempts=3, stall=0.2, pause=0.01, longest_pause=0.05)
Usage = collections.namedtuple("Usage", "total used free")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "file.bin"


def get(web, path, expected=None, **options):
    return download(web.url(), path, expected, **({"patience": QUICK} | options))


def names(path):
    return sorted(p.name for p in path.parent.iterdir())


def failing(web, path, message, expected=None, **options):
    """Expect an error, and nothing under the final name."""
    with pytest.raises(DownloadError, match=message):
        get(web, path, expected, **options)
    assert not path.exists()


def test_a_good_server(misbehave, path):
    with misbehave.Web(CONTENT) as web:
        assert get(web, path, Expected(len(CONTENT), SHA256)) == Received(len(CONTENT), SHA256)
    assert path.read_bytes() == CONTENT
    assert names(path) == ["file.bin"]
    assert web.requests[0]["Accept-Encoding"] == "identity"
    assert web.ranges == [None]


def test_a_publisher_with_md5_only(misbehave, path):
    md5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    with misbehave.Web(CONTENT, misbehave.cut(4000), misbehave.serve) as web:
        failing(web, path, f"expected md5 {'0' * 32}, found {md5}", Expected(md5="0" * 32))
        assert names(path) == []
        assert get(web, path, Expected(md5=md5)) == Received(len(CONTENT), SHA256)


def test_what_came_is_kept_and_gone_on_with(misbehave, path):
    with misbehave.Web(CONTENT, misbehave.cut(4000), misbehave.cut(9000), misbehave.serve) as web:
        assert get(web, path) == Received(len(CONTENT), SHA256)
    assert path.read_bytes() == CONTENT
    assert web.ranges == [None, "bytes=4000-", "bytes=9000-"]
    assert [headers.get("If-Range") for headers in web.requests] == [None, '"1"', '"1"']


def test_a_later_process_goes_on(misbehave, path):
    with misbehave.Web(CONTENT, misbehave.cut(4000), misbehave.status(503)) as web:
        failing(web, path, "503", patience=Patience(attempts=2, pause=0.01))
        assert names(path) == ["file.bin.part", "file.bin.part.json"]
        web.steps = [misbehave.serve]
        assert get(web, path) == Received(len(CONTENT), SHA256)
    assert web.ranges[-1] == "bytes=4000-"
    assert names(path) == ["file.bin"]


def test_a_process_that_ended_before_renaming(misbehave, path):
    with misbehave.Web(CONTENT) as web:
        path.parent.mkdir()
        with Part.opened(path, web.url()) as part:
            part.restart(Version('"1"', "", len(CONTENT)))
            part.append(CONTENT)
        assert get(web, path).sha256 == SHA256
    assert web.requests == []


def test_progress_resets_the_patience(misbehave, path, monkeypatch):
    monkeypatch.setattr(module, "_PROGRESS_BYTES", 500)
    cuts = [misbehave.cut(at) for at in range(1000, 10_000, 1000)]
    with misbehave.Web(CONTENT, *cuts, misbehave.serve) as web:
        assert get(web, path).sha256 == SHA256
    assert len(web.requests) == 10


def test_no_progress_ends_it(misbehave, path):
    with misbehave.Web(CONTENT, misbehave.cut(4000)) as web:
        failing(web, path, r"the connection ended after 4000 of 10007 bytes \(3 attempts\)")
    assert path.with_name("file.bin.part").stat().st_size == 4000


def test_a_longer_promise(misbehave, path):
    with misbehave.Web(CONTENT, misbehave.promise(100)) as web:
        failing(web, path, "the connection ended after 10007 of 10107 bytes")


def test_a_shorter_promise_is_noticed_where_the_size_or_the_sum_is_known(misbehave, path):
    with misbehave.Web(CONTENT, misbehave.promise(-100)) as web:
        failing(web, path, "expected a file of 10007 bytes, the server offers 9907", Expected(len(CONTENT)))
        failing(web, path, f"expected sha256 {SHA256}, found", Expected(sha256=SHA256))
    assert names(path) == []


def test_a_server_that_stalls(misbehave, path):
    with misbehave.Web(CONTENT, misbehave.stall(3000), misbehave.serve) as web:
        assert get(web, path).sha256 == SHA256
        assert web.ranges == [None, "bytes=3000-"]
        web.steps = [misbehave.stall(0)]
        path.unlink()
        failing(web, path, r"nothing came for 0\.2 s \(3 attempts\)")
    assert names(path) == []


def test_a_server_that_does_not_answer(misbehave, path):
    with misbehave.Web(CONTENT, lambda handler: handler.server.web.over.wait(5)) as web:
        failing(web, path, "it did not answer in time")


def test_nobody_there(misbehave, path):
    with misbehave.Web(CONTENT) as web:
        pass
    failing(web, path, "the server cannot be reached .connection refused")


def test_not_found_is_not_tried_again(misbehave, path):
    with misbehave.Web(CONTENT, misbehave.status(404)) as web:
        failing(web, path, r"file\.bin: the server answers 404 \(Not Found\); check the address")
    assert len(web.requests) == 1
    assert names(path) == []


@pytest.mark.parametrize("code", [429, 500, 503])
def test_busy_then_good(misbehave, path, code):
    with misbehave.Web(CONTENT, misbehave.status(code), misbehave.status(code), misbehave.serve) as web:
        assert get(web, path).sha256 == SHA256
    assert len(web.requests) == 3


def test_the_server_says_how_long_to_wait(misbehave, path, monkeypatch):
    waits = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    with misbehave.Web(CONTENT, misbehave.status(503, Retry_After="7"), misbehave.serve) as web:
        get(web, path, patience=Patience(pause=1.0))
    assert waits == [7.0]


def test_pauses_grow_up_to_a_limit(misbehave, path, monkeypatch):
    waits = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    with misbehave.Web(CONTENT, misbehave.status(500)) as web:
        failing(web, path, "500", patience=Patience(attempts=6, pause=1.0, longest_pause=5.0))
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_server_that_ignores_ranges(misbehave, path):
    with misbehave.Web(CONTENT, misbehave.cut(4000), misbehave.without_ranges) as web:
        assert get(web, path).sha256 == SHA256
    assert path.read_bytes() == CONTENT


def test_a_server_that_does_not_know_the_condition(misbehave, path):
    def step(handler):
        if "If-Range" in handler.headers:
            misbehave.without_ranges(handler)
        else:
            misbehave.serve(handler)

    with misbehave.Web(CONTENT, misbehave.cut(4000), step) as web:
        assert get(web, path).sha256 == SHA256
    assert web.ranges == [None, "bytes=4000-", "bytes=4000-"]
    assert web.requests[-1].get("If-Range") is None


def test_without_the_condition_the_version_must_be_named(misbehave, path):
    def step(handler):
        if "If-Range" in handler.headers:
            misbehave.without_ranges(handler)
        elif "Range" in handler.headers:
            handler.server.web.etag = ""
            handler.start(206, 6007, Content_Range="bytes 4000-10006/10007")
        else:
            misbehave.serve(handler)

    with misbehave.Web(CONTENT, misbehave.cut(4000), step) as web:
        assert get(web, path, patience=Patience(attempts=4, pause=0.01)).sha256 == SHA256
    assert web.ranges == [None, "bytes=4000-", "bytes=4000-", None]


def test_a_page_in_the_place_of_the_file_does_not_cost_what_came(misbehave, path):
    def sign_in(handler):
        handler.start(200, 10)
        handler.wfile.write(b"<html>    ")

    with misbehave.Web(CONTENT, misbehave.cut(4000), sign_in) as web:
        failing(web, path, "expected a file of 10007 bytes, the server offers 10", Expected(size=len(CONTENT)))
        assert path.with_name("file.bin.part").stat().st_size == 4000
        web.steps = [misbehave.serve]
        assert get(web, path, Expected(size=len(CONTENT))).sha256 == SHA256
    assert web.ranges[-1] == "bytes=4000-"


def test_a_file_that_changes_is_not_spliced(misbehave, path):
    def change(handler):
        handler.server.web.etag, handler.server.web.content = '"2"', CONTENT[::-1]
        misbehave.serve(handler)

    with misbehave.Web(CONTENT, misbehave.cut(4000), change) as web:
        get(web, path)
    assert path.read_bytes() == CONTENT[::-1]


def test_a_change_is_noticed_where_the_server_ignores_the_condition(misbehave, path):
    def change(handler):
        handler.server.web.etag, handler.server.web.content = '"2"', CONTENT[::-1]
        del handler.headers["If-Range"]
        misbehave.serve(handler)

    with misbehave.Web(CONTENT, misbehave.cut(4000), change) as web:
        get(web, path)
    assert path.read_bytes() == CONTENT[::-1]
    assert web.ranges == [None, "bytes=4000-", None]


def test_a_file_that_changes_for_ever(misbehave, path):
    def change(handler):
        handler.server.web.etag = f'"{len(handler.server.web.requests)}"'
        misbehave.cut(4000)(handler)

    with misbehave.Web(CONTENT, change) as web:
        failing(web, path, "3 attempts")


def test_without_a_validator_only_a_known_sum_lets_it_go_on(misbehave, path):
    with misbehave.Web(CONTENT, misbehave.cut(4000), misbehave.serve, etag="") as web:
        get(web, path)
    assert web.ranges == [None, None]
    with misbehave.Web(CONTENT, misbehave.cut(4000), misbehave.serve, etag="") as web:
        get(web, path, Expected(sha256=SHA256))
    assert web.ranges == [None, "bytes=4000-"]


def test_the_date_serves_where_the_tag_is_weak(misbehave, path):
    with misbehave.Web(CONTENT, misbehave.cut(4000), misbehave.serve, etag='W/"1"', modified=1e9) as web:
        get(web, path)
    assert web.requests[1]["If-Range"] == "Sun, 09 Sep 2001 01:46:40 GMT"
    assert path.read_bytes() == CONTENT


def test_a_part_of_another_address_is_not_gone_on_with(misbehave, path):
    with misbehave.Web(CONTENT, misbehave.cut(4000), misbehave.status(404), misbehave.serve) as web:
        failing(web, path, "404")
        download(web.url("other"), path, patience=QUICK)
    assert web.ranges == [None, "bytes=4000-", None]


def test_a_damaged_note_about_the_part(misbehave, path):
    with misbehave.Web(CONTENT, misbehave.cut(4000), misbehave.status(404), misbehave.serve) as web:
        failing(web, path, "404")
        path.with_name("file.bin.part.json").write_text('{"schema": "foldline.download/1"}')
        get(web, path)
    assert web.ranges[-1] is None
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://example.org/x", "data:,x"])
def test_redirects_stay_on_the_web(misbehave, path, target):
    with misbehave.Web(CONTENT, misbehave.redirect(target)) as web:
        failing(web, path, f"^{target}: expected an address that starts with http:// or https://; .* redirects there")


@pytest.mark.parametrize("target", ["http://[::1", "//[::1", "http://example.org:port/"])
def test_redirects_to_no_address(misbehave, path, target):
    with misbehave.Web(CONTENT, misbehave.redirect(target)) as web:
        failing(web, path, r"this is no address \(.*\); .* redirects there")


def test_redirects_are_followed(misbehave, path):
    with misbehave.Web(CONTENT, misbehave.redirect("/elsewhere"), misbehave.serve) as web:
        assert get(web, path).sha256 == SHA256


def test_redirects_that_go_round(misbehave, path):
    with misbehave.Web(CONTENT, misbehave.redirect("/file.bin")) as web:
        failing(web, path, "the server answers 302")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/x", "example.org/x", "http:///x", ""])
def test_only_web_addresses(url, path):
    with pytest.raises(DownloadError, match="expected an address that starts with http"):
        download(url, path)
    assert not path.parent.exists()


@pytest.mark.parametrize("url", ["http://[::1", "http://[x]/", "https://example.org:port/x", "http://a:99999/"])
def test_no_address_at_all(url, path):
    with pytest.raises(DownloadError, match=r"this is no address \(.+\)$") as caught:
        download(url, path)
    assert caught.value.where == url
    assert not path.parent.exists()


def test_an_empty_file(misbehave, path):
    with misbehave.Web(b"") as web:
        failing(web, path, "the server sent an empty file")
    assert names(path) == []


def test_a_wrong_sum(misbehave, path):
    with misbehave.Web(CONTENT) as web:
        failing(web, path, f"expected sha256 {'0' * 64}, found {SHA256}", Expected(sha256="0" * 64))
    assert names(path) == []


def test_chunks_are_whole_or_broken(misbehave, path):
    with misbehave.Web(CONTENT, misbehave.chunked) as web:
        assert get(web, path).sha256 == SHA256
        path.unlink()
        web.steps = [functools.partial(misbehave.chunked, last=5000)]
        failing(web, path, "the connection broke")


def test_an_answer_of_unknown_length(misbehave, path):
    with misbehave.Web(CONTENT, misbehave.without_length) as web:
        failing(web, path, "the server does not say how long the file is")
        assert get(web, path, Expected(sha256=SHA256)).sha256 == SHA256
        assert get(web, path, Expected(size=len(CONTENT))).sha256 == SHA256
        path.unlink()
        failing(web, path, "expected 100 bytes, the server sends more", Expected(size=100))


def test_a_range_that_makes_no_sense(misbehave, path):
    def step(handler):
        handler.start(206, 5, Content_Range="lines 1-5")
        handler.wfile.write(b"12345")

    with misbehave.Web(CONTENT, step) as web:
        failing(web, path, "expected a range, the server says 'lines 1-5'")


def test_a_range_that_was_not_asked_for(misbehave, path):
    def step(handler):
        handler.start(206, 7, Content_Range="bytes 3-9/10007")
        handler.wfile.write(CONTENT[3:10])

    with misbehave.Web(CONTENT, step) as web:
        failing(web, path, "the file has changed on the server")


def test_more_than_the_server_has(misbehave, path):
    with misbehave.Web(CONTENT, misbehave.cut(4000), misbehave.status(416), misbehave.serve) as web:
        assert get(web, path).sha256 == SHA256
    assert web.ranges == [None, "bytes=4000-", None]


def test_other_answers(misbehave, path):
    with misbehave.Web(CONTENT, misbehave.status(204)) as web:
        failing(web, path, "expected the file, the server answers 204")
        web.steps = [lambda handler: handler.start(200, 10, Content_Encoding="gzip")]
        failing(web, path, "it comes as gzip")


def test_free_disk_is_looked_at_first(misbehave, path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 15_000))
    with misbehave.Web(CONTENT) as web:
        failing(web, path, r"expected 20\.0 kB of free disk, 10\.0 kB of it for what is made", room=10_000)
        assert names(path) == []
        get(web, path, room=4000)


def test_a_disk_that_fills_up(misbehave, path, monkeypatch):
    full = OSError(28, "No space left on device")

    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, block):
            if self.file.tell() > 3000:
                raise full
            return self.file.write(block[:2000])

        def __getattr__(self, name):
            return getattr(self.file, name)

    original = Part.__init__
    monkeypatch.setattr(Part, "__init__", lambda self, path, url, file: original(self, path, url, Full(file)))
    with misbehave.Web(CONTENT) as web:
        failing(web, path, "the disk is full; make room and run the command again")
    assert path.with_name("file.bin.part").stat().st_size == 4000


def test_two_processes(misbehave, path):
    with misbehave.Web(CONTENT) as web:
        path.parent.mkdir()
        with Part.opened(path, web.url()):
            failing(web, path, "another process is fetching this file")


def test_a_file_system_without_locks(misbehave, path, monkeypatch, caplog):
    def flock(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    with misbehave.Web(CONTENT) as web:
        assert get(web, path).sha256 == SHA256
    assert "this file system has no locks (function not implemented)" in caplog.text


def test_a_part_that_another_process_finished_meanwhile(misbehave, path, monkeypatch):
    """Its name is gone while its file is still open here."""
    real, seen = os.path.samestat, []

    def other_process(found, here):
        seen.append(found)
        return len(seen) > 1 and real(found, here)

    monkeypatch.setattr(os.path, "samestat", other_process)
    with misbehave.Web(CONTENT) as web:
        assert get(web, path).sha256 == SHA256
    assert len(seen) == 2


def test_progress_is_told_now_and_then(misbehave, path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "pipeline")
    monkeypatch.setattr(module, "_BLOCK", 1000)
    with misbehave.Web(CONTENT) as web:
        get(web, path, patience=Patience(report=0.0))
        lines = [line for line in caplog.messages if "%" in line]
        assert "file.bin: 10 %, 1.0 kB of 10.0 kB, " in lines[0]
        caplog.clear()
        get(web, path)
    assert caplog.messages == [f"file.bin: fetching 10.0 kB from {web.url()}"]


def test_sizes_in_words():
    assert [in_words(n) for n in (7, 18_657, 373_103_340, 5_587_968_000)] == [
        "7 bytes",
        "18.7 kB",
        "373.1 MB",
        "5.59 GB",
    ]


def test_check_url():
    check_url("https://example.org/x")
