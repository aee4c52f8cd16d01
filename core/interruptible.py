"""Work that Ctrl-C ends at once, even while ONNX Runtime computes, and that leaves nothing half-made behind."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, TypeVar

from .errors import OUT_OF_MEMORY, Cancelled, ResourceError
from .images import discard_unfinished
from .sessions import Sessions

PATIENCE = 0.3  # seconds that interrupted work gets to end by itself

_Step = TypeVar("_Step")
_Result = TypeVar("_Result")


@contextmanager
def folder(path: Path) -> Iterator[bool]:
    """Take the folder away again if the block made it and failed; yields whether it is for the block to make."""
    made = not path.exists()
    try:
        yield made
    except BaseException:
        if made:
            with suppress(OSError):  # not there, or not empty: something else writes there
                path.rmdir()
        raise


def drive(steps: Generator[_Step, None, _Result], show: Callable[[_Step], None], stopped: threading.Event) -> _Result:
    """Drive a generator to its result, showing each step; when `stopped` is set, close it and raise `Cancelled`."""
    while not stopped.is_set():
        try:
            show(next(steps))
        except StopIteration as end:
            result: _Result = end.value
            return result
    steps.close()
    raise Cancelled("The work was stopped; nothing was written.")


def call(work: Callable[[threading.Event], _Result], sessions: Sessions, leave: Callable[[], NoReturn]) -> _Result:
    """The result of `work`, done in a thread; on Ctrl-C it is told to stop, and if it does not, `leave` is called."""
    # Not `Thread.join`: interrupted by Ctrl-C, it takes a thread that still runs for ended (CPython before 3.13).
    stopped, ended = threading.Event(), threading.Event()
    results: list[_Result] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(work(stopped))
        except MemoryError:
            errors.append(ResourceError(OUT_OF_MEMORY))
        except BaseException as error:
            errors.append(error)
        finally:
            ended.set()

    try:
        threading.Thread(target=body, daemon=True).start()
        while not ended.wait(0.05):  # short: on Windows a wait cannot be interrupted
            pass
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # we are leaving already
        stopped.set()
        sessions.cancel()
        if not ended.wait(PATIENCE):
            leave()
        raise
    if errors:
        raise errors[0]
    return results[0]


def leave(path: Path, made: bool) -> NoReturn:
    """End the process under a thread that cannot stop, with no file half-written in the folder `path`.

    A folder that this process `made` goes as well.
    """
    discard_unfinished(path)
    if made:
        with suppress(OSError):
            path.rmdir()
    os._exit(130)
