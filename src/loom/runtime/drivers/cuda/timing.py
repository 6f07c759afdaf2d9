"""Times of the dispatches of a profiled run: events around rows that are launched one after the other.

Layer: runtime. CUDA tells the time between two events, in a float: times are counted from event to event, and from
one run to the next. Invariant: times are of the GPU's clock, in nanoseconds from its first profiled run.
"""

from __future__ import annotations

import weakref
from contextlib import suppress
from typing import Any

import numpy as np

from loom.core.errors import DeviceError, KernelFault
from loom.runtime.drivers.cuda.api import Api
from loom.runtime.drivers.cuda.graph import CountedRow, LaunchedRows, launch_row
from loom.runtime.drivers.cuda.opened import OpenGpu
from loom.runtime.drivers.cuda.table import LaunchTable
from loom.runtime.port.times import Times

__all__ = ["StampedRows"]


class StampedRows(LaunchedRows):
    """All rows of a table, a sample of them timed."""

    def __init__(self, device: OpenGpu, table: LaunchTable) -> None:
        super().__init__(device, table, 0, len(table.owners))
        self.timed, self.numbers, self.weights = table.rows_to_time()
        self._last: Any = None
        self.events: list[Any] = [device.api.cuEventCreate(0) for _ in range(2 * len(self.timed))]
        self._places = {row: 2 * place for place, row in enumerate(self.timed.tolist())}
        weakref.finalize(self, _destroy, device.api, device.current, self.events).atexit = False

    def launch(self) -> KernelFault | None:
        """Hand the rows to the stream, events around those that are timed."""
        first: KernelFault | None = None
        for row, item, turn in self.rows():
            place = self._places.get(row)
            self._stamp(place)
            if item.indirect:
                fault = CountedRow(self.device, self.table, row, row + 1).launch()
                first = first if first is not None else fault
            else:
                launch_row(self.device, item, turn)
            self._stamp(None if place is None else place + 1)
        self._last = self.device.api.cuEventCreate(0)
        self.device.api.cuEventRecord(self._last, self.device.stream)
        return first

    def _stamp(self, place: int | None) -> None:
        if place is not None:
            self.device.api.cuEventRecord(self.events[place], self.device.stream)

    def read(self) -> Times:
        """Return when dispatches began and ended; the run must be over."""
        with self.device.current:
            stamps = self.device.clock.count([*self.events, self._last])
        found = np.round(stamps[:-1]).astype(np.int64).reshape(-1, 2)
        return Times(self.device.name, self.numbers, found[:, 0], found[:, 1], self.weights, host_clock=False)


def _destroy(api: Api, current: Any, events: list[Any]) -> None:
    if api.is_ours:
        with suppress(DeviceError), current:
            for event in events:
                api.driver.cuEventDestroy(event)
