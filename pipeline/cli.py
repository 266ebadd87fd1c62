"""The `foldline` command: find the stage, and turn every problem that a user can mend into one line and an exit code.

Only the chosen stage is imported, so that `foldline --help` needs neither NumPy nor JAX.
"""

import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from pipeline import __version__
from pipeline.command_line import nearest
from pipeline.errors import FoldlineError, UsageError

GROUPS = {
    "the whole work": {
        "run": "do everything: FASTA files in, relaxed structures and a report out",
        "plan": "say what a run would do: buckets, batches, time and memory of each job",
        "warm": "compile the programs of a run before it, into the cache that its jobs read",
    },
    "one stage of it": {
        "search": "find homologous sequences and templates of targets",
        "featurize": "make the network's raw features of an alignment and templates",
        "predict": "predict structures from features, with confidences",
        "relax": "relieve strain and clashes of a structure by bounded minimisation",
        "report": "write the offline page of a target or of a run",
    },
    "what came out": {
        "quality": "measure the quality of structure files: geometry, clashes, torsions, folds",
        "evaluate": "compare a model with a reference: lDDT, TM-score, GDT-TS, RMSD",
        "verify": "check that the files of a run are whole and belong together; predict again",
    },
    "this machine, data and settings": {
        "doctor": "say what this machine can do, and what keeps a run from working",
        "config": "write a config, explain a setting, show what a run would use",
        "weights": "fetch, list, verify or import the parameters of the networks",
        "databases": "list and fetch public databases, check those of a config",
        "library": "make or inspect the sequence database and template library",
        "cache": "list, verify or prune the searches that are kept",
        "completion": "print what makes a shell complete foldline's words",
    },
}
COMMANDS = {name: text for commands in GROUPS.values() for name, text in commands.items()}
MODULES = {
    "run": "pipeline.run",
    "plan": "pipeline.plan_command",
    "warm": "pipeline.warm_command",
    "quality": "pipeline.quality.command",
    "evaluate": "pipeline.evaluate.command",
    "verify": "pipeline.verify.command",
    "doctor": "pipeline.doctor.command",
    "config": "pipeline.config_command",
    "weights": "pipeline.weights.command",
    "databases": "pipeline.databases.command",
    "cache": "pipeline.search.cache_command",
    "library": "pipeline.library.command",
    "completion": "pipeline.completion",
}
"""Where the main function of a command is, and its parser, if not in `pipeline.COMMAND.stage`."""
INTERNAL_EXIT = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED_EXIT = 130

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `foldline COMMAND ...` and return its exit code (docs/command.md)."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit is silent
        return 1
    return code


def _run(words: Sequence[str]) -> int:
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(usage())
        return 0 if words else UsageError.exit_code
    if words[0] == "--version":
        sys.stdout.write(f"foldline {__version__}\n")
        return 0
    if words[0] not in COMMANDS:
        mend = nearest(words[0], COMMANDS) or f"; known are {', '.join(COMMANDS)}"
        sys.stderr.write(f"error: {words[0]!r} is no command of foldline{mend}\n")
        return UsageError.exit_code
    logging.basicConfig(format="%(levelname)s %(message)s", handlers=[_StandardError()])
    for room in ("pipeline", "models"):
        logging.getLogger(room).setLevel(logging.INFO)
    return _guarded(words[0], words[1:])


class _StandardError(logging.StreamHandler):
    """Writes to what standard error is at that time: progress on a terminal stands in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        self.stream = sys.stderr
        super().emit(record)


def module_of(command: str) -> Any:
    """Import the module with the main function and the parser of a command."""
    return importlib.import_module(MODULES.get(command, f"pipeline.{command}.stage"))


def _guarded(command: str, argv: Sequence[str]) -> int:
    """Run a command; errors become one line on standard error, and a traceback only where FOLDLINE_DEBUG is set."""
    try:
        return module_of(command).main(argv)
    except FoldlineError as error:
        return _failed(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _failed("interrupted", INTERRUPTED_EXIT)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _failed(f"{error.filename or command}: {(error.strerror or str(error)).lower()}", UsageError.exit_code)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a user sees one line, not a traceback
        what = ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
        return _failed(f"this is a bug in foldline {command} ({what}); FOLDLINE_DEBUG=1 shows where", INTERNAL_EXIT)


def _failed(text: str, exit_code: int) -> int:
    """Print one line of an error that is being handled, its traceback where FOLDLINE_DEBUG is set."""
    if os.environ.get("FOLDLINE_DEBUG"):
        log.error("traceback, because FOLDLINE_DEBUG is set", exc_info=True)
    sys.stderr.write(f"error: {text}\n")
    return exit_code


def usage() -> str:
    """Return the help of the whole command."""
    lines = "\n".join(
        "\n".join([f"{group}:", *(f"  {name:<10} {text}" for name, text in commands.items())])
        for group, commands in GROUPS.items()
    )
    return f"""usage: foldline [--version] [--help] COMMAND ...

Predict protein structures from sequences: search, featurize, predict, relax, report.

{lines}

`foldline COMMAND --help` describes a command. In a clone, `./foldline test` runs the tests.
example: foldline run targets.fasta --outdir results --cores 2
"""


if __name__ == "__main__":
    sys.exit(main())
