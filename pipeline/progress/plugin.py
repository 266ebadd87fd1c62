"""Snakemake's events, one line of JSON each, to a file descriptor: a logger plugin of Snakemake.

`pipeline.progress.launch` registers it; `pipeline.progress.jobs` reads the lines.
"""

import dataclasses
import json
import logging
import os
from collections.abc import Callable
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase

NOTHING_TO_DO = "Nothing to be done"


@dataclasses.dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    """What the plugin is given on Snakemake's command line."""

    descriptor: int = dataclasses.field(default=-1, metadata={"help": "file descriptor to write to"})


class LogHandler(LogHandlerBase):
    """Writes the events that tell how far a run is."""

    def __post_init__(self) -> None:
        """Take over the descriptor; the jobs do not get it."""
        self._descriptor = getattr(self.settings, "descriptor", -1)
        if self._descriptor >= 0:
            os.set_inheritable(self._descriptor, False)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's event, if it is one; where nobody reads any more, write none."""
        line = line_of(record)
        if line is None or self._descriptor < 0:
            return
        try:
            with open(self._descriptor, "w", encoding="utf-8", closefd=False) as out:
                out.write(line)
        except OSError:
            self._descriptor = -1

    @property
    def writes_to_stream(self) -> bool:
        """Whether this takes the place of what Snakemake prints: no, that goes to a log file."""
        return False

    @property
    def writes_to_file(self) -> bool:
        """Whether this has a file to name at the end."""
        return False

    @property
    def has_filter(self) -> bool:
        """Whether Snakemake's own filter is left out: it drops what is not printed."""
        return True

    @property
    def has_formatter(self) -> bool:
        """Whether Snakemake's own formatter is left out."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """Whether the graph of the rules is needed."""
        return False


def line_of(record: logging.LogRecord) -> str | None:
    """Return a record as a line of JSON; None where it says nothing about progress."""
    event = getattr(record, "event", None)
    if event is None and record.getMessage().startswith(NOTHING_TO_DO):
        return json.dumps({"event": "nothing"}) + "\n"
    make = _EVENTS.get(event) if event is not None else None
    return json.dumps(make(record)) + "\n" if make else None


def _planned(record: Any) -> dict[str, Any]:
    return {"event": "planned", "jobs": {rule: count for rule, count in record.stats.items() if rule != "total"}}


def _started(record: Any) -> dict[str, Any]:
    job = {"number": record.jobid, "rule": record.rule_name, "wildcards": dict(record.wildcards)}
    return {"event": "started", **job, "log": [str(path) for path in record.log]}


def _finished(record: Any) -> dict[str, Any]:
    return {"event": "finished", "number": record.job_id}


def _failed(record: Any) -> dict[str, Any]:
    return {"event": "failed", "number": record.jobid}


_EVENTS: dict[LogEvent, Callable[[Any], dict[str, Any]]] = {
    LogEvent.RUN_INFO: _planned,
    LogEvent.JOB_INFO: _started,
    LogEvent.JOB_FINISHED: _finished,
    LogEvent.JOB_ERROR: _failed,
}
