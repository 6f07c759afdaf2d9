"""Inverse hyperbolic functions of complex numbers; inverse circular functions are these of i z.

Layer: kernels. A factory gives the functions for f32 or f64, without branches. Invariant: signs of zeros tell the side
of a branch cut, as in C99, annex G.

Source: T. E. Hull, T. F. Fairgrieve and P. T. P. Tang, "Implementing the complex arcsine and arccosine functions using
exception handling" (1997).
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from loom.core.dtype import DType, f32
from loom.ir.frontend.intrinsics import select, sqrt
from loom.kernels.complexes.exponentials import log_of
from loom.kernels.functions.exact import copysign
from loom.kernels.functions.inverse import acos, asin, atan, atan2
from loom.kernels.functions.logarithm import log, log1p
from loom.kernels.functions.power import hypot

__all__ = ["acos_of", "asinh_of", "atanh_of"]


@cache
def _hard_of(real: DType) -> Any:
    """Return the function of Hull, Fairgrieve and Tang that asinh and acos are taken from."""
    is_short = real == f32
    epsilon = 2.0**-23 if is_short else 2.0**-52
    least = 2.0**-60 if is_short else 2.0**-509
    lift = 2.0 / epsilon
    crossing_a, crossing_b = 10.0, 0.6417

    def excess(a: Any, b: Any, size: Any) -> Any:
        """Return (size - b) / 2 for size = hypot(a, b), without cancellation."""
        low, high = (size - b) * 0.5, ((a * a) / (size + b)) * 0.5
        return select(b < 0.0, low, select(b == 0.0, a * 0.5, high))

    def hard(x: Any, y: Any) -> Any:
        """Return arccosh(A); B; whether arcsine is to be taken of it, or else atan2 of the last two, which come first.

        For x, y >= 0, neither very large; A and B are half the sum and half the difference of the distances of x + iy
        from i and -i.
        """
        r, s = hypot(x, y + 1.0), hypot(x, y - 1.0)
        a = max((r + s) * 0.5, real(1.0))
        root, tall = across(x, y, a, (r, s))
        ratio = y / a
        return height_of(x, y, a, (r, s)), ratio, (ratio <= crossing_b) & (y >= least), root, tall

    def height_of(x: Any, y: Any, a: Any, distances: Any) -> Any:
        """Return arccosh(a)."""
        r, s = distances
        gap = abs(y - 1.0)
        at_one = (y == 1.0) & (x < epsilon * epsilon / 128.0)
        apart = x >= epsilon * gap
        inside = (1.0 - y) * (1.0 + y)
        beside = (y - 1.0) * (y + 1.0)
        more = excess(x, 1.0 + y, r) + excess(x, 1.0 - y, s)
        over = y - 1.0
        argument = select(apart, more + sqrt(more * (a + 1.0)), over + sqrt(max(beside, real(0.0))))
        height = log1p(argument)
        height = select((not apart) & (y < 1.0), x / sqrt(max(inside, real(least * least))), height)
        height = select(at_one, sqrt(x), height)
        return select(a < crossing_a, height, log(a + sqrt(a * a - 1.0)))

    def across(x: Any, y: Any, a: Any, distances: Any) -> Any:
        """Return sqrt(a^2 - y^2) and y, both times what keeps them in range."""
        r, s = distances
        gap = abs(y - 1.0)
        apart = x >= epsilon * gap
        inside = (1.0 - y) * (1.0 + y)
        beside = (y - 1.0) * (y + 1.0)
        low = y < least
        less = excess(x, y + 1.0, r) + excess(x, y - 1.0, s)
        root = sqrt(less * (a + y))
        root = select(apart, root, select(y > 1.0, (x * (lift * lift) * y) / sqrt(max(beside, real(least))),
                                          sqrt(max(inside, real(0.0)))))  # fmt: skip
        root = select((y == 1.0) & (x < epsilon / 128.0), sqrt(x) * sqrt((a + y) * 0.5), root)
        tall = select((not apart) & (y > 1.0), y * (lift * lift), y)
        root = select(low, a * lift, root)
        tall = select(low, y * lift, tall)
        return root, tall

    return hard


@cache
def _far_of(real: DType) -> Any:
    """Return functions of sizes: is a number far out, sizes of others, log |2 z|, is a part NaN; where z is near 0."""
    is_short, log_re = real == f32, log_of(real)["log_re"]
    far = 2.0**23 if is_short else 2.0**52

    def is_far(x: Any, y: Any) -> Any:
        return (x > far) | (y > far)

    def limit(x: Any) -> Any:
        """Return a size that the common path can take; where it is larger another path is chosen."""
        return select(x <= far, x, real(1.0))

    def far_log(x: Any, y: Any) -> Any:
        """Return log |2 z|."""
        return log_re(x, y) + math.log(2.0)

    def lost(x: Any, y: Any) -> Any:
        return (x != x) | (y != y)  # noqa: PLR0124

    return is_far, limit, far_log, lost, 2.0**-14 if is_short else 2.0**-28


@cache
def asinh_of(real: DType) -> dict[str, Any]:
    """Return the functions (a, b): re and im of arsinh(a + ib)."""
    hard = _hard_of(real)
    is_far, bounded, far_log, lost, small = _far_of(real)

    def asinh_re(a: Any, b: Any) -> Any:
        x, y = abs(a), abs(b)
        height = hard(bounded(x), bounded(y))[0]
        found = select(is_far(x, y), far_log(x, y), height)
        found = copysign(select((x < small) & (y < small), x, found), a)
        found = select(lost(x, y), real(math.nan), found)
        return select((x == math.inf) | (y == math.inf), copysign(real(math.inf), a), found)

    def asinh_im(a: Any, b: Any) -> Any:
        x, y = abs(a), abs(b)
        _, ratio, direct, root, tall = hard(bounded(x), bounded(y))
        found = select(direct, asin(select(direct, ratio, real(0.0))), atan2(tall, root))
        found = select(is_far(x, y), atan2(y, x), found)
        found = copysign(select((x < small) & (y < small), y, found), b)
        found = select(lost(x, y), real(math.nan), found)
        return select((b == 0.0), b, select((x == math.inf) & (y != y), y, found))  # noqa: PLR0124

    return {"asinh_re": asinh_re, "asinh_im": asinh_im}


@cache
def acos_of(real: DType) -> dict[str, Any]:
    """Return the functions (a, b): re and im of arccos(a + ib)."""
    hard = _hard_of(real)
    is_far, bounded, far_log, lost, small = _far_of(real)

    def acos_re(a: Any, b: Any) -> Any:
        """As asinh(ia - b) with the sine turned into a cosine."""
        x, y = abs(a), abs(b)
        _, ratio, direct, root, tall = hard(bounded(y), bounded(x))
        left = copysign(real(1.0), a) < 0.0
        by_ratio = acos(select(direct, copysign(ratio, a), real(0.0)))
        found = select(direct, by_ratio, atan2(root, select(left, -tall, tall)))
        found = select(is_far(x, y), atan2(y, a), found)
        found = select((x < small) & (y < small), math.pi / 2 - a, found)
        found = select(lost(x, y), real(math.nan), found)
        found = select((y == math.inf) & (x != x), real(math.nan), found)  # noqa: PLR0124
        return select((a == 0.0) & (y != y), real(math.pi / 2), found)  # noqa: PLR0124

    def acos_im(a: Any, b: Any) -> Any:
        x, y = abs(a), abs(b)
        height = hard(bounded(y), bounded(x))[0]
        found = select(is_far(x, y), far_log(x, y), height)
        found = select((x < small) & (y < small), y, found)
        found = select(lost(x, y), real(math.nan), found)
        found = select((x == math.inf) | (y == math.inf), real(math.inf), found)
        return copysign(found, -b)

    return {"acos_re": acos_re, "acos_im": acos_im}


@cache
def atanh_of(real: DType) -> dict[str, Any]:
    """Return the functions (a, b): re and im of artanh(a + ib)."""
    epsilon = 2.0**-23 if real == f32 else 2.0**-52
    is_far, bounded, _, lost, small = _far_of(real)

    def atanh_re(a: Any, b: Any) -> Any:
        x, y = abs(a), abs(b)
        x1, y1 = bounded(x), bounded(y)
        d = x1 - 1.0
        square = d * d + y1 * y1
        plain = 0.25 * log1p((4.0 * x1) / select(square == 0.0, real(1.0), square))
        at_one = (x == 1.0) & (y < epsilon)
        single = 0.5 * (math.log(2.0) - log(y1))
        found = select(at_one, single, plain)
        size = max(x, y)
        u, v = x / size, y / size
        inverse = (u / (u * u + v * v)) / size
        found = select(is_far(x, y), inverse, found)
        found = select((x < small) & (y < small), x, found)
        found = select(x == 0.0, real(0.0), found)
        found = select((x == math.inf) | (y == math.inf), real(0.0), found)
        found = select(lost(x, y) & (not ((x == math.inf) | (y == math.inf) | (x == 0.0))), real(math.nan), found)
        return select(found != found, found, copysign(found, a))  # noqa: PLR0124

    def atanh_im(a: Any, b: Any) -> Any:
        x, y = abs(a), abs(b)
        x1, y1 = bounded(x), bounded(y)
        inside = (1.0 - x1) * (1.0 + x1)
        found = 0.5 * atan2(y1 + y1, select(y1 < epsilon, inside, inside - y1 * y1))
        found = select(x == 1.0, 0.5 * atan2(real(2.0), -y1), found)
        found = select(x == 0.0, atan(y), found)
        found = select(is_far(x, y), real(math.pi / 2), found)
        found = select((x < small) & (y < small), y, found)
        found = select((y == 0.0) & (x <= 1.0), y, found)
        found = select(lost(x, y), real(math.nan), found)
        found = select((y == math.inf), real(math.pi / 2), found)
        return select(found != found, found, copysign(found, b))  # noqa: PLR0124

    return {"atanh_re": atanh_re, "atanh_im": atanh_im}
