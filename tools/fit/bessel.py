"""Coefficients of the Bessel functions of orders 0 and 1; see ``remez`` for the algorithm.

Up to 2: polynomials in x^2. Beyond: J + i Y = sqrt(1/x) M(1/x^2) exp(i (x - pi/4 - order pi/2 + T(1/x^2) / x)).
"""

from __future__ import annotations

import mpmath as mp
from remez import Real, fit, split, write

EDGE = 2.0
WIDTH = EDGE**2 * 1.0001


def tables() -> dict[str, list[float]]:
    """Return the tables of ``coefficients/bessel.py``."""
    found = {}
    for order in (0, 1):
        found[f"J{order}"] = small_j(order, 5)
        found[f"Y{order}"] = small_y(order, 6)
        found[f"MODULUS{order}"] = modulus(order, 10)
        found[f"PHASE{order}"] = phase(order, 11)
    with mp.workprec(240):
        zero = mp.findroot(lambda x: mp.bessely(0, x), 0.8936)
        found["Y0_ZERO"] = split(zero, 24)
        found["Y0_NEAR"] = near_zero(zero, 13)
        found["Y1_NEAR"] = near_two(10)
        found["EIGHTH_TURN"] = split(mp.pi / 4, 24)
        found["TWO_OVER_PI"] = split(2 / mp.pi, 24)
    return found


def small_j(order: int, count: int) -> list[float]:
    """J0(x) = 1 - z/4 + z^2 P(z) and J1(x) = x/2 + x z P(z), z = x^2; absolute error of J0, relative of J1."""
    if order == 0:
        return fit(lambda z: (mp.besselj(0, mp.sqrt(z)) - 1 + z / 4) / z**2, 0, WIDTH, range(count), lambda z: z**2)
    return fit(lambda z: (mp.besselj(1, mp.sqrt(z)) / mp.sqrt(z) - 0.5) / z, 0, WIDTH, range(count), lambda z: z)


def small_y(order: int, count: int) -> list[float]:
    """Y0(x) = (2/pi) log(x) J0(x) + P(z) and Y1(x) = (2/pi) (log(x) J1(x) - 1/x) + x P(z), z = x^2."""

    def rest(z: Real) -> Real:
        x = mp.sqrt(z)
        value = mp.bessely(order, x) - 2 / mp.pi * mp.log(x) * mp.besselj(order, x)
        return value if order == 0 else (value + 2 / (mp.pi * x)) / x

    return fit(rest, 0, WIDTH, range(count), lambda _z: mp.mpf(1))


def near_zero(zero: Real, count: int) -> list[float]:
    """Y0(x) = (x - zero) P(x - 11/8) for x from 3/4 to 2, relative error; the first coefficient in two pieces."""

    def rest(t: Real) -> Real:
        return mp.bessely(0, t + 1.375) / (t + 1.375 - zero)

    first, *others = fit(rest, -0.625, 0.625, range(count), lambda t: 1 / rest(t), bits=[48] + [24] * (count - 1))
    return [*split(mp.mpf(first), 24), *others]


def near_two(count: int) -> list[float]:
    """Y1(2 + t) = P(t) for t from -3/4 to 0, where the sum of ``small_y`` would cancel; relative error."""
    return fit(lambda t: mp.bessely(1, 2 + t), -0.75, 0, range(count), lambda t: 1 / mp.bessely(1, 2 + t))


def modulus(order: int, count: int) -> list[float]:
    """Return the root of x (J^2 + Y^2); the first coefficient in two pieces."""

    def value(u: Real) -> Real:
        x = 1 / mp.sqrt(u)
        return mp.sqrt((mp.besselj(order, x) ** 2 + mp.bessely(order, x) ** 2) * x)

    first, *others = fit(value, 0, 1 / EDGE**2, range(count), lambda _u: mp.mpf(1), bits=[48] + [24] * (count - 1))
    return [*split(mp.mpf(first), 24), *others]


def phase(order: int, count: int) -> list[float]:
    """What the angle of J + i Y has beyond x - pi/4 - order pi/2, times x; absolute error of the angle."""

    def value(u: Real) -> Real:
        x = 1 / mp.sqrt(u)
        angle = mp.atan2(mp.bessely(order, x), mp.besselj(order, x)) - x + mp.pi / 4 + order * mp.pi / 2
        return (angle - 2 * mp.pi * mp.nint(angle / (2 * mp.pi))) * x

    return fit(value, 0, 1 / EDGE**2, range(count), mp.sqrt)


if __name__ == "__main__":
    write("bessel", tables())
