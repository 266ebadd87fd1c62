"""Alignments of a user's own: every format becomes the same rows, and nothing makes a traceback."""

import gzip
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.a3m import aligned, parse_a3m
from pipeline.config import ROOT
from pipeline.errors import AlignmentError, ConfigError
from pipeline.search.own_msa import own_files, read_own, version_of
from pipeline.target import Target

SEQUENCE = "MKTAYIAKQRQISF"
TARGET = Target.monomer("a", "a", SEQUENCE)
EXPECTED = ["MKTAYIAKQRQISF", "MKT-YIAggKQRQISF", "-KTAYIAKQRQISFw"]
A3M = ">a\nMKTAYIAKQRQISF\n>one described\nMKT-YIAggKQRQISF\n>two\n-KTAYIAKQRQISFw\n"
IN_COLUMNS = {
    "a": "MKTAYIA--KQRQISF-",
    "one described": "MKT-YIAGGKQRQISF-",
    "two": "-KTAYIA--KQRQISFW",
}
FASTA = "".join(f">{name}\n{row}\n" for name, row in IN_COLUMNS.items())
DOTTED = FASTA.replace("-", ".").lower()
STOCKHOLM = """# STOCKHOLM 1.0
#=GF ID test
#=GS one DE described
a    MKTAYIA..K
one  MKT-YIAggK
#=GR one PP 9999999999
two  -KTAYIA..K
#=GC RF xxxxxxx..x

a    QRQISF.
one  QRQISF.
two  QRQISFw
//
"""
FILES = {"x.a3m": A3M, "x.fasta": FASTA, "x.afa": DOTTED, "x.sto": STOCKHOLM, "no-name": A3M}


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(tmp_path, text, name="my.a3m", target=TARGET):
    return read_own(write(tmp_path, name, text), target)


@pytest.mark.parametrize(("name", "text"), [("x.a3m", A3M), ("x.fasta", FASTA)])
def test_a_stop_at_the_end_is_no_residue(tmp_path, name, text):
    stopped = text.replace("\n>", "*\n>").replace("a*\n", "a\n").rstrip("\n") + "*\n"
    assert stopped.count("*") == 3
    assert list(read(tmp_path, stopped, name).rows) == EXPECTED
    between = FASTA.replace("QISF-", "QISF*").replace("QISFW", "QISF-")  # where the others have a gap
    assert list(read(tmp_path, between, "y.fasta").rows) == ["MKTAYIAKQRQISF", "MKT-YIAggKQRQISF", "-KTAYIAKQRQISF"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("packed", [False, True])
def test_every_format_becomes_the_same_rows(tmp_path, name, packed):
    data = FILES[name].encode()
    path = write(tmp_path, name + ".gz" * packed, gzip.compress(data) if packed else data)
    alignment = read_own(path, TARGET)
    assert list(alignment.rows) == EXPECTED
    assert alignment.names == ("a", "one described", "two")


@pytest.mark.parametrize("name", FILES)
def test_the_target_may_stand_anywhere(tmp_path, name):
    """The second row as the target: its insertion becomes two columns, and its gap an insertion of the others."""
    target = Target.monomer("b", "b", "MKTYIAGGKQRQISF")
    alignment = read(tmp_path, FILES[name], name, target)
    assert alignment.names == ("b", "a", "two")
    assert list(alignment.rows) == ["MKTYIAGGKQRQISF", "MKTaYIA--KQRQISF", "-KTaYIA--KQRQISFw"]


def test_the_target_may_be_last_and_longer_than_the_columns(tmp_path):
    text = ">consensus\nMKTAY\n>short\n-KT--\n>t\niiMKTAcYll\n>ins\ngggMKTAYw\n"
    alignment = read(tmp_path, text, target=Target.monomer("t", "t", "IIMKTACYLL"))
    assert list(alignment.rows) == ["IIMKTACYLL", "--MKTA-Y--", "---KT-----", "GGgMKTA-YW-"]
    assert {len(aligned(row)) for row in alignment.rows} == {10}


def test_letters_are_read_as_those_of_the_target(tmp_path):
    alignment = read(
        tmp_path,
        ">q\nMUBO\n>r\nACDEFGHIKLMNPQRSTVWYXBZUJOM--K\n".replace("MUBO", "MUBOMKTAYIAKQRQISFMKTAYIAKQRQI"),
        target=Target.monomer("t", "t", "MCXKMKTAYIAKQRQISFMKTAYIAKQRQI"),
    )
    assert alignment.query == "MCXKMKTAYIAKQRQISFMKTAYIAKQRQI"
    assert alignment.rows[1] == "ACDEFGHIKLMNPQRSTVWYXBZUJOM--K"


def test_files_of_other_programs(tmp_path):
    """A comment as ColabFold writes it, HH-suite's rows of structure, MMseqs2's zeros."""
    text = f"#14\t1\n>ss_pred\nCCCHHH123\n>101\n{SEQUENCE}\n\x00>r\nMKT\nAYIAKQRQISF\n\x00"
    assert read(tmp_path, text).rows == (SEQUENCE, SEQUENCE)


def test_rows_of_a_family_that_are_not_the_target_only(tmp_path):
    alignment = read(tmp_path, f">{SEQUENCE}\n{SEQUENCE}\n>again\n{SEQUENCE}\n")
    assert alignment.names == ("a", "again")


def documented_errors():
    text = (ROOT / "docs/input.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| ([^|]+) \| `(my\.(?:a3m|sto)[^|]*)` \|$", text, re.MULTILINE))


BAD = {
    "another sequence": ("my.a3m", ">q\nMKWAYIAKQRQISF\n"),
    "a part of it": ("my.a3m", ">q\nTAYIAK\n"),
    "sequences that are not aligned": ("my.a3m", f">q\n{SEQUENCE}\n>r\nMKTAYIAKQRQ\n"),
    "a wrong letter": ("my.a3m", f">q\n{SEQUENCE}\n>r\nM1TAYIAKQRQISF\n"),
    "a Stockholm file that is cut short": ("my.sto", STOCKHOLM[:120]),
    "several alignments in one file": ("my.sto", f"# STOCKHOLM 1.0\na {SEQUENCE}\n//\n\n# STOCKHOLM 1.0\na MK\n//\n"),
    "a damaged packed file": ("my.a3m.gz", gzip.compress(A3M.encode())[:-9]),
}


@pytest.mark.parametrize("what", BAD)
def test_errors_are_the_documented_ones(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, *BAD[what]).relative_to(tmp_path)
    with pytest.raises(AlignmentError, match=f"^{re.escape(documented_errors()[what])}$"):
        read_own(path, TARGET)
    assert set(documented_errors()) == set(BAD)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.a3m", "", "the file is empty, expected an alignment"),
        ("x.a3m", "MKT\n", "x.a3m:1: expected a line that starts with '>', found 'MKT'"),
        ("x.a3m", ">ss_pred\nCCC\n", "the alignment has no rows"),
        ("x.a3m", ">q\n\n", "the first row, 'q' of 0 residues, has nothing at position 1, the target 'M'"),
        ("x.a3m", f">q\n{SEQUENCE}W\n", "has 'W' at position 15, the target nothing"),
        ("x.fa", b">q\xe9\nMKT\n", "byte 0xe9 is no UTF-8 text"),
        ("x.fa", ">q\x1b[31m\nMKT\n", r"x.fa:1: control character U\+001B"),
        ("x.fa", "PK\x03\x04", "found zip data"),
        ("x.sto", "# STOCKHOLM 1.0\na b c\n//\n", "x.sto:2: expected a name and its row, found 'a b c'"),
        ("x.sto", f"# STOCKHOLM 1.0\na {SEQUENCE}\nb MK\n//\n", "x.sto:3: 'b' has 2 columns, the first row 14"),
        ("x.gz", b"\x1f\x8bnonsense", "the packed file is damaged"),
        ("x.fa", ">q\nMKıA\n", "'ı' at position 3 of 'q' is neither amino acid nor gap"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, name, text, message):
    with pytest.raises(AlignmentError, match=message):
        read(tmp_path, text, name)


@pytest.mark.parametrize("header", ["../../etc/passwd", "<script>alert(1)</script>", '\'; rm -rf "x"', "w" * 10_240])
def test_headers_are_text(tmp_path, header):
    alignment = read(tmp_path, f">q\n{SEQUENCE}\n>{header}\n{SEQUENCE}\n")
    assert alignment.names[1] == header
    with pytest.raises(AlignmentError) as caught:
        read(tmp_path, f">{header}\nMKT\n")
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_a_row_that_is_broken_by_a_header(tmp_path):
    with pytest.raises(AlignmentError, match="'b' has 4 columns, the first row 14"):
        read(tmp_path, f">q\n{SEQUENCE}\n>b\nMKTA\n>YIAKQRQISF\n")


PIECES = st.sampled_from(
    [">", "# STOCKHOLM 1.0\n", "#=GS", "//", "\n", "\r", " ", "MKTAYIAKQRQISF", "mkt", "-", ".", "*"]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=99), st.lists(st.one_of(PIECES, st.text(max_size=4)), max_size=25).map("".join)))
def test_any_bytes_are_read_or_refused(tmp_path, data):
    for name in ("x.a3m", "x.fasta"):
        path = write(tmp_path, name, data if isinstance(data, bytes) else data.encode("utf-8", "replace"))
        try:
            alignment = read_own(path, TARGET)
        except AlignmentError as error:
            message, alignment = str(error), None
        else:
            message = ""
        assert "\n" not in message
        assert alignment is None or alignment.query == SEQUENCE
        assert alignment is None or {len(aligned(row)) for row in alignment.rows} == {14}


@st.composite
def families(draw):
    """Rows of an alignment in columns, of which one is the target."""
    width, depth = draw(st.integers(3, 13)), draw(st.integers(1, 5))
    rows = [draw(st.text("ACDEFGHIKLMNPQRSTVWY-", min_size=width, max_size=width)) for _ in range(depth)]
    place = draw(st.integers(0, depth - 1))
    rows[place] = draw(st.sampled_from("MKW")) + rows[place][1:]
    return rows, place


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(families())
def test_no_residue_is_lost_or_moved(tmp_path, family):
    """Whichever row is the target, every row keeps its residues, and pairs stay pairs."""
    rows, place = family
    text = "".join(f">row{i}\n{row}\n" for i, row in enumerate(rows))
    target = Target.monomer("t", "t", rows[place].replace("-", ""))
    alignment = read(tmp_path, text, "x.fasta", target)
    first = next(i for i, row in enumerate(rows) if row.replace("-", "") == target.sequence)
    others = [row for i, row in enumerate(rows) if i != first]
    assert [row.replace("-", "").upper() for row in alignment.rows[1:]] == [row.replace("-", "") for row in others]
    columns = [i for i, letter in enumerate(rows[first]) if letter != "-"]
    assert [aligned(row) for row in alignment.rows[1:]] == ["".join(row[i] for i in columns) for row in others]
    again = parse_a3m("".join(f">{n}\n{r}\n" for n, r in zip(alignment.names, alignment.rows, strict=True)), "x")
    assert again == alignment


def test_files_are_found_by_target(tmp_path):
    (tmp_path / "mine").mkdir()
    for name in ("a.a3m", "b.sto.gz", "c.txt", "A.fasta"):
        (tmp_path / "mine" / name).touch()
    other = write(tmp_path, "any name=x.aln", "")
    found = own_files([str(tmp_path / "mine"), f"c={other}"], ["a", "b", "c", "d"])
    assert {name: path.name for name, path in found.items()} == {"a": "a.a3m", "b": "b.sto.gz", "c": "any name=x.aln"}
    (tmp_path / "mine/a.fasta").touch()
    with pytest.raises(ConfigError, match=r"'a' has two alignments, .*a\.a3m and .*a\.fasta; leave one of them"):
        own_files([str(tmp_path / "mine")], ["a"])
    with pytest.raises(ConfigError, match=r"'b' has two alignments, .*b\.sto\.gz and .*c\.txt"):
        own_files([str(tmp_path / "mine"), f"b={tmp_path / 'mine/c.txt'}"], ["b"])


def test_the_version_is_that_of_the_content(tmp_path):
    one, two = write(tmp_path, "one", A3M), write(tmp_path, "two", FASTA)
    assert version_of(one) != version_of(two)
    assert re.fullmatch(r"sha256\.[0-9a-f]{12}", version_of(one))
