"""The storage attached to a plan's slots: what stands where a pattern's arrays are given anew for each run.

Layer: runtime. Only storage of the device is attached; patterns bring arrays of the host there first. Invariant: a
recording is used only for the storage it was made for, told apart by arena and offset.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from loom.runtime.drivers.rows.table import memory_of
from loom.runtime.drivers.vulkan.native.context import DeviceContext
from loom.runtime.drivers.vulkan.native.memory import VulkanStorage
from loom.runtime.memory.storage import HostSlot, Storage
from loom.runtime.plans.plan import Plan

__all__ = ["Slots"]


class Slots:
    """The slots of a plan (``all``), of which kernels write those in ``written``, and its storages."""

    def __init__(self, device: DeviceContext, plan: Plan) -> None:
        self.device = device
        self.all: list[HostSlot] = []
        self.written: list[HostSlot] = []
        for _, steps in plan.segments:
            for step in steps:
                dispatch = step.dispatch
                for memory, binding in zip(dispatch.kernel.buffers, dispatch.bindings, strict=True):
                    self._take(binding.storage, memory in dispatch.kernel.writes)
                if dispatch.indirect is not None:
                    self._take(dispatch.indirect[0], False)

    def _take(self, storage: Storage, written: bool) -> None:
        if isinstance(storage, HostSlot):
            for slots in (self.all, self.written) if written else (self.all,):
                if not any(slot is storage for slot in slots):
                    slots.append(storage)

    def any_in(self, bound: Iterable[tuple[Any, int]]) -> bool:
        """Tell whether slots are among what a dispatch binds."""
        return any(isinstance(storage, HostSlot) for storage, _ in bound)

    def memories(self) -> list[VulkanStorage]:
        """Return the storage attached to each slot."""
        return [self.memory(slot) for slot in self.all]

    def bound(self) -> tuple[tuple[int, int], ...]:
        """Return what tells the storage attached from all other: no two arenas ever have one number."""
        return tuple((s.arena.serial, s.offset) for s in self.memories())

    def memory(self, storage: Storage) -> VulkanStorage:
        """Return a storage, or what is attached to a slot; DeviceError if it is another device's."""
        found = memory_of(storage, VulkanStorage, self.device)
        assert found.nbytes >= storage.nbytes, "a slot is given at least the bytes it was planned with"
        return found
