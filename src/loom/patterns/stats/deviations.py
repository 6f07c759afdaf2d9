"""What the statistics share: degrees of freedom, and recorded sums of squared deviations.

Layer: patterns. Invariant: along an axis, a row gives the bits it gives alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from loom.core.dtype import DType
from loom.core.errors import ArgumentError
from loom.core.numerics import REDUCE_TILE
from loom.kernels.fold.deviations import LINE_BLOCK, square_deviations, square_tiles
from loom.kernels.fold.tiles import DIVIDE_LANES, divide_rows
from loom.kernels.types import Kinds
from loom.patterns.calling.call import Call
from loom.runtime.chain import Chain
from loom.runtime.storage import Storage
from loom.schedules.axis import Rows
from loom.schedules.fold import SHORT_ROW, Folding, record_fold, record_means

__all__ = ["Spread", "freedom", "lines", "record_tiles", "squares_nbytes"]


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


def lines(shape: Rows) -> tuple[int, int, bool]:
    """Return how many lines an array is cut into for elementwise work, how long they are, if one has one centre."""
    return (shape.outer, shape.n, True) if shape.inner == 1 else (shape.outer * shape.n, shape.inner, False)


def record_tiles(
    chain: Chain, kernel: Any, buffers: list[Storage], kind: DType, rows: int, n: int, out: Storage
) -> list[Storage]:
    """Record sums of rows whose tiles ``kernel`` folds from ``buffers``, given its results, n and tiles of a row."""
    tiles = -(-n // REDUCE_TILE)
    target = out if tiles == 1 else chain.device.allocate(rows * tiles * kind.nbytes)
    chain.dispatch(kernel, [*buffers, target], [n, tiles], groups=rows * tiles)
    if tiles == 1:
        return []
    shape = Rows(rows, tiles)
    return [target, *record_fold(chain, target, shape, Folding("sum", kind, kind, kind), out)]


def _in_tiles(shape: Rows) -> bool:
    """True if a workgroup squares and sums a tile of a row at once; else the squares are written down first."""
    return shape.inner == 1 and (shape.outer == 1 or shape.n > SHORT_ROW)


def squares_nbytes(shape: Rows, types: Kinds) -> int:
    """Return the bytes of memory that ``Spread`` needs for squares."""
    return types.computed.nbytes * (1 if _in_tiles(shape) else shape.size)


@dataclass(frozen=True, slots=True)
class Spread:
    """Variances of rows by ``left``, or their roots, as ``result``."""

    shape: Rows
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
        chain.dispatch(divide, [sums, out], [self.left, shape.results], groups=-(-shape.results // DIVIDE_LANES))
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
