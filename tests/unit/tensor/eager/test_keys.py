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
