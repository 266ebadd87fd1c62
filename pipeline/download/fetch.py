"""Fetch one file over HTTP: gone on with where it stopped, checked, and under its final name only when it is whole.

What has come lies in `NAME.part`; `NAME.part.json` says of which version of which file it is the beginning, so that a
later process can go on, and a file that changed meanwhile is fetched anew instead of being spliced.
"""

import contextlib
import dataclasses
import http.client
import logging
import re
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.download.part import Part, Version
from pipeline.errors import DownloadError

_BLOCK = 1 << 20
_PROGRESS_BYTES = 1 << 20  # what an attempt must bring to count as one that got on
_SCHEMES = ("http", "https")
_BUSY = (408, 425, 429, 500, 502, 503, 504)  # answers that may be another one in a moment
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_NETWORK_ERRORS = (OSError, http.client.HTTPException)  # what goes wrong between here and the server

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Expected:
    """What is known of a file before it is fetched.

    Args:
        size: Its size, bytes; None where that is not known.
        sha256: Its checksum in lower case; empty where it is not known.
        md5: The same for a publisher who gives only this one, which tells damage, not malice.
    """

    size: int | None = None
    sha256: str = ""
    md5: str = ""

    @property
    def has_checksum(self) -> bool:
        """Whether the whole file can be told from another one."""
        return bool(self.sha256 or self.md5)


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long to try.

    Args:
        attempts: Attempts in a row that bring nothing new.
        stall: Time without a byte after which a connection is given up, s.
        pause: Time before the second attempt, s; it doubles with each further one.
        longest_pause: The most that it grows to, s.
        report: Time between two lines about the progress, s.
    """

    attempts: int = 8
    stall: float = 60.0
    pause: float = 1.0
    longest_pause: float = 60.0
    report: float = 10.0


@dataclasses.dataclass(frozen=True)
class Received:
    """A file that came whole: its size in bytes and its checksum."""

    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class _Job:
    """One download.

    Args:
        url: From where.
        path: Where to.
        expected: What is known before.
        patience: How long to try.
        room: Bytes that must stay free beside the file.
    """

    url: str
    path: Path
    expected: Expected
    patience: Patience
    room: int


class _AttemptError(Exception):
    """An attempt that ended early; another may do better."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def download(
    url: str, path: Path, expected: Expected | None = None, *, patience: Patience | None = None, room: int = 0
) -> Received:
    """Fetch a file, or the rest of it, to `path`.

    Args:
        url: Its address, http or https; proxies are those of the environment.
        path: Its final name; its folder is made.
        expected: What is known of it.
        patience: How long to try.
        room: Bytes that must stay free beside it, for what will be made of it.

    Raises:
        DownloadError: It is not there, does not come, is not what is expected, or does not fit on the disk.
    """
    check_url(url)
    job = _Job(url, path, expected or Expected(), patience or Patience(), room)
    path.parent.mkdir(parents=True, exist_ok=True)
    with Part.opened(path, url) as part:
        try:
            _fill(job, part)
            _check(job, part)
        except BaseException:
            part.keep_or_discard()
            raise
        part.finish()
        return Received(part.size, part.sha256)


def check_url(url: str, context: str = "") -> None:
    """Refuse an address that is not http or https.

    Raises:
        DownloadError: It is something else.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port  # which is looked at only when it is asked for
    except ValueError as error:
        raise DownloadError(f"this is no address ({error}){context}", url) from error
    if parts.scheme not in _SCHEMES or not host:
        raise DownloadError(f"expected an address that starts with http:// or https://{context}", url)


def in_words(size: float) -> str:
    """Return a number of bytes as a short text."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"


def _fill(job: _Job, part: Part) -> None:
    """Try until the part is the whole file."""
    patience, failures, furthest = job.patience, 0, part.size
    while not part.is_whole:
        try:
            _attempt(job, part)
        except _AttemptError as trouble:
            if part.size >= furthest + _PROGRESS_BYTES:
                furthest, failures = part.size, 0
            failures += 1
            if failures >= patience.attempts:
                mend = "run the command again to go on, or name another server"
                raise DownloadError(f"{trouble} ({failures} attempts)", job.url, mend) from trouble
            wait = min(max(patience.pause * 2 ** (failures - 1), trouble.wait), patience.longest_pause)
            log.warning("%s: %s; next attempt in %g s", job.url, trouble, wait)
            time.sleep(wait)


def _attempt(job: _Job, part: Part) -> None:
    """Get the rest over one connection.

    Raises:
        _AttemptError: The connection ended before the file did.
        DownloadError: What comes is not the file.
    """
    if part.size and not (part.version.validator or job.expected.has_checksum):
        part.restart(Version())  # nothing would tell whether the rest belongs to it
    with _answer(job, part) as response:
        total = _prepare(job, part, response)
        _check_room(job, (total or 0) - part.size)
        progress = _Progress(job, total, part.size)
        for block in _blocks(job, response):
            part.append(block)
            progress.tick(part.size)
            if total is not None and part.size > total:
                part.restart(Version())
                raise DownloadError(f"expected {total} bytes, the server sends more", job.url)
    if total is not None and part.size < total:
        raise _AttemptError(f"the connection ended after {part.size} of {total} bytes")
    part.complete()


def _prepare(job: _Job, part: Part, response: http.client.HTTPResponse) -> int | None:
    """Bring the part to where the answer goes on, and return the size of the whole file as far as it is known."""
    headers, going_on = response.headers, response.status == http.client.PARTIAL_CONTENT
    start, total = _range(job, headers) if going_on else (0, response.length)
    version = Version(headers.get("ETag", ""), headers.get("Last-Modified", ""), total)
    if response.status not in (http.client.OK, http.client.PARTIAL_CONTENT):
        raise DownloadError(f"expected the file, the server answers {response.status}", job.url)
    if headers.get("Content-Encoding", "identity") != "identity":
        raise DownloadError(f"expected the file as it is, it comes as {headers['Content-Encoding']}", job.url)
    promised = _promised(job, response, total)  # before anything is given up
    if going_on and not (start == part.size and part.may_go_on_with(version)):
        part.restart(Version())
        raise _AttemptError("the file has changed on the server")
    if not going_on and part.size and part.is_conditional and version.validator and version == part.version:
        part.is_conditional = False
        raise _AttemptError("the server sends all of the same file again; asking without a condition")
    if not going_on or not part.size:
        if part.size:
            log.warning("%s: the server starts anew, or the file has changed", job.url)
        part.restart(version)
    return promised


def _promised(job: _Job, response: http.client.HTTPResponse, total: int | None) -> int | None:
    """Return the size of the file from what the server says and what is known."""
    expected = job.expected.size
    if total is not None and expected is not None and total != expected:
        raise DownloadError(f"expected a file of {expected} bytes, the server offers {total}", job.url)
    if total is None and expected is None and not (job.expected.has_checksum or response.chunked):
        raise DownloadError("the server does not say how long the file is", job.url, "name another server")
    return expected if total is None else total


def _range(job: _Job, headers: Message) -> tuple[int, int | None]:
    """Return where a partial answer starts and the size of the whole."""
    match = _RANGE.fullmatch(headers.get("Content-Range", ""))
    if not match:
        raise DownloadError(f"expected a range, the server says {headers.get('Content-Range', 'nothing')!r}", job.url)
    return int(match[1]), None if match[2] == "*" else int(match[2])


@contextlib.contextmanager
def _answer(job: _Job, part: Part) -> Iterator[http.client.HTTPResponse]:
    """Ask for the rest of the file; give the response."""
    headers = {"User-Agent": f"foldline/{__version__}", "Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if part.version.validator and part.is_conditional:
            headers["If-Range"] = part.version.validator
    try:
        request = urllib.request.Request(job.url, headers=headers)  # noqa: S310 - the scheme was checked
        response = _opener().open(request, timeout=job.patience.stall)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(job, part, error) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise DownloadError(f"the server is not who it says ({error.reason.verify_message})", job.url) from error
        raise _AttemptError(f"the server cannot be reached ({_reason(error.reason)})") from error
    except _NETWORK_ERRORS as error:
        raise _AttemptError(f"the server does not answer ({_reason(error)})") from error
    with response:
        yield response


def _refusal(job: _Job, part: Part, error: urllib.error.HTTPError) -> Exception:
    """Return what an answer other than the file means."""
    if error.code in _BUSY:
        after = error.headers.get("Retry-After", "")
        return _AttemptError(
            f"the server answers {error.code} ({error.reason})", float(after) if after.isdigit() else 0.0
        )
    if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.restart(Version())
        return _AttemptError("the server has no more of the file than what came, which is not all")
    mend = "check the address" if error.code == http.client.NOT_FOUND else ""
    return DownloadError(f"the server answers {error.code} ({error.reason})", job.url, mend)


def _blocks(job: _Job, response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Give what comes, as it comes."""
    while True:
        try:
            block = response.read1(_BLOCK)
        except TimeoutError as error:
            raise _AttemptError(f"nothing came for {job.patience.stall:g} s") from error
        except _NETWORK_ERRORS as error:
            raise _AttemptError(f"the connection broke ({_reason(error)})") from error
        if not block:
            return
        yield block


def _check_room(job: _Job, size: int) -> None:
    free = shutil.disk_usage(job.path.parent).free
    needed = max(size, 0) + job.room
    if free < needed:
        beside = f", {in_words(job.room)} of it for what is made of the file" if job.room else ""
        problem = f"expected {in_words(needed)} of free disk{beside}; there are {in_words(free)}"
        raise DownloadError(problem, str(job.path.parent), "make room or choose another folder")


def _check(job: _Job, part: Part) -> None:
    """Compare the whole file with what is known of it; what is not it is removed."""
    expected = job.expected
    if not part.size:
        problem = "the server sent an empty file"
    elif expected.size not in (None, part.size):
        problem = f"expected {expected.size} bytes, {part.size} came"
    elif expected.sha256 not in ("", part.sha256):
        problem = f"expected sha256 {expected.sha256}, found {part.sha256}"
    elif expected.md5 not in ("", part.md5):
        problem = f"expected md5 {expected.md5}, found {part.md5}"
    else:
        return
    part.discard()
    raise DownloadError(problem, job.url, "the server has another file: check the address and the checksum")


class _Progress:
    """Lines about the progress, one now and then."""

    def __init__(self, job: _Job, total: int | None, start: int) -> None:
        self.job, self.total, self.start = job, total, start
        self.began = self.last = time.monotonic()
        size = "a file of unknown size" if total is None else in_words(total)
        here = f", {in_words(start)} of it are here already" if start else ""
        log.info("%s: fetching %s from %s%s", job.path.name, size, job.url, here)

    def tick(self, size: int) -> None:
        """Say how far it is, if it was not said just now."""
        now = time.monotonic()
        if now - self.last < self.job.patience.report:
            return
        self.last, rate = now, (size - self.start) / (now - self.began)
        text = f"{in_words(size)}, {in_words(rate)}/s"
        if self.total:
            left = (self.total - size) / max(rate, 1.0) / 60
            text = f"{100 * size / self.total:.0f} %, {in_words(size)} of {in_words(self.total)}"
            text += f", {in_words(rate)}/s, {left:.0f} min left"
        log.info("%s: %s", self.job.path.name, text)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow a redirect only to where a download may start."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        """Check the target, then do as usual."""
        target = headers.get("Location", "")
        with contextlib.suppress(ValueError):  # which says the check, of the target alone
            target = urllib.parse.urljoin(req.full_url, target)
        check_url(target, f"; {req.full_url} redirects there")
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _opener() -> urllib.request.OpenerDirector:
    """Return what opens http and https, by the proxies of the environment, and nothing else."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.lower() or type(error).__name__
