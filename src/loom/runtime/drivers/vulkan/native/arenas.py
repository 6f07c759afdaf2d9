"""Buffers with memory of their own, and arenas: buffers cut into ranges.

Layer: runtime. Invariant: the ranges of an arena that are taken and those that are free never overlap, and fill it.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from loom.core.errors import DeviceError
from loom.runtime.drivers.vulkan.native.context import DeviceContext

__all__ = ["Arena", "Buffer"]

_SERIALS = itertools.count()


class Buffer:
    """A Vulkan buffer with memory of its own; ``mapped`` is its address in this process, 0 if it has none."""

    def __init__(self, owner: DeviceContext, nbytes: int, usage: int, kind: int, *, mapped: bool) -> None:
        api, device = owner.api, owner.handle
        self.nbytes = nbytes
        self.block: Any = None
        self.mapped = 0
        self.host: Any = None
        info = api.new("VkBufferCreateInfo", size=nbytes, usage=usage)
        self.handle = api.create("vkCreateBuffer", device, info, "VkBuffer")
        owner.live["Buffer"] += 1
        try:
            self._back(owner, kind, mapped)
        except DeviceError:
            self.destroy(owner)
            raise

    def _back(self, owner: DeviceContext, kind: int, mapped: bool) -> None:
        """Give the buffer memory."""
        api, device = owner.api, owner.handle
        needs = api.ffi.new("VkMemoryRequirements*")
        api.call("vkGetBufferMemoryRequirements", device, self.handle, needs)
        wanted = api.new("VkMemoryAllocateInfo", allocationSize=needs.size, memoryTypeIndex=kind)
        self.block = api.create("vkAllocateMemory", device, wanted, "VkDeviceMemory")
        owner.live["DeviceMemory"] += 1
        api.call("vkBindBufferMemory", device, self.handle, self.block, 0)
        if mapped:
            out = api.ffi.new("void**")
            api.call("vkMapMemory", device, self.block, 0, 0xFFFFFFFFFFFFFFFF, 0, out)
            self.mapped = int(api.ffi.cast("uintptr_t", out[0]))
            self.host = np.frombuffer(api.ffi.buffer(out[0], self.nbytes), np.uint8)

    def view(self, offset: int, nbytes: int) -> np.ndarray[Any, Any]:
        """Return mapped bytes as an array."""
        return self.host[offset : offset + nbytes]

    def destroy(self, owner: DeviceContext) -> None:
        """Free the buffer and its memory."""
        api, device = owner.api, owner.handle
        api.call("vkDestroyBuffer", device, self.handle, api.ffi.NULL)
        owner.live["Buffer"] -= 1
        if self.block is not None:
            api.call("vkFreeMemory", device, self.block, api.ffi.NULL)
            owner.live["DeviceMemory"] -= 1


class Arena:
    """A buffer cut into ranges; ``free`` are (offset, nbytes) ascending, never two in a row that touch.

    ``serial`` is a number that no other arena has or had.
    """

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer
        self.serial = next(_SERIALS)
        self.free: list[tuple[int, int]] = [(0, buffer.nbytes)]

    def take(self, nbytes: int) -> int | None:
        """Return the offset of a range taken, first fit."""
        for n, (offset, room) in enumerate(self.free):
            if room >= nbytes:
                self.free[n : n + 1] = [(offset + nbytes, room - nbytes)] if room > nbytes else []
                return offset
        return None

    def give(self, offset: int, nbytes: int) -> None:
        """Return a range, joined with its neighbours."""
        self.free.append((offset, nbytes))
        self.free.sort()
        joined: list[tuple[int, int]] = []
        for start, room in self.free:
            if joined and sum(joined[-1]) == start:
                joined[-1] = joined[-1][0], joined[-1][1] + room
            else:
                joined.append((start, room))
        self.free = joined

    @property
    def is_empty(self) -> bool:
        """True when nothing of it is taken."""
        return self.free == [(0, self.buffer.nbytes)]
