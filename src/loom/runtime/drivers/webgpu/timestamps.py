"""Time stamps around dispatches of a profiled run.

Layer: runtime. Each timed row is a compute pass of its own. Invariant: times are of the device's clock, in
nanoseconds, as WebGPU gives them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.runtime.drivers.webgpu.opened import OpenWebGpu
from loom.runtime.drivers.webgpu.table import PassTable
from loom.runtime.port.times import Times

__all__ = ["PassStamps"]

_MOST_ROWS = 2048
"""A set holds 4096 stamps."""
_RESOLVED = 0x200 | 0x4 | 0x8


class PassStamps:
    """The stamps of a table's rows, or of a sample of them."""

    def __init__(self, device: OpenWebGpu, table: PassTable) -> None:
        self.device = device
        self.rows, self.numbers, self.weights = table.rows_to_time(_MOST_ROWS)
        self.places = {row: place for place, row in enumerate(self.rows.tolist())}
        count = max(2, 2 * len(self.rows))
        self.set: Any = device.native.create_query_set(type="timestamp", count=count)
        self.buffer: Any = device.native.create_buffer(size=8 * count, usage=_RESOLVED)
        self.count = count

    def of(self, row: int) -> dict[str, Any] | None:
        """Return what a pass over this row alone writes, None for a row that is not timed."""
        place = self.places.get(row)
        if place is None:
            return None
        return {
            "query_set": self.set, "beginning_of_pass_write_index": 2 * place,
            "end_of_pass_write_index": 2 * place + 1,
        }  # fmt: skip

    def resolve(self, encoder: Any) -> None:
        """Have the stamps written down after all rows."""
        if len(self.rows):
            encoder.resolve_query_set(self.set, 0, 2 * len(self.rows), self.buffer, 0)

    def read(self) -> Times:
        """Return when dispatches began and ended; the run must be over."""
        stamps = self.device.memory.download(self.buffer, 0, 8 * self.count).view(np.int64).reshape(-1, 2)
        stamps = stamps[: len(self.rows)]
        return Times(self.device.name, self.numbers, stamps[:, 0], stamps[:, 1], self.weights, host_clock=False)
