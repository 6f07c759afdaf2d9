"""Functions of f16 and bf16 over all 65,536 inputs: what the exact values round to.

A reference of f64 tells nearly all; where the rounding of a value a little larger or smaller is another, mpmath's value
is rounded, to odd first (S. Boldo and G. Melquiond, "When double rounding is odd", 2005).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import mpmath as mp
import numpy as np

from functions.references import REFERENCES
from loom.core.dtype import DType, f16

__all__ = ["INPUTS", "nearest", "rounded", "widened"]

Array = np.ndarray[Any, Any]
INPUTS = np.arange(2**16, dtype=np.uint16)
"""The bits of every input."""
_BESSEL = ("j0", "j1", "y0", "y1")


def widened(bits: Array, dtype: DType) -> Array:
    """Return the numbers that 16 bits are, as f32, every NaN the same."""
    with np.errstate(invalid="ignore"):
        words = bits.astype(np.uint32) << 16
        wide = bits.view(np.float16).astype(np.float32) if dtype == f16 else words.view(np.float32)
    return np.where(np.isnan(wide), np.float32(np.nan), wide)


def rounded(values: Array, dtype: DType) -> Array:
    """Return the bits of f32 or f64 values rounded once to nearest, halves to even, every NaN the same."""
    with np.errstate(all="ignore"):
        values = values.astype(np.float64)
        if dtype == f16:
            bits = values.astype(np.float16).view(np.uint16)
        else:
            near = values.astype(np.float32)
            off = near != values
            words = near.view(np.uint32) - (np.abs(near) > np.abs(values))
            words = np.where(off, words | 1, words)  # to odd
            bits = ((words + 0x7FFF + (words >> 16 & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7E00 if dtype == f16 else 0x7FC0), bits)


def _odd(value: Any, zero: float) -> float:
    """Return a number of mpmath rounded to odd; ``zero`` is what exactly 0 is."""
    if value == 0:
        return zero
    near = np.array([float(value)])
    if mp.mpf(float(near[0])) == value:
        return float(near[0])
    if near[0] == 0:
        return 5e-324 if value > 0 else -5e-324
    bits = near.view(np.uint64) - np.uint64(abs(mp.mpf(float(near[0]))) > abs(value))
    return float((bits | np.uint64(1)).view(np.float64)[0])


@cache
def nearest(name: str, dtype: DType) -> Array:
    """Return the bits of a function of one operand of every input, correctly rounded."""
    x = widened(INPUTS, dtype).astype(np.float64)
    reference = REFERENCES[name]
    with np.errstate(all="ignore"):
        want = np.asarray(reference.fast(x), np.float64).copy()
        doubt = 1e-10 * np.abs(want)
        if name in (*_BESSEL, "lgamma"):  # beside zeros only the absolute error of the reference is small
            doubt += np.where(np.abs(x) > 0.5, 1e-13 * np.minimum(1, 1 / np.sqrt(np.abs(x) / 2)), 0)
        doubted = (rounded(want - doubt, dtype) != rounded(want + doubt, dtype)) & np.isfinite(want) & (x != 0)
    with mp.workprec(300):
        for at in np.flatnonzero(doubted & np.isfinite(x)):
            want[at] = _odd(reference.exact(mp.mpf(float(x[at]))), float(want[at]))
    return rounded(want, dtype)
