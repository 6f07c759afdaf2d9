"""Memory of a GPU that Loom and other libraries have together: theirs in Loom, Loom's in theirs, without a copy.

Layer: runtime. Work of Loom is in its own stream, theirs in theirs; each waits for the other with an event, on the GPU.
Invariant: nothing of Loom reads or writes what it borrowed before what its owner's streams had to do with it is done,
and these do nothing afterwards before Loom is done; memory that was lent is given back when all of the GPU is idle.

Source: DLPack's Python specification and the CUDA Array Interface, version 3, both on synchronisation.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from loom.core.dlpack import CUDA, is_torch, over_memory, take
from loom.core.dtype import DType, of_numpy
from loom.core.errors import ArgumentError, DTypeError
from loom.runtime.drivers.cuda.memory import CudaStorage, GpuMemory
from loom.runtime.memory.storage import Storage, TypedStorage, not_given

__all__ = ["BorrowedStorage", "beside_owners", "borrow"]

Array = np.ndarray[Any, Any]
_LEGACY = 1
"""CUDA's default stream of old, which others use unless they say otherwise."""


class BorrowedStorage(CudaStorage):
    """Memory of another library, whose work on it is in some ``streams``; ``owner`` keeps it."""

    def __init__(self, memory: GpuMemory, array: Array, streams: tuple[int, ...]) -> None:
        super().__init__(memory, array.__array_interface__["data"][0], array.nbytes)
        self.owner = array
        self.streams = streams

    def enter(self) -> None:
        """Have Loom's stream wait for the owner's."""
        owner = self.memory.owner
        with owner.current:
            for stream in self.streams:
                owner.follow(owner.stream, stream)

    def leave(self) -> None:
        """Have the owner's streams wait for Loom's."""
        owner = self.memory.owner
        with owner.current:
            for stream in self.streams:
                owner.follow(stream, owner.stream)

    def write(self, offset: int, data: Array = not_given) -> None:
        with beside_owners([self]):
            super().write(offset, data)

    def read(self, offset: int, nbytes: int) -> Array:
        with beside_owners([self]):
            return super().read(offset, nbytes)

    def clear(self, room: int) -> None:
        with beside_owners([self]):
            super().clear(room)

    def copy_from(self, offset: int, source: Storage, start: int, nbytes: int) -> bool:
        with beside_owners([self, source]):
            return super().copy_from(offset, source, start, nbytes)


@contextmanager
def beside_owners(storages: Sequence[object]) -> Generator[None, None, None]:
    """Do something with the memory of others, in order with what they do with it."""
    borrowed = [s for s in storages if isinstance(s, BorrowedStorage)]
    for storage in borrowed:
        storage.enter()
    try:
        yield
    finally:
        for storage in borrowed:
            storage.leave()


def borrow(device: Any, data: Any, where: str, *, writes: bool) -> TypedStorage:
    """Return the memory of an array of another library on an opened GPU, with its shape and dtype.

    DTypeError for elements that Loom has no type for, ArgumentError for those that do not lie side by side, and for
    ones that are only to be read where Loom ``writes``.
    """
    if hasattr(data, "__dlpack__"):
        taken = take(data, where, stream=int(device.stream), devices=(CUDA,))
        array, dtype, streams = taken.array, taken.dtype, (_stream_of(data),)
    else:
        array, dtype, streams = _by_interface(data, where)
    if not array.flags.c_contiguous:
        raise ArgumentError(
            where, "the elements do not lie side by side", expected="a contiguous array",
            got=f"strides {array.strides} of bytes", remedy="Pass x.contiguous(), or cupy.ascontiguousarray(x)",
        )  # fmt: skip
    if writes and not array.flags.writeable:
        raise ArgumentError(where, "the array is read-only", expected="a writable array", remedy="Pass a copy")
    storage = BorrowedStorage(device.memory, array, streams)
    return TypedStorage(storage, array.shape, dtype=dtype, device=device)


def _stream_of(data: Any) -> int:
    """Return the stream in which a library works on its array, as far as it says."""
    if is_torch(data):
        return int(sys.modules["torch"].cuda.current_stream(data.device).cuda_stream) or _LEGACY
    said: dict[str, Any] = getattr(data, "__cuda_array_interface__", None) or {}
    return int(said.get("stream") or _LEGACY)


def _by_interface(data: Any, where: str) -> tuple[Array, DType, tuple[int, ...]]:
    """Return what ``__cuda_array_interface__`` says, and the streams that Loom has to wait for."""
    said = data.__cuda_array_interface__
    if said.get("mask") is not None:
        raise DTypeError(where, "the array has a mask", expected="a plain array", got=type(data).__name__,
                         remedy="Fill it first")  # fmt: skip
    dtype = of_numpy(np.dtype(said["typestr"]), where, complexes=True)
    address, read_only = said["data"]
    array = over_memory(int(address or 0), dtype, tuple(said["shape"]), data, said.get("strides"), read_only=read_only)
    return array, dtype, (_stream_of(data),)
