"""Who may compute now, who waits, and who is told to come later: first come, first served.

Layer: serve. Belongs to one event loop. Invariant: never more places are taken than there are, and a place that was
taken is given back once, whatever became of the one who took it.
"""

from __future__ import annotations

import asyncio
from collections import deque

from loom.core.late.dataclass import dataclass
from loom.serve.limits import ServerLimits
from loom.serve.refusals import busy

__all__ = ["ServerGate", "Ticket"]


@dataclass(eq=False, slots=True)
class Ticket:
    """So many places of a gate."""

    gate: ServerGate
    places: int
    taken: bool = True

    def give_back(self) -> None:
        """Give the places back; again does nothing."""
        if self.taken:
            self.taken = False
            self.gate.release(self.places)


@dataclass(eq=False, slots=True)
class _Waiter:
    places: int
    patient: bool
    turn: asyncio.Future[None]


class ServerGate:
    """``limits.sequences`` places; ``limits.queue`` may be waited for."""

    def __init__(self, limits: ServerLimits) -> None:
        self._places, self._queue = limits.sequences, limits.queue
        self._waiting: deque[_Waiter] = deque()
        self.running = 0
        self.closed = False

    @property
    def waiting(self) -> int:
        """How many places are waited for."""
        return sum(each.places for each in self._waiting)

    async def enter(self, places: int = 1, *, patient: bool = False) -> Ticket:
        """Return a ticket as soon as there is room; Refusal if too many wait, or at the end.

        ``patient``: of a request that was let in, which neither of them ends.
        """
        if self.closed and not patient:
            raise busy("The server is stopping.", status=503, retry_after=5)
        if self._waiting or self.running + places > self._places:
            if self.waiting + places > self._queue and not patient:
                raise busy(f"{self.waiting} texts wait already: come back later.")
            await self._wait(_Waiter(places, patient, asyncio.get_running_loop().create_future()))
        else:
            self.running += places
        return Ticket(self, places)

    async def _wait(self, waiter: _Waiter) -> None:
        self._waiting.append(waiter)
        turn = waiter.turn
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release(waiter.places)  # it was this one's turn, and nobody is there any more
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
                self._admit()
            raise

    def release(self, places: int) -> None:
        """Take places back."""
        self.running -= places
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.running + self._waiting[0].places <= self._places:
            waiter = self._waiting.popleft()
            if not waiter.turn.done():
                self.running += waiter.places
                waiter.turn.set_result(None)

    def close(self) -> None:
        """Let nobody in any more; who waits is told so, but for those of requests that were let in."""
        self.closed = True
        waiting, self._waiting = self._waiting, deque(each for each in self._waiting if each.patient)
        for waiter in waiting:
            if not waiter.patient and not waiter.turn.done():
                waiter.turn.set_exception(busy("The server is stopping.", status=503, retry_after=5))
        self._admit()
