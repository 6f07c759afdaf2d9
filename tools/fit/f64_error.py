"""Coefficients of erfc and gelu in f64; see ``remez`` for the algorithm."""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
from remez import Real, fit, split, write

TAIL_CENTRE, NORMAL_CENTRE = 4.0, 5.0


def tables() -> dict[str, list[float]]:
    """Return the tables of ``coefficients/f64_error.py``."""
    with mp.workprec(240):
        scale = mp.sqrt(8 / mp.pi)
        pairs = {
            # gelu_tanh(x) = x / (1 + exp(-x (K1 + K2 x^2)))
            "TANH_LINEAR": split(scale, 53, last=53),
            "TANH_CUBIC": split(scale * mp.mpf("0.044715"), 53, last=53),
        }
        return {
            # erfc(a) = exp(-a^2) / (a + k) P(v), v = (a - k) / (a + k), a from 0.6 to 27.3
            "ERFC_TAIL": tail(_scaled, TAIL_CENTRE, 0.599, 27.4, 28),
            "ERFC_SLOPE": slope(_scaled, TAIL_CENTRE, 0.599, 27.4, 4),
            # Phi(x) = 1/2 + x P(z), z = x^2, below 0.64
            "NORMAL": fit(
                lambda z: mp.erf(mp.sqrt(z / 2)) / (2 * mp.sqrt(z)), 0.0, 0.641**2, range(9),
                lambda z: mp.sqrt(z) * 2, bits=53,
            ),
            # Phi(-a) = exp(-a^2/2) / (a + k) P(v), v = (a - k) / (a + k), a from 0.64 to 38.6
            "NORMAL_TAIL": tail(_normal, NORMAL_CENTRE, 0.639, 38.7, 26),
            "NORMAL_SLOPE": slope(_normal, NORMAL_CENTRE, 0.639, 38.7, 4),
        } | pairs  # fmt: skip


def _scaled(a: Real) -> Real:
    return mp.erfc(a) * mp.exp(a**2) * (a + TAIL_CENTRE)


def _normal(a: Real) -> Real:
    return mp.erfc(a / mp.sqrt(2)) / 2 * mp.exp(a**2 / 2) * (a + NORMAL_CENTRE)


def tail(function: Callable[[Real], Real], k: float, low: float, high: float, count: int) -> list[float]:
    """Return P for a function of a, in v = (a - k) / (a + k)."""
    of = _of_quotient(function, k)
    return fit(of, *_ends(k, low, high), range(count), lambda v: 1 / of(v), bits=53)


def slope(function: Callable[[Real], Real], k: float, low: float, high: float, count: int) -> list[float]:
    """Return the derivative of ``tail`` by v, roughly: for what a rounded v leaves out."""
    of = _of_quotient(function, k)
    return fit(lambda v: mp.diff(of, v), *_ends(k, low, high), range(count), lambda _v: mp.mpf(1), bits=24)


def _of_quotient(function: Callable[[Real], Real], k: float) -> Callable[[Real], Real]:
    return lambda v: function(k * (1 + v) / (1 - v))


def _ends(k: float, low: float, high: float) -> tuple[float, float]:
    return (low - k) / (low + k), (high - k) / (high + k)


if __name__ == "__main__":
    write("f64_error", tables())
