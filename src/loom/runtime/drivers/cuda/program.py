"""Plans as programs of a GPU, and their runs.

Layer: runtime. A plan becomes parts: graphs, rows launched as they are, rows whose groups the host reads before they
start. A launch hands them to the stream, which does them in order with all else of the GPU. Where kernels may fail a
launch waits, part by part, so that what depends on a dispatch that failed is never started. Invariant: a
program whose kernels tell the host something has one run under way.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from loom.core.errors import DeviceError
from loom.runtime.drivers.cuda.graph import CountedRow, KernelGraph, LaunchedRows
from loom.runtime.drivers.cuda.memory import CudaStorage, poll
from loom.runtime.drivers.cuda.opened import OpenGpu
from loom.runtime.drivers.cuda.sharing import BorrowedStorage, beside_owners
from loom.runtime.drivers.cuda.table import FEW_ROWS, LaunchTable
from loom.runtime.drivers.cuda.timing import StampedRows
from loom.runtime.drivers.rows.program import FAULTS, RowProgram, RowRun
from loom.runtime.drivers.rows.sent import SentWords
from loom.runtime.memory.storage import HostSlot
from loom.runtime.plans.needs import Needs
from loom.runtime.plans.plan import Plan
from loom.runtime.port.log import SILENT, Outcome
from loom.runtime.port.times import Times

__all__ = ["CudaProgram", "CudaRun"]

_MOST_NODES = 1 << 15


class CudaRun(RowRun["CudaProgram"]):
    """One run of a program."""

    def __init__(self, program: CudaProgram, attached: list[Any]) -> None:
        super().__init__(program)
        self.attached = attached
        self._event: Any = None
        try:
            with beside_owners([*program.borrowed, *attached]), self.device.current:
                self._excess = program.do_parts()
            with self.device.current:
                self._event = self.device.event()
        except DeviceError as error:
            raise self.device.note_error(error) from None

    def has_passed(self, seconds: float) -> bool:
        return poll(self._has_passed, self._event, seconds)

    def _has_passed(self, event: Any) -> bool:
        return self.over or self.device.has_passed(event)

    def collect(self, program: CudaProgram) -> tuple[Outcome, Times | None]:
        outcome = SILENT
        if program.sent.any:
            with self.device.current:
                outcome = program.sent.collect()
        if self._excess is not None:
            outcome = Outcome(outcome.lines, self._excess)
        return outcome, program.stamped.read() if program.stamped is not None else None

    def let_go(self, *, lost: bool) -> None:
        if not lost:
            self.device.give_back(self._event)
        self.attached = []


class CudaProgram(RowProgram[OpenGpu, CudaRun]):
    """A plan ready to run."""

    kind = CudaRun

    def __init__(self, device: OpenGpu, plan: Plan, *, timed: bool = False, side_by_side: bool = False) -> None:
        device.require()
        super().__init__(device, plan, timed=timed, side_by_side=side_by_side)
        self.domain = device.stream
        self.table = LaunchTable(device, plan)
        self.latest: CudaRun | None = None
        self.sent = SentWords[CudaStorage](device.memory, self.table, device.name)
        if self.sent.log is not None:
            for item in self.table.items:
                item.words[:, item.log] = self.sent.log.address
        self.borrowed = _foreign_memory(plan)
        self.slots: dict[int, HostSlot] = {id(s): s for i in self.table.items for s, _ in i.slots}
        indirect = [step.dispatch.indirect for _, steps in plan.segments for step in steps]
        self.slots |= {id(i[0]): i[0] for i in indirect if i is not None and isinstance(i[0], HostSlot)}
        self._bound: dict[int, int] = {}
        self.stamped: StampedRows | None = None
        with device.current:
            if timed:
                self.stamped = StampedRows(device, self.table)
            self.rows = [(self.stamped, False)] if self.stamped is not None else self._cut()
        self.parts = [(part.launch, stops) for part, stops in self.rows]
        self.is_alone = self.sent.any or timed
        """Whether one run of it is under way at a time."""

    def _cut(self) -> list[tuple[LaunchedRows, bool]]:
        """Return the parts, and whether each is left out after a fault."""
        table, needs = self.table, Needs(self.plan)
        stops = [0] if self.side_by_side else table.fault_cuts(FAULTS)
        parts: list[tuple[LaunchedRows, bool]] = []
        for first, last in self._spans(stops):
            if table.items[int(table.owners[first])].indirect:
                part: LaunchedRows = CountedRow(self.device, table, first, last)
            elif last - first <= FEW_ROWS:
                part = LaunchedRows(self.device, table, first, last)
            else:
                part = KernelGraph(self.device, table, first, last, needs)
            parts.append((part, first > 0 and first in stops))
        return parts

    def _spans(self, stops: list[int]) -> list[tuple[int, int]]:
        """Return the parts' first rows and ends: cut where some are left out after a fault, around rows counted in
        memory and calls of libraries, and where a graph would have too many nodes."""
        table = self.table
        cuts, total = {*stops}, len(table.owners)
        alone = [item.indirect or item.by_library for item in table.items]
        if any(alone):
            rows = np.flatnonzero(np.array(alone)[table.owners]).tolist()
            cuts.update(rows, (row + 1 for row in rows))
        spans = pairwise(sorted({*cuts, total}))
        return [(row, min(row + _MOST_NODES, end)) for first, end in spans for row in range(first, end, _MOST_NODES)]

    def start(self, previous: CudaRun | None) -> CudaRun:  # noqa: ARG002 (the stream has them in order)
        """Begin a run; it is over on return if a kernel of it may fail, and slots are attached."""
        self.device.require()
        with self.device.lock:
            if self.latest is not None and self.is_alone:
                self.latest.finish()
            run = CudaRun(self, self._attach())
            self.latest = run if self.is_alone else None
        self.device.hold(run)
        if self.sent.any and self.slots:
            run.finish()
        return run

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
                for part, _ in self.rows:
                    part.set_words(touched)
            self._bound = wanted
        return [slot.storage for slot in self.slots.values()]


def _foreign_memory(plan: Plan) -> list[BorrowedStorage]:
    """Return the memory of other libraries that a plan uses."""
    dispatches = [step.dispatch for _, steps in plan.segments for step in steps]
    storages = [b.storage for d in dispatches for b in d.bindings]
    storages += [d.indirect[0] for d in dispatches if d.indirect is not None]
    return list({id(s): s for s in storages if isinstance(s, BorrowedStorage)}.values())
