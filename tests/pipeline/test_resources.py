from pipeline.config import load_config
from pipeline.costs import Cost, predict_cost, relax_cost, search_cost
from pipeline.resources import memory, minutes


def test_more_is_asked_for_than_is_expected():
    cost = Cost(cpu_seconds=6000, memory_mb=4000)
    assert memory(cost) == 6300
    assert minutes(cost) == 20 + 3 * 100
    assert minutes(cost, threads=4) == 20 + 3 * 25


def test_each_attempt_asks_for_more():
    cost = Cost(cpu_seconds=60, memory_mb=1500)
    assert [memory(cost, attempt) for attempt in (1, 2, 3)] == [2600, 5200, 7800]
    assert [minutes(cost, attempt) for attempt in (1, 2, 3)] == [23, 46, 69]


def test_requests_have_bounds():
    assert memory(Cost(0, 0)) == 1000
    assert minutes(Cost(0, 0)) == 20
    assert [minutes(Cost(1e9, 0), attempt) for attempt in (1, 2)] == [720, 1440]


def test_requests_grow_with_length_targets_and_databases():
    section = load_config()["predict"]
    assert minutes(predict_cost(section, 512, 32)) > minutes(predict_cost(section, 128, 32))
    assert minutes(relax_cost([1500])) > minutes(relax_cost([100]))
    small, large = ({"db.fasta": size} for size in (10**6, 10**10))
    assert minutes(search_cost(50, large, in_library=50)) > minutes(search_cost(50, small, in_library=50))
    assert memory(search_cost(50, small, in_library=50)) > memory(search_cost(5, small, in_library=5))
