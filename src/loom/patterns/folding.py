"""Records the levels of a reduction: tiles of the array, then tiles of their results, until one is left.

Layer: patterns. Invariant: which kernel folds a level depends on the shape alone and cannot be seen in the bits.
"""

from __future__ import annotations

from dataclasses import dataclass

from loom.core.dtype import DType, u8
from loom.core.numerics import REDUCE_LANES, REDUCE_TILE
from loom.kernels.fold import COLUMNS, FOLDS, fold_columns, fold_rows
from loom.kernels.fold_simt import BESIDE, SHORT_LANES, lane_fold_columns, lane_fold_short_rows
from loom.kernels.reduce import EXTREME_TILE, SUM_TILES, extreme_tiles, sum_four_tiles, sum_tiles
from loom.patterns.axis import Geometry
from loom.runtime.chain import Chain
from loom.runtime.storage import Storage

__all__ = ["SHORT_ROW", "Folding", "read_type", "record_fold"]

SHORT_ROW = 256
"""Rows of at most so many elements are folded by one lane each."""


@dataclass(frozen=True, slots=True)
class Folding:
    """A fold of ``FOLDS`` by name, and the types of elements, accumulators and result."""

    name: str
    element: DType
    accumulator: DType
    result: DType


def read_type(dtype: DType) -> DType:
    """Return the type elements are read as: a bool is a byte that holds 0 or 1."""
    return u8 if dtype.is_bool else dtype


def record_fold(chain: Chain, source: Storage, shape: Geometry, folding: Folding, out: Storage) -> list[Storage]:
    """Record the reduction of ``source`` along the axis into ``out``; return the memory in between."""
    tile = REDUCE_TILE
    if shape.results == 1 and folding.name in ("min", "max"):  # their kernel keeps the type of the elements
        tile, folding = EXTREME_TILE, Folding(folding.name, folding.element, folding.element, folding.result)
    kept: list[Storage] = []
    n, level = shape.n, folding
    while True:
        tiles = -(-n // tile)
        is_last = tiles == 1
        target = out if is_last else chain.device.allocate(shape.results * tiles * level.accumulator.nbytes)
        _record_level(chain, source, target, Geometry(shape.outer, n, shape.inner, ()), level, is_last)
        if is_last:
            return kept
        kept.append(target)
        later = FOLDS[level.name].later or level.name
        source, n, level = target, tiles, Folding(later, level.accumulator, level.accumulator, level.result)


def _record_level(
    chain: Chain, source: Storage, target: Storage, shape: Geometry, level: Folding, is_last: bool
) -> None:
    name, element, accumulator = level.name, level.element, level.accumulator
    result = level.result if is_last else accumulator
    n, tiles = shape.n, -(-shape.n // REDUCE_TILE)
    simt = chain.device.caps.simt
    if shape.results == 1 and name == "sum" and tiles >= SUM_TILES and not simt:
        kernel = sum_four_tiles(element, accumulator, result)
        chain.dispatch(kernel, [source, target], [n], groups=-(-tiles // SUM_TILES))
    elif shape.results == 1 and name == "sum":
        chain.dispatch(sum_tiles(element, accumulator, result), [source, target], [n], groups=tiles)
    elif shape.results == 1 and name in ("min", "max"):
        kernel = extreme_tiles(element, largest=name == "max")
        chain.dispatch(kernel, [source, target], [n], groups=-(-n // EXTREME_TILE))
    elif shape.inner == 1 and (shape.outer == 1 or n > SHORT_ROW):
        kernel = fold_rows(name, element, accumulator, result)
        chain.dispatch(kernel, [source, target], [n, tiles], groups=shape.outer * tiles)
    elif simt and shape.inner == 1:
        slots = min(REDUCE_LANES, 1 << (n - 1).bit_length())
        kernel = lane_fold_short_rows(name, element, accumulator, result, slots)
        groups = -(-shape.outer // (SHORT_LANES // slots))
        chain.dispatch(kernel, [source, target], [n, shape.outer], groups=groups)
    elif simt:
        kernel = lane_fold_columns(name, element, accumulator, result)
        groups = shape.outer * tiles * -(-shape.inner // BESIDE)
        chain.dispatch(kernel, [source, target], [n, shape.inner, tiles], groups=groups)
    else:
        short_rows = shape.inner == 1
        outer, inner = (1, shape.outer) if short_rows else (shape.outer, shape.inner)
        kernel = fold_columns(name, element, accumulator, result, short_rows=short_rows)
        groups = outer * tiles * -(-inner // COLUMNS)
        chain.dispatch(kernel, [source, target], [n, inner, tiles], groups=groups)
