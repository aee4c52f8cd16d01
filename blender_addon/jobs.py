"""Work beside the window: a thread that touches arrays only, and an operator that waits for it without blocking.

A job is a generator that yields `Progress` and returns its result. In the window it runs in a thread while a timer
polls; in background, where timers never fire, it runs to its end at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any

import bpy

from . import engine, later
from .core.errors import OUT_OF_MEMORY, Cancelled, ResourceError, TesseraError

pipeline = later.module(".core.pipeline")
Steps = Generator[Any, None, Any]  # yields `core.pipeline.Progress`

INTERVAL = 0.05  # seconds between looks at the thread; also the longest that Esc waits
PATIENCE = 2.0  # seconds that unregistering waits for a thread that cannot be stopped at once

_turn = threading.Lock()  # one job computes at a time: one that was cancelled may need a moment to notice


class Job:
    """A generator on its way in a thread."""

    def __init__(self, title: str, steps: Steps) -> None:
        self.title = title
        self.progress = pipeline.Progress("waiting", 0.0)
        self.cancelled = False
        self._steps = steps
        self._sessions = engine.sessions()  # the preferences may change while it works
        self._computing = False
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Begin, after any job that was cancelled has come to its end."""
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether the thread has ended."""
        return not self._thread.is_alive()

    def result(self) -> Any:
        """What the generator returned; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._result

    def cancel(self) -> None:
        """Stop as soon as possible; what it makes is thrown away even if it cannot stop."""
        self.cancelled = True
        if self._computing:
            self._sessions.cancel()

    def join(self, seconds: float) -> None:
        """Wait for the thread."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _work(self) -> None:
        with _turn:
            self._sessions.begin()
            self._computing = True
            try:
                self._result = self._drive()
            except MemoryError:
                self._error = ResourceError(OUT_OF_MEMORY)
            except BaseException as error:
                self._error = error
            finally:
                self._computing = False

    def _drive(self) -> Any:
        while not self.cancelled:
            try:
                self.progress = next(self._steps)
            except StopIteration as end:
                return end.value
        self._steps.close()
        raise Cancelled("The work was stopped; nothing was changed.")


class _State:
    """What the panel shows. Only the main thread writes here."""

    job: Job | None = None
    operator: JobOperator | None = None  # that waits for the job
    workspace: str = ""  # whose status bar tells of it
    message: str = ""  # the last error, until something goes well


def current() -> Job | None:
    """The job that runs, if any."""
    return _State.job


def message() -> str:
    """The sentence of the last failure, or ""."""
    return _State.message


def clear_message() -> None:
    """Forget the last failure."""
    _State.message = ""


class JobOperator:
    """Mixin for operators whose work takes long: give `prepare` and `finish`.

    Errors become one sentence, in the status bar and in the panel. Called by a script (`execute`), the operator works
    to its end; clicked (`invoke`), it runs beside the window, and Esc or the panel's button ends it.
    """

    title = "Working"
    _timer: bpy.types.Timer | None = None
    _job: Job | None = None

    def prepare(self, context: bpy.types.Context) -> Steps:
        """Read all that is needed from Blender; the generator returned must not touch `bpy`."""
        raise NotImplementedError

    def finish(self, context: bpy.types.Context, result: Any) -> None:
        """Bring the result into Blender: all of it or, raising an error before anything is changed, nothing."""
        raise NotImplementedError

    def step(self, context: bpy.types.Context) -> None:
        """Called in the window at each look while the work goes on."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """One job at a time."""
        if _State.job is not None:
            cls.poll_message_set("Tessera is at work; wait for it or press Cancel")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Work to the end: for scripts and for Blender without a window."""
        try:
            job = Job(self.title, self.prepare(context))
            job._work()
            self.finish(context, job.result())
        except TesseraError as error:
            return failed(self, error)
        clear_message()
        return {"FINISHED"}

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Work beside the window."""
        if bpy.app.background:
            return self.execute(context)
        try:
            self._job = _State.job = Job(self.title, self.prepare(context))
        except TesseraError as error:
            return failed(self, error)
        manager = context.window_manager
        self._timer = manager.event_timer_add(INTERVAL, window=context.window)
        manager.modal_handler_add(self)
        _State.operator = self
        clear_message()
        _show(context, f"{self.title}: Esc to cancel")
        self._job.start()
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Look at the thread; every other event goes where it always goes."""
        if event.type == "ESC" and event.value == "PRESS":
            self._job.cancel()
        if self._job.cancelled:
            self._stop(context)
            self.report({"INFO"}, "Stopped; nothing was changed")
            return {"CANCELLED"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        try:
            if not self._job.done:
                self.step(context)
                redraw(context)
                return {"PASS_THROUGH"}
            self._stop(context)
            self.finish(context, self._job.result())
        except TesseraError as error:
            return failed(self, error)
        except BaseException:  # a fault of ours: shown as one, but the panel must not wait for ever
            self._stop(context)
            raise
        return {"FINISHED"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Called by Blender when it ends the operator itself: another file is loaded, or it quits."""
        self._job.cancel()
        self._stop(context)

    def _stop(self, context: bpy.types.Context) -> None:
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
        self._timer = _State.job = _State.operator = None
        _show(context, None)
        redraw(context)


def failed(operator: bpy.types.Operator, error: TesseraError) -> set[str]:
    """Tell the sentence in the status bar and the panel; returns what the operator returns."""
    _State.message = " ".join(str(error).split())
    operator.report({"ERROR"}, _State.message)
    return {"CANCELLED"}


def reported(operator: bpy.types.Operator, work: Callable[[], str | None]) -> set[str]:
    """Do short work at once; what it returns is told, and an error becomes one sentence."""
    try:
        said = work()
    except TesseraError as error:
        return failed(operator, error)
    clear_message()
    if said:
        operator.report({"INFO"}, said)
    return {"FINISHED"}


def stop() -> None:
    """End what runs, if anything does."""
    job = _State.job
    if job is None:
        return
    job.cancel()
    if _State.operator is not None:
        _State.operator._stop(bpy.context)
    _State.job = None
    job.join(PATIENCE)


def _show(context: bpy.types.Context, text: str | None) -> None:
    """Tell something in the status bar, or take it away where it was told: the workspace may be another one now."""
    workspace = context.workspace if text else bpy.data.workspaces.get(_State.workspace)
    if workspace is not None:
        workspace.status_text_set(text)
        _State.workspace = workspace.name


def redraw(context: bpy.types.Context) -> None:
    """Draw the sidebars anew: those of every window, since the panel may be open in several."""
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in {"VIEW_3D", "NODE_EDITOR"}:
                for region in area.regions:
                    if region.type == "UI":  # not the view itself, which may take long to draw
                        region.tag_redraw()


def register() -> None:
    """Nothing runs yet."""
    _State.job, _State.operator, _State.message = None, None, ""


def unregister() -> None:
    """Stop the work and give all memory back."""
    stop()
    engine.forget()
