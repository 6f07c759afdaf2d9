"""Lays a plan out as rows for compute passes: kernel, memory, groups, and the words that each row hands over.

Layer: runtime. Words of an indirect dispatch lie in a buffer of their own, where the check before it puts the counts.
Invariant: a row's words begin where the device takes a uniform buffer to.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.late.dataclass import dataclass
from loom.runtime.drivers.rows.table import RowItem, WordTable
from loom.runtime.drivers.webgpu.kernels import LoadedPipeline
from loom.runtime.drivers.webgpu.opened import OpenWebGpu
from loom.runtime.plans.plan import Plan

__all__ = ["PassItem", "PassTable"]

_UNIFORM, _INDIRECT = 0x40, 0x100


@dataclass(eq=False)
class PassItem(RowItem[LoadedPipeline]):
    """An item with its kernel for memory of which nothing is bound twice."""

    @property
    def reports(self) -> bool:
        """Whether the dispatch tells of an index outside, whatever the settings."""
        return self.dispatch is not None and self.dispatch.reports


class PassTable(WordTable[PassItem]):
    """``fixed`` and ``live`` are the words, in device memory; those of indirect dispatches are live."""

    kind = PassItem

    def __init__(self, device: OpenWebGpu, plan: Plan) -> None:
        self.device = device
        self._size = {False: 0, True: 0}
        most = device.adapter.limits["groups"]
        self.limits = f"{most} along a dimension"
        super().__init__(plan, [most] * 3)
        self.fixed = self._table(live=False)
        self.live = self._table(live=True)

    @property
    def completed_words(self) -> int:
        return self._size[True]

    def load(self, item: PassItem) -> None:
        slots = tuple(range(len(item.bound)))
        item.kernel = self.device.load(item.verified, slots, reports=item.reports)
        nbytes = -(-(item.kernel.push.words + len(item.bound)) // 4) * 16
        alignment = max(16, self.device.adapter.limits["words_alignment"])
        item.stride = -(-nbytes // alignment) * alignment // 4
        item.cut(self.most)

    def place(self, item: PassItem, words: int) -> int:
        first = self._size[item.indirect]
        self._size[item.indirect] += words
        return first

    def _table(self, *, live: bool) -> Any:
        parts = [self.words_of(item).reshape(-1) for item in self.items if item.indirect == live]
        if not parts:
            return None
        words = np.concatenate(parts)
        buffer = self.device.memory.buffer(words.nbytes, _UNIFORM | (_INDIRECT if live else 0))
        self.device.memory.upload(buffer, 0, words.view(np.uint8))
        return buffer
