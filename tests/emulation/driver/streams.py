"""Streams and events of the emulated driver: work is queued, and done as late as CUDA allows, or in a drawn order.

What is not ordered by a stream, an event or a wait of the host may be done in any order: ``Order.LATE`` does nothing
before something waits for it, ``Order.DRAWN`` does some of any stream's now and then, as a seed says, and
``Order.AT_ONCE`` leaves nothing. Invariant: the work of one stream is done in its order, and none before the record of
an event that the stream was told to wait for.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

__all__ = ["Event", "Order", "Record", "Scheduler", "Stream"]


class Order(Enum):
    """When what was queued is done."""

    LATE = "late"
    DRAWN = "drawn"
    AT_ONCE = "at once"


@dataclass(eq=False)
class Record:
    """An event as it was recorded once; ``time`` in milliseconds of the scheduler's clock."""

    stream: Stream
    done: bool = False
    time: float = 0.0


@dataclass(eq=False)
class Event:
    """An event of a context; ``record`` is the newest, made in a stream of this handle."""

    context: int
    timed: bool
    record: Record | None = None
    recorded_in: int = 0


@dataclass(eq=False)
class Work:
    """What is queued: an action, or a wait for a record; ``is_record``: the action is an event's."""

    action: Callable[[], None] | None
    awaited: Record | None = None
    is_record: bool = False


@dataclass(eq=False)
class Stream:
    """A queue of a context."""

    context: int
    queue: deque[Work] = field(default_factory=deque)

    @property
    def is_blocked(self) -> bool:
        """Whether what is first waits for something that is not done."""
        first = self.queue[0].awaited
        return first is not None and not first.done


class Scheduler:
    """Does the work of all streams."""

    def __init__(self, seed: int = 0, order: Order = Order.LATE) -> None:
        self.random = random.Random(seed)
        self.order = order
        self._eagerness = self.random.random()
        self.streams: list[Stream] = []
        self.time = 0.0
        """Of all that was done, in milliseconds: a microsecond for each piece of work."""

    def submit(self, stream: Stream, action: Callable[[], None]) -> None:
        """Queue an action."""
        stream.queue.append(Work(action))
        self._draw()

    def record(self, stream: Stream, event: Event) -> None:
        """Record an event anew."""
        record = event.record = Record(stream)

        def done() -> None:
            record.done, record.time = True, self.time

        stream.queue.append(Work(done, is_record=True))
        self._draw()

    def wait(self, stream: Stream, event: Event) -> None:
        """Have a stream wait for an event as it is recorded now; nothing for one that never was."""
        if event.record is not None:
            stream.queue.append(Work(None, event.record))
            self._draw()

    def query(self, record: Record) -> bool:
        """Tell whether a record is done; who asks often enough sees it done."""
        if not record.done and self.random.random() < 0.5:
            self.finish(record)
        return record.done

    def finish(self, record: Record) -> None:
        """Do what is before a record, and perhaps other work."""
        while not record.done:
            self._advance(record.stream)

    def drain(self, streams: Iterable[Stream]) -> None:
        """Do all work of streams, and what it waits for."""
        for stream in streams:
            while stream.queue:
                self._advance(stream)

    def drop(self, context: int) -> None:
        """Forget the work of a context that was lost, but for records of its events: others may wait for them."""
        for stream in self.streams:
            if stream.context == context:
                left = [work for work in stream.queue if work.is_record]
                stream.queue.clear()
                stream.queue.extend(left)

    def _advance(self, stream: Stream) -> None:
        """Do one piece of work that a stream's next one needs, or is."""
        if self.order is Order.DRAWN:
            self._step(self.random.choice([s for s in self.streams if s.queue and not s.is_blocked]))
            return
        while stream.queue and stream.is_blocked:
            awaited = stream.queue[0].awaited
            assert awaited is not None
            stream = awaited.stream
        self._step(stream)

    def _step(self, stream: Stream) -> None:
        work = stream.queue.popleft()
        self.time += 0.001
        if work.action is not None:
            work.action()

    def _draw(self) -> None:
        """Do some work of any streams."""
        if self.order is Order.AT_ONCE:
            self.drain(self.streams)
        while self.order is Order.DRAWN and self.random.random() < self._eagerness:
            able = [s for s in self.streams if s.queue and not s.is_blocked]
            if not able:
                return
            self._step(self.random.choice(able))
