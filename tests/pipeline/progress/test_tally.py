import pytest

from pipeline.progress.tally import Tally, duration, rate


def test_a_count_its_rate_and_the_time_left(clock):
    tally = Tally("predict", total=13, clock=clock)
    assert (tally.line, tally.per_minute, tally.seconds_left) == ("predict: 0 of 13 targets", None, None)
    tally.begin()
    clock.now += 30
    assert tally.line == "predict: 0 of 13 targets, since 30 s"
    tally.set(3)
    assert (tally.per_minute, tally.seconds_left) == (6.0, 100.0)
    assert tally.line == "predict: 3 of 13 targets, 6.0 a minute, 2 min left"


def test_failures_count_as_tried(clock):
    tally = Tally("predict", total=5, clock=clock)
    tally.begin()
    clock.now += 60
    tally.set(1, 2)
    assert (tally.left, tally.per_minute) == (2, 3.0)
    assert tally.count == "1 of 5 targets, 2 failed"
    tally.set(3, 2)
    assert tally.left == 0
    assert tally.line == "predict: 3 of 5 targets, 2 failed, in 60 s"


def test_the_end_is_when_the_last_was_made(clock):
    tally = Tally("relax", total=2, clock=clock)
    tally.begin()
    clock.now += 7
    tally.set(2)
    clock.now += 50
    tally.set(2)
    assert (tally.pace, tally.seconds_left) == ("in 7 s", 0.0)
    tally.set(2, total=3)  # there is more to do
    assert tally.ended is None
    assert tally.seconds == 57


def test_parts_count_for_the_rate_and_the_rest(clock):
    tally = Tally("predict", total=4, clock=clock)
    tally.begin()
    clock.now += 60
    tally.set(1, part=0.5)
    assert (tally.left, tally.per_minute, tally.seconds_left) == (3, 1.5, 100.0)


def test_an_unknown_total(clock):
    tally = Tally("library", "files", clock=clock)
    tally.begin()
    clock.now += 6
    tally.set(7)
    assert (tally.line, tally.seconds_left) == ("library: 7 files, 70 a minute", None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.6, "60 s"), (99, "99 s"), (130, "2 min"), (3599, "60 min"), (11000, "3 h 3 min")],
)
def test_times(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(0.05, "3.0 an hour"), (1.25, "1.2 a minute"), (130.4, "130 a minute")])
def test_rates(value, text):
    assert rate(value) == text
