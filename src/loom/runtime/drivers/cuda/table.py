"""Lays a plan out as rows for CUDA: function, groups, and the words that each row hands over.

Layer: runtime. Python handles each distinct dispatch once, however often it is repeated. Each argument of a row has a
word of 64 bits, and CUDA is given the addresses of the words. A dispatch of more groups than the GPU takes becomes
several rows. Invariant: rows are in the plan's order; words stay where they are as long as the table lives.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from loom.core.errors import DeviceError
from loom.runtime.drivers.cuda.kernels import LoadedFunction
from loom.runtime.drivers.cuda.memory import CudaStorage
from loom.runtime.drivers.cuda.opened import OpenGpu
from loom.runtime.drivers.rows import GroupParts, cut_groups
from loom.runtime.plans.dispatch import Dispatch
from loom.runtime.plans.plan import Plan, PlanStep
from loom.runtime.storage import HostSlot, Storage
from loom.targets.base import Site

__all__ = ["LaunchItem", "LaunchTable"]

Array = np.ndarray[Any, Any]
_PART_WORDS = 6


@dataclass(eq=False)
class LaunchItem:
    """The rows of one distinct dispatch; arrays have an entry per row.

    ``slots`` are (slot, column of its address); ``log`` is the column of the log's address.
    """

    dispatch: Dispatch
    kernel: LoadedFunction
    numbers: Array
    groups: Array
    waits: Array
    words: Array
    pointers: Array
    log: int
    slots: list[tuple[HostSlot, int]] = field(default_factory=list[tuple[HostSlot, int]])

    def given(self, turn: int) -> int:
        """Return where CUDA finds the addresses of a row's words."""
        return self.pointers.ctypes.data + turn * self.pointers.strides[0]

    @property
    def indirect(self) -> bool:
        """Whether the groups are read from memory."""
        return self.dispatch.indirect is not None


class LaunchTable:
    """``items``, and in the plan's order the item (``owners``) and its row (``turns``) of each row."""

    def __init__(self, device: OpenGpu, plan: Plan) -> None:
        self.device = device
        self.plan = plan
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
        kernel = self.device.load(dispatch.kernel, cut=parts is not None)
        whole = groups
        if parts is not None:
            origin = parts.origin
            numbers, params, waits = numbers[origin], params[origin], waits[origin] & (parts.turn == 0)
            whole, groups = groups[origin], parts.groups
        return self.laid_out(dispatch, kernel, numbers, params, groups, waits, whole, parts)

    def laid_out(
        self, dispatch: Dispatch, kernel: LoadedFunction, numbers: Array, params: Array, groups: Array, waits: Array,
        whole: Array, parts: GroupParts | None,
    ) -> LaunchItem:  # fmt: skip
        """Return rows with their words."""
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
        return LaunchItem(dispatch, kernel, numbers, groups, waits, words, pointers.astype(np.uint64), log, slots)
