"""For the tests of downloads and weights: a web server that misbehaves as told, and a set of tiny parameter files."""

import contextlib
import dataclasses
import email.utils
import hashlib
import http.server
import re
import tarfile
import threading
import types

import numpy as np
import pytest

from pipeline.batch_record import outcome, write_batch
from pipeline.config import load_config, merged
from pipeline.download.fetch import Patience
from pipeline.errors import WeightsError
from pipeline.outcomes import groups_of
from pipeline.plan import plan_run
from pipeline.weights import command, records
from pipeline.weights.install import Fetch, fetch


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        web = self.server.web
        web.requests.append(self.headers)
        step = web.steps.pop(0) if len(web.steps) > 1 else web.steps[0]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            step(self)

    def start(self, code, length, **headers):
        web = self.server.web
        self.send_response(code)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if web.etag:
            self.send_header("ETag", web.etag)
        if web.modified:
            self.send_header("Last-Modified", email.utils.formatdate(web.modified, usegmt=True))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *_):
        pass


class Web:
    """Serves one content at every path; each request takes the next step, and the last step stays."""

    def __init__(self, content, *steps, etag='"1"', modified=0):
        self.content, self.steps, self.etag, self.modified = content, list(steps) or [serve], etag, modified
        self.requests, self.over = [], threading.Event()

    def __enter__(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.web, self.server.daemon_threads = self, True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def url(self, name="file.bin"):
        return f"http://127.0.0.1:{self.server.server_address[1]}/{name}"

    @property
    def ranges(self):
        """What each request asked for."""
        return [headers.get("Range") for headers in self.requests]


def _wanted(handler):
    """Return where the answer starts, by Range and If-Range."""
    web = handler.server.web
    match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    condition = handler.headers.get("If-Range", web.etag)
    return int(match[1]) if match and condition == web.etag else None


def part_of_body(handler, body, last=None):
    """Answer with the body from where it is asked for; its end may be left out."""
    start = _wanted(handler)
    if start is None:
        handler.start(200, len(body))
        start = 0
    elif start >= len(body):
        handler.start(416, 0, Content_Range=f"bytes */{len(body)}")
        return
    else:
        handler.start(206, len(body) - start, Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}")
    handler.wfile.write(body[start:last])
    if last is not None:
        handler.close_connection = True


def serve(handler):
    part_of_body(handler, handler.server.web.content)


def cut(at):
    """Drop the connection at a byte of the file."""
    return lambda handler: part_of_body(handler, handler.server.web.content, at)


def stall(at):
    """Stop at a byte of the file and hold the connection."""

    def step(handler):
        part_of_body(handler, handler.server.web.content, at)
        handler.wfile.flush()
        handler.server.web.over.wait(5)

    return step


def status(code, **headers):
    return lambda handler: handler.start(code, 0, **headers)


def redirect(to):
    return status(302, Location=to)


def promise(more):
    """Say that the file is longer (or shorter) than it is, and close the connection at its end."""

    def step(handler):
        body, start = handler.server.web.content, _wanted(handler) or 0
        total = len(body) + more
        if start:
            handler.start(206, total - start, Content_Range=f"bytes {start}-{total - 1}/{total}")
        else:
            handler.start(200, total)
        handler.wfile.write(body[start:])
        handler.close_connection = True

    return step


def without_ranges(handler):
    handler.start(200, len(handler.server.web.content))
    handler.wfile.write(handler.server.web.content)


def without_length(handler):
    handler.close_connection = True
    handler.start(200, None, Connection="close")
    handler.wfile.write(handler.server.web.content)


def chunked(handler, last=None):
    handler.start(200, None, Transfer_Encoding="chunked")
    for start in range(0, len(handler.server.web.content), 1000):
        if last is not None and start >= last:
            handler.close_connection = True
            return
        block = handler.server.web.content[start : start + 1000]
        handler.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
    handler.wfile.write(b"0\r\n\r\n")


@pytest.fixture
def misbehave(monkeypatch):
    """Return the server and its steps, which test modules cannot import."""
    monkeypatch.setenv("no_proxy", "*")
    return types.SimpleNamespace(
        Web=Web,
        serve=serve,
        cut=cut,
        stall=stall,
        status=status,
        redirect=redirect,
        promise=promise,
        without_ranges=without_ranges,
        without_length=without_length,
        chunked=chunked,
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return where the published parameters go; nothing of the user's own is read or written."""
    monkeypatch.setenv("FOLDLINE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "weights" / "alphafold2"


def archive_of(*members):
    """Return a tar archive: of pairs of name and content, and of headers whose content is not there."""
    parts = []
    for member in members:
        header, content = (
            (member, b"") if isinstance(member, tarfile.TarInfo) else (tarfile.TarInfo(member[0]), member[1])
        )
        header.size = len(content) or header.size
        parts += [header.tobuf(), content, bytes(-len(content) % 512)]
    archive = b"".join(parts) + bytes(1024)
    return archive + bytes(-len(archive) % 10_240)


class Tiny:
    """A set of two tiny files.

    Args:
        folder: Where they go.
    """

    files = {"LICENSE": b"CC BY", "params_model_1.npz": b"one" * 50, "params_model_1_ptm.npz": b"two" * 60}  # noqa: RUF012
    unused = "params_model_1_multimer_v3.npz"
    members = (*files.items(), (unused, b"complex"))
    archive = archive_of(*members)
    installed = ["LICENSE", "params_model_1.npz", "params_model_1_ptm.npz", "weights.json"]  # noqa: RUF012
    archive_of = staticmethod(archive_of)

    def __init__(self, folder):
        self.folder, self.checked = folder, []
        self.published = dataclasses.replace(
            records.ALPHAFOLD2,
            url="http://example.invalid/folder/params.tar",
            archive_bytes=len(self.archive),
            archive_sha256=self.sha256(self.archive),
            files={name: len(data) for name, data in self.files.items()},
            unused=(self.unused,),
        )

    @staticmethod
    def sha256(data):
        return hashlib.sha256(data).hexdigest()

    def check(self, path, name, where):
        """Stand in for the network: what begins with `bad` is no parameter file."""
        self.checked.append(name)
        if path.read_bytes().startswith(b"bad"):
            raise WeightsError("these are no parameters", where)

    def fetch(self, web, **how):
        patience = Patience(attempts=3, stall=0.2, pause=0.01)
        fetch(self.published, Fetch(web.url("mirror.tar"), patience=patience, **how), self.check)

    def here(self):
        return sorted(path.name for path in self.folder.iterdir() if path.name != ".lock")


@pytest.fixture
def tiny(folder, monkeypatch):
    """Return a set of tiny files in the place of the published one, and a check in the place of the network."""
    result = Tiny(folder)
    monkeypatch.setitem(records.SETS, result.published.name, result.published)
    monkeypatch.setattr(command, "read_as_network", result.check)
    return result


@pytest.fixture
def own(tmp_path):
    """Return a function that makes a user's own file, which looks like an npz."""

    def make(name, value):
        np.savez(tmp_path / name, value=np.full(3, value))
        return tmp_path / name

    return make


@pytest.fixture
def two_batches(tmp_path, monkeypatch):
    """The plan of a run of two batches, all of whose records say that all is well."""
    monkeypatch.chdir(tmp_path)
    sequence = "MKTAYIAKQRQISFVKSHFSRQ"
    (tmp_path / "in.fasta").write_text(f">a\n{sequence}\n>b\n{sequence * 2}\n>c\n{sequence * 2}W\n")
    over = {"input": {"fasta": ["in.fasta"]}, "outdir": str(tmp_path), "plan": {"compilation_cost": 0}}
    plan = plan_run(merged(load_config(), over))
    for group in groups_of(tmp_path, plan):
        write_batch(group.record, [outcome(name) for name in group.targets])
    return plan
