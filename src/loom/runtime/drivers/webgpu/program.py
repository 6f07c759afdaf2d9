"""Plans as programs of a WebGPU device, and their runs.

Layer: runtime. A launch writes the rows of a plan into compute passes and hands them to the queue, which does all in
its order: a dispatch sees what those before it wrote. Where kernels tell the host something a launch waits, part by
part, so that what depends on a dispatch that failed is never started. Invariant: whatever a run uses lives until the
run is over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import Any

import numpy as np

from loom.core.errors import DeviceError, KernelFault
from loom.runtime.drivers.counts import STATUS_WORDS
from loom.runtime.drivers.webgpu.adapter import calls
from loom.runtime.drivers.webgpu.binding import Binder
from loom.runtime.drivers.webgpu.opened import OpenWebGpu
from loom.runtime.drivers.webgpu.table import RowItem, RowTable
from loom.runtime.drivers.webgpu.timestamps import PassStamps
from loom.runtime.plans.groups import excess_groups
from loom.runtime.plans.plan import Plan
from loom.runtime.port.device import DeviceProgram, DeviceSubmission
from loom.runtime.port.log import LOG_WORDS, SILENT, Outcome, new_log, read_log
from loom.runtime.port.times import Times

__all__ = ["WebGpuProgram", "WebGpuRun"]

_FAULTS = ("assert", "bounds", "loops")


class WebGpuProgram:
    """A plan ready to run."""

    def __init__(self, device: OpenWebGpu, plan: Plan, *, timed: bool = False) -> None:
        self.device = device
        self.plan = plan
        self.timed = timed
        self.domain = device.queue
        self.lock = threading.RLock()
        self.table = RowTable(device, plan)
        self.log: Any = None
        self.status: Any = None
        if self.table.slots:
            self.status = device.memory.buffer(4 * STATUS_WORDS * self.table.slots)
        self.binder = Binder(device, self.table, self.status)
        kernels = [self.binder.kernel(item) for item in self.table.items]
        self.talks = [bool(kernel.sites) for kernel in kernels]
        self.may_fail = [any(site.kind in _FAULTS for site in kernel.sites) for kernel in kernels]
        if any(self.talks):
            empty = new_log(LOG_WORDS)
            self.log = device.memory.buffer(empty.nbytes)
            self.binder.log = self.log
            device.memory.upload(self.log, 0, empty.view(np.uint8))
        self.stamps = PassStamps(device, self.table) if timed else None

    def launch(self, previous: DeviceSubmission | None) -> WebGpuRun:
        """Start a run after ``previous``; it is over on return where kernels tell the host something."""
        if previous is not None and not isinstance(previous, WebGpuRun):
            while not previous.wait(1.0):
                pass
        with self.lock:
            return WebGpuRun(self)

    def run(self, begun: Callable[[DeviceSubmission], None]) -> None:
        """Start a run; the caller waits."""
        begun(self.launch(None))

    def woven(self, plan: Callable[[], Plan], programs: Sequence[DeviceProgram]) -> None:
        """Nothing: launches follow each other on the queue."""

    def profiled(self) -> WebGpuProgram:
        """Return the plan with time stamps; DeviceError if the device has none."""
        if not self.device.adapter.timed:
            raise DeviceError(
                f"device {self.device.name!r}", "it has no time stamps", remedy="Profile on another device"
            )
        return WebGpuProgram(self.device, self.plan, timed=True)

    # what a run does

    def cuts(self) -> list[int]:
        """Return where parts begin, so that what waits for others comes in a later part than any that may fail."""
        if not any(self.may_fail) or self.timed:
            return [0]
        cuts: list[int] = [0]
        failing = False
        for row, (owner, turn) in enumerate(zip(self.table.owners.tolist(), self.table.turns.tolist(), strict=True)):
            item: RowItem = self.table.items[int(owner)]
            if failing and item.waits[turn]:
                cuts.append(row)
                failing = False
            failing = failing or self.may_fail[int(owner)]
        return cuts

    def submit(self, first: int, last: int) -> None:
        """Hand rows to the queue."""
        table = self.table
        with self.device.lock, calls(f"device {self.device.name!r}"):
            encoder = self.device.native.create_command_encoder()
            encode = encoder.begin_compute_pass()
            for row, owner, turn in zip(
                range(first, last), table.owners[first:last].tolist(), table.turns[first:last].tolist(), strict=True
            ):
                item: RowItem = table.items[int(owner)]
                counts = item.groups[turn].tolist()
                if not item.indirect and not all(counts):
                    continue
                stamps = self.stamps.of(row) if self.stamps is not None else None
                if stamps is not None:
                    encode.end()
                    encode = encoder.begin_compute_pass(timestamp_writes=stamps)
                kernel, group = self.binder.bound(item)
                offset = item.first + turn * item.stride
                encode.set_pipeline(kernel.pipeline)
                encode.set_bind_group(0, group, [offset])
                if item.indirect:
                    encode.dispatch_workgroups_indirect(table.live, offset + 4 * item.push.groups)
                else:
                    encode.dispatch_workgroups(*counts)
                if stamps is not None:
                    encode.end()
                    encode = encoder.begin_compute_pass()
            encode.end()
            if self.stamps is not None:
                self.stamps.resolve(encoder)
            self.device.queue.submit([encoder.finish()])

    def has_failed(self) -> bool:
        """Tell whether a lane of what has run raised the fault flag."""
        return self.log is not None and bool(self.device.memory.download(self.log, 16, 4).view(np.uint32)[0])

    def collect(self) -> Outcome:
        """Return what a run sent, and empty log and status."""
        memory, outcome = self.device.memory, SILENT
        if self.log is not None and memory.download(self.log, 0, 32).view(np.uint64)[1:3].any():
            words = memory.download(self.log, 0, self.log.size).view(np.uint64)
            outcome = read_log(words, self.table.sites_of)
            memory.upload(self.log, 0, words.view(np.uint8))
        excess = self._excess()
        return outcome if excess is None else Outcome(outcome.lines, excess)

    def _excess(self) -> KernelFault | None:
        """Return the fault of the first indirect dispatch whose counts were beyond the limits."""
        if self.status is None:
            return None
        slots = self.device.memory.download(self.status, 0, 4 * STATUS_WORDS * self.table.slots)
        slots = slots.view(np.uint32).reshape(-1, STATUS_WORDS)
        wrong = np.flatnonzero(slots[:, 0])
        if not len(wrong):
            return None
        self.device.memory.upload(self.status, 0, np.zeros(slots.nbytes, np.uint8))
        number, slot = min((self.table.checked[n], n) for n in wrong.tolist())
        kernel = self.table.plan.step_of(number).dispatch.kernel
        verdict, x, y, z = slots[slot].tolist()
        if verdict == 1:
            return excess_groups(kernel, (x, y, z))
        return KernelFault(
            f"kernel {kernel.name!r} on device {self.device.name!r}",
            "more groups in an indirect dispatch than the device takes",
            expected=f"at most {self.device.adapter.limits['groups']} along a dimension", got=(x, y, z),
            remedy="Let each lane do more, or dispatch with counts known to the host, which are cut in parts",
        )  # fmt: skip


class WebGpuRun:
    """One run of a program, under way or over."""

    def __init__(self, program: WebGpuProgram) -> None:
        self.program: WebGpuProgram | None = program
        self.kept = SILENT
        self.taken: Times | None = None
        self.over = False
        self._lock = threading.Lock()
        cuts = program.cuts()
        for first, last in zip(cuts, [*cuts[1:], len(program.table.owners)], strict=True):
            program.submit(first, last)
            if len(cuts) > 1 and program.has_failed():
                break
        self._done: Future[Any] = program.device.memory.fence()
        if program.log is not None or program.status is not None:
            while not self.wait(1.0):
                pass

    def wait(self, seconds: float) -> bool:
        """Wait at most ``seconds``; tell whether the run is over."""
        if self.over:
            return True
        try:
            self._done.result(max(0.0, seconds))
        except NotYet:
            return False
        except Exception as error:  # whatever wgpu raises
            self._end(DeviceError("device 'webgpu'", f"the device was lost: {error}", remedy="Open it again"))
        self._end(None)
        return True

    def _end(self, lost: DeviceError | None) -> None:
        """Take what the run left, once."""
        with self._lock:
            program = self.program
            if self.over or program is None:
                return
            try:
                if lost is not None:
                    raise lost
                self.kept = program.collect()
                self.taken = program.stamps.read() if program.stamps is not None else None
            except DeviceError as error:
                self.kept = Outcome(lost=error)
            self.program = None
            self.over = True

    def finish(self) -> None:
        """Wait to the end."""
        while not self.wait(1.0):
            pass

    def cancel(self) -> None:
        """Nothing: what is with the queue is done to its end."""

    def times(self) -> Times | None:
        """Return when dispatches began and ended, None of a run without time stamps or that was lost."""
        return self.taken

    def outcome(self) -> Outcome:
        """Return what the run sent."""
        return self.kept
