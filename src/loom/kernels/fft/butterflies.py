"""Discrete Fourier transforms of a few complex numbers, in registers.

Layer: kernels. A complex number is a tuple (re, im) of values; a transform takes and gives a tuple of them.
Invariant: one fixed sequence of additions and multiplications for each length, written down here.

Radix 2 and 4 only add. Radix 8 is 2 x 4 and radix 16 is 4 x 4, with the roots between. An odd radix r forms
sums and differences of x[j] and x[r-j], then adds their multiples by cosines and sines, j ascending.
"""

from __future__ import annotations

from typing import Any

from loom.core.turns import cos_sin_of_ratio
from loom.ir.frontend.intrinsics import static_range
from loom.kernels.group.join import items

__all__ = ["RADICES", "butterfly", "conjugate_multiply", "multiply"]

RADICES = (16, 8, 4, 2, 7, 5, 3)
"""Lengths there are butterflies for, in the order they are split off."""


def _table(n: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    cosine, sine = cos_sin_of_ratio(range(n), n)
    return tuple(cosine.tolist()), tuple(sine.tolist())


_TABLES: dict[Any, Any] = {n: _table(n) for n in (3, 5, 7, 16)}
_ROOT_HALF = _TABLES[16][0][2]
_C1, _S1 = _TABLES[16][0][1], _TABLES[16][1][1]


def multiply(a: Any, w: Any) -> Any:
    """Return a w."""
    return a[0] * w[0] - a[1] * w[1], a[0] * w[1] + a[1] * w[0]


def conjugate_multiply(a: Any, w: Any) -> Any:
    """Return a times the conjugate of w."""
    return a[0] * w[0] + a[1] * w[1], a[1] * w[0] - a[0] * w[1]


def _plus(a: Any, b: Any) -> Any:
    return a[0] + b[0], a[1] + b[1]


def _minus(a: Any, b: Any) -> Any:
    return a[0] - b[0], a[1] - b[1]


def _minus_i(a: Any) -> Any:
    """Return -i a."""
    return a[1], -a[0]


def _eighth(a: Any) -> Any:
    """Return a exp(-2 pi i / 8)."""
    return (a[0] + a[1]) * _ROOT_HALF, (a[1] - a[0]) * _ROOT_HALF


def butterfly(x: Any, radix: Any) -> Any:
    """Return the transform of ``x``, ``radix`` complex numbers."""
    if radix == 1:
        return x
    if radix == 2:
        return _plus(x[0], x[1]), _minus(x[0], x[1])
    if radix == 4:
        return _four(x[0], x[1], x[2], x[3])
    if radix == 8:
        return _eight(x)
    if radix == 16:
        return _sixteen(x)
    return _odd(x, radix)


def _four(a: Any, b: Any, c: Any, d: Any) -> Any:
    even, half = _plus(a, c), _minus(a, c)
    odd, rest = _plus(b, d), _minus_i(_minus(b, d))
    return _plus(even, odd), _plus(half, rest), _minus(even, odd), _minus(half, rest)


def _eight(x: Any) -> Any:
    e = _four(x[0], x[2], x[4], x[6])
    o = _four(x[1], x[3], x[5], x[7])
    o1, o2, o3 = _eighth(o[1]), _minus_i(o[2]), _minus_i(_eighth(o[3]))
    return (
        _plus(e[0], o[0]), _plus(e[1], o1), _plus(e[2], o2), _plus(e[3], o3),
        _minus(e[0], o[0]), _minus(e[1], o1), _minus(e[2], o2), _minus(e[3], o3),
    )  # fmt: skip


def _sixteen(x: Any) -> Any:
    """Four transforms of every fourth number, the roots between, then four across."""
    a = _four(x[0], x[4], x[8], x[12])
    b = _four(x[1], x[5], x[9], x[13])
    c = _four(x[2], x[6], x[10], x[14])
    d = _four(x[3], x[7], x[11], x[15])
    one, three = (_C1, -_S1), (_S1, -_C1)
    p = _four(a[0], b[0], c[0], d[0])
    q = _four(a[1], multiply(b[1], one), _eighth(c[1]), multiply(d[1], three))
    r = _four(a[2], _eighth(b[2]), _minus_i(c[2]), _minus_i(_eighth(d[2])))
    # exp(-2 pi i 9 / 16) is minus the first root
    s = _four(a[3], multiply(b[3], three), _minus_i(_eighth(c[3])), multiply(d[3], (-_C1, _S1)))
    return (
        p[0], q[0], r[0], s[0], p[1], q[1], r[1], s[1], p[2], q[2], r[2], s[2], p[3], q[3], r[3], s[3],
    )  # fmt: skip


def _odd(x: Any, radix: Any) -> Any:
    cosine, sine = _TABLES[radix]
    half = radix // 2
    sums, differences, whole = items(), items(), x[0]
    for j in static_range(1, half + 1):
        pair = _plus(x[j], x[radix - j])
        sums, differences = items(*sums, pair), items(*differences, _minus(x[j], x[radix - j]))
        whole = _plus(whole, pair)
    first, last = items(whole), items()
    for k in static_range(1, half + 1):
        re, im = x[0]
        c, s = cosine[k], sine[k]
        cross_re, cross_im = differences[0][1] * s, differences[0][0] * s
        re, im = re + sums[0][0] * c, im + sums[0][1] * c
        for j in static_range(2, half + 1):
            c, s = cosine[j * k % radix], sine[j * k % radix]
            re, im = re + sums[j - 1][0] * c, im + sums[j - 1][1] * c
            cross_re, cross_im = cross_re + differences[j - 1][1] * s, cross_im + differences[j - 1][0] * s
        first = items(*first, (re + cross_re, im - cross_im))
        last = items((re - cross_re, im + cross_im), *last)
    return items(*first, *last)
