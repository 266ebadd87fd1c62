"""docs/input.md: every message in it is one that comes out."""

import re

import pytest

from pipeline.config import ROOT
from pipeline.errors import FastaError
from pipeline.fasta import read_targets, safe_name

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
