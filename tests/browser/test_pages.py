"""The pages in a real browser: quiet, offline, usable by keyboard, in every width, with or without script."""

import json

import numpy as np
import pytest


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
        "Object.fromEntries([...document.querySelectorAll('svg[data-figure]')].filter(svg => !svg.closest('.views'))"
        ".map(svg => [svg.dataset.figure, [svg.getBoundingClientRect().width, svg.getBBox().width]]))"
    )
    assert len(sizes) == 11
    assert all(shown > 250 and drawn > 100 for shown, drawn in sizes.values()), sizes


@pytest.mark.parametrize("media", ["no script", "print"])
def test_without_the_viewer_there_is_a_picture(browser, run, media):
    browser.look(1180, media="print" if media == "print" else "screen")
    if media == "print":
        browser.open(run / "targets/alpha/report.html")
    else:
        browser.call("Page.navigate", url=(run / "targets/alpha/no_script.html").resolve().as_uri())
        browser.wait("document.readyState === 'complete'")
    shown = "document.getElementById('viewer').getBoundingClientRect().width"
    assert browser.run(shown) == 0
    assert browser.run("document.querySelector('.controls').getBoundingClientRect().width") == 0
    drawn = browser.picture("[data-figure=ribbon-front]")
    assert (np.ptp(drawn, axis=-1) > 60).mean() > 0.02
    browser.look(1180)


# The page -------------------------------------------------------------------------------------------------------------


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


def test_arrow_keys_read_the_residues_and_mark_regions(browser, run):
    browser.look(1180)
    browser.open(run / "targets/alpha/report.html")
    browser.run("document.querySelector('[data-figure=plddt]').parentElement.focus()")
    for key in ("ArrowRight", "ArrowRight", "PageDown", "ArrowLeft"):
        browser.key(key)
    data = json.loads(browser.run("document.getElementById('residues').textContent"))
    assert browser.run("document.getElementById('numbers').textContent.split('  ·  ').slice(1, 3)") == [
        "place 11",
        f"pLDDT {data['plddt'][10]:.1f}",
    ]
    for key in ("ArrowRight", "ArrowRight"):
        browser.key(key, shift=True)
    assert "A  27\u201329, mean pLDDT" in browser.run("document.getElementById('regions').textContent")
    browser.key("Escape")
    assert browser.readout() == ""


def test_ten_thousand_targets_are_sorted_searched_and_paged(browser, large):
    browser.look(1180)
    browser.open(large / "report.html")
    assert (large / "report.html").stat().st_size < 3_000_000
    assert browser.complaints() == []
    shown = (
        "[...document.querySelectorAll('#targets tbody tr')].map(row => row.querySelector('th a, th b').textContent)"
    )
    assert browser.run(shown) == [f"lost_{k:03d}" for k in range(100)]
    go = "document.querySelector('#pager [data-to={}]').click()"
    browser.run(go.format("after"))
    assert browser.run(shown) == [f"target_{k:05d}" for k in range(100)]
    assert browser.run("document.querySelectorAll('svg.trace').length") == 100
    browser.run(go.format("last"))
    assert browser.run("document.getElementById('page').textContent") == "rows 9901 to 10000 of 10000"
    enter = (
        "(() => {{ const box = document.getElementById('{}'); box.value = '{}';"
        " for (const kind of ['input', 'change']) box.dispatchEvent(new Event(kind)); }})()"
    )
    browser.run(enter.format("words", "target_09 99"))
    assert browser.run("document.getElementById('found').textContent") == "9 of 10000"
    browser.run(enter.format("words", ""))
    browser.run(enter.format("status", "failed"))
    assert browser.run("document.getElementById('found').textContent") == "100 of 10000"
    assert browser.run("document.querySelectorAll('#targets tbody img, #targets tbody script').length") == 0


def test_the_table_sorts_and_finds(browser, run):
    browser.look(1180)
    browser.open(run / "report.html")
    names = (
        "[...document.querySelectorAll('#targets tbody tr')].map(row => row.querySelector('th a, th b').textContent)"
    )
    assert browser.run(names) == ["gamma", "alpha", "beta"]
    press = "[...document.querySelectorAll('#targets th button')].find(b => b.textContent === 'Residues').click()"
    browser.run(press)
    assert browser.run(names) == ["gamma", "beta", "alpha"]
    browser.run(press)
    assert browser.run(names) == ["alpha", "beta", "gamma"]
    assert browser.run("document.querySelector('[aria-sort=descending]').textContent") == "Residues"
    browser.run(
        "(() => { const f = document.getElementById('words'); f.value = 'BETA script';"
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
