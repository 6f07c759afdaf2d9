"""Critical sections: what Ctrl-C does not leave half done.

Layer: core. KeyboardInterrupt may come between any two instructions of the main thread, also when a lock was taken and
the ``with`` that gives it back has not begun. While the main thread is in a section, SIGINT is noted down; whoever
leaves the last section, or looks, has the handler called that there was. Python's own locks (``threading.Lock``,
``RLock``) need no section, as no signal is handled between them and their ``with``; what is written in Python over them
(conditions, events, semaphores, starts of threads, executors, futures) does. Invariant: nothing waits in a section for
what may take long, unless it looks.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from types import FrameType

__all__ = ["CRITICAL", "Latch", "start_thread"]

_SLICE_SECONDS = 0.05
_Handler = Callable[[int, FrameType | None], object]


class _Critical:
    """``with CRITICAL``: the section. Sections may be within each other, and mean nothing outside the main thread."""

    def __init__(self) -> None:
        self._depth = 0
        self._handler: _Handler | None = None
        self._pressed: list[FrameType | None] = []

    def __enter__(self) -> None:
        if threading.get_ident() != threading.main_thread().ident:
            return
        self._depth += 1
        if self._depth == 1:
            try:
                self._begin()
            except BaseException:
                self._depth -= 1
                raise

    def __exit__(self, *_: object) -> None:
        if threading.get_ident() != threading.main_thread().ident:
            return
        self._depth -= 1
        if self._depth == 0 and self._handler is not None:
            if signal.getsignal(signal.SIGINT) == self._note:  # else someone inside has set another
                signal.signal(signal.SIGINT, self._handler)
            self._tell()

    def _begin(self) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if handler == self._note:  # a finalizer comes in the middle of an end
            return
        self._pressed.clear()
        self._handler = None
        if callable(handler):
            with suppress(ValueError):  # another interpreter of this process has the signals
                signal.signal(signal.SIGINT, self._note)
                self._handler = handler

    def _note(self, _number: int, frame: FrameType | None) -> None:
        self._pressed.append(frame)

    def look(self) -> None:
        """Have the handler called now if Ctrl-C was pressed in this section, nothing being half done at the moment."""
        if self._pressed and threading.get_ident() == threading.main_thread().ident:
            self._tell()

    def _tell(self) -> None:
        if self._pressed and self._handler is not None:
            frame = self._pressed.pop()
            self._pressed.clear()
            self._handler(signal.SIGINT, frame)


CRITICAL = _Critical()


def start_thread(thread: threading.Thread) -> None:
    """Start a thread; it runs though Ctrl-C is pressed at that moment."""
    with CRITICAL:
        thread.start()


class Latch:
    """A flag to wait for: as ``threading.Event``, but for what Ctrl-C can leave of it."""

    __slots__ = ("_gate", "_is_set")

    def __init__(self) -> None:
        self._is_set = False
        self._gate = threading.Lock()
        self._gate.acquire()

    def __bool__(self) -> bool:
        return self._is_set

    def set(self) -> None:
        """Let all go on who wait; calling it again does nothing."""
        self._is_set = True
        if self._gate.locked():
            with suppress(RuntimeError):  # another thread did
                self._gate.release()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is set, at most so long; tell whether it is."""
        until = None if seconds is None else monotonic() + seconds
        while not self._is_set:
            left = _SLICE_SECONDS if until is None else min(_SLICE_SECONDS, until - monotonic())
            if left <= 0:
                break
            if self._gate.acquire(timeout=left):  # whoever is let in lets the next one in
                self.set()
            CRITICAL.look()
        return self._is_set
