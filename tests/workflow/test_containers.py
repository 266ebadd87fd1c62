"""The container files: what they install from, what they take along, and that this is enough to run."""

import re
import subprocess
import sys

import pytest

from pipeline.config import ROOT

DOCKERFILE = (ROOT / "containers/Dockerfile").read_text(encoding="utf-8")
APPTAINER = (ROOT / "containers/foldline.def").read_text(encoding="utf-8")
TAKEN = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)


def test_both_start_from_the_same_supported_python():
    (docker,) = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE)
    (apptainer,) = re.findall(r"^From: (\S+)$", APPTAINER, re.MULTILINE)
    assert docker == apptainer
    oldest, newest = re.search(r"OLDEST, NEWEST = \(3, (\d+)\), \(3, (\d+)\)", (ROOT / "foldline").read_text()).groups()
    assert int(oldest) <= int(re.search(r"python:3\.(\d+)-", docker)[1]) <= int(newest)


def test_both_take_the_same_files():
    copied = re.findall(r"^    (\S+) /opt/foldline/\1$", APPTAINER, re.MULTILINE)
    assert sorted(copied) == sorted(TAKEN)
    assert all((ROOT / name).exists() for name in TAKEN)
    assert "COPY . /opt/foldline" in DOCKERFILE


@pytest.mark.parametrize("text", [DOCKERFILE, APPTAINER], ids=["Dockerfile", "foldline.def"])
def test_packages_come_from_the_locks_with_hashes(text):
    assert "python3 foldline --version" in text  # which makes .venv from requirements.lock
    installs = re.findall(r"pip install (.*?)(?:;| *\\?\n)", text)
    assert installs == ["--no-cache-dir --no-deps --require-hashes -r requirements-cuda.lock"]
    assert not re.search(r"https?://|--index-url|--extra-index|apt-get|conda ", text)


def test_the_variants_are_the_same():
    choice = r"cpu \| cuda\) ;; \*\) echo \"VARIANT is cpu or cuda"
    assert re.search(choice, DOCKERFILE)
    assert re.search(choice, APPTAINER)
    assert re.search(r"^ARG VARIANT=cpu$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^    VARIANT=cpu$", APPTAINER, re.MULTILINE)


def test_what_is_taken_is_enough_to_plan_a_run(tmp_path):
    image, user = tmp_path / "opt", tmp_path / "user"
    image.mkdir()
    user.mkdir()
    for name in TAKEN:
        (image / name).symlink_to(ROOT / name)
    (user / "in.fasta").write_text(">a\nMKTAYIAKQRQISFVKSHFSRQ\n")
    code = f"import sys; sys.path.insert(0, {str(image)!r}); from pipeline.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "plan", "in.fasta", "--cores", "2"]
    done = subprocess.run(command, cwd=user, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    assert "1 target, 5 jobs and the run's page" in done.stdout
