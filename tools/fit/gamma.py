"""Coefficients of gamma and lgamma; see ``remez`` for the algorithm."""

from __future__ import annotations

import mpmath as mp
from remez import Real, fit, split, write

ROOT = 2**0.5
LOG_WIDTH = ((ROOT - 1) / (ROOT + 1)) ** 2 * 1.0001
"""Largest square of (m - 1) / (m + 1) for m from sqrt(1/2) to sqrt(2)."""


def tables() -> dict[str, list[float]]:
    """Return the tables of ``coefficients/gamma.py``."""
    with mp.workprec(120):
        return {
            "GAMMA": middle(12),
            "LGAMMA": between_zeros(14),
            "STIRLING": stirling(5),
            "HALF_LOG_TWO_PI": split(mp.log(2 * mp.pi) / 2, 24),
            "SINE_PI": sine_pi(5),
            "LOG_REST": log_rest(4),
            "LN_2": split(mp.log(2), 15),
        }


def middle(count: int) -> list[float]:
    """gamma(3/2 + t) = P(t) for t up to a half; the first coefficient in two pieces."""
    return constant_in_two(fit(lambda t: mp.gamma(t + 1.5), -0.5, 0.5, range(count), lambda t: 1 / mp.gamma(t + 1.5),
                     bits=[48] + [24] * (count - 1)))  # fmt: skip


def between_zeros(count: int) -> list[float]:
    """lgamma(2 + t) = t (1 + t) P(t) for t up to 1; the first coefficient in two pieces."""
    return constant_in_two(fit(_without_zeros, -1, 1, range(count), lambda t: 1 / _without_zeros(t),
                     bits=[48] + [24] * (count - 1)))  # fmt: skip


def constant_in_two(coefficients: list[float]) -> list[float]:
    """Return the coefficients, the first one as a float of 24 bits and the rest of it."""
    return [*split(mp.mpf(coefficients[0]), 24), *coefficients[1:]]


def _without_zeros(t: Real) -> Real:
    return mp.loggamma(2 + t) / (t * (1 + t))


def stirling(count: int) -> list[float]:
    """lgamma(1/w) = (1/w - 1/2) log(1/w) - 1/w + log(2 pi)/2 + w P(w^2) for w up to a third; absolute error."""
    half = mp.mpf(1) / 2

    def rest(z: Real) -> Real:
        a = 1 / mp.sqrt(z)
        return (mp.loggamma(a) - (a - half) * mp.log(a) + a - mp.log(2 * mp.pi) / 2) * a

    return fit(rest, 0, 1 / 9 * 1.0001, range(count), mp.sqrt)


def sine_pi(count: int) -> list[float]:
    """sin(pi d) / pi = d + d^3 P(d^2) for d up to a half."""
    return fit(
        lambda z: (mp.sinpi(mp.sqrt(z)) / mp.pi - mp.sqrt(z)) / mp.sqrt(z) ** 3, 0, 0.25, range(count),
        lambda z: mp.pi * mp.sqrt(z) ** 3 / mp.sinpi(mp.sqrt(z)),
    )  # fmt: skip


def log_rest(count: int) -> list[float]:
    """log((1 + s) / (1 - s)) = 2 s + s^3 P(s^2); absolute error."""
    return fit(lambda z: (2 * mp.atanh(mp.sqrt(z)) - 2 * mp.sqrt(z)) / mp.sqrt(z) ** 3, 0, LOG_WIDTH, range(count),
               lambda z: mp.sqrt(z) ** 3)  # fmt: skip


if __name__ == "__main__":
    write("gamma", tables())
