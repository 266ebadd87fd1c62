"""The command line that all commands share: helps that fit a screen, errors on one line, the nearest word.

Standard library only: this is loaded before anything else.
"""

import argparse
import difflib
import re
import sys
import textwrap
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pipeline.errors import UsageError

_WIDTH = 100  # columns of a help at most; a narrower terminal gets its own
_OPTION = re.compile(r"--[A-Za-z][\w-]*(?=$|=)")
_CHOICE = re.compile(r"argument (\S+): invalid choice: (.+) \(choose from (.+)\)")


class Parser(argparse.ArgumentParser):
    """A parser of one command or of one of its actions.

    Args:
        prog: The command, `foldline COMMAND`.
        description: What it does, one sentence or two.
        example: A command line to copy, without `example:`; several on several lines.
        options: What `argparse.ArgumentParser` takes besides.
    """

    def __init__(self, prog: str = "", description: str | None = None, example: str = "", **options: Any) -> None:
        options.setdefault("formatter_class", _Formatter)
        options.setdefault("allow_abbrev", False)
        super().__init__(prog=prog, description=description, add_help=False, **options)
        self.example = example
        self._folded: dict[argparse.Action, str] = {}
        self.add_argument("-h", "--help", action="help", help="show this help and exit")

    def fold(self, group: argparse._ArgumentGroup, about: str) -> None:
        """Leave a group of options out of `--help`; `--help-all` shows them.

        Args:
            group: The group, with all its options.
            about: What explains them, for the line that stands in their place.
        """
        if not self._folded:
            self.add_argument("--help-all", action=_HelpAll, help=argparse.SUPPRESS)
        for action in group._group_actions:
            self._folded[action] = str(action.help)
            action.help = argparse.SUPPRESS
        self._about = about

    def unfold(self) -> None:
        """Show every option again, in helps and to the shell's completion."""
        for action, text in self._folded.items():
            action.help = text
        self._folded.clear()

    def format_help(self) -> str:
        """Return the help: usage, options, what is folded away, an example."""
        text = super().format_help()
        if self._folded:
            count = len(self._folded)
            text += f"\n{count} more setting{'s' * (count > 1)}: see --help-all, or {self._about}\n"
        if self.example:
            label, lines = ("examples" if "\n" in self.example else "example"), textwrap.indent(self.example, "  ")
            text += f"\n{label}:\n{lines}\n"
        return text

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse the words; what is no option ends the command, with the nearest one that is."""
        words, known = list(sys.argv[1:] if args is None else args), set(_options(self))
        for word in words:
            option = _OPTION.match(word)
            if option and option[0] not in known:
                self.error(f"{option[0]!r} is no option{nearest(option[0], known)}")
        found, unknown = self.parse_known_args(words, namespace)
        if unknown:
            self.error(f"{unknown[0]!r} was not expected here")
        return found

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            UsageError: Always.
        """
        if choice := _CHOICE.fullmatch(message):
            option, found, known = choice.groups()
            words = re.findall(r"[\w.-]+", known)
            message = f"{option}: {found} is none of {', '.join(words)}{nearest(found.strip(chr(39)), words)}"
        raise UsageError(message, self.prog, f"see {self.prog} --help")


class _HelpAll(argparse.Action):
    """Show the help with every option."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, **options)

    def __call__(self, parser: Any, *_: Any) -> None:
        parser.unfold()
        parser.print_help()
        parser.exit()


class _Formatter(argparse.HelpFormatter):
    """Options in one column wide enough for most of ours, so that few need a second line."""

    def __init__(self, prog: str) -> None:
        columns = min(_terminal_width(), _WIDTH)
        super().__init__(prog, max_help_position=28, width=columns - 2)


def _terminal_width() -> int:
    import shutil  # noqa: PLC0415 - only helps need it, and it takes longer to load than all the rest

    return shutil.get_terminal_size().columns


def said(text: str) -> dict[str, Any]:
    """Return what `add_parser` takes to say the same in the list of actions and in the action's own help."""
    return {"help": text, "description": text[:1].upper() + text[1:] + "."}


def nearest(word: str, known: Collection[str]) -> str:
    """Return `, did you mean 'X'?` for the known word nearest to a wrong one; empty where none is near."""
    longer = sorted((one for one in known if one.startswith(word)), key=len)
    near = longer or difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean '{near[0]}'?" if near else ""


def actions_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of a command's actions, such as `fetch` of `foldline weights`, by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from parser._option_string_actions
    for action in actions_of(parser).values():
        yield from _options(action)


def positive(text: str) -> int:
    """Read a number of things, such as cores.

    Raises:
        argparse.ArgumentTypeError: It is no whole number above 0.
    """
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, found '{text}'")
    return value


def add_run(
    parser: argparse.ArgumentParser, outdir: str = "folder of all results (default: the config's, results)"
) -> None:
    """Add what names a run: its FASTA files, output folder, network and config.

    Args:
        parser: Of a command that is about a run.
        outdir: What the output folder is to the command.
    """
    parser.add_argument("fasta", nargs="*", type=Path, metavar="FASTA", help="files to read (default: the config's)")
    parser.add_argument("--outdir", type=Path, metavar="DIR", help=outdir)
    parser.add_argument("--model", metavar="NAME", help="network: mini, alphafold2 or a preset (default: the config's)")
    add_config(parser)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a config."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of the settings that differ")
