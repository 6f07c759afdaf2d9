"""Tensors kept as bytes: ``pickle``, ``copy``, other processes.

Layer: tensor. A tensor travels as its elements, dtype, shape, the name of its device and what is promised of it; what
it was made of stays behind. Invariant: the bits arrive, on a device of the same name, or the error of that device.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from loom.core.dtype import lookup
from loom.runtime.registry import device
from loom.tensor.record.graph import INPUT, KNOWN, PARAMETER

__all__ = ["pack"]


def pack(x: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return what makes a tensor anew, and of what; StateError for one that is made of what programs are fed."""
    if x.op is INPUT:
        return _unpack, (x.__class__, "input", None, str(x.dtype), x.shape, x.name, None)
    kind = "parameter" if x.op.is_written else "array"
    memory = x.host_elements()[0]
    return _unpack, (x.__class__, kind, memory, str(x.dtype), x.shape, x.name, x.home.name, x.is_fast)


def _unpack(
    cls: Any,
    kind: str,
    memory: np.ndarray[Any, Any] | None,
    dtype: str,
    shape: tuple[int, ...],
    name: str,
    on: Any,
    is_fast: bool = False,
) -> Any:
    found = lookup(dtype)
    if memory is None:
        return import_module("loom.tensor").input(name, shape, found)
    home = device(on)
    storage = home.allocate(memory.nbytes, zeroed=False)
    storage.write(0, np.ascontiguousarray(memory).reshape(-1).view(np.uint8))
    op = PARAMETER if kind == "parameter" else KNOWN
    x = cls(op, (), shape, found, name=name, data=storage, device=home)
    x.is_fast = is_fast
    return x
