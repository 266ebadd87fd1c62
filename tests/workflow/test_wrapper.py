"""The wrapper at the root: from a bare clone to the installed command, once, safely and without a network here."""

import ast
import hashlib
import importlib.machinery
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UV = """#!/bin/sh
[ "$1" = --version ] && exit 0
echo "$@" >> "$UV_LOG"
[ -n "$UV_RESULT" ] && echo "no way" >&2
sleep 0.3
exit ${UV_RESULT:-0}
"""
CLI = """
import os
import sys

def main():
    print(sys.argv[1:], sys.prefix)
    assert "PYTHONPATH" not in os.environ
    return 7
"""


@pytest.fixture
def wrapper(tmp_path):
    """The wrapper as a module, in a clone of its own."""
    path = shutil.copy(ROOT / "foldline", tmp_path / "foldline")
    loader = importlib.machinery.SourceFileLoader("foldline_wrapper", str(path))
    module = types.ModuleType(loader.name)
    module.__file__ = str(path)
    loader.exec_module(module)
    return module


@pytest.fixture
def clone(tmp_path):
    """A clone without dependencies, in a folder with a space, and a uv that only notes what it is asked."""
    folder = tmp_path / "my clone"
    (folder / "pipeline").mkdir(parents=True)
    (folder / "pipeline/__init__.py").touch()
    (folder / "pipeline/cli.py").write_text(CLI)
    shutil.copy(ROOT / "foldline", folder)
    for name in ("requirements.lock", "requirements-test.lock", "requirements-parity.lock"):
        (folder / name).write_text("# nothing\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/uv").write_text(UV)
    (tmp_path / "bin/uv").chmod(0o755)
    return folder


def start(clone, *words, **variables):
    tools = clone.parent / "bin"
    environment = {**os.environ, "PATH": f"{tools}:/usr/bin:/bin", "UV_LOG": str(tools / "log"), "PYTHONPATH": "/x"}
    environment |= variables
    command = [sys.executable, str(clone / "foldline"), *words]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(clone, *words, **variables):
    process = start(clone, *words, **variables)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def installs(clone):
    log = clone.parent / "bin/log"
    return log.read_text().splitlines() if log.exists() else []


def test_first_use_sets_up_and_hands_over(clone):
    code, out, err = run(clone, "run", "my file.fasta", "--", "-n")
    assert code == 7
    assert out == f"['run', 'my file.fasta', '--', '-n'] {clone / '.venv'}\n"
    assert "setting up .venv from requirements.lock" in err
    (line,) = installs(clone)
    assert f"-r {clone / 'requirements.lock'}" in line
    assert "--require-hashes" in line


def test_second_use_only_hands_over(clone):
    run(clone)
    code, out, err = run(clone, "x")
    assert (code, err) == (7, "")
    assert out.startswith("['x']")
    assert len(installs(clone)) == 1


def test_the_installed_command_is_the_same(clone):
    run(clone)
    done = subprocess.run([clone / ".venv/bin/foldline", "a b"], capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert done.stdout.startswith("['a b']")


def test_another_lock_and_a_half_made_environment_are_made_again(clone):
    run(clone)
    (clone / "requirements.lock").write_text("# other\n")
    assert run(clone)[0] == 7
    (clone / ".venv/foldline.json").write_text("{")
    assert run(clone)[0] == 7
    (clone / ".venv/foldline.json").unlink()
    (clone / ".venv/left over").touch()
    assert run(clone)[0] == 7
    assert not (clone / ".venv/left over").exists()
    assert len(installs(clone)) == 4


def made_by(clone, *version):
    """Let the marker say that another Python made the environment."""
    marker = clone / ".venv/foldline.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "python": ["/opt/other", list(version)]}))
    return marker


def test_an_environment_that_another_python_made_is_kept_while_it_runs(clone):
    run(clone)
    marker = made_by(clone, *sys.version_info[:2], 99)
    (clone / ".venv/mine").touch()
    code, _, err = run(clone, "x")
    assert (code, err) == (7, "")
    assert run(clone, "test")[0] == 1
    assert [line.split("-r ")[1].split(" --")[0] for line in installs(clone)] == [
        str(clone / "requirements.lock"),
        str(clone / "requirements-test.lock"),
    ]
    assert json.loads(marker.read_text())["python"] == ["/opt/other", [*sys.version_info[:2], 99]]
    assert (clone / ".venv/mine").exists()


@pytest.mark.parametrize("version", [(3, 8, 0), (), ("x", None)])
def test_an_environment_whose_python_is_another_now_is_made_again(clone, version):
    run(clone)
    made_by(clone, *version)
    assert run(clone)[0] == 7
    assert len(installs(clone)) == 2


def test_an_environment_whose_python_does_not_run_is_made_again(clone):
    run(clone)
    made_by(clone, *sys.version_info[:2], 99)
    (clone / ".venv/bin/python").unlink()
    (clone / ".venv/bin/python").write_text("#!/nowhere/python\n")
    assert run(clone)[0] == 7
    assert len(installs(clone)) == 2


def test_an_old_python_serves_where_the_environment_is_ready(wrapper, monkeypatch):
    monkeypatch.setattr(wrapper, "OLDEST", (3, 99))
    monkeypatch.setattr(wrapper, "description", lambda *_: {})
    monkeypatch.setattr(wrapper, "is_ready", lambda wanted: True)
    started = []
    monkeypatch.setattr(wrapper, "hand_over", started.append)
    wrapper.main(["run"])
    assert started == [[str(wrapper.COMMAND), "run"]]


def test_two_at_once_set_up_once(clone):
    processes = [start(clone) for _ in range(3)]
    assert [process.wait(timeout=120) for process in processes] == [7, 7, 7]
    said = "".join(process.communicate()[1] for process in processes)
    assert len(installs(clone)) == 1
    assert said.count("setting up .venv") == 1


def test_tests_add_their_own_lock(clone):
    run(clone)
    code, _, err = run(clone, "test", "-k", "x")
    assert code == 1
    assert "No module named pytest" in err
    first, second = installs(clone)
    assert "/requirements.lock" in first
    assert "/requirements-test.lock" in second
    assert run(clone)[0] == 7
    assert len(installs(clone)) == 2


def test_the_comparison_adds_its_own_lock(clone):
    run(clone, "test")
    (packages,) = (clone / ".venv").glob("lib/python*/site-packages")
    (packages / "pytest.py").write_text("import sys\nprint(sys.argv[1:])\n")
    code, out, err = run(clone, "test", "--parity", "-k", "x")
    assert (code, out) == (0, "['tests/parity', '-k', 'x']\n")
    assert "setting up .venv from requirements-parity.lock" in err
    assert run(clone, "test", "-k", "x")[1:] == ("['-k', 'x']\n", "")
    assert [Path(line.split("-r ")[1].split(" --")[0]).name for line in installs(clone)] == [
        "requirements-test.lock",
        "requirements-parity.lock",
    ]


def test_pip_steps_in_for_uv(clone):
    code, _, err = run(clone, UV_RESULT="1", PIP_NO_INDEX="1")
    assert "foldline: uv could not install the packages (no way); trying pip\n" in err
    assert code == 7


def test_a_failed_set_up_is_one_line_and_leaves_no_marker(clone):
    (clone / "requirements.lock").write_text(f"nothing-of-this-name==1.0 --hash=sha256:{'0' * 64}\n")
    code, out, err = run(clone, UV_RESULT="1", PIP_NO_INDEX="1")
    assert code == 2
    assert out == ""
    assert err.splitlines()[-1].startswith("error: the packages could not be installed")
    assert "Traceback" not in err
    assert not (clone / ".venv/foldline.json").exists()


def test_an_incomplete_clone_is_named(clone):
    (clone / "requirements.lock").unlink()
    code, _, err = run(clone)
    assert code == 2
    assert err == f"error: {clone / 'requirements.lock'}: No such file or directory; this clone is not complete\n"


def test_old_pythons_can_read_it():
    ast.parse((ROOT / "foldline").read_text(), feature_version=(3, 6))


def test_it_needs_the_standard_library_only():
    tree = ast.parse((ROOT / "foldline").read_text())
    names = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    names |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names - sys.stdlib_module_names == {"pipeline"} - {"pipeline"}


def test_an_old_python_is_named(wrapper, monkeypatch):
    monkeypatch.setattr(wrapper, "OLDEST", (3, 99))
    monkeypatch.setattr(wrapper, "NEWEST", (3, 99))
    monkeypatch.setattr(wrapper.shutil, "which", lambda name: None)
    with pytest.raises(wrapper.SetupError, match=r"Foldline needs Python 3\.99 to 3\.99, and this is 3\."):
        wrapper.use_supported_python([])


def test_a_newer_python_of_the_machine_takes_over(wrapper, monkeypatch):
    monkeypatch.setattr(wrapper, "OLDEST", (3, 98))
    monkeypatch.setattr(wrapper, "NEWEST", (3, 99))
    monkeypatch.setattr(wrapper.shutil, "which", lambda name: f"/opt/{name}" if name == "python3.98" else None)
    monkeypatch.setattr(wrapper.subprocess, "call", lambda *_, **__: 0)
    started = []

    def execv(path, command):
        started.append(command)
        raise SystemExit

    monkeypatch.setattr(wrapper.os, "execv", execv)
    with pytest.raises(SystemExit):
        wrapper.use_supported_python(["run"])
    assert started == [["/opt/python3.98", str(wrapper.ROOT / "foldline"), "run"]]


def page(*wheels):
    return "".join(f'<a href="../../f/{name}#sha256={digest}">{name}</a><br/>' for name, digest in wheels).encode()


@pytest.fixture
def index(wrapper, monkeypatch):
    """A package index in memory: content by address."""
    content = {}

    def fetch(url):
        if url not in content:
            raise OSError("unreachable")
        return content[url]

    monkeypatch.setattr(wrapper, "fetch", fetch)
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.test/simple/")
    return content


def test_the_newest_wheel_of_pip_is_fetched_and_checked(wrapper, index, tmp_path):
    digest = hashlib.sha256(b"wheel").hexdigest()
    index["https://index.test/simple/pip/"] = page(
        ("pip-9.0.3-py2.py3-none-any.whl", "0"),
        ("pip-25.3-py3-none-any.whl", "1"),
        ("pip-26.10-py3-none-any.whl", digest),
    ) + page(("pip-26.9-py3-none-any.whl", "2"), ("pip-27.0b1-py3-none-any.whl", "3"), ("pip-27.0.tar.gz", "4"))
    index["https://index.test/f/pip-26.10-py3-none-any.whl"] = b"wheel"
    assert wrapper.download_pip(tmp_path).read_bytes() == b"wheel"
    index["https://index.test/f/pip-26.10-py3-none-any.whl"] = b"whee"
    with pytest.raises(wrapper.SetupError, match=r"pip-26\.10-py3-none-any\.whl arrived damaged; install it \(Debian"):
        wrapper.download_pip(tmp_path)


@pytest.mark.parametrize("content", [None, b"<html></html>", b"\xff"])
def test_without_pip_and_index_the_package_is_named(wrapper, index, tmp_path, content):
    if content is not None:
        index["https://index.test/simple/pip/"] = content
    with pytest.raises(
        wrapper.SetupError, match=r"this Python has no pip of its own and pip cannot be fetched .* apt install"
    ):
        wrapper.download_pip(tmp_path)


def test_the_index_is_that_of_pip(wrapper, monkeypatch, tmp_path):
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.setattr(wrapper, "PIP_CONFIGS", ())
    monkeypatch.delenv("PIP_CONFIG_FILE", raising=False)
    assert wrapper.index_url() == ""
    with pytest.raises(wrapper.SetupError, match="no package index is configured"):
        wrapper.download_pip(tmp_path)
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://a.test/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    assert wrapper.index_url() == "https://a.test/simple"
    monkeypatch.setenv("PIP_INDEX_URL", "https://b.test/simple")
    assert wrapper.index_url() == "https://b.test/simple"


def test_the_marker_holds_what_the_environment_is_made_of(wrapper, tmp_path):
    (tmp_path / "requirements.lock").write_text("a")
    wanted = wrapper.description(False)
    assert wanted["root"] == str(tmp_path)
    assert wanted["lock"] == hashlib.sha256(b"a").hexdigest()
    assert wanted["test_lock"] is wanted["parity_lock"] is None
    assert not wrapper.is_ready(wanted)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("bin/python", "bin/foldline"):
        (tmp_path / ".venv" / name).touch()
    wrapper.MARKER.write_text(json.dumps({**wanted, "test_lock": "x"}))
    assert wrapper.is_ready(wanted)
    assert not wrapper.is_ready({**wanted, "lock": "y"})
    assert not wrapper.is_ready({**wanted, "test_lock": "y"})
