"""The pages: what the records say is on them, with names and links, and what the input says does nothing."""

import json
import re

import numpy as np
import pytest

from pipeline.records import write_json, write_npz
from pipeline.report import render, viewer
from pipeline.report.evidence import read_evidence


def test_a_whole_target_has_every_figure_and_number(tmp_path, samples):
    page = samples.Page(samples.target_page(tmp_path, samples.make_target(tmp_path, "whole")))
    assert page.figures() == {
        *("ribbon-front", "ribbon-side", "plddt", "depth", "displacement", "coverage"),
        *("pae", "distances", "ramachandran", "comparison", "timing", "recycles"),
    }
    for words in (
        *(
            "Predicted and relaxed.",
            "61.2",
            "0.43",
            "2XYZ_B",
            "41 % identity",
            "2001-02-28",
            "left out: identity above 0.95",
        ),
        *("1 234", "\u22122 346", "7 \u2192 0", "ab" * 32, "amber14", "doi:10.1038/s41586-021-03819-2"),
        *("Low confidence: the mean pLDDT is 61.2 (low)", "only 13 sequences", "lower case read as upper case"),
    ):
        assert words in page.words


def test_the_viewer_comes_with_its_licences(tmp_path, samples):
    assert (
        "Copyright (c) 2014, University of Pittsburgh"
        in samples.Page(samples.target_page(tmp_path, samples.make_target(tmp_path, "a"))).words
    )
    assert "Pittsburgh" not in samples.target_page(tmp_path, samples.make_target(tmp_path, "b", upto="search"))


def test_every_figure_and_control_has_a_name(tmp_path, samples):
    folder = samples.make_target(tmp_path, "whole")
    for text in (samples.target_page(tmp_path, folder), samples.run_page(tmp_path)):
        page = samples.Page(text)
        assert all(attrs.get("aria-label") for tag, attrs in page.tags if tag == "svg")
        assert all(attrs.get("aria-label") for tag, attrs in page.tags if attrs.get("tabindex") == "0")
        ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
        assert len(ids) == len(set(ids))
        assert ("html", {"lang": "en"}) in page.tags


def test_links_point_to_files_of_the_run(tmp_path, samples):
    folder = samples.make_target(tmp_path, "whole")
    page = samples.Page(samples.target_page(tmp_path, folder))
    samples.run_page(tmp_path)
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a" and not attrs["href"].startswith("#")]
    assert {"../../report.html", "relaxed.cif", "predicted.cif", "confidence.json"} <= set(links)
    assert all((folder / link).resolve().exists() for link in links)
    anchors = [attrs["href"][1:] for tag, attrs in page.tags if tag == "a" and attrs["href"].startswith("#")]
    assert set(anchors) <= {attrs.get("id") for _, attrs in page.tags}


def test_a_number_that_is_none_is_null_for_the_script(tmp_path, samples):
    folder = samples.make_target(tmp_path, "gap")
    plddt = np.full(samples.LENGTH, 90.0)
    plddt[3] = np.nan
    write_npz(folder / "confidence.npz", {"plddt": plddt}, "foldline.confidence/1")
    text = samples.Page(samples.target_page(tmp_path, folder)).scripts[0]
    assert json.loads(text, parse_constant=pytest.fail)["plddt"][2:5] == [90.0, None, 90.0]


def test_the_users_numbers_are_on_the_page_and_in_the_table(tmp_path, samples):
    folder = samples.make_target(tmp_path, "numbered", numbering="17-30,101-109")
    html = samples.target_page(tmp_path, folder)
    words = samples.Page(html).words
    samples.run_page(tmp_path)
    assert f"{samples.LENGTH} residues, numbered 17-30,101-109" in words.replace(" ,", ",")
    data = json.loads(re.search(r'id="residues">(.*?)</script>', html, re.DOTALL)[1])
    assert data["author"][12:16] == ["29", "30", "101", "102"]
    for key in ("plddt", "depth", "displacement", "coverage", "pae", "distances"):
        figure = re.search(rf'<svg[^>]*data-figure="{key}".*?</svg>', html, re.DOTALL)[0]
        assert re.findall(r'class="tick"[^>]*>(17|101)<', figure)[:2] == ["17", "101"], key
    assert re.findall(r'data-first="(\w+)"', html) == ["17", "27", "107"]
    assert samples.rows(tmp_path)["numbered"]["numbering"] == "17-30,101-109"


def test_a_page_of_300_residues_is_small(tmp_path, samples):
    page = samples.target_page(tmp_path, samples.make_target(tmp_path, "large", length=300)).encode()
    assert len(page) - len(viewer.packed_script()) < 700_000  # coordinates and PAE are noise here


def test_several_models_are_a_table_the_best_first_and_their_time_counts(tmp_path, samples):
    folder = samples.make_target(tmp_path, "a", upto="predict")
    entry = {"seed": 0, "recycles": 3, "folder": "models/x", "score": 0.5, "seconds": 20.0}
    ranked = [
        {**entry, "model": "model_4_ptm", "mean_plddt": 88.25, "ptm": 0.8125},
        {**entry, "model": "<b>", "mean_plddt": 61.0, "ptm": None},
    ]
    write_json(folder / "ranking.json", {"target": "a", "rank_by": "ptm", "ranked": ranked}, "foldline.ranking/1")
    page = samples.Page(samples.target_page(tmp_path, folder))
    assert "Models, ranked by pTM; the first is the one shown" in page.words
    assert "1 model_4_ptm 0 88.2 0.81 \u2013 \u2013 2 <b> 0 61.0 \u2013 \u2013 \u2013" in page.words
    assert "best of 2" in page.words
    assert read_evidence(folder, tmp_path).seconds["predict"] == 40.0


def test_one_model_is_no_table(tmp_path, samples):
    page = samples.Page(samples.target_page(tmp_path, samples.make_target(tmp_path, "a")))
    assert "ranked by" not in page.words
    assert "best of" not in page.words


# The run --------------------------------------------------------------------------------------------------------------


def test_failed_targets_come_first(tmp_path, samples):
    for name, upto in (("a", "relax"), ("b", "predict"), ("c", "search")):
        samples.make_target(tmp_path, name, upto=upto)
    page = samples.Page(samples.run_page(tmp_path))
    classes = [attrs["class"] for tag, attrs in page.tags if tag == "tr" and "class" in attrs]
    assert classes == ["failed", "relaxed", "unrelaxed"]
    assert "1 relaxed, 1 predicted but not relaxed, 1 failed" in page.words
    assert "no prediction was written" in page.words
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a" and attrs["href"].endswith("report.html")]
    assert links == ["targets/a/report.html", "targets/b/report.html"]  # the failed one has no page
    write_json(tmp_path / "plan.json", {"batches": {}}, "foldline.plan/1")  # the workflow writes it beside this one
    links = [
        attrs["href"] for tag, attrs in samples.Page(samples.run_page(tmp_path)).tags if tag == "a" and "href" in attrs
    ]
    assert "targets/c/report.html" in links


# Hostile input --------------------------------------------------------------------------------------------------------


def test_headers_are_inert(tmp_path, samples, header):
    folder = samples.make_target(tmp_path, "target")
    clean = [samples.Page(samples.target_page(tmp_path, folder)), samples.Page(samples.run_page(tmp_path))]
    folder = samples.make_target(tmp_path, "target", header)
    pages = [samples.Page(samples.target_page(tmp_path, folder)), samples.Page(samples.run_page(tmp_path))]
    for page, twin in zip(pages, clean, strict=True):
        extra = {"details", "summary", "span", "p", "bdi"}  # a long header folds
        assert [t for t in page.tags if t[0] not in extra and t[0] != "meta"] == [
            t for t in twin.tags if t[0] not in extra and t[0] != "meta"
        ]
        assert page.scripts[-1] == twin.scripts[-1]
        assert len(page.scripts) == len(twin.scripts)
        _check_offline(page)
    assert " ".join(header.split())[:60] in pages[0].words


def _check_offline(page):
    assert {tag for tag, _ in page.tags}.isdisjoint({"iframe", "object", "embed", "link", "form", "base"})
    for tag, attrs in page.tags:
        assert not any(name.startswith("on") or name == "style" for name in attrs), (tag, attrs)
        for name in ("src", "href", "action", "srcset", "xlink:href", "data"):
            target = attrs.get(name, "")
            assert target.startswith(("data:image/png;base64,", "#")) or ":" not in target, target
            assert not target.startswith("//")


def test_hostile_records_are_inert(tmp_path, samples):
    folder = samples.make_target(tmp_path, "target")
    clean = samples.Page(samples.target_page(tmp_path, folder))
    for name in ("search", "templates", "confidence", "relax", "target"):
        path = folder / f"{name}.json"
        record = json.loads(path.read_text())
        path.write_text(json.dumps({key: samples.poisoned(key, value) for key, value in record.items()}))
    page = samples.Page(samples.target_page(tmp_path, folder))
    _check_offline(page)
    assert page.scripts == clean.scripts
    assert "img" not in {tag for tag, _ in page.tags}


def test_the_policy_allows_only_our_own_script_and_style(tmp_path, samples):
    text = samples.target_page(tmp_path, samples.make_target(tmp_path, "target", samples.EVIL))
    page = samples.Page(text)
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    assert render._hash(page.scripts[-1]) in policy
    assert render._hash(text.partition("<style>")[2].partition("</style>")[0]) in policy
    assert render._hash(viewer.script()) in policy
    assert policy.count("sha256-") == 3
    assert json.loads(page.scripts[0])["plddt"]
