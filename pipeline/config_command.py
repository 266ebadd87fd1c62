"""`foldline config`: write a config, explain a key, show what a run would use."""

import argparse
import json
import logging
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.command_line import Parser, add_run, said
from pipeline.config import DEFAULT_CONFIG, line_of, read_yaml
from pipeline.config_keys import Key, find_keys, keys, sections
from pipeline.errors import ConfigError
from pipeline.records import write_text
from pipeline.run import effective_config, from_command_line

SCHEMA, KEYS_SCHEMA = "foldline.config/1", "foldline.keys/1"
FILE = Path("foldline.yaml")
_WIDTH = 100
_HEAD = """# Settings of a run: foldline run --config {name}
# All values are the defaults, and a line that you delete keeps its default.
# foldline config show --config {name} says what a run would use.
"""

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `foldline config init`, `explain` or `show`."""
    arguments = parser().parse_args(argv)
    actions: dict[str, Callable[[argparse.Namespace], None]] = {"init": _init, "explain": _explain, "show": _show}
    actions[arguments.action](arguments)
    return 0


def parser() -> argparse.ArgumentParser:
    """Describe the command."""
    made = Parser(
        "foldline config",
        "Write a config, explain its keys, or show what a run would use.",
        example="foldline config init my.yaml\n"
        "foldline config explain relax.stiffness\n"
        "foldline config show --config my.yaml my.fasta",
    )
    actions = made.add_subparsers(dest="action", required=True, metavar="ACTION")
    begin = actions.add_parser("init", **said("write a config with every key, its meaning and its default"))
    begin.add_argument(
        "file", nargs="?", type=Path, default=FILE, metavar="FILE", help="to write (default: %(default)s)"
    )
    tell = actions.add_parser("explain", **said("say what a key means, its default and which values it may have"))
    tell.add_argument("key", nargs="?", help="such as relax.stiffness, stiffness, or relax (default: all sections)")
    tell.add_argument("--json", action="store_true", help=f"print the record ({KEYS_SCHEMA})")
    look = actions.add_parser("show", **said("show every value that a run would use, and where it comes from"))
    add_run(look)
    look.add_argument("--changed", action="store_true", help="only what is not the default")
    look.add_argument("--json", action="store_true", help=f"print the record ({SCHEMA})")
    return made


def commented(name: str) -> str:
    """Return the default config with the meaning of each key above it.

    Args:
        name: Of the file, for the comment at its head.
    """
    lines, section = [_HEAD.format(name=name)], ""
    for line in DEFAULT_CONFIG.read_text(encoding="utf-8").splitlines()[1:]:
        if heading := re.match(r"(\w+):$", line):
            section = heading[1]
        if key := keys().get(_path(section, line)):
            indent = "  " if key.section else ""
            about = f"{key.meaning}; {key.allowed}"
            lines += textwrap.wrap(about, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        lines.append(line)
    return "\n".join(lines) + "\n"


def explained(key: Key) -> str:
    """Return all that is known of a key as lines."""
    rows = {
        "meaning": key.meaning,
        "default": key.default,
        "allowed": key.allowed,
        "a change": f"makes anew: {key.remade}",
        "command": key.flag,
    }
    return f"{key.path}\n" + "".join(_row(label, text) for label, text in rows.items() if text)


def origins(arguments: argparse.Namespace) -> dict[str, str]:
    """Return where each value of a run comes from: `default`, FILE:LINE or `command line`, by the key's whole name.

    Args:
        arguments: Those of `foldline run`.
    """
    found = dict.fromkeys(keys(), "default")
    if arguments.config:
        written = read_yaml(arguments.config)
        found |= {path: _place(arguments.config, path) for path in keys() if _holds(written, path)}
    given = from_command_line(arguments)
    return found | {path: "command line" for path in keys() if _holds(given, path)}


def page_of(config: Mapping[str, Any], where: Mapping[str, str]) -> str:
    """Return values as YAML, each with its origin as a comment.

    Args:
        config: The values, whole.
        where: Origins of those to show, by their whole names.
    """
    rows, section = list[tuple[str, str]](), ""
    for path, origin in where.items():
        key = keys()[path]
        if key.section != section:
            section = key.section
            rows += [("", ""), (f"{section}:", "")] if rows else [(f"{section}:", "")]
        value = config[section][key.name] if section else config[key.name]
        rows.append((f"{'  ' if section else ''}{key.name}: {_as_yaml(value)}", f"# {origin}"))
    width = min(max((len(text) for text, origin in rows if origin), default=0), 40)
    return "".join(f"{text.ljust(width)}  {origin}".rstrip() + "\n" for text, origin in rows)


def _init(arguments: argparse.Namespace) -> None:
    """Write a config.

    Raises:
        ConfigError: The file is there.
    """
    path = arguments.file
    if path.exists():
        raise ConfigError("this file is there, and may hold settings of yours", str(path), "name another one")
    write_text(path, commented(str(path)))
    log.info("wrote %s; use it by: foldline run --config %s", path, path)


def _explain(arguments: argparse.Namespace) -> None:
    found = find_keys(arguments.key) if arguments.key else list(keys().values())
    if arguments.json:
        _print_json({"schema": KEYS_SCHEMA, "keys": list(map(_record, found))})
    elif not arguments.key:
        sys.stdout.write("".join(_row(name, about) for name, about in sections().items()))
        sys.stdout.write("\n`foldline config explain SECTION` lists the keys of one, `explain KEY` says all of a key\n")
    elif arguments.key in sections():
        sys.stdout.write(f"{arguments.key}: {sections()[arguments.key]}\n" + "".join(map(_line, found)))
    else:
        sys.stdout.write("\n".join(map(explained, found)))


def _show(arguments: argparse.Namespace) -> None:
    """Print the values of a run.

    Raises:
        ConfigError: One of them is wrong.
    """
    config, where = effective_config(arguments), origins(arguments)
    if arguments.changed:
        where = {path: origin for path, origin in where.items() if origin != "default"}
    if arguments.json:
        _print_json({"schema": SCHEMA, "config": config, "origins": where})
    elif where:
        sys.stdout.write(page_of(config, where))
    else:
        log.info("all values are the defaults")


def _record(key: Key) -> dict[str, Any]:
    names = {"key": key.path, "meaning": key.meaning, "default": yaml.safe_load(key.default), "allowed": key.allowed}
    return {**names, "command": key.flag or None}


def _print_json(record: Mapping[str, Any]) -> None:
    json.dump(record, sys.stdout, indent=1, allow_nan=False)
    sys.stdout.write("\n")


def _row(label: str, text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=f"  {label:<11}", subsequent_indent=" " * 13) + "\n"


def _line(key: Key) -> str:
    about = f"{key.meaning} [{key.default}]"
    return textwrap.fill(about, _WIDTH, initial_indent=f"  {key.name:<22} ", subsequent_indent=" " * 25) + "\n"


def _path(section: str, line: str) -> str:
    """Return the whole name of the key on a line of the config; a line without one gives no name of a key."""
    found = re.match(r"(  )?(\w+):", line)
    if not found:
        return ""
    return f"{section}.{found[2]}" if found[1] else found[2]


def _place(path: Path, key: str) -> str:
    return f"{path}:{line_of(path, key.split('.'))}"


def _holds(values: Mapping[str, Any], path: str) -> bool:
    section, _, name = path.rpartition(".")
    inner = values.get(section) if section else values
    return isinstance(inner, Mapping) and name in inner


def _as_yaml(value: Any) -> str:
    """Return a value on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**9, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
