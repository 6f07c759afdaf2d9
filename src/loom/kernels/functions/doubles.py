"""Pairs of floats that stand for their exact sum: twice the digits where one float has too few.

Layer: kernels. A pair's second number is small beside its first. Invariant: only +, - and * and bit operations, and in
``quotient`` one division, so that every target can do it; no fused operations.

Source: T. J. Dekker, "A floating-point technique for extending the available precision", 1971.
"""

from __future__ import annotations

from typing import Any

from loom.ir.frontend.intrinsics import bitcast
from loom.kernels.functions.formats import format_of

__all__ = ["fast_two_sum", "plus_constant", "product", "quotient", "times", "two_sum", "upper"]


def two_sum(a: Any, b: Any) -> Any:
    """Return ``a + b`` rounded, and what the rounding left out (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def fast_two_sum(a: Any, b: Any) -> Any:
    """Return ``a + b`` rounded, and what the rounding left out, for ``abs(a) >= abs(b)`` or a = 0 (Dekker)."""
    total = a + b
    return total, b - (total - a)


def upper(x: Any) -> Any:
    """Return the upper 12 of the 24 bits of an f32, 26 of the 53 of an f64: products of two such are exact."""
    form = format_of(x)
    return bitcast(x.dtype, bitcast(form.bits, x) & form.upper)


def product(a: Any, b: Any) -> Any:
    """Return ``a * b`` rounded, and what the rounding left out, exact unless it underflows (Dekker)."""
    a1, b1 = upper(a), upper(b)
    a2, b2 = a - a1, b - b1
    whole = a * b
    return whole, (((a1 * b1 - whole) + a1 * b2) + a2 * b1) + a2 * b2


def times(a: Any, a1: Any, b: Any, b1: Any) -> Any:
    """Return ``(a + a1) (b + b1)`` as a pair."""
    whole, left = product(a, b)
    return fast_two_sum(whole, left + (a * b1 + a1 * b))


def plus_constant(constant: Any, b: Any, b1: Any) -> Any:
    """Return ``constant + (b + b1)`` as a pair, for a constant in two parts larger than b."""
    high, low = fast_two_sum(constant[0], b)
    return high, low + (b1 + constant[1])


def quotient(a: Any, a1: Any, b: Any, b1: Any) -> Any:
    """Return ``(a + a1) / (b + b1)`` as a pair."""
    q = a / b
    whole, left = product(q, b)
    return q, (((a - whole) - left) + (a1 - q * b1)) / b
