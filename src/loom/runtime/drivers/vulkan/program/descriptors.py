"""Descriptor sets: which memory a kernel's buffers are.

Layer: runtime. Invariant: a set is made once for each kernel and memory it is bound to, and written again only for
what is attached to slots, when no run uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from loom.runtime.drivers.vulkan.handles.kernels import LoadedKernel
from loom.runtime.drivers.vulkan.native.context import DeviceContext
from loom.runtime.drivers.vulkan.native.memory import LEAST_NBYTES

__all__ = ["Range", "Sets"]

_STORAGE_BUFFER = 7
_WRITE_TYPE = 35

Range = tuple[Any, int, int]
"""A buffer, where a range of it starts, and its bytes."""


class Sets:
    """``wanted`` are (key, kernel, ranges of its bindings); ``found`` gives the set of a key as a number."""

    def __init__(
        self, device: DeviceContext, wanted: Sequence[tuple[Any, LoadedKernel, Callable[[], list[Range]]]]
    ) -> None:
        self.device = device
        api = device.api
        count = sum(len(kernel.bindings) for _, kernel, _ in wanted)
        size = api.new("VkDescriptorPoolSize", type=_STORAGE_BUFFER, descriptorCount=max(1, count))
        info = api.new("VkDescriptorPoolCreateInfo", maxSets=max(1, len(wanted)), poolSizeCount=1, pPoolSizes=size)
        self.pool = device.create("DescriptorPool", info)
        try:
            self._sets = {key: self._make(kernel) for key, kernel, _ in wanted}
            self.found = {key: api.address(made) for key, made in self._sets.items()}
            self.write([(key, kernel, ranges()) for key, kernel, ranges in wanted])
        except BaseException:
            self.destroy()
            raise

    def _make(self, kernel: LoadedKernel) -> Any:
        device, api = self.device, self.device.api
        layouts = api.ffi.new("VkDescriptorSetLayout[]", [kernel.set_layout])
        info = api.new(
            "VkDescriptorSetAllocateInfo", descriptorPool=self.pool, descriptorSetCount=1, pSetLayouts=layouts
        )
        found = api.ffi.new("VkDescriptorSet[1]")
        api.call("vkAllocateDescriptorSets", device.handle, info, found)
        return found[0]

    def write(self, given: Sequence[tuple[Any, LoadedKernel, list[Range]]]) -> None:
        """Let sets name these ranges."""
        api = self.device.api
        places = list(chain.from_iterable(((self._sets[k], n) for n in kernel.bindings) for k, kernel, _ in given))
        ranges = list(chain.from_iterable(ranges for _, _, ranges in given))
        buffers = api.ffi.new("VkDescriptorBufferInfo[]", max(1, len(ranges)))
        writes = api.ffi.new("VkWriteDescriptorSet[]", max(1, len(ranges)))
        for n, ((found, number), (buffer, offset, nbytes)) in enumerate(zip(places, ranges, strict=True)):
            buffers[n].buffer, buffers[n].offset = buffer, offset
            buffers[n].range = max(-(-nbytes // 4) * 4, LEAST_NBYTES)
            writes[n].sType, writes[n].dstSet, writes[n].dstBinding = _WRITE_TYPE, found, number
            writes[n].descriptorCount, writes[n].descriptorType = 1, _STORAGE_BUFFER
            writes[n].pBufferInfo = buffers + n
        if ranges:
            api.call("vkUpdateDescriptorSets", self.device.handle, len(ranges), writes, 0, api.ffi.NULL)

    def destroy(self) -> None:
        """Free the sets with their pool."""
        self.device.destroy("DescriptorPool", self.pool)
