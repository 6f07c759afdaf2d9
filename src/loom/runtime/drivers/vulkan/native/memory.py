"""Device memory: arenas cut into storages, host access through a mapping or a staging buffer.

Layer: runtime. Storages of up to a sixteenth of an arena share arenas; larger ones have their own, of which some are
kept for the next one of the kind. Transfers go in pieces: one is copied by the device while the host fills or empties
the other. Invariant: storage is zero when allocated unless it is asked for with any contents, and its range returns to
its arena when the last reference to it goes, which a run under way holds.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from loom.core.errors import DeviceError
from loom.core.process.bound import BoundStorage
from loom.core.process.critical import CRITICAL
from loom.runtime.drivers.copying import PIECE_NBYTES, copy_bytes, pieces_of
from loom.runtime.drivers.vulkan.native.arenas import Arena, Buffer
from loom.runtime.drivers.vulkan.native.context import DeviceContext
from loom.runtime.drivers.vulkan.native.queues import Queues, UnderWay
from loom.runtime.memory.order import Uses, touching
from loom.runtime.memory.storage import as_bytes, check_range, not_given

if TYPE_CHECKING:
    from loom.runtime.memory.storage import Storage

__all__ = ["LEAST_NBYTES", "DeviceMemory", "VulkanStorage"]

_STORAGE_USAGE = 0x20 | 0x100 | 0x1 | 0x2
"""Storage buffer, indirect, transfer source and target."""
_TRANSFER_USAGE = 0x1 | 0x2
_LOCAL, _VISIBLE, _COHERENT, _CACHED = 1, 2, 4, 8
_TRANSFER_STAGE, _HOST_STAGE, _TRANSFER_WRITE, _HOST_READ = 0x1000, 0x4000, 0x1000, 0x2000
_ARENA_NBYTES = 64 << 20
_SPARE_NBYTES = 1 << 30
"""Most memory kept in arenas of one storage that is gone: making one takes longer than most patterns."""
LEAST_NBYTES = 16
"""Room of a storage of no bytes: a load may read something."""


class DeviceMemory:
    """All memory of a device; ``settle`` waits for all runs under way, which hold memory.

    Storages are given back when they are collected, which may happen in the middle of any line that makes an object:
    ranges change hands under a lock, and what comes back meanwhile waits in a queue. What is asked for meanwhile in the
    same thread (by a finalizer, or a handler of signals) gets an arena of its own, and moves through its own buffer.
    """

    def __init__(self, owner: DeviceContext, queues: Queues, settle: Callable[[], None]) -> None:
        self.api = owner.api
        self.owner = owner
        self.queues = queues
        self._settle = settle
        self.alignment = max(64, owner.adapter.limits["offset_alignment"])
        self._make_locks()
        self._given: deque[tuple[Arena, int, int]] = deque()
        self.arenas: list[Arena] = []
        self.spares: list[Arena] = []
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
        return Buffer(self.owner, nbytes, _STORAGE_USAGE, self.staging_kind, mapped=True)

    # what ``drivers.rows.sent`` asks for

    def hold(self, data: np.ndarray[Any, Any]) -> Buffer:
        """Return a buffer that holds this."""
        buffer = self.visible(data.nbytes)
        buffer.host[:] = data
        return buffer

    def peek(self, place: Buffer, offset: int, nbytes: int) -> np.ndarray[Any, Any]:
        """Return a part of a buffer where it is; kernels that ran are done with it."""
        return place.view(offset, nbytes)

    fetch = peek

    def refill(self, place: Buffer, data: np.ndarray[Any, Any]) -> None:
        """Have a buffer hold something else."""
        place.host[:] = data

    # storages

    def allocate(self, nbytes: int, *, zeroed: bool = True) -> VulkanStorage:
        """Return memory, zeroed or with any contents."""
        limit = self.owner.adapter.limits["buffer_nbytes"]
        if nbytes > limit:
            raise DeviceError(
                f"device {self.owner.name!r}", "too large a buffer", expected=f"at most {limit} bytes in one",
                got=nbytes, remedy="Split the work, or use another device",
            )  # fmt: skip
        room = -(-max(nbytes, LEAST_NBYTES) // self.alignment) * self.alignment
        with self._ranges, CRITICAL:
            arena, offset, taken = self._own_range(room) if self._is_changing else self._next_range(room)
            storage = VulkanStorage(self, arena, offset, nbytes)
            weakref.finalize(storage, self._free, arena, offset, taken).atexit = False
        if zeroed:
            storage.clear(room)
        return storage

    def _next_range(self, room: int) -> tuple[Arena, int, int]:
        self._is_changing = True
        try:
            self._take_back()
            return self._range(room)
        finally:
            self._is_changing = False

    def _own_range(self, room: int) -> tuple[Arena, int, int]:
        """Return a new arena that is full, while others change."""
        assert self.kind is not None, "Vulkan promises a device-local type"
        arena = Arena(Buffer(self.owner, room, _STORAGE_USAGE, self.kind, mapped=self.unified))
        self.arenas.append(arena)
        return arena, arena.take(arena.buffer.nbytes) or 0, arena.buffer.nbytes

    def _range(self, room: int) -> tuple[Arena, int, int]:
        """Return an arena, where a range of it starts, and its bytes."""
        if room > _ARENA_NBYTES // 16:
            arena = self._spare(room) or self._arena(room)
            return arena, arena.take(arena.buffer.nbytes) or 0, arena.buffer.nbytes
        for arena in self.arenas:
            offset = arena.take(room)
            if offset is not None:
                return arena, offset, room
        arena = self._arena(_ARENA_NBYTES)
        return arena, arena.take(room) or 0, room

    def _spare(self, room: int) -> Arena | None:
        """Return the smallest arena kept that is large enough, though not much larger."""
        fitting = [a for a in self.spares if room <= a.buffer.nbytes <= 2 * room]
        if not fitting:
            return None
        arena = min(fitting, key=lambda a: a.buffer.nbytes)
        self.spares.remove(arena)
        self.arenas.append(arena)
        return arena

    def _arena(self, nbytes: int) -> Arena:
        assert self.kind is not None, "Vulkan promises a device-local type"
        try:
            buffer = Buffer(self.owner, nbytes, _STORAGE_USAGE, self.kind, mapped=self.unified)
        except DeviceError:
            self._settle()  # what runs under way hold is free when they are over
            self._take_back()
            self._drop_spares(0)
            buffer = Buffer(self.owner, nbytes, _STORAGE_USAGE, self.kind, mapped=self.unified)
        arena = Arena(buffer)
        self.arenas.append(arena)
        return arena

    def _free(self, arena: Arena, offset: int, room: int) -> None:
        """Have a range taken back: now, or by the call whose middle the collector of garbage has come into."""
        self._given.append((arena, offset, room))
        with CRITICAL:
            if self._ranges.acquire(blocking=False):
                try:
                    if not self._is_changing:
                        self._is_changing = True
                        try:
                            self._take_back()
                        finally:
                            self._is_changing = False
                finally:
                    self._ranges.release()

    def _take_back(self) -> None:
        """Take back what was given. Of shared arenas with nothing in them one stays; others become spares."""
        while self._given:
            arena, offset, room = self._given.popleft()
            if arena not in self.arenas:  # the device was closed
                continue
            arena.give(offset, room)
            if not arena.is_empty:
                continue
            if arena.buffer.nbytes != _ARENA_NBYTES:
                self.arenas.remove(arena)
                self.spares.append(arena)
                self._drop_spares(_SPARE_NBYTES)
            elif sum(a.is_empty and a.buffer.nbytes == _ARENA_NBYTES for a in self.arenas) > 1:
                self.arenas.remove(arena)
                arena.buffer.destroy(self.owner)

    def _drop_spares(self, most: int) -> None:
        """Free the oldest spares until they have at most so many bytes."""
        while sum(a.buffer.nbytes for a in self.spares) > most:
            self.spares.pop(0).buffer.destroy(self.owner)

    def leave(self) -> None:
        """Free nothing from now on: it all belongs to the process that this one was forked from."""
        self.api = self.owner.api
        self._make_locks()
        self._given.clear()
        self.arenas, self.spares, self._staging = [], [], None

    def _make_locks(self) -> None:
        self.lock, self._ranges = threading.RLock(), threading.RLock()
        self._is_changing = self._is_moving = False
        """Whether whoever has the lock is in the middle of it: who takes it then is the same thread."""

    # transfers

    def staging(self) -> Buffer:
        """Return the buffer that transfers go through."""
        if self._staging is None:
            self._staging = self._new_staging()
        return self._staging

    def _new_staging(self) -> Buffer:
        assert self.staging_kind is not None, "Vulkan promises a host-visible type"
        return Buffer(self.owner, 2 * PIECE_NBYTES, _TRANSFER_USAGE, self.staging_kind, mapped=True)

    @contextmanager
    def _transfer(self) -> Generator[Buffer, None, None]:
        """Have a buffer for a transfer; one that comes in the middle of another has its own."""
        with self.lock:
            if self._is_moving:
                own = self._new_staging()
                try:
                    yield own
                finally:
                    own.destroy(self.owner)
                return
            self._is_moving = True
            try:
                yield self.staging()
            finally:
                self._is_moving = False

    def upload(self, target: VulkanStorage, offset: int, data: np.ndarray[Any, Any]) -> None:
        """Copy bytes to the device."""
        buffer, start = target.arena.buffer, target.offset + offset
        if self.unified:
            buffer.view(start, data.nbytes)[:] = data
            return
        with self._transfer() as staging:
            begun = deque[Any]()
            for at, size, room in pieces_of(data.nbytes):
                place = room * PIECE_NBYTES
                if len(begun) == 2:
                    self.queues.finish(begun.popleft())
                copy_bytes(self.owner.crew, staging.view(place, size), data[at : at + size])
                begun.append(self._copy(staging, place, buffer, start + at, size))
            for copy in begun:
                self.queues.finish(copy)

    def download(self, source: VulkanStorage, offset: int, nbytes: int) -> np.ndarray[Any, Any]:
        """Copy bytes from the device."""
        buffer, start = source.arena.buffer, source.offset + offset
        if self.unified:
            return buffer.view(start, nbytes).copy()
        found = np.empty(nbytes, np.uint8)
        with self._transfer() as staging:
            begun = deque[tuple[int, int, int, Any]]()
            for at, size, room in [*pieces_of(nbytes), (nbytes, 0, 0)]:
                if size:
                    place = room * PIECE_NBYTES
                    begun.append((at, size, place, self._copy(buffer, start + at, staging, place, size)))
                while len(begun) == 2 or (not size and begun):
                    first, done, place, copy = begun.popleft()
                    self.queues.finish(copy)
                    copy_bytes(self.owner.crew, found[first : first + done], staging.view(place, done))
        return found

    def copy(self, source: VulkanStorage, start: int, target: VulkanStorage, offset: int, nbytes: int) -> None:
        """Copy bytes on the device; the two storages are not the same."""
        origin, at = source.arena.buffer, source.offset + start
        buffer, to = target.arena.buffer, target.offset + offset
        if self.unified:
            buffer.view(to, nbytes)[:] = origin.view(at, nbytes)
        else:
            self.queues.finish(self._copy(origin, at, buffer, to, nbytes))

    def _copy(self, source: Buffer, start: int, target: Buffer, at: int, nbytes: int) -> Any:
        """Start a copy on the shared queue."""
        region = self.api.ffi.new("VkBufferCopy*", {"srcOffset": start, "dstOffset": at, "size": nbytes})

        def record(commands: Any) -> None:
            self.api.call("vkCmdCopyBuffer", commands, source.handle, target.handle, 1, region)
            info = self.api.new("VkMemoryBarrier", srcAccessMask=_TRANSFER_WRITE, dstAccessMask=_HOST_READ)
            null = self.api.ffi.NULL
            self.api.lib.vkCmdPipelineBarrier(commands, _TRANSFER_STAGE, _HOST_STAGE, 0, 1, info, 0, null, 0, null)

        return self.queues.begin(record)

    def fill_zero(self, storage: VulkanStorage, room: int) -> None:
        """Zero a range."""
        buffer = storage.arena.buffer
        if self.unified:
            buffer.view(storage.offset, room)[:] = 0
            return

        def record(commands: Any) -> None:
            self.api.call("vkCmdFillBuffer", commands, buffer.handle, storage.offset, room, 0)

        self.queues.run_once(record)

    def destroy(self) -> None:
        """Free everything."""
        with self.lock, self._ranges:
            for arena in (*self.arenas, *self.spares):
                arena.buffer.destroy(self.owner)
            self.arenas.clear()
            self.spares.clear()
            if self._staging is not None:
                self._staging.destroy(self.owner)
                self._staging = None


class VulkanStorage(BoundStorage):
    """A range of device memory. ``run`` is the last run of a pattern that writes it, if it may be under way."""

    def __init__(self, memory: DeviceMemory, arena: Arena, offset: int, nbytes: int) -> None:
        self.memory = memory
        self.arena = arena
        self.offset = offset
        self.nbytes = nbytes
        self.run: UnderWay | None = None
        self.uses: Uses | None = None

    def settle(self) -> None:
        """Wait for the run that writes this, and raise what went wrong with it."""
        run = self.run
        if run is not None:
            run.finish()
            if run.kept.error is not None:
                raise run.kept.error
            self.run = None

    def write(self, offset: int, data: np.ndarray[Any, Any] = not_given) -> None:
        """Copy the bytes of an array to the device at byte ``offset``."""
        data = as_bytes(self, offset, data)
        with touching(writes=(self,)):
            self.settle()
            if data.nbytes:
                self.memory.upload(self, offset, data)

    def read(self, offset: int, nbytes: int) -> np.ndarray[Any, Any]:
        """Return a copy of bytes from the device."""
        check_range(self, offset, nbytes)
        with touching((self,)):
            self.settle()
            return self.memory.download(self, offset, nbytes) if nbytes else np.empty(0, np.uint8)

    def clear(self, room: int) -> None:
        """Zero the first ``room`` bytes, a multiple of 4."""
        with touching(writes=(self,)):
            self.settle()
            self.memory.fill_zero(self, room)

    def copy_from(self, offset: int, source: Storage, start: int, nbytes: int) -> bool:
        """Copy bytes from other storage of the same device without the host; False if it is of another device."""
        if not isinstance(source, VulkanStorage) or source.memory is not self.memory:
            return False
        with touching((source,), (self,)):
            source.settle()
            self.settle()
            self.memory.copy(source, start, self, offset, nbytes)
        return True

    def extent(self) -> tuple[int, int]:
        """Return where the range starts and ends, counted through all arenas."""
        start = (self.arena.serial << 40) + self.offset
        return start, start + max(self.nbytes, 1)
