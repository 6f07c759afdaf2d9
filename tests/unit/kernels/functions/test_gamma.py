"""gamma and lgamma: factorials, poles, signs, overflow, values from mpmath."""

from __future__ import annotations

import math

import numpy as np
import pytest

from loom import gpu_map

INF = math.inf
# from mpmath with 100 bits: x, gamma(x), log(abs(gamma(x)))
TRUE = [
    (0.5, 1.772453850905516, 0.5723649429247001),
    (1.5, 0.886226925452758, -0.12078223763524522),
    (4.5, 11.631728396567448, 2.4537365708424423),
    (10.25, 639232.5987795768, 13.368023671476045),
    (30.5, 4.822696933490909e31, 72.9534711841694),
    (-0.5, -3.544907701811032, 1.2655121234846454),
    (-1.5, 2.363271801207355, 0.860047015376481),
    (-10.25, -6.780818043294673e-07, -14.20399790093109),
    (-33.5, 6.227609042535818e-38, -85.66924105593168),
]
LARGE = [(100.0, 359.1342053695754), (1e6, 12815504.569147611), (-1000.5, -5914.437701116852)]


def value(name: str, x: float) -> float:
    return float(gpu_map(np.array([x], np.float32), name)[0])


@pytest.mark.parametrize(("x", "gamma", "lgamma"), TRUE)
def test_values(x: float, gamma: float, lgamma: float) -> None:
    for name, wanted in (("gamma", gamma), ("lgamma", lgamma)):
        assert abs(value(name, x) - wanted) <= 4 * np.spacing(np.float32(abs(wanted))), name


@pytest.mark.parametrize(("x", "wanted"), LARGE)
def test_large(x: float, wanted: float) -> None:
    assert abs(value("lgamma", x) - wanted) <= 4 * np.spacing(np.float32(abs(wanted)))


def test_factorials_are_exact() -> None:
    got = gpu_map(np.arange(1, 15, dtype=np.float32), "gamma")
    assert got.tolist() == [math.factorial(n) for n in range(14)]


def test_near_a_zero_lgamma_is_right_to_2_to_the_minus_22() -> None:
    # mpmath: log(abs(gamma(-2.5))) = -0.05624...
    assert abs(value("lgamma", -2.5) + 0.056243716497674054) <= 2.0**-22


def test_poles_and_infinities() -> None:
    for x in (-1.0, -2.0, -50.0, -(2.0**23), -3e38, -INF):
        assert math.isnan(value("gamma", x)), x
        assert value("lgamma", x) == INF, x
    assert (value("gamma", 0.0), value("gamma", -0.0)) == (INF, -INF)
    assert (value("lgamma", 0.0), value("lgamma", -0.0)) == (INF, INF)
    assert (value("gamma", INF), value("lgamma", INF)) == (INF, INF)
    assert math.isnan(value("gamma", math.nan))
    assert math.isnan(value("lgamma", math.nan))


def test_overflow_and_underflow() -> None:
    assert value("gamma", 35.04009) < INF
    assert value("gamma", 35.04012) == INF
    assert (value("gamma", 1e-40), value("gamma", -1e-40)) == (INF, -INF)
    assert value("lgamma", 3e38) == INF
    assert math.copysign(1, value("gamma", -60.25)) == -1.0
    assert value("gamma", -60.25) == 0.0
    assert math.copysign(1, value("gamma", -61.25)) == 1.0


def test_zeros_of_lgamma_are_positive() -> None:
    for x in (1.0, 2.0):
        assert math.copysign(1, value("lgamma", x)) == 1.0
        assert value("lgamma", x) == 0.0
