"""Where a device finds what a call is given, and how what the kernel wrote gets back.

Layer: runtime. Arrays of the host that a device uses in place are attached as they are; a copy stands for one that has
gaps, another byte order, or a device that cannot see it, and what was written is copied back. Invariant: after the call
the caller's array holds what the kernel wrote, and nothing else of it has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from loom.core.arrays import read_as, share_elements
from loom.core.errors import ArgumentError
from loom.core.fixed import Fixed, floats_of
from loom.core.given import is_array
from loom.ir.kernel import Memory
from loom.runtime.chain.arguments import check_binding, on_another_device
from loom.runtime.chain.extents import Array
from loom.runtime.chain.kept import shares_memory
from loom.runtime.chain.mirrors import as_data
from loom.runtime.chain.timeline import MOVING
from loom.runtime.memory.order import using
from loom.runtime.memory.storage import HostStorage, Storage, TypedStorage
from loom.runtime.port.device import Device
from loom.runtime.port.elements import Readable, Returning

__all__ = ["CallBuffer", "fetch", "in_order", "operand", "read_list"]


class CallBuffer:
    """One buffer of a call: its ``memory`` for the device, its elements; ``back`` puts home what was written."""

    __slots__ = ("_cells", "_copy", "_given", "_home", "elements", "extent", "memory", "on_host", "shape", "window")

    def __init__(self, memory: Any, elements: int, shape: tuple[int, ...], extent: tuple[int, int], given: Any = None,
                 ) -> None:  # fmt: skip
        self.memory: Array | Storage = memory
        self._given = given
        self._cells: Fixed | None = None
        self.elements = elements
        self.shape = shape
        self.extent = extent
        self.on_host = is_array(memory)
        self.window: Returning | None = None
        self._home: Array | None = None
        self._copy: Array | None = None

    def overlaps(self, other: CallBuffer) -> bool:
        """Tell whether it shares an element with another; of arrays about which that is hard to tell, memory."""
        if max(self.extent[0], other.extent[0]) >= min(self.extent[1], other.extent[1]):
            return False
        if not (is_array(self._given) and is_array(other._given)):
            return True
        return share_elements(self._given, other._given)

    def stands_for(self, home: Array, copy: Array, cells: Fixed | None, *, writes: bool) -> None:
        """Take note that ``copy``, cells of a type if ``home`` has floats for them, stands for it, and is written."""
        self._cells = cells
        if writes:
            self._home, self._copy = home, copy

    def fetch(self, where: Device) -> None:
        """Take what an array of the host holds, and put it where a device that has memory of its own finds it."""
        array, home = self.memory, self._given
        if not isinstance(array, np.ndarray):
            return
        if array is not home:
            is_writeable, array.flags.writeable = array.flags.writeable, True
            array[...] = home if self._cells is None else self._cells.encode(home)
            array.flags.writeable = is_writeable
        if shares_memory(where):
            return
        self._copy = array
        self.memory = where.allocate(array.nbytes, zeroed=False)
        self.memory.write(0, array.reshape(-1).view(np.uint8))

    def snapshot(self) -> Callable[[], None]:
        """Take a copy of what is there; return what puts it back."""
        memory = self.memory
        if isinstance(memory, np.ndarray):
            kept = memory.copy()
            return lambda: memory.__setitem__(..., kept)
        held = memory.read(0, memory.nbytes)
        return lambda: memory.write(0, held)

    def back(self) -> None:
        """Bring what was written to the caller's array, once the run is over."""
        copy = self._copy
        if copy is None:
            return
        memory = self.memory
        if not isinstance(memory, np.ndarray):
            copy.reshape(-1).view(np.uint8)[...] = memory.read(0, copy.nbytes)
        if self._home is not None:
            self._home[...] = copy if self._cells is None else floats_of(copy, self._cells, self._home.dtype)


def read_list(given: Any, memory: Memory, where: str) -> Array:
    """Return a list, which only an input may be, as an array."""
    named = f"{where}, buffer {memory.name!r}"
    return read_as(given, memory.dtype.scalar if memory.fixed is None else memory.fixed.dtype, named)


def operand(given: Any, memory: Memory, where: str, device: Device, *, writes: bool) -> CallBuffer:
    """Return what a buffer is given as memory for ``device``; errors as of a dispatch."""
    named = f"{where}, buffer {memory.name!r}"
    found = as_data(given, memory, named)
    if is_array(found):
        return _of_host(found, memory, where, writes)
    elements = check_binding(memory, found, where)
    if isinstance(found, TypedStorage):
        if found.device is not device:
            raise on_another_device(named, device, found.device)
        return CallBuffer(found.storage, elements, found.shape, found.extent(), given)
    if not isinstance(found, Readable):
        return CallBuffer(found, elements, (elements,), found.extent())
    window = found.lend_part() if writes else None
    storage, home = found.lend_once(named, writes=writes)
    both = isinstance(storage, HostStorage) and shares_memory(device)
    if home is not device and not both:
        raise on_another_device(named, device, home)
    made = CallBuffer(storage, elements, found.shape, storage.extent())
    made.window = window
    return made


def _of_host(array: Array, memory: Memory, where: str, writes: bool) -> CallBuffer:
    home, flags = array, array.flags
    if not (flags.c_contiguous and flags.aligned and array.dtype.isnative):
        if writes and flags.writeable:
            _refuse_overlapping(array, f"{where}, buffer {memory.name!r}")
        array = np.empty(array.shape, array.dtype.newbyteorder("="))
    cells = memory.fixed if memory.fixed is not None and array.dtype.kind == "f" else None
    if cells is not None:
        if writes and not home.flags.writeable:
            raise ArgumentError(f"{where}, buffer {memory.name!r}", "the array is read-only",
                                expected="a writable array", remedy="Pass a copy")  # fmt: skip
        array = np.empty(array.shape, np.int64)
    if not home.flags.writeable and array is not home:
        array.flags.writeable = False
    elements = check_binding(memory, array, where)
    start = home.__array_interface__["data"][0]
    found = CallBuffer(array, elements, home.shape, _extent(home, start), home)
    if array is not home:
        found.stands_for(home, array, cells, writes=writes)
    return found


def in_order(operands: Sequence[CallBuffer], written: Sequence[bool], device: Device) -> AbstractContextManager[None]:
    """Let a call use what it is given in a ``with`` block, in order with all that uses the same arrays of the host.

    Programs of a device with memory of its own enter arrays of the host first and storages then, and so do its calls;
    those of others enter both at once.
    """
    pairs = list(zip(operands, written, strict=True))
    on_host = [(each.extent, writes) for each, writes in pairs if each.on_host]
    if not on_host:
        return nullcontext()
    there = [(e.memory, w) for e, w in pairs if not isinstance(e.memory, np.ndarray)] if shares_memory(device) else []
    return using(
        [memory for memory, writes in there if not writes],
        [memory for memory, writes in there if writes],
        reads_at=[extent for extent, writes in on_host if not writes],
        writes_at=[extent for extent, writes in on_host if writes],
    )


def fetch(operands: Sequence[CallBuffer], device: Device) -> None:
    """Take what arrays of the host hold, in the block of ``in_order``, after all runs that write them."""
    MOVING.bring_back([each.extent for each in operands if each.on_host])
    for each in operands:
        each.fetch(device)


def _extent(array: Array, start: int) -> tuple[int, int]:
    """Return where an array of any strides starts and ends."""
    if array.flags.c_contiguous or not array.size:
        return start, start + array.nbytes
    reach = [(n - 1) * stride for n, stride in zip(array.shape, array.strides, strict=True)]
    return start + sum(r for r in reach if r < 0), start + sum(r for r in reach if r > 0) + array.itemsize


def _refuse_overlapping(array: Array, where: str) -> None:
    """See that no two elements of an array share memory."""
    covered = array.itemsize
    for stride, n in sorted((abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if n > 1):
        if stride < covered:
            raise ArgumentError(where, "elements of the array share memory", expected="an element for each place",
                                got=f"strides {array.strides}", remedy="Pass a copy")  # fmt: skip
        covered += (n - 1) * stride
