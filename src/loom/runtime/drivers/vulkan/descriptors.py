"""Descriptor sets: which memory a kernel's buffers are.

Layer: runtime. Invariant: a set is made once for each kernel and memory it is bound to, and never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from loom.runtime.drivers.vulkan.kernels import LoadedKernel
from loom.runtime.drivers.vulkan.memory import LEAST_NBYTES

if TYPE_CHECKING:
    from loom.runtime.drivers.vulkan.device import VulkanDevice

__all__ = ["Range", "Sets"]

_STORAGE_BUFFER = 7
_WRITE_TYPE = 35

Range = tuple[Any, int, int]
"""A buffer, where a range of it starts, and its bytes."""


class Sets:
    """``wanted`` are (key, kernel, ranges of its bindings); ``found`` gives the set of a key as a number."""

    def __init__(
        self, device: VulkanDevice, wanted: Sequence[tuple[Any, LoadedKernel, Callable[[], list[Range]]]]
    ) -> None:
        self.device = device
        api = device.api
        count = sum(len(kernel.bindings) for _, kernel, _ in wanted)
        size = api.new("VkDescriptorPoolSize", type=_STORAGE_BUFFER, descriptorCount=max(1, count))
        info = api.new("VkDescriptorPoolCreateInfo", maxSets=max(1, len(wanted)), poolSizeCount=1, pPoolSizes=size)
        self.pool = device.create("DescriptorPool", info)
        try:
            self.found = {key: api.address(self._make(kernel, ranges())) for key, kernel, ranges in wanted}
        except BaseException:
            self.destroy()
            raise

    def _make(self, kernel: LoadedKernel, ranges: list[Range]) -> Any:
        device, api = self.device, self.device.api
        layouts = api.ffi.new("VkDescriptorSetLayout[]", [kernel.set_layout])
        info = api.new(
            "VkDescriptorSetAllocateInfo", descriptorPool=self.pool, descriptorSetCount=1, pSetLayouts=layouts
        )
        found = api.ffi.new("VkDescriptorSet[1]")
        api.call("vkAllocateDescriptorSets", device.handle, info, found)
        buffers = api.ffi.new("VkDescriptorBufferInfo[]", max(1, len(ranges)))
        writes = api.ffi.new("VkWriteDescriptorSet[]", max(1, len(ranges)))
        for n, (number, (buffer, offset, nbytes)) in enumerate(zip(kernel.bindings, ranges, strict=True)):
            buffers[n].buffer, buffers[n].offset = buffer, offset
            buffers[n].range = max(-(-nbytes // 4) * 4, LEAST_NBYTES)
            writes[n].sType, writes[n].dstSet, writes[n].dstBinding = _WRITE_TYPE, found[0], number
            writes[n].descriptorCount, writes[n].descriptorType = 1, _STORAGE_BUFFER
            writes[n].pBufferInfo = buffers + n
        if ranges:
            api.call("vkUpdateDescriptorSets", device.handle, len(ranges), writes, 0, api.ffi.NULL)
        return found[0]

    def destroy(self) -> None:
        """Free the sets with their pool."""
        self.device.destroy("DescriptorPool", self.pool)
