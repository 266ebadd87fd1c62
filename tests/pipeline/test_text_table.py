"""Tables for a terminal: numbers to the right, words to the left, nothing that a terminal would act upon."""

from pipeline.text_table import aligned


def test_numbers_are_to_the_right_and_words_to_the_left():
    rows = [("NAME", "SIZE", "STATE"), ("a", "7.8 MB", "ok"), ("longer", "", "-absent"), ("b", "-12 MB", "whole")]
    assert aligned(rows) == (
        "NAME      SIZE  STATE\na       7.8 MB  ok\nlonger          -absent\nb       -12 MB  whole\n"
    )


def test_a_cell_cannot_steer_the_terminal():
    assert aligned([("name",), ("\x1b[31mred\n",)]) == "name\n?[31mred?\n"
