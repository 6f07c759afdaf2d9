"""Coefficients of the f64 functions, and pieces of ln 2 and pi; see ``remez`` for the algorithm."""

from __future__ import annotations

import mpmath as mp
from remez import Real, fit, rounded, write

EIGHTH = (mp.pi / 4 * 1.0005) ** 2
"""Square of the largest remainder of an angle; a little wider than pi/4, as the quotient is rounded."""

ERF_SPLIT, ERF_END = 1.0, 6.0
"""Between these erf is 1 - exp(-P(a - split)), so that P is most exact where it matters most."""
TANH_SPLIT = 0.55


def tables() -> dict[str, list[float]]:
    """Return the tables of ``coefficients/f64.py``."""
    with mp.workprec(400):
        ln2 = pieces(mp.log(2), [42, 53])
        half_pi = pieces(mp.pi / 2, [33, 33, 33, 53])
        whole_half_pi = pieces(mp.pi / 2, [53, 53])
        inverses = [rounded(1 / mp.log(2), 53), rounded(2 / mp.pi, 53)]
    return {
        "EXP": exponential(11), "LOG": logarithm(7), "SINE": sine(7), "COSINE": cosine(6), "TANH": tangent(11),
        "ERF": error_function(13), "ERFC": complement(20), "LN2": ln2, "LOG2E": inverses[:1], "TURNS": inverses[1:],
        "PIECES": half_pi, "HALF_PI": whole_half_pi,
    }  # fmt: skip


def pieces(value: Real, widths: list[int]) -> list[float]:
    """Return floats of so many bits, each the beginning of what those before it left; the last rounded."""
    found: list[float] = []
    for n, width in enumerate(widths):
        unit = mp.mpf(2) ** (int(mp.floor(mp.log(abs(value), 2))) + 1 - width)
        piece = (mp.nint if n == len(widths) - 1 else mp.floor)(value / unit) * unit
        found.append(float(piece))
        value -= piece
    return found


def exponential(count: int) -> list[float]:
    """exp(r) = 1 + r + r^2 P(r), abs(r) up to ln(2)/2."""
    edge = float(mp.log(2) / 2 * 1.0005)
    return fit(lambda r: (mp.exp(r) - 1 - r) / r**2, -edge, edge, range(count), lambda r: r**2 / mp.exp(r), bits=53)


def logarithm(count: int) -> list[float]:
    """log(1 + f) = 2s + s^3 P(s^2) with s = f / (2 + f), 1 + f from sqrt(1/2) to sqrt(2)."""
    edge = float(((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * 1.0005)

    def wanted(z: Real) -> Real:
        s = mp.sqrt(z)
        return (2 * mp.atanh(s) - 2 * s) / s**3

    return fit(wanted, 0, edge, range(count), lambda z: z / 2, bits=53)


def sine(count: int) -> list[float]:
    """sin(r) = r + r^3 P(r^2)."""
    return fit(
        lambda z: (mp.sin(mp.sqrt(z)) - mp.sqrt(z)) / mp.sqrt(z) ** 3, 0, EIGHTH, range(count),
        lambda z: mp.sqrt(z) ** 3 / mp.sin(mp.sqrt(z)), bits=53,
    )  # fmt: skip


def cosine(count: int) -> list[float]:
    """cos(r) = 1 - r^2 / 2 + r^4 P(r^2)."""
    return fit(
        lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2, 0, EIGHTH, range(count),
        lambda z: z**2 / mp.cos(mp.sqrt(z)), bits=53,
    )  # fmt: skip


def tangent(count: int) -> list[float]:
    """tanh(a) = a + a^3 P(a^2) up to the split."""
    return fit(
        lambda z: (mp.tanh(mp.sqrt(z)) - mp.sqrt(z)) / mp.sqrt(z) ** 3, 0, (TANH_SPLIT * 1.0005) ** 2, range(count),
        lambda z: mp.sqrt(z) ** 3 / mp.tanh(mp.sqrt(z)), bits=53,
    )  # fmt: skip


def error_function(count: int) -> list[float]:
    """erf(a) = a + a P(a^2) up to the split."""
    return fit(
        lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1, 0, (ERF_SPLIT * 1.0005) ** 2, range(count),
        lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z)), bits=53,
    )  # fmt: skip


def complement(count: int) -> list[float]:
    """erf(a) = 1 - exp(-P(a - split)) from the split on."""
    return fit(
        lambda t: -mp.log(mp.erfc(ERF_SPLIT + t)), -0.0005, ERF_END - ERF_SPLIT, range(count),
        lambda t: mp.erfc(ERF_SPLIT + t), bits=53,
    )  # fmt: skip


if __name__ == "__main__":
    write("f64", tables())
