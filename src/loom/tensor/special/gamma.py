"""Derivatives of the logarithm of the gamma function: ``digamma``, ``polygamma``.

Layer: tensor. Arguments are moved up by the recurrence to where the asymptotic series holds. Invariant: the number of
terms is fixed by the dtype and the order.

Sources: DLMF 5.5.2, 5.5.4, 5.11.2 and 5.15; 25.11.28 (Euler and Maclaurin) for the sums of ``polygamma``.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import partial
from typing import Any

from loom.core.numbers import whole
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.ops.elementwise import apply, where
from loom.tensor.special.given import horner, is_double, with_slope

__all__ = ["digamma", "polygamma"]

_BERNOULLI = tuple(
    Fraction(n, d) for n, d in ((1, 6), (-1, 30), (1, 42), (-1, 30), (5, 66), (-691, 2730), (7, 6), (-3617, 510),
                                (43867, 798), (-174611, 330))
)  # fmt: skip
"""Bernoulli numbers 2, 4, ..."""
_MOST_ORDER = 20


def digamma(x: Tensor) -> Tensor:
    """Return the derivative of the logarithm of gamma: NaN for negative whole numbers and -inf, -inf for 0, inf for -0.

    For x above 0 at most 12 ulps off (f64: 24), but from 1 to 3, where it has a root, 2^-20 (f64: 2^-49) in all. From
    -1000 to 0, with a root between each two poles, at most 2^-19 (1 + y^2) (f64: 2^-48 (1 + y^2)), y being the result.

    >>> from loom import tensor
    >>> round(digamma(tensor.array([1.0])).item(), 6)
    -0.577216
    """
    return with_slope(x, "digamma", _digamma, lambda x, _y: _polygamma(x, 1))


def _digamma(x: Any) -> Any:
    mirrored = x < 0.5
    y = where(mirrored, 1 - x, x)
    near = y < 8
    sums: Any = 0
    for k in reversed(range(8)):
        sums = 1 / (y + k) + sums
    z = where(near, y + 8, y)
    w = 1 / (z * z)
    terms = [float(b / (2 * k + 2)) for k, b in enumerate(_BERNOULLI[: 9 if is_double(x) else 5])]
    above = apply("log", z) - 0.5 / z - w * horner(w, terms)
    found = above - where(near, sums, 0)
    found = where(mirrored, found - _cotangent(x), found)
    found = where((x < 0) & apply("eq", x, apply("floor", x)), math.nan, found)
    return where(apply("eq", x, 0), -(1 / x), where(apply("eq", y, math.inf), where(mirrored, math.nan, y), found))


def _cotangent(x: Any) -> Any:
    """Return pi cot(pi x)."""
    return math.pi / apply("tan", (x - apply("rint", x)) * math.pi)


def polygamma(n: int, x: Tensor) -> Tensor:
    """Return the n-th derivative of ``digamma``, n from 0 to 20.

    Of negative x it is there for n = 0 and 1 (NaN for others, as scipy's); whole numbers up to 0 give inf or NaN.

    >>> from loom import tensor
    >>> round(polygamma(1, tensor.array([1.0])).item(), 5)
    1.64493
    """
    order = whole(n, "polygamma, n", least=0, most=_MOST_ORDER)
    if order == 0:
        return digamma(x)
    return with_slope(x, "polygamma", partial(_plain, order=order), lambda x, _y: _polygamma(x, order + 1))


def _polygamma(x: Any, order: int) -> Any:
    """Return it with a derivative of its own, of any order."""
    return with_slope(x, "polygamma", partial(_plain, order=order), lambda x, _y: _polygamma(x, order + 1))


def _plain(x: Any, order: int) -> Any:
    if order > 1:
        found = _of_positive(where(x > 0, x, 1), order)
        found = where(x > 0, found, where(apply("eq", x, 0), math.inf, math.nan))
        return where(apply("eq", x, 0), (-1.0) ** (order + 1) * math.inf, found)
    mirrored = x < -0.5  # above, all terms of the sum are positive
    found = _of_positive(where(mirrored, 1 - x, x), 1)
    sine = apply("sin", (x - apply("rint", x)) * math.pi) * (1 / math.pi)
    return where(mirrored, 1 / (sine * sine) - found, found)


def _of_positive(x: Any, order: int) -> Any:
    """Return (-1)^(n + 1) n! times the sum of (x + k)^-(n + 1) for x above 0."""
    s = order + 1
    shift, count = (12, 10) if is_double(x) else (6, 5)
    scale = math.factorial(order) * (-1.0) ** (order + 1)
    total: Any = 0
    for k in reversed(range(shift)):
        total = _power_times(1 / (x + k), s, scale) + total
    z = x + shift
    inverse = 1 / z
    w = inverse * inverse
    terms: list[float] = []
    factor = Fraction(s, 2)
    for j in range(count):
        terms.append(float(_BERNOULLI[j] * factor))
        factor = factor * (s + 2 * j + 1) * (s + 2 * j + 2) / ((2 * j + 3) * (2 * j + 4))
    base = _power_times(inverse, s - 1, scale)
    tail = base * (1 / order + inverse * (0.5 + inverse * horner(w, terms)))
    found = total + tail
    return where(apply("eq", x, math.inf), math.copysign(0, scale), found)


def _power_times(x: Tensor, n: int, scale: float) -> Tensor:
    """Return ``scale`` times a power, in halves: neither leaves the numbers where the product does not."""
    first = _power(x, n - n // 2) * scale
    return first * _power(x, n // 2) if n > 1 else first


def _power(x: Any, n: int) -> Any:
    """Return a power by squares."""
    found, square = None, x
    while n:
        if n & 1:
            found = square if found is None else found * square
        n >>= 1
        square = square * square if n else square
    return found
