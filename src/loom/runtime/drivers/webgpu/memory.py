"""Device memory of WebGPU: a buffer for each storage, copied from and to the host.

Layer: runtime. WebGPU copies whole words: parts of one at an end are read, changed and written. The queue is in order,
so that a copy sees all that was asked for before it. Invariant: storage is zero when allocated, whatever is asked for,
which WebGPU promises.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from loom.core.errors import DeviceError
from loom.core.process.bound import BoundStorage
from loom.core.process.thread_pools import ThreadPool
from loom.runtime.drivers.webgpu.adapter import WebGpuAdapter, calls
from loom.runtime.memory.order import Uses, touching
from loom.runtime.memory.storage import as_bytes, check_range, not_given

if TYPE_CHECKING:
    from loom.runtime.memory.storage import Storage

__all__ = ["LEAST_NBYTES", "BufferMemory", "WebGpuStorage"]

_USAGE = 0x80 | 0x8 | 0x4
"""Storage buffer, copied to and from."""
_READ_BY_HOST = 0x1 | 0x8
LEAST_NBYTES = 16
"""Room of a storage of no bytes: a load may read something."""
_PIECE_NBYTES = 32 << 20
"""Most bytes copied at once."""
_serial = itertools.count(1)


class Owner(Protocol):
    """An opened adapter, as far as its memory is concerned."""

    name: str
    adapter: WebGpuAdapter
    native: Any
    queue: Any
    lock: threading.RLock
    waiters: ThreadPool


class BufferMemory:
    """All memory of a device."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._source: Any = None

    def buffer(self, nbytes: int, usage: int = 0) -> Any:
        """Return a buffer of whole words that kernels see, and more ``usage``; it is zero."""
        room = max(LEAST_NBYTES, -(-nbytes // 4) * 4)
        with self.owner.lock, calls(f"device {self.owner.name!r}"):
            return self.owner.native.create_buffer(size=room, usage=_USAGE | usage)

    def allocate(self, nbytes: int) -> WebGpuStorage:
        """Return memory."""
        limit = self.owner.adapter.limits["buffer_nbytes"]
        if nbytes > limit:
            raise DeviceError(
                f"device {self.owner.name!r}", "too large a buffer", expected=f"at most {limit} bytes in one",
                got=nbytes, remedy="Split the work, or use another device",
            )  # fmt: skip
        return WebGpuStorage(self, self.buffer(nbytes), nbytes)

    def upload(self, buffer: Any, offset: int, data: np.ndarray[Any, Any]) -> None:
        """Copy bytes to a buffer."""
        begin, end = offset - offset % 4, -(-(offset + data.nbytes) // 4) * 4
        if (begin, end) != (offset, offset + data.nbytes):
            whole = self.download(buffer, begin, end - begin)
            whole[offset - begin : offset - begin + data.nbytes] = data
            data = whole
        with self.owner.lock, calls(f"device {self.owner.name!r}"):
            for at in range(0, data.nbytes, _PIECE_NBYTES):
                part = np.ascontiguousarray(data[at : at + _PIECE_NBYTES])
                self.owner.queue.write_buffer(buffer, begin + at, part)

    def download(self, place: Any, offset: int, nbytes: int) -> np.ndarray[Any, Any]:
        """Copy bytes from a buffer, when all before it is done."""
        begin, end = offset - offset % 4, -(-(offset + nbytes) // 4) * 4
        found = np.empty(end - begin, np.uint8)
        with self.owner.lock, calls(f"device {self.owner.name!r}"):
            for at in range(0, end - begin, _PIECE_NBYTES):
                size = min(_PIECE_NBYTES, end - begin - at)
                view = self.owner.queue.read_buffer(place, begin + at, size)
                found[at : at + size] = np.frombuffer(view, np.uint8)
        return found[offset - begin : offset - begin + nbytes]

    # what ``drivers.rows.sent`` asks for

    def hold(self, data: np.ndarray[Any, Any]) -> Any:
        """Return a buffer that holds this."""
        buffer = self.buffer(data.nbytes)
        if data[:8].any():  # a log begins with its room, a status is zero as buffers are
            self.upload(buffer, 0, data)
        return buffer

    fetch = peek = download

    def refill(self, place: Any, data: np.ndarray[Any, Any]) -> None:
        """Have a buffer hold something else."""
        self.upload(place, 0, data)

    def fence(self) -> Future[Any]:
        """Return what is done when all that was handed to the queue is: a buffer copied to, that can be mapped then.

        ``on_submitted_work_done_async`` of wgpu 0.32 has a callback of a wrong type.
        """
        with self.owner.lock, calls(f"device {self.owner.name!r}"):
            if self._source is None:
                self._source = self.buffer(LEAST_NBYTES)
            target = self.owner.native.create_buffer(size=LEAST_NBYTES, usage=_READ_BY_HOST)
            encoder = self.owner.native.create_command_encoder()
            encoder.copy_buffer_to_buffer(self._source, 0, target, 0, LEAST_NBYTES)
            self.owner.queue.submit([encoder.finish()])
            promise = target.map_async("READ")
        return self.owner.waiters.submit(_wait_for_map, promise, target)

    def encode(self, record: Callable[[Any], Any]) -> None:
        """Record commands and hand them to the queue."""
        with self.owner.lock, calls(f"device {self.owner.name!r}"):
            encoder = self.owner.native.create_command_encoder()
            record(encoder)
            self.owner.queue.submit([encoder.finish()])


def _wait_for_map(promise: Any, buffer: Any) -> None:
    """Wait until a buffer is mapped, and let go of it."""
    promise.sync_wait()
    buffer.destroy()


class WebGpuStorage(BoundStorage):
    """A buffer of the device."""

    def __init__(self, memory: BufferMemory, buffer: Any, nbytes: int) -> None:
        self.memory = memory
        self.buffer = buffer
        self.nbytes = nbytes
        self.serial = next(_serial)
        self.uses: Uses | None = None

    def write(self, offset: int, data: np.ndarray[Any, Any] = not_given) -> None:
        """Copy the bytes of an array to the device at byte ``offset``."""
        data = as_bytes(self, offset, data)
        with touching(writes=(self,)):
            if data.nbytes:
                self.memory.upload(self.buffer, offset, data)

    def read(self, offset: int, nbytes: int) -> np.ndarray[Any, Any]:
        """Return a copy of bytes from the device."""
        check_range(self, offset, nbytes)
        with touching((self,)):
            return self.memory.download(self.buffer, offset, nbytes) if nbytes else np.empty(0, np.uint8)

    def clear(self, room: int) -> None:
        """Zero the first ``room`` bytes, a multiple of 4."""
        with touching(writes=(self,)):
            self.memory.encode(lambda encoder: encoder.clear_buffer(self.buffer, 0, room))

    def copy_from(self, offset: int, source: Storage, start: int, nbytes: int) -> bool:
        """Copy whole words from other storage of the same device without the host; False if that cannot be."""
        if not isinstance(source, WebGpuStorage) or source.memory is not self.memory or source is self:
            return False
        if (offset | start | nbytes) % 4:
            return False
        with touching((source,), (self,)):
            given = source.buffer
            self.memory.encode(lambda e: e.copy_buffer_to_buffer(given, start, self.buffer, offset, nbytes))
        return True

    def extent(self) -> tuple[int, int]:
        """Return where the memory starts and ends, counted through all storages."""
        start = self.serial << 40
        return start, start + max(self.nbytes, 1)
