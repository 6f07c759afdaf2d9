"""Lays a plan out as rows for compute passes: kernel, memory, groups, and the words that each row hands over.

Layer: runtime. Python handles each distinct dispatch once, however often it is repeated. A dispatch of more groups than
the device takes becomes several rows. Words of an indirect dispatch lie in a buffer of their own, where
``check_counts``, which comes before it, puts the counts. Invariant: rows are in the plan's order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.late.dataclass import dataclass
from loom.ir.verified import VerifiedKernel
from loom.runtime.drivers.counts import STATUS_WORDS, check_counts
from loom.runtime.drivers.rows import cut_groups, fill_words
from loom.runtime.drivers.webgpu.opened import OpenWebGpu
from loom.runtime.memory.storage import Storage
from loom.runtime.plans.dispatch import Dispatch
from loom.runtime.plans.groups import largest_groups
from loom.runtime.plans.plan import Plan, PlanStep
from loom.targets.base import Site
from loom.targets.base.push_layout import PushLayout, push_layout
from loom.targets.wgsl.features import Features

__all__ = ["LIVE", "STATUS", "RowItem", "RowTable"]

Array = np.ndarray[Any, Any]
LIVE, STATUS = "live", "status"
"""What a check binds beside the counts: the words of indirect dispatches, and what it found."""


@dataclass(frozen=True, eq=False)
class RowItem:
    """The rows of one distinct ``dispatch``, or of the check before one (None); arrays have an entry per row.

    ``order``: twice the number of the dispatch in the plan, and one for what a check is made for. ``first`` and
    ``stride``: where a row's words begin, in bytes, in the table or, of an indirect dispatch, in the live one.
    """

    dispatch: Dispatch | None
    kernel: VerifiedKernel
    bound: tuple[tuple[Storage | str, int], ...]
    order: Array
    groups: Array
    waits: Array
    first: int
    stride: int
    push: PushLayout
    indirect: bool

    @property
    def reports(self) -> bool:
        """Whether the dispatch tells of an index outside, whatever the settings."""
        return self.dispatch is not None and self.dispatch.reports


class RowTable:
    """``items``, ``rows`` as (item, row of it) in order; ``fixed`` and ``live`` are the words, in device memory."""

    def __init__(self, device: OpenWebGpu, plan: Plan) -> None:
        self.device = device
        self.plan = plan
        self.items: list[RowItem] = []
        self.checked: list[int] = []
        self._parts: dict[bool, list[Array]] = {False: [], True: []}
        self._size = {False: 0, True: 0}
        number = 0
        for repeats, steps in plan.segments:
            for position, step in enumerate(steps):
                self._add(step, number + position + np.arange(repeats) * len(steps))
            number += repeats * len(steps)
        self.fixed = self._table(live=False)
        self.live = self._table(live=True)
        self.live_nbytes = self._size[True]
        order = np.concatenate([np.zeros(0, np.int64), *(i.order for i in self.items)])
        owner = np.repeat(np.arange(len(self.items)), [len(i.order) for i in self.items])
        turn = np.concatenate([np.zeros(0, np.int64), *(np.arange(len(i.order)) for i in self.items)])
        ranks = np.argsort(order, kind="stable")
        self.owners: Array = owner[ranks]
        self.turns: Array = turn[ranks]

    @property
    def slots(self) -> int:
        """Slots of the status."""
        return len(self.checked)

    def sites_of(self, number: int) -> tuple[Site, ...]:
        """Return the sites of the kernel of dispatch ``number``."""
        dispatch = self.plan.step_of(number).dispatch
        slots = tuple(range(len(dispatch.kernel.buffers)))
        return self.device.load(dispatch.kernel, slots, reports=dispatch.reports).sites

    def _add(self, step: PlanStep, numbers: Array) -> None:
        dispatch = step.dispatch
        indirect = dispatch.indirect is not None
        bound = tuple((b.storage, b.elements) for b in dispatch.bindings)
        groups, starts, params, order, waits = (
            dispatch.groups.astype(np.int64), np.zeros((len(numbers), 3), np.int64), dispatch.params,
            2 * numbers + 1, step.waits,
        )  # fmt: skip
        whole = groups
        most = np.full(3, self.device.adapter.limits["groups"], np.int64)
        parts = None if indirect else cut_groups(groups, most)
        if parts is not None:
            whole, groups, starts = groups[parts.origin], parts.groups, parts.starts
            params, order = params[parts.origin], order[parts.origin]
            waits = waits[parts.origin] & (parts.turn == 0)
        if indirect:
            waits = np.ones_like(waits)
            self._add_check(step, numbers)
        lengths = [n for _, n in bound]
        first, stride, push = self._words(dispatch.kernel, params, lengths, order, whole, starts, live=indirect)
        self.items.append(
            RowItem(dispatch, dispatch.kernel, bound, order, groups, waits, first, stride, push, indirect)
        )

    def _add_check(self, step: PlanStep, numbers: Array) -> None:
        """Add the check before an indirect dispatch, whose words come next in the live table."""
        dispatch = step.dispatch
        assert dispatch.indirect is not None
        storage, offset = dispatch.indirect
        push, stride = self._layout(dispatch.kernel)
        turns = np.arange(len(numbers))
        params = np.zeros((len(numbers), len(check_counts.verified.kernel.params)), np.uint64)
        params[:, 0] = offset // 4
        params[:, 1] = self._size[True] // 4 + push.groups + turns * (stride // 4)
        params[:, 2] = self.slots + turns
        params[:, 3:6] = largest_groups(dispatch.kernel)
        params[:, 6:9] = self.device.adapter.limits["groups"]
        self.checked += numbers.tolist()
        live, status = self._size[True] // 4 + len(numbers) * (stride // 4), STATUS_WORDS * self.slots
        bound = ((storage, storage.nbytes // 4), (LIVE, live), (STATUS, status))
        ones = np.ones((len(numbers), 3), np.int64)
        order, lengths = 2 * numbers, [n for _, n in bound]
        first, stride, push = self._words(check_counts.verified, params, lengths, order, ones, ones * 0, live=False)
        self.items.append(
            RowItem(None, check_counts.verified, bound, order, ones, ones[:, 0] > 0, first, stride, push, False)
        )

    def _layout(self, kernel: VerifiedKernel) -> tuple[PushLayout, int]:
        """Return a kernel's words, and from one row's to the next how many bytes there are."""
        features: Features = self.device.features
        push = push_layout(kernel.kernel, features)
        nbytes = -(-(push.words + len(kernel.buffers)) // 4) * 16
        alignment = max(16, self.device.adapter.limits["words_alignment"])
        return push, -(-nbytes // alignment) * alignment

    def _words(
        self, kernel: VerifiedKernel, params: Array, lengths: list[int], order: Array, whole: Array, starts: Array,
        *, live: bool,
    ) -> tuple[int, int, PushLayout]:  # fmt: skip
        push, stride = self._layout(kernel)
        rows = np.zeros((len(order), stride // 4), np.uint32)
        fill_words(rows, kernel.kernel, push, params, lengths, order // 2, whole, starts)
        first = self._size[live]
        self._parts[live].append(rows.reshape(-1))
        self._size[live] += rows.nbytes
        return first, stride, push

    def _table(self, *, live: bool) -> Any:
        if not self._parts[live]:
            return None
        words = np.concatenate(self._parts[live])
        uniform, indirect = 0x40, 0x100
        buffer = self.device.memory.buffer(words.nbytes, uniform | (indirect if live else 0))
        self.device.memory.upload(buffer, 0, words.view(np.uint8))
        self._parts[live].clear()
        return buffer
