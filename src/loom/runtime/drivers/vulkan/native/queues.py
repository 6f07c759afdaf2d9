"""The queues of a device, the fences that tell when work on them is done, and short work done at once.

Layer: runtime. Invariant: a queue is used by one thread at a time, and a fence by one submission.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from loom.core.errors import DeviceError
from loom.core.late.dataclass import dataclass
from loom.core.process.critical import CRITICAL, Latch
from loom.runtime.drivers.vulkan.native.context import DeviceContext
from loom.runtime.port.log import Outcome

__all__ = ["PARTS_AT_ONCE", "Queue", "Queues", "Stoppable", "UnderWay"]

PARTS_AT_ONCE = 3
"""So many parts of a run are with the device; the rest waits, and may still be stopped."""
_SLICE_SECONDS = 0.05

_FOREVER = 3600.0
_ONE_TIME = 0x1
_MOST_IDLE = 16


class Stoppable(Protocol):
    """A run that may be told to stop, and is told what went wrong with handing it over."""

    stopped: bool
    broken: DeviceError | None
    handed: Latch
    """Set when its fence is with the driver, where others may wait for it, or never will be."""

    @property
    def is_careful(self) -> bool:
        """Whether each part waits for those before it, and is left out if they failed."""
        ...

    @property
    def has_failed(self) -> bool:
        """Whether they did."""
        ...


class UnderWay(Protocol):
    """A run that was started, and what it left when it was over."""

    queue: Queue
    kept: Outcome

    def wait(self, seconds: float) -> bool:
        """Wait at most ``seconds``; tell whether the run is over."""
        ...

    def finish(self) -> None:
        """Wait to the end."""
        ...

    def cancel(self) -> None:
        """Hand over no more parts."""
        ...


@dataclass(frozen=True)
class _Submitted:
    parts: Sequence[Any]
    fence: Any
    run: Stoppable | None


class Queue:
    """A queue with its lock.

    What is handed to a driver cannot be stopped any more. So work of many parts is handed over bit by bit, by a thread
    that keeps a few parts with the device; all that is submitted meanwhile waits behind it, in order.
    """

    def __init__(self, device: DeviceContext, number: int, fences: Queues) -> None:
        self.api = device.api
        self.lock = threading.RLock()
        self._fences = fences
        self._waiting: deque[_Submitted] = deque()
        self._feeder: threading.Thread | None = None
        self._latest: threading.Thread | None = None
        out = self.api.ffi.new("VkQueue*")
        self.api.call("vkGetDeviceQueue", device.handle, device.adapter.queue_family, number, out)
        self.handle = out[0]

    def submit(self, parts: Sequence[Any], fence: Any, run: Stoppable | None = None) -> None:
        """Start recorded command buffers, one after the other; ``fence`` tells when they are done.

        Many are handed over later, none of them after ``run`` is stopped.
        """
        with self.lock:
            careful = run is not None and run.is_careful
            is_feeder = self._feeder is threading.current_thread()  # a finalizer in it, which it would wait for
            if is_feeder or (self._feeder is None and len(parts) <= PARTS_AT_ONCE and not careful):
                self._hand(parts, fence)
                if run is not None:
                    run.handed.set()
                return
            self._waiting.append(_Submitted(parts, fence, run))
            if self._feeder is None:
                self._feeder = threading.Thread(target=self._feed, name="loom vulkan feeder", daemon=True)
                self._latest = self._feeder
                self._feeder.start()

    def _hand(self, commands: Sequence[Any], fence: Any) -> None:
        buffers = self.api.ffi.new("VkCommandBuffer[]", commands)
        info = self.api.new("VkSubmitInfo", commandBufferCount=len(commands), pCommandBuffers=buffers)
        self.api.call("vkQueueSubmit", self.handle, 1, info, fence)

    def _feed(self) -> None:
        """Hand over what waits, until nothing does."""
        with_device: deque[Any] = deque()
        while True:
            with self.lock:
                if not self._waiting:
                    self._feeder = None
                    break
                job = self._waiting.popleft()
            try:
                self._hand_over(job, with_device)
            except DeviceError as error:
                if job.run is not None:
                    job.run.broken = error
            if job.run is not None:
                job.run.handed.set()
        while with_device:
            self._take_back(with_device.popleft())

    def _hand_over(self, job: _Submitted, with_device: deque[Any]) -> None:
        careful = job.run is not None and job.run.is_careful
        for part in job.parts:
            while len(with_device) >= (1 if careful else PARTS_AT_ONCE):
                self._take_back(with_device.popleft())
            if job.run is not None and (job.run.stopped or (careful and job.run.has_failed)):
                break
            fence = self._fences.fence()
            with self.lock:
                self._hand([part], fence)
            with_device.append(fence)
        with self.lock:
            self._hand([], job.fence)

    def _take_back(self, fence: Any) -> None:
        while not self._fences.wait(fence, _SLICE_SECONDS):
            pass
        self._fences.give_back(fence)

    def rest(self) -> None:
        """Wait until all is handed over and the fences of its parts are back."""
        with self.lock:
            latest = self._latest
        if latest is not None:
            latest.join()

    def leave(self) -> None:
        """Forget what was waiting, in a process that was forked."""
        self.lock = threading.RLock()
        self._waiting, self._feeder, self._latest = deque(), None, None


class Queues:
    """All queues of a device."""

    def __init__(self, device: DeviceContext, count: int) -> None:
        self.device = device
        self.api = device.api
        self._lock = threading.RLock()
        self.all = [Queue(device, n, self) for n in range(count)]
        self._turns = itertools.count()
        self._fences: list[Any] = []
        self._buried: list[Any] = []
        self._idle: list[tuple[Any, Any]] = []

    def after(self, queue: Queue | None) -> Queue:
        """Return the queue for work that follows what was given to ``queue``; None: any, in turn."""
        return queue or self.all[next(self._turns) % len(self.all)]

    def leave(self) -> None:
        """Use no queue from now on: they belong to the process that this one was forked from."""
        for user in (self, *self.all):
            user.api = self.device.api
        for queue in self.all:
            queue.leave()
        self._lock = threading.RLock()
        self._fences, self._buried, self._idle = [], [], []

    def rest(self) -> None:
        """Wait until every queue has been handed all that waits for it; the device's lock must be free."""
        for queue in self.all:
            queue.rest()

    # fences

    def fence(self) -> Any:
        """Return a fence that is not signalled."""
        with self._lock, suppress(IndexError):  # there is none
            return self._fences.pop()
        return self.device.create("Fence", self.api.new("VkFenceCreateInfo"))

    def give_back(self, fence: Any) -> None:
        """Take a fence back, whatever its state; nothing may be under way that signals it."""
        self.api.call("vkResetFences", self.device.handle, 1, self.api.ffi.new("VkFence[]", [fence]))
        with self._lock:
            self._fences.append(fence)

    def bury(self, fence: Any) -> None:
        """Take a fence of which nobody knows whether it will ever be signalled."""
        with self._lock:
            self._buried.append(fence)

    def wait(self, fence: Any, seconds: float) -> bool:
        """Wait for a fence at most so long; tell whether it is signalled."""
        if seconds <= 0:
            return self.api.call("vkGetFenceStatus", self.device.handle, fence) == 0
        fences = self.api.ffi.new("VkFence[]", [fence])
        nanoseconds = int(min(seconds, _FOREVER) * 1e9)
        return self.api.is_done(self.api.call("vkWaitForFences", self.device.handle, 1, fences, 1, nanoseconds))

    # short work

    @property
    def shared(self) -> Queue:
        """The first queue, on which short work and all patterns follow each other."""
        return self.all[0]

    def run_once(self, record: Callable[[Any], None]) -> None:
        """Record commands, run them on the shared queue and wait."""
        self.finish(self.begin(record))

    def begin(self, record: Callable[[Any], None]) -> tuple[Any, Any, Any]:
        """Record commands and start them on the shared queue; ``finish`` must be given what is returned."""
        with CRITICAL:
            pool, commands = self.commands()
            self.api.call("vkBeginCommandBuffer", commands, self.api.new("VkCommandBufferBeginInfo", flags=_ONE_TIME))
            record(commands)
            self.api.call("vkEndCommandBuffer", commands)
            fence = self.fence()
            self.shared.submit([commands], fence)
            return pool, commands, fence

    def finish(self, begun: tuple[Any, Any, Any]) -> None:
        """Wait for short work."""
        pool, commands, fence = begun
        while not self.wait(fence, _SLICE_SECONDS):
            CRITICAL.look()
        with CRITICAL:
            self.give_back(fence)
            self.keep(pool, commands)

    # command buffers

    def commands(self) -> tuple[Any, Any]:
        """Return a command buffer that nothing uses, with the pool it has for itself.

        The one kept last comes first: recording into memory that a pool has is several times faster than into new.
        """
        with self._lock, suppress(IndexError):
            return self._idle.pop()
        api, device = self.api, self.device
        info = api.new("VkCommandPoolCreateInfo", flags=0x2, queueFamilyIndex=device.adapter.queue_family)
        pool = device.create("CommandPool", info)
        allocate = api.new("VkCommandBufferAllocateInfo", commandPool=pool, commandBufferCount=1)
        out = api.ffi.new("VkCommandBuffer*")
        try:
            api.call("vkAllocateCommandBuffers", device.handle, allocate, out)
        except DeviceError:
            device.destroy("CommandPool", pool)
            raise
        return pool, out[0]

    def keep(self, pool: Any, commands: Any) -> None:
        """Take back a command buffer that no run uses any more."""
        with self._lock:
            if len(self._idle) < _MOST_IDLE:
                self._idle.append((pool, commands))
                return
        self.device.destroy("CommandPool", pool)

    def destroy(self) -> None:
        """Free everything; nothing may be under way."""
        for fence in (*self._fences, *self._buried):
            self.device.destroy("Fence", fence)
        self._fences.clear()
        self._buried.clear()
        for pool, _ in self._idle:
            self.device.destroy("CommandPool", pool)
        self._idle.clear()
