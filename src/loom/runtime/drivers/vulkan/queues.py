"""The queues of a device, the fences that tell when work on them is done, and short work done at once.

Layer: runtime. Invariant: a queue is used by one thread at a time, and a fence by one submission.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loom.runtime.drivers.vulkan.device import VulkanDevice

__all__ = ["Queue", "Queues"]

_FOREVER = 3600.0
_ONE_TIME = 0x1


class Queue:
    """A queue with its lock."""

    def __init__(self, device: VulkanDevice, number: int) -> None:
        self.api = device.api
        self.lock = threading.Lock()
        out = self.api.ffi.new("VkQueue*")
        self.api.call("vkGetDeviceQueue", device.handle, device.adapter.queue_family, number, out)
        self.handle = out[0]

    def submit(self, commands: Any, fence: Any) -> None:
        """Start recorded commands; ``fence`` tells when they are done."""
        buffers = self.api.ffi.new("VkCommandBuffer[]", [commands])
        info = self.api.new("VkSubmitInfo", commandBufferCount=1, pCommandBuffers=buffers)
        with self.lock:
            self.api.call("vkQueueSubmit", self.handle, 1, info, fence)


class Queues:
    """All queues of a device."""

    def __init__(self, device: VulkanDevice, count: int) -> None:
        self.device = device
        self.api = device.api
        self.all = [Queue(device, n) for n in range(count)]
        self._turns = itertools.count()
        self._fences: list[Any] = []
        self._buried: list[Any] = []
        self._lock = threading.Lock()
        self._once = threading.Lock()
        self._pool = self._commands = None

    def after(self, queue: Queue | None) -> Queue:
        """Return the queue for work that follows what was given to ``queue``; None: any, in turn."""
        return queue or self.all[next(self._turns) % len(self.all)]

    # fences

    def fence(self) -> Any:
        """Return a fence that is not signalled."""
        with self._lock:
            if self._fences:
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
        return self.api.finished(self.api.call("vkWaitForFences", self.device.handle, 1, fences, 1, nanoseconds))

    # short work

    def run_once(self, record: Callable[[Any], None]) -> None:
        """Record commands, run them on the first queue and wait."""
        with self._once:
            api, device = self.api, self.device
            if self._pool is None:
                info = api.new("VkCommandPoolCreateInfo", flags=0x2, queueFamilyIndex=device.adapter.queue_family)
                self._pool = device.create("CommandPool", info)
                allocate = api.new("VkCommandBufferAllocateInfo", commandPool=self._pool, commandBufferCount=1)
                out = api.ffi.new("VkCommandBuffer*")
                api.call("vkAllocateCommandBuffers", device.handle, allocate, out)
                self._commands = out[0]
            commands = self._commands
            api.call("vkBeginCommandBuffer", commands, api.new("VkCommandBufferBeginInfo", flags=_ONE_TIME))
            record(commands)
            api.call("vkEndCommandBuffer", commands)
            fence = self.fence()
            self.all[0].submit(commands, fence)
            while not self.wait(fence, 1.0):
                pass
            self.give_back(fence)

    def destroy(self) -> None:
        """Free everything; nothing may be under way."""
        for fence in (*self._fences, *self._buried):
            self.device.destroy("Fence", fence)
        self._fences.clear()
        self._buried.clear()
        if self._pool is not None:
            self.device.destroy("CommandPool", self._pool)
            self._pool = None
