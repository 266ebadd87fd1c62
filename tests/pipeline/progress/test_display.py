import io
import json
import logging
import re
import sys

import pytest

from pipeline.cli import _StandardError
from pipeline.progress import Lines, Silent, Tally, chosen, tracked
from pipeline.progress.display import Terminal
from pipeline.progress.events import Events


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def screen(monkeypatch):
    """Return a function that puts a terminal in the place of standard error."""
    made = Screen()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def used():
        monkeypatch.setattr(sys, "stderr", made)
        return made

    return used


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, "pipeline")
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_log_gets_a_line_now_and_then_and_at_the_end(clock, said):
    lines, tally = Lines(clock), Tally("relax", total=50, clock=clock)
    tally.begin()
    for done in range(1, 51):
        clock.now += 3
        tally.set(done)
        lines.show([tally])
        lines.show([tally])
    assert said() == [
        "relax: 4 of 50 targets, 20 a minute, 2 min left",
        "relax: 11 of 50 targets, 20 a minute, 2 min left",
        "relax: 25 of 50 targets, 20 a minute, 75 s left",
        "relax: 50 of 50 targets, in 2 min",
    ]


def test_a_log_gets_nothing_where_nothing_changes(clock, said):
    lines, tally = Lines(clock), Tally("predict", total=5, clock=clock)
    for _ in range(9):
        clock.now += 100
        lines.show([tally])  # it did not begin
    assert said() == []
    tally.set(1)
    for _ in range(9):
        clock.now += 1000
        lines.show([tally])
    assert len(said()) == 1


def test_a_terminal_gets_a_line_for_each(screen, clock):
    shown, display = screen(), chosen()
    assert isinstance(display, Terminal)
    search, relax = Tally("search", total=5, clock=clock), Tally("relax", total=7, clock=clock)
    search.begin()
    clock.now += 10
    search.set(5)
    relax.set(3, 1)
    display.show([search, relax])
    display.close()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())
    last = text.splitlines()[-2:]
    assert re.fullmatch(r"search +\S+ 5 of 5 targets +in 10 s *", last[0])
    assert re.fullmatch(r"relax +\S+ 3 of 7 targets, 1 failed since 0 s *", last[1])


def test_what_is_logged_meanwhile_stands_above(screen):
    logger = logging.getLogger("pipeline.shown")
    handler = _StandardError()
    logger.addHandler(handler)
    shown, display = screen(), chosen()
    display.show([Tally("relax", total=7)])
    logger.warning("mind the gap")
    display.close()
    logger.removeHandler(handler)
    text = shown.getvalue()
    assert "mind the gap" in text
    assert text.index("mind the gap") < text.rindex("relax")


def test_the_display_fits_where_it_goes(monkeypatch, screen):
    screen()
    assert isinstance(chosen(quiet=True), Silent)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(chosen(), Lines)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(chosen(), Lines)


def test_a_loop_is_tracked(clock, said):
    with tracked("search", 3, display=Lines(clock)) as tracker:
        tracker.advance()
        tracker.advance(failed=1, done=0)
        assert said() == []
        tracker.advance()
    (line,) = said()
    assert line.startswith("search: 2 of 3 targets, 1 failed, in ")


def test_one_thing_is_not_tracked(said, screen):
    shown = screen()
    with tracked("search", 1) as tracker:
        tracker.advance()
    assert (said(), shown.getvalue()) == ([], "")


def test_programs_get_json(clock):
    out = io.StringIO()
    events, tally = Events(out, clock), Tally("relax", total=3, clock=clock)
    events.tell({"event": "start"})
    tally.begin()
    for done in (0, 1, 2):
        clock.now += 1.5
        tally.set(done)
        events.show([tally])
        events.show([tally])
    events.finish([tally])
    records = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [record.get("done") for record in records] == [None, 0, 2]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", record["time"]) for record in records)
    assert records[-1] | {"time": ""} == {
        **{"time": "", "event": "progress", "stage": "relax", "done": 2, "failed": 0, "total": 3},
        **{"share": 0.667, "seconds": 4.5, "per_minute": 26.667, "seconds_left": 2.25},
    }
