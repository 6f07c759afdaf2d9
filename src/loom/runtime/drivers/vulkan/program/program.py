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
from loom.runtime.drivers.vulkan.handles.opened import OpenAdapter
from loom.runtime.drivers.vulkan.native.api import is_loss
from loom.runtime.drivers.vulkan.native.memory import VulkanStorage
from loom.runtime.drivers.vulkan.native.queues import Queue
from loom.runtime.drivers.vulkan.program.recording import Recording
from loom.runtime.drivers.vulkan.program.slots import Slots
from loom.runtime.drivers.vulkan.program.table import PlanTable
from loom.runtime.plans.plan import Plan
from loom.runtime.port.device import DeviceProgram, DeviceSubmission
from loom.runtime.port.log import Outcome
from loom.runtime.port.times import Times

__all__ = ["Run", "VulkanProgram"]

_MOST_RECORDINGS = 4
_SLICE_SECONDS = 0.05


class VulkanProgram:
    """A plan ready to run."""

    def __init__(self, device: OpenAdapter, plan: Plan, *, timed: bool = False, side_by_side: bool = False) -> None:
        self.device = device
        self.plan = plan
        self.timed = timed
        self.side_by_side = side_by_side
        """Whether it does the work of several programs, of which a fault stops none."""
        self.slots = Slots(device, plan)
        self.domain = device.queues.shared if self.slots.all else None
        """Where its runs are in order with those of other programs; None: only with its owner's."""
        self.table = PlanTable(device, plan)
        self.lock = threading.RLock()
        self.recordings: list[Recording] = []
        device.programs.add(self)
        if not self.slots.all:
            self.recordings.append(self._record())

    def launch(self, previous: DeviceSubmission | None) -> Run:
        """Start a run after ``previous``; return at once, unless it is a pattern's and may fault."""
        if previous is not None and not isinstance(previous, Run):
            _finish(previous)
        if self.slots.all:
            return self._launch_shared()
        if self.device.shared_run is not None:
            self.device.shared_run.finish()
        queue = self.device.queues.after(previous.queue if isinstance(previous, Run) else None)
        with self.lock, CRITICAL:
            return Run(self, self._recording(), queue)

    def _launch_shared(self) -> Run:
        """Start a run over what is attached."""
        with self.lock, CRITICAL:
            recording = self._recording()
            run = Run(self, recording, self.device.queues.shared, self.slots.attached())
            for slot in self.slots.written:
                self.slots.memory(slot).run = run
            self.device.shared_run = run
        if recording.talks:
            run.finish()
        return run

    def run(self, begun: Callable[[DeviceSubmission], None]) -> None:
        """Start a run; the caller waits."""
        with CRITICAL:
            begun(self.launch(None))

    def woven(self, plan: Callable[[], Plan], programs: Sequence[DeviceProgram]) -> VulkanProgram | None:
        """Return a program of a plan that does all ``programs`` do; None unless all are this device's."""
        if all(isinstance(p, VulkanProgram) and p.device is self.device for p in programs):
            return VulkanProgram(self.device, plan(), side_by_side=True)
        return None

    def profiled(self) -> VulkanProgram:
        """Return the plan recorded with time stamps."""
        return VulkanProgram(self.device, self.plan, timed=True)

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
                self.recordings[0].runs[0].wait(_SLICE_SECONDS)
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


def _finish(run: DeviceSubmission) -> None:
    """Wait to the end."""
    while not run.wait(_SLICE_SECONDS):
        CRITICAL.look()


class Run:
    """One run of a program, under way or over."""

    def __init__(
        self, program: VulkanProgram, recording: Recording, queue: Queue, attached: Sequence[VulkanStorage] = ()
    ) -> None:
        self.program: VulkanProgram | None = program
        self.recording: Recording | None = recording
        self.attached = attached
        self.device = program.device
        self.queue = queue
        self.lock = threading.RLock()
        self._waiting = 0
        self.over = False
        self.stopped = False
        self.broken: DeviceError | None = None
        self.handed = Latch()
        self.kept = Outcome()
        self.taken: Times | None = None
        self.fence: Any = program.device.queues.fence()
        try:
            queue.submit([commands for _, commands in recording.parts], self.fence, self)
        except DeviceError as error:
            self.device.lost = self.device.lost or is_loss(error)
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
        """Wait at most ``seconds``; tell whether the run is over."""
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
            if self.broken is not None:
                raise self.broken
            if self.device.queues.wait(self.fence, max(0.0, until - time.monotonic())):
                self._end()
        except DeviceError as error:
            self._end(lost=error)
        finally:
            self._leave_fence()
        return self.over

    def _leave_fence(self) -> None:
        """Give the fence back with the last thread that waits for it: who waits still may signal it anew."""
        with self.lock, CRITICAL:
            self._waiting -= 1
            if self._waiting or not self.over:
                return
            queues = self.device.queues
            (queues.give_back if self.kept.lost is None else queues.bury)(self.fence)

    def finish(self) -> None:
        """Wait to the end."""
        _finish(self)

    def _end(self, lost: DeviceError | None = None) -> None:
        """Take what the run left, once. A device that was lost left an error."""
        with self.lock, CRITICAL:
            if self.over:
                return
            assert self.program is not None, "it is let go of when the run is over"
            assert self.recording is not None
            if lost is not None:
                self.device.lost = self.device.lost or is_loss(lost)
                self.kept = Outcome(lost=lost)
            else:
                self.kept = self._collect(self.recording)
            self.over = True
            if lost is None:
                for storage in self.attached:
                    if storage.run is self:
                        storage.run = None
            self.program = self.recording = None  # whoever keeps the run need not keep its memory
            self.attached = ()
            self.device.let_go(self)

    def _collect(self, recording: Recording) -> Outcome:
        try:
            self.taken = recording.times()
            return recording.outcome()
        except DeviceError as error:
            return Outcome(lost=error)

    def cancel(self) -> None:
        """Hand over no more parts; those with the device are done to their end."""
        self.stopped = True

    def times(self) -> Times | None:
        """Return when dispatches began and ended, None of a run without time stamps or that was lost."""
        return self.taken

    def outcome(self) -> Outcome:
        """Return what the run sent."""
        return self.kept
