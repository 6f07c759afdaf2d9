"""Plans as programs of a Vulkan device, and their runs.

Layer: runtime. A plan is recorded once. A launch hands the commands to a queue and returns: runs of one owner follow
each other on one queue, runs of others take the queues in turn. Where kernels tell the host something, each run under
way has a recording of its own.

A program with slots (a pattern's) keeps a recording for each of the last few combinations of storage attached; for
another one the least recently used that no run has is bound anew. Its runs all go to the shared queue, where each
sees what those before it wrote, so that a pattern need not wait for the ones that made its arrays; reading an array
waits. A long run is handed over in parts, and may be cancelled between two. Other programs are started when those runs
are over. Where kernels tell something, so that a run may fault, it is waited for at once. Invariant: whatever a run
uses lives until the run is over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from loom.core.errors import DeviceError
from loom.core.process.critical import CRITICAL, Latch
from loom.runtime.drivers.rows.program import RowProgram, RowRun
from loom.runtime.drivers.vulkan.handles.opened import OpenAdapter
from loom.runtime.drivers.vulkan.native.memory import VulkanStorage
from loom.runtime.drivers.vulkan.native.queues import Queue
from loom.runtime.drivers.vulkan.program.recording import Recording
from loom.runtime.drivers.vulkan.program.slots import Slots
from loom.runtime.drivers.vulkan.program.table import PlanTable
from loom.runtime.plans.plan import Plan
from loom.runtime.port.device import DeviceSubmission
from loom.runtime.port.log import Outcome
from loom.runtime.port.times import Times

__all__ = ["Run", "VulkanProgram"]

_MOST_RECORDINGS = 4


class Run(RowRun["VulkanProgram"]):
    """One run of a program, whose parts are handed over one after the other; it may be stopped between two."""

    slice_seconds = 0.05

    def __init__(
        self, program: VulkanProgram, recording: Recording, queue: Queue, attached: Sequence[VulkanStorage] = ()
    ) -> None:
        super().__init__(program)
        self.recording: Recording | None = recording
        self.attached = attached
        self.queue = queue
        self._waiting = 0
        self.stopped = False
        self.broken: DeviceError | None = None
        self.handed = Latch()
        self.fence: Any = program.device.queues.fence()
        try:
            queue.submit([commands for _, commands in recording.parts], self.fence, self)
        except DeviceError as error:
            self.device.note_error(error)
            self.device.queues.bury(self.fence)
            raise
        recording.runs.append(self)
        program.device.hold(self)

    @property
    def is_careful(self) -> bool:
        """Whether its parts are handed over one by one, each after those before it went well."""
        recording = self.recording
        return recording is not None and recording.is_careful

    @property
    def has_failed(self) -> bool:
        """Whether a kernel of the parts that are over failed."""
        recording = self.recording
        return recording is not None and recording.has_failed

    def wait(self, seconds: float) -> bool:
        if self.over:
            return True
        until = time.monotonic() + seconds
        if not self.handed.wait(max(0.0, seconds)):
            return False
        with self.lock:
            if self.over:
                return True
            self._waiting += 1
        try:
            return super().wait(until - time.monotonic())
        finally:
            self._leave_fence()

    def has_passed(self, seconds: float) -> bool:
        if self.broken is not None:
            raise self.broken
        return self.device.queues.wait(self.fence, seconds)

    def _leave_fence(self) -> None:
        """Give the fence back with the last thread that waits for it: who waits still may signal it anew."""
        with self.lock, CRITICAL:
            self._waiting -= 1
            if self._waiting or not self.over:
                return
            queues = self.device.queues
            (queues.give_back if self.kept.lost is None else queues.bury)(self.fence)

    def end(self, lost: DeviceError | None) -> None:
        with self.lock, CRITICAL:
            super().end(lost)

    def collect(self, program: VulkanProgram) -> tuple[Outcome, Times | None]:  # noqa: ARG002 (a recording has it)
        assert self.recording is not None, "it is let go of when the run is over"
        return self.recording.collect()

    def let_go(self, *, lost: bool) -> None:
        if not lost:
            for storage in self.attached:
                if storage.run is self:
                    storage.run = None
        self.recording, self.attached = None, ()
        self.device.let_go(self)

    def cancel(self) -> None:
        """Hand over no more parts; those with the device are done to their end."""
        self.stopped = True


class VulkanProgram(RowProgram[OpenAdapter, Run]):
    """A plan ready to run."""

    kind = Run

    def __init__(self, device: OpenAdapter, plan: Plan, *, timed: bool = False, side_by_side: bool = False) -> None:
        super().__init__(device, plan, timed=timed, side_by_side=side_by_side)
        self.slots = Slots(device, plan)
        self.domain = device.queues.shared if self.slots.all else None
        self.table = PlanTable(device, plan)
        self.lock = threading.RLock()
        self.recordings: list[Recording] = []
        device.programs.add(self)
        if not self.slots.all:
            self.recordings.append(self._record())

    def start(self, previous: Run | None) -> Run:
        """Begin a run; return at once, unless it is a pattern's and may fault."""
        if self.slots.all:
            return self._start_shared()
        if self.device.shared_run is not None:
            self.device.shared_run.finish()
        queue = self.device.queues.after(None if previous is None else previous.queue)
        with self.lock, CRITICAL:
            return Run(self, self._recording(), queue)

    def _start_shared(self) -> Run:
        """Start a run over what is attached."""
        with self.lock, CRITICAL:
            recording = self._recording()
            run = Run(self, recording, self.device.queues.shared, self.slots.memories())
            for slot in self.slots.written:
                self.slots.memory(slot).run = run
            self.device.shared_run = run
        if recording.talks:
            run.finish()
        return run

    def run(self, begun: Callable[[DeviceSubmission], None]) -> None:
        """Start a run; the caller waits."""
        with CRITICAL:
            super().run(begun)

    def _record(self) -> Recording:
        return Recording(self.device, self.table, self.slots, timed=self.timed, woven=self.side_by_side)

    def _recording(self) -> Recording:
        """Return a recording of what is attached, to run now; the one used last is the last in the list."""
        wanted = self.slots.bound()
        found = next((r for r in self.recordings if r.bound == wanted and (r.is_idle or not r.is_alone)), None)
        if found is None and len(self.recordings) < _MOST_RECORDINGS:
            found = self._record()
            self.recordings.append(found)
        while found is None:
            found = next((r for r in self.recordings if r.is_idle), None)
            if found is None:
                self.recordings[0].runs[0].wait(Run.slice_seconds)
                CRITICAL.look()
        if found.bound != wanted:
            found.bind()
        self.recordings.remove(found)
        self.recordings.append(found)
        return found

    def destroy(self) -> None:
        """Free the native objects; no run may be under way."""
        for recording in self.recordings:
            recording.destroy()
        self.recordings.clear()

    def __del__(self) -> None:
        if getattr(self, "recordings", None) and self.device.handle is not None:
            with CRITICAL:
                self.destroy()
