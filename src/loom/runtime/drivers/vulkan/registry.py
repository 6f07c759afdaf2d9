"""Finds Vulkan devices by name: ``vulkan`` is the best adapter, ``vulkan:1`` the second best.

Layer: runtime. Invariant: an adapter is opened once; one that was lost is opened anew when it is asked for again.
"""

from __future__ import annotations

import os
import threading

from loom.core.errors import DeviceError
from loom.runtime.device import DeviceInfo
from loom.runtime.drivers.vulkan.describe import describe_adapter
from loom.runtime.drivers.vulkan.device import VulkanDevice
from loom.runtime.drivers.vulkan.native.adapter import find_adapters
from loom.runtime.drivers.vulkan.native.instance import instance

__all__ = ["open_adapter", "vulkan_infos"]

_opened: dict[int, VulkanDevice] = {}
_refused: dict[int, DeviceError] = {}
_lock = threading.RLock()


def open_adapter(name: str, where: str = "loom.device") -> VulkanDevice:
    """Return the device called ``vulkan`` or ``vulkan:N``; DeviceError if there is none, or it was refused."""
    adapters = find_adapters()
    number = name.removeprefix("vulkan").removeprefix(":") or "0"
    present = ", ".join(f"vulkan:{n} ({a.name})" for n, a in enumerate(adapters))
    if not adapters:
        raise DeviceError(
            where, "no driver of Vulkan answers", remedy="Install a GPU's driver, or mesa-vulkan-drivers for the CPU"
        )
    if not number.isdecimal() or int(number) >= len(adapters):
        raise DeviceError(where, f"no device is called {name!r}", expected=present, remedy="Use one of them")
    return _device(int(number))


def _device(number: int) -> VulkanDevice:
    with _lock:
        if number in _refused:
            raise _refused[number].with_traceback(None)
        found = _opened.get(number)
        if found is not None and (found.lost or found.handle is None):
            found.close()
            found = None
        if found is None:
            adapter = find_adapters()[number]
            try:
                found = _opened[number] = VulkanDevice(adapter, "vulkan" if number == 0 else f"vulkan:{number}")
            except DeviceError as error:
                _refused[number] = error
                raise
        return found


def vulkan_infos() -> list[DeviceInfo]:
    """Return all adapters, opened and tested, those refused with the reason; none without Vulkan."""
    infos: list[DeviceInfo] = []
    try:
        adapters = find_adapters()
    except DeviceError:
        return []
    for number, adapter in enumerate(adapters):
        try:
            infos.append(_device(number).describe())
        except DeviceError as error:
            name = "vulkan" if number == 0 else f"vulkan:{number}"
            infos.append(describe_adapter(adapter, name, None, refused=error.what))
    return infos


def _after_fork() -> None:
    """Forget what belongs to the process that this one was forked from; devices asked for are opened anew."""
    global _lock  # noqa: PLW0603 (it may have been copied locked)
    _lock = threading.RLock()
    _opened.clear()
    _refused.clear()
    find_adapters.cache_clear()
    instance.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
