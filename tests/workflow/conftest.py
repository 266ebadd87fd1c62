"""What docs/output.md says, for tests that hold it against what is there."""

import re
import types

import pytest

from pipeline.config import ROOT

OPAQUE = (
    "settings",
    "violations",
    "violations_before",
    "violations_after",
    "files",
    "batches",
    "searches",
    "relaxations",
    "msas",
    "made_from.software",
    "software",
    "inputs",
    "outputs",
    "weights",
    "predict_settings",
    "search_settings",
    "databases[].facts",
    "own",
)
"""Fields whose own fields are described elsewhere, or are names."""


def tree(text):
    """Return the paths of the tree, and those among them that a setting asks for."""
    lines = text.split("```")[1].strip().splitlines()
    stack, paths, optional = [], set(), set()
    for line in lines[1:]:
        name, _, said = line.strip().partition(" ")
        depth = (len(line) - len(line.lstrip())) // 2
        stack[depth - 1 :] = [name]
        if not name.endswith("/"):
            paths.add("".join(stack))
            if said.strip().startswith("(only with"):
                optional.add("".join(stack))
    return paths, optional


def sections(text):
    """Return the names in the first column of each section's table, by the first word of its heading."""
    parts = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    return {
        part.split()[0].strip("`,").lower(): re.findall(r"^\| `([^`]+)` \|", part, flags=re.MULTILINE) for part in parts
    }


def flattened(value, name=""):
    """Return the dotted names of a JSON record's fields."""
    if isinstance(value, dict) and value and name not in OPAQUE:
        return {path for key, x in value.items() for path in flattened(x, f"{name}.{key}" if name else key)}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {path for x in value for path in flattened(x, f"{name}[]")}
    return {name}


@pytest.fixture(scope="session")
def documented():
    """The tree, the fields by record, and the function that names the fields of a record alike."""
    text = (ROOT / "docs/output.md").read_text(encoding="utf-8")
    paths, optional = tree(text)
    return types.SimpleNamespace(text=text, paths=paths, optional=optional, fields=sections(text), flattened=flattened)
