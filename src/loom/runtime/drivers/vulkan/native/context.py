"""An opened adapter as all native objects know it: its handle, what was made of it, and whether it was lost.

Layer: runtime. Invariant: everything native is counted in ``live`` and freed at the latest when the device is closed.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from typing import Any, cast

from loom.core.errors import DeviceError
from loom.core.process.bound import ProcessBound
from loom.core.process.thread_pools import ThreadPool
from loom.runtime.drivers.vulkan.native.adapter import Adapter
from loom.runtime.drivers.vulkan.native.api import LeftBehind, Vulkan, is_loss, load
from loom.runtime.drivers.vulkan.native.logical import open_device

__all__ = ["DeviceContext"]

_MOST_THREADS = 12


class DeviceContext(ProcessBound):
    """``handle`` is the VkDevice, None when it is closed; ``lock`` is for what is kept of it."""

    def __init__(self, adapter: Adapter, name: str, queues: int) -> None:
        self.name = name
        self.adapter = adapter
        self.api: Vulkan = load()
        self.live: Counter[str] = Counter()
        self.lock = threading.RLock()
        self.lost = False
        self.threads = min(_MOST_THREADS, os.cpu_count() or 1)
        self.crew = ThreadPool(self.threads, thread_name_prefix=f"loom {name}")
        """Threads for what one alone is slow at: recording long tables, copying large arrays."""
        self.handle: Any = open_device(adapter, queues)

    def create(self, kind: str, info: Any) -> Any:
        """Make a native object and count it."""
        found = self.api.create(f"vkCreate{kind}", self.handle, info, f"Vk{kind}")
        self.live[kind] += 1
        return found

    def destroy(self, kind: str, handle: Any) -> None:
        """Free a native object."""
        getattr(self.api.lib, f"vkDestroy{kind}")(self.handle, handle, self.api.ffi.NULL)
        self.live[kind] -= 1

    def note_error(self, error: DeviceError) -> DeviceError:
        """Take note of an error that may tell that the device was lost."""
        self.lost = self.lost or is_loss(error)
        return error

    def leave(self) -> None:
        """Touch nothing native from now on.

        It all belongs to the process that this one was forked from, or to a run that the process's end will stop.
        """
        self.handle, self.lost = None, True
        self.api = cast("Vulkan", LeftBehind(self.name))
        self.lock = threading.RLock()
