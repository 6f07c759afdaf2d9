"""Lays a plan out as rows for CUDA: function, groups, and the words that each row hands over.

Layer: runtime. Each argument of a row has a word of 64 bits, and CUDA is given the addresses of the words. Invariant:
words stay where they are as long as the table lives.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

import numpy as np

from loom.core.late.dataclass import dataclass
from loom.runtime.drivers.cuda.kernels import LoadedFunction
from loom.runtime.drivers.cuda.memory import CudaStorage
from loom.runtime.drivers.cuda.opened import OpenGpu
from loom.runtime.drivers.cuda.overlap import NO_OVERLAP
from loom.runtime.drivers.rows.table import RowItem, RowTable, memory_of
from loom.runtime.memory.storage import HostSlot, Storage
from loom.runtime.plans.library import LibraryKernel
from loom.runtime.plans.plan import Plan
from loom.targets.llvm.machine import PLACED_ELEMENTS, PLACED_NBYTES

__all__ = ["FEW_ROWS", "LaunchItem", "LaunchTable"]

Array = np.ndarray[Any, Any]
_PART_WORDS = 6
FEW_ROWS = 8
"""As many are launched as they are, and more as a graph."""


@dataclass(eq=False)
class LaunchItem(RowItem[LoadedFunction]):
    """An item with its words; ``slots`` are (slot, column of its address); ``log`` is the column of the log's."""

    words: Array = field(init=False)
    pointers: Array = field(init=False)
    log: int = 0
    slots: list[tuple[HostSlot, int]] = field(default_factory=list[tuple[HostSlot, int]])

    @property
    def is_placed(self) -> bool:
        """Whether all buffers, as attached now, lie as code for ``placed`` ones takes them to."""
        buffers = self.words[:, : 2 * len(self.bound)]
        return not (buffers[:, ::2] % PLACED_NBYTES).any() and bool((buffers[:, 1::2] < PLACED_ELEMENTS).all())

    def parameters_at(self, turn: int) -> int:
        """Return where CUDA finds the addresses of a row's words."""
        return self.pointers.ctypes.data + turn * self.pointers.strides[0]

    @property
    def by_library(self) -> bool:
        """Whether it is no kernel but a call of a library, which no graph has."""
        return isinstance(self.kernel.verified, LibraryKernel)


class LaunchTable(RowTable[LaunchItem]):
    """``overlap`` is the device's when the table was made: kernels are loaded for it then and later."""

    kind = LaunchItem

    def __init__(self, device: OpenGpu, plan: Plan) -> None:
        self.device = device
        self.overlap = device.overlap if plan.count > FEW_ROWS else NO_OVERLAP
        self.most: Array = np.array([device.gpu.limits[f"groups_{axis}"] for axis in "xyz"], np.int64)
        super().__init__(plan)

    def address(self, storage: Storage) -> int:
        """Return where a storage is, or what is attached to a slot; DeviceError if it is another device's."""
        return memory_of(storage, CudaStorage, self.device).address

    def lay(self, item: LaunchItem) -> None:
        item.cut(self.most)
        own = 2 * len(item.bound)
        log = item.log = own + item.params.shape[1]
        words = np.zeros((len(item.numbers), log + 2 + (_PART_WORDS if item.is_cut else 0)), np.uint64)
        for position, (storage, elements) in enumerate(item.bound):
            assert not isinstance(storage, str), "nothing here is a check"
            if isinstance(storage, HostSlot):
                item.slots.append((storage, 2 * position))
            else:
                words[:, 2 * position] = self.address(storage)
            words[:, 2 * position + 1] = elements
        words[:, own:log] = item.params
        words[:, log + 1] = item.numbers
        if item.is_cut:
            words[:, log + 2 : log + 5] = item.whole
            words[:, log + 5 :] = item.starts
        item.words = words
        pointers = words.ctypes.data + 8 * np.arange(words.size, dtype=np.uint64).reshape(words.shape)
        item.pointers = pointers.astype(np.uint64)
        self.choose(item)

    def choose(self, item: LaunchItem) -> None:
        """Take the kernel for how an item's buffers lie now."""
        assert item.dispatch is not None
        kernel, bounds = item.dispatch.kernel, self.device.proofs.bounds(item.dispatch)
        dependents = self.overlap.dependents
        item.kernel = self.device.load(kernel, bounds, cut=item.is_cut, placed=item.is_placed, dependents=dependents)
