"""Turns what a caller passes into a contiguous array of a known dtype.

Layer: patterns. Takes lists, numpy arrays, objects with ``__array_interface__`` and, through DLPack, those of
other libraries on the CPU. Invariant: an array that needs no change is used in place, never copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.dtype import DType, bf16, of_numpy
from loom.core.errors import DTypeError, EmptyError, ShapeError

__all__ = ["as_array", "require_elements"]

_MOST_ELEMENTS = 0xFFFF_FFFF


def as_array(data: Any, where: str, *, dtype: DType | None = None) -> tuple[np.ndarray[Any, Any], DType]:
    """Return ``data`` as a contiguous array of its shape, with its dtype; ``dtype`` types the numbers of a list.

    DTypeError if it is not an array of numbers, ShapeError if it has 2^32 elements or more.
    """
    array = _array(data, where, dtype)
    found = of_numpy(array.dtype, where)
    if array.size > _MOST_ELEMENTS:
        raise ShapeError(
            where, "too many elements", expected="less than 2^32", got=array.size, remedy="Process it in parts"
        )
    if not (array.flags.c_contiguous and array.flags.aligned):
        array = np.require(array, requirements=("C", "A"))
    return array, found


def _array(data: Any, where: str, dtype: DType | None) -> np.ndarray[Any, Any]:
    if isinstance(data, np.ndarray):
        if hasattr(data, "mask"):  # naming numpy.ma would load it
            raise DTypeError(
                where, "the array has a mask", expected="a plain array", got=type(data).__name__,
                remedy="Use its compressed() or filled()",
            )  # fmt: skip
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
        array = np.asarray(data)
    except (ValueError, TypeError, OverflowError) as error:
        raise DTypeError(
            where, f"not an array ({error})", expected="numbers of one kind in a regular shape",
            got=type(data).__name__, remedy="Pass a numpy array or a list of numbers",
        ) from error  # fmt: skip
    if array.dtype.kind in "USVO":
        raise DTypeError(where, "not numbers", expected="bools, ints or floats", got=array.dtype, remedy="Pass numbers")
    _refuse_rounded_integers(data, array, where)
    if dtype is None or dtype == bf16 or isinstance(data, np.generic) or array.dtype.kind not in "biuf":
        return array
    return _typed(array, dtype, where)


def _refuse_rounded_integers(data: Any, array: np.ndarray[Any, Any], where: str) -> None:
    """A list of ints that no integer type holds becomes floats in numpy, which would change them silently."""
    if not isinstance(data, (list, tuple)) or array.dtype != np.float64 or not (abs(array) >= 2.0**63).any():
        return
    if all(isinstance(x, (int, np.integer)) for x in np.asarray(data, object).flat):
        raise DTypeError(
            where, "no integer type holds all the numbers", expected="int64 or uint64 for all of them",
            got="ints of both ranges", remedy="Pass a numpy array of the dtype you mean",
        )  # fmt: skip


@ordinary_arithmetic()
def _typed(array: np.ndarray[Any, Any], dtype: DType, where: str) -> np.ndarray[Any, Any]:
    """Return the numbers of a list as ``dtype``: floats are rounded, bools and integers must be the same number."""
    with np.errstate(all="ignore"):
        typed = array.astype(dtype.numpy)
    if not dtype.is_float and (typed != array).any():
        wrong = array[typed != array].flat[0]
        raise DTypeError(
            where, f"{wrong} is no {dtype}", expected=f"numbers that fit {dtype}", got=array.dtype,
            remedy="Convert data, or pass numbers that fit",
        )  # fmt: skip
    return typed


def require_elements(array: Any, where: str, what: str) -> None:
    """Raise EmptyError if there is nothing to find ``what`` of."""
    if not array.size:
        raise EmptyError(
            where, f"no elements to take the {what} of", expected="at least 1", got=0,
            remedy="Check for emptiness first",
        )  # fmt: skip
