"""``gpu_any``, ``gpu_all``, ``gpu_count``: which elements are not zero.

Layer: patterns. Of floats both zeros are zero and NaN is not, as in numpy. Invariant: no order can be seen.
"""

from __future__ import annotations

from typing import Any

from loom.patterns.axis import along
from loom.patterns.tensor_rows import row
from loom.runtime.port.device import Device

__all__ = ["gpu_all", "gpu_any", "gpu_count"]


@row(along("any"))
def gpu_any(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return whether any element of ``data`` (any dtype and shape), or of each row along ``axis``, is not zero.

    NaN is not zero. No elements give False. Bools. Raises DTypeError for anything but numbers, ArgumentError for
    an axis there is not.

    >>> bool(gpu_any([0, 0, 3]))
    True
    """


@row(along("all"))
def gpu_all(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return whether all elements of ``data`` (any dtype and shape), or of each row along ``axis``, are not zero.

    NaN is not zero. No elements give True. Bools; errors as ``gpu_any``.

    >>> gpu_all([[1, 0], [2, 3]], axis=1).tolist()
    [False, True]
    """


@row(along("count_nonzero"))
def gpu_count(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return how many elements of ``data`` (any dtype and shape), or of each row along ``axis``, are not zero.

    NaN is not zero. No elements give 0. int64; errors as ``gpu_any``.

    >>> gpu_count([0.0, 2.5, -1.0]).item()
    2
    """
