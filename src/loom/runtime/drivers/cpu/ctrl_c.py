"""Ends a kernel that does not end by itself when Ctrl-C is pressed while the main thread runs it.

Layer: runtime. Python calls handlers of signals in the main thread alone, and between two of its instructions: never
while that thread is in a kernel. But it writes the number of each signal to a file at once, which a thread reads here.
Invariant: a dispatch that ends in ``GRACE_SECONDS`` is not cut, nor one under a handler of the user's, unless Ctrl-C is
pressed twice; and whoever had set a wakeup file before gets what comes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from time import monotonic
from types import CodeType, FrameType
from typing import Protocol
from weakref import ref

from loom.core.process.critical import start_thread

__all__ = ["GRACE_SECONDS", "Interrupts", "Led"]

GRACE_SECONDS = 0.5
"""How long a dispatch may go on after its run was cancelled or interrupted."""
_AGAIN_SECONDS = 0.05
"""How long the wakeup file is taken to be what it was set to: others set theirs too, and asking takes a microsecond."""


class Led(Protocol):
    """A run that a thread is in."""

    def is_over(self) -> bool:
        """Tell whether nothing of it is under way."""
        ...

    def end(self) -> None:
        """Have it end where it is."""
        ...

    def hear(self) -> None:
        """Take note of Ctrl-C while the main thread waits; end a dispatch that was there the time before."""
        ...


class Interrupts:
    """The thread that hears of signals.

    ``code``: of the function whose variable ``submission`` is the run that a thread is in. ``waiting``: of the one
    whose variable ``self`` is the run that a thread waits for.

    ``until``: when the main thread must ``listen`` anew before a run, by ``monotonic``.

    Who runs notes down nothing, as most runs take microseconds: whoever asks looks into the threads' frames.
    """

    def __init__(self, code: CodeType, waiting: CodeType) -> None:
        self._code = code
        self._waiting = waiting
        self.until = 0.0
        self._files: tuple[int, int] | None = None
        self._other = -1
        self._identity: tuple[int, int] | None = None
        """Which file that is: its number may become another's once it is closed."""
        self._last: Callable[[], Led | None] = lambda: None

    def listen(self) -> None:
        """Hear of signals from now on; nothing where the calling thread is not the main one."""
        if threading.get_ident() != threading.main_thread().ident:
            return
        self.until = monotonic() + _AGAIN_SECONDS
        if self._files is None:
            read, write = os.pipe()
            os.set_blocking(write, False)
            self._files = read, write
            start_thread(threading.Thread(target=self._hear, args=(read,), name="loom interrupts", daemon=True))
        write = self._files[1]
        with contextlib.suppress(ValueError):  # another interpreter of this process has the signals
            before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
            if before != write:
                self._other, self._identity = before, _identity(before)

    def runs(self) -> dict[int, Led]:
        """Return the run that each thread is in, the innermost one, by the thread's number."""
        return self._runs(self._code, "submission")

    def _runs(self, code: CodeType, name: str) -> dict[int, Led]:
        found: dict[int, Led] = {}
        for thread, top in sys._current_frames().items():  # pyright: ignore[reportPrivateUsage] - the only door to them
            frame: FrameType | None = top
            while frame is not None and thread not in found:
                if frame.f_code is code and name in (known := frame.f_locals):
                    found[thread] = known[name]
                frame = frame.f_back
        return found

    def _hear(self, file: int) -> None:
        """Take the numbers of signals as they come."""
        while True:
            number = os.read(file, 1)
            if self._other != -1 and _identity(self._other) == self._identity:
                with contextlib.suppress(OSError):
                    os.write(self._other, number)
            if number[0] == signal.SIGINT:
                self._interrupt()

    def _interrupt(self) -> None:
        main = threading.main_thread().ident or 0
        is_pythons = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        run = self.runs().get(main)
        if run is None:
            waited = None if is_pythons else self._runs(self._waiting, "self").get(main)
            if waited is not None:  # under Python's own handler the wait ends, and takes note
                waited.hear()
            return
        again, self._last = self._last() is run, ref(run)
        if again:
            run.end()
        elif is_pythons:
            timer = threading.Timer(GRACE_SECONDS, self._end, [run])
            timer.daemon = True
            timer.start()

    def _end(self, run: Led) -> None:
        if not run.is_over():
            run.end()

    def after_fork(self) -> None:
        """Leave the parent's file alone: what is written there its thread reads."""
        if self._files is not None:
            with contextlib.suppress(ValueError):
                before = signal.set_wakeup_fd(self._other)
                if before != self._files[1]:
                    signal.set_wakeup_fd(before)
            for file in self._files:
                os.close(file)
        self.__init__(self._code, self._waiting)


def _identity(file: int) -> tuple[int, int] | None:
    """Return what tells a file from others; None of none."""
    try:
        found = os.fstat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino
