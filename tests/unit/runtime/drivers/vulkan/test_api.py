"""The loader as functions and structures, and the queue family that an adapter is used with."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any

import pytest

from loom.runtime.drivers.vulkan.native.adapter import _queue_family
from loom.runtime.drivers.vulkan.native.api import load

GRAPHICS, COMPUTE, TRANSFER = 1, 2, 4


@pytest.mark.parametrize(
    ("name", "constant"),
    [
        ("VkPhysicalDeviceShaderSMBuiltinsPropertiesNV", "PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV"),
        ("VkPhysicalDeviceShaderCoreProperties2AMD", "PHYSICAL_DEVICE_SHADER_CORE_PROPERTIES_2_AMD"),
        ("VkPhysicalDevice8BitStorageFeatures", "PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES"),
        ("VkSubmitInfo", "SUBMIT_INFO"),
    ],
)
def test_a_structure_says_what_it_is(vulkan: Any, name: str, constant: str) -> None:
    import vulkan as binding

    assert load().new(name).sType == getattr(binding, f"VK_STRUCTURE_TYPE_{constant}")


def test_what_is_enumerated_lives_as_long_as_it_is_kept(vulkan: Any) -> None:
    api = load()
    what = "vkEnumerateDeviceExtensionProperties", "VkExtensionProperties", vulkan.adapter.handle, api.ffi.NULL
    first = api.enumerate(*what)
    names = [api.text(e.extensionName) for e in first]
    for _ in range(20):
        gc.collect()
        api.ffi.new("char[]", b"x" * 260 * len(first))
    assert [api.text(e.extensionName) for e in first] == names
    assert all(name.startswith("VK_") for name in names)


@pytest.mark.parametrize(
    ("families", "chosen"),
    [
        ([], -1),
        ([(TRANSFER, 2)], -1),
        ([(GRAPHICS | COMPUTE, 1)], 0),
        ([(GRAPHICS | COMPUTE, 16), (TRANSFER, 2), (COMPUTE | TRANSFER, 8)], 2),
        ([(GRAPHICS | COMPUTE, 16), (COMPUTE, 2), (COMPUTE, 4)], 2),
    ],
)
def test_queues_without_graphics_are_better_then_more_of_them(families: list[tuple[int, int]], chosen: int) -> None:
    found = [SimpleNamespace(queueFlags=flags, queueCount=n, timestampValidBits=64) for flags, n in families]
    api: Any = SimpleNamespace(enumerate=lambda *_: found)
    number, count, _bits = _queue_family(api, None)
    assert number == chosen
    assert count == (families[chosen][1] if chosen >= 0 else 0)
