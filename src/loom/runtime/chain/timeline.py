"""The order of runs that share memory, and what they have to tell whoever waits.

Layer: runtime. All programs of one chain or unit share a timeline. Invariant: what a run printed and the fault it met
come out exactly once, runs in order, at the first call that waits for that run or a later one: wait, poll, run, the
owner's next read or write, shutdown.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Sequence, Sized
from numbers import Real
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet, ref

from loom.core.errors import ArgumentError, LoomTimeout, StateError
from loom.core.process.forks import renew_after_forks
from loom.runtime.chain.mirrors import Moves
from loom.runtime.chain.promise import Promises
from loom.runtime.port.device import DeviceSubmission

if TYPE_CHECKING:
    from loom.runtime.port.log import Outcome
    from loom.runtime.port.pacing import Pacer, Pacing, ProgramPace

__all__ = ["MOVING", "SLICE_SECONDS", "Owned", "Timeline", "deadline_of", "wait_until"]

SLICE_SECONDS = 0.05
"""Longest wait without looking at signals, so that Ctrl-C works."""


class Owned(Protocol):
    """A program, as far as its timeline is concerned."""

    pacer: Pacer | None

    @property
    def pace(self) -> ProgramPace | None:
        """How it is paced."""
        ...

    def release(self) -> None:
        """Let go of the program's memory; no run may be under way."""
        ...


def deadline_of(timeout: float | None, where: str) -> float | None:
    """Return when a wait that begins now ends, None for never; ArgumentError for what is no timeout."""
    return None if timeout is None else time.monotonic() + _seconds(timeout, where)


def wait_until(inner: DeviceSubmission, deadline: float | None, where: str, timeout: float | None) -> None:
    """Wait until a run is over; LoomTimeout at the deadline, which is that of ``timeout``."""
    while not inner.wait(SLICE_SECONDS if deadline is None else _left(deadline)):
        if deadline is not None and time.monotonic() >= deadline:
            raise LoomTimeout(
                where, "still running", expected=f"done within {timeout} s",
                remedy="Wait again: the work goes on and nothing is lost",
            )  # fmt: skip


def _left(deadline: float) -> float:
    return max(0.0, min(SLICE_SECONDS, deadline - time.monotonic()))


_LONGEST_SECONDS = 1e9
"""Some thirty years: no wait is longer."""


def _seconds(timeout: Any, where: str) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, Real) or not timeout >= 0:  # type: ignore[operator]
        raise ArgumentError(
            where, "unusable timeout", expected="seconds, at least 0, or None", got=repr(timeout), remedy="Pass a float"
        )
    return float(min(timeout, _LONGEST_SECONDS))


class Moving:
    """Whose runs wrote what may not be back where it was given.

    ``lock`` is kept from the moment data go to a device until the run that uses them has begun.
    """

    def __init__(self) -> None:
        self.forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """What was under way stays with the parent of a fork."""
        self.lock = threading.RLock()
        self._owing: dict[ref[Timeline], None] = {}
        self._noting = threading.RLock()

    def timelines(self) -> list[Timeline]:
        """Return those of which runs wrote what may not be back."""
        return [timeline for each in list(self._owing) if (timeline := each()) is not None]

    def note(self, timeline: Timeline, number: int, moves: Moves) -> None:
        """Take note of what a run wrote."""
        with self._noting:
            timeline.owed.append((number, moves))
            self._owing[ref(timeline, self._forget)] = None

    def discard(self, timeline: Timeline) -> None:
        """Forget a timeline all of whose runs' results are back."""
        with self._noting:
            if not timeline.owed:
                self._owing.pop(ref(timeline), None)

    def _forget(self, gone: ref[Timeline]) -> None:
        self._owing.pop(gone, None)

    def bring_back(self, extents: Sequence[tuple[int, int]]) -> None:
        """Bring back what runs wrote of memory, when they are over."""
        for timeline in self.timelines():
            timeline.bring_back(extents)


MOVING = Moving()


class Timeline:
    """The order of runs that share memory: remembers the last one, and what runs told that nobody heard yet."""

    def __init__(self) -> None:
        self.last: DeviceSubmission | None = None
        self.domain = object()
        """Stands for it where its runs use storage."""
        self.closed = False
        self.programs: WeakSet[Owned] = WeakSet()
        self.promises = Promises()
        self.pacing: Pacing | None = None
        self.owed: deque[tuple[int, Moves]] = deque()
        """What runs, by number, wrote that is not back where it was given."""
        renew_after_forks(self, Timeline._make_locks)
        self._entered = 0
        self._heard = 0
        self._unheard: deque[DeviceSubmission] = deque()
        self._untold: deque[tuple[int, Outcome]] = deque()

    def _make_locks(self) -> None:
        self.lock = threading.RLock()
        self._hearing = threading.RLock()

    def enter(self, inner: DeviceSubmission) -> int:
        """Take note of a run that comes after all others; return its number."""
        with self._hearing:
            number = self._entered + 1
            self._entered, self.last = number, inner  # nothing comes in the middle of these lines
            self._unheard.append(inner)
            self._hear()
            return number

    @property
    def untold(self) -> tuple[Sized, ...]:
        """What is empty while nothing is under way, promised, or to be told; each stays the same object."""
        return self.promises.pending, self._unheard, self._untold, self.owed

    @property
    def submissions(self) -> int:
        """How many runs were started."""
        return self._entered

    @property
    def in_flight(self) -> int:
        """How many runs are under way."""
        with self._hearing:
            self._hear()
            return len(self._unheard)

    def _hear(self) -> None:
        """Take from runs that are over what they have to tell, so that their logs can go.

        A finalizer that comes into this may do so too: a run is taken if it is still the next.
        """
        while self._unheard and (first := self._unheard[0]).wait(0.0):
            outcome = first.outcome()
            told = self._heard + 1, outcome
            if self._unheard and self._unheard[0] is first:
                self._heard += 1
                self._unheard.popleft()
                if outcome.lines or outcome.error is not None:
                    self._untold.append(told)

    def report(self, upto: int | None = None) -> None:
        """Print and raise what the runs numbered up to ``upto`` (None: all) told; they must be over.

        A fault ends the report; later runs keep theirs for the next call.
        """
        if self.owed:
            self.pull(upto)
        if not (self._unheard or self._untold):  # what was heard is over
            return
        while True:
            with self._hearing:
                self._hear()
                if not self._untold or (upto is not None and self._untold[0][0] > upto):
                    return
                outcome = self._untold.popleft()[1]
            for line in outcome.lines:  # with no lock of the timeline: where it goes to may be code of others
                print(line)
            if outcome.error is not None:
                raise outcome.error

    def pull(self, upto: int | None = None) -> None:
        """Bring back what the runs numbered up to ``upto`` (None: all) wrote; they must be over."""
        with self._hearing:
            while self.owed and (upto is None or self.owed[0][0] <= upto):
                self.owed.popleft()[1].pull()

    def bring_back(self, extents: Sequence[tuple[int, int]]) -> None:
        """Wait for runs that write some of such memory and bring that back; what they told is left to be told."""
        with self._hearing:
            self._hear()
            number = max((n for n, theirs in self.owed if theirs.writes_at(extents)), default=0)
            inner = self._unheard[number - self._heard - 1] if number > self._heard else None
        while inner is not None and not inner.wait(SLICE_SECONDS):
            pass
        self.pull(number)
        with self._hearing:  # nobody is bringing back the last of it
            MOVING.discard(self)

    def poll(self, number: int) -> bool:
        """Tell whether the run of that number is over; if it is, report as ``report`` does."""
        with self._hearing:
            self._hear()
            over = self._heard >= number
        if over:
            self.report(number)
        return over

    def wait(self, number: int, timeout: float | None, where: str, deadline: float | None = None) -> None:
        """Wait until the run of that number is over and report; LoomTimeout, named ``where``, after ``timeout``.

        ``deadline`` is when that is, if the time began earlier than now.
        """
        deadline = deadline_of(timeout, where) if deadline is None else deadline
        with self._hearing:
            self._hear()
            inner = self._unheard[number - self._heard - 1] if number > self._heard else None
        if inner is not None:
            wait_until(inner, deadline, where, timeout)
        self.report(number)

    def settle(self) -> None:
        """Wait for everything launched so far, raising the oldest fault not raised yet."""
        if not (self._unheard or self._untold or self.owed):  # what was heard is over
            return
        with self._hearing:
            last, number = self.last, self._entered
        while last is not None and not last.wait(SLICE_SECONDS):
            pass
        self.report(number)

    def drain(self) -> None:
        """Wait for everything launched so far and let go of it, faults or not."""
        last = self.last
        try:
            while last is not None and not last.wait(SLICE_SECONDS):
                pass
        except StateError:  # a run that a fork lost tells nothing
            with self._hearing:
                self._heard += len(self._unheard)
                self._unheard.clear()
        with self._hearing:
            self._hear()
            if self.last is last:
                self.last = None

    def close(self) -> None:
        """Wait for everything launched so far and end all programs; ``report`` still has what they told."""
        with self.lock:
            self.drain()
            self.pull()
            self.closed = True
            for program in list(self.programs):
                program.release()
