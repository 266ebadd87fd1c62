import shutil
import subprocess

import pytest

from pipeline import completion
from pipeline.cli import COMMANDS
from pipeline.command_line import actions_of

WORDS = """
source ./{file}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_shtab_foldline
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def whole():
    return completion.everything()


@pytest.fixture(scope="module")
def bash(tmp_path_factory):
    """Return a function that gives what bash completes."""
    program = shutil.which("bash")
    if not program:
        pytest.skip("there is no bash")
    folder = tmp_path_factory.mktemp("bash")
    (folder / "foldline").write_text(completion.script("bash"))
    (folder / "my.fasta").touch()

    def completed(*words):
        script = WORDS.format(file="foldline", words=" ".join(f"'{word}'" for word in ("foldline", *words)))
        done = subprocess.run([program, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
        return done.stdout.split()

    return completed


def test_every_command_is_there_with_its_settings(whole):
    commands = actions_of(whole)
    assert list(commands) == list(COMMANDS)
    assert "--stiffness" in commands["relax"].format_help()


def test_bash_completes_commands_actions_options_and_values(bash):
    assert bash("pre") == ["predict"]
    assert bash("weights", "f") == ["fetch"]
    assert bash("run", "--out") == ["--outdir"]
    assert set(bash("relax", "--force-field", "amber")) == {"amber14", "amber99sb"}
    assert "my.fasta" in bash("run", "my")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_read_theirs(shell, tmp_path):
    text = completion.script(shell)
    assert all(name in text for name in COMMANDS)
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell}")
    (tmp_path / "foldline").write_text(text)
    done = subprocess.run([shell, "-n", "foldline"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
