"""Rows: what a function of tensors records for arrays of a kind is kept, and run without recording it again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, LoomError
from loom.patterns.tensor_rows import answer
from loom.tensor import Tensor

X = np.arange(6, dtype=np.float32)


def test_a_function_is_asked_once_for_a_kind() -> None:
    asked: list[tuple[int, ...]] = []

    def twice(x: Tensor, *, by: float = 2.0) -> Tensor:
        asked.append(x.shape)
        return x * by

    for _ in range(3):
        assert answer("twice", twice, [X], {}).tolist() == (X * 2).tolist()
        assert answer("twice", twice, [X[:2]], {"by": -0.0}).tolist() == [-0.0, -0.0]
        assert str(answer("twice", twice, [X[:2]], {"by": 0.0}).tolist()) == "[0.0, 0.0]"
    assert asked == [(6,), (2,), (2,)]


def test_a_function_that_reads_elements_is_asked_at_each_call() -> None:
    def above_first(x: Tensor) -> Tensor:
        return x - x[0].item()

    for first in (1.0, 5.0):
        x = np.array([first, 7.0], np.float32)
        assert answer("above first", above_first, [x], {}).tolist() == [0.0, 7.0 - first]


def test_what_a_function_asks_of_a_result_is_asked_after_every_run() -> None:
    singular = np.ones((2, 2))
    for _ in range(2):
        assert loom.linalg.inv(np.eye(2) * 2).tolist() == [[0.5, 0], [0, 0.5]]
        with pytest.raises(ArgumentError, match=r"\[linalg.inv\] the matrix is singular: .* got none in column 1"):
            loom.linalg.inv(singular)


def test_a_precision_around_the_call_is_another_program() -> None:
    a = np.array([[1.0, 1 / 256]], np.float32)
    plain = loom.gpu_matmul(a, a, transpose_b=True)
    with loom.precision("q8"):
        assert loom.gpu_matmul(a, a, transpose_b=True).tolist() == [[1.0]]
    assert loom.gpu_matmul(a, a, transpose_b=True).tolist() == plain.tolist() == [[1.0000152587890625]]


def test_results_are_memory_of_their_own() -> None:
    x = X.copy()
    for same in (loom.gpu_cast(x, loom.f32), loom.linalg.transpose(x), loom.gpu_clip(x, 0.0, 9.0, on="cpu")):
        same[:] = -1
    assert x.tolist() == X.tolist()
    out = np.empty_like(x)
    assert loom.gpu_clip(x, 1.0, 2.0, out=out) is out
    assert out.tolist() == [1, 1, 2, 2, 2, 2]


def test_whole_floats_stand_for_integers_beside_integers() -> None:
    whole: list[Any] = [
        loom.gpu_add(np.array([1, 2], np.int32), 2.0),
        loom.gpu_where([True, False], np.array([1, 2], np.int32), 2.0),
        loom.gpu_clip(np.array([1, 9], np.int32), 0.0, 5.0),
    ]
    assert [x.dtype for x in whole] == [np.int32] * 3
    assert loom.gpu_add(np.array([1, 2], np.int32), 0.5).dtype == np.float32


def test_derivatives_are_those_of_tensors_or_refused() -> None:
    x = loom.array(X)
    (slope,) = loom.tensor.grad(loom.gpu_sum(loom.gpu_mul(x, x)), [x])
    assert slope.tolist() == (2 * X).tolist()
    with pytest.raises(LoomError, match="derivative"):
        loom.tensor.grad(loom.gpu_scan(x, exclusive=True).sum(), [x])
