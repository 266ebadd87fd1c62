import contextlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import NumberingError
from pipeline.numbering import author_numbers, numbering_of, too_wide_for_pdb


@pytest.mark.parametrize(
    ("numbering", "numbers", "short"),
    [
        ("1", "1 2 3 4 5", "1-5"),
        ("17", "17 18 19 20 21", "17-21"),
        ("-2", "-2 -1 0 1 2", "-2-2"),
        ("-7--3", "-7 -6 -5 -4 -3", "-7--3"),
        ("-2--1,1", "-2 -1 1 2 3", "-2--1,1-3"),
        ("17-19,50-51", "17 18 19 50 51", "17-19,50-51"),
        ("9,3,50", "9 3 50 51 52", "9,3,50-52"),
        ("52,52A,52B,53", "52 52A 52B 53 54", "52,52A,52B,53-54"),
        ("100-101,1-3", "100 101 1 2 3", "100-101,1-3"),
        ("007", "7 8 9 10 11", "7-11"),
        ("1-4,5", "1 2 3 4 5", "1-5"),
    ],
)
def test_a_numbering_names_each_residue(numbering, numbers, short):
    assert author_numbers(numbering, 5) == tuple(numbers.split())
    assert numbering_of(numbers.split()) == short


@pytest.mark.parametrize(
    ("numbering", "message"),
    [
        ("", r"x:1: expected residue numbers, found ''; give the first number \(17\) or ranges \(17-40,50-74\)"),
        ("one", "expected residue numbers, found 'one'"),
        ("17,", "expected residue numbers, found ''"),
        ("1.5", "found '1.5'"),
        ("1-5A", "found '1-5A'"),
        ("17:21", "found '17:21'"),
        ("\u0661", "found '\u0661'"),
        ("1234567", "found '1234567'"),
        ("9" * 10_000, r"found '9{60}\.\.\.'"),
        ("5-1", "the range '5-1' ends before it begins; begin with the smaller number"),
        ("1-4", "the sequence has 5 residues, '1-4' numbers 4"),
        ("1-6", "the sequence has 5 residues, '1-6' numbers more"),
        ("1-5,9", "the sequence has 5 residues, '1-5,9' numbers more"),
        ("-999999-999999", "numbers more"),
        ("1A", "numbers 1"),
        ("1-3,2-3", "the residue number 2 is given twice in '1-3,2-3'"),
        ("1,1A,1A,2", "the residue number 1A is given twice"),
    ],
)
def test_what_is_no_numbering_is_refused(numbering, message):
    with pytest.raises(NumberingError, match=message):
        author_numbers(numbering, 5, "x:1")


@settings(deadline=None)
@given(st.lists(st.from_regex(r"-?[1-9][0-9]{0,3}[A-C]?", fullmatch=True), min_size=1, max_size=17, unique=True))
def test_round_trip(numbers):
    assert author_numbers(numbering_of(numbers), len(numbers)) == tuple(numbers)


@settings(deadline=None)
@given(st.one_of(st.text(max_size=50), st.text("0123456789-,A", max_size=20)), st.integers(1, 50))
def test_any_text_is_read_or_refused(text, length):
    numbers = ()
    with contextlib.suppress(NumberingError):
        numbers = author_numbers(text, length)
    assert len(set(numbers)) == len(numbers) in (0, length)
    assert all(re.fullmatch(r"-?[0-9]+[A-Za-z]?", number) for number in numbers)


def test_what_the_pdb_format_holds():
    assert too_wide_for_pdb(["-999", "1", "9999A", "9999"]) == ""
    assert too_wide_for_pdb(["9999", "10000"]) == "10000"
    assert too_wide_for_pdb(["-1000"]) == "-1000"
