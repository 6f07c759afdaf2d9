"""Users' kernels over tensors: outputs recorded, evaluated late and in programs, gradients by another kernel.

The oracles are numpy, and central differences in f64 over directions.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, InOut, Out, f32, f64, i32, tensor, u32
from loom.core.errors import LoomError


@loom.kernel
def cube_back(x: In[f64], grad_y: In[f64], grad_x: Out[f64], a: f64):
    i = loom.global_id()
    if i < len(x):
        grad_x[i] = grad_y[i] * 3.0 * a * x[i] * x[i]


@loom.kernel(vjp=cube_back)
def cube(x: In[f64], y: Out[f64], a: f64):
    i = loom.global_id()
    if i < len(x):
        y[i] = a * x[i] * x[i] * x[i]


@loom.kernel
def rows_back(w: In[f64, 2], x: In[f64], y: In[f64], grad_y: In[f64], grad_e: In[f64], grad_w: Out[f64, 2],
              grad_x: InOut[loom.fixed(2**-44, f64)]):  # fmt: skip
    i = loom.global_id()
    if i < w.shape[0]:
        for k in range(w.shape[1]):
            g = grad_y[i] + 2.0 * y[i] * grad_e[i]
            grad_w[i, k] = g * x[k]
            loom.atomic_add(grad_x, k, g * w[i, k])


@loom.kernel(vjp=rows_back, workgroup=16)
def rows(w: In[f64, 2], x: In[f64], y: Out[f64], e: Out[f64]):
    i = loom.global_id()
    if i < w.shape[0]:
        total = f64(0)
        for k in range(w.shape[1]):
            total += w[i, k] * x[k]
        y[i] = total
        e[i] = total * total


@loom.kernel
def shift(x: In[f32], y: Out[f32], n: u32 = 1):
    i = loom.global_id()
    if i + n < len(x):
        y[i] = x[i + n]


@loom.kernel
def split(x: In[f32], whole: Out[i32], rest: Out[f32]):
    i = loom.global_id()
    if i < len(x):
        whole[i] = i32(loom.floor(x[i]))
        rest[i] = x[i] - loom.floor(x[i])


def test_outputs_are_recorded(on: str) -> None:
    x = tensor.array(np.arange(100, dtype=np.float32) / 4, on=on)
    y = shift(x * 2, n=3)
    assert isinstance(y, tensor.Tensor)
    assert y.data is None  # not computed yet
    expected = np.concatenate([np.arange(3, 100, dtype=np.float32) / 2, np.zeros(3, np.float32)])
    assert np.array_equal((y + 1).numpy(), expected + 1)
    whole, rest = split(y)
    assert whole.dtype == i32
    assert np.array_equal((tensor.cast(whole, f32) + rest).numpy(), expected)
    assert np.array_equal(shift(x[::2], n=1).numpy()[:-1], np.arange(0, 100, 2)[1:] / np.float32(4))  # a view is packed
    assert shift(tensor.reshape(x, (10, 10))).shape == (10, 10)
    assert shift(x, out=4).tolist() == [0.25, 0.5, 0.75, 1.0]


def test_lengths_are_those_of_the_tensors(on: str) -> None:
    @loom.kernel
    def lengths(x: In[f32], y: Out[u32]):
        if loom.global_id() == 0:
            y[0], y[1] = len(x), len(y)

    x = tensor.array(np.zeros(5, np.float32), on=on)
    assert lengths(x + 1, out=3).tolist() == [5, 3, 0]


def test_a_program_runs_it_again(on: str) -> None:
    x = tensor.input("x", (7,), "f64")
    w = tensor.parameter(np.ones((5, 7)), on=on)
    y, e = rows(w, cube(x, a=2.0), out=5)
    (g,) = tensor.grad((y + e).sum(), [w])
    step = tensor.compile([y, e, g], on=on)
    for seed in range(3):
        values = np.random.default_rng(seed).random(7)
        step.run(x=values)
        found = step.read()
        cubes = 2 * values**3
        assert np.allclose(found[0], cubes.sum())
        assert np.allclose(found[1], cubes.sum() ** 2)
        assert np.allclose(found[2], (1 + 2 * cubes.sum()) * cubes)


def difference(f: Any, x: np.ndarray, direction: np.ndarray) -> float:
    step = 1e-5
    return (f(x + step * direction) - f(x - step * direction)) / (2 * step)


def test_gradients_are_those_of_finite_differences(on: str) -> None:
    dice = np.random.default_rng(1)
    w0, x0 = dice.standard_normal((4, 6)), dice.standard_normal(6)

    def loss(w: Any, x: Any) -> Any:
        y, e = rows(w, cube(tensor.map(x, "tanh") if hasattr(tensor, "map") else x.tanh(), a=0.5), out=4)
        return (y * 2.0 + e * y).sum()

    w, x = tensor.array(w0, on=on), tensor.array(x0, on=on)
    found = tensor.grad(loss(w, x), [w, x])

    def at(w: np.ndarray, x: np.ndarray) -> float:
        t = 0.5 * np.tanh(x) ** 3
        y = w @ t
        return float((2 * y + y**3).sum())

    for tensor_of, start, f in ((found[0], w0, lambda v: at(v, x0)), (found[1], x0, lambda v: at(w0, v))):
        for _ in range(3):
            direction = dice.standard_normal(start.shape)
            exact = difference(f, start, direction)
            assert float((tensor_of.numpy() * direction).sum()) == pytest.approx(exact, rel=1e-6, abs=1e-7)


def test_bits_do_not_depend_on_when_or_where(on: str) -> None:
    x = np.random.default_rng(4).standard_normal(33)
    eager = cube(x, a=1.5)
    assert cube(tensor.array(x, on=on), a=1.5).numpy().tobytes() == eager.tobytes()


@loom.kernel
def wrong_back(x: In[f64], grad_z: In[f64], grad_x: Out[f64]):
    i = loom.global_id()
    if i < len(x):
        grad_x[i] = grad_z[i]


@loom.kernel(vjp=wrong_back)
def wrong(x: In[f64], y: Out[f64]):
    i = loom.global_id()
    if i < len(x):
        y[i] = x[i]


@loom.kernel
def half_back(x: In[f64], grad_y: In[f64], grad_x: Out[f64]):
    i = loom.global_id()
    if i < len(x):
        grad_x[i] = grad_y[i]


@loom.kernel(vjp=half_back)
def half(x: In[f64], w: In[f64], y: Out[f64]):
    i = loom.global_id()
    if i < len(x):
        y[i] = x[i] + w[i]


def test_what_is_refused() -> None:
    x = tensor.array(np.ones(3))
    x32 = tensor.array(np.ones(3, np.float32))
    for call, text in (
        (lambda: tensor.grad(shift(x32).sum(), [x32]), "kernel 'shift' has no derivative: expected @loom.kernel(vjp="),
        (lambda: tensor.grad(wrong(x).sum(), [x]), "parameter 'grad_z' is nothing of kernel 'wrong'"),
        (lambda: tensor.grad(half(x, x).sum(), [x]), "it gives no gradient for 'w': expected grad_w: Out[f64]"),
        (lambda: tensor.grad(half(x, x * 2).sum(), [x]), "it gives no gradient for 'w'"),
        (lambda: shift(x), "the tensor has another type: expected f32, got f64"),
        (lambda: split(x32, np.zeros(3, np.int32)), "'whole' is written and others are left out"),
        (lambda: shift(x32, lanes=1, groups=1), "lanes and groups are given"),
        (lambda: loom.kernel(vjp=3), "loom.kernel, vjp] not a kernel"),
    ):
        with pytest.raises(LoomError, match=re.escape(text)):
            call()
    assert tensor.grad(half(x, tensor.detach(x)).sum(), [x])[0].tolist() == [1, 1, 1]
