"""The I/O thread: does what it is asked, one thing after the other, and gives futures.

Layer: support. Invariant: a request holds its units' order (see ``runtime.chain.promise``) from the moment it is
asked for, so what comes out does not depend on when the thread gets to it; a failure nobody heard of is told at the
end.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from loom.core.errors import StateError
from loom.core.tracebacks import brief_class
from loom.runtime.chain.promise import Promise
from loom.runtime.units.unit import Unit

__all__ = ["IoThread", "Transfer"]

Work = Callable[["Transfer"], Any]


@brief_class
class Transfer(Future[Any]):
    """A future of the I/O thread: ``result(timeout)``, ``done()``, ``cancel()`` and the rest of ``Future``."""

    def __init__(self, work: Work, name: str) -> None:
        super().__init__()
        self.name = name
        self.heard = False
        self._work: Work | None = work
        self._promises: list[Promise] = []
        self._process = os.getpid()

    def hold(self, units: Iterable[Unit], keeper: int) -> None:
        """Make what is asked of the units from now on wait for this; StateError for one that is shut down."""
        timelines = [unit.timeline(self.name) for unit in units]
        self._promises = [timeline.promises.make(keeper) for timeline in timelines]

    def release(self) -> None:
        """Let the units go on."""
        for promise in self._promises:
            promise.keep()
        self._promises = []

    def do(self) -> None:
        """Do the work, unless it was cancelled."""
        work, self._work = self._work, None
        try:
            if work is not None and self.set_running_or_notify_cancel():
                self.set_result(work(self))
        except BaseException as error:
            self.set_exception(error)
        finally:
            self.release()

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the work and return what it gave, or raise what it raised."""
        self._require_thread()
        self.heard = True
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the work and return what it raised, None if nothing."""
        self._require_thread()
        self.heard = True
        return super().exception(timeout)

    def _require_thread(self) -> None:
        if self._process != os.getpid() and not self.done():
            raise StateError(
                self.name,
                "not done when the process was forked, and its thread stayed in the parent",
                expected="a wait in the process that asked",
                remedy="Wait before os.fork, or ask anew in the child",
            )


class IoThread:
    """One thread with a queue. ``close`` lets it finish what it was asked."""

    def __init__(self, name: str) -> None:
        self._queue: SimpleQueue[Transfer | None] = SimpleQueue()
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._failed: list[Transfer] = []
        self._thread = threading.Thread(target=_serve, args=(self._queue,), name=name, daemon=True)
        self._thread.start()

    @property
    def is_current(self) -> bool:
        """True on the I/O thread itself."""
        return threading.current_thread() is self._thread

    def ask(self, name: str, work: Work, units: Iterable[Unit] = ()) -> Transfer:
        """Have ``work`` done after all that was asked before; ``units`` wait for it."""
        transfer = Transfer(work, name)
        with self._lock:  # one order for the queue and for the units
            if self._closed or self._process != os.getpid():
                why = "it is shut down" if self._closed else "its thread stayed in the process that was forked"
                raise StateError(f"support.{name}", why, expected="a running Support", remedy="Open a new one")
            assert self._thread.ident is not None
            transfer.hold(units, self._thread.ident)
            self._queue.put(transfer)
        transfer.add_done_callback(self._note)
        return transfer

    def _note(self, transfer: Future[Any]) -> None:
        assert isinstance(transfer, Transfer)
        if not transfer.cancelled() and super(Transfer, transfer).exception() is not None:
            self._failed = [t for t in self._failed if not t.heard] + [transfer]

    def abandon(self) -> None:
        """Let the thread end when it has done what it was asked."""
        self._queue.put(None)

    def close(self) -> None:
        """Finish what was asked, end the thread, and raise the first failure nobody asked about."""
        with self._lock:
            first = not self._closed
            self._closed = True
        if first:
            self.abandon()
        if self._process == os.getpid() and not self.is_current:
            self._thread.join()
        unheard = [t for t in self._failed if not t.heard]
        self._failed = []
        if unheard:
            raise unheard[0].exception() or AssertionError("it failed")


def _serve(queue: SimpleQueue[Transfer | None]) -> None:
    """Work until told to stop; hold nothing of what is done."""
    while (transfer := queue.get()) is not None:
        transfer.do()
        transfer = None
