"""Records sums of squared deviations and of their products: variances, standard scores, covariances, correlations.

Layer: schedules. Two passes: means, then deviations from them. Invariant: along an axis, a row gives the bits it gives
alone, and a pair of rows those that the two give as a pair.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loom.core.dtype import DType
from loom.core.late.dataclass import dataclass
from loom.core.numerics import REDUCE_TILE
from loom.ir.frontend.decorator import KernelFunction
from loom.kernels.fold.deviations import (
    LINE_BLOCK,
    correlation_matrix,
    correlation_pair,
    covariance_matrix,
    deviations,
    product_tiles,
)
from loom.kernels.fold.tiles import DIVIDE_LANES, divide_rows
from loom.kernels.types import Kinds
from loom.schedules.axis import Rows
from loom.schedules.fold import SHORT_ROW, Folding, record_fold, record_means
from loom.schedules.recorder import Recorder, StorageLike, store

__all__ = ["Spread", "record_pair", "record_pairs"]

_MATRIX_LANES = 64


@dataclass(frozen=True, slots=True)
class Spread:
    """Variances of rows by ``left``, or their roots."""

    shape: Rows
    types: Kinds
    left: int
    root: bool

    @property
    def squares_nbytes(self) -> int:
        """Bytes of memory needed for squares."""
        return self.types.computed.nbytes * (1 if self._in_tiles else self.shape.size)

    @property
    def _in_tiles(self) -> bool:
        """True if a workgroup squares and sums a tile of a row at once; else the squares are written down first."""
        return self.shape.inner == 1 and (self.shape.outer == 1 or self.shape.n > SHORT_ROW)

    def record(
        self, chain: Recorder, x: StorageLike, means: StorageLike, squares: StorageLike, out: StorageLike, result: DType
    ) -> None:
        """Record the means, in the type computed in, and the variances."""
        shape, types, computed = self.shape, self.types, self.types.computed
        record_means(chain, x, shape, types, computed, means)
        sums = chain.device.allocate(shape.results * computed.nbytes)
        if self._in_tiles:
            kernel = product_tiles(types.element, computed, paired=False)
            _record_tiles(chain, kernel, [x, means], computed, shape.outer, shape.n, sums)
        else:
            self._record_lines(chain, [x, means, squares], computed)
            record_fold(chain, squares, shape, Folding("sum", computed, computed, computed), sums)
        divide = divide_rows(computed, computed, result, root=self.root)
        chain.dispatch(divide, [sums, out], [self.left, shape.results], groups=-(-shape.results // DIVIDE_LANES))

    def record_scores(
        self, chain: Recorder, x: StorageLike, means: StorageLike, squares: StorageLike, out: StorageLike
    ) -> None:
        """Record (x - mean) / deviation of every element, the roots being computed first."""
        spreads = chain.device.allocate(self.shape.results * self.types.computed.nbytes)
        self.record(chain, x, means, squares, spreads, self.types.computed)
        self._record_lines(chain, [x, means, spreads, out], self.types.result)

    def _record_lines(self, chain: Recorder, buffers: list[StorageLike], result: DType) -> None:
        """Record what is done with each deviation: squared, or, given spreads, divided by them."""
        shape, per_line = self.shape, self.shape.inner == 1
        count, length = (shape.outer, shape.n) if per_line else (shape.outer * shape.n, shape.inner)
        blocks = -(-length // LINE_BLOCK)
        divided = len(buffers) > 3
        kernel = deviations(self.types.element, self.types.computed, result, per_line=per_line, divided=divided)
        chain.dispatch(kernel, buffers, [shape.n, length, blocks], groups=count * blocks)


def record_pair(
    chain: Recorder, arrays: Sequence[StorageLike], n: int, types: Kinds, left: int | None, out: StorageLike
) -> None:
    """Record the covariance of two arrays by ``left``, or, if that is None, their correlation."""
    computed = types.computed
    only = store(chain, np.zeros(2, np.uint32))
    means = [chain.device.allocate(computed.nbytes) for _ in arrays]
    for array, mean in zip(arrays, means, strict=True):
        record_means(chain, array, Rows(1, n), types, computed, mean)
    kernel = product_tiles(types.element, computed, paired=True)

    def product(a: int, b: int) -> StorageLike:
        total = chain.device.allocate(computed.nbytes)
        buffers = [arrays[a], arrays[b], means[a], means[b], only]
        _record_tiles(chain, kernel, buffers, computed, 1, n, total)
        return total

    if left is None:
        sums = [product(0, 0), product(0, 1), product(1, 1)]
        chain.dispatch(correlation_pair(computed, types.result), [*sums, out], [], groups=1)
    else:
        chain.dispatch(divide_rows(computed, computed, types.result), [product(0, 1), out], [left, 1], groups=1)


def record_pairs(
    chain: Recorder, x: StorageLike, variables: int, n: int, types: Kinds, left: int | None, out: StorageLike
) -> None:
    """Record the covariances of all rows by ``left``, or, if that is None, their correlations."""
    computed = types.computed
    pairs = np.stack(np.triu_indices(variables), axis=1).astype(np.uint32)
    means, listed = chain.device.allocate(variables * computed.nbytes), store(chain, pairs)
    sums = chain.device.allocate(len(pairs) * computed.nbytes)
    record_means(chain, x, Rows(variables, n), types, computed, means)
    kernel = product_tiles(types.element, computed, paired=True)
    _record_tiles(chain, kernel, [x, x, means, means, listed], computed, len(pairs), n, sums)
    matrix, params = correlation_matrix(computed, types.result), [variables]
    if left is not None:
        matrix, params = covariance_matrix(computed, types.result), [left, variables]
    chain.dispatch(matrix, [sums, out], params, groups=-(-variables * variables // _MATRIX_LANES))


def _record_tiles(
    chain: Recorder, kernel: KernelFunction, buffers: list[StorageLike], kind: DType, rows: int, n: int,
    out: StorageLike,
) -> None:  # fmt: skip
    """Record sums of rows whose tiles ``kernel`` folds from ``buffers``, given its results, n and tiles of a row."""
    tiles = -(-n // REDUCE_TILE)
    target = out if tiles == 1 else chain.device.allocate(rows * tiles * kind.nbytes)
    chain.dispatch(kernel, [*buffers, target], [n, tiles], groups=rows * tiles)
    if tiles > 1:
        record_fold(chain, target, Rows(rows, tiles), Folding("sum", kind, kind, kind), out)
