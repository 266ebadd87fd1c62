"""The report: what the records say is on the pages and in the tables, and what the input says does nothing."""

import base64
import csv
import dataclasses
import gzip
import html.parser
import json
import re

import numpy as np
import pytest

from models import residue_constants as rc
from pipeline.errors import FoldlineError
from pipeline.fasta import write_target
from pipeline.protein import Protein
from pipeline.protein_writer import write_mmcif
from pipeline.records import read_json, write_json, write_npz
from pipeline.report import render, viewer
from pipeline.report import stage as report
from pipeline.report.evidence import read_evidence
from pipeline.target import TARGET_SCHEMA, Chain, Target

EVIL = (
    "<script>alert(1)</script> \"><img src=x onerror=alert(1)> ' onmouseover='alert(2) {{ 7 * 7 }} {% raw %} ]]>"
    " </style> </title> <!-- https://evil.example/x javascript:alert(3) ../../etc/passwd \u202e &"
)
HEADERS = {
    "evil": EVIL,
    "markup": "<b>bold</b> &amp; <a href='https://evil.example'>x</a>",
    "quotes": "\"'`\"'`",
    "long": EVIL * 60,
    "plain": "sp|P0CG47|UBB_HUMAN",
    "unicode": "Prote\u00edn \u03b1\u03b2 \U0001f9ec",
}
LENGTH = 23


@dataclasses.dataclass
class Page(html.parser.HTMLParser):
    """What a browser would make of a page: tags, attributes, scripts, text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.text, self._stack = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._stack.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self._stack and self._stack[-1] == "script":
            self.scripts[-1] += data
        elif not (self._stack and self._stack[-1] == "style"):
            self.text.append(data)

    def handle_endtag(self, tag):
        while self._stack and self._stack.pop() != tag:
            pass

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())

    def figures(self):
        return {attrs["data-figure"] for tag, attrs in self.tags if tag == "svg" and "data-figure" in attrs}


def protein(sequence, rng):
    n = len(sequence)
    t = np.arange(n)
    ca = np.stack([2.3 * np.cos(1.745 * t), 2.3 * np.sin(1.745 * t), 1.5 * t], axis=1)
    aatype = np.array([rc.RESTYPES_X.index(letter) for letter in sequence])
    mask = rc.ATOM37_MASK[aatype] > 0
    positions = (ca[:, None] + rng.normal(0, 1.0, (n, 37, 3))) * mask[..., None]
    return Protein(
        aatype=aatype,
        atom37_positions=positions.astype(np.float32),
        atom37_mask=mask,
        residue_index=t.astype(np.int32),
        chain_id=np.full(n, "A"),
        author_number=tuple(str(i + 1) for i in t),
        b_factor=rng.uniform(20, 99, n).astype(np.float32),
    )


def make_target(
    run, name, header="a header", *, length=LENGTH, upto="relax", relaxed=True, seed=0, numbering="1", like=None
):
    """Write the records of a target as the stages do, up to one of them; return its folder. `like` is its model."""
    rng = np.random.default_rng(seed)
    folder = run / "targets" / name
    sequence = like.sequence if like else "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), length))
    target = Target(name, header, (Chain(sequence, numbering),), ("lower case read as upper case",))
    write_target(folder / "target.fasta", target)
    write_json(folder / "target.json", target.record(), TARGET_SCHEMA)
    stages = ("target", "search", "predict", "relax")[: ("target", "search", "predict", "relax").index(upto) + 1]
    if "search" in stages:
        _search(folder, sequence, rng)
    if "predict" in stages:
        model = dataclasses.replace(like, b_factor=rng.uniform(20, 99, len(like))) if like else protein(sequence, rng)
        _predict(folder, model, header, rng)
        if "relax" in stages:
            _relax(folder, model, relaxed, rng)
    return folder


def _search(folder, sequence, rng):
    n = len(sequence)
    record = {
        "databases": [
            {
                "name": "structuredb",
                "version": "1",
                "rows": 12,
                "dropped": {"cap": 0, "duplicate": 3},
                "hits_at_least": True,
            }
        ],
        "rounds": 3,
        "converged": True,
        "rows": 13,
        "neff_62": 3.25,
        "neff_80": 7.125,
        "depth": rng.integers(1, 13, n).tolist(),
        "depth_neff_80": rng.uniform(1, 7, n).round(1).tolist(),
        "seconds": 1.5,
        "cached": False,
    }
    write_json(folder / "search.json", record, "foldline.search/1")
    hit = {
        "e_value": 1e-12,
        "score": 50.5,
        "query_start": 1,
        "query_alignment": sequence[1:-2],
        "template_start": 0,
        "template_alignment": "-" + sequence[2:-2],
        "sum_probs": 3.0,
        "excluded": "",
        "source": "library",
        "date": "2001-02-28",
        "file": "",
        "sha256": "",
    }
    hits = [
        {**hit, "id": "1ABC_A", "index": 3, "identity": 0.96, "coverage": 0.9, "excluded": "identity above 0.95"},
        {**hit, "id": "2XYZ_B", "index": 5, "identity": 0.41, "coverage": 0.8},
        {**hit, "id": "3<b>_C", "index": 6, "identity": 0.21, "coverage": 0.7},
    ]
    record = {"library": {"name": "lib", "version": "2"}, "hits": hits, "own": {}}
    write_json(folder / "templates.json", record, "foldline.templates/2")
    write_json(folder / "features.json", {"target": folder.name, "seconds": 0.25}, "foldline.featurize/1")


def _predict(folder, model, header, rng):
    n = len(model.aatype)
    pae = rng.integers(2, 200, (n, n)).astype(np.uint8)
    arrays = {"plddt": model.b_factor, "pae": pae, "pae_step": np.array(0.125, np.float32)}
    write_npz(folder / "confidence.npz", arrays, "foldline.confidence/1")
    write_mmcif(folder / "predicted.cif", model, name=folder.name, title="a title")
    record = {
        "target": folder.name,
        "header": header,
        "length": n,
        "model": "mini",
        "mean_plddt": 61.25,
        "ptm": 0.4321,
        "ca_change": [3.5, 0.5],
        "templates_used": ["2XYZ_B"],
        "violations": {"violating_residues": 7},
        "seconds": {"inputs": 0.5, "compile": 8.0, "run": 2.0},
        "device": "cpu",
        "made_from": {"seed": 11, "recycles": 2, "weights_sha256": "ab" * 32, "software": {"foldline": "0.1.0"}},
    }
    write_json(folder / "confidence.json", record, "foldline.confidence/1")


def _relax(folder, model, relaxed, rng):
    record = {
        "target": folder.name,
        "status": "relaxed" if relaxed else "unrelaxed",
        "force_field": "amber14",
        "rung": "full" if relaxed else "none",
        "reason": "" if relaxed else "atoms overlap so much that they cannot be parted <i>",
        "platform": "CPU",
        "iterations": 41,
        "energy_before": 1234.5,
        "energy_after": -2345.6 if relaxed else None,
        "violations_before": {"residues": 23, "violating_residues": 7, "violation_fraction": 0.3},
        "violations_after": {"residues": 23, "violating_residues": 0 if relaxed else 7, "violation_fraction": 0.0},
        "rmsd": 0.3,
        "ca_rmsd": 0.125,
        "displacement": rng.uniform(0, 1, len(model.aatype)).tolist() if relaxed else [],
        "changes": ["a disulfide bond was made"],
        "seconds": 2.5,
    }
    write_json(folder / "relax.json", record, "foldline.relax/1")
    write_mmcif(folder / "relaxed.cif", model, name=folder.name, title="a title")


def target_page(run, folder, *flags):
    output = folder / "report.html"
    arguments = ["--target-dir", str(folder), "--run", str(run), "--output", str(output), *flags]
    assert report.main(arguments) == 0
    return output.read_text(encoding="utf-8")


def run_page(run, *flags):
    output = run / "report.html"
    arguments = ["--run", str(run), "--output", str(output), "--summary", str(run / "summary.tsv"), *flags]
    assert report.main(arguments) == 0
    return output.read_text(encoding="utf-8")


def packed_rows(page):
    """Return the rows that a run's page holds for its script."""
    return json.loads(gzip.decompress(base64.b64decode(page.scripts[0])))


def rows(run):
    with (run / "summary.tsv").open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file, delimiter="\t")}


# What is shown --------------------------------------------------------------------------------------------------------


def test_a_whole_target_has_every_figure_and_number(tmp_path):
    page = Page(target_page(tmp_path, make_target(tmp_path, "whole")))
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


def test_the_viewer_comes_with_its_licences(tmp_path):
    assert (
        "Copyright (c) 2014, University of Pittsburgh" in Page(target_page(tmp_path, make_target(tmp_path, "a"))).words
    )
    assert "Pittsburgh" not in target_page(tmp_path, make_target(tmp_path, "b", upto="search"))


def test_every_figure_and_control_has_a_name(tmp_path):
    folder = make_target(tmp_path, "whole")
    for text in (target_page(tmp_path, folder), run_page(tmp_path)):
        page = Page(text)
        assert all(attrs.get("aria-label") for tag, attrs in page.tags if tag == "svg")
        assert all(attrs.get("aria-label") for tag, attrs in page.tags if attrs.get("tabindex") == "0")
        ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
        assert len(ids) == len(set(ids))
        assert ("html", {"lang": "en"}) in page.tags


def test_links_point_to_files_of_the_run(tmp_path):
    folder = make_target(tmp_path, "whole")
    page = Page(target_page(tmp_path, folder))
    run_page(tmp_path)
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a" and not attrs["href"].startswith("#")]
    assert {"../../report.html", "relaxed.cif", "predicted.cif", "confidence.json"} <= set(links)
    assert all((folder / link).resolve().exists() for link in links)
    anchors = [attrs["href"][1:] for tag, attrs in page.tags if tag == "a" and attrs["href"].startswith("#")]
    assert set(anchors) <= {attrs.get("id") for _, attrs in page.tags}


def test_without_relaxation_the_page_says_why(tmp_path):
    page = Page(target_page(tmp_path, make_target(tmp_path, "strained", relaxed=False)))
    assert "Predicted, not relaxed: atoms overlap so much that they cannot be parted <i>" in page.words
    assert "displacement" not in page.figures()


def test_without_a_record_of_relaxation_the_page_says_so(tmp_path):
    page = Page(target_page(tmp_path, make_target(tmp_path, "half", upto="predict")))
    assert "Predicted, not relaxed: relaxation was not run or left no record" in page.words
    assert {"pae", "ramachandran", "ribbon-front"} <= page.figures()


@pytest.mark.parametrize("upto", ["target", "search"])
def test_a_target_without_prediction_is_failed_with_its_reason(tmp_path, upto):
    folder = make_target(tmp_path, "lost", upto=upto)
    assert "no prediction was written" in Page(target_page(tmp_path, folder)).words
    batch = {"batch": "0032-000", "targets": [{"name": "lost", "status": "failed", "reason": "out of <memory>"}]}
    write_json(tmp_path / "batches" / "0032-000.json", batch, "foldline.batch/1")
    page = Page(target_page(tmp_path, folder))
    assert "No structure: out of <memory>" in page.words
    assert page.figures() == ({"depth", "coverage", "timing"} if upto == "search" else set())


def test_pages_are_gathered_under_the_names_of_their_targets(tmp_path):
    for name in ("a", "b", "without"):
        folder = make_target(tmp_path, name, upto="search")
        if name != "without":
            target_page(tmp_path, folder)
    into = tmp_path / "pages"
    for _ in range(2):
        assert report.main(["--run", str(tmp_path), "--pages", str(into)]) == 0
        assert {path.name for path in into.iterdir()} == {"a.html", "b.html"}
    assert (into / "a.html").read_bytes() == (tmp_path / "targets/a/report.html").read_bytes()


def test_a_killed_prediction_is_named(tmp_path):
    folder = make_target(tmp_path, "killed", upto="search")
    write_json(folder / "running.json", {"target": "killed", "model": "model_3", "seed": 7}, "foldline.running/1")
    run_page(tmp_path)
    reason = rows(tmp_path)["killed"]["reason"]
    assert reason.startswith("its prediction (model_3, seed 7) began and did not end")
    assert reason in Page(target_page(tmp_path, folder)).words


KILLED = {"killed": "search", "waiting": "search", "done": "predict"}


def test_a_batch_that_was_killed_tells_how_it_ended(tmp_path):
    """Of the target that was predicted, of one that waited, and of one that was done and is not relaxed."""
    folders = {name: make_target(tmp_path, name, upto=upto) for name, upto in KILLED.items()}
    write_json(folders["killed"] / "running.json", {"model": "mini", "seed": 0}, "foldline.running/1")
    write_json(tmp_path / "plan.json", {"batches": dict.fromkeys(KILLED, "0032-001")}, "foldline.plan/1")
    (tmp_path / "logs/predict").mkdir(parents=True)
    (tmp_path / "logs/predict/0032-001.log").write_text("INFO x\nerror: ended by the signal <b>SIGKILL</b>\n")
    run_page(tmp_path)
    said = "predict 0032-001: ended by the signal <b>SIGKILL</b>"
    reasons = {name: row["reason"] for name, row in rows(tmp_path).items()}
    assert reasons == {
        "killed": f"its prediction (mini, seed 0) began and did not end: {said}",
        "waiting": said,
        "done": said,
    }
    for name, folder in folders.items():
        begins = "Predicted, not relaxed" if name == "done" else "No structure"
        assert f"{begins}: {reasons[name]}" in Page(target_page(tmp_path, folder)).words


def test_an_older_prediction_does_not_hide_a_failure(tmp_path):
    folder = make_target(tmp_path, "again")
    batch = {"batch": "b", "targets": [{"name": "again", "status": "failed", "reason": "out of memory"}]}
    write_json(tmp_path / "batches" / "0032-000.json", batch, "foldline.batch/1")
    page = Page(target_page(tmp_path, folder))
    assert "No structure: out of memory" in page.words
    assert "pae" not in page.figures()
    batch["targets"][0]["status"] = "ok"
    write_json(tmp_path / "batches" / "0032-001.json", batch, "foldline.batch/1")
    assert "Predicted and relaxed." in Page(target_page(tmp_path, folder)).words


def test_faults_of_the_model_are_warnings(tmp_path):
    folder = make_target(tmp_path, "faulty")
    record = read_json(folder / "relax.json", "foldline.relax/1")
    record["violations_after"] = {"violating_residues": 1, "d_residues": 2, "chain_breaks": 3}
    write_json(folder / "relax.json", record, "foldline.relax/1")
    words = Page(target_page(tmp_path, folder)).words
    assert "1 residue of the model in violation" in words
    assert "2 residues of the wrong hand" in words
    assert "The chain is broken in the model, 3 times." in words


@pytest.mark.parametrize("missing", ["confidence.npz", "search.json", "templates.json", "target.json", "relaxed.cif"])
def test_a_missing_record_costs_its_part_only(tmp_path, missing):
    folder = make_target(tmp_path, "gap")
    (folder / missing).unlink()
    assert "Predicted and relaxed." in Page(target_page(tmp_path, folder)).words


def test_a_target_without_times_or_pae_is_shown(tmp_path):
    folder = make_target(tmp_path, "bare")
    (folder / "features.json").unlink()
    write_npz(folder / "confidence.npz", {"plddt": np.full(LENGTH, 90.0)}, "foldline.confidence/1")
    assert "pae" not in Page(target_page(tmp_path, folder)).figures()
    assert read_evidence(folder, tmp_path).seconds == {"search": 1.5, "predict": 10.5, "relax": 2.5}


def test_a_number_that_is_none_is_null_for_the_script(tmp_path):
    folder = make_target(tmp_path, "gap")
    plddt = np.full(LENGTH, 90.0)
    plddt[3] = np.nan
    write_npz(folder / "confidence.npz", {"plddt": plddt}, "foldline.confidence/1")
    text = Page(target_page(tmp_path, folder)).scripts[0]
    assert json.loads(text, parse_constant=pytest.fail)["plddt"][2:5] == [90.0, None, 90.0]


def test_warnings_follow_the_settings(tmp_path):
    folder = make_target(tmp_path, "whole")
    page = Page(target_page(tmp_path, folder, "--low-confidence", "50", "--few-rows", "5", "--template-rows", "1"))
    assert "Low confidence" not in page.words
    assert "Few relatives" not in page.words
    assert "The first 1 of 3 template hits" in page.words
    assert "2XYZ_B" not in " ".join(page.text).partition("Template hits")[2].partition("Geometry")[0]


def test_the_search_says_what_its_rows_are_worth(tmp_path):
    folder = make_target(tmp_path, "whole")
    words = Page(target_page(tmp_path, folder)).words
    assert "version 1, 12 rows; left out: 3 (duplicate); more beyond the cap were not aligned" in words
    assert re.search(r"Effective rows \(80 % identity\)\s+7\.12\s+Effective rows \(62 % identity\)\s+3\.25", words)


def test_a_search_that_ran_out_of_time_is_named(tmp_path):
    folder = make_target(tmp_path, "whole")
    record = read_json(folder / "search.json", "foldline.search/1")
    write_json(folder / "search.json", {**record, "timed_out": True}, "foldline.search/1")
    assert "The search ran into its time budget" in Page(target_page(tmp_path, folder)).words


def test_unknown_residues_are_named(tmp_path):
    folder = make_target(tmp_path, "unknown", upto="search")
    target = Target.monomer("unknown", "unknown", "ACDEFXXGHIKL")
    write_json(folder / "target.json", target.record(), TARGET_SCHEMA)
    assert "2 residues are unknown (X)" in Page(target_page(tmp_path, folder)).words


def test_the_users_numbers_are_on_the_page_and_in_the_table(tmp_path):
    folder = make_target(tmp_path, "numbered", numbering="17-30,101-109")
    html = target_page(tmp_path, folder)
    words = Page(html).words
    run_page(tmp_path)
    assert f"{LENGTH} residues, numbered 17-30,101-109" in words.replace(" ,", ",")
    data = json.loads(re.search(r'id="residues">(.*?)</script>', html, re.DOTALL)[1])
    assert data["author"][12:16] == ["29", "30", "101", "102"]
    for key in ("plddt", "depth", "displacement", "coverage", "pae", "distances"):
        figure = re.search(rf'<svg[^>]*data-figure="{key}".*?</svg>', html, re.DOTALL)[0]
        assert re.findall(r'class="tick"[^>]*>(17|101)<', figure)[:2] == ["17", "101"], key
    assert re.findall(r'data-first="(\w+)"', html) == ["17", "27", "107"]
    assert rows(tmp_path)["numbered"]["numbering"] == "17-30,101-109"


def test_a_page_of_300_residues_is_small(tmp_path):
    page = target_page(tmp_path, make_target(tmp_path, "large", length=300)).encode()
    assert len(page) - len(viewer.packed_script()) < 700_000  # coordinates and PAE are noise here


# The run --------------------------------------------------------------------------------------------------------------


def test_the_table_holds_what_the_records_say(tmp_path):
    folder = make_target(tmp_path, "whole")
    run_page(tmp_path)
    confidence = read_json(folder / "confidence.json", "foldline.confidence/1")
    relax = read_json(folder / "relax.json", "foldline.relax/1")
    row = rows(tmp_path)["whole"]
    expected = {
        "length": LENGTH,
        "mean_plddt": confidence["mean_plddt"],
        "msa_rows": 13,
        "neff": 7.1,
        "best_identity": 0.41,
        "energy_before_kcal_mol": relax["energy_before"],
        "energy_after_kcal_mol": relax["energy_after"],
        "violations_before": 7,
        "violations_after": 0,
        "relax_ca_rmsd": relax["ca_rmsd"],
        "search_seconds": 1.5,
        "featurize_seconds": 0.25,
        "predict_seconds": 10.5,
        "relax_seconds": 2.5,
    }
    assert {key: float(row[key]) for key in expected} == expected
    assert float(row["ptm"]) == round(confidence["ptm"], 3)
    names = ("model", "best_template", "status", "relax_status", "relax_rung", "template_hits", "templates_used")
    assert [row[key] for key in names] == ["mini", "2XYZ_B", "relaxed", "relaxed", "full", "3", "1"]


def test_the_json_holds_the_same_as_the_table(tmp_path):
    make_target(tmp_path, "whole")
    make_target(tmp_path, "lost", upto="search")
    run_page(tmp_path)
    targets = read_json(tmp_path / "summary.json", "foldline.summary/1")["targets"]
    table = rows(tmp_path)
    assert [target["name"] for target in targets] == ["lost", "whole"] == list(table)
    for target in targets:
        assert {key: "" if value is None else str(value) for key, value in target.items()} == table[target["name"]]


def test_failed_targets_come_first(tmp_path):
    for name, upto in (("a", "relax"), ("b", "predict"), ("c", "search")):
        make_target(tmp_path, name, upto=upto)
    page = Page(run_page(tmp_path))
    classes = [attrs["class"] for tag, attrs in page.tags if tag == "tr" and "class" in attrs]
    assert classes == ["failed", "relaxed", "unrelaxed"]
    assert "1 relaxed, 1 predicted but not relaxed, 1 failed" in page.words
    assert "no prediction was written" in page.words
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a" and attrs["href"].endswith("report.html")]
    assert links == ["targets/a/report.html", "targets/b/report.html"]  # the failed one has no page
    write_json(tmp_path / "plan.json", {"batches": {}}, "foldline.plan/1")  # the workflow writes it beside this one
    links = [attrs["href"] for tag, attrs in Page(run_page(tmp_path)).tags if tag == "a" and "href" in attrs]
    assert "targets/c/report.html" in links


def test_names_choose_the_targets(tmp_path):
    for name in ("old", "new"):
        make_target(tmp_path, name)
    (tmp_path / "targets.txt").write_text("new\n")
    run_page(tmp_path, "--names", str(tmp_path / "targets.txt"))
    assert list(rows(tmp_path)) == ["new"]


def test_thumbnails_are_limited(tmp_path):
    for name in ("a", "b", "c"):
        make_target(tmp_path, name)
    page = Page(run_page(tmp_path, "--thumbnails", "2"))
    assert sum("paths" in row for row in packed_rows(page)) == 0  # those of the first page are drawn
    assert sum(tag == "svg" and attrs["data-figure"] == "trace" for tag, attrs in page.tags) == 2


def test_one_damaged_target_costs_one_row(tmp_path):
    make_target(tmp_path, "good")
    (make_target(tmp_path, "bad") / "relax.json").write_text("{")
    run_page(tmp_path)
    table = rows(tmp_path)
    assert table["good"]["status"] == "relaxed"
    assert table["bad"]["status"] == "failed"
    assert "relax.json" in table["bad"]["reason"]


# Hostile input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", HEADERS)
def test_headers_are_inert(tmp_path, kind):
    header = HEADERS[kind]
    folder = make_target(tmp_path, "target")
    clean = [Page(target_page(tmp_path, folder)), Page(run_page(tmp_path))]
    folder = make_target(tmp_path, "target", header)
    pages = [Page(target_page(tmp_path, folder)), Page(run_page(tmp_path))]
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


def test_hostile_records_are_inert(tmp_path):
    folder = make_target(tmp_path, "target")
    clean = Page(target_page(tmp_path, folder))
    for name in ("search", "templates", "confidence", "relax", "target"):
        path = folder / f"{name}.json"
        record = json.loads(path.read_text())
        path.write_text(json.dumps({key: _poisoned(key, value) for key, value in record.items()}))
    page = Page(target_page(tmp_path, folder))
    _check_offline(page)
    assert page.scripts == clean.scripts
    assert "img" not in {tag for tag, _ in page.tags}


def _poisoned(key, value):
    """Put markup into every string that is not of the schema."""
    if isinstance(value, dict):
        return {k: _poisoned(k, v) for k, v in value.items()}
    if isinstance(value, list):
        return [_poisoned(key, v) for v in value]
    return (
        value + EVIL
        if isinstance(value, str)
        and key not in ("schema", "status", "rung", "sequence", "numbering")
        and "align" not in key
        else value
    )


def test_tables_keep_their_rows_and_columns(tmp_path):
    folder = make_target(tmp_path, "target", relaxed=False)
    record = read_json(folder / "relax.json", "foldline.relax/1")
    record["reason"] = "one\ttwo\nthree\r\nfour"
    write_json(folder / "relax.json", record, "foldline.relax/1")
    run_page(tmp_path)
    assert rows(tmp_path)["target"]["reason"] == "one two three four"
    assert len((tmp_path / "summary.tsv").read_text().splitlines()) == 2


def test_the_policy_allows_only_our_own_script_and_style(tmp_path):
    text = target_page(tmp_path, make_target(tmp_path, "target", EVIL))
    page = Page(text)
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    assert render._hash(page.scripts[-1]) in policy
    assert render._hash(text.partition("<style>")[2].partition("</style>")[0]) in policy
    assert render._hash(viewer.script()) in policy
    assert policy.count("sha256-") == 3
    assert json.loads(page.scripts[0])["plddt"]


# Errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: [(f / f"target.{kind}").unlink() for kind in ("json", "fasta")], "target.fasta"),
        (lambda f: (f / "target.json").write_text("{}"), "target.json"),
        (lambda f: (f / "relax.json").write_text("{"), "relax.json: expected a foldline.relax/1 file"),
        (lambda f: write_json(f / "search.json", {}, "foldline.search/9"), "expected schema 'foldline.search/1'"),
        (lambda f: (f / "confidence.npz").write_bytes(b"PK"), "confidence.npz: expected a foldline.confidence/1"),
        (lambda f: (f / "predicted.cif").write_text("data_x\n"), "predicted.cif"),
    ],
)
def test_damaged_records_are_errors_of_one_line(tmp_path, damage, message):
    folder = make_target(tmp_path, "target")
    damage(folder)
    with pytest.raises(FoldlineError, match=message) as caught:
        target_page(tmp_path, folder)
    assert "\n" not in str(caught.value)
    assert not (folder / "report.html").exists()


def test_a_run_without_targets_is_an_error(tmp_path):
    with pytest.raises(FoldlineError, match="expected target folders"):
        run_page(tmp_path)


def test_nothing_to_report_on_is_an_error(tmp_path):
    with pytest.raises(FoldlineError, match="expected --target-dir or --run"):
        report.main(["--output", str(tmp_path / "x.html")])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "give --output, --figures or --pages, or --targets and --run"),
        (("--figures", "f", "--dpi", "7"), "expected --dpi from 30 to 1200, found 7"),
    ],
)
def test_flags_that_say_too_little_or_nonsense(tmp_path, flags, message):
    with pytest.raises(FoldlineError, match=message):
        report.main(["--run", str(tmp_path), *flags])


def test_a_missing_list_of_names_is_an_error(tmp_path):
    with pytest.raises(FoldlineError, match="expected a file with a target name per line"):
        run_page(tmp_path, "--names", str(tmp_path / "none.txt"))


def test_several_models_are_a_table_the_best_first_and_their_time_counts(tmp_path):
    folder = make_target(tmp_path, "a", upto="predict")
    entry = {"seed": 0, "recycles": 3, "folder": "models/x", "score": 0.5, "seconds": 20.0}
    ranked = [
        {**entry, "model": "model_4_ptm", "mean_plddt": 88.25, "ptm": 0.8125},
        {**entry, "model": "<b>", "mean_plddt": 61.0, "ptm": None},
    ]
    write_json(folder / "ranking.json", {"target": "a", "rank_by": "ptm", "ranked": ranked}, "foldline.ranking/1")
    page = Page(target_page(tmp_path, folder))
    assert "Models, ranked by pTM; the first is the one shown" in page.words
    assert "1 model_4_ptm 0 88.2 0.81 \u2013 \u2013 2 <b> 0 61.0 \u2013 \u2013 \u2013" in page.words
    assert "best of 2" in page.words
    assert read_evidence(folder, tmp_path).seconds["predict"] == 40.0


def test_one_model_is_no_table(tmp_path):
    page = Page(target_page(tmp_path, make_target(tmp_path, "a")))
    assert "ranked by" not in page.words
    assert "best of" not in page.words
