"""The floats' codecs: numbers to bit patterns and back.

Layer: core (numpy alone). f16, bf16, f32 and f64 are IEEE 754's and bfloat16; f8 and f4 are those of the Open Compute
Project: "OCP 8-bit Floating Point Specification" 1.0 (2023) and "OCP Microscaling Formats" 1.0 (2023). Invariant: a
number is rounded once, to nearest, halves to even, from the exact number that it is.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from loom.core.conversions import bfloat16_bits
from loom.core.narrow.types import NumericType

__all__ = ["decode_floats", "encode_floats", "is_beyond"]

Array = np.ndarray[Any, Any]

_LEAST_EXPONENT = {"f8_e4m3": -6, "f8_e5m2": -14, "f4_e2m1": 0}
"""Of the smallest normal number of a type that numpy lacks."""


def encode_floats(array: Array, kind: NumericType, *, saturate: bool = True) -> Array:
    """Return the bit patterns of real numbers (f64, f32 or f16), unsigned, of the array's shape.

    ``saturate``: what is too large, and an infinity, become the largest finite number; else they become infinity, in
    f8_e4m3, which has none, NaN; f4 always saturates. A NaN stays one; in f4, which has none, it is 0 of its sign:
    who stores numbers refuses it before.
    """
    with np.errstate(all="ignore"):
        if saturate:
            array = np.where(np.isnan(array), array, np.clip(array, -kind.largest, kind.largest)).astype(array.dtype)
        if kind.name == "bf16":
            return bfloat16_bits(array)
        if kind.name not in _LEAST_EXPONENT:
            dtype = np.dtype(f"f{kind.bits // 8}")
            return np.ascontiguousarray(array.astype(dtype)).view(kind.code_type).reshape(array.shape)
        return _encode_narrow(array.astype(np.float64), kind)


def _encode_narrow(array: Array, kind: NumericType) -> Array:
    size = np.abs(array)
    _, exponent = np.frexp(np.where(np.isfinite(size), size, 1.0))
    place = np.maximum(exponent - 1, _LEAST_EXPONENT[kind.name]) - (kind.digits - 1)
    near = np.ldexp(np.rint(np.ldexp(size, -place)), place)  # scaling by powers of two is exact
    values = _positive(kind)
    codes = np.searchsorted(values, np.where(near <= kind.largest, near, 0.0)).astype(np.uint8)
    beyond, none = _beyond(kind)
    codes = np.where(near > kind.largest, np.uint8(beyond), codes)
    codes = np.where(np.isnan(array), np.uint8(none), codes)
    sign = np.uint8(1 << (kind.bits - 1))
    return np.where(np.signbit(array), codes | sign, codes).astype(np.uint8)


def _beyond(kind: NumericType) -> tuple[int, int]:
    """Return the codes, without the sign, of what is too large and of NaN."""
    return {"f8_e4m3": (0x7F, 0x7F), "f8_e5m2": (0x7C, 0x7E), "f4_e2m1": (7, 0)}[kind.name]


def decode_floats(codes: Array, kind: NumericType) -> Array:
    """Return the numbers that bit patterns stand for, exactly, as f64 of the same shape."""
    if kind.name in _LEAST_EXPONENT:
        return _table(kind)[codes]
    shape, codes = codes.shape, np.ascontiguousarray(codes)
    is_brief = kind.name == "bf16"
    found = (codes.astype(np.uint32) << 16).view(np.float32) if is_brief else codes.view(f"f{kind.bits // 8}")
    with np.errstate(invalid="ignore"):  # signalling NaNs
        return found.reshape(shape).astype(np.float64)


def is_beyond(array: Array, kind: NumericType) -> Array:
    """Tell which numbers (f64) are rounded to something larger than a float type's largest number."""
    _, exponent = np.frexp(kind.largest)
    half = np.ldexp(0.5, exponent - kind.digits)
    with np.errstate(over="ignore"):  # nothing is beyond f64
        least, size = kind.largest + half, np.abs(array)
    is_even = np.ldexp(kind.largest, kind.digits - exponent) % 2 == 0  # halves go to the even one of two neighbours
    return size > least if is_even else size >= least


@cache
def _positive(kind: NumericType) -> Array:
    """Return the finite numbers from 0 up; the index is the code."""
    table = _table(kind)[: 1 << (kind.bits - 1)]
    return table[np.isfinite(table)]


@cache
def _table(kind: NumericType) -> Array:
    """Return the number of each code."""
    codes = np.arange(1 << kind.bits)
    fraction_bits = kind.digits - 1
    fraction = codes & ((1 << fraction_bits) - 1)
    exponent = codes >> fraction_bits & ((1 << (kind.bits - kind.digits)) - 1)
    least = _LEAST_EXPONENT[kind.name]
    whole = np.where(exponent == 0, fraction, fraction + (1 << fraction_bits))
    made = np.ldexp(whole.astype(np.float64), np.maximum(exponent, 1) - 1 + least - fraction_bits)
    top = exponent == exponent.max()
    if kind.has_infinity:
        made = np.where(top, np.where(fraction == 0, np.inf, np.nan), made)
    elif kind.has_nan:
        made = np.where(top & (fraction == fraction.max()), np.nan, made)
    made = np.where(codes >> (kind.bits - 1) == 1, -made, made)
    made.flags.writeable = False
    return made
