"""Lays a plan out as rows for CUDA: function, groups, and the words that each row hands over.

Layer: runtime. Python handles each distinct dispatch once, however often it is repeated. Each argument of a row has a
word of 64 bits, and CUDA is given the addresses of the words. A dispatch of more groups than the GPU takes becomes
several rows. Invariant: rows are in the plan's order; words stay where they are as long as the table lives.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

import numpy as np

from loom.core.errors import DeviceError
from loom.core.late.dataclass import dataclass
from loom.runtime.drivers.cuda.kernels import LoadedFunction
from loom.runtime.drivers.cuda.memory import CudaStorage
from loom.runtime.drivers.cuda.opened import OpenGpu
from loom.runtime.drivers.cuda.overlap import NO_OVERLAP
from loom.runtime.drivers.rows import GroupParts, cut_groups
from loom.runtime.memory.storage import HostSlot, Storage
from loom.runtime.plans.dispatch import Dispatch
from loom.runtime.plans.library import LibraryKernel
from loom.runtime.plans.plan import Plan, PlanStep
from loom.targets.base import Site
from loom.targets.llvm.machine import PLACED_ELEMENTS, PLACED_NBYTES

__all__ = ["FEW_ROWS", "LaunchItem", "LaunchTable"]

Array = np.ndarray[Any, Any]
_PART_WORDS = 6
FEW_ROWS = 8
"""As many are launched as they are, and more as a graph."""


@dataclass(eq=False)
class LaunchItem:
    """The rows of one distinct dispatch; arrays have an entry per row.

    ``cut``: they are parts of dispatches. ``slots`` are (slot, column of its address); ``log`` is the column of the
    log's address.
    """

    dispatch: Dispatch
    cut: bool
    numbers: Array
    groups: Array
    waits: Array
    words: Array
    pointers: Array
    log: int
    slots: list[tuple[HostSlot, int]] = field(default_factory=list[tuple[HostSlot, int]])
    kernel: LoadedFunction = field(init=False)

    @property
    def is_placed(self) -> bool:
        """Whether all buffers, as attached now, lie as code for ``placed`` ones takes them to."""
        buffers = self.words[:, : 2 * len(self.dispatch.bindings)]
        return not (buffers[:, ::2] % PLACED_NBYTES).any() and bool((buffers[:, 1::2] < PLACED_ELEMENTS).all())

    def given(self, turn: int) -> int:
        """Return where CUDA finds the addresses of a row's words."""
        return self.pointers.ctypes.data + turn * self.pointers.strides[0]

    @property
    def by_library(self) -> bool:
        """Whether it is no kernel but a call of a library, which no graph has."""
        return isinstance(self.kernel.verified, LibraryKernel)

    @property
    def indirect(self) -> bool:
        """Whether the groups are read from memory."""
        return self.dispatch.indirect is not None


class LaunchTable:
    """``items``, and in the plan's order the item (``owners``) and its row (``turns``) of each row.

    ``overlap`` is the device's when the table was made: kernels are loaded for it then and later.
    """

    def __init__(self, device: OpenGpu, plan: Plan) -> None:
        self.device = device
        self.plan = plan
        self.overlap = device.overlap if plan.count > FEW_ROWS else NO_OVERLAP
        limits = device.gpu.limits
        self.most: Array = np.array([limits[f"groups_{axis}"] for axis in "xyz"], np.int64)
        self.items: list[LaunchItem] = []
        number = 0
        for repeats, steps in plan.segments:
            for position, step in enumerate(steps):
                self.items.append(self._item(step, number + position + np.arange(repeats) * len(steps)))
            number += repeats * len(steps)
        numbers = np.concatenate([np.zeros(0, np.int64), *(i.numbers for i in self.items)])
        owners = np.repeat(np.arange(len(self.items)), [len(i.numbers) for i in self.items])
        turns = np.concatenate([np.zeros(0, np.int64), *(np.arange(len(i.numbers)) for i in self.items)])
        ranks = np.argsort(numbers, kind="stable")
        self.owners: Array = owners[ranks]
        self.turns: Array = turns[ranks]

    def sites_of(self, number: int) -> tuple[Site, ...]:
        """Return the sites of the kernel of dispatch ``number``."""
        dispatch = self.plan.step_of(number).dispatch
        return next(i.kernel.sites for i in self.items if i.dispatch is dispatch)

    def address(self, storage: Storage) -> int:
        """Return where a storage is, or what is attached to a slot; DeviceError if it is another device's."""
        found = storage.storage if isinstance(storage, HostSlot) else storage
        if not isinstance(found, CudaStorage) or found.memory.owner is not self.device:
            raise DeviceError(
                f"device {self.device.name!r}", "memory of another device", expected="memory it allocated",
                got=type(found).__name__, remedy="Allocate with chain.device.allocate",
            )  # fmt: skip
        return found.address

    def _item(self, step: PlanStep, numbers: Array) -> LaunchItem:
        dispatch, params, waits = step.dispatch, step.dispatch.params, step.waits
        groups = dispatch.groups.astype(np.int64)
        parts = None if dispatch.indirect is not None else cut_groups(groups, self.most)
        whole = groups
        if parts is not None:
            origin = parts.origin
            numbers, params, waits = numbers[origin], params[origin], waits[origin] & (parts.turn == 0)
            whole, groups = groups[origin], parts.groups
        return self.laid_out(dispatch, numbers, params, groups, waits, whole, parts)

    def laid_out(
        self, dispatch: Dispatch, numbers: Array, params: Array, groups: Array, waits: Array, whole: Array,
        parts: GroupParts | None,
    ) -> LaunchItem:  # fmt: skip
        """Return rows with their words, and the kernel that these words are for."""
        buffers, own = dispatch.bindings, 2 * len(dispatch.bindings)
        log = own + params.shape[1]
        words = np.zeros((len(numbers), log + 2 + (_PART_WORDS if parts is not None else 0)), np.uint64)
        slots: list[tuple[HostSlot, int]] = []
        for position, binding in enumerate(buffers):
            if isinstance(binding.storage, HostSlot):
                slots.append((binding.storage, 2 * position))
            else:
                words[:, 2 * position] = self.address(binding.storage)
            words[:, 2 * position + 1] = binding.elements
        words[:, own:log] = params
        words[:, log + 1] = numbers
        if parts is not None:
            words[:, log + 2 : log + 5] = whole
            words[:, log + 5 :] = parts.starts
        pointers = words.ctypes.data + 8 * np.arange(words.size, dtype=np.uint64).reshape(words.shape)
        pointers = pointers.astype(np.uint64)
        item = LaunchItem(dispatch, parts is not None, numbers, groups, waits, words, pointers, log, slots)
        self.choose(item)
        return item

    def choose(self, item: LaunchItem) -> None:
        """Take the kernel for how an item's buffers lie now."""
        bounds = self.device.proofs.bounds(item.dispatch)
        kernel, dependents = item.dispatch.kernel, self.overlap.dependents
        item.kernel = self.device.load(kernel, bounds, cut=item.cut, placed=item.is_placed, dependents=dependents)
