import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import NumberingError
from pipeline.fasta import read_fasta
from pipeline.numbering_table import numbered

FASTA = ">a first\nMKVLA\n>sp|P1|B second\nMKVLAW\n>c numbering=7\nMKV\n>sp|P2|D one\nMKV\n>sp|P2|D two\nMKV\n"
TITLES = "target\tnumbering\n"


@pytest.fixture
def targets(tmp_path):
    (tmp_path / "x.fasta").write_text(FASTA)
    return read_fasta(tmp_path / "x.fasta")


@pytest.fixture
def table(tmp_path):
    def write(content):
        path = tmp_path / "numbers.tsv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def numberings(targets):
    return [target.chain.numbering for target in targets]


def test_targets_are_named_by_word_or_folder(targets, table):
    found = numbered(targets, table(f"{TITLES}# ours\nsp|P1|B\t-2--1,1\n\na\t17\n{targets[3].name}\t5\nc\t7-9\n"))
    assert numberings(found) == ["17-21", "-2--1,1-4", "7-9", "5-7", "1-3"]
    assert [target.sequence for target in found] == [target.sequence for target in targets]


@pytest.mark.parametrize("content", [f"\ufeff{TITLES}a\t17\n", f"{TITLES} a \t 17 ", "target\tnumbering\r\na\t17\r\n"])
def test_what_editors_do_to_files_is_accepted(targets, table, content):
    assert numberings(numbered(targets, table(content)))[0] == "17-21"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"numbers\.tsv: the file is empty, expected a table of residue numbers"),
        ("# none\n", "expected the columns target and numbering with a tab between, found none"),
        ("a\t17\n", r"expected the columns target and numbering with a tab between, found 'a\\t17'"),
        ("target,numbering\na,17\n", "found 'target,numbering'"),
        (f"{TITLES}a 17\n", r"numbers\.tsv:2: expected 2 cells with a tab between, found 1"),
        (f"{TITLES}a\t17\tx\n", "found 3"),
        (f"{TITLES}a\t\n", r"numbers\.tsv:2: 'a': expected residue numbers, found ''; give the first"),
        (f"{TITLES}a\t1-4\n", r"numbers\.tsv:2: 'a': the sequence has 5 residues, '1-4' numbers 4"),
        (f"{TITLES}sp|P1|C\t17\n", r"no target is called 'sp\|P1\|C'; did you mean 'sp\|P1\|B'\?"),
        (f"{TITLES}\t17\n", "no target is called ''; take the line out"),
        (f"{TITLES}{'n' * 10_000}\t17\n", r"no target is called 'n{60}\.\.\.'; take the line out"),
        (f"{TITLES}sp|P2|D\t17\n", r"2 targets are called 'sp\|P2\|D'; call them by their folders, 'sp_P2_D-"),
        (f"{TITLES}a\t17\na\t17\n", r"numbers\.tsv:3: 'a' is numbered already at .*numbers\.tsv:2"),
        (f"{TITLES}c\t8\n", "'c' is numbered 8-10 here and 7-9 in its header; take one of them out"),
        (f"{TITLES}a\t1\0\n", r"numbers\.tsv:2: control character U\+0000, expected a table of residue numbers"),
        (b"\xff\xfet\0", "byte 0xff is no UTF-8 text"),
        (b"PK\x03\x04", "expected a table of residue numbers, found zip data"),
    ],
)
def test_what_cannot_be_used_is_refused(targets, table, content, message):
    with pytest.raises(NumberingError, match=message):
        numbered(targets, table(content))


def test_no_table(targets, tmp_path):
    with pytest.raises(NumberingError, match=r"cannot read the table of residue numbers \(no such file or directory\)"):
        numbered(targets, tmp_path / "none.tsv")


@settings(deadline=None, max_examples=200)
@given(st.one_of(st.binary(max_size=100), st.text("ac\t1-,A\n\r#", max_size=40).map(lambda t: (TITLES + t).encode())))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "x.fasta").write_text(FASTA)
    (folder / "x.tsv").write_bytes(data)
    targets, message = read_fasta(folder / "x.fasta"), ""
    try:
        targets = numbered(targets, folder / "x.tsv")
    except NumberingError as error:
        message = str(error)
    assert "\n" not in message
    assert all(len(target.chain.author_numbers) == len(target.sequence) for target in targets)
