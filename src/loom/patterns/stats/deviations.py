"""What the statistics share: types, degrees of freedom, and recorded means and sums of squared deviations.

Layer: patterns. Invariant: along an axis, a row gives the bits it gives alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from loom.core.dtype import DType, f32, f64, i64, u64
from loom.core.errors import ArgumentError, EmptyError
from loom.core.numerics import REDUCE_TILE
from loom.kernels.fold_record import SHORT_ROW, Folding, read_type, record_fold
from loom.kernels.statistics import LINE_BLOCK, divide_rows, square_deviations, square_tiles
from loom.patterns.axis import Geometry
from loom.patterns.call import Call
from loom.runtime.chain import Chain
from loom.runtime.storage import Storage

__all__ = [
    "Kinds",
    "Spread",
    "freedom",
    "kinds",
    "lines",
    "record_means",
    "record_tiles",
    "require_elements",
    "squares_nbytes",
]


@dataclass(frozen=True, slots=True)
class Kinds:
    """Types of a statistic: of the elements (a bool is a byte), of their sum, of arithmetic, of the result."""

    element: DType
    total: DType
    computed: DType
    result: DType


def kinds(dtype: DType) -> Kinds:
    """Return the types of a statistic of ``dtype``: floats keep theirs (16 bits in f32), integers give f64.

    Integers are summed exactly, those of 64 bits as f64, since their sum may have no integer type.
    """
    if dtype.is_float:
        computed = f32 if dtype.storage_only else dtype
        return Kinds(dtype, computed, computed, dtype)
    element = read_type(dtype)
    return Kinds(element, f64 if element.bits == 64 else i64 if element.is_signed else u64, f64, f64)


def require_elements(call: Call, shape: Geometry, what: str) -> None:
    """EmptyError if there are results, but no elements to make them of."""
    if shape.results and not shape.n:
        raise EmptyError(
            call.name, f"no elements to take the {what} of", expected="at least 1", got=0,
            remedy="Check for emptiness first",
        )  # fmt: skip


def freedom(call: Call, ddof: Any, n: int) -> int:
    """Return ``n - ddof``, what sums of squares are divided by; ArgumentError unless it is at least 1."""
    if isinstance(ddof, bool) or not isinstance(ddof, (int, np.integer)) or ddof < 0:
        raise ArgumentError(
            f"{call.name}, ddof", "unusable", expected="a whole number of at least 0", got=repr(ddof),
            remedy="Pass 0 for a population, 1 for a sample",
        )  # fmt: skip
    if n <= ddof:
        raise ArgumentError(
            f"{call.name}, ddof", "no degree of freedom is left",
            expected=f"less than the {n} elements" if n > 1 else "0 for one element", got=int(ddof),
            remedy="Pass a smaller ddof or more elements",
        )  # fmt: skip
    return n - int(ddof)


def lines(shape: Geometry) -> tuple[int, int, bool]:
    """Return how many lines an array is cut into for elementwise work, how long they are, if one has one centre."""
    return (shape.outer, shape.n, True) if shape.inner == 1 else (shape.outer * shape.n, shape.inner, False)


def record_means(chain: Chain, x: Storage, shape: Geometry, types: Kinds, result: DType, out: Storage) -> list[Storage]:
    """Record the means along the axis into ``out``, as ``result``; return the storage used in between."""
    totals = chain.device.allocate(shape.results * types.total.nbytes)
    folding = Folding("sum", types.element, types.total, types.total)
    kept = record_fold(chain, x, shape, folding, totals)
    divide = divide_rows(types.total, types.computed, result)
    chain.dispatch(divide, [totals, out], [shape.n, shape.results], groups=-(-shape.results // 64))
    return [totals, *kept]


def record_tiles(
    chain: Chain, kernel: Any, buffers: list[Storage], kind: DType, rows: int, n: int, out: Storage
) -> list[Storage]:
    """Record sums of rows whose tiles ``kernel`` folds from ``buffers``, given its results, n and tiles of a row."""
    tiles = -(-n // REDUCE_TILE)
    target = out if tiles == 1 else chain.device.allocate(rows * tiles * kind.nbytes)
    chain.dispatch(kernel, [*buffers, target], [n, tiles], groups=rows * tiles)
    if tiles == 1:
        return []
    shape = Geometry(rows, tiles, 1, ())
    return [target, *record_fold(chain, target, shape, Folding("sum", kind, kind, kind), out)]


def _in_tiles(shape: Geometry) -> bool:
    """True if a workgroup squares and sums a tile of a row at once; else the squares are written down first."""
    return shape.inner == 1 and (shape.outer == 1 or shape.n > SHORT_ROW)


def squares_nbytes(shape: Geometry, types: Kinds) -> int:
    """Return the bytes of memory that ``Spread`` needs for squares."""
    return types.computed.nbytes * (1 if _in_tiles(shape) else shape.results * shape.n)


@dataclass(frozen=True, slots=True)
class Spread:
    """Variances of rows by ``left``, or their roots, as ``result``."""

    shape: Geometry
    types: Kinds
    left: int
    result: DType
    root: bool

    def record(self, chain: Chain, x: Storage, means: Storage, squares: Storage, out: Storage) -> list[Storage]:
        """Record the means, in the type computed in, and the variances; return the storage used in between."""
        shape, types = self.shape, self.types
        kept = record_means(chain, x, shape, types, types.computed, means)
        sums = chain.device.allocate(shape.results * types.computed.nbytes)
        if _in_tiles(shape):
            kernel = square_tiles(types.element, types.computed)
            kept += record_tiles(chain, kernel, [x, means], types.computed, shape.outer, shape.n, sums)
        else:
            kept += self._record_squares(chain, x, means, squares, sums)
        divide = divide_rows(types.computed, types.computed, self.result, root=self.root)
        chain.dispatch(divide, [sums, out], [self.left, shape.results], groups=-(-shape.results // 64))
        return [*kept, sums]

    def _record_squares(
        self, chain: Chain, x: Storage, means: Storage, squares: Storage, sums: Storage
    ) -> list[Storage]:
        """Record squares, and their sums along an axis that tiles of rows do not suit."""
        (count, length, per_line), computed = lines(self.shape), self.types.computed
        blocks = -(-length // LINE_BLOCK)
        kernel = square_deviations(self.types.element, computed, per_line=per_line)
        chain.dispatch(kernel, [x, means, squares], [self.shape.n, length, blocks], groups=count * blocks)
        return record_fold(chain, squares, self.shape, Folding("sum", computed, computed, computed), sums)
