"""docs/command.md against the code: exit codes, commands, options."""

import re
from pathlib import Path

import pytest

from pipeline import cli, errors
from pipeline.cli import COMMANDS
from pipeline.command_line import Parser, actions_of
from pipeline.config import ROOT

TEXT = (ROOT / "docs/command.md").read_text(encoding="utf-8")


def test_the_exit_codes_are_those_of_the_code():
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.FoldlineError)
    ]
    codes = {0, cli.INTERNAL_EXIT, cli.INTERRUPTED_EXIT, *(kind.exit_code for kind in kinds)}
    assert [int(code) for code in re.findall(r"^\| `(\d+)` \|", TEXT, re.MULTILINE)] == sorted(codes)


def test_every_command_is_named_once():
    table = TEXT.partition("| commands | |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"`(\w+)`", table)) == sorted(COMMANDS)


def test_the_options_mean_what_the_table_says():
    found = {}
    for command in COMMANDS:
        made = cli.module_of(command).parser()
        for each in (made, *actions_of(made).values()):
            for action in each._actions:
                for option in action.option_strings:
                    found.setdefault(option, set()).add(action.metavar)
    table = TEXT.partition("The same word means the same everywhere:")[2].partition("\nOptions are not")[0]
    for option, metavar in re.findall(r"`(--[\w-]+)(?: (\w+))?`", table):
        assert not metavar or metavar in found[option], option


def test_the_error_that_is_shown_is_the_real_one():
    shown = re.search(r"error: (foldline run: '--core' .*)", TEXT)[1]
    with pytest.raises(errors.UsageError, match=re.escape(shown)):
        cli.module_of("run").parser().parse_args(["--core", "3"])


def test_schemas_that_are_named_exist():
    code = "".join(path.read_text(encoding="utf-8") for path in Path(ROOT / "pipeline").rglob("*.py"))
    named = re.findall(r"`(foldline\.\w+/\d)`", TEXT)
    assert len(named) >= 3
    assert all(f'"{name}"' in code for name in named)


def test_commands_are_described_by_one_parser_each():
    assert all(isinstance(cli.module_of(command).parser(), Parser) for command in COMMANDS)
