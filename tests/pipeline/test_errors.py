import inspect

import pytest

from pipeline import errors


def test_a_problem_alone():
    assert str(errors.FoldlineError("it is late")) == "it is late"


def test_place_problem_and_mend():
    error = errors.FastaError("no name", "x.fasta:3", "write one")
    assert str(error) == "x.fasta:3: no name; write one"
    assert (error.problem, error.where, error.mend) == ("no name", "x.fasta:3", "write one")


def test_errors_are_told_apart():
    assert errors.RecordError("a") != errors.RecordError("a")
    assert len({errors.RecordError("a"), errors.RecordError("a")}) == 2


@pytest.mark.parametrize(
    "kind",
    [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.FoldlineError)],
)
def test_every_error_has_an_exit_code_and_a_meaning(kind):
    assert kind.exit_code == (1 if kind is errors.StageError else 2)
    assert kind.__doc__
    assert isinstance(kind("x"), Exception)
