"""Homeostasis: a program whose submissions become slow is given pauses, and loses them as it recovers.

Layer: runtime. ``Pacer`` is arithmetic on times it is told, one per program; ``Pacing`` is a unit's setting; ``Watch``
times one submission. Delays come before a run is handed to the device, in the thread that starts it, so that order
never changes. Invariant: no result depends on any of it, and what is not watched costs one comparison a run.

What it adjusts and when: docs/guide/profiling.md, "Pacing".
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING

from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.core.process.forks import hold_over_forks

if TYPE_CHECKING:
    from loom.runtime.port.device import DeviceSubmission

__all__ = ["Pacer", "Pacing", "ProgramPace", "UnitStatus", "Watch", "as_pace"]

SLOW = 1.2
"""A submission is slow if it takes more than this times the baseline."""
STEP_UP, STEP_DOWN, MOST_PACE = 50, 10, 2000
"""Microseconds: what a slow submission adds to the delay, what one that is not takes away, and the most there is."""
LEARNT = 5
"""Submissions whose median becomes the baseline."""
LEAST_BASELINE = 500.0
"""Microseconds: a program that takes less is not paced, since one step would cost more than what it could save."""
STUBBORN = 200
"""Slow submissions in a row at the full delay after which it is the program that has changed: it is learnt anew."""
_LATE = 0.05
"""How much of a submission's time may lie between its last sight under way and the first of its end."""
_DRIFT = 1 / 16
"""Weight of a submission that is not slow in the baseline."""


class Pacer:
    """The state of one program: ``observe`` is told how long a submission took, ``pace`` is the delay before the next.

    All times are microseconds. The baseline is the median of the first submissions and then drifts with those that are
    not slow. ``fixed`` is a delay set by hand (0: off), None while the pacer finds it itself. One without ``delays``
    takes times and no more.

    >>> pacer = Pacer()
    >>> [pacer.observe(t) for t in (1000, 1000, 1000, 1000, 1000, 1300, 1300, 1000)]
    [0, 0, 0, 0, 0, 50, 100, 90]
    """

    __slots__ = ("_learning", "_own", "_slow", "baseline", "delays", "fixed", "is_watched", "last")

    def __init__(self, fixed: float | None = None, *, delays: bool = True) -> None:
        self.delays = delays
        self.baseline: float | None = None
        self.last: float | None = None
        self._own = 0
        self._learning: list[float] = []
        self._slow = 0
        self.set(fixed)

    def set(self, fixed: float | None) -> None:
        """Set the delay by hand; None: find it, with what is known of the program."""
        self.fixed = fixed
        self.is_watched = fixed is None or fixed > 0
        self._own = 0

    @property
    def pace(self) -> float:
        """The delay before the next submission."""
        return self._own if self.fixed is None else self.fixed

    def observe(self, took: float) -> float:
        """Take note of a submission; return the delay before the next one."""
        self.last = took
        baseline = self.baseline  # runs of other threads may end at the same time
        if baseline is not None and baseline < LEAST_BASELINE <= took:
            self._forget()  # it was short, and is no longer
            baseline = None
        if baseline is None:
            self._learn(took)
        elif took > SLOW * baseline:
            self._slow_down(took)
        else:
            self._slow = 0
            self._own = max(0, self._own - STEP_DOWN)
            self.baseline = baseline + _DRIFT * (took - baseline)
        baseline = self.baseline
        if self.fixed is None:
            self.is_watched = baseline is None or baseline >= LEAST_BASELINE
        return self.pace

    def _learn(self, took: float) -> None:
        learning = self._learning
        learning.append(took)
        if len(learning) >= LEARNT:
            from statistics import median  # of many modules, once a device

            self._learning = []
            self.baseline = median(learning)

    def _slow_down(self, took: float) -> None:
        if took < LEAST_BASELINE:
            return
        most = MOST_PACE if self.delays else 0
        self._own = min(most, self._own + STEP_UP)
        self._slow = self._slow + 1 if self._own == most else 0
        if self._slow >= STUBBORN:
            self._forget()

    def _forget(self) -> None:
        """Learn the baseline anew, without delay."""
        self.baseline, self._own, self._slow = None, 0, 0
        self._learning = []

    def wake(self) -> None:
        """Look at the next submission, also of a program too short to be paced."""
        self.is_watched = self.fixed is None or self.fixed > 0

    def hold_up(self) -> None:
        """Wait as long as the pace says."""
        pace = self.pace
        if pace:
            time.sleep(pace * 1e-6)


@dataclass(frozen=True, slots=True)
class ProgramPace:
    """A program's pacing; times in microseconds, None before anything was measured."""

    dispatches: int
    baseline: float | None
    last: float | None
    pace: float


@dataclass(frozen=True, slots=True)
class UnitStatus:
    """How a unit fares; times in microseconds.

    ``mode`` is ``"auto"``, ``"fixed"`` or ``"off"``; ``baseline``, ``last`` and ``pace`` are those of the program that
    ran last; ``programs`` has all that were built and not freed.
    """

    name: str
    device: str
    mode: str
    baseline: float | None
    last: float | None
    pace: float
    submissions: int
    in_flight: int
    programs: tuple[ProgramPace, ...] = ()


class Pacing:
    """How a unit's programs are paced: the setting for those built from now on, and who was timed last."""

    __slots__ = ("delays", "fixed", "latest")

    def __init__(self, *, delays: bool = True) -> None:
        self.fixed: float | None = None
        self.delays = delays
        self.latest: Pacer | None = None

    @property
    def mode(self) -> str:
        """What ``UnitStatus`` calls the setting."""
        if self.fixed is None:
            return "auto" if self.delays else "off"
        return "fixed" if self.fixed else "off"

    def pacer(self) -> Pacer:
        """Return the pacer of a new program."""
        return Pacer(self.fixed, delays=self.delays)


def as_pace(microseconds: float | None, where: str) -> float | None:
    """Return a delay as it is kept; ArgumentError if it is none."""
    if microseconds is None:
        return None
    usable = isinstance(microseconds, (int, float)) and not isinstance(microseconds, bool)
    if not usable or not 0 <= microseconds <= sys.float_info.max:
        raise ArgumentError(
            where, "unusable pace", expected="microseconds, at least 0, or None for automatic", got=repr(microseconds),
            remedy="Write unit.pace(100), unit.pace(0) or unit.pace(None)",
        )  # fmt: skip
    return float(microseconds)


_under_way: set[Watch] = set()
_lock = hold_over_forks(threading.RLock())


class Watch:
    """Times a submission of a program.

    One that was not alone on its way says nothing of the device, nor one whose end was noticed late; they are left out.
    ``inner`` refers to what runs, None until it was handed over; it holds no memory of a run that is over.
    """

    __slots__ = ("_alone", "_begun", "_pacing", "_seen", "inner", "pacer")

    def __init__(self, pacing: Pacing, pacer: Pacer, *, alone: bool) -> None:
        self.pacer = pacer
        self.inner: weakref.ref[DeviceSubmission] | None = None
        self._pacing = pacing
        with _lock:
            for other in [w for w in tuple(_under_way) if w._is_over]:
                _under_way.discard(other)  # over, and nobody asked
            for other in tuple(_under_way):
                other._alone = False
            self._alone = alone and not _under_way
            _under_way.add(self)
        self._begun = self._seen = time.perf_counter()

    @property
    def _is_over(self) -> bool:
        run = None if self.inner is None else self.inner()
        return self.inner is not None and (run is None or run.wait(0.0))

    def note_wait(self) -> None:
        """The submission is under way still."""
        self._seen = time.perf_counter()

    def over(self, *, at_once: bool) -> None:
        """The submission is over; that was noticed ``at_once``, or some time after ``seen``."""
        now = time.perf_counter()
        took = now - self._begun
        if self.drop() and self._alone and (at_once or now - self._seen <= _LATE * took):
            self.pacer.observe(took * 1e6)
            self._pacing.latest = self.pacer

    def drop(self) -> bool:
        """Watch no longer; tell whether it was watched."""
        with _lock:
            watched = self in _under_way
            _under_way.discard(self)
        return watched


def _after_fork() -> None:
    """What was under way stays with the parent."""
    _under_way.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
