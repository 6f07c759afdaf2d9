"""Tensors over memory of other libraries: of the host where the device uses it in place, of a GPU.

Layer: tensor. Invariant: nothing is copied, and nothing of Loom ever writes there: who changes such a tensor finds
other memory for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.dlpack import take
from loom.runtime.borrowed import borrowed
from loom.runtime.device import Device
from loom.tensor.graph import Node
from loom.tensor.handle.lending import known

__all__ = ["over_gpu", "over_host"]


def over_gpu(cls: type[Node], data: Any, where: str) -> Node | None:
    """Return a tensor over an array that another library has on a GPU of Loom's; None for any other."""
    found = borrowed(data, where)
    if found is None:
        return None
    assert found.device is not None
    made = known(cls, found.storage, found.dtype, found.shape, found.device)
    made.shared = True
    return made


def over_host(cls: type[Node], data: Any, where: str, home: Device) -> Node | None:
    """Return a tensor over an array in memory of the host; None where the device cannot use it as it lies there."""
    taken = take(data, where)
    flags = taken.array.flags
    if not (flags.c_contiguous and flags.aligned):
        return None
    storage = home.adopt(np.atleast_1d(taken.array))
    if storage is None:
        return None
    made = known(cls, storage, taken.dtype, taken.array.shape, home)
    made.shared = True
    return made
