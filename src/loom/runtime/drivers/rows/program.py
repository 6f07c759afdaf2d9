"""One program of rows for the drivers of GPUs, and its runs: launches, parts left out after a fault, waits, outcomes.

Layer: runtime. A driver says how a run is begun, what tells that it is over, and what it holds until then. Invariant:
whatever a run uses lives until the run is over; what it left is taken once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from loom.core.errors import DeviceError, KernelFault
from loom.core.process.critical import CRITICAL
from loom.runtime.drivers.rows.sent import SentWords
from loom.runtime.plans.plan import Plan
from loom.runtime.port.device import DeviceProgram, DeviceSubmission
from loom.runtime.port.log import SILENT, Outcome
from loom.runtime.port.times import Times

__all__ = ["FAULTS", "Part", "RowDevice", "RowProgram", "RowRun", "wait_for"]

FAULTS = ("assert", "bounds", "loops")
"""Sites at which a kernel fails."""
Part = Callable[[], KernelFault | None]
"""Hands rows over that go together; gives the fault of counts that the host looked at."""


class RowDevice(Protocol):
    """An opened GPU, as far as programs of rows are concerned."""

    name: str

    def note_error(self, error: DeviceError) -> DeviceError:
        """Take note of an error that may tell that the device was lost."""
        ...


def wait_for(run: DeviceSubmission, slice_seconds: float) -> None:
    """Wait to the end, and look for Ctrl-C after each slice."""
    while not run.wait(slice_seconds):
        CRITICAL.look()


Device = TypeVar("Device", bound=RowDevice)
Run = TypeVar("Run", bound="RowRun[Any]")
Program = TypeVar("Program", bound="RowProgram[Any, Any]")


class RowProgram(Generic[Device, Run]):
    """A plan ready to run. ``side_by_side``: it does the work of several programs, of which a fault stops none."""

    kind: type[Run]
    domain: object | None
    """Where its runs are in order with those of other programs; None: only with its owner's."""
    sent: SentWords[Any]
    parts: Sequence[tuple[Part, bool]]
    """What is handed over, and whether each is left out after a fault."""

    def __init__(self, device: Device, plan: Plan, *, timed: bool = False, side_by_side: bool = False) -> None:
        self.device = device
        self.plan = plan
        self.timed = timed
        self.side_by_side = side_by_side

    def start(self, previous: Run | None) -> Run:
        """Begin a run after ``previous``."""
        raise NotImplementedError

    def launch(self, previous: DeviceSubmission | None) -> Run:
        """Start a run after ``previous``; it is over on return where what it sends decides what comes next."""
        if previous is not None and not isinstance(previous, self.kind):
            wait_for(previous, self.kind.slice_seconds)
            previous = None
        return self.start(previous)

    def run(self, begun: Callable[[DeviceSubmission], None]) -> None:
        """Start a run; the caller waits."""
        begun(self.launch(None))

    def do_parts(self) -> KernelFault | None:
        """Hand parts over, up to one that a fault leaves out; return the first fault of counts."""
        first: KernelFault | None = None
        for part, stops in self.parts:
            if stops and self.sent.has_failed():
                break
            fault = part()
            first = first if first is not None else fault
        return first

    def woven(self: Program, plan: Callable[[], Plan], programs: Sequence[DeviceProgram]) -> Program | None:
        """Return a program of a plan that does all ``programs`` do; None unless all are this device's."""
        if all(isinstance(p, type(self)) and p.device is self.device for p in programs):
            return type(self)(self.device, plan(), side_by_side=True)
        return None

    def profiled(self: Program) -> Program:
        """Return the plan built so that its runs tell times; DeviceError if the device has no clock."""
        return type(self)(self.device, self.plan, timed=True)


class RowRun(Generic[Program]):
    """One run of a program, under way or over."""

    slice_seconds = 1.0
    """Longest wait at once."""

    def __init__(self, program: Program) -> None:
        self.program: Program | None = program
        self.device: Any = program.device
        self.kept = SILENT
        self.taken: Times | None = None
        self.over = self._ends = False
        self.lock = threading.RLock()

    # what each driver has its own way of

    def has_passed(self, seconds: float) -> bool:
        """Wait at most ``seconds`` for what tells that all is done; tell whether it is, DeviceError if that is lost."""
        raise NotImplementedError

    def collect(self, program: Program) -> tuple[Outcome, Times | None]:
        """Return what the run of a program sent, and its times; DeviceError if the device is lost."""
        raise NotImplementedError

    def let_go(self, *, lost: bool) -> None:
        """Give back what the run held; nothing, unless a driver says otherwise."""

    # what they do alike

    def wait(self, seconds: float) -> bool:
        """Wait at most ``seconds``; tell whether the run is over."""
        if self.over:
            return True
        try:
            if not self.has_passed(max(0.0, seconds)):
                return False
        except DeviceError as error:
            self.end(error)
        else:
            self.end(None)
        return True

    def end(self, lost: DeviceError | None) -> None:
        """Take what the run left, once. A device that was lost left an error.

        Where a finalizer or a handler of signals comes into this and asks too, that takes it, and this lets go.
        """
        with self.lock:
            program = self.program
            if self.over or program is None:
                return
            is_inner, self._ends = self._ends, True
            times: Times | None = None
            try:
                if lost is not None:
                    raise lost
                outcome, times = self.collect(program)
            except DeviceError as error:
                outcome = Outcome(lost=self.device.note_error(error))
            if not self.over:
                self.kept, self.taken = outcome, times
                self.over = True
            if is_inner:
                return
            self.let_go(lost=lost is not None)
            self.program = None  # whoever keeps the run need not keep its memory

    def finish(self) -> None:
        """Wait to the end."""
        wait_for(self, self.slice_seconds)

    def cancel(self) -> None:
        """Nothing: what is with the device is done to its end."""

    def times(self) -> Times | None:
        """Return when dispatches began and ended, None of a run that is not timed or that was lost."""
        return self.taken

    def outcome(self) -> Outcome:
        """Return what the run sent."""
        return self.kept
