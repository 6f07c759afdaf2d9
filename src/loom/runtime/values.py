"""Turns what callers hand to a unit into arrays of the right type, and checks counts.

Layer: runtime. Invariant: whole numbers arrive as they are or not at all; a float arrives as the nearest one
of the binding's type, never as an infinity it was not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.dtype import DType, bf16, of_numpy, u16, u32
from loom.core.errors import ArgumentError, DTypeError

__all__ = ["as_array", "as_bindings", "as_count", "as_data", "as_read_dtype"]


def as_count(value: Any, where: str, what: str, expected: str) -> int:
    """Return a number of things, at least 0; ArgumentError otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ArgumentError(where, f"unusable {what}", expected=expected, got=repr(value), remedy="Pass an int")
    return int(value)


def as_array(data: Any, where: str) -> np.ndarray[Any, Any]:
    """Return data as a contiguous array of whatever type it has; DTypeError if it is none."""
    try:
        return np.ascontiguousarray(data)
    except (ValueError, OverflowError) as error:
        raise DTypeError(where, f"not an array ({error})", remedy="Pass numbers") from None


def as_bindings(bindings: Any, unit: str) -> list[tuple[str, Any]]:
    """Return (name, specification) pairs of a mapping or of (name, dtype, size) triples."""
    if isinstance(bindings, Mapping):
        return list(bindings.items())
    pairs = []
    for item in bindings if isinstance(bindings, (list, tuple)) else [bindings]:
        if not isinstance(item, tuple) or len(item) != 3:
            raise ArgumentError(
                f"{unit}, bindings", "not a binding", expected="(name, dtype, size)", got=repr(item),
                remedy="Pass a mapping or triples",
            )  # fmt: skip
        pairs.append((item[0], (item[1], item[2])))
    return pairs


@ordinary_arithmetic()
def as_data(data: Any, dtype: DType | None, where: str) -> np.ndarray[Any, Any]:
    """Return data as a contiguous array of a binding's type, or of a 32-bit type for words."""
    if isinstance(data, np.ndarray) or hasattr(data, "__array_interface__") or hasattr(data, "dtype"):
        array = as_array(data, where)
        found = of_numpy(array.dtype, where)
        fits = found.scalar == dtype.scalar if dtype is not None else found.bits == 32
        fits = fits or (dtype is not None and dtype.scalar is bf16 and found is u16)  # its bits
        if not fits:
            wanted = dtype if dtype is not None else "a 32-bit dtype (uint32, int32, float32)"
            raise DTypeError(
                where, "data of the wrong type", expected=wanted, got=array.dtype,
                remedy="Convert with array.astype(...), or array.view(numpy.uint32) to copy raw words",
            )  # fmt: skip
        return array
    if dtype is not None and dtype.scalar is bf16:
        raise DTypeError(
            where, "numpy has no bf16", expected="an array of bfloat16 (ml_dtypes), or of uint16 with the bits",
            got=type(data).__name__, remedy="Convert first",
        )  # fmt: skip
    array = as_array(data, where)
    return _exact(array, _list_dtype(array, dtype, where), where)


def _list_dtype(array: np.ndarray[Any, Any], dtype: DType | None, where: str) -> np.dtype[Any]:
    if array.size == 0:
        return dtype.numpy if dtype is not None else u32.numpy
    huge = array.dtype == object and all(isinstance(v, int) for v in array.flat)  # beyond 64 bits
    if array.dtype.kind not in "biuf" and not huge:
        raise DTypeError(where, "not numbers", expected="ints or floats", got=array.dtype, remedy="Pass numbers")
    if dtype is not None:
        return dtype.numpy
    if array.dtype.kind == "f":
        return np.dtype(np.float32)
    return np.dtype(np.int32) if array.min() < 0 else np.dtype(np.uint32)


def _exact(array: np.ndarray[Any, Any], kind: np.dtype[Any], where: str) -> np.ndarray[Any, Any]:
    """Convert a list's values; whole numbers must fit and stay whole, floats must stay finite."""
    try:
        if array.dtype == object and kind.kind == "f":
            array = array.astype(np.float64)
        with np.errstate(all="ignore"):
            result = array.astype(kind)
            lost = np.isinf(result) & ~np.isinf(array) if kind.kind == "f" else result != array
    except (OverflowError, TypeError):  # ints beyond 64 bits
        result, lost = array, np.ones(array.shape, np.bool_)
    if lost.any():
        value = array.reshape(-1)[int(np.argmax(lost.reshape(-1)))]
        raise ArgumentError(
            where, f"value {value} does not fit", expected=kind, got=value,
            remedy="Use values of the binding's type",
        )  # fmt: skip
    return np.ascontiguousarray(result)


def as_read_dtype(dtype: Any, held: DType | None, where: str) -> np.dtype[Any]:
    """Return the numpy dtype to read memory of type ``held`` (None: words) as."""
    if dtype is None:
        return (held or u32).numpy
    found = dtype if isinstance(dtype, DType) else of_numpy(dtype, where)
    if held is not None and found.scalar != held.scalar:
        raise DTypeError(
            where, "read as another type", expected=held, got=found, remedy="Leave dtype out, then use .view()"
        )
    return found.numpy
