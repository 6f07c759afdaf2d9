"""Memory of the emulated driver: taken from pools in the order of a stream, copied at once or later.

Memory of the host that is not pinned is read when a copy is asked for, and written before the call returns, as CUDA
does; pinned memory whenever the copy is done.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from emulation.driver.base import INVALID_VALUE, OUT_OF_MEMORY, Base, Context, Failure
from emulation.driver.streams import Stream

__all__ = ["Copies"]

_DIRT = 0xA5
"""What memory holds that nobody wrote."""


@dataclass(eq=False)
class Pool:
    """A pool of memory of a GPU."""

    number: int


@dataclass(eq=False)
class Room:
    """A range of memory of a GPU."""

    context: Context
    nbytes: int
    pool: Pool | None
    leaving: bool = False


class Copies(Base):
    """The functions of memory."""

    peer_copies = 0
    spoils = False
    """Whether copies from GPU to GPU come out wrong."""
    stranger: int | None = None
    """The GPU of addresses that nobody allocated here: memory of other libraries; None if there are none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rooms: dict[int, Room] = {}
        self.granted: list[tuple[int, int]] = []
        """(pool, GPU that has it within reach)."""
        self._pinned: dict[int, Any] = {}

    # pools and ranges

    def cuMemPoolCreate(self, properties: Any) -> int:
        return self.made(Pool(int(properties.location.id)))

    def cuMemPoolSetAttribute(self, pool: Any, attribute: Any, value: Any) -> None:
        self.of(Pool, pool)

    def cuMemPoolTrimTo(self, pool: Any, nbytes: int) -> None:
        self.of(Pool, pool)

    def cuMemPoolSetAccess(self, pool: Any, given: Any, count: int) -> None:
        self.of(Pool, pool)
        if len(given) != count:
            raise Failure(INVALID_VALUE)
        self.granted += [(int(pool), int(each.location.id)) for each in given]

    def _taken(self, nbytes: int, pool: Pool | None) -> int:
        context = self.current
        if not nbytes or (pool is not None and pool.number != context.number):
            raise Failure(INVALID_VALUE)
        if context.used_nbytes + nbytes > self.room:
            raise Failure(OUT_OF_MEMORY)
        address = self.memory.allocate(nbytes)
        self.memory.view(address, nbytes)[:] = _DIRT
        self.rooms[address] = Room(context, nbytes, pool)
        context.used_nbytes += nbytes
        return address

    def cuMemAllocFromPoolAsync(self, nbytes: int, pool: Any, stream: Any) -> int:
        self.stream(stream)
        return self._taken(nbytes, self.of(Pool, pool))

    def cuMemAlloc(self, nbytes: int) -> int:
        return self._taken(nbytes, None)

    def cuMemFreeAsync(self, address: Any, stream: Any) -> None:
        room = self._leaving(address)
        self.submit(self.stream(stream), lambda: self._left(int(address), room))

    def cuMemFree(self, address: Any) -> None:
        room = self._leaving(address)
        self.finish(*[s for s in self.scheduler.streams if s.context == room.context.number])
        self._left(int(address), room)

    def _leaving(self, address: Any) -> Room:
        room = self.rooms.get(int(address))
        if room is None or room.leaving or room.context is not self.current:
            raise Failure(INVALID_VALUE, "memory that is not this context's, or was freed")
        room.leaving = True
        return room

    def _left(self, address: int, room: Room) -> None:
        self.memory.free(address)
        del self.rooms[address]
        room.context.used_nbytes -= room.nbytes

    def cuMemGetInfo(self) -> tuple[int, int]:
        return self.room - self.current.used_nbytes, self.room

    def cuMemHostAlloc(self, nbytes: int, flags: int) -> int:
        _ = self.current
        block = (ctypes.c_uint8 * nbytes)()
        address = ctypes.addressof(block)
        ctypes.memset(address, _DIRT, nbytes)
        self._pinned[address] = block
        return address

    def cuPointerGetAttribute(self, attribute: Any, address: Any) -> int:
        if attribute.name != "CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL":
            raise NotImplementedError(attribute.name)
        for start, room in self.rooms.items():
            if start <= int(address) < start + room.nbytes:
                return room.context.number
        if self.stranger is None:
            raise Failure(INVALID_VALUE, f"nobody allocated {int(address):#x}")
        return self.stranger

    # copies

    def _is_pinned(self, address: int) -> bool:
        return any(start <= address < start + len(block) for start, block in self._pinned.items())

    def cuMemsetD8Async(self, address: Any, value: int, nbytes: int, stream: Any) -> None:
        def fill() -> None:
            self.memory.view(int(address), nbytes)[:] = value

        self.submit(self.stream(stream), fill)

    def cuMemcpyHtoDAsync(self, target: Any, source: Any, nbytes: int, stream: Any) -> None:
        later = self._is_pinned(int(source))
        taken = b"" if later else ctypes.string_at(int(source), nbytes)

        def copy() -> None:
            data = ctypes.string_at(int(source), nbytes) if later else taken
            self.memory.view(int(target), nbytes)[:] = memoryview(data)

        self.submit(self.stream(stream), copy)

    def cuMemcpyDtoHAsync(self, target: Any, source: Any, nbytes: int, stream: Any) -> None:
        def copy() -> None:
            ctypes.memmove(int(target), self.memory.view(int(source), nbytes).tobytes(), nbytes)

        queue = self.stream(stream)
        self.submit(queue, copy)
        if not self._is_pinned(int(target)):
            self.finish(queue)

    def cuMemcpyDtoDAsync(self, target: Any, source: Any, nbytes: int, stream: Any) -> None:
        self._copy(self.stream(stream), int(target), int(source), nbytes)

    def cuMemcpyPeerAsync(self, target: Any, to: Any, source: Any, of: Any, nbytes: int, stream: Any) -> None:
        for address, handle in ((target, to), (source, of)):
            if self.cuPointerGetAttribute(_Ordinal, address) != self.of(Context, handle).number:
                raise Failure(INVALID_VALUE, "memory of another context than is said")
        self.peer_copies += 1
        self._copy(self.stream(stream), int(target), int(source), nbytes, spoiled=self.spoils)

    def _copy(self, queue: Stream, target: int, source: int, nbytes: int, *, spoiled: bool = False) -> None:
        def copy() -> None:
            data = self.memory.view(source, nbytes).copy()
            data[:1] ^= spoiled
            self.memory.view(target, nbytes)[:] = data

        self.submit(queue, copy)


class _Ordinal:
    name = "CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL"
