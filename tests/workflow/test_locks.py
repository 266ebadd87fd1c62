"""The locks satisfy pyproject.toml on every supported Python, and the conda environments follow them."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline import __version__

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "requirements-slurm.lock", "requirements-test.lock", "requirements-parity.lock")
CUDA = "requirements-cuda.lock"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
STAGES = ("search", "featurize", "predict", "relax", "report")
ENVIRONMENTS = {stage: (f"pipeline.{stage}.stage",) for stage in STAGES} | {
    "training": ("training.pretrain", "training.train", "training.evaluate")
}
NOT_PACKAGES = {"promod3", "ost", *sys.stdlib_module_names}  # ProMod3 runs under the system's Python
PACKAGES = {
    "Bio": "biopython",
    "haiku": "dm-haiku",
    "resvg_py": "resvg-py",
    "yaml": "pyyaml",
}  # where the import has another name


def locked(name, python):
    """Return version by package for a Python on Linux."""
    environment = {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": "linux"}
    environment |= {"platform_machine": "x86_64", "platform_python_implementation": "CPython", "extra": ""}
    text = re.sub(r"\\\n\s*--hash=\S+", "", (ROOT / name).read_text())
    found = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            requirement = Requirement(line.rstrip(" \\"))
            if requirement.marker is None or requirement.marker.evaluate(environment):
                assert requirement.name not in found
                (specifier,) = requirement.specifier
                assert specifier.operator == "=="
                found[canonicalize_name(requirement.name)] = specifier.version
    return found


def wanted(extra=None):
    lines = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    return [Requirement(line) for line in lines if not line.startswith("foldline")]


def all_wanted(*extras):
    return [requirement for extra in extras for requirement in wanted(extra)]


@pytest.mark.parametrize("python", PYTHONS)
def test_locks_satisfy_the_project(python):
    for name, requirements in (
        ("requirements.lock", wanted()),
        (CUDA, wanted()),
        ("requirements-slurm.lock", [*wanted(), *wanted("slurm")]),
        ("requirements-test.lock", [*wanted(), *all_wanted("slurm", "training", "test")]),
        ("requirements-parity.lock", [*wanted(), *all_wanted("slurm", "training", "test", "parity")]),
    ):
        pins = locked(name, python)
        for requirement in requirements:
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), (name, requirement)


@pytest.mark.parametrize("python", PYTHONS)
def test_each_lock_holds_the_one_before(python):
    plain, slurm, test, parity = (locked(name, python).items() for name in LOCKS)
    assert plain <= slurm <= test <= parity
    cuda = locked(CUDA, python)
    assert plain <= cuda.items()
    assert cuda["jax-cuda12-plugin"] == cuda["jax"]
    assert all(name.startswith(("jax-cuda12", "nvidia-")) for name in cuda.keys() - dict(plain).keys())


@pytest.mark.parametrize("python", PYTHONS)
def test_the_comparison_needs_little_more(python):
    more = locked("requirements-parity.lock", python).keys() - locked("requirements-test.lock", python).keys()
    assert more == {"alphafold-colabfold", "colabfold-kernels", "dm-tree", "ml-collections"}


def test_one_jax_for_every_python():
    assert len({locked("requirements.lock", python)["jax"] for python in PYTHONS}) == 1


@pytest.mark.parametrize("name", [*LOCKS, CUDA])
def test_locks_have_hashes_and_no_address(name):
    text = (ROOT / name).read_text()
    assert not re.search(r"https?:|file:| @ |^-", text, re.MULTILINE)
    entries = re.findall(r"^[a-z0-9].*(?:\\\n.*)+", text, re.MULTILINE)
    assert len(entries) == len(re.findall("^[a-z0-9]", text, re.MULTILINE))
    assert all("--hash=sha256:" in entry for entry in entries)


def test_supported_pythons_are_the_wrapper_s():
    assert PROJECT["requires-python"] == ">=3.11"
    text = (ROOT / "foldline").read_text()
    assert "OLDEST, NEWEST = (3, 11), (3, 14)" in text


def test_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == __version__
    assert PROJECT["dynamic"] == ["version"]


def conda(stage):
    environment = yaml.safe_load((ROOT / "envs" / f"{stage}.yaml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    return environment, dict(line.split("==") for line in pip)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_conda_environments_follow_the_lock(name):
    environment, pins = conda(name)
    (python,) = [entry.split("=")[1] for entry in environment["dependencies"] if str(entry).startswith("python=")]
    lock = "requirements.lock" if name in STAGES else "requirements-test.lock"
    assert pins.items() <= locked(lock, python).items()


def imports(module, seen):
    """Return the top-level packages that a module of this project imports, through its other modules."""
    if module in seen:
        return set()
    seen.add(module)
    path = ROOT / (module.replace(".", "/") + ".py")
    if not path.exists():
        path = ROOT / module.replace(".", "/") / "__init__.py"
    if not path.exists():
        return set()
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            top = name.split(".")[0]
            found |= imports(name, seen) if top in ("pipeline", "models", "training") else {top}
    return found


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_conda_environments_hold_what_is_imported(name):
    seen = set()
    found = set().union(*(imports(module, seen) for module in ENVIRONMENTS[name])) - NOT_PACKAGES
    assert {PACKAGES.get(package, package) for package in found} <= set(conda(name)[1])


def test_every_stage_has_an_environment():
    assert {path.stem for path in (ROOT / "envs").glob("*.yaml")} == set(ENVIRONMENTS)
