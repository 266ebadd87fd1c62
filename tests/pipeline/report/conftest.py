"""For the tests of pages: targets as the stages leave them, the pages made of them, input that means harm."""

import csv
import dataclasses
import html.parser
import types

import numpy as np
import pytest

from models import residue_constants as rc
from pipeline.fasta import write_target
from pipeline.protein import Protein
from pipeline.protein_writer import write_mmcif
from pipeline.records import write_json, write_npz
from pipeline.report import stage as report
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


def rows(run):
    with (run / "summary.tsv").open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file, delimiter="\t")}


def poisoned(key, value):
    """Put markup into every string that is not of the schema."""
    if isinstance(value, dict):
        return {k: poisoned(k, v) for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(key, v) for v in value]
    return (
        value + EVIL
        if isinstance(value, str)
        and key not in ("schema", "status", "rung", "sequence", "numbering")
        and "align" not in key
        else value
    )


@pytest.fixture(scope="session")
def samples():
    """Return what makes targets and reads their pages, which test modules cannot import."""
    return types.SimpleNamespace(
        EVIL=EVIL,
        LENGTH=LENGTH,
        Page=Page,
        make_target=make_target,
        target_page=target_page,
        run_page=run_page,
        rows=rows,
        poisoned=poisoned,
    )


@pytest.fixture(params=HEADERS)
def header(request):
    """Return each of the headers that a page has to bear."""
    return HEADERS[request.param]
