"""Functions of math and numpy, and Python's builtins, in kernels. Oracle: Python and numpy on the same numbers."""

from __future__ import annotations

import math
import re
from math import pi, sqrt
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, Out, f32, f64, i32, i64, u32
from loom.core.errors import KernelError

THREE = np.int64(3)
FACTORS = (2, 3, 5)


@loom.kernel
def of_math(x: In[f64], y: Out[f64]) -> None:
    i = loom.global_id()
    if i < len(x):
        v = x[i]
        y[i * 16] = math.sqrt(v) + sqrt(2.0) * pi
        y[i * 16 + 1] = np.exp(v)
        y[i * 16 + 2] = math.sin(v * np.pi)
        y[i * 16 + 3] = math.floor(v) + np.ceil(v) * 10.0
        y[i * 16 + 4] = round(v) + math.trunc(v) * 10.0
        y[i * 16 + 5] = v**2 + v**3 + v**0
        y[i * 16 + 6] = pow(v, 0.5) + np.power(v, 1.5)
        y[i * 16 + 7] = np.clip(v, 0.25, 0.75) + np.maximum(v, 1.0) + np.minimum(v, 0.5)
        y[i * 16 + 8] = np.square(v) + math.fabs(-v) + np.abs(v - 1.0) + np.negative(v) + np.reciprocal(v + 1.0)
        y[i * 16 + 9] = np.where(v > 1.0, v, 0.0) + math.atan2(v, 2.0) + np.arctan2(1.0, v + 1.0)
        y[i * 16 + 10] = np.float64(np.float32(v)) + float(v) + f64(f32(v) == f32(0))
        y[i * 16 + 11] = math.erf(v) + np.log1p(v) + math.log2(v + 1.0) + np.cbrt(v)
        y[i * 16 + 12] = 1.0 if math.isnan(v / v) else 0.0
        y[i * 16 + 13] = (1.0 if np.isinf(1.0 / v) else 0.0) + (10.0 if math.isfinite(1.0 / v) else 0.0)
        y[i * 16 + 14] = f64(int(v)) + f64(i32(np.int32(v)))
        y[i * 16 + 15] = f64(bool(v)) + math.gamma(v + 1.0) + math.fmod(v, 0.7) + math.copysign(v, -1.0)


def test_functions_of_math_and_numpy(on: str) -> None:
    x = np.linspace(0, 3, 40)
    y = np.zeros(40 * 16)
    of_math(x, y, on=on, groups=1)
    with np.errstate(all="ignore"):
        expected = [
            np.sqrt(x) + np.sqrt(2) * np.pi, np.exp(x), np.sin(x * np.pi), np.floor(x) + 10 * np.ceil(x),
            np.rint(x) + 10 * np.trunc(x), x**2 + x**3 + 1, np.sqrt(x) + x**1.5,
            np.clip(x, 0.25, 0.75) + np.maximum(x, 1) + np.minimum(x, 0.5),
            x * x + x + abs(x - 1) - x + 1 / (x + 1),
            np.where(x > 1, x, 0) + np.arctan2(x, 2) + np.arctan2(1, x + 1),
            x.astype(np.float32) + x + (x.astype(np.float32) == 0),
            [math.erf(v) for v in x] + np.log1p(x) + np.log2(x + 1) + np.cbrt(x),
            np.isnan(x / x), np.isinf(1 / x) + 10.0 * np.isfinite(1 / x), 2 * np.trunc(x),
            (x != 0) + np.array([math.gamma(v + 1) for v in x]) + np.fmod(x, 0.7) - x,
        ]  # fmt: skip
    for found, wanted in zip(y.reshape(40, 16).T, expected, strict=True):
        np.testing.assert_allclose(found, np.asarray(wanted, np.float64), rtol=4e-15, atol=4e-15)


@loom.kernel
def of_python(x: In[i32], y: Out[i32]) -> None:
    i = loom.global_id()
    if i < len(x):
        q, r = divmod(x[i], 7)
        s = sum((q, r, 3)) + min(q, r, 2) + max((q, r)) + sum((q, r), 10) + sum(FACTORS)
        for n, (a, b) in enumerate(zip(FACTORS, reversed(FACTORS), strict=False), 1):
            s += n * a * b
        for _ in range(THREE):
            s += 1
        if any((q == 1, r == 2)) and all((q < 5, bool(q))):
            s += 1000
        s += 5000 if q in (1, 4) else 0
        s += 20000 if r not in FACTORS else 0
        if 0 < r < 3 <= 3:
            s += 1
        if (m := q * 2) > 4:
            s += m
        s += abs(q) ** 3 + pow(r, 2) + len((q, r, s)) + round(q)
        y[i] = s


def _python(x: int) -> int:
    q, r = divmod(x, 7)
    s = sum((q, r, 3)) + min(q, r, 2) + max((q, r)) + sum((q, r), 10) + sum(FACTORS)
    s += sum(n * a * b for n, (a, b) in enumerate(zip(FACTORS, reversed(FACTORS), strict=True), 1)) + 3
    s += 1000 * (any((q == 1, r == 2)) and all((q < 5, bool(q))))
    s += 5000 * (q in (1, 4)) + 20000 * (r not in FACTORS) + (0 < r < 3)
    s += q * 2 if q * 2 > 4 else 0
    return s + abs(q) ** 3 + pow(r, 2) + 3 + q


def test_builtins_of_python(on: str) -> None:
    x = np.arange(-50, 50, dtype=np.int32)
    y = np.zeros(100, np.int32)
    of_python(x, y, on=on)
    assert y.tolist() == [_python(int(v)) for v in x]


def test_types_of_conversions() -> None:
    @loom.kernel
    def asked(
        a: In[f32], b: In[f64], c: In[u32], d: In[i64], w: Out[i32], x: Out[i64], y: Out[f32], z: Out[f64]
    ) -> None:
        w[0], x[0] = int(a[0]), int(b[0])
        w[1], x[1] = int(a[0] > 0.0), int(d[0])
        y[0], z[0] = float(a[0]), float(b[0])
        y[1], z[1] = float(c[0]), float(d[0])
        y[2] = f32(bool(c[0])) + f32(bool(a[0] > 1.0))

    w, x, y, z = np.zeros(2, np.int32), np.zeros(2, np.int64), np.zeros(3, np.float32), np.zeros(2)
    asked(np.float32([2.5]), np.array([-7.5]), np.uint32([3]), np.array([1 << 40]), w, x, y, z, groups=1)
    assert (w.tolist(), x.tolist()) == ([2, 1], [-7, 1 << 40])
    assert (y.tolist(), z.tolist()) == ([2.5, 3.0, 2.0], [-7.5, 2.0**40])


@pytest.mark.parametrize(("call", "text"), [
    (lambda v: math.hypot(v, v), "Write loom.sqrt(x * x + y * y)"),
    (lambda v: np.fmin(v, 1.0), "Write min(x, y)"),
    (lambda v: math.log10(v), "Write loom.log2(x) * 0.3"),
    (lambda v: round(v, 2), "round takes one value inside a kernel"),
    (lambda v: pow(v, 2, 3), "pow takes two values inside a kernel"),
    (lambda v: math.sqrt(i32(v)), "Convert"),
    (lambda v: math.sin(i32(v)), "sin has no definition for i32"),
    (lambda v: np.isnan(i32(v)), "isnan takes floats"),
    (lambda v: i32(v) ** i32(v), "** of an integer takes a constant exponent"),
    (lambda v: 2 ** i32(v), "** takes a constant whole exponent, or floats"),
    (lambda v: sum(v), "sum of no tuple"),
    (lambda v: v if v in "abc" else 0.0, "'in' compares compile-time values"),
    (lambda v: np.zeros(3)[i32(v)] + np.linalg.norm(v), "norm cannot be called inside a kernel"),
])  # fmt: skip
def test_what_kernels_lack_names_what_to_write(call: Any, text: str) -> None:
    with pytest.raises(KernelError, match=re.escape(text)):
        loom.gpu_map(np.ones(3, np.float32), call)
