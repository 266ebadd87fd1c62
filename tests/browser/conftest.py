"""A browser, and the pages that it opens: Chromium, driven by its DevTools protocol."""

import dataclasses
import importlib.util
import itertools
import json
import os
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.protein import read_structure
from pipeline.report.evidence import read_evidence
from pipeline.report.render import run_page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-quic", "--hide-scrollbars", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)
WITHOUT_WEBGL = ("--disable-gpu", "--disable-3d-apis")
WITH_WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
PATIENCE = 60  # seconds; a loaded machine starts the browser slowly


class Browser:
    """Speak Chromium's DevTools protocol through a pipe: JSON messages that end with a zero byte."""

    def __init__(self, profile, flags):
        outgoing, incoming = os.pipe(), os.pipe()
        self._write, self._read = outgoing[1], incoming[0]
        command = f'exec "$0" "$@" 3<&{outgoing[0]} 4>&{incoming[1]}'
        flags = [*FLAGS, *flags, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
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
        self.wait("document.readyState === 'complete'")
        self.wait("!document.getElementById('viewer') || document.getElementById('stage').dataset.ready")
        self.wait("!document.getElementById('targets') || document.getElementById('targets').dataset.ready")

    def wait(self, script):
        until = time.monotonic() + PATIENCE
        while not self.run(f"Boolean({script})") and time.monotonic() < until:
            time.sleep(0.02)

    def settled(self, script):
        """Run a script and wait until what it changed is drawn."""
        self.run(script)
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run(self, script):
        result = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, userGesture=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def key(self, key, shift=False):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, modifiers=8 if shift else 0)

    def drag(self, *points):
        """Press the button at the first point of the window, move over the others, release."""
        kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def look(self, width, scheme="light", media="screen", height=900):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def picture(self, selector):
        """Return the pixels of an element that fits into the window, a quarter of its size, (height, width, 3)."""
        box = self.run(
            f"(() => {{ const e = document.querySelector('{selector}'); e.scrollIntoView({{block: 'start'}});"
            " const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })()"
        )
        data = self.call("Page.captureScreenshot")["data"]
        height, width, *values = self.run(
            f"(async () => {{ const i = new Image(); i.src = 'data:image/png;base64,{data}'; await i.decode();"
            f" const box = {json.dumps(box)}, [width, height] = box.slice(2).map(side => Math.round(side / 4));"
            " const context = Object.assign(document.createElement('canvas'), {width, height}).getContext('2d');"
            " context.drawImage(i, ...box, 0, 0, width, height);"
            " return [height, width, ...context.getImageData(0, 0, width, height).data]; })()"
        )
        return np.array(values).reshape(height, width, 4)[..., :3]

    def readout(self):
        return self.run("document.getElementById('readout').hidden ? '' : document.getElementById('readout').innerText")

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


@pytest.fixture(scope="session")
def samples():
    """The targets that the tests of the report make."""
    path = Path(__file__).parents[1] / "pipeline" / "report" / "conftest.py"
    spec = importlib.util.spec_from_file_location("report_samples", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _add_models(target, samples):
    """Give a target two other predictions, and a prediction that relaxation has changed."""
    entries = []
    model = read_structure(target / "predicted.cif")
    for seed in (0, 1, 2):
        folder = f"models/mini-{seed}"
        moved = model.atom37_positions + np.random.default_rng(seed).normal(0, seed, (len(model), 1, 3))
        other = dataclasses.replace(model, atom37_positions=moved.astype(np.float32))
        (target / folder).mkdir(parents=True)
        samples.write_mmcif(target / folder / "predicted.cif", other, name="alpha", title="")
        scores = {"mean_plddt": 60.0, "ptm": 0.4, "score": 0.4, "recycles": 1, "seconds": 1.0}
        entries.append({"model": "mini", "seed": seed, "folder": folder, **scores})
    shaken = model.atom37_positions + np.random.default_rng(7).normal(0, 0.8, (len(model), 1, 3))
    predicted = dataclasses.replace(model, atom37_positions=shaken.astype(np.float32))
    samples.write_mmcif(target / "predicted.cif", predicted, name="alpha", title="")
    record = {"target": "alpha", "rank_by": "ptm", "ranked": entries}
    samples.write_json(target / "ranking.json", record, "foldline.ranking/1")


@pytest.fixture(scope="session")
def run(tmp_path_factory, samples):
    folder = tmp_path_factory.mktemp("run")
    crystal = read_structure(Path(__file__).parents[1] / "pipeline/golden/1bpi_A.pdb")
    samples.make_target(folder, "alpha", "first", like=crystal, seed=1, numbering="17")
    _add_models(folder / "targets/alpha", samples)
    samples.make_target(folder, "beta", samples.EVIL * 20, length=43, seed=2, relaxed=False)
    samples.make_target(folder, "gamma", "third", length=29, seed=3, upto="search")
    for target in (folder / "targets").iterdir():
        samples.target_page(folder, target)
        text = (target / "report.html").read_text()
        (target / "no_script.html").write_text(re.sub(r"script-src[^\"]*", "script-src 'none'", text, count=1))
    samples.run_page(folder)
    return folder


@pytest.fixture(scope="session")
def large(tmp_path_factory, samples):
    """The page of a run of ten thousand targets, of which few differ."""
    folder = tmp_path_factory.mktemp("large")
    samples.make_target(folder, "one", "first", length=61, seed=1)
    samples.make_target(folder, "lost", samples.EVIL, length=29, seed=3, upto="search")
    done, lost = (read_evidence(folder / "targets" / name, folder) for name in ("one", "lost"))
    everything = [dataclasses.replace(done, name=f"target_{k:05d}") for k in range(9_900)]
    everything += [dataclasses.replace(lost, name=f"lost_{k:03d}") for k in range(100)]
    bare = [e if k < 150 else dataclasses.replace(e, predicted=None, relaxed=None) for k, e in enumerate(everything)]
    (folder / "report.html").write_text(run_page(bare, output=folder / "report.html", run=folder), encoding="utf-8")
    return folder


def _started(tmp_path_factory, flags):
    if BROWSER is None:
        pytest.skip("no Chromium here; on Debian: apt-get install chromium")
    return Browser(tmp_path_factory.mktemp("profile"), flags)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A browser without WebGL, which is quick."""
    browser = _started(tmp_path_factory, WITHOUT_WEBGL)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def viewer(tmp_path_factory, run):
    """The page of a target with its viewer, in a small window: WebGL without a GPU is slow."""
    browser = _started(tmp_path_factory, WITH_WEBGL)
    browser.look(900, height=520)
    browser.open(run / "targets/alpha/report.html")
    if not browser.run("document.getElementById('stage').classList.contains('live')"):
        pytest.skip("this browser has no WebGL")
    yield browser
    browser.close()
