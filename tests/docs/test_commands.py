"""Every command of README and docs/*.md really runs here, on tiny inputs, or the reason why not stands here."""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys

import pytest

from pipeline.config import ROOT

PAGES = ("README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
TUTORIAL = "docs/tutorial.md"
SECONDS = 240

NOT_RUN = {
    r"\./foldline test": "these are the tests",
    r"\./foldline run( --cores 2)?$": "the example of five proteins: .ci/run runs it",
    r"fetch": "needs the network; tests/pipeline/download and tests/pipeline/databases have a server of their own",
    r"--profile (slurm|my_profile)|squeue": "needs a cluster; tests/slurm has one",
    r"--sdm conda": "needs conda",
    r"--model alphafold2|weights import": "needs 3.7 GB of parameters; tests/pipeline/weights imports small ones",
    r"foldline warm": "compiles for a minute; tests/pipeline/test_warm_command.py compiles a small network",
    r"library (build|verify) .*--(mmcif|library) /data": "needs a mirror of the PDB; tests/pipeline/library has one",
    r"completion (zsh|fish)": "as for bash; tests/pipeline/test_completion.py makes all three",
    r"benchmarks/(?!sizes)": "measures for minutes; tests/benchmarks runs the quick ones",
    r"training\.": "needs the data of the training; tests/training",
}
ONLY_PLANNED = r"\./foldline run "
"""As the runs of the tutorial, with other names and options: Snakemake plans them and stops."""
FASTA = {
    "my.fasta": ">trp_cage\nNLYIQWLKDGGPSSGRPPPS\n",
    "more.fasta": ">chignolin\nGYDPETGTWG\n",
}
COMPLETIONS = (".local/share/bash-completion/completions", ".zfunc", ".config/fish/completions")
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
RUN = list(dict.fromkeys(c for _, c in ALL if not reason(c) and "config init" not in c))


def clone(folder):
    """Make a folder like a clone, with the files that the documents speak of."""
    (folder / ".venv/bin").mkdir(parents=True)
    for name, words in (("foldline", "-m pipeline.cli "), (".venv/bin/python", "")):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n')
        (folder / name).chmod(0o755)
    for name in ("data", "config", "profiles", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)
    for name in COMPLETIONS:
        (folder / name).mkdir(parents=True)
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


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory):
    """A clone in which the tutorial was followed, and what its blocks said."""
    folder = clone(tmp_path_factory.mktemp("documents") / "clone")
    return folder, [run(folder, block) for block in blocks(TUTORIAL, "bash")]


@pytest.fixture(scope="module")
def outcomes(tutorial):
    """What becomes of the commands; they look at the run of the tutorial. Two go on at a time, as they wait a lot."""
    folder, _ = tutorial
    for name in ("results", "my_results"):
        (folder / name).symlink_to("first")
    run(folder, "./foldline config init my.yaml")
    runs, others = ([c for c in RUN if c.startswith("./foldline run") == yes] for yes in (True, False))
    with concurrent.futures.ThreadPoolExecutor(1) as one, concurrent.futures.ThreadPoolExecutor(1) as other:
        yield {c: pool.submit(run, folder, planned(c)) for pool, some in ((one, runs), (other, others)) for c in some}


def planned(command):
    """Return what is run of a command."""
    if re.match(ONLY_PLANNED, command) and "--dry-run" not in command:
        return f"{command} {'' if ' -- ' in command else '-- '}--dry-run"
    return command


def test_every_reason_is_needed():
    everything = "\n".join(command for _, command in ALL)
    assert [pattern for pattern in NOT_RUN if not re.search(pattern, everything, re.MULTILINE)] == []
    assert ("README.md", "./foldline config init my.yaml") in ALL
    assert len(RUN) > 20


@pytest.mark.slow
def test_the_tutorial_goes_from_a_sequence_to_a_figure(tutorial):
    folder, said = tutorial
    assert len(said) > 8
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".svg", ".png"}
    target = folder / "second/targets/BPTI"
    assert (target / "ranking.json").exists()
    assert "own:relaxed_A" in (target / "templates.tsv").read_text()
    assert "\n36 " in "".join(said)


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN)
def test_the_command_runs(tutorial, outcomes, command):
    outcomes[command].result()
    for name in re.findall(r"> ([\w.]+)$", command):
        assert (tutorial[0] / name).stat().st_size > 100


@pytest.mark.slow
def test_the_arrays_are_read_as_shown(tutorial):
    folder, _ = tutorial
    (block,) = blocks("docs/output.md", "python")
    code = block.replace("results/", "first/") + "assert pae.shape == (58, 58) and 0 < pae.max() < 32\n"
    (folder / "read.py").write_text(code)
    run(folder, ".venv/bin/python read.py")
