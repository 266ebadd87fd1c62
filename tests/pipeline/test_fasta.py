import hashlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import FastaError
from pipeline.fasta import Limits, read_fasta, read_target, read_targets, safe_name, write_target

SEQUENCE = "MKVLAWGDERTHYPNQSCFI"


@pytest.fixture
def write(tmp_path):
    def write(content, name="targets.fasta"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_records_keep_header_order_and_place(write):
    first, second = read_fasta(write(f">a first protein\n{SEQUENCE}\n\n>b\n{SEQUENCE[:7]}\n{SEQUENCE[7:]}\n"))
    assert (first.name, first.header, first.sequence) == ("a", "a first protein", SEQUENCE)
    assert second.sequence == SEQUENCE
    assert second.source.endswith("targets.fasta:4")
    assert first.notes == second.notes == ()


@pytest.mark.parametrize(
    "content",
    [
        f">a\r\n{SEQUENCE}\r\n",
        f">a\r{SEQUENCE}\r",
        f"\ufeff>a\n{SEQUENCE}",
        f"\n \n>a\n  {SEQUENCE[:5]} {SEQUENCE[5:]}\t\n",
        f">a\n{SEQUENCE.lower()}\n",
    ],
)
def test_what_editors_do_to_files_is_accepted(write, content):
    (target,) = read_fasta(write(content))
    assert (target.name, target.sequence) == ("a", SEQUENCE)


@pytest.mark.parametrize(
    ("letters", "sequence", "note"),
    [
        ("MKUVu", "MKCVC", r"2 U \(selenocysteine\) read as C, at position 3, 5"),
        ("MOK", "MKK", r"1 O \(pyrrolysine\) read as K, at position 2"),
        ("MBZJK", "MXXXK", r"1 B \(asparagine or aspartate\) read as X, at position 2"),
        ("UUUUUUM", "CCCCCCM", r"6 U .* at position 1, 2, 3, 4, 5, \.\.\."),
        ("MXXK", "MXXK", r"2 X kept as unknown residues"),
        ("MKV*", "MKV", r"'\*' at the end dropped"),
        ("MKV\n**\n", "MKV", r"'\*' at the end dropped"),
        ("ACGTACGT", "ACGTACGT", r"all letters are also nucleotides"),
    ],
)
def test_what_was_changed_is_said(write, letters, sequence, note):
    (target,) = read_fasta(write(f">a\n{letters}\n"))
    assert target.sequence == sequence
    assert re.search(note, "; ".join(target.notes))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"targets\.fasta: the file is empty, expected a FASTA file"),
        (" \n\n", "the file is empty"),
        ("\ufeff\u00a0\n", "the file is empty"),
        ("MKV\n", r"targets\.fasta:1: expected a header line that starts with '>', found 'MKV'"),
        ("\n\nMKV\n>a\nMKV", r"targets\.fasta:3: expected a header line"),
        (">\nMKV\n", r"targets\.fasta:1: the record has no name; write a name after '>'"),
        (">a\nMKV\n>   \nMKV", r"targets\.fasta:3: the record has no name"),
        (">... x\nMKV\n", r"targets\.fasta:1: no file name can be made of '\.\.\.'"),
        (">a\n>b\nMKV\n", r"targets\.fasta:1: 'a' has no sequence"),
        (">a\n*\n", r"targets\.fasta:1: 'a' has no sequence"),
        (">a\nXXBX\n", r"'a' has no known residue, only X"),
        (">kinase_A\nMKV\nLA@WG\n", r"targets\.fasta:3: '@' at position 6 of 'kinase_A' is no amino acid; use X"),
        (">a\nMKV-LA\n", r"targets\.fasta:2: gap '-' at position 4 of 'a' is no amino acid; give .* without gaps"),
        (">a\nMKV.LA\n", "gap '.' at position 4"),
        (">a\n1 MKV\n", "digit '1' at position 1 of 'a' is no amino acid; give the sequence without numbers"),
        (">a\nMK*V\n", r"stop '\*' at position 3 of 'a' is no amino acid; it may stand at the end only"),
        (">a\nMKV:LAW\n", "chain separator ':' at position 4 of 'a' is no amino acid; complexes are not predicted yet"),
        (">a\nMKV/LAW\n", "chain separator '/' at position 4 of 'a'.*give each chain a record of its own"),
        (">a\nMKéV\n", "'é' at position 3 of 'a'"),
        (">a\nMKßV\n", "'ß' at position 3 of 'a'"),
        (">a\nMKſV\n", "'ſ' at position 3 of 'a'"),
        (">a\nMKV\u0661\n", "digit '\u0661' at position 4"),
        (">a\nMK\0V\n", r"targets\.fasta:2: control character U\+0000, expected a FASTA file"),
        (">a\x1b[31m\nMKV\n", r"targets\.fasta:1: control character U\+001B"),
        (">a\u2028b\nMKV\n", r"control character U\+2028"),
        (b">a\nMKV\n>caf\xe9\nMKV\n", r"targets\.fasta:3: byte 0xe9 is no UTF-8 text.*save the file as plain text"),
        (b"\xff\xfe>\0a\0", "byte 0xff is no UTF-8 text"),
        (b"\x1f\x8b\x08\0abc", "expected a FASTA file, found gzip data; decompress it first"),
        (b"PK\x03\x04abc", "found zip data"),
    ],
)
def test_what_cannot_be_used_is_refused(write, content, message):
    with pytest.raises(FastaError, match=message):
        read_fasta(write(content))


def test_missing_file_directory_and_no_file(tmp_path):
    with pytest.raises(FastaError, match=r"nothing\.fa: cannot read the FASTA file \(no such file or directory\)"):
        read_targets([tmp_path / "nothing.fa"])
    with pytest.raises(FastaError, match="this is a directory, expected a FASTA file"):
        read_targets([tmp_path])
    with pytest.raises(FastaError, match="no FASTA file given"):
        read_targets([])


def test_long_names_are_cut_in_messages(write):
    with pytest.raises(FastaError) as error:
        read_fasta(write(f">{'n' * 10_000}\nMK@\n"))
    assert len(error.value.problem) < 200


def test_length_limits(write):
    path = write(f">short\n{SEQUENCE[:7]}\n")
    with pytest.raises(FastaError, match=r"fasta:1: 'short' has 7 residues, fewer than min_length = 8"):
        read_targets([path], Limits(min_length=8))
    with pytest.raises(FastaError, match=r"'short' has 7 residues, more than max_length = 6"):
        read_targets([path], Limits(min_length=1, max_length=6))
    assert len(read_targets([path], Limits(min_length=7, max_length=7))) == 1


def test_names_must_differ_across_files_and_in_more_than_case(write):
    one, two = write(f">Ab\n{SEQUENCE}\n", "one.fa"), write(f">c\n{SEQUENCE}\n>aB x\n{SEQUENCE}\n", "two.fa")
    assert [target.name for target in read_targets([one])] == ["Ab"]
    with pytest.raises(FastaError, match=r"two\.fa:3: name 'aB' is already used at .*one\.fa:1; give each record"):
        read_targets([one, two])


@pytest.mark.parametrize(
    ("header", "stem"),
    [
        ("sp|P12345|KIN_HUMAN kinase", "sp_P12345_KIN_HUMAN"),
        ("../../etc/passwd", "_.._etc_passwd"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("<script>alert('1')</script>", "_script_alert__1____script_"),
        ("x" * 200, "x" * 80),
        ("a\\b:c*d?", "a_b_c_d_"),
        ("タンパク", "____"),
    ],
)
def test_unsafe_names_are_changed_and_marked(header, stem):
    assert safe_name(header) == f"{stem}-{hashlib.sha256(header.encode()).hexdigest()[:6]}"


def test_safe_names_stay():
    assert safe_name("T1024-D1_v2.1 some protein") == "T1024-D1_v2.1"


def test_changed_names_do_not_collide():
    assert len({safe_name(header) for header in ("a|b", "a/b", "a_b", "a|b other", "a:b")}) == 5


@settings(deadline=None)
@given(st.text(max_size=200))
def test_safe_names_are_safe_for_any_header(header):
    name = safe_name(header)
    assert re.fullmatch(r"([A-Za-z0-9_][A-Za-z0-9._-]*)?", name)
    assert len(name) <= 87


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "x.fa"
    path.write_bytes(data)
    targets, message = [], ""
    try:
        targets = read_targets([path], Limits(min_length=1))
    except FastaError as error:
        message = str(error)
    assert "\n" not in message
    assert bool(targets) != bool(message)
    assert all(set(target.sequence) <= set("ACDEFGHIKLMNPQRSTVWYX") for target in targets)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1), st.text("ACDMKWXUObz", min_size=1)
        ),
        min_size=1,
        max_size=5,
    )
)
def test_records_survive_writing_and_reading(tmp_path_factory, records):
    folder = tmp_path_factory.mktemp("round")
    (folder / "x.fa").write_text("".join(f">{header}\n{letters}\n" for header, letters in records), encoding="utf-8")
    try:
        targets = read_fasta(folder / "x.fa")
    except FastaError:
        return
    for target in targets:
        write_target(folder / "target.fasta", target)
        again = read_target(folder / "target.fasta")
        assert (again.name, again.header, again.sequence) == (target.name, target.header, target.sequence)


def test_a_stage_reads_one_record(write):
    with pytest.raises(FastaError, match="expected one record, found 2"):
        read_target(write(">a\nMKV\n>b\nMKV\n"))


def test_long_sequences_are_wrapped(write, tmp_path):
    (target,) = read_fasta(write(f">a long one\n{SEQUENCE * 9}\n"))
    write_target(tmp_path / "out" / "target.fasta", target)
    lines = (tmp_path / "out" / "target.fasta").read_text().splitlines()
    assert lines[0] == ">a long one"
    assert [len(line) for line in lines[1:]] == [80, 80, 20]


@pytest.mark.parametrize(
    ("header", "numbering"),
    [
        ("a", "1-20"),
        ("a numbering=17", "17-36"),
        ("a kinase domain numbering=-3 (human)", "-3-16"),
        ("a numbering=17-20,50-65 x", "17-20,50-65"),
        ("a renumbering=17 xnumbering=18", "1-20"),
    ],
)
def test_the_header_may_number_the_residues(write, header, numbering):
    (target,) = read_fasta(write(f">{header}\n{SEQUENCE}\n"))
    assert target.chain.numbering == numbering
    assert (target.name, target.header) == ("a", header)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("a numbering=", r"targets\.fasta:1: expected residue numbers after numbering=; give the first number"),
        ("a numbering=x", "expected residue numbers, found 'x'"),
        ("a numbering=17-20, 50-65", "expected residue numbers, found ''"),
        ("a numbering=1-21", r"targets\.fasta:1: 'a': the sequence has 20 residues, '1-21' numbers more"),
        ("a numbering=1 numbering=2", "the header gives residue numbers twice; leave one numbering= in it"),
    ],
)
def test_a_wrong_numbering_is_refused(write, header, message):
    with pytest.raises(FastaError, match=message):
        read_fasta(write(f">{header}\n{SEQUENCE}\n"))


HOSTILE = [
    "../../etc/passwd",
    "/etc/passwd",
    "C:\\Windows\\system32",
    "$(touch pwned)",
    "`touch pwned`",
    "'; rm -rf ~; '",
    '"quoted" \'and\' so',
    "{target} {{ 7 * 7 }} %s %n",
    "<script>alert(1)</script> <!-- --> ]]> &amp;",
    "--help",
    "a" * 10_000,
    "x " + "y " * 5_000,
    "\u202ename \ufffd \U0001f9ec",
    "con", "aux.txt", "a:b", "a\tb", "a>b >c", "numbering=17",
]  # fmt: skip


@pytest.mark.parametrize("header", HOSTILE, ids=lambda header: header[:20])
def test_hostile_headers_come_back_and_make_safe_names(write, tmp_path, header):
    (target,) = read_targets([write(f">{header}\n{SEQUENCE}\n")])
    assert target.header == header.strip()
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,86}", target.name)
    write_target(tmp_path / "out" / target.name / "target.fasta", target)
    assert read_target(tmp_path / "out" / target.name / "target.fasta").header == target.header


LINES = st.lists(
    st.one_of(
        st.sampled_from([f">{header[:200]}" for header in HOSTILE]),
        st.text("ACDEFGHIKLMNPQRSTVWYXUOBZJacdxz *-:/1@>", max_size=30),
        st.sampled_from(
            ["", " ", "\t", ">", "> ", ">a numbering=", ">a numbering=3-4,9", ";comment", "\0", "\x0b", "\x85"]
        ),
    ),
    max_size=12,
)


def _outcome(path):
    try:
        return [(t.name, t.header, t.chains, t.notes) for t in read_targets([path], Limits(min_length=1))]
    except FastaError as error:
        return str(error)


@settings(deadline=None, max_examples=200)
@given(LINES, st.sampled_from(["\r\n", "\r"]), st.sampled_from([b"", b"\xef\xbb\xbf"]))
def test_line_ends_and_byte_order_marks_change_nothing(tmp_path_factory, lines, ending, mark):
    path = tmp_path_factory.mktemp("fuzz") / "x.fa"
    path.write_bytes("\n".join(lines).encode())
    expected = _outcome(path)
    path.write_bytes(mark + ending.join(lines).encode())
    assert _outcome(path) == expected
    assert len(expected) < 1_000 or not isinstance(expected, str)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1", "shift-jis"])
def test_other_encodings_are_named(write, encoding):
    with pytest.raises(FastaError, match=r"no UTF-8 text|control character"):
        read_fasta(write(f">prot{'ｱ' if encoding == 'shift-jis' else 'é'}ine\n{SEQUENCE}\n".encode(encoding)))
