"""The pages in a real browser: drawn, quiet, offline, usable by keyboard, in every width and scheme."""

import base64
import importlib.util
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)
PATIENCE = 60  # seconds; a loaded machine starts the browser slowly

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here; on Debian: apt-get install chromium")


class Browser:
    """Speak Chromium's DevTools protocol through a pipe: JSON messages that end with a zero byte."""

    def __init__(self, profile):
        outgoing, incoming = os.pipe(), os.pipe()
        self._write, self._read = outgoing[1], incoming[0]
        command = f'exec "$0" "$@" 3<&{outgoing[0]} 4>&{incoming[1]}'
        flags = [*FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", command, BROWSER, *flags],
            pass_fds=(outgoing[0], incoming[1]),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        os.close(outgoing[0])
        os.close(incoming[1])
        self._numbers, self._buffer, self.events, self._session = itertools.count(1), b"", [], None
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self):
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0, until - time.monotonic()))
            chunk = os.read(self._read, 1 << 20) if ready else b""
            if not chunk:
                pytest.fail("the browser does not answer")
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def open(self, path):
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        until = time.monotonic() + PATIENCE
        while self.run("document.readyState") != "complete" and time.monotonic() < until:
            time.sleep(0.02)

    def run(self, script):
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def key(self, key):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def look(self, width, scheme="light", media="screen"):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def complaints(self):
        """Return console messages, exceptions and dialogs since the page was opened."""
        loud = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Page.javascriptDialogOpening")
        return [event for event in self.events if event.get("method") in loud]

    def requests(self):
        sent = [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith("data:")]

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=PATIENCE)
        os.close(self._write)
        os.close(self._read)


def _samples():
    path = Path(__file__).parents[1] / "pipeline" / "report" / "test_stage.py"
    spec = importlib.util.spec_from_file_location("report_samples", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    samples = _samples()
    folder = tmp_path_factory.mktemp("run")
    samples.make_target(folder, "alpha", "first", length=61, seed=1, numbering="17")
    samples.make_target(folder, "beta", samples.EVIL * 20, length=43, seed=2, relaxed=False)
    samples.make_target(folder, "gamma", "third", length=29, seed=3, upto="search")
    for target in (folder / "targets").iterdir():
        samples.target_page(folder, target)
    samples.run_page(folder)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.mark.parametrize(
    "page", ["report.html", *(f"targets/{name}/report.html" for name in ("alpha", "beta", "gamma"))]
)
def test_pages_are_quiet_and_ask_for_nothing(browser, run, page):
    browser.look(1180)
    browser.open(run / page)
    assert browser.complaints() == []
    assert browser.requests() == [(run / page).resolve().as_uri()]
    assert browser.run("document.querySelectorAll('img, iframe, form').length") == 0
    assert browser.run("document.body.scrollHeight") > 300


def test_every_plot_is_drawn(browser, run):
    browser.look(1180)
    browser.open(run / "targets/alpha/report.html")
    sizes = browser.run(
        "Object.fromEntries([...document.querySelectorAll('svg[data-figure]')].map(svg =>"
        " [svg.dataset.figure, [svg.getBoundingClientRect().width, svg.getBBox().width]]))"
    )
    assert len(sizes) == 11
    assert all(shown > 250 and drawn > 100 for shown, drawn in sizes.values()), sizes
    box = browser.run(
        "(() => { const b = document.querySelector('[data-figure=ribbon-front]').getBoundingClientRect();"
        " return {x: b.x, y: b.y + scrollY, width: b.width, height: b.height, scale: 1}; })()"
    )
    picture = base64.b64decode(browser.call("Page.captureScreenshot", clip=box, captureBeyondViewport=True)["data"])
    assert len(picture) > 8000  # a blank rectangle of that size takes less than 2 kB


@pytest.mark.parametrize("page", ["report.html", "targets/alpha/report.html", "targets/beta/report.html"])
@pytest.mark.parametrize("width", [360, 800, 1600])
def test_nothing_overflows_the_window(browser, run, page, width):
    browser.look(width)
    browser.open(run / page)
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_dark_and_print_have_their_own_paper(browser, run):
    browser.open(run / "targets/alpha/report.html")
    papers = []
    for scheme, media in (("light", "screen"), ("dark", "screen"), ("dark", "print")):
        browser.look(1000, scheme, media)
        papers.append(browser.run("getComputedStyle(document.body).backgroundColor"))
    assert papers == ["rgb(252, 252, 251)", "rgb(20, 23, 27)", "rgb(255, 255, 255)"]
    browser.look(1000)


def test_arrow_keys_read_the_residues(browser, run):
    browser.look(1180)
    browser.open(run / "targets/alpha/report.html")
    browser.run("document.querySelector('[data-figure=plddt]').parentElement.focus()")
    for key in ("ArrowRight", "ArrowRight", "PageDown", "ArrowLeft"):
        browser.key(key)
    data = json.loads(browser.run("document.getElementById('residues').textContent"))
    shown = browser.run("document.getElementById('readout').textContent")
    assert shown.startswith(f"{data['sequence'][10]} 27 ")
    assert f"place 11  ·  pLDDT {data['plddt'][10]:.1f}" in shown
    assert browser.run("[...document.querySelectorAll('.cursor')].every(line => line.style.display === '')")
    browser.key("Escape")
    assert browser.run("document.getElementById('readout').hidden")


def test_the_table_sorts_and_finds(browser, run):
    browser.look(1180)
    browser.open(run / "report.html")
    names = "[...document.querySelectorAll('#targets tbody tr:not([hidden]) th')].map(th => th.dataset.key)"
    assert browser.run(names) == ["gamma", "alpha", "beta"]
    press = "[...document.querySelectorAll('#targets th button')].find(b => b.textContent === 'Residues').click()"
    browser.run(press)
    assert browser.run(names) == ["gamma", "beta", "alpha"]
    browser.run(press)
    assert browser.run(names) == ["alpha", "beta", "gamma"]
    assert browser.run("document.querySelector('[aria-sort=descending]').textContent") == "Residues"
    browser.run(
        "(() => { const f = document.getElementById('filter'); f.value = 'BETA script';"
        " f.dispatchEvent(new Event('input')); })()"
    )
    assert browser.run(names) == ["beta"]
    assert browser.run("document.getElementById('found').textContent") == "1 of 3"


def test_links_lead_from_page_to_page(browser, run):
    browser.open(run / "report.html")
    links = browser.run("[...document.querySelectorAll('tbody a')].map(a => a.href)")
    assert links[1] == (run / "targets/alpha/report.html").resolve().as_uri()
    browser.open(run / "targets/alpha/report.html")
    assert browser.run("document.querySelector('.crumbs a').href") == (run / "report.html").resolve().as_uri()
