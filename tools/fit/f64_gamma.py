"""Coefficients of gamma and lgamma in f64; see ``remez`` for the algorithm."""

from __future__ import annotations

import mpmath as mp
from remez import Real, fit, split, write


def tables() -> dict[str, list[float]]:
    """Return the tables of ``coefficients/f64_gamma.py``."""
    with mp.workprec(240):
        half_log = split(mp.log(2 * mp.pi) / 2, 53, last=53)
    return {
        "GAMMA": around(lambda t: mp.gamma(t + 1.5), 0.5, 23), "LGAMMA": around(_without_zeros, 1.0, 29),
        "STIRLING": stirling(14), "SINE_PI": sine_pi(9), "HALF_LOG_TWO_PI": half_log,
    }  # fmt: skip


def around(function: Real, reach: float, count: int) -> list[float]:
    """Return f(t) = P(t) for t up to ``reach``, relative error; the first coefficient in two pieces."""
    with mp.workprec(240):
        first = float(function(mp.mpf(0)))
    rest = fit(
        lambda t: function(t) - first, -reach, reach, range(count), lambda t: 1 / function(t), bits=53
    )  # fmt: skip
    return [first, *rest]


def _without_zeros(t: Real) -> Real:
    """lgamma(2 + t) = t (1 + t) P(t) for t up to 1."""
    if t == 0:
        return 1 - mp.euler
    return mp.loggamma(2 + t) / (t * (1 + t))


def stirling(count: int) -> list[float]:
    """lgamma(1/w) = (1/w - 1/2) log(1/w) - 1/w + log(2 pi)/2 + w P(w^2) for w up to a third; absolute error."""
    half = mp.mpf(1) / 2

    def rest(z: Real) -> Real:
        a = 1 / mp.sqrt(z)
        return (mp.loggamma(a) - (a - half) * mp.log(a) + a - mp.log(2 * mp.pi) / 2) * a

    return fit(rest, 0, 1 / 9 * 1.0001, range(count), mp.sqrt, bits=53)


def sine_pi(count: int) -> list[float]:
    """sin(pi d) / pi = d + d^3 P(d^2) for d up to a half."""
    return fit(
        lambda z: (mp.sinpi(mp.sqrt(z)) / mp.pi - mp.sqrt(z)) / mp.sqrt(z) ** 3, 0, 0.25, range(count),
        lambda z: mp.pi * mp.sqrt(z) ** 3 / mp.sinpi(mp.sqrt(z)), bits=53,
    )  # fmt: skip


if __name__ == "__main__":
    write("f64_gamma", tables())
