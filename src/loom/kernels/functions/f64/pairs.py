"""Sums and products of pairs of f64, each standing for its exact sum: some 104 bits.

Layer: kernels. Invariant: only +, - and * and bit operations; a pair's second number is small beside its first.

Source: T. J. Dekker, "A floating-point technique for extending the available precision", 1971.
"""

from __future__ import annotations

from typing import Any

from loom.kernels.functions.doubles import fast_two_sum, product_f64

__all__ = ["divided", "plus_constant", "times"]


def times(a: Any, a1: Any, b: Any, b1: Any) -> Any:
    """Return ``(a + a1) (b + b1)`` as a pair."""
    whole, left = product_f64(a, b)
    return fast_two_sum(whole, left + (a * b1 + a1 * b))


def plus_constant(constant: Any, b: Any, b1: Any) -> Any:
    """Return ``constant + (b + b1)`` as a pair, for a constant in two parts larger than b."""
    high, low = fast_two_sum(constant[0], b)
    return high, low + (b1 + constant[1])


def divided(a: Any, a1: Any, b: Any, b1: Any) -> Any:
    """Return ``(a + a1) / (b + b1)`` as a pair."""
    q = a / b
    whole, left = product_f64(q, b)
    return q, (((a - whole) - left) + (a1 - q * b1)) / b
