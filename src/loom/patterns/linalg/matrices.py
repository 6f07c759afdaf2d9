"""Matrices as the factorisations take them: checked operands, and what is told of those that have no answer.

Layer: patterns. Leading dimensions are a batch. Invariant: elements are read, never changed here.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np

from loom.core.dtype import DType, f32, f64, u32
from loom.core.errors import DTypeError, ShapeError
from loom.patterns.calling.call import Call, Operand
from loom.tensor.linalg.operands import LinAlgError

__all__ = [
    "FLOAT_TYPES", "as_floats", "batch_of", "matrices", "raise_failure", "same_dtype", "square", "status",
]  # fmt: skip

FLOAT_TYPES = (f32, f64)


def as_floats(call: Call, data: Any, what: str, *, dtype: DType | None = None) -> Operand:
    """Return an operand of f32 or f64; a list of integers is taken as f64, other types are refused."""
    if isinstance(data, (list, tuple)) and dtype is None:
        found = call.input(data, what)
        if found.dtype.is_integer:
            return call.input(found.memory.astype(np.float64), what)
    return call.input(data, what, dtype=dtype, allowed=FLOAT_TYPES)


def matrices(call: Call, data: Any, what: str) -> Operand:
    """Return an operand of at least two dimensions, the last two being rows and columns."""
    found = as_floats(call, data, what)
    if len(found.shape) < 2:
        raise ShapeError(
            f"{call.name}, {what}", "not a matrix", expected="at least 2 dimensions", got=f"shape {found.shape}",
            remedy="Reshape it",
        )  # fmt: skip
    return found


def square(call: Call, data: Any, what: str) -> Operand:
    """Return an operand of square matrices."""
    found = matrices(call, data, what)
    if found.shape[-1] != found.shape[-2]:
        raise ShapeError(
            f"{call.name}, {what}", "the matrix is not square", expected="as many rows as columns",
            got=f"shape {found.shape}", remedy="Use qr for least squares",
        )  # fmt: skip
    return found


def same_dtype(call: Call, a: Operand, b: Operand, what: str) -> None:
    """DTypeError unless both operands have one dtype."""
    if a.dtype != b.dtype:
        raise DTypeError(
            f"{call.name}, {what}", "operands of different types", expected=a.dtype, got=b.dtype, remedy="Convert one"
        )


def status(batch: int) -> Operand:
    """Return where factorisations tell the first column they failed in: 1 + its number, 0 for none."""
    return Operand(np.zeros(batch, np.uint32), u32)


def raise_failure(call: Call, info: Operand, shape: tuple[int, ...], what: str, expected: str, remedy: str) -> None:
    """LinAlgError for the first matrix of the batch whose status is not 0."""
    found = info.memory
    failed = np.flatnonzero(found)
    if not failed.size:
        return
    column = int(found[failed[0]]) - 1
    place = cast("tuple[Any, ...]", np.unravel_index(failed[0], shape[:-2]) if shape[:-2] else ())
    which = "" if not shape[:-2] else f" of matrix {tuple(map(int, place))}"
    raise LinAlgError(call.name, what, expected=expected, got=f"none in column {column}{which}", remedy=remedy)


def batch_of(shape: tuple[int, ...]) -> int:
    """Return how many matrices an array of a shape holds."""
    return math.prod(shape[:-2])
