"""For the comparisons with the published network: skipped where its package is not installed."""

import importlib.util
import sys
import types
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(name: str) -> types.ModuleType:
    """Import a script of the room of benchmarks, whose modules import one another by their bare names."""
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        patch.setitem(sys.modules, name, module)  # dataclasses look their module up
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def parity() -> types.ModuleType:
    """Return `benchmarks/parity.py`, which runs both networks, where the published one can run."""
    module = load("parity")
    if name := module.reference.missing():
        pytest.skip(f"the package {name} is not installed: ./foldline test --parity")
    return module
