"""Records the levels of a reduction: tiles of the array, then tiles of their results, until one is left.

Layer: schedules. Patterns and tensors record through ``record_fold``. Invariant: which kernel folds a level depends on
the shape and ``Caps`` alone and cannot be seen in the bits, which are those of ``kernels.fold.lanes``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from loom.core.dtype import DType
from loom.core.late import late
from loom.core.numerics import REDUCE_LANES, REDUCE_TILE
from loom.kernels.fold.tiles import (
    DIVIDE_LANES,
    EXTREME_TILE,
    SUM_TILES,
    divide_rows,
    extreme_tiles,
    sum_four_tiles,
    sum_tiles,
)
from loom.schedules.axis import Rows

if TYPE_CHECKING:
    from loom.kernels.fold import lanes
    from loom.kernels.fold import threads as thread_folds
    from loom.kernels.types import Kinds
    from loom.schedules.recorder import Recorder, StorageLike
else:
    lanes, thread_folds = late("loom.kernels.fold", "lanes threads")

__all__ = ["SHORT_ROW", "Folding", "record_fold", "record_means"]

SHORT_ROW = 256
"""Rows of at most so many elements are folded by one lane each."""
_SHORT_FOLD = 128
"""The same on a CPU, where lanes that read rows of their own reach far apart."""


class Folding(NamedTuple):
    """A fold of ``FOLDS`` by name, and the types of elements, accumulators and result."""

    name: str
    element: DType
    accumulator: DType
    result: DType


def record_fold(
    chain: Recorder,
    source: StorageLike,
    shape: Rows,
    folding: Folding,
    out: StorageLike,
    *,
    threads: bool | None = None,
) -> None:
    """Record the reduction of storage ``source`` along the axis into ``out``.

    There are elements and results. ``threads`` tells whether lanes are taken for threads of hardware: by default where
    they are, as elsewhere that takes up to 24 times as long.
    """
    threads = chain.device.caps.threads if threads is None else threads
    tile = REDUCE_TILE
    if shape.results == 1 and folding.name in ("min", "max"):  # their kernel keeps the type of the elements
        tile, folding = EXTREME_TILE, Folding(folding.name, folding.element, folding.element, folding.result)
    n, level = shape.n, folding
    while True:
        tiles = -(-n // tile)
        is_last = tiles == 1
        target = out if is_last else chain.device.allocate(shape.results * tiles * level.accumulator.nbytes)
        _record_level(chain, source, target, Rows(shape.outer, n, shape.inner), level, is_last, threads=threads)
        if is_last:
            return
        later = lanes.FOLDS[level.name].later or level.name
        source, n, level = target, tiles, Folding(later, level.accumulator, level.accumulator, level.result)


def record_means(
    chain: Recorder, source: StorageLike, shape: Rows, types: Kinds, result: DType, out: StorageLike
) -> None:
    """Record the means along the axis into ``out``, as ``result``."""
    totals = chain.device.allocate(shape.results * types.total.nbytes)
    record_fold(chain, source, shape, Folding("sum", types.element, types.total, types.total), totals)
    divide = divide_rows(types.total, types.computed, result)
    chain.dispatch(divide, [totals, out], [shape.n, shape.results], groups=-(-shape.results // DIVIDE_LANES))


def _record_level(
    chain: Recorder,
    source: StorageLike,
    target: StorageLike,
    shape: Rows,
    level: Folding,
    is_last: bool,
    *,
    threads: bool,
) -> None:
    name, element, accumulator = level.name, level.element, level.accumulator
    result = level.result if is_last else accumulator
    n, tiles = shape.n, -(-shape.n // REDUCE_TILE)
    if shape.results == 1 and name == "sum" and tiles >= SUM_TILES and not threads:
        kernel = sum_four_tiles(element, accumulator, result)
        chain.dispatch(kernel, [source, target], [n], groups=-(-tiles // SUM_TILES))
    elif shape.results == 1 and name == "sum":
        chain.dispatch(sum_tiles(element, accumulator, result), [source, target], [n], groups=tiles)
    elif shape.results == 1 and name in ("min", "max"):
        kernel = extreme_tiles(element, largest=name == "max")
        chain.dispatch(kernel, [source, target], [n], groups=-(-n // EXTREME_TILE))
    elif shape.inner == 1 and (shape.outer == 1 or n > (SHORT_ROW if threads else _SHORT_FOLD)):
        kernel = lanes.fold_rows(name, element, accumulator, result)
        chain.dispatch(kernel, [source, target], [n, tiles], groups=shape.outer * tiles)
    elif threads and shape.inner == 1:
        slots = min(REDUCE_LANES, 1 << (n - 1).bit_length())
        kernel = thread_folds.lane_fold_short_rows(name, element, accumulator, result, slots)
        groups = -(-shape.outer // (thread_folds.SHORT_LANES // slots))
        chain.dispatch(kernel, [source, target], [n, shape.outer], groups=groups)
    elif threads:
        parts = shape.outer * tiles
        is_few = parts * -(-shape.inner // thread_folds.BESIDE) < chain.device.caps.workers
        beside = thread_folds.FEW_BESIDE if is_few else thread_folds.BESIDE
        kernel = thread_folds.lane_fold_columns(name, element, accumulator, result, beside)
        groups = parts * -(-shape.inner // beside)
        chain.dispatch(kernel, [source, target], [n, shape.inner, tiles], groups=groups)
    else:
        short_rows = shape.inner == 1
        outer, inner = (1, shape.outer) if short_rows else (shape.outer, shape.inner)
        kernel = lanes.fold_columns(name, element, accumulator, result, short_rows=short_rows)
        groups = outer * tiles * -(-inner // lanes.COLUMNS)
        chain.dispatch(kernel, [source, target], [n, inner, tiles], groups=groups)
