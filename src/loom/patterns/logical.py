"""``gpu_any``, ``gpu_all``, ``gpu_count``: which elements are not zero.

Layer: patterns. Of floats both zeros are zero and NaN is not, as in numpy. Invariant: no order can be seen.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import bool_, i64, u8, u32
from loom.kernels.types import read_type
from loom.patterns.calling.call import Call
from loom.patterns.reduce import folded
from loom.runtime.port.device import Device
from loom.schedules.fold import Folding

__all__ = ["gpu_all", "gpu_any", "gpu_count"]


def gpu_any(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return whether any element of ``data`` (any dtype and shape), or of each row along ``axis``, is not zero.

    NaN is not zero. No elements give False. Bools. Raises DTypeError for anything but numbers, ArgumentError for
    an axis there is not.

    >>> bool(gpu_any([0, 0, 3]))
    True
    """
    call = Call("gpu_any", on)
    x = call.input(data)
    return folded(call, x, Folding("any", read_type(x.dtype), u8, bool_), axis, keepdims, empty=False)


def gpu_all(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return whether all elements of ``data`` (any dtype and shape), or of each row along ``axis``, are not zero.

    NaN is not zero. No elements give True. Bools; errors as ``gpu_any``.

    >>> gpu_all([[1, 0], [2, 3]], axis=1).tolist()
    [False, True]
    """
    call = Call("gpu_all", on)
    x = call.input(data)
    return folded(call, x, Folding("all", read_type(x.dtype), u8, bool_), axis, keepdims, empty=True)


def gpu_count(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return how many elements of ``data`` (any dtype and shape), or of each row along ``axis``, are not zero.

    NaN is not zero. No elements give 0. int64; errors as ``gpu_any``.

    >>> gpu_count([0.0, 2.5, -1.0]).item()
    2
    """
    call = Call("gpu_count", on)
    x = call.input(data)
    return folded(call, x, Folding("count", read_type(x.dtype), u32, i64), axis, keepdims, empty=0)
