"""``floor_divide`` of floats is exact, on every device. Oracle: Python's fractions, which have no rounding."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from loom import tensor

Array = np.ndarray[Any, Any]
_TYPES = {"f16": ("f2", 11), "bf16": ("f4", 8), "f32": ("f4", 24), "f64": ("f8", 53)}
"""The type of numpy that holds the numbers, and the digits."""


def _pairs(dtype: str) -> tuple[Array, Array]:
    """Return numbers beside whole multiples of others, quotients up to where all numbers are whole, and any bits."""
    held, digits = _TYPES[dtype]
    rng = np.random.default_rng(digits)
    b = (np.exp2(rng.uniform(-3, 3, 6000)) * rng.choice([-1, 1], 6000)).astype(held)
    quotients = np.exp2(rng.uniform(-3, digits + 1, 6000))
    with np.errstate(all="ignore"):
        a = (b.astype("f8") * np.where(rng.random(6000) < 0.5, np.rint(quotients), quotients)).astype(held)
        words = f"i{a.itemsize}"
        a = (a.view(words) + rng.integers(-2, 3, a.size).astype(words)).view(held)
        any_bits = rng.integers(0, 2 ** (8 * a.itemsize), (2, 1500), dtype=f"u{a.itemsize}").view(held)
    a, b = np.concatenate([a, any_bits[0]]), np.concatenate([b, any_bits[1]])
    kept = np.isfinite(a) & np.isfinite(b) & (b != 0)
    return a[kept], b[kept]


@pytest.mark.parametrize("dtype", _TYPES)
def test_the_floor_is_exact(dtype: str, on: str) -> None:
    a, b = (tensor.array(side, on=on).astype(dtype) for side in _pairs(dtype))
    wide = "f64" if dtype == "f64" else "f32"
    found, quotients = (t.astype(wide).tolist() for t in (a // b, a / b))
    checked = 0
    for x, y, f, q in zip(a.astype(wide).tolist(), b.astype(wide).tolist(), found, quotients, strict=True):
        if not (math.isfinite(x) and math.isfinite(y) and y):  # rounded to bf16
            continue
        floor = math.floor(Fraction(x) / Fraction(y))
        exact = abs(floor) < 2 ** _TYPES[dtype][1]
        checked += exact
        assert f == (floor if exact else q), (x, y)
        assert math.copysign(1, f) == math.copysign(1, q), (x, y)
    assert checked > 4000


def test_numpy_and_python_are_off_where_loom_is_not() -> None:
    a, b = np.array([8388611.0, 6.815321e7], "f4"), np.array([1.5, -5.5874095], "f4")
    assert tensor.floor_divide(tensor.array(a), tensor.array(b)).tolist() == [5592407.0, -12197640.0]
    x = tensor.array([7.0, -7.0, 0.0, -0.0, 3e38, -1e-45])
    y = tensor.array([2.0, 2.0, -3.0, 3.0, 3.4e38, 3e38])
    assert [str(v) for v in (x // y).tolist()] == ["3.0", "-4.0", "-0.0", "-0.0", "0.0", "-1.0"]


def test_twice_a_divisor_may_overflow() -> None:
    most = 3.4028234663852886e38
    x, y = tensor.array([most, -most, most, most]), tensor.array([most, most, 2e38, -2e38])
    assert (x // y).tolist() == [1.0, -1.0, 1.0, -2.0]


def test_the_gradient_is_none() -> None:
    x = tensor.array([7.5, -7.5])
    assert tensor.grad((x // 2.0 + x).sum(), [x])[0].tolist() == [1.0, 1.0]
