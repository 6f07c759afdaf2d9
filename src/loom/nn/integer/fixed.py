"""Fixed-point arithmetic over tensors: shifts that round, powers of two, logarithms, logistic functions.

Layer: nn. A number is ``q 2^e``: an integer and an exponent, which is an int (known when a program is recorded) or an
i32 tensor of no dimension (known when it runs). Invariant: nothing here is a float, and no value below the bounds that
the docstrings name wraps.

Sources: D. Goldberg (1991) for rounding to nearest, halves to even; S. Gupta and others, "Deep learning with limited
numerical precision" (2015) for stochastic rounding.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from loom import tensor
from loom.core.dtype import DType, i32, i64
from loom.tensor import Tensor

__all__ = [
    "FRACTION", "MOST_SHIFT", "ONE", "UNIT", "Exponent", "align", "bit_length", "divide_even", "exp2_negative",
    "exp_negative", "larger", "log2_of", "logistic", "narrow", "round_even", "round_random", "saturate",
]  # fmt: skip

Exponent: TypeAlias = "int | Tensor"

UNIT = 30
"""Fraction bits of what the functions return."""
ONE = 1 << UNIT
FRACTION = 16
"""Fraction bits of powers."""
MOST_SHIFT = 62
"""The most bits that an i64 is shifted by."""
_LOG2_E = 94548
"""log2 e, times 2^16, rounded."""
_SERIES = (
    1073741824, -744261118, 257941248, -59597083, 10327387, -1431680, 165394, -16377, 1419, -109,
)  # fmt: skip
"""(-ln 2)^n / n!, times 2^30, rounded: 2^-x for x of [0, 1), off by less than 2^-26, truncations included."""
_LOG_BITS = 16


def larger(a: Exponent, b: Exponent) -> Exponent:
    """Return the larger of two exponents."""
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return tensor.maximum(a, b)


def _shift_of(shift: Exponent, like: Tensor) -> Any:
    return shift if isinstance(shift, int) else shift.astype(like.dtype)


def round_even(v: Tensor, shift: Exponent) -> Tensor:
    """Return ``v / 2^shift`` rounded to nearest, halves to even.

    ``shift``: 0 to 62 (of i32: 30); ``v`` plus half of 2^shift must not wrap.
    """
    if isinstance(shift, int):
        if shift == 0:
            return v
        return (v + ((1 << (shift - 1)) - 1) + ((v >> shift) & 1)) >> shift
    s = shift.astype(v.dtype)
    half = (s * 0 + 1).map("shl", s) >> 1
    some = tensor.minimum(half, 1)
    return (v + (half - some) + (v.map("shr", s) & some)).map("shr", s)


def round_random(v: Tensor, shift: Exponent, words: Tensor) -> Tensor:
    """Return ``v / 2^shift`` rounded up with the chance that is its fraction, by a u32 for each element.

    ``v`` is i64 and below 2^62 in size; beyond 32 bits of ``shift`` the chance is rounded down to 2^-32.
    """
    drawn, s = words.astype(i64), _shift_of(shift, v)
    if isinstance(s, int):
        added = drawn >> (32 - s) if s <= 32 else drawn << (s - 32)
        return (v + added) >> s
    low, high = tensor.maximum(32 - s, 0), tensor.maximum(s - 32, 0)
    return (v + drawn.map("shr", low).map("shl", high)).map("shr", s)


def saturate(v: Tensor, most: int) -> Tensor:
    """Return ``v`` brought into -most to most."""
    return tensor.maximum(tensor.minimum(v, most), -most)


def align(v: Tensor, by: Exponent, words: Tensor | None = None) -> Tensor:
    """Return ``v 2^by`` of an i64 ``v``: to the left saturating at 2^62, to the right rounded to nearest, halves to
    even, or with ``words`` at random."""
    if isinstance(by, int):
        if by >= 0:
            return saturate(v, (1 << MOST_SHIFT) >> min(by, MOST_SHIFT)) << min(by, MOST_SHIFT)
        right: Exponent = min(-by, MOST_SHIFT)
        return round_even(v, right) if words is None else round_random(v, right, words)
    left = tensor.minimum(tensor.maximum(by, 0), MOST_SHIFT).astype(i64)
    right = tensor.minimum(tensor.maximum(-by, 0), MOST_SHIFT)
    most = (left * 0 + (1 << MOST_SHIFT)).map("shr", left)
    moved = tensor.maximum(tensor.minimum(v, most), -most).map("shl", left)
    return round_even(moved, right) if words is None else round_random(moved, right, words)


def bit_length(v: Tensor) -> Tensor:
    """Return the bits of the largest size in an i64 ``v``, as i32 of no dimension: 0 for zeros."""
    return (64 - v.abs().max().map("clz")).astype(i32)


def divide_even(v: Tensor, by: Any) -> Tensor:
    """Return ``v / by`` rounded to nearest, halves to even; ``by``: positive ints, one or a tensor of v's type."""
    low = v // by
    twice = (v - low * by) * 2
    up = (twice > by) | ((twice == by) & ((low & 1) == 1))
    return low + up.astype(v.dtype)


def exp2_negative(t: Tensor) -> Tensor:
    """Return 2^-t in units of 2^-30 for an i64 ``t`` >= 0 in units of 2^-16."""
    t = tensor.minimum(t, (UNIT + 1) << FRACTION)
    x = (t & ((1 << FRACTION) - 1)) << (UNIT - FRACTION)
    found = x * 0 + _SERIES[-1]
    for c in _SERIES[-2::-1]:
        found = ((found * x) >> UNIT) + c
    return found.map("shr", t >> FRACTION)


def exp_negative(z: Tensor, e: Exponent) -> tuple[Tensor, Tensor]:
    """Return e^(-z 2^e) in units of 2^-30, and the power of two, -log2 of it, in units of 2^-16.

    ``z``: i64, 0 to 2^40.
    """
    t = align(z * _LOG2_E, e)
    return exp2_negative(t), t


def logistic(x: Tensor, e: Exponent) -> Tensor:
    """Return 1 / (1 + e^(-x 2^e)) in units of 2^-30, of an i64 ``x``; off by less than 2^-18."""
    small, _ = exp_negative(x.abs(), e)
    upper = (x * 0 + (1 << (2 * UNIT))) // (small + ONE)
    return tensor.where(x >= 0, upper, ONE - upper)


def log2_of(s: Tensor) -> Tensor:
    """Return log2 of an i64 ``s`` >= 1 in units of 2^-16, rounded down, by repeated squaring.

    Off by less than 2^-15.
    """
    whole = 63 - s.map("clz")
    m = tensor.where(whole > UNIT, s.map("shr", tensor.maximum(whole - UNIT, 0)),
                     s.map("shl", tensor.maximum(UNIT - whole, 0)))  # fmt: skip
    found = whole
    for _ in range(_LOG_BITS):
        m = (m * m) >> UNIT
        bit = (m >= 2 * ONE).astype(i64)
        found = (found << 1) | bit
        m = m.map("shr", bit)
    return found


def narrow(v: Tensor, most: int, held: DType) -> Tensor:
    """Return ``v`` saturated and stored."""
    return saturate(v, most).astype(held)
