"""The driver's own cache of pipelines, kept on disk between processes.

Layer: runtime. The file is named by adapter and driver and carries a checksum, since drivers trust what they are
given. Invariant: a missing, torn or foreign file costs time, never correctness.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any

from loom.runtime.drivers.vulkan.native.context import DeviceContext
from loom.runtime.port.cache import cache_folder
from loom.storage.atomic import replace_file

__all__ = ["Pipelines"]

_MAGIC = b"LOOMVKP1"
_MOST_NBYTES = 64 << 20


class Pipelines:
    """Makes pipelines with the help of the cache."""

    def __init__(self, device: DeviceContext) -> None:
        self.device = device
        name = hashlib.sha256(device.adapter.key.encode()).hexdigest()[:24]
        self.path = cache_folder() / f"{name}.vkcache"
        known = self._read()
        api = device.api
        data = api.ffi.new("uint8_t[]", known) if known else api.ffi.NULL
        info = api.new("VkPipelineCacheCreateInfo", initialDataSize=len(known), pInitialData=data)
        self.handle = device.create("PipelineCache", info)
        self.made = 0

    def _read(self) -> bytes:
        try:
            data = self.path.read_bytes()
        except OSError:
            return b""
        sound = data[:8] == _MAGIC and hashlib.sha256(data[40:]).digest() == data[8:40]
        return data[40:] if sound else b""

    def create(self, info: Any) -> Any:
        """Return a new pipeline."""
        device, api = self.device, self.device.api
        out = api.ffi.new("VkPipeline*")
        api.call("vkCreateComputePipelines", device.handle, self.handle, 1, info, api.ffi.NULL, out)
        device.live["Pipeline"] += 1
        self.made += 1
        return out[0]

    def save(self) -> None:
        """Write the cache to disk if pipelines were made; a folder that cannot be written is left alone."""
        if not self.made:
            return
        api, size = self.device.api, self.device.api.ffi.new("size_t*")
        api.call("vkGetPipelineCacheData", self.device.handle, self.handle, size, api.ffi.NULL)
        data = api.ffi.new("uint8_t[]", size[0])
        api.call("vkGetPipelineCacheData", self.device.handle, self.handle, size, data)
        body = bytes(api.ffi.buffer(data, size[0]))
        if len(body) <= _MOST_NBYTES:
            with contextlib.suppress(OSError):
                replace_file(self.path, _MAGIC + hashlib.sha256(body).digest() + body)
        self.made = 0
