"""Device memory: arenas cut into storages, host access through a mapping or a staging buffer.

Layer: runtime. Storages of up to a sixteenth of an arena share arenas; larger ones have their own. Invariant:
storage is zero when allocated, and its range returns to its arena when the last reference to it goes.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from loom.core.errors import DeviceError
from loom.runtime.drivers.vulkan.api import Vulkan

if TYPE_CHECKING:
    from loom.runtime.drivers.vulkan.device import VulkanDevice

__all__ = ["LEAST_NBYTES", "Arena", "Buffer", "Memory", "VulkanStorage"]

_STORAGE_USAGE = 0x20 | 0x100 | 0x1 | 0x2
"""Storage buffer, indirect, transfer source and target."""
_TRANSFER_USAGE = 0x1 | 0x2
_LOCAL, _VISIBLE, _COHERENT, _CACHED = 1, 2, 4, 8
_TRANSFER_STAGE, _HOST_STAGE, _TRANSFER_WRITE, _HOST_READ = 0x1000, 0x4000, 0x1000, 0x2000
_ARENA_NBYTES = 64 << 20
_STAGING_NBYTES = 16 << 20
LEAST_NBYTES = 16
"""Room of a storage of no bytes: a load may read something."""


class Buffer:
    """A Vulkan buffer with memory of its own; ``mapped`` is its address in this process, 0 if it has none."""

    def __init__(self, memory: Memory, nbytes: int, usage: int, kind: int, *, mapped: bool) -> None:
        api, device = memory.api, memory.device
        self.nbytes = nbytes
        self.block: Any = None
        self.mapped = 0
        info = api.new("VkBufferCreateInfo", size=nbytes, usage=usage)
        self.handle = api.create("vkCreateBuffer", device, info, "VkBuffer")
        memory.live["Buffer"] += 1
        try:
            self._back(memory, kind, mapped)
        except DeviceError:
            self.destroy(memory)
            raise

    def _back(self, memory: Memory, kind: int, mapped: bool) -> None:
        """Give the buffer memory."""
        api, device = memory.api, memory.device
        needs = api.ffi.new("VkMemoryRequirements*")
        api.call("vkGetBufferMemoryRequirements", device, self.handle, needs)
        wanted = api.new("VkMemoryAllocateInfo", allocationSize=needs.size, memoryTypeIndex=kind)
        self.block = api.create("vkAllocateMemory", device, wanted, "VkDeviceMemory")
        memory.live["DeviceMemory"] += 1
        api.call("vkBindBufferMemory", device, self.handle, self.block, 0)
        if mapped:
            out = api.ffi.new("void**")
            api.call("vkMapMemory", device, self.block, 0, 0xFFFFFFFFFFFFFFFF, 0, out)
            self.mapped = int(api.ffi.cast("uintptr_t", out[0]))

    def view(self, offset: int, nbytes: int) -> np.ndarray[Any, Any]:
        """Return mapped bytes as an array."""
        return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(self.mapped + offset))

    def destroy(self, memory: Memory) -> None:
        """Free the buffer and its memory."""
        api, device = memory.api, memory.device
        api.call("vkDestroyBuffer", device, self.handle, api.ffi.NULL)
        memory.live["Buffer"] -= 1
        if self.block is not None:
            api.call("vkFreeMemory", device, self.block, api.ffi.NULL)
            memory.live["DeviceMemory"] -= 1


class Arena:
    """A buffer cut into ranges; ``free`` are (offset, nbytes) ascending, never two in a row that touch."""

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer
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


class Memory:
    """All memory of a device. ``live`` counts native objects by kind, for the leak test."""

    def __init__(self, owner: VulkanDevice) -> None:
        self.api: Vulkan = owner.api
        self.owner = owner
        self.device = owner.handle
        self.live: Counter[str] = owner.live
        self.alignment = max(64, owner.adapter.limits["offset_alignment"])
        self.lock = threading.RLock()
        self.arenas: list[Arena] = []
        properties = self.api.ffi.new("VkPhysicalDeviceMemoryProperties*")
        self.api.call("vkGetPhysicalDeviceMemoryProperties", owner.adapter.handle, properties)
        self.types = [properties.memoryTypes[n].propertyFlags for n in range(properties.memoryTypeCount)]
        shared = self._type(_LOCAL | _VISIBLE | _COHERENT | _CACHED)
        self.unified = owner.adapter.kind in ("integrated", "cpu") and shared is not None
        self.kind = shared if self.unified else self._type(_LOCAL)
        staging = self._type(_VISIBLE | _COHERENT | _CACHED)
        self.staging_kind = staging if staging is not None else self._type(_VISIBLE | _COHERENT)
        self._staging: Buffer | None = None

    def _type(self, wanted: int) -> int | None:
        return next((n for n, flags in enumerate(self.types) if flags & wanted == wanted), None)

    def visible(self, nbytes: int) -> Buffer:
        """Return a buffer of its own that kernels write and the host reads where it is."""
        assert self.staging_kind is not None, "Vulkan promises a host-visible type"
        return Buffer(self, nbytes, _STORAGE_USAGE, self.staging_kind, mapped=True)

    # storages

    def allocate(self, nbytes: int) -> VulkanStorage:
        """Return zeroed memory."""
        limit = self.owner.adapter.limits["buffer_nbytes"]
        if nbytes > limit:
            raise DeviceError(
                f"device {self.owner.name!r}", "too large a buffer", expected=f"at most {limit} bytes in one",
                got=nbytes, remedy="Split the work, or use another device",
            )  # fmt: skip
        room = -(-max(nbytes, LEAST_NBYTES) // self.alignment) * self.alignment
        with self.lock:
            arena, offset = self._range(room)
            storage = VulkanStorage(self, arena, offset, nbytes)
            weakref.finalize(storage, self._free, arena, offset, room).atexit = False
        storage.clear(room)
        return storage

    def _range(self, room: int) -> tuple[Arena, int]:
        if room > _ARENA_NBYTES // 16:
            arena = self._arena(room)
            return arena, arena.take(room) or 0
        for arena in self.arenas:
            offset = arena.take(room)
            if offset is not None:
                return arena, offset
        arena = self._arena(_ARENA_NBYTES)
        return arena, arena.take(room) or 0

    def _arena(self, nbytes: int) -> Arena:
        assert self.kind is not None, "Vulkan promises a device-local type"
        buffer = Buffer(self, nbytes, _STORAGE_USAGE, self.kind, mapped=self.unified)
        self.arenas.append(Arena(buffer))
        return self.arenas[-1]

    def _free(self, arena: Arena, offset: int, room: int) -> None:
        """Take a range back; arenas with nothing in them go, but for one."""
        with self.lock:
            if arena not in self.arenas:  # the device was closed
                return
            arena.give(offset, room)
            small = [a for a in self.arenas if a.is_empty and a.buffer.nbytes == _ARENA_NBYTES]
            if arena.is_empty and (arena.buffer.nbytes != _ARENA_NBYTES or len(small) > 1):
                self.arenas.remove(arena)
                arena.buffer.destroy(self)

    # transfers

    def staging(self) -> Buffer:
        """Return the buffer that transfers go through."""
        if self._staging is None:
            assert self.staging_kind is not None, "Vulkan promises a host-visible type"
            self._staging = Buffer(self, _STAGING_NBYTES, _TRANSFER_USAGE, self.staging_kind, mapped=True)
        return self._staging

    def upload(self, target: VulkanStorage, offset: int, data: np.ndarray[Any, Any]) -> None:
        """Copy bytes to the device."""
        buffer, start = target.arena.buffer, target.offset + offset
        if self.unified:
            buffer.view(start, data.nbytes)[:] = data
            return
        with self.lock:
            staging = self.staging()
            for at in range(0, data.nbytes, _STAGING_NBYTES):
                part = data[at : at + _STAGING_NBYTES]
                staging.view(0, part.nbytes)[:] = part
                self._copy(staging, 0, buffer, start + at, part.nbytes)

    def download(self, source: VulkanStorage, offset: int, nbytes: int) -> np.ndarray[Any, Any]:
        """Copy bytes from the device."""
        buffer, start = source.arena.buffer, source.offset + offset
        if self.unified:
            return buffer.view(start, nbytes).copy()
        found = np.empty(nbytes, np.uint8)
        with self.lock:
            staging = self.staging()
            for at in range(0, nbytes, _STAGING_NBYTES):
                size = min(_STAGING_NBYTES, nbytes - at)
                self._copy(buffer, start + at, staging, 0, size)
                found[at : at + size] = staging.view(0, size)
        return found

    def _copy(self, source: Buffer, start: int, target: Buffer, at: int, nbytes: int) -> None:
        region = self.api.ffi.new("VkBufferCopy*", {"srcOffset": start, "dstOffset": at, "size": nbytes})

        def record(commands: Any) -> None:
            self.api.call("vkCmdCopyBuffer", commands, source.handle, target.handle, 1, region)
            info = self.api.new("VkMemoryBarrier", srcAccessMask=_TRANSFER_WRITE, dstAccessMask=_HOST_READ)
            null = self.api.ffi.NULL
            self.api.lib.vkCmdPipelineBarrier(commands, _TRANSFER_STAGE, _HOST_STAGE, 0, 1, info, 0, null, 0, null)

        self.owner.queues.run_once(record)

    def fill_zero(self, storage: VulkanStorage, room: int) -> None:
        """Zero a range."""
        buffer = storage.arena.buffer
        if self.unified:
            buffer.view(storage.offset, room)[:] = 0
            return

        def record(commands: Any) -> None:
            self.api.call("vkCmdFillBuffer", commands, buffer.handle, storage.offset, room, 0)

        self.owner.queues.run_once(record)

    def destroy(self) -> None:
        """Free everything."""
        with self.lock:
            for arena in self.arenas:
                arena.buffer.destroy(self)
            self.arenas.clear()
            if self._staging is not None:
                self._staging.destroy(self)
                self._staging = None


class VulkanStorage:
    """A range of device memory."""

    def __init__(self, memory: Memory, arena: Arena, offset: int, nbytes: int) -> None:
        self.memory = memory
        self.arena = arena
        self.offset = offset
        self.nbytes = nbytes

    def write(self, offset: int, data: np.ndarray[Any, Any]) -> None:
        """Copy bytes to the device at ``offset``."""
        if data.nbytes:
            self.memory.upload(self, offset, data)

    def read(self, offset: int, nbytes: int) -> np.ndarray[Any, Any]:
        """Return a copy of bytes from the device."""
        return self.memory.download(self, offset, nbytes) if nbytes else np.empty(0, np.uint8)

    def clear(self, room: int) -> None:
        """Zero the whole range."""
        self.memory.fill_zero(self, room)

    def extent(self) -> tuple[int, int]:
        """Return where the range starts and ends, counted through all arenas."""
        start = (id(self.arena) << 40) + self.offset
        return start, start + max(self.nbytes, 1)
