"""Who may compute now, who waits, and who is told to come later: first come, first served.

Layer: serve. Belongs to one event loop. Invariant: never more places are taken than there are, and a place that was
taken is given back once, whatever became of the one who took it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

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


class ServerGate:
    """``limits.sequences`` places; ``limits.queue`` may be waited for."""

    def __init__(self, limits: ServerLimits) -> None:
        self._places, self._queue = limits.sequences, limits.queue
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.running = 0
        self.closed = False

    @property
    def waiting(self) -> int:
        """How many places are waited for."""
        return sum(places for places, _ in self._waiting)

    async def enter(self, places: int = 1, *, patient: bool = False) -> Ticket:
        """Return a ticket as soon as there is room; Refusal if too many wait (not if it is patient), or at the end."""
        if self.closed:
            raise busy("The server is stopping.", status=503, retry_after=5)
        if self._waiting or self.running + places > self._places:
            if self.waiting + places > self._queue and not patient:
                raise busy(f"{self.waiting} texts wait already: come back later.")
            await self._wait(places)
        else:
            self.running += places
        return Ticket(self, places)

    async def _wait(self, places: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (places, turn)
        self._waiting.append(entry)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release(places)  # it was this one's turn, and nobody is there any more
            else:
                self._leave(entry)
            raise

    def _leave(self, entry: tuple[int, asyncio.Future[None]]) -> None:
        if entry in self._waiting:
            self._waiting.remove(entry)
            self._admit()

    def release(self, places: int) -> None:
        """Take places back."""
        self.running -= places
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.running + self._waiting[0][0] <= self._places:
            places, turn = self._waiting.popleft()
            if not turn.done():
                self.running += places
                turn.set_result(None)

    def close(self) -> None:
        """Let nobody in any more; who waits is told so."""
        self.closed = True
        while self._waiting:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(busy("The server is stopping.", status=503, retry_after=5))
