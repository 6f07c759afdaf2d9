"""Kernels that write parts of tensors write the tensors, as they do with views of numpy."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, InOut, Out, f32, tensor
from loom.core.errors import AssertionFailed, LoomError

VIEWS: dict[str, Callable[[Any], Any]] = {
    "slice": lambda a: a[1:3, 1:4], "steps": lambda a: a[::2, 1::2], "backwards": lambda a: a[::-1, 4:1:-2],
    "row": lambda a: a[1], "column": lambda a: a[:, 1], "all": lambda a: a[...], "new axis": lambda a: a[None, 2],
    "transposed": lambda a: a.T, "part of transposed": lambda a: a.T[1:3], "slice of a slice": lambda a: a[1:][:2, 1:],
    "reshaped": lambda a: a.reshape(2, -1), "part of reshaped": lambda a: a.reshape(2, -1)[1],
    "a part reshaped": lambda a: a[:2].reshape(-1), "nothing": lambda a: a[3:3],
}  # fmt: skip


@loom.kernel
def grown(x: InOut[f32]):
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] + 1.0


@loom.kernel
def filled(out: Out[f32], v: f32 = 7.0):
    i = loom.global_id()
    if i < len(out):
        out[i] = v


@loom.kernel
def added(y: InOut[f32], x: In[f32]):
    i = loom.global_id()
    assert i < 1000, "too far"
    if i < len(y):
        y[i] = y[i] + x[i]


def numbers() -> Any:
    return np.arange(24, dtype=np.float32).reshape(4, 6)


@pytest.mark.parametrize("name", VIEWS)
def test_what_is_written_is_where_numpy_has_it(name: str) -> None:
    check(name, "cpu")


def test_what_is_written_on_every_device(on: str) -> None:
    for name in ("backwards", "part of transposed"):
        check(name, on)


def check(name: str, on: str) -> None:
    view, expected = VIEWS[name], numbers()
    x = loom.array(expected, on=on)
    before, held = x + 0, view(x)
    for kernel in (grown, grown, filled, grown):
        kernel(view(x))
        kernel(view(expected), on=on)
    assert np.array_equal(x.numpy(), expected)
    assert np.array_equal(before.numpy(), numbers())
    x, expected = x * 2, expected * 2  # pending, and a view that is written again and again
    held, held_by_numpy = view(x), view(expected)
    for _ in range(3):
        grown(held)
        grown(held_by_numpy, on=on)
    assert np.array_equal(held.numpy(), held_by_numpy)
    assert np.array_equal(x.numpy(), expected)


def test_a_parameter_and_parts_of_complex_numbers() -> None:
    p = tensor.parameter(numbers())
    filled(p[1:3])
    assert p.numpy()[:, 0].tolist() == [0, 7, 7, 18]
    for view, expected in ((tensor.view_as_real, 7 + 7j), (lambda z: z.real, 7 + 2j), (lambda z: z.imag[1:], 7j)):
        for z in (loom.array([2j, 2j]), loom.array([1j, 1j]) + loom.array([1j, 1j])):
            filled(view(z))
            assert z.numpy()[1] == expected


def test_parts_of_one_tensor_meet_in_a_call() -> None:
    x = loom.array(np.arange(6, dtype=np.float32))
    added(x[3:], x[:3])
    assert x.tolist() == [0, 1, 2, 3, 5, 7]
    added(x[3:], x)  # what is read is what there was before the call
    assert x.tolist() == [0, 1, 2, 3, 6, 9]
    copy = x[2:4].copy()
    filled(copy)
    assert x.tolist() == [0, 1, 2, 3, 6, 9]
    with pytest.raises(AssertionFailed):
        added(x[:3], x[3:], lanes=1024)
    assert x.tolist()[3:] == [3, 6, 9]


def test_many_writes_of_parts() -> None:
    x = tensor.zeros((100, 4)) + 0
    for k in range(100):
        filled(x[k], float(k))
    assert x[:, 3].tolist() == list(range(100))


def test_gradients_through_what_a_kernel_wrote_are_refused() -> None:
    for view in (lambda y: y, lambda y: y[1:2]):
        w = tensor.parameter(np.ones(3, np.float32))
        y = w * 2
        grown(view(y))
        with pytest.raises(LoomError, match=re.escape("[tensor.grad] the loss is made of a result of")):
            tensor.grad((y * 3).sum(), [w])


def test_chains_refuse_parts_that_are_written() -> None:
    x, chain = loom.array(np.arange(6, dtype=np.float32)), loom.Chain("cpu")
    with pytest.raises(LoomError, match=re.escape("Bind part = x[2:5].copy(), and do x[2:5] = part after the run")):
        chain.dispatch(filled, [x[2:5]])
    part = x[2:5].copy()
    chain.dispatch(added, [part, x[:3]])
    chain.build().run()
    x[2:5] = part
    assert x.tolist() == [0, 1, 2, 4, 6, 5]
