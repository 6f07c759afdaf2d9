"""Lays a plan out as the recorder's table: rows, and the words they hand over.

Layer: runtime. A dispatch of more groups than the heap has room for, too, becomes several rows. Words that a check
completes, or that are more than a device takes pushed, lie in a table on the device. Invariant: the words that rows
point to live as long as the table.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.late.dataclass import dataclass
from loom.runtime.drivers.rows.table import RowItem, WordTable
from loom.runtime.drivers.vulkan.handles.foreign import pack_params, refuse_many_groups
from loom.runtime.drivers.vulkan.handles.kernels import LoadedKernel
from loom.runtime.drivers.vulkan.handles.opened import OpenAdapter
from loom.runtime.drivers.vulkan.native.memory import VulkanStorage
from loom.runtime.drivers.vulkan.native.recorder import EMPTY, FOR_HEAP, INDIRECT, ROW, WAITS
from loom.runtime.drivers.vulkan.program.lane_heap import most_groups, refuse_indirect
from loom.runtime.plans.foreign import ForeignKernel
from loom.runtime.plans.plan import Plan

__all__ = ["Item", "PlanTable"]

Array = np.ndarray[Any, Any]
_ROW_WORDS = ROW.itemsize // 8


@dataclass(eq=False)
class Item(RowItem[LoadedKernel]):
    """An item with its pipeline."""

    @property
    def key(self) -> tuple[Any, ...]:
        """What a descriptor set depends on."""
        bound = ((s if isinstance(s, str) else id(s), n) for s, n in self.bound)
        return id(self.kernel), self.at_once, *bound

    @property
    def at_once(self) -> int:
        """For how many groups the heap must have room, 0 without one."""
        return max(1, int(self.groups.astype(np.int64).prod(axis=1).max(initial=0))) if self.kernel.heap else 0


def _repeat(row: Array, count: int) -> Array:
    """Return so many copies of a row, as an array of two dimensions."""
    found = np.empty((count, row.size), row.dtype)
    found[:] = row
    return found


class PlanTable(WordTable[Item]):
    """``table`` has what the recorder reads, but for descriptor sets; ``words`` are on the device, if needed."""

    kind = Item

    def __init__(self, device: OpenAdapter, plan: Plan) -> None:
        self.device = device
        self._in_table = 0
        limits = device.adapter.limits
        most = tuple(limits[f"groups_{axis}"] for axis in "xyz")
        self.limits = str(most)
        super().__init__(plan, most)
        self.words: VulkanStorage | None = device.memory.allocate(4 * self._in_table) if self._in_table else None
        self._kept: list[Array] = []
        whole = np.zeros(self._in_table, np.uint32)
        parts = [self._rows(item, whole) for item in self.items]
        if self.words is not None:
            self.words.write(0, whole.view(np.uint8))
        self.table = parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, ROW), *parts])
        if len(parts) > 1:
            ranked = self.table.view(np.uint64).reshape(-1, _ROW_WORDS)[self.ranks]
            self.table = ranked.reshape(-1).view(ROW)

    @property
    def completed_words(self) -> int:
        return self._in_table

    # which rows there are

    def load(self, item: Item) -> None:
        bounds = None if item.dispatch is None else self.device.proofs.bounds(item.dispatch)
        kernel = item.kernel = self.device.load(item.verified, bounds, counted=item.indirect)
        item.stride = kernel.push.words
        if item.indirect and kernel.heap:
            refuse_indirect(self.device, kernel)
        most = self.most
        if kernel.heap:
            most = np.array(most_groups(self.device, kernel, item.groups.max(axis=0, initial=1).tolist()), np.int64)
        item.cut(most)
        if item.is_cut and isinstance(kernel.verified, ForeignKernel):
            refuse_many_groups(self.device, kernel.verified, tuple(item.whole.max(axis=0).tolist()))

    def place(self, item: Item, words: int) -> int:
        first = self._in_table
        if item.kernel.push.in_table:
            self._in_table += words
        return first

    # what is in them

    def words_of(self, item: Item) -> Array:
        if isinstance(item.kernel.verified, ForeignKernel):
            return pack_params(item.kernel.verified, item.params)
        return super().words_of(item)

    def _rows(self, item: Item, whole: Array) -> Array:
        api, kernel, count, first = self.device.api, item.kernel, len(item.numbers), item.first
        words = self.words_of(item)
        if kernel.push.in_table:
            whole[first : first + words.size] = words.reshape(-1)
            words = (first + np.arange(count) * kernel.push.words).astype(np.uint32).reshape(-1, 1)
        self._kept.append(words)
        row = np.zeros(1, ROW)
        row["pipeline"], row["layout"] = api.address(kernel.pipeline), api.address(kernel.layout)
        row["nbytes"], row["groups"] = kernel.push.nbytes, item.groups[:1]
        rows = _repeat(row.view(np.uint64), count).view(ROW).reshape(-1)
        rows["words"] = words.ctypes.data + np.arange(count, dtype=np.uint64) * np.uint64(words.strides[0])
        if (item.groups != item.groups[0]).any():
            rows["groups"] = item.groups
        rows["flags"] = item.waits * np.uint32(WAITS)
        if kernel.heap:
            rows["flags"] |= np.where(item.waits, np.uint32(0), np.uint32(WAITS | FOR_HEAP))
        if not item.groups.all():
            rows["flags"] |= (item.groups == 0).any(axis=1) * np.uint32(EMPTY)
        if item.indirect:
            assert self.words is not None
            at = first + kernel.push.groups + np.arange(count) * kernel.push.words
            rows["flags"] = WAITS | INDIRECT
            rows["counts"] = api.address(self.words.arena.buffer.handle)
            rows["offset"] = self.words.offset + 4 * at
        return rows
