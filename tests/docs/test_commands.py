"""Every command of README and docs/*.md really runs here, on tiny inputs, or the reason why not stands here."""

import concurrent.futures
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from pipeline.config import ROOT
from pipeline.plan import plan_run
from pipeline.run import effective_config, parser

PAGES = ("README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
TUTORIAL = "docs/tutorial.md"
SECONDS = 900  # against what hangs

NOT_RUN = {
    r"\./foldline test": "these are the tests",
    r"\./foldline run( --cores 2)?$": "the example of five proteins: .ci/run runs it",
    r"fetch": "needs the network; tests/pipeline/download and tests/pipeline/databases have a server of their own",
    r"--profile (slurm|my_profile)|squeue": "needs a cluster; tests/slurm has one",
    r"--sdm conda": "needs conda",
    r"--model alphafold2|weights import": "needs 3.7 GB of parameters; tests/pipeline/weights imports small ones",
    r"foldline warm": "compiles for a minute; tests/pipeline/test_warm_command.py compiles a small network",
    r"library (build|verify) .*--(mmcif|library) /data": "needs a mirror of the PDB; tests/pipeline/library has one",
    r"foldline completion": "tests/pipeline/test_completion.py makes all three",
    r"foldline doctor": "tests/pipeline/doctor runs it and reads what it says",
    r"benchmarks/(?!sizes)": "measures for minutes; tests/benchmarks runs the quick ones",
    r"training\.": "needs the data of the training; tests/training",
}
FASTA = {
    "my.fasta": ">trp_cage\nNLYIQWLKDGGPSSGRPPPS\n",
    "more.fasta": ">chignolin\nGYDPETGTWG\n",
}
STRUCTURES = (
    *("model.cif", "predicted.cif", "relaxed.cif", "rank_1.cif", "rank_2.cif", "X.cif"),
    *("reference.pdb", "alphafold_model.cif"),
)


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")


def commands(page):
    """Return the commands of a page in order: indented lines, lines of blocks of no language, and code in the text."""
    text = re.sub(r"```(bash|python|yaml)\n.*?```", "", text_of(page), flags=re.DOTALL)
    lines = [
        re.match(r"(?:    )?((?:\./foldline|\.venv/bin/python|cp -r|squeue) .*)", line) for line in text.splitlines()
    ]
    inside = re.findall(r"`(\./foldline [^`\n]+)`", text)
    found = [*inside, *(line[1].strip() for line in lines if line)]
    return list(dict.fromkeys(command.partition(" #")[0].strip() for command in found))


def blocks(page, language):
    """Return the fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text_of(page), flags=re.DOTALL)


def reason(command):
    """Return why a command is not run; empty where it is."""
    return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, command)), "")


ALL = [(page, command) for page in PAGES if page != TUTORIAL for command in commands(page)]
POSSIBLE = list(dict.fromkeys(c for _, c in ALL if not reason(c)))
PLANNED = [c for c in POSSIBLE if c.startswith("./foldline run ")]
"""Really run by the tutorial, with other names and options: these are planned, as a run does before it starts."""
RUN = [c for c in POSSIBLE if c not in PLANNED and "config init" not in c]


def clone(folder):
    """Make a folder like a clone, with the files that the documents speak of."""
    (folder / ".venv/bin").mkdir(parents=True)
    for name, words in (("foldline", "-m pipeline.cli "), (".venv/bin/python", "")):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n')
        (folder / name).chmod(0o755)
    for name in ("data", "config", "profiles", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)
    for name, text in FASTA.items():
        (folder / name).write_text(text)
    for name in STRUCTURES:
        shutil.copyfile(ROOT / "tests/pipeline/golden/1l2y_A.pdb", folder / name)
    return folder


def run(folder, script):
    """Run a script as a user does whose home is empty; return what it says."""
    home = {"HOME": str(folder), "XDG_CACHE_HOME": str(folder.parent / "cache")}
    environment = {**os.environ, **home, "PYTHONPATH": str(ROOT)}
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(
        command, cwd=folder, env=environment, text=True, capture_output=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def follow(folder):
    """Follow the tutorial; return what its blocks say."""
    return [run(folder, block) for block in blocks(TUTORIAL, "bash")]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A clone in which the tutorial is followed, and one for the other commands, which looks at that one's results."""
    folder = tmp_path_factory.mktemp("documents")
    first, second = clone(folder / "first"), clone(folder / "second")
    (second / "results").symlink_to(first / "first")
    return first, second


@pytest.fixture(scope="module")
def outcomes(places):
    """What becomes of the tutorial and of the commands, two at a time: they wait a lot."""
    tutorial, place = places
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        made = {TUTORIAL: pool.submit(follow, tutorial)}
        run(place, "./foldline config init my.yaml")
        for command in sorted(RUN, key=looks_back):
            made[command] = pool.submit(when_ready, made[TUTORIAL], place, command)
        yield made


def looks_back(command):
    """Return whether a command looks at the results of the tutorial."""
    return bool(re.search(r" results\b", command))


def when_ready(tutorial, place, command):
    """Run a command."""
    if looks_back(command):
        tutorial.result()
    return run(place, command)


def test_every_reason_is_needed():
    everything = "\n".join(command for _, command in ALL)
    assert [pattern for pattern in NOT_RUN if not re.search(pattern, everything, re.MULTILINE)] == []
    assert ("README.md", "./foldline config init all.yaml") in ALL
    assert len(RUN) > 20


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN)
def test_the_command_runs(places, outcomes, command):
    outcomes[command].result()
    for name in re.findall(r"> ([\w.]+)$", command):
        assert (places[1] / name).stat().st_size > 100


@pytest.mark.slow
def test_the_tutorial_goes_from_a_sequence_to_a_figure(places, outcomes):
    said = outcomes[TUTORIAL].result()
    assert len(said) > 8
    assert {path.suffix for path in (places[0] / "figures").iterdir()} == {".svg", ".png"}
    target = places[0] / "second/targets/BPTI"
    assert (target / "templates.tsv").exists()
    assert "own:relaxed_A" in (target / "templates.tsv").read_text()
    assert "\n36 " in "".join(said)


@pytest.mark.slow
def test_the_arrays_are_read_as_shown(places, outcomes):
    outcomes[TUTORIAL].result()
    (block,) = blocks("docs/output.md", "python")
    (places[1] / "read.py").write_text(f"{block}assert pae.shape == (58, 58) and 0 < pae.max() < 32\n")
    run(places[1], ".venv/bin/python read.py")


@pytest.mark.parametrize("command", PLANNED)
def test_the_run_is_planned(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in FASTA.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "my.yaml").write_text(blocks("README.md", "yaml")[0])
    words = shlex.split(command.partition(" -- ")[0])[2:]
    plan = plan_run(effective_config(parser().parse_args(words)))
    assert len(plan.targets) == sum(word.endswith(".fasta") for word in words)


@pytest.mark.slow
def test_snakemake_takes_what_is_passed_on(tmp_path):
    folder = clone(tmp_path / "clone")
    options = " ".join(dict.fromkeys(command.partition(" -- ")[2] for command in PLANNED))
    assert "--dry-run" in options
    said = run(folder, f"./foldline run my.fasta -- {options} 2>&1")
    assert "search" in said
    assert "relax" not in said  # --until search
