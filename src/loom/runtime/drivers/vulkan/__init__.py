"""The Vulkan driver: adapters, memory, pipelines and recorded command buffers behind the device port."""

from loom.runtime.drivers.vulkan.device import VulkanDevice
from loom.runtime.drivers.vulkan.native.adapter import Adapter, find_adapters
from loom.runtime.drivers.vulkan.registry import open_adapter, vulkan_infos
from loom.runtime.port.device import Driver

__all__ = ["DRIVER", "Adapter", "VulkanDevice", "find_adapters", "open_adapter", "vulkan_infos"]

DRIVER = Driver(
    open_adapter,
    vulkan_infos,
    numbered=True,
    offers=frozenset({"asynchronous", "compiled", "spirv", "threads", "wide atomics"}),
)
