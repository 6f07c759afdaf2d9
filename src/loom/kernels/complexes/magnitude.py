"""Quotient and square root of complex numbers.

Layer: kernels. A factory gives the functions for f32 or f64, each a fixed sequence of exactly rounded operations
without branches. Invariant: no intermediate result overflows or underflows where the result does not.

Sources: W. Kahan, "Branch cuts for complex elementary functions" (1987) for roots; M. Baudin and R. L. Smith, "A robust
complex division in Scilab" (2012) for quotients; special cases of C99, annex G.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from loom.core.dtype import DType, f32
from loom.ir.frontend.intrinsics import select, sqrt
from loom.kernels.functions.exact import copysign
from loom.kernels.functions.power import hypot

__all__ = ["quotient_of", "root_of"]


@cache
def quotient_of(real: DType) -> dict[str, Any]:
    """Return the functions (a, b, c, d): re and im of (a + ib) / (c + id)."""
    is_short = real == f32
    largest = 2.0**127 if is_short else 2.0**1023
    epsilon = 2.0**-23 if is_short else 2.0**-52
    least = (2.0**-126 if is_short else 2.0**-1022) * 2.0 / epsilon
    lift = 2.0 / (epsilon * epsilon)

    def share(a: Any, b: Any, c: Any, d: Any) -> Any:
        """Return the real part of (a + ib) / (c + id), for c at least as large as d and parts in range."""
        r = d / c
        e = c + d * r
        br = b * r
        product_is_there = br != 0.0
        plain = (a + br) / e
        small = a / e + (b / e) * r
        none = (a + d * (b / c)) / e
        return select(r != 0.0, select(product_is_there, plain, small), none)

    def quotient(a: Any, b: Any, c: Any, d: Any, imaginary: Any) -> Any:
        above, below = max(abs(a), abs(b)), max(abs(c), abs(d))
        top = select(above >= largest, real(0.5), select(above <= least, real(lift), real(1.0)))
        bottom = select(below >= largest, real(0.5), select(below <= least, real(lift), real(1.0)))
        a1, b1, c1, d1 = a * top, b * top, c * bottom, d * bottom
        wide = abs(d1) <= abs(c1)
        if imaginary:  # b/(c + id) - i a/(c + id)
            found = select(wide, share(b1, -a1, c1, d1), -share(a1, -b1, d1, c1))
        else:
            found = select(wide, share(a1, b1, c1, d1), share(b1, a1, d1, c1))
        found = (found / top) * bottom
        x, y = (b, -a) if imaginary else (a, b)
        none = (c == 0.0) & (d == 0.0)
        found = select(none, x / select(none, c, real(1.0)), found)
        return infinite(found, (x, y), (c, d), none)

    def infinite(found: Any, top: Any, bottom: Any, none: Any) -> Any:
        """Return a quotient where a part is infinite: of infinities that met, only their directions count."""
        x, y = top
        c, d = bottom
        top_is_infinite = (abs(x) == math.inf) | (abs(y) == math.inf)
        bottom_is_infinite = (abs(c) == math.inf) | (abs(d) == math.inf)
        bottom_is_finite = (abs(c) < math.inf) & (abs(d) < math.inf)
        top_is_finite = (abs(x) < math.inf) & (abs(y) < math.inf)
        unit = copysign(select(abs(x) == math.inf, real(1.0), real(0.0)), x)
        other = copysign(select(abs(y) == math.inf, real(1.0), real(0.0)), y)
        beyond = real(math.inf) * (unit * c + other * d)
        lost = found != found  # noqa: PLR0124
        found = select(lost & top_is_infinite & bottom_is_finite & (not none), beyond, found)
        c2 = copysign(select(abs(c) == math.inf, real(1.0), real(0.0)), c)
        d2 = copysign(select(abs(d) == math.inf, real(1.0), real(0.0)), d)
        nothing = real(0.0) * (x * c2 + y * d2)
        return select(bottom_is_infinite & top_is_finite, nothing, found)

    def quotient_re(a: Any, b: Any, c: Any, d: Any) -> Any:
        return quotient(a, b, c, d, False)

    def quotient_im(a: Any, b: Any, c: Any, d: Any) -> Any:
        return quotient(a, b, c, d, True)

    return {"quotient_re": quotient_re, "quotient_im": quotient_im}


@cache
def root_of(real: DType) -> dict[str, Any]:
    """Return the functions (a, b): re and im of sqrt(a + ib), which is on the right, or above or below."""
    is_short = real == f32
    large, tiny = (2.0**120, 2.0**-60) if is_short else (2.0**1000, 2.0**-500)
    grow = 2.0**60 if is_short else 2.0**500

    def sizes(a: Any, b: Any) -> Any:
        """Return t = sqrt((|a| + |z|) / 2) and |b| / 2 t, the sizes of the parts, and whether there are any."""
        x, y = abs(a), abs(b)
        size = max(x, y)
        down, up = size > large, size < tiny
        scale = select(down, real(2.0**-4), select(up, real(grow), real(1.0)))
        back = select(down, real(4.0), select(up, real(2.0 ** -(30 if is_short else 250)), real(1.0)))
        x1, y1 = x * scale, y * scale
        t = sqrt((x1 + hypot(x1, y1)) * 0.5)
        none = (x == 0.0) & (y == 0.0)
        u = select(none, real(0.0), y1 / (t + t))
        return t * back, select(y == math.inf, real(math.inf), u * back)

    def root_re(a: Any, b: Any) -> Any:
        t, u = sizes(a, b)
        found = select(a < 0.0, u, t)
        return select(abs(b) == math.inf, real(math.inf), found)

    def root_im(a: Any, b: Any) -> Any:
        t, u = sizes(a, b)
        found = select(a < 0.0, t, u)
        found = select(abs(b) == math.inf, real(math.inf), found)
        return select(found != found, found, copysign(found, b))  # noqa: PLR0124

    return {"root_re": root_re, "root_im": root_im}
