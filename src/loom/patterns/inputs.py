"""Turns what a caller passes into a contiguous array of a known dtype.

Layer: patterns. Takes lists, numpy arrays, objects with ``__array_interface__`` and, through DLPack, those of
other libraries on the CPU. Invariant: an array that needs no change is used in place, never copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.dtype import DType, of_numpy
from loom.core.errors import DTypeError, EmptyError, ShapeError

__all__ = ["as_array", "require_elements"]

_MOST_ELEMENTS = 0xFFFF_FFFF


def as_array(data: Any, where: str, *, dtype: DType | None = None) -> tuple[np.ndarray[Any, Any], DType]:
    """Return ``data`` as a contiguous array with its dtype; ``dtype`` types the numbers of a list.

    DTypeError if it is not an array of numbers, ShapeError if it has 2^32 elements or more.
    """
    array = _array(data, where, dtype)
    found = of_numpy(array.dtype, where)
    if array.size > _MOST_ELEMENTS:
        raise ShapeError(
            where, "too many elements", expected="less than 2^32", got=array.size, remedy="Process it in parts"
        )
    return np.ascontiguousarray(array), found


def _array(data: Any, where: str, dtype: DType | None) -> np.ndarray[Any, Any]:
    if isinstance(data, np.ndarray):
        return data
    if hasattr(data, "__dlpack__") and not isinstance(data, np.generic):
        try:
            return np.from_dlpack(data)
        except (TypeError, BufferError, RuntimeError, ValueError) as error:
            raise DTypeError(
                where, f"the array cannot be shared ({error})", expected="an array in host memory",
                got=type(data).__name__, remedy="Move it to the CPU first",
            ) from error  # fmt: skip
    try:
        array = np.asarray(data, None if dtype is None else dtype.numpy)
    except (ValueError, TypeError, OverflowError) as error:
        raise DTypeError(
            where, f"not an array ({error})", expected="numbers of one kind in a regular shape",
            got=type(data).__name__, remedy="Pass a numpy array or a list of numbers",
        ) from error  # fmt: skip
    if array.dtype == object or array.dtype.kind in "USVO":
        raise DTypeError(where, "not numbers", expected="bools, ints or floats", got=array.dtype, remedy="Pass numbers")
    return array


def require_elements(array: np.ndarray[Any, Any], where: str, what: str) -> None:
    """Raise EmptyError if there is nothing to find ``what`` of."""
    if not array.size:
        raise EmptyError(
            where, f"no elements to take the {what} of", expected="at least 1", got=0,
            remedy="Check for emptiness first",
        )  # fmt: skip
