import pwd
from pathlib import Path

import pytest

from pipeline.databases.catalogue import default_folder
from pipeline.databases.check import records_folder
from pipeline.errors import ConfigError
from pipeline.paths import expanded, refuse_braces, refuse_dashes
from pipeline.predict.folders import default_cache
from pipeline.weights.records import user_folder


@pytest.fixture
def nobody(monkeypatch):
    """A user whom the machine does not know, as in a container, with nothing in the environment."""

    def unknown(_):
        raise KeyError

    for name in ("getpwuid", "getpwnam"):
        monkeypatch.setattr(pwd, name, unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "FOLDLINE_DATABASES", "FOLDLINE_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)


def test_a_home_is_written_out(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded("~/out") == Path("/home/me/out")
    assert expanded(Path("out/~")) == Path("out/~")
    assert expanded("") == Path()


def test_a_home_that_is_none(nobody):
    message = r"~typo/out: there is no home folder '~typo'; write the whole path, or set HOME"
    with pytest.raises(ConfigError, match=message):
        expanded("~typo/out")


@pytest.mark.parametrize(
    ("folder", "variable"),
    [
        (default_cache, "XDG_CACHE_HOME"),
        (default_folder, "FOLDLINE_DATABASES"),
        (lambda: records_folder({"databases": {"cache": None}}), "XDG_CACHE_HOME"),
    ],
)
def test_a_user_without_a_home_has_no_folders_there(nobody, monkeypatch, folder, variable):
    with pytest.raises(ConfigError, match=r"^~/\S+: there is no home folder '~'; .* set HOME$"):
        folder()
    monkeypatch.setenv(variable, "/data")
    assert folder().is_relative_to("/data")


@pytest.mark.parametrize(
    ("folder", "variable"),
    [
        (default_folder, "FOLDLINE_DATABASES"),
        (user_folder, "FOLDLINE_WEIGHTS"),
        (lambda: records_folder({"databases": {"cache": "~typo/x"}}), ""),
    ],
)
def test_a_folder_in_a_home_that_is_none_is_named(nobody, monkeypatch, folder, variable):
    if variable:
        monkeypatch.setenv(variable, "~typo/x")
    with pytest.raises(ConfigError, match="~typo/x: there is no home folder '~typo'"):
        folder()


@pytest.mark.parametrize("path", ["/data/{lab}/x.pdb", "model_{best}.pdb", Path("a}")])
def test_braces_are_refused(path):
    refuse_braces(["/data/lab (new)/x.pdb", Path("model_[best].pdb")])
    with pytest.raises(ConfigError, match=r": a run takes no path with braces, .*; rename it") as caught:
        refuse_braces(["fine", path])
    assert caught.value.where == str(path)


def test_leading_dashes_are_refused():
    refuse_dashes(["out-1", "/-x", ""])
    with pytest.raises(ConfigError, match=r"^-out: a run takes no path that begins with '-', .*; rename it") as caught:
        refuse_dashes(["fine", Path("./-out")])
    assert caught.value.where == "-out"
