"""Device memory as the runtime sees it: bytes that can be written, read, filled, and bound.

Layer: runtime. ``HostStorage`` is memory of this process, which the CPU and interpreter devices use in
place. Who uses storage, and in which order, is in ``order``: whatever reads or writes elements there enters it in
``uses``. Invariant: storage is zero when allocated, and its address is a multiple of 64 unless adopted.
"""

from __future__ import annotations

from ctypes import addressof, c_char
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from loom.core.arrays import read_array
from loom.core.dtype import DType, f32
from loom.core.errors import DeviceError, DTypeError, ShapeError
from loom.core.given import is_int
from loom.core.late import late
from loom.core.late.dataclass import dataclass
from loom.core.process.bound import BoundStorage
from loom.runtime.memory.order import Uses, touching, uses_at

if TYPE_CHECKING:
    from loom.core import numbers
else:
    numbers = late("loom.core", "numbers")

__all__ = [
    "HostSlot", "HostStorage", "ShapedStorage", "Storage", "TypedStorage", "as_bytes", "check_range", "clear_storage",
    "copy_storage", "not_given",
]  # fmt: skip

_ALIGNMENT = 64
_BYTES = np.dtype(np.uint8)
_AT_ONCE = 256
"""Bytes that numpy copies without letting another thread of Python begin anything."""
not_given: Any = object()
"""Stands for data that are not given."""


class Storage(Protocol):
    """A range of device memory."""

    nbytes: int
    uses: Uses | None
    """Who uses it; None: nobody did yet."""

    def write(self, offset: int, data: np.ndarray[Any, Any]) -> None:
        """Copy bytes to the device at ``offset``, after all that uses them."""
        ...

    def read(self, offset: int, nbytes: int) -> np.ndarray[Any, Any]:
        """Return a copy of bytes from the device (uint8), after what writes them."""
        ...

    def clear(self, room: int) -> None:
        """Zero the first ``room`` bytes, a multiple of 4."""
        ...

    def copy_from(self, offset: int, source: Storage, start: int, nbytes: int) -> bool:
        """Copy bytes from other storage of the same device without the host; False if it is of another device."""
        ...

    def extent(self) -> tuple[int, int]:
        """Return where the memory starts and ends, for telling overlaps."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ShapedStorage:
    """Storage of which the shape is known, and the numpy dtype of the records it holds, if it does.

    ``size``: its bytes, where the storage has more.
    """

    storage: Storage
    shape: tuple[int, ...]
    record: np.dtype[Any] | None = None
    size: int | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.storage.nbytes if self.size is None else self.size

    def extent(self) -> tuple[int, int]:
        """Return where the memory starts and ends."""
        return self.storage.extent()


@dataclass(frozen=True, slots=True, eq=False)
class TypedStorage(ShapedStorage):
    """Storage of a device that another library's array lies in, whose dtype is known with its shape."""

    dtype: DType = f32
    device: Any = None


def as_bytes(storage: Any, offset: Any, data: Any) -> np.ndarray[Any, Any]:
    """Return what is to be written to storage at a byte as bytes; errors for what is no memory, or does not fit."""
    room = storage.nbytes
    if type(offset) is int and type(data) is np.ndarray and data.dtype is _BYTES and data.ndim == 1:
        if 0 <= offset <= room - data.nbytes and data.flags.c_contiguous:
            return data
    where = "storage.write"
    if data is not_given or not is_int(offset):
        raise DTypeError(where, "no place and data", expected="write(offset, data), offset a number of bytes",
                         got=f"{type(offset).__name__} alone" if data is not_given else type(offset).__name__,
                         remedy="Write storage.write(0, array)")  # fmt: skip
    is_bytes = isinstance(data, (bytes, bytearray, memoryview))
    found: Any = np.frombuffer(cast("bytes", data), np.uint8) if is_bytes else data
    found, _ = read_array(found, f"{where}, data", complexes=True)
    found = found.reshape(-1).view(np.uint8)
    if not 0 <= offset <= room - found.nbytes:
        raise ShapeError(where, "the data lie outside the storage", expected=f"0 to {room} bytes",
                         got=f"{found.nbytes} at {int(offset)}", remedy="Write less, or allocate more")  # fmt: skip
    return found


def check_range(storage: Any, offset: Any, nbytes: Any) -> None:
    """See that storage has the bytes that are read; ShapeError if not."""
    room = storage.nbytes
    if not (is_int(offset) and is_int(nbytes) and offset >= 0 <= nbytes and offset + nbytes <= room):
        raise ShapeError("storage.read", "what is read lies outside the storage", expected=f"0 to {room} bytes",
                         got=f"read({offset!r}, {nbytes!r})"[:200],
                         remedy="Write storage.read(offset, nbytes)")  # fmt: skip


def copy_storage(source: Storage, start: int, target: Storage, offset: int, nbytes: int) -> None:
    """Copy bytes between storages: on the device where both are of one, through the host otherwise."""
    if nbytes and (source is target or not target.copy_from(offset, source, start, nbytes)):
        target.write(offset, source.read(start, nbytes))


def clear_storage(storage: Storage) -> None:
    """Zero storage of whole words."""
    if storage.nbytes:
        storage.clear(storage.nbytes)


class HostStorage(BoundStorage):
    """Memory of this process: allocated here, or an array of the caller's adopted without a copy."""

    __slots__ = ("__weakref__", "_address", "bytes", "nbytes", "owner", "uses")

    def __init__(self, data: np.ndarray[Any, Any], owner: Any = None, address: int | None = None) -> None:
        self._address = address
        self.bytes = data
        self.uses: Uses | None = None
        self.nbytes = data.nbytes
        self.owner = owner

    @classmethod
    def allocate(cls, nbytes: int, *, zeroed: bool = True) -> HostStorage:
        """Return memory, zeroed or with any contents; DeviceError if the system has not enough."""
        if type(nbytes) is not int or nbytes < 0:
            nbytes = numbers.whole(nbytes, "device.allocate, nbytes", least=0)
        try:
            block = (np.zeros if zeroed else np.empty)(nbytes + _ALIGNMENT, _BYTES)
        except (MemoryError, ValueError):  # ValueError: more than numpy can count
            raise DeviceError(
                "device memory", "out of memory", got=f"{nbytes} bytes", remedy="Free units or use smaller buffers"
            ) from None
        return cls.within(block, nbytes)

    @classmethod
    def within(cls, block: np.ndarray[Any, Any], nbytes: int) -> HostStorage:
        """Return the memory of so many bytes of an array of bytes, from its first multiple of 64 on."""
        begin = addressof(c_char.from_buffer(block.data))  # a quarter of what numpy's own ways take
        start = -begin % _ALIGNMENT
        return cls(block[start : start + nbytes], block, begin + start)

    @classmethod
    def adopt(cls, array: np.ndarray[Any, Any]) -> HostStorage:
        """Return the memory of a contiguous array, shared with it, in order with all else that adopted it."""
        adopted = cls(array.reshape(-1).view(np.uint8), array)
        if adopted.nbytes:
            adopted.uses = uses_at(*adopted.extent())
        return adopted

    def write(self, offset: int, data: np.ndarray[Any, Any] = not_given) -> None:
        """Copy the bytes of an array in at byte ``offset``."""
        data = as_bytes(self, offset, data)
        with touching(writes=(self,)):
            self.bytes[offset : offset + data.nbytes] = data

    def read(self, offset: int, nbytes: int) -> np.ndarray[Any, Any]:
        """Return a copy of bytes."""
        check_range(self, offset, nbytes)
        if self.uses is None and nbytes <= _AT_ONCE:
            return self.bytes[offset : offset + nbytes].copy()
        with touching((self,)):
            return self.bytes[offset : offset + nbytes].copy()

    def clear(self, room: int) -> None:
        """Zero the first ``room`` bytes."""
        with touching(writes=(self,)):
            self.bytes[:room] = 0

    def copy_from(self, offset: int, source: Storage, start: int, nbytes: int) -> bool:
        """Copy bytes of other host memory in at ``offset``; False if ``source`` is none."""
        if not isinstance(source, HostStorage):
            return False
        with touching((source,), (self,)):
            self.bytes[offset : offset + nbytes] = source.bytes[start : start + nbytes]
        return True

    def extent(self) -> tuple[int, int]:
        """Return first and last address + 1."""
        address = self.address
        return address, address + self.nbytes

    @property
    def address(self) -> int:
        """Where the memory starts."""
        if self._address is None:
            self._address = self.bytes.ctypes.data
        return self._address

    def view(self, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """Return the memory as an array, shared; bytes beyond the last whole element are left out."""
        return self.bytes[: self.nbytes - self.nbytes % dtype.itemsize].view(dtype)


class HostSlot(HostStorage):
    """A place in a program for memory that is given anew before each run.

    An array of the host is attached where the device uses those in place, else storage of the device. Planning
    takes every slot for memory of its own, so what is attached must not overlap anything else the program uses,
    unless both are only read.
    """

    __slots__ = ("_reserved", "storage")

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.owner = None
        self._address = None
        self.uses: Uses | None = None
        self.bytes = _NOTHING
        self.storage: Storage | None = None
        self._reserved = np.empty(1, np.uint8)

    def attach(self, given: np.ndarray[Any, Any] | Storage) -> None:
        """Use the memory of a contiguous array, or storage of the device, from the next run on."""
        if isinstance(given, HostStorage):
            self.storage = self.owner = given
            self.bytes, self._address = given.bytes, given.address
        elif isinstance(given, np.ndarray):
            self.bytes = given.reshape(-1).view(np.uint8)
            self.owner, self._address = given, given.__array_interface__["data"][0]
        else:
            self.storage = given

    def detach(self) -> None:
        """Let go of what is attached."""
        self.bytes, self.owner, self.storage, self._address = _NOTHING, None, None, None

    def extent(self) -> tuple[int, int]:
        """Return a range no other memory has."""
        address = self._reserved.ctypes.data
        return address, address + 1


_NOTHING = np.empty(0, np.uint8)
