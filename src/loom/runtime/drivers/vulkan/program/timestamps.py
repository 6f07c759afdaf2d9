"""Time stamps around the dispatches of a recording, for profiles.

Layer: runtime. A timed dispatch waits for all before it, and the next one for it, so that the time between its stamps
is its own. Invariant: a recording with stamps serves one run at a time, and its stamps are read when that run is over.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from loom.core.errors import DeviceError
from loom.runtime.drivers.vulkan.handles.opened import OpenAdapter
from loom.runtime.drivers.vulkan.native.recorder import WAITS
from loom.runtime.drivers.vulkan.program.table import PlanTable
from loom.runtime.port.times import Times

__all__ = ["Timestamps"]

_TIMESTAMP = 2
_END_OF_PIPE = 0x2000
_64_BIT = 0x1


class Timestamps:
    """Stamps for the rows of a table, in place of its recorder; of many rows some are timed (see ``sample``)."""

    def __init__(self, device: OpenAdapter, table: PlanTable) -> None:
        adapter, api = device.adapter, device.api
        if not adapter.timestamp_bits:
            raise DeviceError(
                f"device {device.name!r}", "the device cannot tell the time", expected="time stamps of its queue",
                remedy="Profile on another device",
            )  # fmt: skip
        self.device = device
        self.rows, self.numbers, self.weights = table.rows_to_time(empty=True)
        info = api.new("VkQueryPoolCreateInfo", queryType=_TIMESTAMP, queryCount=max(1, 2 * len(self.rows)))
        self.pool: Any = device.create("QueryPool", info)

    def record(self, commands: int, rows: np.ndarray[Any, Any], barrier: int, stages: int) -> None:
        """Record rows as the recorder does, with stamps around those that are timed."""
        recorder, api = self.device.recorder, self.device.api
        buffer = api.ffi.cast("VkCommandBuffer", commands)
        rows = rows.copy()
        rows["flags"][self.rows] |= WAITS
        rows["flags"][self.rows[self.rows + 1 < len(rows)] + 1] |= WAITS
        api.lib.vkCmdResetQueryPool(buffer, self.pool, 0, max(1, 2 * len(self.rows)))
        done = 0
        for n, row in enumerate(self.rows.tolist()):
            recorder.record(commands, rows[done:row], barrier, stages)
            api.lib.vkCmdWriteTimestamp(buffer, _END_OF_PIPE, self.pool, 2 * n)
            recorder.record(commands, rows[row : row + 1], barrier, stages)
            api.lib.vkCmdWriteTimestamp(buffer, _END_OF_PIPE, self.pool, 2 * n + 1)
            done = row + 1
        recorder.record(commands, rows[done:], barrier, stages)

    def read(self) -> Times:
        """Return what the run that is over has left."""
        adapter, api = self.device.adapter, self.device.api
        ticks = np.zeros((len(self.rows), 2), np.uint64)
        if len(self.rows):
            data = api.ffi.cast("void*", ticks.ctypes.data)
            api.call(
                "vkGetQueryPoolResults", self.device.handle, self.pool, 0, ticks.size, ticks.nbytes, data, 8, _64_BIT
            )
        first = ticks[0, 0] if len(ticks) else np.uint64(0)
        mask = np.uint64((1 << adapter.timestamp_bits) - 1)
        passed = (ticks - first) & mask  # also over the end of a narrow counter
        period = adapter.timestamp_period
        times = int(int(first) * Fraction(period)) + (passed.astype(np.float64) * period).astype(np.int64)
        return Times(self.device.name, self.numbers, times[:, 0], times[:, 1], self.weights, host_clock=False)

    def destroy(self) -> None:
        """Free the stamps."""
        self.device.destroy("QueryPool", self.pool)
