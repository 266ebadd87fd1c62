"""docs/input.md: every message in it is one that comes out."""

import re

import pytest

from pipeline.a3m import Alignment
from pipeline.config import ROOT, load_config, merged
from pipeline.errors import FastaError, FoldlineError
from pipeline.fasta import read_targets, safe_name
from pipeline.plan import plan_run
from pipeline.search.template_own import with_own
from pipeline.search.template_settings import TemplateSettings
from pipeline.templates import TemplateHits

TEXT = (ROOT / "docs/input.md").read_text(encoding="utf-8")
SEQUENCE = "MKTAYIAKQRQISF"
BAD = {
    "no such file": None,
    "a folder": None,
    "an empty file": b"",
    "a compressed file": b"\x1f\x8b\x08",
    "another encoding": f">prot\u00e9ine\n{SEQUENCE}\n".encode("latin-1"),
    "a binary file": b">a\nMKT\x00AYIAKQRQ\n",
    "no header": f"{SEQUENCE}\n".encode(),
    "an empty header": f">\n{SEQUENCE}\n".encode(),
    "a header such as `...`": f">...\n{SEQUENCE}\n".encode(),
    "the same name twice": f">a x\n{SEQUENCE}\n>a y\n{SEQUENCE}\n".encode(),
    "a header only": f">a\n>b\n{SEQUENCE}\n".encode(),
    "`X` only": b">a\nXXXXXXXXXX\n",
    "a gap": b">a\nMKT-AYIAKQRQISF\n",
    "a digit": b">a\nMKTAYIAKQRQ1SFVK\n",
    "a stop inside": b">a\nMKTA*YIAKQRQISF\n",
    "several chains": b">a\nMKTAYIA:KQRQISF\n",
    "another letter": b">a\nMKTAYIAKQ@QISF\n",
    "no numbers": f">a numbering=\n{SEQUENCE}\n".encode(),
    "other numbers": f">a numbering=x\n{SEQUENCE}\n".encode(),
    "too few numbers": f">a numbering=1-13\n{SEQUENCE}\n".encode(),
    "a number twice": f">a numbering=1-5,5-13\n{SEQUENCE}\n".encode(),
    "too short": b">a\nMKTAY\n",
    "too long": b">a\n" + b"A" * 2001 + b"\n",
}


def documented_errors():
    return dict(re.findall(r"^\| ([^|]+) \| `(my\.fasta[^|]*)` \|$", TEXT, re.MULTILINE))


def test_every_error_has_its_case():
    assert set(documented_errors()) == set(BAD)


@pytest.mark.parametrize("what", BAD)
def test_the_message_is_the_documented_one(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = (tmp_path / "my.fasta").relative_to(tmp_path)
    if what == "a folder":
        path.mkdir()
    elif BAD[what] is not None:
        path.write_bytes(BAD[what])
    message = re.escape(documented_errors()[what])
    with pytest.raises(FastaError, match=f"^{message}$"):
        read_targets([path])


def test_notes_are_the_documented_ones(tmp_path):
    path = tmp_path / "my.fasta"
    path.write_text(">a\nMKTAYIAKQUQISFOVKBXX*\n>b\nACGTACGTACGT\n", encoding="utf-8")
    notes = [note for target in read_targets([path]) for note in target.notes]
    assert len(notes) == 6
    assert all(f"`{note}`" in TEXT for note in notes)


def test_names_are_the_documented_ones():
    rows = re.findall(r"^\| `([^`]+)` \| `([A-Za-z0-9._-]+)` \|$", TEXT, re.MULTILINE)
    assert len(rows) == 2
    for header, name in rows:
        assert safe_name(header.replace("\\|", "|")) == name


def test_messages_about_templates_are_the_documented_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my").mkdir()
    part = TEXT.partition("## Your own templates")[2].partition("## Not input")[0]
    rows = dict(re.findall(r"^\| ([^|]+) \| `(.+)` \|$", part, re.MULTILINE))
    said = {}
    for what, make in _template_errors(tmp_path).items():
        with pytest.raises(FoldlineError) as caught:
            make()
        said[what] = str(caught.value)
    assert said == rows


def _template_errors(folder):
    alignment = Alignment(("kinase",), (SEQUENCE,))
    config = load_config()

    def search(*texts):
        given = TemplateSettings(own_templates=texts)
        with_own(TemplateHits({}, ()), {"kept": 0, "excluded": 0}, "kinase", alignment, given)

    def with_file(text, action):
        (folder / "my.pdb").write_text(text)
        action()

    (folder / "kinase.fasta").write_text(f">kinase\n{SEQUENCE}\n")
    section = {"input": {"fasta": ["kinase.fasta"]}, "search": {"own_templates": ["kinas=my.pdb"]}}
    structure = (ROOT / "tests/pipeline/golden/1l2y_A.pdb").read_text()
    return {
        "no such file": lambda: search("my.pdb"),
        "an unknown target": lambda: with_file(structure, lambda: plan_run(merged(config, section))),
        "an unknown chain": lambda: with_file(structure, lambda: search("my.pdb:B")),
        "no structure": lambda: with_file("hello", lambda: search("my.pdb")),
        "an empty folder": lambda: search("my"),
    }
