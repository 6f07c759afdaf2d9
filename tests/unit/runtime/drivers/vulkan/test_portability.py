"""Drivers that have not all of Vulkan, MoltenVK above all, and those of AMD: found, named, enabled, judged.

A loader that is not the system's stands before it: it says what another loader or driver would, and hands everything
else on. So lavapipe is opened and tested as if it were MoltenVK, RADV or AMDVLK; those themselves were never run here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from loom.runtime.drivers.vulkan import VulkanDevice
from loom.runtime.drivers.vulkan.describe import describe_adapter
from loom.runtime.drivers.vulkan.native import adapter as adapters
from loom.runtime.drivers.vulkan.native import api as apis
from loom.runtime.drivers.vulkan.native import instance as instances
from loom.runtime.drivers.vulkan.native import logical

ENUMERATION, SUBSET = "VK_KHR_portability_enumeration", "VK_KHR_portability_subset"
MOLTENVK, RADV, AMDVLK, AMD = 14, 3, 2, 1


class Loader:
    """The functions of a loader: a few of its own, the others the system's."""

    def __init__(self, **own: Callable[..., Any]) -> None:
        self.__dict__.update(own)

    def __getattr__(self, name: str) -> Any:
        return getattr(apis.load().lib, name)


def _api(**own: Callable[..., Any]) -> apis.Vulkan:
    return apis.Vulkan(apis.load().ffi, Loader(**own))


def _filling(names: list[str]) -> Callable[..., int]:
    """Return a function that enumerates extensions."""

    def enumerate_(*args: Any) -> int:
        count, found = args[-2:]
        if found == apis.load().ffi.NULL:
            count[0] = len(names)
        else:
            for n, name in enumerate(names):
                found[n].extensionName = name.encode()
        return 0

    return enumerate_


def _asked_for(monkeypatch: pytest.MonkeyPatch, names: list[str]) -> tuple[int, list[str]]:
    """Return flags and extensions of the instance that is made over a loader with some extensions."""
    asked: list[tuple[int, list[str]]] = []

    def create(info: Any, _allocator: Any, _out: Any) -> int:
        extensions = [apis.load().text(info.ppEnabledExtensionNames[n]) for n in range(info.enabledExtensionCount)]
        asked.append((info.flags, extensions))
        return 0

    api = _api(vkEnumerateInstanceExtensionProperties=_filling(names), vkCreateInstance=create)
    monkeypatch.setattr(instances, "load", lambda: api)
    monkeypatch.delenv("LOOM_VULKAN_VALIDATE", raising=False)
    instances.instance.__wrapped__()
    (found,) = asked
    return found


def test_drivers_without_all_of_vulkan_are_asked_for_where_the_loader_knows_how(
    vulkan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _asked_for(monkeypatch, ["VK_KHR_surface", ENUMERATION]) == (1, [ENUMERATION])
    assert _asked_for(monkeypatch, ["VK_KHR_surface"]) == (0, [])


def _disguised(number: int, name: bytes, info: bytes, enabled: list[list[str]], *, subset: bool) -> apis.Vulkan:
    """Return an API over which every adapter is of another driver; what is enabled is noted."""
    real = apis.load()
    ffi, lib = real.ffi, real.lib

    def properties(handle: Any, whole: Any) -> None:
        lib.vkGetPhysicalDeviceProperties2(handle, whole)
        at = ffi.cast("VkBaseOutStructure*", whole)
        while at != ffi.NULL:
            if at.sType == 1000196000:  # VkPhysicalDeviceDriverProperties
                driver = ffi.cast("VkPhysicalDeviceDriverProperties*", at)
                driver.driverID, driver.driverName, driver.driverInfo = number, name, info
            at = at.pNext

    def extensions(handle: Any, layer: Any, count: Any, found: Any) -> int:
        all_of = real.enumerate("vkEnumerateDeviceExtensionProperties", "VkExtensionProperties", handle, layer)
        return _filling([real.text(e.extensionName) for e in all_of] + [SUBSET] * subset)(count, found)

    def create(handle: Any, given: Any, allocator: Any, out: Any) -> int:
        names = [real.text(given.ppEnabledExtensionNames[n]) for n in range(given.enabledExtensionCount)]
        enabled.append(names)
        held = real.texts([n for n in names if n != SUBSET])
        given.enabledExtensionCount, given.ppEnabledExtensionNames = len(held), held
        return lib.vkCreateDevice(handle, given, allocator, out)

    return _api(
        vkGetPhysicalDeviceProperties2=properties, vkEnumerateDeviceExtensionProperties=extensions,
        vkCreateDevice=create,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("number", "name", "info", "shown"),
    [
        (MOLTENVK, b"MoltenVK", b"1.2.11", "MoltenVK (on Metal)"),
        (RADV, b"radv", b"Mesa 25.0", "RADV (Mesa, for AMD)"),
        (AMDVLK, b"AMD open-source driver", b"2024.Q4", "AMDVLK (AMD)"),
        (AMD, b"AMD proprietary driver", b"24.10", "AMD's own"),
        (99, b"of next year", b"", "of next year"),
    ],
)  # fmt: skip
def test_a_driver_is_named_and_opened(
    vulkan: Any, monkeypatch: pytest.MonkeyPatch, number: int, name: bytes, info: bytes, shown: str
) -> None:
    enabled: list[list[str]] = []
    api = _disguised(number, name, info, enabled, subset=number == MOLTENVK)
    monkeypatch.setattr(logical, "load", lambda: api)
    adapter = adapters._describe(api, vulkan.adapter.handle)
    told = describe_adapter(adapter, "vulkan", None)
    assert told.limits["driver"] == shown
    assert told.description.endswith(f"{name.decode()} {info.decode()}".strip())
    assert adapter.key != vulkan.adapter.key, "what was found of one driver is nothing to another"
    assert (SUBSET in adapter.extensions) == (number == MOLTENVK)
    device = VulkanDevice(adapter, "disguised", tested=False)
    device.close()
    assert [SUBSET in names for names in enabled] == [number == MOLTENVK]


@pytest.mark.slow
def test_moltenvk_is_judged_by_what_it_computes(vulkan: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Without f64 and without controls of floats, as MoltenVK is, and with nothing known of it."""
    monkeypatch.setenv("LOOM_CACHE_DIR", str(tmp_path))
    api = _disguised(MOLTENVK, b"MoltenVK", b"1.2.11", [], subset=True)
    monkeypatch.setattr(logical, "load", lambda: api)
    found = adapters._describe(api, vulkan.adapter.handle)
    device = VulkanDevice(replace(found, types=("i8", "i16", "i64"), float_modes=(), float_controls2=False))
    info = device.describe()
    device.close()
    assert info.guarantee == "BIT_EXACT"
    assert (info.limits["driver"], info.limits["types"]) == ("MoltenVK (on Metal)", "i8, i16, i64")
    assert info.operations["f32 add"] != "wrong"
    assert info.operations["f64 add"] == "none"


def test_moltenvk_is_told_to_leave_fast_math_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MVK_CONFIG_FAST_MATH_ENABLED", "1")  # so that what stands there is put back
    monkeypatch.delenv("MVK_CONFIG_FAST_MATH_ENABLED")
    apis._tell_drivers("linux")
    assert "MVK_CONFIG_FAST_MATH_ENABLED" not in apis.os.environ
    apis._tell_drivers("darwin")
    assert apis.os.environ["MVK_CONFIG_FAST_MATH_ENABLED"] == "0"
    monkeypatch.setenv("MVK_CONFIG_FAST_MATH_ENABLED", "1")
    apis._tell_drivers("darwin")
    assert apis.os.environ["MVK_CONFIG_FAST_MATH_ENABLED"] == "1"
