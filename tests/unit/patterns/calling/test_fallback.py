"""Calls that a pattern refuses and the tensor's function answers, in the pattern's name and kind of array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError, IndexOutside, LoomError

HALF = np.eye(2, dtype=np.float16)


def test_arrays_give_arrays_and_tensors_tensors() -> None:
    assert type(loom.gpu_exp(np.array([0, 1]))) is np.ndarray
    assert type(loom.gpu_exp(np.int32(0))) is np.float32
    assert type(loom.gpu_exp(loom.array([0, 1]))) is loom.Array
    assert type(loom.gpu_add(loom.array([0, 1]), np.array([0.5, 1.5]))) is loom.Array
    found = loom.linalg.svd(HALF)
    assert type(found).__name__ == "SVD"
    assert [each.dtype for each in found] == [np.float16] * 3
    assert [each.dtype for each in loom.linalg.lu(HALF)] == [np.float16, np.uint32]


def test_operands_broadcast_and_meet_in_one_type() -> None:
    found = loom.gpu_add(np.ones((2, 3), np.int8), np.array([0.5, 1.5, 2.5], np.float32))
    assert found.dtype == np.float32
    assert found.tolist() == [[1.5, 2.5, 3.5]] * 2
    assert loom.gpu_pow(np.array([2, 3]), 2).tolist() == [4, 9]
    assert loom.gpu_where([True, False], np.array([1, 2], np.int8), 0.5).tolist() == [1, 0.5]


def test_numbers_of_a_list_have_the_type_of_the_array_beside_it() -> None:
    assert loom.gpu_add([1, 2], np.array([0.5, 1.5], np.float32)).dtype == np.float32
    with pytest.raises(DTypeError, match=r"1\.5 does not fit i32"):
        loom.gpu_add(np.array([1, 2], np.int32), [1, 1.5])


ELSEWHERE: dict[str, Callable[[Any, Any], Any]] = {
    "own kernels": lambda x, _: loom.gpu_sort(x, on="cpu"),
    "a row": lambda x, _: loom.gpu_softmax(x, on="cpu"),
    "an operation": lambda x, y: loom.gpu_add(x, y.astype("i32")),
    "operations": loom.linalg.distance,
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_an_array_on_another_device_is_refused(name: str) -> None:
    x, y = (loom.array([1.0, 2.0], on=device) for device in ("interp", "cpu"))
    with pytest.raises(ArgumentError, match="the array is on another device"):
        ELSEWHERE[name](x, y)


@pytest.mark.parametrize(("wrong", "error", "text"), [
    (lambda: loom.gpu_softmax([1, 2]), DTypeError, "[gpu_softmax] unsupported dtype"),
    (lambda: loom.gpu_softmax([1.0, 2.0], axis=3), IndexOutside, "[gpu_softmax, axis] there is no such axis"),
    (lambda: loom.gpu_sort([1, 2], axis=3), IndexOutside, "[gpu_sort, axis] there is no such axis"),
    (lambda: loom.gpu_topk([[1, 2]], 3), ArgumentError, "[gpu_topk, k] out of range"),
    (lambda: loom.linalg.inv([[1.0, 1.0], [1.0, 1.0]]), ArgumentError, "[linalg.inv] the matrix is singular"),
    (lambda: loom.linalg.inv(np.ones((2, 2), np.float16)), ArgumentError, "[linalg.inv] the matrix is singular"),
])  # fmt: skip
def test_errors_name_the_pattern(wrong: Callable[[], Any], error: type[LoomError], text: str) -> None:
    with pytest.raises(error) as caught:
        wrong()
    assert str(caught.value).startswith(text)
