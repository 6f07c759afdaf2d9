"""Promises: work on a timeline that another thread was asked to do, so that later calls can wait for it.

Layer: runtime. The I/O thread of a Support makes one for each transfer when it is asked for; launches and transfers
of other threads wait for those made before them. Invariant: work on a unit is done in the order it was asked for,
whichever thread does it.
"""

from __future__ import annotations

import threading
from collections.abc import Sized
from contextlib import suppress

from loom.core.process.critical import Latch

__all__ = ["Promise", "Promises"]


class Promise:
    """Something the thread ``keeper`` will do. ``keep`` tells that it is done, or will never be."""

    __slots__ = ("_among", "_kept", "keeper")

    def __init__(self, keeper: int, among: list[Promise]) -> None:
        self.keeper = keeper
        self._among = among
        self._kept = Latch()

    def keep(self) -> None:
        """Let those go on who wait; calling it again does nothing."""
        with suppress(ValueError):
            self._among.remove(self)
        self._kept.set()

    def wait(self) -> None:
        """Wait until it is kept."""
        self._kept.wait()


class Promises:
    """What was promised on one timeline and is not done yet."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: list[Promise] = []

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    @property
    def pending(self) -> Sized:
        """Those that are not kept yet; always the same object."""
        return self._open

    def make(self, keeper: int) -> Promise:
        """Promise that the thread ``keeper`` will do something; whoever calls ``wait`` from now on waits for it."""
        promise = Promise(keeper, self._open)
        self._open.append(promise)
        return promise

    def wait(self) -> None:
        """Wait for what other threads have promised so far."""
        if self._open:
            me = threading.get_ident()
            for promise in tuple(self._open):
                if promise.keeper != me:
                    promise.wait()
