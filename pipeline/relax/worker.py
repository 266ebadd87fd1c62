"""A process of its own for the physics: a crash or a hang of native code ends it, and not the stage."""

import contextlib
import multiprocessing
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Generic, Self, TypeVar

from pipeline.protein import Protein
from pipeline.relax.settings import RelaxFailure, Settings

T = TypeVar("T")
GRACE = 1.05  # of the budget, when the process of the physics is ended from outside
READY = 0.1  # of the budget, after which the parent gets ready for that
STRUCTURES = 100  # of one process: native code may keep memory


class Worker(Generic[T]):
    """A process that works on one structure after the other, so that OpenMM is loaded once for many.

    It starts with the first structure. After a crash, a hang or `STRUCTURES` structures the next one gets a new
    process.

    Args:
        function: What the process does with a structure, the settings, and the time (of `time.monotonic`, which all
            processes share) at which the budget began to run; found by its name there.
        meanwhile: What is done here with a structure that takes long: what would be needed if it took too long.
    """

    def __init__(
        self, function: Callable[[Protein, Settings, float], T], meanwhile: Callable[[Protein], object] | None = None
    ) -> None:
        self._function = function
        self._meanwhile = meanwhile
        self._process: BaseProcess | None = None
        self._end: Connection | None = None
        self._sender: threading.Thread | None = None
        self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def __call__(self, protein: Protein, settings: Settings) -> T:
        """Return what the function gives; the start of the process counts as part of the budget.

        Raises:
            RelaxFailure: The process ended, or did not end in time.
        """
        started = time.monotonic()
        if self._done >= STRUCTURES:
            self.stop()
        try:
            end = self._end or self._start()
        except OSError as error:
            self.stop()
            raise RelaxFailure("crash", f"no process could be started: {error.strerror}") from error
        self._done += 1
        try:
            self._sender = threading.Thread(target=_send, args=(end, (protein, settings, started)), daemon=True)
            self._sender.start()
            if self._meanwhile and not end.poll(READY * settings.seconds):
                self._meanwhile(protein)
            return self._received(end, started + GRACE * settings.seconds)
        except (EOFError, OSError) as error:
            raise RelaxFailure("crash", f"exit code {self._exit_code()}") from error
        except RelaxFailure:
            self.stop()
            raise

    def _received(self, end: Connection, deadline: float) -> T:
        if not end.poll(max(deadline - time.monotonic(), 0)):
            raise RelaxFailure("budget", "ended from outside")
        result: T = end.recv()
        return result

    def stop(self) -> None:
        """End the process."""
        if self._process:
            self._process.kill()
            self._process.join()
        if self._sender:
            self._sender.join()  # it writes no more: nobody reads
        if self._end:
            self._end.close()
        self._process, self._sender, self._end, self._done = None, None, None, 0

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        self._end, other = context.Pipe()
        with other:
            process = context.Process(target=_work, args=(other, self._function), daemon=True)
            process.start()
        self._process = process
        return self._end

    def _exit_code(self) -> int | None:
        """Return how the process ended, and forget it."""
        process = self._process
        if process:
            process.join()
        code = process.exitcode if process else None
        self.stop()
        return code


def _send(end: Connection, message: tuple[object, ...]) -> None:
    """Hand over a message; a large one waits until the process reads, which may be never."""
    with contextlib.suppress(OSError):  # the process is ended: who waits for its answer says so
        end.send(message)


def _work(end: Connection, function: Callable[[Protein, Settings, float], T]) -> None:
    """Answer until the other side is closed."""
    while True:
        try:
            end.send(function(*end.recv()))
        except (EOFError, BrokenPipeError):
            return
