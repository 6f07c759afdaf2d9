"""Memory of the device that stands for arrays of the host, filled before a run and read after it.

Layer: runtime. Invariant: only what kernels write is read back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loom.core.errors import DeviceError
from loom.runtime.chain.plan import Plan
from loom.runtime.drivers.vulkan.memory import VulkanStorage
from loom.runtime.storage import HostSlot, Storage

if TYPE_CHECKING:
    from loom.runtime.drivers.vulkan.device import VulkanDevice

__all__ = ["Slots"]


class Slots:
    """The device memory of a plan's slots, and of its storages."""

    def __init__(self, device: VulkanDevice, plan: Plan) -> None:
        self.device = device
        self.own: dict[int, tuple[HostSlot, VulkanStorage]] = {}
        self.written: set[int] = set()
        for _, steps in plan.segments:
            for step in steps:
                dispatch = step.dispatch
                for memory, binding in zip(dispatch.kernel.kernel.buffers, dispatch.bindings, strict=True):
                    self._take(binding.storage, memory in dispatch.kernel.writes)
                if dispatch.indirect is not None:
                    self._take(dispatch.indirect[0], False)

    def _take(self, storage: Storage, written: bool) -> None:
        if not isinstance(storage, HostSlot):
            return
        if id(storage) not in self.own:
            self.own[id(storage)] = storage, self.device.allocate(storage.nbytes)
        if written:
            self.written.add(id(storage))

    def memory(self, storage: Storage) -> VulkanStorage:
        """Return the device memory that stands for a storage; DeviceError if it is another device's."""
        if isinstance(storage, HostSlot):
            return self.own[id(storage)][1]
        if not isinstance(storage, VulkanStorage) or storage.memory.owner is not self.device:
            raise DeviceError(
                f"device {self.device.name!r}", "memory of another device", expected="memory it allocated",
                got=type(storage).__name__, remedy="Allocate with chain.device.allocate",
            )  # fmt: skip
        return storage

    @property
    def gives_back(self) -> bool:
        """True when a run has to hand arrays back to the host."""
        return bool(self.written)

    def upload(self) -> None:
        """Fill device memory from the arrays attached."""
        for slot, storage in self.own.values():
            if slot.bytes.nbytes:
                storage.write(0, slot.bytes)

    def download(self) -> None:
        """Copy what kernels wrote back to the arrays attached."""
        for key in self.written:
            slot, storage = self.own[key]
            if slot.bytes.nbytes:
                slot.bytes[:] = storage.read(0, slot.bytes.nbytes)
