"""Small calls of one name and shape: each dtype, and each way that operands share memory, has a program of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loom import tensor

DTYPES = ("int8", "uint8", "int32", "uint32", "float32", "int64", "float64", "uint64")
BITS = np.array([0xFF, 0x01, 0x80, 0x7F] * 8, np.uint8)
CALLS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "less": (tensor.less, np.less),
    "equal": (tensor.equal, np.equal),
    "greater": (tensor.greater, np.greater),
}


def _arrays(dtype: str) -> tuple[Any, Any]:
    """Return the same bytes, and the same behind one another, as elements of a dtype."""
    kind = np.dtype(dtype)
    return BITS.view(kind)[:4].copy(), np.roll(BITS, 1).view(kind)[:4].copy()


@pytest.mark.parametrize("name", CALLS)
def test_operands_of_other_dtypes_meet_another_program(name: str) -> None:
    """The results are bools whatever the operands are, so that only what is read tells the programs apart."""
    call, by_numpy = CALLS[name]
    for dtype in (*DTYPES, *reversed(DTYPES)):
        x, y = _arrays(dtype)
        found = call(tensor.array(x, dtype), tensor.array(y, dtype)).numpy()
        assert found.view(np.uint8).tolist() == by_numpy(x, y).view(np.uint8).tolist(), dtype


def test_positions_of_other_dtypes_meet_another_program() -> None:
    for dtype in (*DTYPES, *reversed(DTYPES)):
        x = np.nan_to_num(_arrays(dtype)[0])
        assert tensor.argmax(tensor.array(x, dtype)).item() == int(np.argmax(x)), dtype


def test_one_operand_twice_is_not_two_operands() -> None:
    x, y = tensor.array([1.5, -2.0]), tensor.array([4.0, 8.0])
    for _ in range(2):
        assert (x + y).tolist() == [5.5, 6.0]
        assert (x + x).tolist() == [3.0, -4.0]
        assert tensor.less(x, x).tolist() == [False, False]
        assert (x < y).tolist() == [True, True]
        assert (x - x.reshape(2)).tolist() == [0.0, 0.0]


def test_numbers_beside_an_operand_are_those_of_each_call() -> None:
    x, n, b = tensor.array([1.5, -2.0]), tensor.array([6, -7], "i32"), tensor.array([True, False])
    for first, second in ((1.0, 2.0), (2.0, 2.0), (0.5, -1.0), (2.0, 1.0)):
        assert (x * first).tolist() == [1.5 * first, -2.0 * first]
        assert (first - x).tolist() == [first - 1.5, first + 2.0]
        assert tensor.where(b, first, x).tolist() == [first, -2.0]
        assert tensor.where(b, tensor.full((2,), first), second).tolist() == [first, second]
        assert tensor.full((2,), first).tolist() == [first, first]
    for k in (3, -2, 5):
        assert (n + k).tolist() == [6 + k, -7 + k]
        assert (n // k).tolist() == [6 // k, -7 // k]
        assert (n % k).tolist() == [6 % k, -7 % k]
        assert (x ** abs(k)).tolist() == [1.5 ** abs(k), (-2.0) ** abs(k)]
    for flag in (True, False):
        assert (b | flag).tolist() == [True, flag]
    assert [(x + value).tolist() for value in (0.0, -0.0, float("inf"))] == [[1.5, -2.0], [1.5, -2.0], [np.inf, np.inf]]
    zero = tensor.array([0.0, -0.0])
    signs = [np.signbit((zero * value).numpy()).tolist() for value in (1.0, -1.0)]
    assert signs == [[False, True], [True, False]]
    number = tensor.full((), 2.0)
    assert (x * number).tolist() == [3.0, -4.0]
    assert number.evaluate().item() == 2.0
    assert (x * number).tolist() == (number * x).tolist() == [3.0, -4.0]
    assert tensor.maximum(x, number.broadcast_to((2,))).tolist() == [2.0, 2.0]
