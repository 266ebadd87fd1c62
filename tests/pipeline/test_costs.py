"""The estimates against the measurements that docs/performance.md names, and laws that they must keep."""

import dataclasses

import pytest

from pipeline import costs
from pipeline.config import load_config
from pipeline.predict.settings import from_section


def section(**values):
    return {**load_config()["predict"], **values}


MINI = [
    (64, 18.7, 0.52),
    (128, 18.2, 1.11),
    (224, 15.7, 2.50),
    (320, 17.9, 4.56),
    (448, 19.0, 8.56),
    (640, 17.5, 16.15),
]


@pytest.mark.parametrize(("bucket", "compiling", "running"), MINI)
def test_predictions_of_mini_cost_what_was_measured(bucket, compiling, running):
    first, third = (costs.predict_cost(section(), bucket, targets).cpu_seconds for targets in (1, 3))
    assert (third - first) / 2 == pytest.approx(running, rel=0.25)
    assert first - (third - first) / 2 - 4.0 == pytest.approx(compiling, rel=0.15)


@pytest.mark.parametrize(
    ("bucket", "megabytes"), [(64, 1126), (128, 1112), (224, 1061), (320, 1208), (448, 1207), (640, 1456)]
)
def test_mini_needs_the_memory_that_was_measured(bucket, megabytes):
    assert costs.predict_memory(from_section(section()), bucket) == pytest.approx(megabytes, rel=0.15)


def test_the_batch_of_the_example_costs_what_was_measured():
    cost = costs.predict_cost(section(), 128, 5)
    assert cost.cpu_seconds == pytest.approx(22.5, rel=0.2)
    assert cost.memory_mb == pytest.approx(1064, rel=0.15)


@pytest.mark.parametrize(("length", "seconds"), [(64, 19.1), (128, 58.0)])
def test_the_full_network_costs_what_was_measured(length, seconds):
    settings = section(model="model_1_ptm", recycles=0, max_msa=128, max_extra_msa=1024)
    one, two = (costs.predict_cost(settings, length, targets).cpu_seconds for targets in (1, 2))
    assert two - one == pytest.approx(seconds, rel=0.02)


@pytest.mark.parametrize(("bucket", "gigabytes"), [(64, 0.6), (256, 1.7), (512, 3.6), (1024, 9.4)])
def test_the_full_network_needs_the_memory_that_was_measured(bucket, gigabytes):
    settings = from_section(section(model="alphafold2"))
    assert costs.predict_memory(settings, bucket) == pytest.approx(1200 + 1000 * gigabytes, rel=0.07)


def test_models_seeds_and_recycles_multiply():
    def of_a_target(**values):
        one, two = (costs.predict_cost(section(**values), 96, targets).cpu_seconds for targets in (1, 2))
        return two - one

    plain = of_a_target(recycles=1)
    assert of_a_target(recycles=1, seeds=3) == pytest.approx(3 * plain)
    assert of_a_target(recycles=3) == pytest.approx(2 * plain)
    assert of_a_target(recycles=1, ensemble=2) == pytest.approx(2 * plain)


def test_searches_grow_with_the_databases():
    own = costs.search_cost(4, {"db.fasta": 14_000_000}, in_library=0)
    assert own.cpu_seconds == pytest.approx(21, rel=0.05)
    assert own.memory_mb == pytest.approx(615, rel=0.05)
    assert costs.search_cost(5, {}, in_library=5).cpu_seconds == pytest.approx(5)
    assert costs.search_cost(4, {"db.fasta.gz": 14_000_000}, in_library=0).cpu_seconds > own.cpu_seconds
    both = costs.search_cost(4, {"db.fasta": 14_000_000}, in_library=7)
    assert both.cpu_seconds == pytest.approx(own.cpu_seconds + 7)
    assert both.memory_mb == own.memory_mb


def test_relaxations_cost_what_the_example_took():
    assert costs.relax_cost([36]).cpu_seconds == pytest.approx(1.0, abs=0.1)
    assert costs.relax_cost([110]).cpu_seconds == pytest.approx(5.5, abs=0.1)
    assert costs.relax_cost([36, 110]).cpu_seconds == pytest.approx(6.5, abs=0.2)


def of_relaxing(predict=None, **relax):
    return costs.relaxing({**load_config()["relax"], **relax}, section(**(predict or {})))


def test_the_default_settings_relax_one_structure_of_a_target_and_bound_its_time():
    how = of_relaxing()
    assert costs.relax_cost([36, 110], how) == costs.relax_cost([36, 110])
    assert costs.relax_cost([2500]).cpu_seconds > costs.relax_cost([2500], how).cpu_seconds == 600
    assert costs.relax_cost([2500, 36], of_relaxing(seconds=60, threads=3)).cpu_seconds == pytest.approx(181, abs=0.1)


@pytest.mark.parametrize(
    ("relax", "times"),
    [
        ({"solvent": "obc2"}, 40),
        ({"constraints": True}, 6),
        ({"protocol": "alphafold2"}, 6),
        ({"solvent": "gbn2", "constraints": True}, 240),
        ({"models": "all"}, 1),
    ],
)
def test_settings_that_slow_relaxation_down_multiply(relax, times):
    plain, found = (costs.relax_cost([36], of_relaxing(**words)) for words in ({}, relax))
    assert found.cpu_seconds == pytest.approx(times * plain.cpu_seconds)
    assert found.memory_mb == plain.memory_mb


def test_all_predictions_are_relaxed_where_all_are_asked_for():
    several = {"model": "alphafold2", "models": [1, 3, 5], "seeds": 7}
    best, every = (costs.relax_cost([36], of_relaxing(several, models=models)) for models in ("best", "all"))
    assert every.cpu_seconds == pytest.approx(21 * best.cpu_seconds)
    bounded = costs.relax_cost([36], of_relaxing(several, models="all", solvent="obc2", seconds=11))
    assert bounded.cpu_seconds == pytest.approx(21 * 11)


def test_nothing_is_free():
    found = [
        costs.featurize_cost(2),
        costs.report_run_cost(2),
        costs.report_cost(2),
        costs.relax_cost([20]),
        costs.predict_cost(section(), 32, 1),
    ]
    assert all(value > 0 for cost in found for value in dataclasses.astuple(cost))
