"""Opens an adapter: a logical device with the features Loom uses.

Layer: runtime. Invariant: nothing is asked for that the adapter does not have.
"""

from __future__ import annotations

from typing import Any

from loom.runtime.drivers.vulkan.native.adapter import FLOAT_CONTROLS2_TYPE, Adapter
from loom.runtime.drivers.vulkan.native.api import load

__all__ = ["open_device"]


def open_device(adapter: Adapter, queues: int) -> Any:
    """Return a new VkDevice with so many queues."""
    api, types = load(), adapter.types
    priorities = api.ffi.new("float[]", [1.0] * queues)
    queue = api.new(
        "VkDeviceQueueCreateInfo", queueFamilyIndex=adapter.queue_family, queueCount=queues, pQueuePriorities=priorities
    )
    chain: Any = api.ffi.NULL
    if "VK_KHR_shader_atomic_int64" in adapter.extensions:
        chain = api.new("VkPhysicalDeviceShaderAtomicInt64Features", shaderBufferInt64Atomics=adapter.int64_atomics)
    chain = api.new("VkPhysicalDevice16BitStorageFeatures", pNext=chain, storageBuffer16BitAccess="i16" in types)
    if "VK_KHR_8bit_storage" in adapter.extensions:
        chain = api.new("VkPhysicalDevice8BitStorageFeatures", pNext=chain, storageBuffer8BitAccess="i8" in types)
    if "VK_KHR_shader_float16_int8" in adapter.extensions:
        chain = api.new("VkPhysicalDeviceShaderFloat16Int8Features", pNext=chain, shaderInt8="i8" in types)
    if adapter.dots:
        chain = api.new("VkPhysicalDeviceShaderIntegerDotProductFeatures", pNext=chain, shaderIntegerDotProduct=1)
    if adapter.matrices is not None:
        chain = api.new("VkPhysicalDeviceCooperativeMatrixFeaturesKHR", pNext=chain, cooperativeMatrix=1)
        chain = api.new("VkPhysicalDeviceVulkanMemoryModelFeatures", pNext=chain, vulkanMemoryModel=1)
    if adapter.float_controls2:
        record = api.ffi.new("uint64_t[3]", [FLOAT_CONTROLS2_TYPE, int(api.ffi.cast("uintptr_t", chain)), 1])
        _given, chain = chain, api.ffi.cast("void*", record)  # both live until the device is made
    features = api.new("VkPhysicalDeviceFeatures2", pNext=chain)
    features.features.shaderInt16 = "i16" in types
    features.features.shaderInt64 = "i64" in types
    features.features.shaderFloat64 = "f64" in types
    names = api.texts(list(adapter.extensions))
    info = api.new(
        "VkDeviceCreateInfo", pNext=features, queueCreateInfoCount=1, pQueueCreateInfos=queue,
        enabledExtensionCount=len(names), ppEnabledExtensionNames=names,
    )  # fmt: skip
    return api.create("vkCreateDevice", adapter.handle, info, "VkDevice")
