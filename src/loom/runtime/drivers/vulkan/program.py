"""Plans as programs of a Vulkan device, and their runs.

Layer: runtime. A plan is recorded once. A launch hands the commands to a queue and returns: runs of one owner follow
each other on one queue, runs of others take the queues in turn. Where kernels tell the host something, each run under
way has a recording of its own. Invariant: whatever a run uses lives until the run is over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from loom.core.errors import DeviceError
from loom.runtime.chain.plan import Plan
from loom.runtime.device import DeviceSubmission
from loom.runtime.drivers.vulkan.api import is_loss
from loom.runtime.drivers.vulkan.queues import Queue
from loom.runtime.drivers.vulkan.recording import Recording
from loom.runtime.drivers.vulkan.slots import Slots
from loom.runtime.drivers.vulkan.table import Table
from loom.runtime.log import Outcome

if TYPE_CHECKING:
    from loom.runtime.drivers.vulkan.device import VulkanDevice

__all__ = ["Run", "VulkanProgram"]

_MOST_RECORDINGS = 4
_SLICE_SECONDS = 0.05


class VulkanProgram:
    """A plan ready to run."""

    def __init__(self, device: VulkanDevice, plan: Plan) -> None:
        self.device = device
        self.plan = plan
        self.slots = Slots(device, plan)
        self.table = Table(device, plan)
        self.lock = threading.RLock()
        self.recordings: list[Recording] = []
        self.last: Run | None = None
        device.programs.add(self)
        self.recordings.append(Recording(device, self.table, self.slots))

    def launch(self, previous: DeviceSubmission | None) -> Run:
        """Start a run after ``previous``; return at once, unless arrays of the host are handed in and out."""
        queue = self.device.queues.after(previous.queue if isinstance(previous, Run) else None)
        if previous is not None and (self.slots.own or not isinstance(previous, Run)):
            _finish(previous)
        with self.lock:
            if self.slots.own:
                if self.last is not None:
                    _finish(self.last)
                self.slots.upload()
            run = self.last = Run(self, self._free_recording(), queue)
        if self.slots.gives_back:
            _finish(run)
        return run

    def run(self, begun: Callable[[DeviceSubmission], None]) -> None:
        """Start a run; the caller waits."""
        begun(self.launch(None))

    def _free_recording(self) -> Recording:
        """Return a recording to run now: one that is free, a new one, or the oldest when it is."""
        found = next((r for r in self.recordings if not r.busy), None)
        if found is None and len(self.recordings) < _MOST_RECORDINGS:
            found = Recording(self.device, self.table, self.slots)
            self.recordings.append(found)
        while found is None:
            for run in self.device.runs_of(self):
                run.wait(_SLICE_SECONDS)
            found = next((r for r in self.recordings if not r.busy), None)
        found.busy = found.talks
        return found

    def destroy(self) -> None:
        """Free the native objects; no run may be under way."""
        for recording in self.recordings:
            recording.destroy()
        self.recordings.clear()

    def __del__(self) -> None:
        if getattr(self, "recordings", None) and self.device.handle is not None:
            self.destroy()


def _finish(run: DeviceSubmission) -> None:
    """Wait to the end."""
    while not run.wait(_SLICE_SECONDS):
        pass


class Run:
    """One run of a program, under way or over."""

    def __init__(self, program: VulkanProgram, recording: Recording, queue: Queue) -> None:
        self.program: VulkanProgram | None = program
        self.recording: Recording | None = recording
        self.device = program.device
        self.queue = queue
        self.lock = threading.RLock()
        self.over = False
        self.kept = Outcome()
        self.fence: Any = program.device.queues.fence()
        try:
            queue.submit(recording.commands, self.fence)
        except DeviceError as error:
            recording.busy = False
            self.device.lost = self.device.lost or is_loss(error)
            self.device.queues.bury(self.fence)
            raise
        program.device.hold(self)

    def wait(self, seconds: float) -> bool:
        """Wait at most ``seconds``; tell whether the run is over."""
        if self.over:
            return True
        try:
            done = self.device.queues.wait(self.fence, seconds)
        except DeviceError as error:
            self._end(lost=error)
            return True
        if done:
            self._end()
        return self.over

    def _end(self, lost: DeviceError | None = None) -> None:
        """Take what the run left, once. A device that was lost left an error."""
        with self.lock:
            if self.over:
                return
            assert self.program is not None, "it is let go of when the run is over"
            assert self.recording is not None
            if lost is not None:
                self.device.lost = self.device.lost or is_loss(lost)
                self.device.queues.bury(self.fence)
                self.kept = Outcome((), lost)  # type: ignore[arg-type]
            else:
                self.kept = self._collected(self.program, self.recording)
                self.device.queues.give_back(self.fence)
            self.recording.busy = False
            self.over = True
            self.program = self.recording = None  # whoever keeps the run need not keep its memory
            self.device.let_go(self)

    def _collected(self, program: VulkanProgram, recording: Recording) -> Outcome:
        try:
            program.slots.download()
            return recording.outcome()
        except DeviceError as error:
            return Outcome((), error)  # type: ignore[arg-type]

    def cancel(self) -> None:
        """Commands handed to a queue cannot be stopped."""

    def outcome(self) -> Outcome:
        """Return what the run sent."""
        return self.kept
