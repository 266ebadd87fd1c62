"""The 3D viewer in a real browser: the model is drawn, and what is picked anywhere is picked everywhere."""

import itertools
import json

import numpy as np


def choose(browser, group, value):
    browser.settled(f"document.querySelector('#{group} input[value=\"{value}\"]').click()")


def test_the_model_is_drawn_in_colours(viewer):
    drawn = viewer.picture("#viewer")
    paper = np.array([252, 252, 251])
    painted = np.abs(drawn - paper).sum(axis=-1) > 60
    assert 0.03 < painted.mean() < 0.7
    assert (np.ptp(drawn, axis=-1) > 60).mean() > 0.01
    looks = {"plddt": drawn}
    for colour in ("chain", "moved", "outliers", "fold"):
        choose(viewer, "colours", colour)
        looks[colour] = viewer.picture("#viewer")
        assert viewer.run("document.getElementById('key').innerText.trim().length") > 10
    for one, other in itertools.combinations(looks.values(), 2):
        assert np.abs(one - other).mean() > 0.2
    choose(viewer, "colours", "plddt")
    assert np.abs(viewer.picture("#viewer") - drawn).mean() < 0.5
    assert viewer.complaints() == []


def test_models_are_overlaid(viewer):
    alone = viewer.picture("#viewer")
    for name in ("predicted", "others"):
        choose(viewer, "shown", name)
        together = viewer.picture("#viewer")
        assert np.abs(together - alone).mean() > 0.2
        choose(viewer, "shown", name)
    assert np.abs(viewer.picture("#viewer") - alone).mean() < 0.5


def test_a_residue_is_picked_in_the_model_and_shown_everywhere(viewer):
    plain = viewer.picture("#viewer")
    viewer.run("document.getElementById('viewer').scrollIntoView()")
    box = viewer.run(
        "(() => { const b = document.getElementById('viewer').getBoundingClientRect();"
        " return [b.x, b.y, b.width, b.height]; })()"
    )
    rows, columns = np.nonzero(np.ptp(plain, axis=-1) > 60)
    for k in np.linspace(0, len(rows) - 1, 12).astype(int):
        x, y = box[0] + (columns[k] + 0.5) / 0.25, box[1] + (rows[k] + 0.5) / 0.25
        viewer.drag((x, y))
        if viewer.readout():
            break
    place = viewer.run("Number(document.querySelector('#letters .picked').dataset.i)")
    data = json.loads(viewer.run("document.getElementById('residues').textContent"))
    assert f" {data['author'][place - 1]} " in viewer.readout()
    assert viewer.run("document.querySelectorAll('line.cursor.picked[visibility=visible]').length") == 5
    assert viewer.run("document.querySelectorAll('.ring').length") == (2 if 1 < place < 58 else 0)
    viewer.key("Escape")
    assert viewer.readout() == ""


def test_every_part_of_the_page_picks_the_residue_in_the_model(viewer):
    plain = viewer.picture("#viewer")
    ways = {
        "sequence": "const e = document.querySelector('#letters [data-i=\"30\"]');"
        " e.dispatchEvent(new PointerEvent('pointerdown', {bubbles: true})); e.click()",
        "table": "document.querySelector('.faults button[data-place]').click()",
        "plot": "const s = document.querySelector('[data-figure=depth]'), b = s.getBoundingClientRect();"
        " for (const t of ['pointerdown', 'click']) s.dispatchEvent(new PointerEvent(t, {bubbles: true,"
        " clientX: b.x + b.width / 2, clientY: b.y + 20}))",
        "torsions": "const m = document.querySelector('.mark'), b = m.getBoundingClientRect();"
        " m.dispatchEvent(new PointerEvent('click', {bubbles: true,"
        " clientX: b.x + b.width / 2, clientY: b.y + b.height / 2}))",
    }
    for name, script in ways.items():
        viewer.settled(f"(() => {{ {script} }})()")
        assert viewer.run("document.querySelectorAll('#letters .picked').length") == 1, name
        if name == "sequence":
            assert np.abs(viewer.picture("#viewer") - plain).mean() > 0.1
        viewer.settled("document.getElementById('clear').click()")
        assert viewer.readout() == "", name
    assert np.abs(viewer.picture("#viewer") - plain).mean() < 0.5


def test_a_part_of_the_error_map_marks_two_regions_and_says_their_mean(viewer, run):
    plain = viewer.picture("#viewer")
    viewer.run("document.querySelector('[data-figure=pae]').scrollIntoView({block: 'center'})")
    box = viewer.run(
        "(() => { const b = document.querySelector('[data-figure=pae] image').getBoundingClientRect();"
        " return [b.x, b.y, b.width]; })()"
    )
    at = lambda row, column: (box[0] + (column - 0.5) / 58 * box[2], box[1] + (row - 0.5) / 58 * box[2])  # noqa: E731
    viewer.drag(at(5, 31), at(9, 33), at(12, 40))
    arrays = np.load(run / "targets/alpha/confidence.npz")
    mean = (arrays["pae"] * arrays["pae_step"])[4:12, 30:40].mean()
    assert f"PAE {mean:.1f} \u00c5 of B 47\u201356 laid on A 21\u201328" in viewer.readout()
    viewer.call("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    assert f"PAE {mean:.1f}" in viewer.readout()  # it stays when the pointer goes
    marked = "[...document.querySelectorAll('#letters .{}')].map(e => Number(e.dataset.i))"
    assert viewer.run(marked.format("in-a")) == list(range(5, 13))
    assert viewer.run(marked.format("in-b")) == list(range(31, 41))
    viewer.settled("1")
    assert np.abs(viewer.picture("#viewer") - plain).mean() > 0.3
    viewer.key("Escape")
    assert viewer.readout() == ""


def test_the_error_map_works_by_keyboard(viewer, run):
    viewer.run("document.querySelector('[data-figure=pae]').parentElement.focus()")
    for key in ("ArrowRight", "ArrowDown"):
        viewer.key(key)
    arrays = np.load(run / "targets/alpha/confidence.npz")
    value = (arrays["pae"] * arrays["pae_step"])[1, 1]
    assert f"is off by {value:.1f} \u00c5" in viewer.readout()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        viewer.key(key, shift=True)
    assert "of B 18\u201320 laid on A 18\u201319" in viewer.readout()
    viewer.key("Escape")
    assert viewer.readout() == ""


def test_the_viewer_works_by_keyboard(viewer):
    plain = viewer.picture("#viewer")
    viewer.run("document.getElementById('viewer').focus()")
    for key, changes in (("ArrowRight", True), ("0", False), ("+", True), ("0", False)):
        viewer.key(key)
        assert (np.abs(viewer.picture("#viewer") - plain).mean() > 0.3) == changes, key
    for key in (".", ".", ","):
        viewer.key(key)
    assert viewer.run("document.querySelector('#letters .picked').dataset.i") == "1"
    viewer.key("Escape")


def test_the_picture_can_be_saved(viewer):
    script = (
        "(() => { let saved; const click = HTMLAnchorElement.prototype.click;"
        " HTMLAnchorElement.prototype.click = function () { saved = [this.download, this.href.slice(0, 22)]; };"
        " document.getElementById('save').click(); HTMLAnchorElement.prototype.click = click; return saved; })()"
    )
    assert viewer.run(script) == ["alpha.png", "data:image/png;base64,"]
    assert viewer.complaints() == []
    assert len(viewer.requests()) == 1
