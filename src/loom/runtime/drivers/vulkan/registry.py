"""Finds Vulkan devices by name: ``vulkan`` is the best adapter, ``vulkan:1`` the second best.

Layer: runtime. Invariant: that of ``drivers.numbered``; a device that was lost is closed before it is opened anew.
"""

from __future__ import annotations

from loom.runtime.drivers.numbered import NumberedDevices
from loom.runtime.drivers.vulkan.describe import describe_adapter
from loom.runtime.drivers.vulkan.device import VulkanDevice
from loom.runtime.drivers.vulkan.native.adapter import find_adapters
from loom.runtime.drivers.vulkan.native.instance import instance

__all__ = ["open_adapter", "vulkan_infos"]


def _is_gone(device: VulkanDevice) -> bool:
    if device.lost or device.handle is None:
        device.close()
        return True
    return False


def _forget() -> None:
    find_adapters.cache_clear()
    instance.cache_clear()


_DEVICES = NumberedDevices(
    "vulkan", "no driver of Vulkan answers", find_adapters, VulkanDevice,
    lambda adapter, name, why: describe_adapter(adapter, name, None, refused=why), _is_gone, _forget,
)  # fmt: skip
open_adapter, vulkan_infos = _DEVICES.open, _DEVICES.infos
