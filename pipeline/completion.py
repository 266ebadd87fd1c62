"""`foldline completion`: what makes a shell complete commands, options and file names, made from the parsers."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from pipeline.cli import COMMANDS, module_of
from pipeline.command_line import Parser, actions_of

SHELLS = ("bash", "zsh", "fish")
_FILES = ("FILE", "FASTA", "MODEL", "REFERENCE")
_FOLDERS = ("DIR",)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the completion of a shell; write it where the shell looks for it (docs/command.md)."""
    arguments = parser().parse_args(argv)
    sys.stdout.write(script(arguments.shell))
    return 0


def parser() -> argparse.ArgumentParser:
    """Describe the command."""
    made = Parser(
        "foldline completion",
        main.__doc__,
        example="foldline completion bash > ~/.local/share/bash-completion/completions/foldline\n"
        "foldline completion fish > ~/.config/fish/completions/foldline.fish",
    )
    made.add_argument("shell", choices=SHELLS, help="the shell: %(choices)s")
    return made


def script(shell: str) -> str:
    """Return the completion of a shell."""
    import shtab  # noqa: PLC0415 - no other command needs it

    whole = everything()
    for each in _all_of(whole):
        _complete_files(each, shtab)
    return shtab.complete(whole, shell=shell) + "\n"


def everything() -> argparse.ArgumentParser:
    """Return one parser that holds those of all commands, with all options."""
    made = Parser("foldline", "Predict protein structures from sequences.")
    made.add_argument("--version", action="store_true", help="show the version and exit")
    commands = made.add_subparsers(metavar="COMMAND", parser_class=_parser_of)  # type: ignore[call-overload]
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text)
    for each in _all_of(made):
        if isinstance(each, Parser):
            each.unfold()
    return made


def _parser_of(prog: str, **_: Any) -> argparse.ArgumentParser:
    return module_of(prog.rsplit(maxsplit=1)[-1]).parser()


def _all_of(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    return [parser, *(inner for action in actions_of(parser).values() for inner in _all_of(action))]


def _complete_files(parser: argparse.ArgumentParser, shtab: Any) -> None:
    """Let the options and arguments that are files and folders complete as such."""
    for action in parser._actions:
        if action.metavar in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
