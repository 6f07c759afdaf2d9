"""Tensors over memory of other libraries: of the host where the device uses it in place, of a GPU.

Layer: tensor. Invariant: nothing is copied, and nothing of Loom ever writes there: who changes such a tensor finds
other memory for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from loom.core.arrays import plain
from loom.core.dtype import DType, bf16, of_numpy
from loom.core.given import is_array
from loom.core.late import late
from loom.runtime.port.device import Device
from loom.tensor.handle.lending import from_storage
from loom.tensor.record.graph import Node

if TYPE_CHECKING:
    from loom.core import dlpack
    from loom.runtime import borrowed
else:
    dlpack = late("loom.core", "dlpack")
    borrowed = late("loom.runtime", "borrowed")

__all__ = ["over_gpu", "over_host"]


def over_gpu(cls: type[Node], data: Any, where: str) -> Node | None:
    """Return a tensor over an array that another library has on a GPU of Loom's; None for any other."""
    found = borrowed.borrow(data, where)
    if found is None:
        return None
    assert found.device is not None
    made = from_storage(cls, found.storage, found.dtype, found.shape, found.device)
    made.shared = True
    return made


def over_host(cls: type[Node], data: Any, where: str, home: Device) -> Node | None:
    """Return a tensor over an array in memory of the host; None where the device cannot use it as it lies there."""
    array, dtype = _in_place(data, where)
    if array is None or not (array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative):
        return None
    storage = home.adopt(np.atleast_1d(array))
    if storage is None:
        return None
    made = from_storage(cls, storage, dtype, array.shape, home)
    made.shared = True
    return made


def _in_place(data: Any, where: str) -> tuple[np.ndarray[Any, Any] | None, DType]:
    """Return an array over the memory of another (None: there is but a copy of it), bf16 as its bits; and its dtype."""
    if not is_array(data):
        taken = dlpack.take(data, where)
        return None if taken.copied else taken.array, taken.dtype
    array = plain(data, where)
    dtype = of_numpy(array.dtype.newbyteorder("="), where, complexes=True)
    return array.view(np.uint16) if dtype == bf16 else array, dtype
