"""Finds WebGPU devices by name: ``webgpu`` is the best adapter, ``webgpu:1`` the second best.

Layer: runtime. Invariant: that of ``drivers.numbered``; there are none without the package ``wgpu``.
"""

from __future__ import annotations

from loom.runtime.drivers.numbered import NumberedDevices
from loom.runtime.drivers.webgpu.adapter import find_adapters
from loom.runtime.drivers.webgpu.device import WebGpuDevice, describe_adapter

__all__ = ["open_adapter", "webgpu_infos"]

_DEVICES = NumberedDevices(
    "webgpu", "wgpu finds no adapter", find_adapters, WebGpuDevice,
    lambda adapter, name, why: describe_adapter(adapter, name, None, refused=why), lambda _: False,
    find_adapters.cache_clear,
)  # fmt: skip
open_adapter, webgpu_infos = _DEVICES.open, _DEVICES.infos
