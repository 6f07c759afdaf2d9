"""Tables of constants in a device's memory: what kernels read there is put there once.

Layer: runtime. Invariant: a table is never written again, and lives as long as a program that reads it.
"""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np

from loom.core.process.forks import hold_over_forks
from loom.runtime.memory.storage import Storage
from loom.runtime.port.device import Device

__all__ = ["table_of"]

_lock = hold_over_forks(threading.RLock())
_kept: WeakKeyDictionary[Device, WeakValueDictionary[bytes, Storage]] = WeakKeyDictionary()


def table_of(device: Device, data: bytes) -> Storage:
    """Return storage of a device that holds ``data``, the same for equal data."""
    with _lock:
        tables = _kept.setdefault(device, WeakValueDictionary())
        found = tables.get(data)
        if found is None:
            found = tables[data] = device.allocate(len(data), zeroed=False)
            found.write(0, np.frombuffer(data, np.uint8))
        return found
