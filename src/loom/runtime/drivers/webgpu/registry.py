"""Finds WebGPU devices by name: ``webgpu`` is the best adapter, ``webgpu:1`` the second best.

Layer: runtime. Invariant: an adapter is opened once; one that was refused is refused again for the same reason.
"""

from __future__ import annotations

import os
import threading

from loom.core.errors import DeviceError
from loom.runtime.device import DeviceInfo
from loom.runtime.drivers.webgpu.adapter import find_adapters
from loom.runtime.drivers.webgpu.device import WebGpuDevice, describe_adapter

__all__ = ["open_adapter", "webgpu_infos"]

_opened: dict[int, WebGpuDevice] = {}
_refused: dict[int, DeviceError] = {}
_lock = threading.RLock()


def open_adapter(name: str, where: str = "loom.device") -> WebGpuDevice:
    """Return the device called ``webgpu`` or ``webgpu:N``; DeviceError if there is none, or it was refused."""
    adapters = find_adapters()
    number = name.removeprefix("webgpu").removeprefix(":") or "0"
    if not adapters:
        raise DeviceError(
            where, "wgpu finds no adapter", remedy="Install a GPU's driver, or mesa-vulkan-drivers for the CPU"
        )
    if not number.isdecimal() or int(number) >= len(adapters):
        present = ", ".join(f"webgpu:{n} ({a.name})" for n, a in enumerate(adapters))
        raise DeviceError(where, f"no device is called {name!r}", expected=present, remedy="Use one of them")
    return _device(int(number))


def _name(number: int) -> str:
    return "webgpu" if number == 0 else f"webgpu:{number}"


def _device(number: int) -> WebGpuDevice:
    with _lock:
        if number in _refused:
            raise _refused[number].with_traceback(None)
        found = _opened.get(number)
        if found is None:
            try:
                found = _opened[number] = WebGpuDevice(find_adapters()[number], _name(number))
            except DeviceError as error:
                _refused[number] = error
                raise
        return found


def webgpu_infos() -> list[DeviceInfo]:
    """Return all adapters, opened and tested, those refused with the reason; none without ``wgpu``."""
    infos: list[DeviceInfo] = []
    try:
        adapters = find_adapters()
    except DeviceError:
        return []
    for number, adapter in enumerate(adapters):
        try:
            infos.append(_device(number).describe())
        except DeviceError as error:
            infos.append(describe_adapter(adapter, _name(number), None, refused=error.what))
    return infos


def _after_fork() -> None:
    """Forget what belongs to the process that this one was forked from; devices asked for are opened anew."""
    global _lock  # noqa: PLW0603 (it may have been copied locked)
    _lock = threading.RLock()
    _opened.clear()
    _refused.clear()
    find_adapters.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
