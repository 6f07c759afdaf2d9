"""Matrices as the factorisations take them: checked operands, and their columns in memory.

Layer: patterns. Leading dimensions are a batch. Columns are a multiple of 64 long, with zeros below the last row
(``kernels.linalg.lu``). Invariant: a batch changes no bit of any of its matrices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from loom.core.dtype import DType, f32, f64, u32
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.kernels.linalg.lu import COLUMNS, PANEL
from loom.kernels.linalg.vectors import TILE, columns_to_rows, identity_columns, rows_to_columns
from loom.patterns.calling.call import Call, Operand
from loom.runtime.chain import Chain
from loom.runtime.storage import Storage

__all__ = [
    "FLOAT_TYPES", "Columns", "as_floats", "batch_of", "matrices", "raise_failure", "same_dtype", "square", "status",
    "up",
]  # fmt: skip

FLOAT_TYPES = (f32, f64)


def up(n: int, multiple: int) -> int:
    """Return the least multiple that is not below n."""
    return -(-n // multiple) * multiple


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
    """ArgumentError for the first matrix of the batch whose status is not 0."""
    found = info.memory
    failed = np.flatnonzero(found)
    if not failed.size:
        return
    column = int(found[failed[0]]) - 1
    which = "" if not shape[:-2] else f" of matrix {tuple(int(i) for i in np.unravel_index(failed[0], shape[:-2]))}"
    raise ArgumentError(call.name, what, expected=expected, got=f"none in column {column}{which}", remedy=remedy)


@dataclass(slots=True)
class Columns:
    """A recording over a batch of matrices laid in ``columns`` columns of n rows, padded to ``rows``."""

    chain: Chain
    element: DType
    batch: int
    n: int
    columns: int
    memory: Storage = field(init=False)

    def __post_init__(self) -> None:
        self.columns = up(self.columns, COLUMNS)
        nbytes = self.batch * self.columns * self.rows * self.element.nbytes
        if nbytes // self.element.nbytes > 0xFFFF_FFFF:
            raise ShapeError(
                "loom.linalg", "the matrices are too large", expected="less than 2^32 elements with their padding",
                got=nbytes // self.element.nbytes, remedy="Work on the batch in parts",
            )  # fmt: skip
        self.memory = self.chain.device.allocate(nbytes)

    @property
    def rows(self) -> int:
        """Elements of a column in memory."""
        return up(self.n, PANEL)

    def load(self, source: Storage, m: int, first: int) -> None:
        """Record n by m matrices becoming the columns from ``first`` on."""
        groups = -(-m // TILE), -(-self.rows // TILE), self.batch
        params = [self.n, m, self.rows, self.columns, first]
        self.chain.dispatch(rows_to_columns(self.element), [source, self.memory], params, groups=groups)

    def identity(self, m: int, first: int) -> None:
        """Record the columns from ``first`` on becoming the m first of the identity."""
        groups = -(-self.rows // PANEL), m, self.batch
        kernel = identity_columns(self.element)
        self.chain.dispatch(kernel, [self.memory], [self.rows, self.columns, first], groups=groups)

    def store(self, target: Storage, n: int, m: int, first: int, *, upper: bool = False) -> None:
        """Record the n first rows of the m columns from ``first`` on becoming n by m matrices."""
        groups = -(-m // TILE), -(-n // TILE), self.batch
        params = [n, m, self.rows, self.columns, first]
        kernel = columns_to_rows(self.element, upper=upper)
        self.chain.dispatch(kernel, [self.memory, target], params, groups=groups)


def batch_of(shape: tuple[int, ...]) -> int:
    """Return how many matrices an array of a shape holds."""
    return math.prod(shape[:-2])
