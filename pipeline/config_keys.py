"""What each key of the config means: its unit, default, allowed values, and what a change makes anew.

Meaning and default stand in config/README.md, types and limits in the schema; tests hold both equal to the stages'
`Settings`.
"""

import dataclasses
import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.config import ROOT, schema
from pipeline.errors import ConfigError

README = ROOT / "config" / "README.md"
STAGES = ("search", "featurize", "predict", "relax", "report")
_ROW = re.compile(r"\| `(\w+)` \| (.+) \| `(.+)` \|")
_LINK = re.compile(r"\[([^\]]+)\]\((?:\.\./)?([^)]+)\)")
_BOUNDS = {"minimum": "at least {}", "exclusiveMinimum": "more than {}", "maximum": "at most {}"}
_WORDS = {"string": "text", "number": "number", "integer": "whole number", "boolean": "true or false", "null": "null"}
_FORMS = {r"^(\d{4}-\d{2}-\d{2})?$": "YYYY-MM-DD or empty", "^[^{}]+$": "text without braces"}


@dataclasses.dataclass(frozen=True)
class Key:
    """One setting.

    Args:
        section: Its section; empty for one that has none.
        name: Its name.
        meaning: What it means, with its unit.
        default: Its default as YAML.
        allowed: Which values it may have, in words.
    """

    section: str
    name: str
    meaning: str
    default: str
    allowed: str

    @property
    def path(self) -> str:
        """Its whole name, `section.name`."""
        return f"{self.section}.{self.name}" if self.section else self.name

    @property
    def flag(self) -> str:
        """The option of the stage's own command; empty where there is none."""
        return f"foldline {self.section} --{self.name.replace('_', '-')}" if self.section in STAGES else ""

    @property
    def remade(self) -> str:
        """Say what a change makes anew."""
        if self.section == "plan":
            return "no result; batches that are planned already stay"
        if self.section == "report":
            return "the pages"
        if self.section in STAGES:
            return f"what {self.section} and the stages after it make"
        return "what depends on it, from the search on" if self.section else "nothing; another folder starts anew"


@functools.cache
def keys() -> Mapping[str, Key]:
    """Return every key by its whole name, in the order of the config."""
    found, section = {}, ""
    for line in README.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line[3:].strip()
        elif row := _ROW.fullmatch(line):
            name, meaning, default = row.groups()
            key = Key(section, name, _LINK.sub(r"\1 (\2)", meaning), default, allowed(_schema_of(section, name)))
            found[key.path] = key
    return found


@functools.cache
def sections() -> Mapping[str, str]:
    """Return what each section is about, by its name, in the order of the config."""
    text = README.read_text(encoding="utf-8")
    found = re.findall(r"^## (\w+)\n\n(.+)$", text, re.MULTILINE)
    return {name: about.replace("`", "") for name, about in found}


def find_keys(word: str) -> list[Key]:
    """Return the keys that a word means: one by its whole name, those of its name alone, or those of a section.

    Raises:
        ConfigError: It means none; the text names the nearest.
    """
    if word in keys():
        return [keys()[word]]
    if word in sections():
        return [key for key in keys().values() if key.section == word]
    found = [key for key in keys().values() if key.name == word.replace("-", "_")]
    if found:
        return found
    raise ConfigError(f"'{word}' is no key of the config", mend=_mend(word))


def allowed(rules: Mapping[str, Any]) -> str:
    """Say in words which values a part of the schema allows."""
    if "enum" in rules:
        return "one of " + ", ".join(map(str, rules["enum"]))
    kinds = [rules["type"]] if isinstance(rules["type"], str) else list(rules["type"])
    if kinds == ["array"]:
        least = " that is not empty" if rules.get("minItems") else ""
        return f"a list{least}, each entry: {allowed(rules['items'])}"
    words = [_FORMS.get(rules.get("pattern", ""), _WORDS[kind]) for kind in kinds if kind not in ("object", "null")]
    if "object" in kinds:
        words.append(_mapping(rules["properties"]))
    bounds = [text.format(rules[name]) for name, text in _BOUNDS.items() if name in rules]
    return ", ".join([" or ".join(words), *bounds]) + (", or null" if "null" in kinds else "")


def _mapping(parts: Mapping[str, Mapping[str, Any]]) -> str:
    members = (f"{name} ({', '.join(part['enum'])})" if "enum" in part else name for name, part in parts.items())
    return f"a mapping of {', '.join(members)}"


def _schema_of(section: str, name: str) -> Mapping[str, Any]:
    rules = schema()["properties"]
    return rules[section]["properties"][name] if section else rules[name]


def _mend(word: str) -> str:
    names = _spellings()
    near = difflib.get_close_matches(word.lower().replace("-", "_"), list(names), n=1)
    if near:
        return f"did you mean '{names[near[0]]}'?"
    return f"`foldline config explain` lists the sections: {', '.join(sections())}"


def _spellings() -> dict[str, str]:
    """Return whole names by what somebody may write: the name alone, the whole one, the section."""
    every: Iterable[Key] = keys().values()
    alone: dict[str, str] = {}
    for key in every:
        alone[key.name] = key.name if key.name in alone else key.path
    return alone | {path: path for path in keys()} | {name: name for name in sections()}
