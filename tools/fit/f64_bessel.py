"""Coefficients of the Bessel functions of orders 0 and 1 in f64; see ``remez`` for the algorithm.

Up to 2: polynomials in x^2. From 2 to 5: a polynomial times the distances from the zero there and the next. Beyond:
J + i Y = sqrt(1/x) M(1/x^2) exp(i (x - pi/4 - order pi/2 + T(1/x^2) / x)).
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
from remez import Real, fit, split, write

EDGE, FAR = 2.0, 5.0
WIDTH = EDGE**2 * 1.0001
ZEROS = {
    "J0": (2.40482555, 5.52007811),
    "J1": (3.83170597, 7.01558667),
    "Y0": (3.95767842, 7.08605106),
    "Y1": (2.19714133, 5.42968104),
}
FUNCTIONS: dict[str, Callable[[Real], Real]] = {
    "J0": lambda x: mp.besselj(0, x),
    "J1": lambda x: mp.besselj(1, x),
    "Y0": lambda x: mp.bessely(0, x),
    "Y1": lambda x: mp.bessely(1, x),
}


def tables() -> dict[str, list[float]]:
    """Return the tables of ``coefficients/f64_bessel.py``."""
    found = {}
    for order in (0, 1):
        found[f"J{order}"] = small_j(order, 10)
        found[f"Y{order}"] = small_y(order, 12)
        found[f"MODULUS{order}"] = modulus(order, 21)
        found[f"PHASE{order}"] = phase(order, 22)
    for name, near in ZEROS.items():
        zeros, found[f"{name}_MIDDLE"] = beside_zeros(name, near, EDGE, FAR, 20 if "J" in name else 28)
        found[f"{name}_ZERO"], found[f"{name}_NEXT"] = zeros
    zeros, found["Y0_NEAR"] = beside_zeros("Y0", (0.8936, ZEROS["Y0"][0]), 0.75, EDGE, 28)
    found["Y0_FIRST"] = zeros[0]
    found["Y1_NEAR"] = near_two(19)
    with mp.workprec(240):
        found["EIGHTH_TURN"] = split(mp.pi / 4, 53, last=53)
        found["TWO_OVER_PI"] = split(2 / mp.pi, 53, last=53)
    return found


def small_j(order: int, count: int) -> list[float]:
    """J0(x) = 1 - z/4 + z^2 P(z) and J1(x) = x/2 + x z P(z), z = x^2; absolute error of J0, relative of J1."""
    if order == 0:
        return fit(
            lambda z: (mp.besselj(0, mp.sqrt(z)) - 1 + z / 4) / z**2, 0, WIDTH, range(count), lambda z: z**2, bits=53
        )
    return fit(lambda z: (mp.besselj(1, mp.sqrt(z)) / mp.sqrt(z) - 0.5) / z, 0, WIDTH, range(count), lambda z: z,
               bits=53)  # fmt: skip


def small_y(order: int, count: int) -> list[float]:
    """Y0(x) = (2/pi) log(x) J0(x) + P(z) and Y1(x) = (2/pi) (log(x) J1(x) - 1/x) + x P(z), z = x^2."""

    def rest(z: Real) -> Real:
        x = mp.sqrt(z)
        value = mp.bessely(order, x) - 2 / mp.pi * mp.log(x) * mp.besselj(order, x)
        return value if order == 0 else (value + 2 / (mp.pi * x)) / x

    return fit(rest, 0, WIDTH, range(count), lambda _z: mp.mpf(1), bits=53)


def beside_zeros(
    name: str, near: tuple[float, float], low: float, high: float, count: int
) -> tuple[list[list[float]], list[float]]:
    """f(x) = (x - zero) (x - next zero) P(x - middle), relative error; zeros and P's first number in pairs."""
    function, middle = FUNCTIONS[name], (low + high) / 2
    with mp.workprec(240):
        first, second = (mp.findroot(function, guess) for guess in near)

        def rest(t: Real) -> Real:
            x = t + middle
            return function(x) / ((x - first) * (x - second))

        centre = float(rest(mp.mpf(0)))
    ends = low - middle, high - middle
    others = fit(lambda t: rest(t) - centre, *ends, range(count), lambda t: 1 / rest(t), bits=53)
    return [split(zero, 53, last=53) for zero in (first, second)], [centre, *others]


def near_two(count: int) -> list[float]:
    """Y1(2 + t) = P(t) for t from -3/4 to 0, where the sum of ``small_y`` would cancel; relative error."""
    return fit(lambda t: mp.bessely(1, 2 + t), -0.75, 0, range(count), lambda t: 1 / mp.bessely(1, 2 + t), bits=53)


def modulus(order: int, count: int) -> list[float]:
    """Return the root of x (J^2 + Y^2); the first coefficient in two pieces."""

    def value(u: Real) -> Real:
        x = 1 / mp.sqrt(u)
        return mp.sqrt((mp.besselj(order, x) ** 2 + mp.bessely(order, x) ** 2) * x)

    with mp.workprec(240):
        first = float(mp.sqrt(2 / mp.pi))
    others = fit(lambda u: value(u) - first, 0, 1 / FAR**2, range(count), lambda _u: mp.mpf(1), bits=53)
    return [first, *others]


def phase(order: int, count: int) -> list[float]:
    """What the angle of J + i Y has beyond x - pi/4 - order pi/2, times x; absolute error of the angle."""

    def value(u: Real) -> Real:
        x = 1 / mp.sqrt(u)
        angle = mp.atan2(mp.bessely(order, x), mp.besselj(order, x)) - x + mp.pi / 4 + order * mp.pi / 2
        return (angle - 2 * mp.pi * mp.nint(angle / (2 * mp.pi))) * x

    return fit(value, 0, 1 / FAR**2, range(count), mp.sqrt, bits=53)


if __name__ == "__main__":
    write("f64_bessel", tables())
