import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.a3m import Alignment, aligned, encode, format_a3m, parse_a3m, read_a3m, without_duplicates, write_a3m
from pipeline.errors import AlignmentError

TEXT = ">query\nMKVLA\n>one with words\nM-vvVLa-\n>two\nmmMKVLAcc\n"


def test_rows_and_names():
    alignment = parse_a3m(TEXT, "x.a3m")
    assert alignment.names == ("query", "one with words", "two")
    assert alignment.query == "MKVLA"
    assert [aligned(row) for row in alignment.rows] == ["MKVLA", "M-VL-", "MKVLA"]
    assert len(alignment) == 3


def test_encoding_counts_deletions_at_the_next_aligned_column():
    msa, deletions = encode(parse_a3m(TEXT, "x.a3m"))
    assert (msa.dtype, deletions.dtype) == (np.int8, np.int16)
    np.testing.assert_array_equal(msa[1], [10, 21, 17, 9, 21])
    np.testing.assert_array_equal(deletions, [[0, 0, 0, 0, 0], [0, 0, 2, 0, 1], [2, 0, 0, 0, 0]])


def test_every_letter_has_alphafolds_id():
    msa, _ = encode(parse_a3m(">q\nACDEFGHIKLMNPQRSTVWYXBZUJO\n>g\n" + "-" * 26, "x"))
    np.testing.assert_array_equal(msa[0], [*range(20), 20, 2, 3, 1, 20, 20])
    assert (msa[1] == 21).all()


def test_more_deletions_than_the_type_holds():
    _, deletions = encode(parse_a3m(f">q\nMK\n>r\nM{'a' * 40_000}K\n", "x"))
    assert deletions[1, 1] == 32_767


def test_other_programs_files_are_read():
    text = "#5\t1\r\n>query\r\nMKV\r\nLA\r\n>one\r\nM.K..VL-\r\n"
    assert parse_a3m(text, "x").rows == ("MKVLA", "MKVL-")


def test_duplicates_without_insertions_are_dropped():
    assert without_duplicates(parse_a3m(TEXT, "x")).names == ("query", "one with words")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.a3m: the alignment is empty, expected A3M rows"),
        ("MKV\n>a\nMKV", "x.a3m:1: expected a line that starts with '>', found 'MKV'"),
        (">q\n\n>r\nMKV", "x.a3m:1: the first row, the query, has no sequence"),
        (">q\nMK-V", "x.a3m:1: '-' at position 3 of the first row; the first row is the query"),
        (">q\nMKv", "'v' at position 3 of the first row"),
        (">q\nMKV\n>r\nMKV\n>s\nMK", "x.a3m:5: expected 3 aligned positions as in the query, found 2"),
        (">q\nMKV\n>r\nMKVa-", "x.a3m:3: expected 3 aligned positions as in the query, found 4"),
        (">q\nMKV\n>r\nM*V", r"x.a3m:3: '\*' at position 2 is neither amino acid nor gap"),
        (">q\nMÉV", "x.a3m:1: 'É' at position 2 is neither"),
        (">q\nMKV\n>r\n", "x.a3m:3: expected 3 aligned positions as in the query, found 0"),
    ],
)
def test_what_cannot_be_used_is_refused(text, message):
    with pytest.raises(AlignmentError, match=message):
        parse_a3m(text, "x.a3m")


def test_unreadable_files(tmp_path):
    with pytest.raises(AlignmentError, match=r"cannot read the A3M file \(no such file or directory\)"):
        read_a3m(tmp_path / "none.a3m")
    with pytest.raises(AlignmentError, match="is a directory"):
        read_a3m(tmp_path)
    (tmp_path / "x.a3m").write_bytes(b">q\n\xff\xfe")
    with pytest.raises(AlignmentError, match="no UTF-8 text"):
        read_a3m(tmp_path / "x.a3m")


def test_names_cannot_break_the_file():
    alignment = Alignment(("q", "bad\n>name\r\n\tof 'many' <b>kinds</b>"), ("MKV", "M-V"))
    again = parse_a3m(format_a3m(alignment), "x")
    assert again.rows == alignment.rows
    assert again.names[1] == "bad >name of 'many' <b>kinds</b>"


@st.composite
def alignments(draw):
    n = draw(st.integers(1, 13))
    rows = [draw(st.text("ACDEFGHIKLMNPQRSTVWYX", min_size=n, max_size=n))]
    for _ in range(draw(st.integers(0, 5))):
        letters = draw(st.text("ACDEFGHIKLMNPQRSTVWYXBZUJO-", min_size=n, max_size=n))
        inserted = draw(st.lists(st.text("acdwy", max_size=3), min_size=n + 1, max_size=n + 1))
        rows.append(inserted[0] + "".join(a + b for a, b in zip(letters, inserted[1:], strict=True)))
    return Alignment(tuple(f"row {i}" for i in range(len(rows))), tuple(rows))


@settings(deadline=None)
@given(alignments())
def test_round_trip(tmp_path_factory, alignment):
    path = tmp_path_factory.mktemp("round") / "x.a3m"
    write_a3m(path, alignment)
    assert read_a3m(path) == alignment
    msa, deletions = encode(alignment)
    for row, ids, deleted in zip(alignment.rows, msa, deletions, strict=True):
        after_last = len(row) - len(row.rstrip("acdwy"))
        assert deleted.sum() == sum(letter.islower() for letter in row) - after_last
        assert [i == 21 for i in ids] == [letter == "-" for letter in aligned(row)]


@pytest.mark.parametrize("letter", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
def test_every_residue_letter_is_read(letter):
    alignment = parse_a3m(f">q\nM{letter}K\n>r\n{letter.lower()}M{letter}{letter.lower()}-\n", "x")
    msa, deletions = encode(alignment)
    assert msa[0, 1] == msa[1, 1] < 21
    np.testing.assert_array_equal(deletions[1], [1, 0, 1])
    assert parse_a3m(format_a3m(alignment), "x") == alignment


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_files_of_other_systems_are_read(tmp_path, ending, mark):
    (tmp_path / "x.a3m").write_bytes(mark + TEXT.replace("\n", ending).encode())
    assert read_a3m(tmp_path / "x.a3m") == parse_a3m(TEXT, "x")


def test_packed_alignments_are_named(tmp_path):
    (tmp_path / "x.a3m").write_bytes(gzip.compress(TEXT.encode()))
    with pytest.raises(AlignmentError, match=r"x\.a3m: expected an A3M file, found gzip data; decompress it first"):
        read_a3m(tmp_path / "x.a3m")


@settings(deadline=None)
@given(alignments(), st.data())
def test_any_name_comes_back(tmp_path_factory, alignment, data):
    hostile = st.sampled_from(
        ["../../x", "'; rm -rf ~ #", "<b>&amp;</b>", ">>x", "a\nb", "a\r\n>b", "n" * 10_000, "\0\x01"]
    )
    names = [data.draw(st.one_of(hostile, st.text(st.characters(codec="utf-8")))) for _ in alignment.rows]
    path = tmp_path_factory.mktemp("names") / "x.a3m"
    write_a3m(path, Alignment(tuple(names), alignment.rows))
    again = read_a3m(path)
    assert again.rows == alignment.rows
    assert again.names == tuple(" ".join(name.split()) for name in names)


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text("\n>#ACDac-. \r", max_size=200).map(str.encode)))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "x.a3m"
    path.write_bytes(data)
    try:
        encode(read_a3m(path))
    except AlignmentError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message
