"""Arrays of other libraries that lie in the memory of a device of Loom's: which device, and where there.

Layer: runtime. Invariant: what is found is used where it lies, and no byte is copied.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from loom.core.dlpack import cuda_home
from loom.core.errors import DeviceError
from loom.core.given import is_array, is_scalar
from loom.runtime.memory.storage import TypedStorage
from loom.runtime.port.device import Device
from loom.runtime.port.elements import Readable
from loom.runtime.registry import device

__all__ = ["borrow", "home_of_others"]


def borrow(data: Any, where: str, *, writes: bool = False) -> TypedStorage | None:
    """Return the memory of an array that lies on a GPU; None for others, and where Loom cannot open that GPU.

    Errors for one that cannot be used there, or that is only to be read where it ``writes``.
    """
    home = _home(data)
    return None if home is None else home.borrow(data, where, writes=writes)


def home_of_others(values: Iterable[Any]) -> Device | None:
    """Return the device of the first of some values that is an array of another library on a GPU."""
    return next((home for home in map(_home, values) if home is not None), None)


def _home(data: Any) -> Any:
    if is_array(data) or is_scalar(data) or isinstance(data, Readable):
        return None
    number = cuda_home(data)
    if number is None:
        return None
    try:
        first: Any = device("cuda")
        number = first.number_of(data) if number < 0 else number
        return device(f"cuda:{number}") if number else first
    except DeviceError:
        return None
