import collections

import pytest

from pipeline.batches import (
    Settings,
    assign_batches,
    assign_relaxations,
    assign_searches,
    bucket_length,
    shared_buckets,
)
from pipeline.costs import Relaxing, relax_cost
from pipeline.target import Target


def targets(*lengths):
    return [Target.monomer(f"t{i}", f"t{i}", "A" * length) for i, length in enumerate(lengths)]


@pytest.mark.parametrize(
    ("length", "bucket"), [(1, 32), (32, 32), (33, 64), (251, 256), (256, 256), (257, 320), (320, 320), (1999, 2048)]
)
def test_bucket_is_the_next_step(length, bucket):
    assert bucket_length(length) == bucket


def test_padding_is_bounded():
    assert max(bucket_length(n) - n for n in range(1, 257)) == 31
    assert max(bucket_length(n) - n for n in range(257, 3000)) == 63


APART = Settings(compilation_cost=0)


def test_a_batch_holds_one_bucket():
    assigned = assign_batches(targets(20, 37, 30, 64), APART, {})
    assert assigned == {"t0": "0032-001", "t2": "0032-001", "t1": "0064-001", "t3": "0064-001"}


def test_few_targets_join_the_next_bucket():
    lengths = [36, 58, 76, 100, 110]
    assert shared_buckets(lengths, Settings()) == {64: 128, 96: 128, 128: 128}
    assert shared_buckets(lengths, APART) == {64: 64, 96: 96, 128: 128}


def test_many_targets_are_worth_a_compilation():
    one = 128**2 - 64**2
    assert shared_buckets([60] * 7 + [120], Settings(compilation_cost=7 * one)) == {64: 128, 128: 128}
    assert shared_buckets([60] * 8 + [120], Settings(compilation_cost=7 * one)) == {64: 64, 128: 128}


def test_padding_adds_up_over_the_buckets_that_join():
    to_96, both_to_128 = 96**2 - 64**2, (128**2 - 64**2) + (128**2 - 96**2)
    assert shared_buckets([60, 90, 120], Settings(compilation_cost=both_to_128)) == {64: 128, 96: 128, 128: 128}
    assert shared_buckets([60, 90, 120], Settings(compilation_cost=to_96)) == {64: 96, 96: 96, 128: 128}


def test_short_targets_do_not_join_a_giant():
    assert shared_buckets([30, 1000], Settings()) == {32: 32, 1024: 1024}


def test_no_target_no_bucket():
    assert shared_buckets([], Settings()) == {}


def test_batches_are_bounded_by_number():
    assigned = assign_batches(targets(*[30] * 7), Settings(batch_targets=3), {})
    assert list(assigned.values()) == ["0032-001"] * 3 + ["0032-002"] * 3 + ["0032-003"]


def test_batches_are_bounded_by_cost():
    assigned = assign_batches(targets(*[30] * 5), Settings(batch_cost=2 * 32**2), {})
    assert list(assigned.values()) == ["0032-001"] * 2 + ["0032-002"] * 2 + ["0032-003"]


def test_a_target_dearer_than_the_bound_is_a_batch():
    assert assign_batches(targets(700, 701), Settings(batch_cost=1), {}) == {"t0": "0704-001", "t1": "0704-002"}


def test_earlier_batches_stay():
    earlier = assign_batches(targets(20, 37), APART, {})
    assigned = assign_batches(targets(20, 37, 21, 22), APART, earlier)
    assert assigned == {**earlier, "t2": "0032-002", "t3": "0032-002"}


def test_a_target_that_grew_moves():
    earlier = {"t0": "0032-001", "gone": "0064-004"}
    assert assign_batches(targets(32), Settings(), earlier) == {"t0": "0032-001"}
    assert assign_batches(targets(33), Settings(), earlier) == {"t0": "0064-005"}


def test_names_of_earlier_batches_are_not_used_again():
    earlier = {"gone": "0032-001"}
    assert assign_batches(targets(20), Settings(), earlier)["t0"] == "0032-002"


def test_searches_are_bounded_by_number_and_stay():
    settings = Settings(search_targets=2)
    earlier = assign_searches(targets(20, 37, 30), settings, {})
    assert earlier == {"t0": "0001", "t2": "0001", "t1": "0002"}  # of similar length
    assert assign_searches(targets(20, 37, 30, 31, 31), settings, earlier) == {**earlier, "t3": "0003", "t4": "0003"}
    assert assign_searches(targets(20), settings, {"gone": "0007"}) == {"t0": "0008"}


def relaxed_together(lengths, settings, earlier=None, **how):
    of_batch = {f"t{i}": "0064-001" if length <= 64 else "0128-001" for i, length in enumerate(lengths)}
    return assign_relaxations(targets(*lengths), of_batch, settings, earlier or {}, Relaxing(**how))


def test_few_targets_are_relaxed_side_by_side():
    assert relaxed_together([40, 50, 70], Settings()) == {
        **{"t0": "0064-001-01", "t1": "0064-001-02"},
        "t2": "0128-001-01",
    }


def test_many_relaxations_are_bounded_by_cost_and_by_their_batch():
    one = relax_cost([30]).cpu_seconds
    assigned = relaxed_together([30] * 100 + [100] * 100, Settings(relax_seconds=2.5 * one))
    sizes = collections.Counter(assigned.values())
    assert {name.rpartition("-")[0]: size for name, size in sizes.items()} == {"0064-001": 2, "0128-001": 1}
    assert relaxed_together([30] * 3200, Settings())["t3199"] == "0064-001-32"


def test_few_short_relaxations_are_not_worth_a_process_each():
    assert len(set(relaxed_together([30] * 100, Settings()).values())) == 10
    assert len(set(relaxed_together([30] * 8, Settings()).values())) == 4


def test_slower_relaxations_are_bounded_by_their_own_cost():
    settings = Settings(relax_seconds=600)
    assert len(set(relaxed_together([30] * 70, settings, structures=5, times=40.0).values())) == 35
    assert len(set(relaxed_together([30] * 70, settings, structures=25, times=40.0, most=20.0).values())) == 70


def test_relaxations_stay_and_new_targets_go_to_new_ones():
    earlier = relaxed_together([30, 40, 50], Settings())
    assert relaxed_together([30, 40, 50, 60], Settings(), earlier) == {**earlier, "t3": "0064-001-04"}
    moved = relaxed_together([30, 40, 100], Settings(), earlier)
    assert moved == {"t0": "0064-001-01", "t1": "0064-001-02", "t2": "0128-001-01"}
