import dataclasses

import pytest

from pipeline import cli
from pipeline.command_line import Parser, actions_of, nearest, positive, said
from pipeline.errors import UsageError
from pipeline.settings import add_flags, setting


@dataclasses.dataclass(frozen=True)
class Settings:
    stiffness: float = setting(10.0, "how stiff, kcal/mol/A^2")
    strict: bool = setting(False, "whether")


def parser():
    made = Parser("foldline stage", "Do it.", example="foldline stage --structure x")
    made.add_argument("--structure", required=True, metavar="FILE", help="what to read")
    made.add_argument("--kind", choices=("protein", "peptide"))
    add_flags(made, Settings)
    return made


def refused(made, words):
    with pytest.raises(UsageError, match=made.prog) as caught:
        made.parse_args(words)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_help_leaves_out_the_settings_and_says_where_they_are():
    text = parser().format_help()
    assert "--structure FILE" in text
    assert "--stiffness" not in text
    assert "\n2 more settings: see --help-all, or foldline config explain stage\n" in text
    assert text.endswith("\nexample:\n  foldline stage --structure x\n")


def test_help_all_shows_them(capsys):
    with pytest.raises(SystemExit, match="0"):
        parser().parse_args(["--help-all"])
    text = capsys.readouterr().out
    assert "--stiffness X" in text
    assert "--no-strict" in text
    assert "more setting" not in text


def test_folded_settings_are_read():
    found = parser().parse_args(["--structure", "x", "--stiffness", "3", "--strict"])
    assert (found.stiffness, found.strict) == (3.0, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--structur", "x"], "'--structur' is no option, did you mean '--structure'?"),
        (["--stif=3"], "'--stif' is no option, did you mean '--stiffness'?"),
        (["--qqq", "--structure", "x"], "'--qqq' is no option"),
        (["--structure", "x", "y"], "'y' was not expected here"),
        (["--structure", "x", "--kind", "protien"], "--kind: 'protien' is none of protein, peptide, did you mean"),
        ([], "the following arguments are required: --structure"),
    ],
)
def test_a_usage_error_is_one_line(words, said):
    text = refused(parser(), words)
    assert text.startswith(f"foldline stage: {said}")
    assert text.endswith("; see foldline stage --help")
    assert "\n" not in text


def test_options_are_not_cut_short():
    assert "'--struct' is no option" in refused(parser(), ["--struct", "x"])


def test_options_of_actions_are_known():
    made = Parser("foldline data", "Do.")
    fetch = made.add_subparsers(dest="action", metavar="ACTION").add_parser("fetch", **said("get it"))
    fetch.add_argument("--folder")
    assert made.parse_args(["fetch", "--folder", "x"]).folder == "x"
    assert "did you mean '--folder'?" in refused(made, ["fetch", "--foldr", "x"])
    assert "ACTION: 'fetsh' is none of fetch, did you mean 'fetch'?" in refused(made, ["fetsh"])
    assert "Get it." in fetch.format_help()


def test_the_nearest_word():
    assert nearest("predikt", ["predict", "relax"]) == ", did you mean 'predict'?"
    assert nearest("str", ["strict", "strictly", "st"]) == ", did you mean 'strict'?"
    assert nearest("xyz", ["predict"]) == ""


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", ""])
def test_positive_numbers(text):
    made = Parser("foldline x")
    made.add_argument("--cores", type=positive)
    assert made.parse_args(["--cores", "3"]).cores == 3
    assert f"expected a whole number above 0, found '{text}'" in refused(made, [f"--cores={text}"])


def every_parser():
    for command in cli.COMMANDS:
        made = cli.module_of(command).parser()
        yield made
        yield from actions_of(made).values()


def test_every_help_fits_a_screen_and_every_command_has_an_example(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for made in every_parser():
        text = made.format_help()
        assert text.count("\n") <= 40, made.prog
        assert max(map(len, text.splitlines())) <= 80, made.prog
        if made.prog.count(" ") == 1:
            assert f"  {made.prog}" in text.partition("\nexample")[2], made.prog


def test_every_option_says_what_it_is():
    for made in every_parser():
        made.unfold()
        assert all(action.help for action in made._actions if action.dest != "action"), made.prog


def test_one_word_means_one_thing():
    """An option that several commands have says the same kind of thing everywhere."""
    kinds = {}
    for made in every_parser():
        for action in made._actions:
            for option in [] if action.choices else action.option_strings:
                kinds.setdefault(option, set()).add((action.metavar, action.nargs == 0))
    differing = {option: found for option, found in kinds.items() if len(found) > 1}
    assert differing == {
        "--model": {("NAME", False), ("TEXT", False)},  # of a run; of a stage, whose settings are made from their types
        "--output": {("FILE", False), ("DIR", False)},  # a library is a folder
    }
