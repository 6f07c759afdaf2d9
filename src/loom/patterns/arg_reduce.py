"""``gpu_argmin`` and ``gpu_argmax``: where the extreme of an array, or of each row, is.

Layer: patterns. Invariant: the index is that of the element ``gpu_min`` or ``gpu_max`` returns, the first of several.
"""

from __future__ import annotations

from typing import Any

from loom.patterns.axis import along
from loom.patterns.tensor_rows import row
from loom.runtime.port.device import Device

__all__ = ["gpu_argmax", "gpu_argmin"]


@row(along("argmin", "minimum"))
def gpu_argmin(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return the index of the smallest element of ``data`` (of its elements in row-major order), or of each row.

    The order is that of ``gpu_min``: NaN first of all, -0 below +0 (numpy takes them for equal); of equal
    elements the lowest index. int64, along ``axis`` the index within the row. EmptyError if there are no
    elements, DTypeError for anything but numbers, ArgumentError for an axis there is not.

    >>> gpu_argmin([3, 1, 2, 1]).item()
    1
    """


@row(along("argmax", "maximum"))
def gpu_argmax(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return the index of the largest element of ``data`` (of its elements in row-major order), or of each row.

    The order is that of ``gpu_max``: NaN first of all, +0 above -0 (numpy takes them for equal); of equal
    elements the lowest index. Result and errors as ``gpu_argmin``.

    >>> gpu_argmax([[3, 1], [4, 5]], axis=1).tolist()
    [0, 1]
    """
