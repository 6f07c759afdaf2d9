"""sin, cos, tan: huge arguments, the worst one for the reduction, special values, symmetry, the digits of 2/pi."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from loom import gpu_map, u32
from loom.kernels.functions import reduction

Array = np.ndarray[Any, Any]

# from mpmath with 500 bits: x, sin, cos, tan
TRUE = [
    # 16367173 * 2^72 is the float32 closest to a multiple of pi/2 (Muller, "Elementary Functions", 3rd ed., 11.3.2)
    (16367173 * 2.0**72, 1.0, -1.6147697982476211e-09, -619283318.9506139),
    (float(np.finfo(np.float32).max), -0.5218765233336585, 0.8530210398303042, -0.6117979498342481),
    (8192.0009765625, -0.9558867576790913, 0.2937354362240861, -3.2542439208794014),
    (9.999999778196308e21, -0.7340815352961015, 0.679061337095051, -1.0810239004865465),
    (3.1415927410125732, -8.742278000372475e-08, -0.9999999999999962, 8.742278000372508e-08),
    (1.0000000150474662e30, -0.7911634385219837, -0.6116047854178966, 1.2935860826880194),
]


def test_hard_arguments() -> None:
    x = np.array([row[0] for row in TRUE], np.float32)
    for column, (name, ulps) in enumerate((("sin", 1.0), ("cos", 1.0), ("tan", 2.0)), start=1):
        wanted = np.array([row[column] for row in TRUE])
        error = np.abs(gpu_map(x, name).astype(np.float64) - wanted)
        assert (error <= ulps * np.spacing(np.abs(wanted).astype(np.float32))).all(), name


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_infinities_and_nan_give_nan(name: str) -> None:
    assert np.isnan(gpu_map(np.array([np.inf, -np.inf, np.nan], np.float32), name)).all()


@pytest.mark.parametrize("name", ["sin", "tan"])
def test_tiny_numbers_are_their_own_sine_and_tangent(name: str) -> None:
    x = np.array([0.0, -0.0, 1e-45, -1e-45, 1e-40, -1.17549435e-38, 2.0**-20], np.float32)
    assert np.array_equal(gpu_map(x, name).view(np.uint32), x.view(np.uint32))


def test_symmetry() -> None:
    bits = np.random.default_rng(4).integers(0, 0x7F800000, 20_000, np.uint32)
    x = bits.view(np.float32)
    for name in ("sin", "tan"):
        assert np.array_equal(gpu_map(-x, name), -gpu_map(x, name))
    assert np.array_equal(gpu_map(-x, "cos"), gpu_map(x, "cos"))


def test_digits_of_two_over_pi() -> None:
    digits = sum(word << 32 * (7 - k) for k, word in enumerate(reduction._INVERSE[u32]))
    assert Fraction(digits, 2**224) <= 2 / _pi() < Fraction(digits + 1, 2**224)


def _pi() -> Fraction:
    """Machin's formula, far beyond 224 bits."""

    def arctangent(n: int) -> Fraction:
        return sum((Fraction((-1) ** k, (2 * k + 1) * n ** (2 * k + 1)) for k in range(120)), Fraction(0))

    return 4 * (4 * arctangent(5) - arctangent(239))
