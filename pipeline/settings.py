"""One way from a stage's `Settings` to flags and back: the config section, the command line and the log agree."""

import argparse
import dataclasses
import json
import shlex
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from pipeline.command_line import Parser

T = TypeVar("T")
_METAVARS = {int: "N", float: "X", str: "TEXT"}


def setting(default: Any, help_text: str) -> Any:
    """Declare a field of a `Settings` dataclass: its default, and a help text that names its unit."""
    return dataclasses.field(default=default, metadata={"help": help_text})


def add_flags(parser: argparse.ArgumentParser, settings: type) -> None:
    """Add a `--flag` for each field of a `Settings` dataclass; `None` defaults are optional values.

    A stage's `--help` leaves them out, `--help-all` shows them.
    """
    hints = typing.get_type_hints(settings)
    group = parser.add_argument_group("settings")
    for field in dataclasses.fields(settings):
        options: dict[str, Any] = {"default": field.default, "help": f"{field.metadata['help']} (default: %(default)s)"}
        kind = hints[field.name]
        if isinstance(kind, types.UnionType):
            kind = next(a for a in typing.get_args(kind) if a is not types.NoneType)
        if typing.get_origin(kind) is typing.Literal:
            options |= {"choices": typing.get_args(kind)}
        elif typing.get_origin(kind) is tuple:
            (kind, *_) = typing.get_args(kind)
            options |= {"nargs": "*", "type": kind, "metavar": _METAVARS[kind]}
        elif kind is bool:
            options |= {"action": argparse.BooleanOptionalAction}
        else:
            options |= {"type": kind, "metavar": _METAVARS[kind]}
        group.add_argument(_flag(field.name), **options)
    if isinstance(parser, Parser):
        parser.fold(group, f"foldline config explain {parser.prog.split()[-1]}")


def from_args(settings: type[T], arguments: argparse.Namespace) -> T:
    """Make the `Settings` from parsed arguments."""
    values = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(settings)}  # type: ignore[arg-type]
    return settings(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def to_flags(section: Mapping[str, Any]) -> str:
    """Write a section of the config as flags, quoted for the shell, in the order of the section; `null` is left out.

    A mapping in a list is one word, its JSON.
    """
    words: list[str] = []
    for name, value in section.items():
        if isinstance(value, bool):
            words.append(_flag(name) if value else _flag(f"no_{name}"))
        elif isinstance(value, list):
            words += [_flag(name), *map(_word, value)]
        elif value is not None:
            words += [_flag(name), str(value)]
    return shlex.join(words)


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, Mapping) else str(value)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
