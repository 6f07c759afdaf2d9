"""Plans as programs of a GPU, and their runs.

Layer: runtime. A plan becomes parts: graphs, rows launched as they are, rows whose groups the host reads before they
start. A launch hands them to the stream, which does them in order with all else of the GPU. Where kernels may fail a
launch waits, part by part, so that what depends on a dispatch that failed is never started. Invariant: whatever a run
uses lives until the run is over; a program whose kernels tell the host something has one run under way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from loom.core.errors import DeviceError, KernelFault
from loom.runtime.drivers.cuda.graph import CountedRow, KernelGraph, LaunchedRows
from loom.runtime.drivers.cuda.memory import CudaStorage, poll
from loom.runtime.drivers.cuda.opened import OpenGpu
from loom.runtime.drivers.cuda.sharing import BorrowedStorage, beside_owners
from loom.runtime.drivers.cuda.table import FEW_ROWS, LaunchTable
from loom.runtime.drivers.cuda.timing import StampedRows
from loom.runtime.memory.storage import HostSlot
from loom.runtime.plans.needs import Needs
from loom.runtime.plans.plan import Plan
from loom.runtime.port.device import DeviceProgram, DeviceSubmission
from loom.runtime.port.log import LOG_WORDS, SILENT, Outcome, new_log, read_log
from loom.runtime.port.times import Times

__all__ = ["CudaProgram", "CudaRun"]

_FAULTS = ("assert", "bounds", "loops")
_MOST_NODES = 1 << 15
_FLAG = 16
"""Byte of the log's fault flag."""


class CudaProgram:
    """A plan ready to run. ``side_by_side``: it does the work of several programs, of which a fault stops none."""

    def __init__(self, device: OpenGpu, plan: Plan, *, timed: bool = False, side_by_side: bool = False) -> None:
        device.require()
        self.device = device
        self.plan = plan
        self.side_by_side = side_by_side
        self.domain = device.stream
        self.table = LaunchTable(device, plan)
        self.log: CudaStorage | None = None
        self.latest: CudaRun | None = None
        if any(item.kernel.sites for item in self.table.items):
            empty = new_log(LOG_WORDS)
            self.log = device.memory.allocate(empty.nbytes, zeroed=False)
            device.memory.upload(self.log.address, empty.view(np.uint8))
            for item in self.table.items:
                item.words[:, item.log] = self.log.address
        self.borrowed = _foreign_memory(plan)
        self.slots: dict[int, HostSlot] = {id(s): s for i in self.table.items for s, _ in i.slots}
        indirect = [step.dispatch.indirect for _, steps in plan.segments for step in steps]
        self.slots |= {id(i[0]): i[0] for i in indirect if i is not None and isinstance(i[0], HostSlot)}
        self._bound: dict[int, int] = {}
        may_fail = [any(site.kind in _FAULTS for site in item.kernel.sites) for item in self.table.items]
        self.is_careful = any(may_fail) and not timed and not side_by_side
        self.stamped: StampedRows | None = None
        with device.current:
            if timed:
                self.stamped = StampedRows(device, self.table)
            self.parts: list[tuple[LaunchedRows, bool]] = (
                [(self.stamped, False)] if self.stamped is not None else self._cut(may_fail)
            )

    def _cut(self, may_fail: list[bool]) -> list[tuple[LaunchedRows, bool]]:
        """Return the parts, and whether each is left out after a fault."""
        needs, cuts = Needs(self.plan), self._cuts(may_fail)
        parts: list[tuple[LaunchedRows, bool]] = []
        for (first, stops), (last, _) in zip(cuts, [*cuts[1:], (len(self.table.owners), False)], strict=True):
            if first == last:
                continue
            if self.table.items[int(self.table.owners[first])].indirect:
                part: LaunchedRows = CountedRow(self.device, self.table, first, last)
            elif last - first <= FEW_ROWS:
                part = LaunchedRows(self.device, self.table, first, last)
            else:
                part = KernelGraph(self.device, self.table, first, last, needs)
            parts.append((part, stops))
        return parts

    def _cuts(self, may_fail: list[bool]) -> list[tuple[int, bool]]:
        """Return where parts begin, and whether there because what waits comes after what may fail; also around rows
        counted in memory and calls of libraries."""
        table, cuts = self.table, [(0, False)]
        failing = False
        alone = [item.indirect or item.by_library for item in table.items]
        if not self.is_careful and not any(alone):
            return [(row, False) for row in range(0, max(1, len(table.owners)), _MOST_NODES)]
        pairs: list[tuple[int, int]] = list(zip(table.owners.tolist(), table.turns.tolist(), strict=True))
        for row, (owner, turn) in enumerate(pairs):
            stops = self.is_careful and failing and bool(table.items[owner].waits[turn])
            is_apart = alone[owner] or (row > 0 and alone[int(table.owners[row - 1])])
            if row and (stops or is_apart or row - cuts[-1][0] >= _MOST_NODES):
                cuts.append((row, stops))
                failing = failing and not stops
            failing = failing or may_fail[owner]
        return cuts

    def launch(self, previous: DeviceSubmission | None) -> CudaRun:
        """Start a run after ``previous``; it is over on return if a kernel of it may fail, or slots are attached."""
        if previous is not None and not isinstance(previous, CudaRun):
            while not previous.wait(1.0):
                pass
        self.device.require()
        with self.device.lock:
            latest = self.latest
            if latest is not None and (self.log is not None or self.stamped is not None):
                latest.finish()
            attached = self._attach()
            run = CudaRun(self, attached)
            self.latest = run if self.log is not None or self.stamped is not None else None
        self.device.hold(run)
        if self.log is not None and self.slots:
            run.finish()
        return run

    def run(self, begun: Callable[[DeviceSubmission], None]) -> None:
        """Start a run; the caller waits."""
        begun(self.launch(None))

    def woven(self, plan: Callable[[], Plan], programs: Sequence[DeviceProgram]) -> CudaProgram | None:
        """Return a program of a plan that does all ``programs`` do; None unless all are this device's."""
        if all(isinstance(p, CudaProgram) and p.device is self.device for p in programs):
            return CudaProgram(self.device, plan(), side_by_side=True)
        return None

    def profiled(self) -> CudaProgram:
        """Return the plan, each dispatch between two events."""
        return CudaProgram(self.device, self.plan, timed=True)

    def _attach(self) -> list[Any]:
        """Take what is attached to the slots now; return it."""
        if not self.slots:
            return []
        wanted = {key: self.table.address(slot) for key, slot in self.slots.items()}
        if wanted != self._bound:
            touched: set[int] = set()
            for item in self.table.items:
                for slot, column in item.slots:
                    if self._bound.get(id(slot)) != wanted[id(slot)]:
                        item.words[:, column] = wanted[id(slot)]
                        touched.add(id(item))
            self._bound = {}
            for item in self.table.items:
                if id(item) in touched:
                    self.table.choose(item)
            with self.device.current:
                for part, _ in self.parts:
                    part.changed(touched)
            self._bound = wanted
        return [slot.storage for slot in self.slots.values()]

    # what a run does

    def execute(self) -> KernelFault | None:
        """Hand all parts to the stream; return the first fault of groups counted in memory."""
        first: KernelFault | None = None
        with self.device.current:
            for part, stops in self.parts:
                if stops and self._has_failed():
                    break
                fault = part.launch()
                first = first if first is not None else fault
        return first

    def _has_failed(self) -> bool:
        """Wait, and tell whether a lane raised the fault flag."""
        assert self.log is not None
        return bool(self.device.memory.download(self.log.address + _FLAG, 8).view(np.uint64)[0])

    def collect(self) -> Outcome:
        """Return what a run that is over sent, and empty the log."""
        log = self.log
        if log is None:
            return SILENT
        device = self.device
        with device.current:
            if not device.memory.peek(log.address, 32).view(np.uint64)[1:3].any():
                return SILENT
            words = device.memory.peek(log.address, log.nbytes).view(np.uint64)
            outcome = read_log(words, self.table.sites_of)
            device.memory.upload(log.address, words.view(np.uint8))
        return outcome


def _foreign_memory(plan: Plan) -> list[BorrowedStorage]:
    """Return the memory of other libraries that a plan uses."""
    dispatches = [step.dispatch for _, steps in plan.segments for step in steps]
    storages = [b.storage for d in dispatches for b in d.bindings]
    storages += [d.indirect[0] for d in dispatches if d.indirect is not None]
    return list({id(s): s for s in storages if isinstance(s, BorrowedStorage)}.values())


class CudaRun:
    """One run of a program, under way or over."""

    def __init__(self, program: CudaProgram, attached: list[Any]) -> None:
        self.device = program.device
        self.program: CudaProgram | None = program
        self.attached = attached
        self.kept = SILENT
        self.taken: Times | None = None
        self.over = False
        self._lock = threading.RLock()
        self._event: Any = None
        try:
            with beside_owners([*program.borrowed, *attached]):
                self._excess = program.execute()
            with self.device.current:
                self._event = self.device.event()
        except DeviceError as error:
            raise self.device.noted(error) from None

    def wait(self, seconds: float) -> bool:
        """Wait at most ``seconds``; tell whether the run is over."""
        if self.over:
            return True
        try:
            if not poll(self._passed, self._event, seconds):
                return False
        except DeviceError as error:
            self._end(error)
        self._end(None)
        return True

    def _passed(self, event: Any) -> bool:
        return self.over or self.device.has_passed(event)

    def _end(self, lost: DeviceError | None) -> None:
        """Take what the run left, once. A device that was lost left an error."""
        with self._lock:
            program = self.program
            if self.over or program is None:
                return
            try:
                if lost is not None:
                    raise lost
                outcome = program.collect()
                self.kept = outcome if self._excess is None else Outcome(outcome.lines, self._excess)
                self.taken = program.stamped.read() if program.stamped is not None else None
            except DeviceError as error:
                self.kept = Outcome(lost=self.device.noted(error))
            self.over = True
            if lost is None:
                self.device.give_back(self._event)
            self.program = None  # whoever keeps the run need not keep its memory
            self.attached = []

    def finish(self) -> None:
        """Wait to the end."""
        while not self.wait(1.0):
            pass

    def cancel(self) -> None:
        """Nothing: what is with the stream is done to its end."""

    def times(self) -> Times | None:
        """Return when dispatches began and ended, None of a run that is not timed or that was lost."""
        return self.taken

    def outcome(self) -> Outcome:
        """Return what the run sent."""
        return self.kept
