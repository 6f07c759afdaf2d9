"""Patterns, kernels, tensors and networks of f64 use the f64 definitions: lists of numbers are f64.

Oracles: literals of mathematics, and the standard library's ``math`` to its last digits.
"""

from __future__ import annotations

import math
from math import inf, nan
from typing import Any

import numpy as np
import pytest

import loom
from loom import Out, f64, kernel, tensor
from loom.kernels.functions import FUNCTIONS, function


def _near(got: Any, want: Any, ulps: int = 2) -> bool:
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    with np.errstate(invalid="ignore"):
        close = abs(got - want) <= ulps * np.spacing(abs(want))
    return bool(np.all((got == want) | (np.isnan(got) & np.isnan(want)) | close))


def test_every_function_of_f32_is_one_of_f64() -> None:
    assert [name for name in FUNCTIONS if f64 not in function(name).definitions] == []


def test_patterns_take_lists() -> None:
    assert np.asarray(loom.gpu_pow([1.0, 2.0], 2.0)).tolist() == [1.0, 4.0]
    assert np.asarray(loom.gpu_pow([10.0], 15)).tolist() == [1e15]
    assert np.asarray(loom.gpu_sigmoid([0.0])).tolist() == [0.5]
    assert np.asarray(loom.gpu_map([5.0], "gamma")).tolist() == [24.0]


@pytest.mark.parametrize("name", [n for n in sorted(FUNCTIONS) if hasattr(math, n) and n != "cbrt"])
def test_every_name_over_a_list(name: str) -> None:
    given = [[1.3, 1.75] if name == "acosh" else [0.3, 0.75]] * function(name).arity
    want = [getattr(math, name)(*row) for row in zip(*given, strict=True)]
    got = loom.gpu_map(given[0], name, *given[1:])
    assert got.dtype == np.float64
    assert _near(got, want, 16)  # the standard library's lgamma is off by some units itself


def test_a_kernel_of_f64() -> None:
    @kernel(workgroup=1)
    def powers(y: Out[f64]) -> None:
        y[0] = loom.pow(f64(-2.0), f64(3.0))
        y[1] = loom.expm1(f64(-1e-17))
        y[2] = loom.exp2(f64(3.0))
        y[3] = loom.log1p(f64(math.inf))

    y = np.zeros(4)
    chain = loom.Chain("cpu")
    chain.dispatch(powers, [y], groups=1)
    chain.build().run()
    assert y.tolist() == [-8.0, -1e-17, 8.0, inf]


def _of(x: float) -> tensor.Tensor:
    return tensor.array([x], "f64", on="cpu")


def test_tensors() -> None:
    rows = [
        (_of(-2.0) ** 3, -8.0), (_of(-2.0) ** 2.0, 4.0), (_of(0.0) ** 0, 1.0), (_of(10.0) ** 15, 1e15),
        (_of(-2.0) ** 0.5, nan), (_of(3.0).map("exp2"), 8.0), (_of(1e-30).map("sinh"), 1e-30),
        (_of(710.0).map("sinh"), math.sinh(710.0)), (_of(inf).map("log1p"), inf),
        (_of(10.0).map("erfc"), math.erfc(10)),
        (tensor.gelu(_of(-10.0)), -7.619853024160526e-23), (tensor.sigmoid(_of(-700.0)), math.exp(-700)),
        (_of(0.5).map("asin"), math.asin(0.5)), (_of(2.0).map("atan2", _of(-1.0)), math.atan2(2, -1)),
        (tensor.softplus(_of(-40.0)), math.exp(-40)),
    ]  # fmt: skip
    for got, want in rows:
        assert _near(got.numpy(), want, 4), (got.numpy(), want)


_SLOPES = [
    ("cosh", 1e-30, 1e-30), ("sinh", 1e-30, 1.0), ("expm1", 1e-30, 1.0), ("log1p", 1e300, 1e-300),
    ("exp2", 3.0, 8 * math.log(2)),
    ("erfc", 10.0, -2 / math.sqrt(math.pi) * math.exp(-100)), ("asin", 0.5, 1 / math.sqrt(0.75)),
    ("cbrt", 27.0, 1 / 27),
]  # fmt: skip


@pytest.mark.parametrize(("name", "x", "want"), _SLOPES)
def test_derivatives(name: str, x: float, want: float) -> None:
    p = tensor.parameter([x], "f64", on="cpu")
    assert _near(tensor.grad(p.map(name).sum(), [p])[0].numpy(), want, 8)


@pytest.mark.parametrize("function_name", ["elu", "selu"])
def test_activations_near_zero(function_name: str) -> None:
    scale = 1.0 if function_name == "elu" else 1.0507009873554805 * 1.6732632423543772
    from loom.nn.layers.activation import activate
    from loom.nn.spec import Activation

    for x in (-1e-12, -1e-17, -1.0):
        assert _near(activate(_of(x), Activation(function_name)).numpy(), scale * math.expm1(x), 4)
