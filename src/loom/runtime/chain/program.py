"""Programs and submissions: a built chain, and one run of it.

Layer: runtime. Runs of programs that share a timeline (all programs of one chain or unit) happen in the
order they were launched. Invariant: a fault inside a kernel is raised exactly once, at the first call
that learns of it: wait, poll, run, or the owner's next read or write.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from loom.core.errors import LoomTimeout, StateError
from loom.ir.interp import current_debug
from loom.runtime.chain.plan import Plan
from loom.runtime.device import DeviceProgram, DeviceSubmission

__all__ = ["Program", "Submission", "Timeline"]

_SLICE_SECONDS = 0.05
"""Longest wait without looking at signals, so that Ctrl-C works."""


class Submission:
    """One run of a program."""

    def __init__(self, inner: DeviceSubmission, name: str) -> None:
        self._inner = inner
        self._name = name
        self._reported = False
        self._lock = threading.Lock()

    @property
    def done(self) -> bool:
        """True when the run is over; raises nothing."""
        return self._inner.wait(0.0)

    def poll(self) -> bool:
        """Tell whether the run is over; when it is, print what kernels printed and raise their fault."""
        if not self._inner.wait(0.0):
            return False
        self._report()
        return True

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the run is over; LoomTimeout after ``timeout`` seconds, the run then goes on."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._inner.wait(_SLICE_SECONDS if deadline is None else self._left(deadline)):
            if deadline is not None and time.monotonic() >= deadline:
                raise LoomTimeout(
                    f"{self._name}.wait", "still running", expected=f"done within {timeout} s",
                    remedy="Wait again: the work goes on and nothing is lost",
                )  # fmt: skip
        self._report()

    def _left(self, deadline: float) -> float:
        return max(0.0, min(_SLICE_SECONDS, deadline - time.monotonic()))

    def cancel(self) -> None:
        """Ask the run to stop before its next dependent dispatch; memory keeps what was done."""
        self._inner.cancel()

    def _report(self) -> None:
        with self._lock:
            if self._reported:
                return
            self._reported = True
        outcome = self._inner.outcome()
        for line in outcome.lines:
            print(line)
        if outcome.fault is not None:
            raise outcome.fault


class Timeline:
    """The order of runs that share memory: remembers the last one."""

    def __init__(self) -> None:
        self.last: Submission | None = None
        self.lock = threading.RLock()

    def settle(self) -> None:
        """Wait for everything launched so far, raising a fault not raised yet."""
        last = self.last
        if last is not None:
            last.wait()

    def drain(self) -> None:
        """Wait for everything launched so far, faults or not."""
        last = self.last
        while last is not None and not last._inner.wait(_SLICE_SECONDS):
            pass


class Program:
    """A built chain. ``run`` and ``launch`` may be called any number of times."""

    def __init__(self, inner: DeviceProgram, plan: Plan, timeline: Timeline, name: str) -> None:
        self._inner: DeviceProgram | None = inner
        self._plan = plan
        self._timeline = timeline
        self._name = name

    @property
    def dispatches(self) -> int:
        """How many dispatches one run executes."""
        return self._plan.count

    def launch(self) -> Submission:
        """Start a run and return at once; it begins after earlier runs of the same unit."""
        with self._timeline.lock:
            inner = self._program("launch")
            last = self._timeline.last
            previous = last._inner if last is not None and not last.done else None
            submission = Submission(inner.launch(previous), self._name)
            self._timeline.last = submission
            return submission

    def run(self) -> None:
        """Run to the end; raise what a kernel's assert or bounds report says. Ctrl-C stops the run."""
        with self._timeline.lock:
            inner = self._program("run")
            self._timeline.drain()
            submission = Submission(inner.run(), self._name)
            self._timeline.last = submission
        try:
            submission.wait()
        except KeyboardInterrupt:
            submission.cancel()
            raise

    def _program(self, verb: str) -> DeviceProgram:
        if self._inner is None:
            raise StateError(f"{self._name}.{verb}", "the program was freed", remedy="Record and build it again")
        if current_debug() is not None:
            from loom.runtime.drivers.interp import InterpProgram

            return InterpProgram(self._plan)
        return self._inner

    def free(self) -> None:
        """Give up the program's memory, after its last run; calling it again does nothing."""
        with self._timeline.lock:
            self._timeline.drain()
            self._inner = None

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_exc: Any) -> None:
        self.free()
