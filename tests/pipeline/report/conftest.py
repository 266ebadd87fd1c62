"""Targets for the tests of pages: `test_stage.py` makes them, other tests of the report need them too."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def samples():
    spec = importlib.util.spec_from_file_location("report_samples", Path(__file__).with_name("test_stage.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
