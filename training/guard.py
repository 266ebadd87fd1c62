"""How a command of training ends: a problem that a user can mend is one line and an exit code, as in `foldline`."""

import logging
import os
import sys
from collections.abc import Callable

from models.params import ParameterFileError
from pipeline.cli import INTERRUPTED_EXIT
from pipeline.errors import FoldlineError, UsageError

log = logging.getLogger(__name__)


def guarded(main: Callable[[], int]) -> int:
    """Run a command and return its exit code; FOLDLINE_DEBUG=1 shows where a problem came up, a bug shows it always."""
    try:
        return main()
    except FoldlineError as error:
        return _failed(str(error), error.exit_code)
    except ParameterFileError as error:
        return _failed(str(error), UsageError.exit_code)
    except KeyboardInterrupt:
        return _failed("interrupted", INTERRUPTED_EXIT)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _failed(place + (error.strerror or str(error)).lower(), UsageError.exit_code)


def _failed(text: str, exit_code: int) -> int:
    """Print one line of an error that is being handled, its traceback where FOLDLINE_DEBUG is set."""
    if os.environ.get("FOLDLINE_DEBUG"):
        log.error("traceback, because FOLDLINE_DEBUG is set", exc_info=True)
    sys.stderr.write(f"error: {text}\n")
    return exit_code
