"""Device memory of CUDA: taken and given back in the order of the stream, copied through pinned pieces.

Layer: runtime. The stream is in order, so that a copy sees all that was asked for before it. Transfers of many bytes
go through two pinned pieces: one is copied by the GPU while threads fill or empty the other. Invariant: storage is zero
when allocated unless it is asked for with any contents.
"""

from __future__ import annotations

import ctypes
import math
import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np

from loom.core.dlpack import CUDA, give, over_memory
from loom.core.dtype import DType, bf16
from loom.core.errors import DeviceError
from loom.core.given import is_int
from loom.core.process.bound import BoundStorage
from loom.core.process.thread_pools import ThreadPool
from loom.runtime.drivers.copying import MOST_THREADS, PIECE_NBYTES, copy_bytes, pieces_of
from loom.runtime.drivers.cuda.api import Api, is_loss, is_memory
from loom.runtime.drivers.cuda.gpus import Gpu
from loom.runtime.memory.order import Uses, touching
from loom.runtime.memory.storage import as_bytes, check_range, not_given

if TYPE_CHECKING:
    from loom.runtime.memory.storage import Storage

__all__ = ["LEAST_NBYTES", "CudaStorage", "GpuMemory", "poll"]

LEAST_NBYTES = 16
"""Room of a storage of no bytes: a load may read something."""
_SMALL_NBYTES = 4 << 20
"""Copied at once: the driver has room of its own, and is faster than threads that are told their parts."""
_SPARE_NBYTES = 1 << 30
"""Most memory kept that nothing uses."""
_PORTABLE = 1
_PEER_NBYTES = 1 << 16
"""Bytes that are copied to see whether copies from GPU to GPU are right."""
_DEFAULT, _NO_STREAM = 1, -1
"""Streams as DLPack counts them."""
_SPIN_SECONDS, _LONGEST_SECONDS = 200e-6, 1e-3

Array = np.ndarray[Any, Any]


class MemoryOwner(Protocol):
    """An opened GPU, as far as its memory is concerned."""

    name: str
    gpu: Gpu
    api: Api
    current: Any
    context: Any
    stream: Any
    side: Any
    lock: threading.RLock

    def event(self, stream: Any = None) -> Any: ...
    def follow(self, stream: Any, other: Any) -> None: ...
    def give_back(self, event: Any) -> None: ...
    def has_passed(self, event: Any) -> bool: ...
    def settle(self) -> None: ...
    def require(self) -> None: ...
    def note_error(self, error: DeviceError) -> DeviceError: ...


def poll(has_passed: Any, event: Any, seconds: float) -> bool:
    """Wait at most ``seconds`` for an event; signals of the host are seen meanwhile."""
    begun = time.perf_counter()
    while not has_passed(event):
        elapsed = time.perf_counter() - begun
        if elapsed >= seconds:
            return False
        if elapsed > _SPIN_SECONDS:
            time.sleep(min(_LONGEST_SECONDS, elapsed / 16, max(0.0, seconds - elapsed)))
    return True


class GpuMemory:
    """All memory of a GPU."""

    def __init__(self, owner: MemoryOwner) -> None:
        self.owner = owner
        self.api = owner.api
        self.lock = threading.RLock()
        self.pool = self._pool() if owner.gpu.limits["pools"] else None
        self._left = False
        self.lent: set[int] = set()
        """Where memory is that other libraries may be using, in streams that Loom does not know."""
        self._reached: WeakKeyDictionary[GpuMemory, bool] = WeakKeyDictionary()
        self._pieces: list[Array] = []
        self._crew: ThreadPool | None = None

    def _pool(self) -> Any:
        driver = self.api.driver
        properties = driver.CUmemPoolProps()
        properties.allocType = driver.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
        properties.location.type = driver.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
        properties.location.id = self.owner.gpu.number
        pool = self.api.cuMemPoolCreate(properties)
        kept = driver.CUmemPool_attribute.CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
        self.api.cuMemPoolSetAttribute(pool, kept, driver.cuuint64_t(_SPARE_NBYTES))
        return pool

    # storages

    def allocate(self, nbytes: int, *, zeroed: bool = True) -> CudaStorage:
        """Return memory."""
        self.owner.require()
        room = -(-max(nbytes, LEAST_NBYTES) // 16) * 16
        with self.owner.current:
            try:
                address = self._take(room)
            except DeviceError as error:
                if not is_memory(error):
                    raise self.owner.note_error(error) from None
                address = self._take_at_last(nbytes, room)
            storage = CudaStorage(self, int(address), nbytes)
            weakref.finalize(storage, self._free, storage.address).atexit = False
            if zeroed:
                self.api.cuMemsetD8Async(address, 0, room, self.owner.stream)
        return storage

    def _take(self, room: int) -> Any:
        if self.pool is None:
            return self.api.cuMemAlloc(room)
        return self.api.cuMemAllocFromPoolAsync(room, self.pool, self.owner.stream)

    def _take_at_last(self, nbytes: int, room: int) -> Any:
        """Return memory after all that is under way is over and what nothing uses is given back."""
        self.owner.settle()
        self.api.cuStreamSynchronize(self.owner.stream)
        if self.pool is not None:
            self.api.cuMemPoolTrimTo(self.pool, 0)
        try:
            return self._take(room)
        except DeviceError as error:
            free, total = self.api.cuMemGetInfo()
            raise DeviceError(
                f"device {self.owner.name!r}", "out of device memory",
                expected=f"at most {free} bytes, which are free of {total}", got=nbytes,
                remedy="Free units or use smaller buffers",
            ) from error  # fmt: skip

    def _free(self, address: Any) -> None:
        """Give memory back, after all that is with the stream."""
        if self._left or not self.api.is_ours:
            return
        with suppress(DeviceError), self.owner.current:  # of a lost GPU nothing is left to free
            if address in self.lent:
                self.lent.discard(address)
                self.api.driver.cuCtxSynchronize()
            if self.pool is None:
                self.api.driver.cuMemFree(address)
            else:
                self.api.driver.cuMemFreeAsync(address, self.owner.stream)

    def leave(self) -> None:
        """Free nothing from now on."""
        self._left = True

    # transfers

    def upload(self, address: int, data: Array) -> None:
        """Copy bytes to the device."""
        self.owner.require()
        with self.owner.current:
            if data.nbytes <= _SMALL_NBYTES:
                self.api.cuMemcpyHtoDAsync(address, data.ctypes.data, data.nbytes, self.owner.stream)
                return
            with self.lock:
                pieces, begun = self._staging(), deque[Any]()
                for at, size, room in pieces_of(data.nbytes):
                    if len(begun) == 2:
                        self._finish(begun.popleft())
                    part, piece = data[at : at + size], pieces[room][:size]
                    copy_bytes(self._copiers(), piece, part)
                    self.api.cuMemcpyHtoDAsync(address + at, piece.ctypes.data, part.nbytes, self.owner.stream)
                    begun.append(self.owner.event())
                for event in begun:
                    self._finish(event)

    def download(self, address: int, nbytes: int) -> Array:
        """Copy bytes from the device, when all before it is done."""
        self.owner.require()
        found = np.empty(nbytes, np.uint8)
        with self.owner.current:
            self._finish(self.owner.event())
            if nbytes <= _SMALL_NBYTES:
                self.api.cuMemcpyDtoHAsync(found.ctypes.data, address, nbytes, self.owner.stream)
                self.api.cuStreamSynchronize(self.owner.stream)
                return found
            with self.lock:
                pieces, begun = self._staging(), deque[tuple[int, Array, Any]]()
                for at, size, room in [*pieces_of(nbytes), (nbytes, 0, 0)]:
                    while len(begun) == 2 or (not size and begun):
                        first, piece, event = begun.popleft()
                        self._finish(event)
                        copy_bytes(self._copiers(), found[first : first + piece.nbytes], piece)
                    if size:
                        piece = pieces[room][:size]
                        self.api.cuMemcpyDtoHAsync(piece.ctypes.data, address + at, size, self.owner.stream)
                        begun.append((at, piece, self.owner.event()))
        return found

    # what ``drivers.rows.sent`` asks for

    def hold(self, data: Array) -> CudaStorage:
        """Return memory that holds this."""
        storage = self.allocate(data.nbytes, zeroed=False)
        self.upload(storage.address, data)
        return storage

    def fetch(self, place: CudaStorage, offset: int, nbytes: int) -> Array:
        """Copy bytes from the device, when all before it is done."""
        return self.download(place.address + offset, nbytes)

    def peek(self, place: CudaStorage, offset: int, nbytes: int) -> Array:
        """Copy bytes from the device at once: what writes them is over."""
        found = np.empty(nbytes, np.uint8)
        self.api.cuMemcpyDtoHAsync(found.ctypes.data, place.address + offset, nbytes, self.owner.side)
        self.api.cuStreamSynchronize(self.owner.side)
        return found

    def refill(self, place: CudaStorage, data: Array) -> None:
        """Have memory hold something else."""
        self.upload(place.address, data)

    def _finish(self, event: Any) -> None:
        poll(self.owner.has_passed, event, float("inf"))
        self.owner.give_back(event)

    def _staging(self) -> list[Array]:
        """Return two pinned pieces."""
        while len(self._pieces) < 2:
            address = int(self.api.cuMemHostAlloc(PIECE_NBYTES, _PORTABLE))
            self._pieces.append(np.ctypeslib.as_array((ctypes.c_uint8 * PIECE_NBYTES).from_address(address)))
        return self._pieces

    def _copiers(self) -> ThreadPool:
        """Return the threads that copy bytes of the host."""
        if self._crew is None:
            self._crew = ThreadPool(MOST_THREADS, "loom-cuda-copies")
        return self._crew

    def copy(self, target: int, source: CudaStorage, start: int, nbytes: int) -> None:
        """Copy bytes on the GPU, or from another one: from GPU to GPU where they reach each other, else by the host."""
        self.owner.require()
        theirs = source.memory.owner
        if theirs is self.owner:
            with self.owner.current:
                self.api.cuMemcpyDtoDAsync(target, source.address + start, nbytes, self.owner.stream)
            return
        theirs.require()
        if not self._reaches(source.memory):
            self.upload(target, source.memory.download(source.address + start, nbytes))
            return
        self._copy_peer(target, source.memory, source.address + start, nbytes)

    def _reaches(self, other: GpuMemory) -> bool:
        """Tell whether memory of another GPU is copied from there to here; the first time, ask for it."""
        found = self._reached.get(other)
        if found is None:
            found = self._ask_for(other) and other._ask_for(self)
            self._reached[other] = found = found and self._is_right(other)
        return found

    def _is_right(self, other: GpuMemory) -> bool:
        """Copy known bytes from there to here; False if others come, or CUDA refuses."""
        wanted = (np.arange(_PEER_NBYTES) * 167 % 251).astype(np.uint8)
        there, here = other.allocate(wanted.nbytes), self.allocate(wanted.nbytes)
        other.upload(there.address, wanted)
        try:
            self._copy_peer(here.address, other, there.address, wanted.nbytes)
        except DeviceError as error:
            if is_loss(error):
                raise self.owner.note_error(error) from None
            return False
        return np.array_equal(self.download(here.address, wanted.nbytes), wanted)

    def _copy_peer(self, target: int, other: GpuMemory, source: int, nbytes: int) -> None:
        theirs = other.owner
        self._follow(theirs)
        with self.owner.current:
            self.api.cuMemcpyPeerAsync(target, self.owner.context, source, theirs.context, nbytes, self.owner.stream)
        other._follow(self.owner)

    def _ask_for(self, other: GpuMemory) -> bool:
        """Have the other GPU's memory within reach of this one; False where CUDA does not do that."""
        api, driver, here = self.api, self.api.driver, self.owner.gpu.number
        try:
            if not api.cuDeviceCanAccessPeer(api.cuDeviceGet(here), api.cuDeviceGet(other.owner.gpu.number)):
                return False
            if other.pool is not None:
                access = driver.CUmemAccessDesc()
                access.location.type = driver.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
                access.location.id = here
                access.flags = driver.CUmemAccess_flags.CU_MEM_ACCESS_FLAGS_PROT_READWRITE
                api.cuMemPoolSetAccess(other.pool, (access,), 1)
        except DeviceError as error:
            if is_loss(error):
                raise self.owner.note_error(error) from None
            return False
        with self.owner.current:
            driver.cuCtxEnablePeerAccess(other.owner.context, 0)  # of memory of no pool; others may have asked before
        return True

    def _follow(self, other: MemoryOwner) -> None:
        """Have the stream go on only when all that is with another's is done."""
        with other.current:
            event = other.event()
        with self.owner.current:
            self.api.cuStreamWaitEvent(self.owner.stream, event, 0)
        other.give_back(event)


class CudaStorage(BoundStorage):
    """A range of device memory."""

    def __init__(self, memory: GpuMemory, address: int, nbytes: int) -> None:
        self.memory = memory
        self.address = address
        self.nbytes = nbytes
        self.uses: Uses | None = None

    def write(self, offset: int, data: Array = not_given) -> None:
        """Copy the bytes of an array to the device at byte ``offset``."""
        data = as_bytes(self, offset, data)
        with touching(writes=(self,)):
            if data.nbytes:
                self.memory.upload(self.address + offset, data)

    def read(self, offset: int, nbytes: int) -> Array:
        """Return a copy of bytes from the device."""
        check_range(self, offset, nbytes)
        with touching((self,)):
            return self.memory.download(self.address + offset, nbytes) if nbytes else np.empty(0, np.uint8)

    def clear(self, room: int) -> None:
        """Zero the first ``room`` bytes, a multiple of 4."""
        owner = self.memory.owner
        with touching(writes=(self,)):
            owner.require()
            with owner.current:
                owner.api.cuMemsetD8Async(self.address, 0, room, owner.stream)

    def copy_from(self, offset: int, source: Storage, start: int, nbytes: int) -> bool:
        """Copy bytes from other storage of a CUDA device without the host; False if it is none."""
        if not isinstance(source, CudaStorage) or source is self:
            return False
        with touching((source,), (self,)):
            if nbytes:
                self.memory.copy(self.address + offset, source, start, nbytes)
        return True

    def give(self, shape: tuple[int, ...], dtype: DType, stream: Any, max_version: Any, *, copied: bool) -> Any:
        """Return a capsule of DLPack over it, once the ``stream`` of who asks waits for Loom's.

        None is the default stream of old, 1; 2 that of a thread; -1: who asks sees to it. BufferError for no stream.
        """
        stream = _DEFAULT if stream is None else stream
        if not is_int(stream) or stream < _NO_STREAM or stream == 0:
            raise BufferError(f"no stream of CUDA: {stream!r}; pass 1 or 2 for default streams, or -1 for none")
        owner = self.memory.owner
        if stream != _NO_STREAM:
            with owner.current:
                owner.follow(int(stream), owner.stream)
        place = CUDA, owner.gpu.number
        return give(self._elsewhere(dtype, shape), max_version, place, is_bf16=dtype == bf16, copied=copied)

    def interface(self, shape: tuple[int, ...], dtype: DType) -> dict[str, Any]:
        """Return what ``__cuda_array_interface__`` says of it; who asks has to wait for Loom's stream."""
        self.memory.lent.add(self.address)
        address = self.address if math.prod(shape) else 0
        return {
            "shape": shape, "typestr": dtype.numpy.str, "data": (address, False), "strides": None, "version": 3,
            "stream": int(self.memory.owner.stream),
        }  # fmt: skip

    def _elsewhere(self, dtype: DType, shape: tuple[int, ...]) -> Array:
        self.memory.lent.add(self.address)
        return over_memory(self.address, dtype, shape, self)

    def extent(self) -> tuple[int, int]:
        """Return where the memory starts and ends: no two GPUs have the same addresses."""
        return self.address, self.address + max(self.nbytes, 1)
