"""Records the levels of a reduction along an axis: tiles, then tiles of their results, until one is left.

Layer: tensor. An array is seen as (outer, n, inner), n being what is folded. Invariant: which kernel folds a level
depends on the shape and ``Caps`` alone and cannot be seen in the bits, which are those of ``kernels.fold``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from loom.core.dtype import DType, f32, i64, u8, u32, u64
from loom.core.numerics import REDUCE_LANES, REDUCE_TILE
from loom.kernels.arg_reduce import ARG_TILE, arg_columns, arg_rows, arg_rows_again
from loom.kernels.fold import COLUMNS, FOLDS, fold_columns, fold_rows
from loom.kernels.fold_simt import BESIDE, SHORT_LANES, lane_fold_columns, lane_fold_short_rows
from loom.kernels.reduce import SUM_TILES, sum_four_tiles
from loom.tensor.draft import Draft

__all__ = ["Folding", "Rows", "read_type", "record_arg", "record_fold", "wide_type"]

_SHORT_ROW = 256
"""Rows of at most so many elements are folded by one lane each."""
_ARG_LANES = 64


@dataclass(frozen=True, slots=True)
class Rows:
    """The shape (outer, n, inner) that is folded along n."""

    outer: int
    n: int
    inner: int

    @property
    def results(self) -> int:
        """Number of results."""
        return self.outer * self.inner


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


def wide_type(dtype: DType) -> tuple[DType, DType]:
    """Return the types of accumulators and result of a sum."""
    if not dtype.is_float:
        wide = i64 if dtype.is_signed else u64
        return wide, wide
    return (f32, dtype) if dtype.storage_only else (dtype, dtype)


def record_fold(draft: Draft, source: Any, shape: Rows, folding: Folding, out: Any) -> None:
    """Record the reduction of ``source`` along n into ``out``; there are elements and results."""
    level, n = folding, shape.n
    while True:
        tiles = -(-n // REDUCE_TILE)
        is_last = tiles == 1
        target = out if is_last else draft.device.allocate(shape.results * tiles * level.accumulator.nbytes)
        _record_level(draft, source, target, replace(shape, n=n), level, level.result if is_last else level.accumulator)
        if is_last:
            return
        later = FOLDS[level.name].later or level.name
        source, n, level = target, tiles, Folding(later, level.accumulator, level.accumulator, level.result)


def _record_level(draft: Draft, source: Any, target: Any, shape: Rows, level: Folding, result: DType) -> None:
    name, element, accumulator = level.name, level.element, level.accumulator
    n, inner, tiles, simt = shape.n, shape.inner, -(-shape.n // REDUCE_TILE), draft.device.caps.simt
    if shape.results == 1 and name == "sum" and tiles >= SUM_TILES and not simt:
        kernel: Any = sum_four_tiles(element, accumulator, result)
        draft.dispatch(kernel, [source, target], [n], -(-tiles // SUM_TILES))
    elif inner == 1 and (shape.outer == 1 or n > _SHORT_ROW):
        kernel = fold_rows(name, element, accumulator, result)
        draft.dispatch(kernel, [source, target], [n, tiles], shape.outer * tiles)
    elif simt and inner == 1:
        slots = min(REDUCE_LANES, 1 << (n - 1).bit_length())
        kernel = lane_fold_short_rows(name, element, accumulator, result, slots)
        draft.dispatch(kernel, [source, target], [n, shape.outer], -(-shape.outer // (SHORT_LANES // slots)))
    elif simt:
        kernel = lane_fold_columns(name, element, accumulator, result)
        draft.dispatch(kernel, [source, target], [n, inner, tiles], shape.outer * tiles * -(-inner // BESIDE))
    else:
        short_rows = inner == 1
        outer, columns = (1, shape.outer) if short_rows else (shape.outer, inner)
        kernel = fold_columns(name, element, accumulator, result, short_rows=short_rows)
        draft.dispatch(kernel, [source, target], [n, columns, tiles], outer * tiles * -(-columns // COLUMNS))


def record_arg(draft: Draft, source: Any, shape: Rows, element: DType, largest: bool, out: Any) -> None:
    """Record the index along n of the largest (or smallest) element of each row into ``out``, u32."""
    if shape.inner != 1 or (shape.outer != 1 and shape.n <= _SHORT_ROW):
        short_rows = shape.inner == 1
        outer, inner = (1, shape.outer) if short_rows else (shape.outer, shape.inner)
        kernel = arg_columns(element, largest=largest, short_rows=short_rows)
        draft.dispatch(kernel, [source, out], [shape.n, inner], outer * -(-inner // _ARG_LANES))
        return
    rows, count = shape.outer, -(-shape.n // ARG_TILE)
    at = out if count == 1 else draft.device.allocate(rows * count * u32.nbytes)
    draft.dispatch(arg_rows(element, largest=largest), [source, at], [shape.n, count], rows * count)
    while count > 1:
        tiles = -(-count // ARG_TILE)
        target = out if tiles == 1 else draft.device.allocate(rows * tiles * u32.nbytes)
        again = arg_rows_again(element, largest=largest)
        draft.dispatch(again, [source, at, target], [shape.n, count, tiles], rows * tiles)
        at, count = target, tiles
