"""Elements in another type: conversions that lose nothing unasked, and bf16, which numpy lacks, on the host.

Layer: core (numpy alone). Invariant: an element arrives as it is, or as the nearest one of a float type, or not at all.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.dtype import DType, bf16
from loom.core.errors import DTypeError

__all__ = ["LARGEST", "Array", "bfloat16_bits", "convert", "host_type", "refuse", "show", "view_typed", "widen"]

Array = np.ndarray[Any, Any]

LARGEST = {
    "f16": 65504.0,
    "bf16": (2 - 2.0**-7) * 2.0**127,
    "f32": (2 - 2.0**-23) * 2.0**127,
    "f64": sys.float_info.max,
}
"""The largest number of a type."""


@ordinary_arithmetic()
def convert(array: Array, found: DType, dtype: DType, where: str) -> Array:
    """Return an array of ``found`` as a contiguous one of ``dtype``, bf16 as its 16 bits; rules of ``read_as``."""
    if found == dtype:
        held = array.view(np.uint16) if found == bf16 else array
        return np.require(held, requirements=("C", "A"))
    if found == bf16:
        array = _to_f32(array)
    if dtype.is_complex:
        return _to_complex(array, dtype, where)
    if found.is_complex:
        raise DTypeError(where, "complex numbers do not become real ones", expected=dtype, got=found,
                         remedy="Take the real part first")  # fmt: skip
    if dtype.is_float:
        return np.require(_to_float(array, dtype, where), requirements=("C", "A"))
    lowest, highest = (0, 1) if dtype.is_bool else (dtype.minimum, dtype.maximum)
    wrong = (array < lowest) | (array >= highest + 1) if array.dtype.kind == "f" else _outside(array, lowest, highest)
    if array.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            wrong |= np.isnan(array) | (np.trunc(array) != array)
    if wrong.any():
        raise refuse(array[wrong].flat[0] if array.ndim else array[()], dtype, where)
    return np.require(array.astype(dtype.numpy), requirements=("C", "A"))


def _outside(array: Array, lowest: int, highest: int) -> Array:
    """Tell which integers, or bools, are below ``lowest`` or above ``highest``, without wrapping."""
    wrong = np.zeros(array.shape, np.bool_)
    if array.dtype.kind == "b":
        return wrong
    limits = np.iinfo(array.dtype)
    if limits.min < lowest:
        wrong |= array < lowest
    if limits.max > highest:
        wrong |= array > highest
    return wrong


def _to_float(array: Array, dtype: DType, where: str) -> Array:
    with np.errstate(all="ignore"):
        if dtype == bf16:
            typed = bfloat16_bits(array)
            is_lost = (typed & 0x7FFF) == 0x7F80
        else:
            typed = array.astype(dtype.numpy)
            is_lost = np.isinf(typed)
        if is_lost.any() and (wrong := is_lost & np.isfinite(array)).any():
            raise refuse(array[wrong].flat[0] if array.ndim else array[()], dtype, where)
    return typed


def _to_complex(array: Array, dtype: DType, where: str) -> Array:
    """Return real or complex numbers as complex ones, each part rounded once; real ones get the imaginary part +0."""
    found = np.zeros(array.shape, dtype.numpy)
    found.real = _to_float(array.real, dtype.part, where)
    if array.dtype.kind == "c":
        found.imag = _to_float(array.imag, dtype.part, where)
    return found


def refuse(value: Any, dtype: DType, where: str) -> DTypeError:
    """Return what says that a number does not fit a type."""
    if dtype.is_bool:
        expected = "True or False, 1 or 0"
    elif dtype.is_float:
        expected = f"at most {LARGEST[dtype.name]} in size"
    else:
        expected = f"whole numbers from {dtype.minimum} to {dtype.maximum}"
    shown_value = value if isinstance(value, int) else value.item()
    return DTypeError(where, f"{shown_value} does not fit {dtype}", expected=expected, got=shown_value,
                      remedy="Convert first, or use a type that holds it")  # fmt: skip


def bfloat16_bits(array: Array) -> Array:
    """Return the 16 bits of real numbers rounded to bf16 once, halves to even; every NaN is 0x7fc0."""
    with np.errstate(all="ignore"):
        near = array.astype(np.float32)
        bits = np.ascontiguousarray(near).view(np.uint32).reshape(near.shape)
        if array.dtype.itemsize > 2 and array.dtype != np.float32:
            bits = _odd(array, near, bits)
    wide = bits.astype(np.uint64)
    rounded = ((wide + 0x7FFF + ((wide >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)).astype(np.uint16)
    return np.where(np.isnan(near), np.uint16(0x7FC0), rounded)


def _odd(array: Array, near: Array, bits: Array) -> Array:
    """Return f32 bits of numbers rounded to odd: what is rounded on from there is as if from the exact number."""
    if array.dtype.kind == "f":
        beyond = np.abs(near.astype(np.float64)) > np.abs(array)
        inexact = (near.astype(np.float64) != array) & ~np.isnan(array)
    else:  # an integer: compared as integers, where the float is one
        size = np.where(array < 0, np.uint64(0) - array.astype(np.uint64), array.astype(np.uint64))
        is_top = np.abs(near) >= np.float32(2.0**64)
        back = np.where(is_top, np.uint64(0), np.where(is_top, 0, np.abs(near)).astype(np.uint64))
        beyond, inexact = is_top | (back > size), is_top | (back != size)
    return np.where(inexact, (bits - beyond.astype(np.uint32)) | np.uint32(1), bits)


# bf16 on the host


@cache
def _bfloat16() -> np.dtype[Any] | None:
    """Return numpy's dtype of bf16, which ml_dtypes gives it, or None."""
    from loom.core.optional import find

    known = find("ml_dtypes")
    return None if known is None else np.dtype(known.bfloat16)


def host_type(dtype: DType) -> np.dtype[Any]:
    """Return the numpy dtype that elements in host memory have: bf16 ml_dtypes' type, or else its 16 bits."""
    return (_bfloat16() if dtype == bf16 else None) or dtype.numpy


def view_typed(array: Array, dtype: DType) -> Array:
    """Return elements as they are stored, bf16 in ml_dtypes' type where there is one."""
    return array.view(host_type(dtype)) if dtype == bf16 else array


def widen(array: Array, dtype: DType) -> Array:
    """Return elements that every library knows: bf16, as it is stored, as f32."""
    return _to_f32(array) if dtype == bf16 else array


def _to_f32(array: Array) -> Array:
    bits = np.ascontiguousarray(array).view(np.uint16).reshape(array.shape)
    return np.asarray(bits.astype(np.uint32) << 16).view(np.float32)  # of no axes numpy makes a scalar, no array


def show(array: Array, dtype: DType) -> Array:
    """Return elements as users see them: bf16, never as integers, in ml_dtypes' type or else as f32.

    >>> from loom.core.dtype import f32
    >>> show(np.array([1.5], np.float32), f32).tolist()
    [1.5]
    """
    if dtype != bf16:
        return array
    return _to_f32(array) if _bfloat16() is None else view_typed(array, dtype)
