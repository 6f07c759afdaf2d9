"""Lays a plan out as the recorder's table: rows, and the words they hand over.

Layer: runtime. Python handles each distinct dispatch once, however often it is repeated. A dispatch of more groups
than the device takes becomes several rows, which tell kernels where their groups start. Before an indirect dispatch
comes ``check_counts``, which puts the counts where the dispatch looks and reports those beyond the limits.
Invariant: rows are in the plan's order, and the words they point to live as long as the table.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from loom.core.late.dataclass import dataclass
from loom.runtime.drivers.counts import STATUS_WORDS, check_counts
from loom.runtime.drivers.rows import cut_groups, fill_words
from loom.runtime.drivers.vulkan.handles.foreign import pack_params, refuse_many_groups
from loom.runtime.drivers.vulkan.handles.kernels import LoadedKernel
from loom.runtime.drivers.vulkan.handles.opened import OpenAdapter
from loom.runtime.drivers.vulkan.native.memory import VulkanStorage
from loom.runtime.drivers.vulkan.native.recorder import EMPTY, FOR_HEAP, INDIRECT, ROW, WAITS
from loom.runtime.drivers.vulkan.program.lane_heap import most_groups, refuse_indirect
from loom.runtime.memory.storage import Storage
from loom.runtime.plans.dispatch import Dispatch
from loom.runtime.plans.foreign import ForeignKernel
from loom.runtime.plans.groups import largest_groups
from loom.runtime.plans.plan import Plan, PlanStep
from loom.targets.base import Site

__all__ = ["STATUS", "WORDS", "Item", "PlanTable"]

Array = np.ndarray[Any, Any]
WORDS, STATUS = "words", "status"
"""What a check binds beside the counts."""
_ROW_WORDS = ROW.itemsize // 8


@dataclass(frozen=True, eq=False)
class Item:
    """The rows of one distinct ``dispatch``, or of the check before one (None).

    ``bound`` are (storage or WORDS or STATUS, elements); the arrays have one entry per row: ``groups`` of
    ``whole``, from ``starts`` on. ``order`` is where the
    rows come: twice the number of the dispatch in the plan, and one for what a check is made for. ``first`` is
    where their words start in the table of words, for kernels that read them there.
    """

    dispatch: Dispatch | None
    kernel: LoadedKernel
    bound: tuple[tuple[Storage | str, int], ...]
    order: Array
    waits: Array
    params: Array
    groups: Array
    whole: Array
    starts: Array
    first: int
    indirect: bool = False

    @property
    def key(self) -> tuple[Any, ...]:
        """What a descriptor set depends on."""
        bound = ((s if isinstance(s, str) else id(s), n) for s, n in self.bound)
        return id(self.kernel), self.at_once, *bound

    @property
    def at_once(self) -> int:
        """For how many groups the heap must have room, 0 without one."""
        return max(1, int(self.groups.astype(np.int64).prod(axis=1).max(initial=0))) if self.kernel.heap else 0


def _repeated(row: Array, count: int) -> Array:
    """Return so many copies of a row, as an array of two dimensions."""
    found = np.empty((count, row.size), row.dtype)
    found[:] = row
    return found


class PlanTable:
    """``rows`` lack descriptor sets; ``owners`` gives each row's item; ``words`` are on the device, if needed.

    ``slots`` counts the slots that indirect dispatches have in the status, ``checked`` gives the number of each's
    dispatch.
    """

    def __init__(self, device: OpenAdapter, plan: Plan) -> None:
        self.device = device
        self.plan = plan
        self.items: list[Item] = []
        self.checked: list[int] = []
        self._in_table = 0
        number = 0
        for repeats, steps in plan.segments:
            for position, step in enumerate(steps):
                self._add(step, number + position + np.arange(repeats) * len(steps))
            number += repeats * len(steps)
        self.words: VulkanStorage | None = device.memory.allocate(4 * self._in_table) if self._in_table else None
        self.words_size = self._in_table
        self._kept: list[Array] = []
        whole = np.zeros(self._in_table, np.uint32)
        parts = [self._rows(item, whole) for item in self.items]
        if self.words is not None:
            self.words.write(0, whole.view(np.uint8))
        self.rows = parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, ROW), *parts])
        self.owners = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
        if len(parts) > 1:
            ranks = np.argsort(np.concatenate([i.order for i in self.items]), kind="stable")
            self.rows = self.rows.view(np.uint64).reshape(-1, _ROW_WORDS)[ranks].reshape(-1).view(ROW)
            self.owners = self.owners[ranks]

    @property
    def slots(self) -> int:
        """Slots of the status."""
        return len(self.checked)

    def sites_of(self, number: int) -> tuple[Site, ...]:
        """Return the sites of the kernel of dispatch ``number``."""
        dispatch = self.plan.step_of(number).dispatch
        return next(i.kernel.sites for i in self.items if i.dispatch is dispatch)

    # which rows there are

    def _add(self, step: PlanStep, numbers: Array) -> None:
        dispatch = step.dispatch
        bounds = self.device.proofs.bounds(dispatch)
        kernel = self.device.load(dispatch.kernel, bounds, counted=dispatch.indirect is not None)
        bound = tuple((b.storage, b.elements) for b in dispatch.bindings)
        order, groups, waits = 2 * numbers + 1, dispatch.groups, step.waits
        starts = np.broadcast_to(np.int64(0), groups.shape)
        indirect = dispatch.indirect is not None
        if indirect and kernel.heap:
            refuse_indirect(self.device, kernel)
        if indirect:
            waits = np.ones_like(waits)
        item = Item(
            dispatch, kernel, bound, order, waits, dispatch.params, groups, groups, starts, self._in_table, indirect
        )
        item = self._cut(item)
        self._grow(kernel, len(item.order))
        if indirect:
            self._add_check(step, item)
        self.items.append(item)

    def _grow(self, kernel: LoadedKernel, rows: int) -> None:
        if kernel.push.in_table:
            self._in_table += kernel.push.words * rows

    def _add_check(self, step: PlanStep, item: Item) -> None:
        """Add the check before an indirect dispatch."""
        dispatch, numbers, push = step.dispatch, item.order // 2, item.kernel.push
        assert dispatch.indirect is not None
        storage, offset = dispatch.indirect
        limits = self.device.adapter.limits
        turns = np.arange(len(numbers))
        check = self.device.load(check_counts.verified)
        params = np.zeros((len(numbers), len(check_counts.verified.kernel.params)), np.uint64)
        params[:, 0] = offset // 4
        params[:, 1] = item.first + push.groups + turns * push.words
        params[:, 2] = self.slots + turns
        params[:, 3:6] = largest_groups(dispatch.kernel)
        params[:, 6:9] = [limits[f"groups_{axis}"] for axis in "xyz"]
        bound = ((storage, storage.nbytes // 4), (WORDS, 0), (STATUS, 0))
        ones = np.ones((len(numbers), 3), np.int64)
        self.items.append(
            Item(None, check, bound, 2 * numbers, ones[:, 0] > 0, params, ones, ones, ones * 0, self._in_table)
        )
        self._grow(check, len(numbers))
        self.checked += numbers.tolist()

    def _cut(self, item: Item) -> Item:
        """Give turns with more groups than the device takes, or its heap has room for, several rows."""
        most = most_groups(self.device, item.kernel, item.groups.max(axis=0, initial=1).tolist())
        parts = cut_groups(item.groups, np.array(most, np.int64))
        if parts is None:
            return item
        if isinstance(item.kernel.verified, ForeignKernel):
            refuse_many_groups(self.device, item.kernel.verified, tuple(item.groups.max(axis=0).tolist()))
        origin = parts.origin
        waits = item.waits[origin] & (parts.turn == 0)
        return replace(
            item, order=item.order[origin], waits=waits, params=item.params[origin], groups=parts.groups,
            whole=item.groups[origin].astype(np.int64), starts=parts.starts,
        )  # fmt: skip

    # what is in them

    def _rows(self, item: Item, whole: Array) -> Array:
        api, kernel, count, first = self.device.api, item.kernel, len(item.order), item.first
        words = self._words_of(item)
        if kernel.push.in_table:
            whole[first : first + words.size] = words.reshape(-1)
            words = (first + np.arange(count) * kernel.push.words).astype(np.uint32).reshape(-1, 1)
        self._kept.append(words)
        row = np.zeros(1, ROW)
        row["pipeline"], row["layout"] = api.address(kernel.pipeline), api.address(kernel.layout)
        row["nbytes"], row["groups"] = kernel.push.nbytes, item.groups[:1]
        rows = _repeated(row.view(np.uint64), count).view(ROW).reshape(-1)
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

    def _words_of(self, item: Item) -> Array:
        """Return the words of every row."""
        if isinstance(item.kernel.verified, ForeignKernel):
            return pack_params(item.kernel.verified, item.params)
        push, kernel = item.kernel.push, item.kernel.verified.kernel
        sizes = {WORDS: self._in_table, STATUS: STATUS_WORDS * self.slots}
        lengths = [sizes.get(s, n) if isinstance(s, str) else n for s, n in item.bound]
        words = np.empty((len(item.order), push.words), np.uint32)
        fill_words(words, kernel, push, item.params, lengths, item.order // 2, item.whole, item.starts)
        return words
