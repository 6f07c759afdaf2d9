"""Modified Bessel functions: ``i0``, ``i1``, and times e^-\\|x\\|: ``i0e``, ``i1e``.

Layer: tensor. Up to 13 (f64: 21) in size the power series, whose terms are all positive; beyond it Hankel's, whose
terms fall to the last bit there. Invariant: the number of terms is fixed by the dtype.

Sources: DLMF 10.25.2 and 10.40.1.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache, partial
from typing import Any

from loom.tensor.arrays.tensor import Tensor
from loom.tensor.ops.elementwise import apply, where
from loom.tensor.special.given import horner, is_double, with_slope

__all__ = ["i0", "i0e", "i1", "i1e"]


@cache
def _series(order: int, count: int) -> tuple[float, ...]:
    """Return the coefficients of powers of (x / 2)^2 in I(x) / (x / 2)^order."""
    return tuple(float(Fraction(1, math.factorial(k) * math.factorial(k + order))) for k in range(count))


@cache
def _beyond(order: int, count: int) -> tuple[float, ...]:
    """Return the coefficients of powers of 1 / x in I(x) e^-x sqrt(2 pi x)."""
    terms = [Fraction(1)]
    for k in range(1, count):
        terms.append(terms[-1] * Fraction((2 * k - 1) ** 2 - 4 * order * order, 8 * k))
    return tuple(map(float, terms))


def _bessel_i(x: Any, order: int) -> Any:
    """Return I(x) e^-|x|, ``order`` being 0 or 1."""
    edge, few, many = (21.0, 60, 30) if is_double(x) else (13.0, 32, 14)
    size = abs(x)
    near = size < edge
    half = where(near, size, 1) * 0.5
    small = horner(half * half, _series(order, few)) * apply("exp", -(half * 2))
    large = where(near, edge, size)
    root = apply("sqrt", large * (math.pi / 8)) * 4  # of 2 pi x, which may be above all numbers
    far = horner(1 / large, _beyond(order, many)) / root
    found = where(near, small * half if order else small, far)
    found = where(apply("eq", size, math.inf), 0, found)
    return apply("copysign", found, x) if order else found


def _whole(x: Any, order: int) -> Any:
    """Return I(x), which overflows only where it must."""
    root = apply("exp", abs(x) * 0.5)
    found = _bessel_i(x, order) * root * root
    infinite = apply("eq", abs(x), math.inf)
    return where(infinite, x if order else abs(x), found)


def i0(x: Tensor) -> Tensor:
    """Return the modified Bessel function of the first kind of order 0.

    >>> from loom import tensor
    >>> i0(tensor.array([0.0])).tolist()
    [1.0]
    """
    return with_slope(x, "i0", partial(_whole, order=0), lambda x, _y: i1(x))


def i1(x: Tensor) -> Tensor:
    """Return the modified Bessel function of the first kind of order 1."""
    return with_slope(x, "i1", partial(_whole, order=1), lambda x, y: i0(x) - _over(y, x))


def i0e(x: Tensor) -> Tensor:
    """Return ``i0`` times e^-|x|."""
    return with_slope(x, "i0e", partial(_bessel_i, order=0), lambda x, y: i1e(x) - _sign(x) * y)


def i1e(x: Tensor) -> Tensor:
    """Return ``i1`` times e^-|x|."""
    return with_slope(x, "i1e", partial(_bessel_i, order=1), lambda x, y: i0e(x) - _over(y, x) - _sign(x) * y)


def _over(y: Any, x: Any) -> Any:
    """Return y / x, for 0 its limit 1 / 2."""
    is_zero = apply("eq", x, 0)
    return where(is_zero, 0.5, y / where(is_zero, 1, x))


def _sign(x: Any) -> Any:
    return where(x > 0, 1, where(x < 0, -1, x))
