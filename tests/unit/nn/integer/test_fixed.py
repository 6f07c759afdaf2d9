"""Fixed-point arithmetic: against exact rationals and mpmath, at the edges of the ranges."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import mpmath
import numpy as np
import pytest

from loom import tensor
from loom.nn.integer.fixed import (
    align,
    bit_length,
    divide_even,
    exp2_negative,
    log2_of,
    logistic,
    round_even,
    round_random,
)

_RNG = np.random.default_rng(5)
_EDGES = [0, 1, -1, 2, -2, 3, -3, 5, -5, 6, 127, -128, (1 << 31) - 1, -(1 << 31), (1 << 61) - 1, -(1 << 61)]
_VALUES = np.array([*_EDGES, *_RNG.integers(-(1 << 61), 1 << 61, 40), *_RNG.integers(-64, 64, 40)], np.int64)


def _nearest(v: int, by: int) -> int:
    """Return v / by to the nearest integer, halves to even, by exact decimals."""
    low, rest = divmod(v, by)
    return (
        low + int((Decimal(2 * rest) / Decimal(2 * by)).quantize(Decimal(1), ROUND_HALF_EVEN))
        if (2 * rest != by)
        else low + (low & 1)
    )


def _run(function: Callable[[Any], Any], values: np.ndarray[Any, Any], on: str = "cpu") -> np.ndarray[Any, Any]:
    x = tensor.input("x", values.shape, "i64")
    program = tensor.compile([function(x)], on=on)
    program.run(x=values)
    return program.read()[0]


@pytest.mark.parametrize("shift", [0, 1, 2, 7, 31, 60])
def test_rounding_is_to_the_nearest_and_halves_to_even(shift: int) -> None:
    wanted = [_nearest(int(v), 1 << shift) for v in _VALUES]
    amount = tensor.parameter(np.array(shift, np.int32), on="cpu")
    assert _run(lambda x: round_even(x, shift), _VALUES).tolist() == wanted
    assert _run(lambda x: round_even(x, amount), _VALUES).tolist() == wanted


@pytest.mark.parametrize("by", [-70, -62, -33, -1, 0, 1, 40, 70])
def test_align_shifts_both_ways_and_saturates(by: int) -> None:
    top = 1 << 62
    clipped = [max(-(top >> min(max(by, 0), 62)), min(top >> min(max(by, 0), 62), int(v))) for v in _VALUES]
    wanted = [v << min(by, 62) if by >= 0 else _nearest(v, 1 << min(-by, 62)) for v in clipped]
    amount = tensor.parameter(np.array(by, np.int32), on="cpu")
    assert _run(lambda x: align(x, by), _VALUES).tolist() == wanted
    assert _run(lambda x: align(x, amount), _VALUES).tolist() == wanted


def test_division_is_to_the_nearest_and_halves_to_even() -> None:
    values = _VALUES >> 2
    for by in (1, 3, 4, 9, 1000):
        found = _run(lambda x, by=by: divide_even(x, by), values)
        assert found.tolist() == [_nearest(int(v), by) for v in values], by


def test_bit_length_is_that_of_the_largest_size() -> None:
    for values in ([0, 0], [1, -1], [-128, 5], [127], [-(1 << 61), 3]):
        wanted = max(abs(v) for v in values).bit_length()
        assert int(_run(bit_length, np.array(values, np.int64))) == wanted


@pytest.mark.parametrize("shift", [1, 5, 20, 40])
def test_random_rounding_is_one_of_two_neighbours_and_right_on_average(shift: int) -> None:
    n = 1 << 14
    value = (-3 << shift) + (2 << shift) // 3  # about -2 1/3
    words = np.random.default_rng(shift).integers(0, 1 << 32, n, np.uint32)
    amount = tensor.parameter(np.array(shift, np.int32), on="cpu")
    drawn = tensor.array(words, on="cpu")
    found = _run(lambda x: round_random(x, amount, drawn), np.full(n, value, np.int64))
    assert (found == _run(lambda x: round_random(x, shift, drawn), np.full(n, value, np.int64))).all()
    chance = ((2 << shift) // 3) / (1 << shift)
    assert set(found.tolist()) <= {-3, -2}
    deviation = np.sqrt(chance * (1 - chance) / n)
    assert abs((found + 3).mean() - chance) < 5 * deviation


def test_random_rounding_of_whole_numbers_changes_nothing() -> None:
    words = tensor.array(np.random.default_rng(0).integers(0, 1 << 32, len(_VALUES), np.uint32), on="cpu")
    whole = (_VALUES >> 8) << 8
    assert (_run(lambda x: round_random(x, 8, words), whole) == whole >> 8).all()


def test_powers_logarithms_and_chances_are_near(on: str) -> None:
    t = np.array([0, 1, 32767, 65535, 65536, 100000, 500000, 2000000, 1 << 40], np.int64)
    power = _run(exp2_negative, t, on)
    with mpmath.workdps(30):
        for given, found in zip(t.tolist(), power.tolist(), strict=True):
            assert abs(found - mpmath.power(2, -mpmath.mpf(given) / 65536) * 2**30) < 2**30 * 2.0**-26 + 1
        s = np.array([1, 2, 3, 1 << 30, (1 << 30) + 1, 5 << 29, 123456789012345, (1 << 62) + 12345], np.int64)
        for given, found in zip(s.tolist(), _run(log2_of, s, on).tolist(), strict=True):
            assert abs(found - mpmath.log(given, 2) * 65536) < 2
        x = np.array([0, 1, -1, 100, -100, 1000, -1000, 32767, -32767], np.int64)
        for e in (-12, -8, -4, 3):
            for given, found in zip(x.tolist(), _run(lambda v, e=e: logistic(v, e), x, on).tolist(), strict=True):
                wanted = 1 / (1 + mpmath.exp(-mpmath.mpf(given) * mpmath.power(2, e)))
                assert abs(found - wanted * 2**30) < 2**30 * 2.0**-18
