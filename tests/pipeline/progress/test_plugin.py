import json
import logging
import os
import types

import pytest
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

from pipeline.progress import plugin


def record(text=None, **more):
    made = logging.LogRecord("snakemake", logging.INFO, "", 0, text, (), None)
    made.__dict__.update(more)
    return made


JOB = {"jobid": 3, "rule_name": "predict", "wildcards": {"batch": "0064-001"}, "log": ["l"]}


@pytest.mark.parametrize(
    ("made", "event"),
    [
        (record(event=LogEvent.RUN_INFO, stats={"relax": 2, "total": 2}), {"event": "planned", "jobs": {"relax": 2}}),
        (
            record(event=LogEvent.JOB_INFO, **JOB),
            {"event": "started", "number": 3, "rule": "predict", "wildcards": {"batch": "0064-001"}, "log": ["l"]},
        ),
        (record(event=LogEvent.JOB_FINISHED, job_id=3), {"event": "finished", "number": 3}),
        (record(event=LogEvent.JOB_ERROR, **JOB), {"event": "failed", "number": 3}),
        (record("Nothing to be done (all)."), {"event": "nothing"}),
    ],
)
def test_events_are_lines_of_json(made, event):
    assert json.loads(plugin.line_of(made)) == event


@pytest.mark.parametrize(
    "made",
    [record("x"), record(None), record("bad", event=LogEvent.ERROR), record(event=LogEvent.PROGRESS, done=1, total=2)],
)
def test_what_says_nothing_about_progress_is_left_out(made):
    assert plugin.line_of(made) is None


def test_the_plugin_is_one():
    LoggerPluginRegistry().validate_plugin("snakemake_logger_plugin_foldline", plugin)


def handler(descriptor):
    return plugin.LogHandler(types.SimpleNamespace(), plugin.LogHandlerSettings(descriptor))


def test_lines_go_through_the_descriptor_which_jobs_do_not_get():
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    made = handler(writer)
    assert not os.get_inheritable(writer)
    made.emit(record(event=LogEvent.JOB_FINISHED, job_id=3))
    made.emit(record("chatter"))
    os.close(writer)
    assert os.read(reader, 999) == b'{"event": "finished", "number": 3}\n'
    os.close(reader)


def test_where_nobody_reads_any_more_snakemake_goes_on():
    reader, writer = os.pipe()
    made = handler(writer)
    os.close(reader)
    for _ in range(2):
        made.emit(record(event=LogEvent.JOB_FINISHED, job_id=3))
    os.close(writer)
    handler(-1).emit(record(event=LogEvent.JOB_FINISHED, job_id=3))
    assert made._descriptor == -1
