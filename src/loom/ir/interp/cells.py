"""The elements of one memory as the lanes of a batch see them.

Layer: ir. A buffer is one run of elements; shared memory has one run per workgroup and private memory
one per lane, laid end to end. Invariant: no index reaches another owner's run: outside reads give 0 and
outside writes vanish.
"""

from __future__ import annotations

import numpy as np

from loom.ir.interp.masks import Array, Mask
from loom.ir.kernel import Memory

__all__ = ["Cells", "buffer_cells", "local_cells"]


class Cells:
    """``data`` holds the elements (vectors: one row each); lane l finds element i at ``base[l] + i``."""

    __slots__ = ("base", "data", "memory", "size")

    def __init__(self, memory: Memory, data: Array, size: int, base: Array | None) -> None:
        self.memory = memory
        self.data = data
        self.size = size
        self.base = base

    def inside(self, index: Array) -> Array:
        """Tell for each index whether it is an element."""
        if index.dtype.kind == "u":
            return index < self.size
        return (index >= 0) & (index < self.size)

    def read(self, index: Array) -> Array:
        """Return the elements at ``index``, 0 where there is none."""
        if not self.size:
            return np.zeros((1, *self.data.shape[1:]), self.data.dtype)
        inside = self.inside(index)
        whole = bool(inside.all())
        address = (index if whole else np.where(inside, index, index.dtype.type(0))).astype(np.intp, copy=False)
        if self.base is not None:
            address = self.base + address
        value = self.data.take(address, axis=0)
        if not whole:
            value[np.broadcast_to(~inside, address.shape)] = 0
        return value

    def targets(self, index: Array, mask: Mask) -> tuple[Array | slice, Array]:
        """Return the active lanes whose index is an element, ascending, and the addresses they mean."""
        index = np.broadcast_to(index, mask.active.shape)
        inside = self.inside(index)
        if mask.full and inside.all():
            lanes: Array | slice = slice(None)
        else:
            lanes = np.flatnonzero(inside & mask.active)
        address = index[lanes].astype(np.intp, copy=False)
        return lanes, address if self.base is None else address + self.base[lanes]

    def write(self, index: Array, value: Array, mask: Mask) -> None:
        """Store ``value`` at ``index`` for the active lanes; the highest lane wins where they meet."""
        lanes, address = self.targets(index, mask)
        # numpy assigns repeated indices in order, so the last one stays
        self.data[address] = value if value.shape[0] == 1 else value[lanes]


class _BoolCells(Cells):
    """Bools, of which any byte but 0 is read as True, as compiled code does."""

    __slots__ = ()

    def read(self, index: Array) -> Array:
        return super().read(index).view(np.uint8) != 0


def buffer_cells(memory: Memory, array: Array) -> Cells:
    """Return the cells of a bound array; vectors become rows of the same storage."""
    data = array.reshape(-1, memory.dtype.lanes) if memory.dtype.is_vector else array
    kind = _BoolCells if memory.dtype.is_bool else Cells
    return kind(memory, data, data.shape[0], None)


def local_cells(memory: Memory, owners: int, owner_of_lane: Array) -> Cells:
    """Return zeroed cells, one run for each of ``owners`` (workgroups or lanes)."""
    assert memory.size is not None, f"{memory.name} has no size"
    rows = (memory.dtype.lanes,) if memory.dtype.is_vector else ()
    data = np.zeros((owners * memory.size, *rows), memory.dtype.numpy)
    return Cells(memory, data, memory.size, owner_of_lane * memory.size)
