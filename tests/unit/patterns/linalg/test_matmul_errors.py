"""``gpu_matmul``: the text of every refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loom import gpu_matmul
from loom.core.errors import ArgumentError, DTypeError, LoomError, ShapeError

A = np.ones((2, 3), np.float32)
B = np.ones((4, 5), np.float32)
V = np.ones(3, np.float32)

REFUSED: dict[str, tuple[Callable[[], Any], type[LoomError], str]] = {
    "inner dimensions": (
        lambda: gpu_matmul(A, B), ShapeError,
        "[gpu_matmul] the inner dimensions differ: expected 3 rows of b for as many columns of a, got (2, 3) @ (4, 5). "
        "Transpose one, or check which comes first.",
    ),
    "inner dimensions, transposed": (
        lambda: gpu_matmul(A, B, transpose_b=True), ShapeError,
        "[gpu_matmul] the inner dimensions differ: expected 3 rows of b for as many columns of a, "
        "got (2, 3) @ (4, 5). Transpose one, or check which comes first.",
    ),
    "batches": (
        lambda: gpu_matmul(np.ones((2, 3, 4)), np.ones((5, 4, 3))), ShapeError,
        "[gpu_matmul] the batches do not broadcast: expected equal leading dimensions, or 1, or none, "
        "got (2, 3, 4) @ (5, 4, 3). Reshape one operand.",
    ),
    "a number": (
        lambda: gpu_matmul(np.float32(2), A), ShapeError,
        "[gpu_matmul, a] a number is no matrix: expected at least 1 dimension, got shape (). Multiply with gpu_mul.",
    ),
    "a transposed vector": (
        lambda: gpu_matmul(A, V, transpose_b=True), ShapeError,
        "[gpu_matmul, b] a vector has no transpose: expected at least 2 dimensions, got shape (3,). "
        "Leave transpose_b out.",
    ),
    "two dtypes that no integer type holds": (
        lambda: gpu_matmul(np.ones((2, 2), np.int64), np.ones((2, 2), np.uint64)), DTypeError,
        "[gpu_matmul] no integer type holds all numbers of both: expected u64 alone, or signed integers, got i64 and "
        "u64. Convert one with astype, u64 to i64 for example.",
    ),
    "bools": (
        lambda: gpu_matmul(A > 0, A.T > 0), DTypeError,
        "[gpu_matmul] unsupported operands: expected tensors of numbers, got bool. Convert with astype.",
    ),
    "a result type that is none": (
        lambda: gpu_matmul(A, A.T, out_dtype="f16"), DTypeError,
        "[gpu_matmul, out_dtype] f32 operands do not give f16: expected f32, got f16. "
        "Convert it.",
    ),
    "a misspelt result type": (
        lambda: gpu_matmul(A, A.T, out_dtype="f23"), DTypeError,
        "[gpu_matmul, out_dtype] no dtype is called 'f23'. Did you mean 'f32'?",
    ),
    "an unknown precision": (
        lambda: gpu_matmul(A, A.T, precision="x13"), ArgumentError,
        "[gpu_matmul, precision] unknown: expected None, 'full', 'x12', 'q8', 'q12', 'q24', got 'x13'. "
        "Did you mean 'x12'?",
    ),
    "x12 of doubles": (
        lambda: gpu_matmul(np.ones((2, 2)), np.ones((2, 2)), precision="x12"), DTypeError,
        "[gpu_matmul, precision] x12 rounds operands of f32: expected f32, got f64. Leave it out, "
        "or convert the operands.",
    ),
    "a flat operand of wrong size": (
        lambda: gpu_matmul(np.ones(6), np.ones(7), 2, 2, 3), ShapeError,
        "[gpu_matmul, b] not a flat matrix of 3 x 2: expected k n = 6 elements, got 7. Check m, n and k.",
    ),
    "sizes left out": (
        lambda: gpu_matmul(np.ones(6), np.ones(6), 2, 2), ArgumentError,
        "[gpu_matmul, k] not a size: expected m, n and k as whole numbers of at least 0, got None. "
        "Pass all three for flat operands, none otherwise.",
    ),
    "a fractional size": (
        lambda: gpu_matmul(np.ones(6), np.ones(6), 2.5, 2, 3), ArgumentError,  # type: ignore[arg-type]
        "[gpu_matmul, m] not a size: expected m, n and k as whole numbers of at least 0, got 2.5. "
        "Pass all three for flat operands, none otherwise.",
    ),
    "a negative size": (
        lambda: gpu_matmul(np.ones(6), np.ones(6), 2, -2, -3), ArgumentError,
        "[gpu_matmul, n] not a size: expected m, n and k as whole numbers of at least 0, got -2. "
        "Pass all three for flat operands, none otherwise.",
    ),
    "too large a result": (
        lambda: gpu_matmul(np.ones((65536, 0), np.int8), np.ones((0, 65536), np.int8)), ShapeError,
        "[gpu_matmul] too many elements in the result: expected less than 2^32, got (65536, 65536). "
        "Multiply in parts of rows.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_say_what_is_wrong_and_what_to_do(name: str) -> None:
    call, kind, text = REFUSED[name]
    with pytest.raises(kind) as refused:
        call()
    assert str(refused.value) == text
