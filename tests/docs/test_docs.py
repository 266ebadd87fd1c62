"""The documents: links lead somewhere, commands can be given, names are those of the code."""

import re
import shlex
import tomllib

import pytest

from pipeline.cli import COMMANDS
from pipeline.config import ROOT
from pipeline.run import parser

PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("data/*/README.md")]
)

NO_FILES = ("models/model_3_ptm-0/", "pipeline/mystage/stage.py")  # of results, and of what is to be written


def text_of(path):
    return path.read_text(encoding="utf-8")


def anchors(path):
    headings = re.findall(r"^#+ (.+)$", text_of(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page):
    """Return the commands of a page: lines of indented and of fenced blocks, put together where they are cut."""
    lines = text_of(page).replace("\\\n", " ").splitlines()
    found = re.findall(r"`(\./foldline [^`\n]+)`", text_of(page))
    return [*found, *(line.strip() for line in lines if re.match(r"(    )?(\./foldline|\.venv/bin/python) ", line))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", text_of(page)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        goal = (page.parent / name).resolve() if name else page
        assert goal.exists(), link
        assert not anchor or anchor in anchors(goal), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_can_be_given(page):
    for command in commands(page):
        words = shlex.split(command.partition(" #")[0])
        if words[0] == "./foldline":
            assert words[1] in {*COMMANDS, "test", "--help"}, command
            if words[1] == "run":
                own = words[2 : words.index("--")] if "--" in words else words[2:]
                parser().parse_args(own)
        elif words[1].endswith(".py"):
            script = text_of(ROOT / words[1])
            assert all(f'"{word}"' in script for word in words if word.startswith("--")), command


def test_the_table_of_algorithms_is_whole_and_true():
    rows = re.findall(
        r"^\| (\d[\d, ]*) \| \w[^|]* \| ([^|]*) \| ([^|]*) \|$", text_of(ROOT / "docs/models.md"), re.MULTILINE
    )
    numbers = [int(number) for row in rows for number in row[0].split(", ")]
    assert numbers == list(range(1, 33))
    for _, files, names in rows[1:]:
        code = "".join(text_of(ROOT / file) for file in re.findall("`([^`]+)`", files))
        for name in re.findall("`([^`]+)`", names):
            assert re.search(rf"^(class|def) {name}\b", code, re.MULTILINE), name


def test_the_tests_that_are_named_exist():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text_of(ROOT / "docs/models.md"))
    assert len(named) > 10
    for file, name in named:
        assert f"def {name}(" in text_of(ROOT / file), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_files_that_are_named_exist(page):
    named = re.findall(r"`((?:pipeline|models|tests|benchmarks|profiles|training)/[\w./-]*)`", text_of(page))
    assert [name for name in named if not (ROOT / name).exists() and name not in NO_FILES] == []


def test_licences_of_all_that_ships_are_named():
    text = text_of(ROOT / "docs/licences.md").lower()
    needed = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]["dependencies"]
    names = [re.match(r"[\w-]+", line)[0].lower() for line in needed]
    assert [name for name in names if name not in text] == []
    vendored = [path.parent.relative_to(ROOT) for path in (ROOT / "pipeline").rglob("vendor/*/LICENSE")]
    assert vendored
    assert [folder for folder in vendored if f"`{folder}/`" not in text] == []


def test_every_rule_is_in_the_table_of_resources():
    rules = set(re.findall(r"^rule (\w+):", text_of(ROOT / "Snakefile"), re.MULTILINE)) - {"all"}
    assert rules == set(re.findall(r"^\| `(\w+)` \|", text_of(ROOT / "docs/hpc.md"), re.MULTILINE))
