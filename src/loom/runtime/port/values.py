"""Turns what callers hand to a unit into arrays of the right type, and checks counts.

Layer: runtime. Invariant: whole numbers arrive as they are or not at all; a float arrives as the nearest one
of the binding's type, never as an infinity it was not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.arrays import read_array
from loom.core.conversions import convert
from loom.core.dtype import DType, bf16, dtype_of, f32, i32, u16, u32
from loom.core.errors import ArgumentError, DTypeError
from loom.core.given import is_list, is_mapping
from loom.core.numbers import whole

__all__ = ["as_bindings", "as_count", "as_data", "as_read_dtype"]


_TYPED = ("__array_interface__", "__dlpack__", "dtype")
"""What has one of these is an array of a type of its own."""


def as_count(value: Any, where: str, what: str, expected: str) -> int:
    """Return a number of things, at least 0; ArgumentError otherwise."""
    try:
        return whole(value, where, least=0)
    except ArgumentError:
        raise ArgumentError(
            where, f"unusable {what}", expected=expected, got=repr(value), remedy="Pass an int"
        ) from None


def as_bindings(bindings: Any, unit: str) -> list[tuple[str, Any]]:
    """Return (name, specification) pairs of a mapping or of (name, dtype, size) triples."""
    if is_mapping(bindings):
        return list(bindings.items())
    pairs: list[tuple[str, Any]] = []
    for item in bindings if is_list(bindings) else [bindings]:
        if not (is_list(item) and isinstance(item, tuple)) or len(item) != 3:
            raise ArgumentError(
                f"{unit}, bindings", "not a binding", expected="(name, dtype, size)", got=repr(item),
                remedy="Pass a mapping or triples",
            )  # fmt: skip
        pairs.append((item[0], (item[1], item[2])))
    return pairs


def as_data(data: Any, dtype: DType | None, where: str) -> np.ndarray[Any, Any]:
    """Return data as a contiguous array of a binding's type, or of a 32-bit type for words.

    Arrays have that type already, lists take it. For bf16 an array may be of float32, as numpy lacks the type, and one
    of uint16 is its bits.
    """
    held = None if dtype is None else dtype.scalar
    if not isinstance(data, np.ndarray) and not any(hasattr(data, name) for name in _TYPED):
        memory, found = read_array(data, where, dtype=held)
        if held is None:
            held = _word_type(memory, found)
        return convert(memory, found, held, where)
    memory, found = read_array(data, where)
    is_stand_in = held is bf16 and found in (u16, f32)
    if not is_stand_in and (found.bits != 32 if held is None else found != held):
        wanted = dtype if dtype is not None else "a 32-bit dtype (uint32, int32, float32)"
        raise DTypeError(
            where, "data of the wrong type", expected=wanted, got=found.numpy if found != bf16 else found,
            remedy="Convert with array.astype(...), or array.view(numpy.uint32) to copy raw words",
        )  # fmt: skip
    return memory if found == u16 else convert(memory, found, held or found, where)


def _word_type(array: np.ndarray[Any, Any], found: DType) -> DType:
    """Return the 32-bit type of a list's numbers: floats, ints that may be negative, or else words."""
    if not array.size:
        return u32
    if found.is_float:
        return f32
    return i32 if array.min() < 0 else u32


def as_read_dtype(dtype: Any, held: DType | None, where: str) -> np.dtype[Any]:
    """Return the numpy dtype to read memory of type ``held`` (None: words) as."""
    if dtype is None:
        return (held or u32).numpy
    found = dtype_of(dtype, where)
    if held is not None and found.scalar != held.scalar:
        raise DTypeError(
            where, "read as another type", expected=held, got=found, remedy="Leave dtype out, then use .view()"
        )
    return found.numpy
