"""What engines can be told: as their classes have it, with their types, known before a job."""

import inspect
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from pipeline.config import ROOT
from pipeline.databases.records import Database
from pipeline.errors import ConfigError
from pipeline.search.engine_settings import DEFAULT, ENGINE_SETTINGS, check_settings, checked, of_all, of_engine
from pipeline.search.engines import ENGINES


def test_the_table_is_what_the_classes_have():
    assert list(ENGINE_SETTINGS) == list(ENGINES)
    assert DEFAULT in ENGINES
    for name, made in ENGINES.items():
        known = {word: each for word, each in inspect.signature(made).parameters.items() if word != "folder"}
        assert set(known) == set(ENGINE_SETTINGS[name])
        for word, kind in ENGINE_SETTINGS[name].items():
            assert type(known[word].default) is kind
            assert kind in (known[word].annotation, *typing.get_args(known[word].annotation))


def test_no_engine_is_loaded_for_it():
    code = "import sys; import pipeline.search.engine_settings; print('pyhmmer' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"max_seqs": 1e4}, {"max_seqs": 10_000}),
        ({"sensitivity": 4}, {"sensitivity": 4.0}),
        ({}, {}),
    ],
)
def test_values_get_the_type_of_the_engine(given, taken):
    found = checked("mmseqs", given)
    assert found == taken
    assert list(map(type, found.values())) == list(map(type, taken.values()))


@pytest.mark.parametrize("engine", ["mmseqs", "prefilter"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_seqs": "1e4"}, "expected a whole number for 'max_seqs' of {}, found '1e4'; write it without quotes"),
        ({"max_seqs": 10.5}, "expected a whole number for 'max_seqs' of {}, found 10.5"),
        ({"max_seqs": True}, "expected a whole number for 'max_seqs' of {}, found True"),
        ({"max_seqs": float("inf")}, "expected a whole number for 'max_seqs' of {}, found inf"),
        ({"sensitivity": "high"}, "expected a number for 'sensitivity' of {}, found 'high'"),
        ({"sensitivity": float("nan")}, "expected a number for 'sensitivity' of {}, found nan"),
        ({"sensitivity": 10**400}, "expected a number for 'sensitivity' of {}, found 1000"),
        ({"speed": 1}, "{} has no setting 'speed'; it has max_seqs, sensitivity"),
        ({"folder": "x"}, "{} has no setting 'folder'"),
    ],
)
def test_values_of_another_type_are_refused(engine, settings, message):
    with pytest.raises(ConfigError, match=message.format(f"the search engine '{engine}'")):
        checked(engine, settings)


def test_texts_are_texts():
    assert checked("hmmsearch", {"profile": "x.hmm"}) == {"profile": "x.hmm"}
    with pytest.raises(ConfigError, match=r"expected a text for 'profile' .*, found 7; put it into quotes"):
        checked("hmmsearch", {"profile": 7})


def test_what_all_engines_know_is_told_apart():
    settings = {"rounds": 2.0, "seconds": 60, "max_seqs": 7}
    database = Database("a", Path("a.fasta"), engine="mmseqs", settings=settings)
    assert of_all(database) == {"rounds": 2, "seconds": 60.0}
    assert of_engine(database) == {"max_seqs": 7}
    check_settings(database, "jackhmmer")


def test_the_engine_is_that_of_the_database_or_else_of_the_stage():
    database = Database("a", Path("a.fasta"), settings={"max_seqs": 7})
    check_settings(database, "prefilter")
    with pytest.raises(ConfigError, match="the search engine 'jackhmmer' has no setting 'max_seqs'; it has none"):
        check_settings(database, "")
    with pytest.raises(ConfigError, match="no search engine is called 'blast'; use one of jackhmmer, phmmer"):
        check_settings(database, "blast")
    rounds = Database("a", Path("a.fasta"), settings={"rounds": float("inf")})
    with pytest.raises(ConfigError, match="expected a whole number for 'rounds' of the database 'a', found inf"):
        check_settings(rounds, "")
