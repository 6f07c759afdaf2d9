"""Plans as programs of a WebGPU device, and their runs.

Layer: runtime. A launch writes the rows of a plan into compute passes and hands them to the queue, which does all in
its order: a dispatch sees what those before it wrote. Where kernels tell the host something a launch waits, part by
part, so that what depends on a dispatch that failed is never started. Invariant: that of ``drivers.rows.program``.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from functools import partial
from typing import Any

from loom.core.errors import DeviceError
from loom.runtime.drivers.rows.program import FAULTS, RowProgram, RowRun
from loom.runtime.drivers.rows.sent import SentWords
from loom.runtime.drivers.webgpu.adapter import calls
from loom.runtime.drivers.webgpu.binding import Binder
from loom.runtime.drivers.webgpu.opened import OpenWebGpu
from loom.runtime.drivers.webgpu.table import PassTable
from loom.runtime.drivers.webgpu.timestamps import PassStamps
from loom.runtime.plans.plan import Plan
from loom.runtime.port.log import Outcome
from loom.runtime.port.times import Times

__all__ = ["WebGpuProgram", "WebGpuRun"]


class WebGpuRun(RowRun["WebGpuProgram"]):
    """One run of a program; it is over when it is made where kernels tell the host something."""

    def __init__(self, program: WebGpuProgram) -> None:
        super().__init__(program)
        program.do_parts()
        self._done: Future[Any] = program.device.memory.fence()
        if program.sent.any:
            self.finish()

    def has_passed(self, seconds: float) -> bool:
        try:
            self._done.result(seconds)
        except NotYet:
            return False
        except Exception as error:  # whatever wgpu raises
            raise DeviceError("device 'webgpu'", f"the device was lost: {error}", remedy="Open it again") from error
        return True

    def collect(self, program: WebGpuProgram) -> tuple[Outcome, Times | None]:
        return program.sent.collect(), program.stamps.read() if program.stamps is not None else None


class WebGpuProgram(RowProgram[OpenWebGpu, WebGpuRun]):
    """A plan ready to run."""

    kind = WebGpuRun

    def __init__(self, device: OpenWebGpu, plan: Plan, *, timed: bool = False, side_by_side: bool = False) -> None:
        super().__init__(device, plan, timed=timed, side_by_side=side_by_side)
        self.domain = device.queue
        self.lock = threading.RLock()
        self.table = PassTable(device, plan)
        self.sent = SentWords(device.memory, self.table, device.name)
        self.binder = Binder(device, self.table, self.sent)
        self.stamps = PassStamps(device, self.table) if timed else None
        cuts = [0] if timed else self.table.fault_cuts(FAULTS)
        self.parts = [
            (partial(self.submit, first, last), first > 0)
            for first, last in zip(cuts, [*cuts[1:], len(self.table.owners)], strict=True)
        ]

    def start(self, previous: WebGpuRun | None) -> WebGpuRun:  # noqa: ARG002 (the queue has them in order)
        with self.lock:
            return WebGpuRun(self)

    def woven(self, plan: object, programs: object) -> None:
        """Nothing: launches follow each other on the queue."""

    def profiled(self) -> WebGpuProgram:
        """Return the plan with time stamps; DeviceError if the device has none."""
        if not self.device.adapter.timed:
            raise DeviceError(
                f"device {self.device.name!r}", "it has no time stamps", remedy="Profile on another device"
            )
        return super().profiled()

    def submit(self, first: int, last: int) -> None:
        """Hand rows to the queue."""
        table = self.table
        with self.device.lock, calls(f"device {self.device.name!r}"):
            encoder = self.device.native.create_command_encoder()
            encode = encoder.begin_compute_pass()
            for row, item, turn in table.rows(first, last):
                stamps = self.stamps.of(row) if self.stamps is not None else None
                if stamps is not None:
                    encode.end()
                    encode = encoder.begin_compute_pass(timestamp_writes=stamps)
                kernel, group = self.binder.bound(item)
                offset = 4 * (item.first + turn * item.stride)
                encode.set_pipeline(kernel.pipeline)
                encode.set_bind_group(0, group, [offset])
                if item.indirect:
                    encode.dispatch_workgroups_indirect(table.live, offset + 4 * item.kernel.push.groups)
                else:
                    encode.dispatch_workgroups(*item.groups[turn].tolist())
                if stamps is not None:
                    encode.end()
                    encode = encoder.begin_compute_pass()
            encode.end()
            if self.stamps is not None:
                self.stamps.resolve(encoder)
            self.device.queue.submit([encoder.finish()])
