"""Scans, folds along an axis and indices of extremes: the library's kernels on small inputs, trusted and watched.

Oracles besides the interpreter: running sums, sums and indices of integers in numpy.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from conformance.running import Case, case
from conformance.values import random_bits
from loom.core.dtype import DType, bf16, f16, f32, f64, i8, i32, i64, u8, u32, u64
from loom.kernels.fold.arg import arg_columns, arg_rows, arg_rows_again, copy_indices
from loom.kernels.fold.lanes import COLUMNS, FOLDS, dot_tiles, fold_columns, fold_rows, square_root
from loom.kernels.fold.tiles import SUM_TILES, sum_four_tiles
from loom.kernels.scan.lanes import ACROSS_LANES, MARK_LANES, mark_segments, run_totals, scan_tiles

__all__: list[str] = []

Array = np.ndarray[Any, Any]
_TILE, _RUN = 4096, 64
_WIDTHS = (1, 16)


def _library(kernel: Any, buffers: list[Array], params: tuple[Any, ...], groups: int, **known: Any) -> Case:
    where = (groups, 1, 1)
    return Case(
        kernel.verified.kernel, tuple(buffers), params, groups=where, expected=known, modes=("trusted", "reported")
    )


def _elements(dtype: DType, size: int) -> Array:
    """Numbers of very different size, so that any change of order shows."""
    if not dtype.is_float:
        return random_bits(dtype.numpy, size, seed=size)
    rng = np.random.default_rng(size)
    wide = rng.standard_normal(size) * 2.0 ** rng.integers(-9, 9, size)
    if dtype == bf16:
        return (wide.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    return wide.astype(dtype.numpy)


# folds

_WIDE = {"sum": (i32, i64), "product": (u8, u64), "count": (i8, u32), "any": (u8, u8), "all": (u8, u8)}


def _fold(name: str, types: tuple[DType, DType, DType], shape: tuple[int, int, int], short_rows: bool) -> Case:
    outer, n, inner = shape
    x, tiles = _elements(types[0], outer * n * inner), -(-n // _TILE)
    known = {}
    if name == "sum" and types[0].is_integer and tiles == 1:
        known["out"] = x.reshape(shape).sum(1, types[1].numpy).reshape(-1)
    out = np.zeros(outer * tiles * inner, types[2].numpy)
    if inner == 1 and not short_rows:
        return _library(fold_rows(name, *types), [x, out], (n, tiles), outer * tiles, **known)
    rest, lanes = (1, outer) if short_rows else (outer, inner)
    kernel = fold_columns(name, *types, short_rows=short_rows)
    return _library(kernel, [x, out], (n, lanes, tiles), rest * tiles * -(-lanes // COLUMNS), **known)


for _name in FOLDS:
    _element, _accumulator = _WIDE.get(_name, (f32, f32))
    _kinds = {(_element, _accumulator, _accumulator)} | ({(f32, f32, f32)} if _name in ("sum", "product") else set())
    for _types in sorted(_kinds, key=str):
        _label = f"library/fold-{_name}-{_types[0]}"
        _rare = _name not in ("sum", "min")
        case(f"{_label}-rows", widths=_WIDTHS, slow=_rare)(partial(_fold, _name, _types, (2, 130, 1), False))
        case(f"{_label}-short", widths=_WIDTHS, slow=_rare)(partial(_fold, _name, _types, (20, 67, 1), True))
        case(f"{_label}-columns", widths=_WIDTHS, slow=_rare)(partial(_fold, _name, _types, (2, 67, 83), False))
case("library/fold-sum-f16-rows", widths=_WIDTHS)(partial(_fold, "sum", (f16, f32, f16), (1, _TILE + 70, 1), False))
case("library/fold-max-bf16-columns", widths=_WIDTHS)(partial(_fold, "max", (bf16, f32, bf16), (1, 67, 18), False))


def _four(size: int) -> Case:
    x, tiles = _elements(f32, size), -(-size // _TILE)
    kernel = sum_four_tiles(f32, f32, f32)
    return _library(kernel, [x, np.zeros(tiles, np.float32)], (size,), -(-tiles // SUM_TILES))


for _size in (70, _TILE + 70, SUM_TILES * _TILE + 1):
    case(f"library/sum-four-{_size}", widths=_WIDTHS)(partial(_four, _size))


def _dot(types: tuple[DType, DType, DType]) -> Case:
    size = _TILE + 70
    x, y = _elements(types[0], size), _elements(types[0], size)[::-1].copy()
    return _library(dot_tiles(*types), [x, y, np.zeros(2, types[2].numpy)], (size,), 2)


for _types in ((f32, f32, f32), (bf16, f32, bf16), (i8, i64, i64)):
    case(f"library/dot-{_types[0]}", widths=_WIDTHS)(partial(_dot, _types))
case("library/square-root", widths=_WIDTHS)(
    lambda: _library(square_root(f32, f16), [np.array([2, 0, 9e9], np.float32), np.zeros(3, np.float16)], (), 1)
)


# indices of extremes


def _with_ties(dtype: DType, size: int) -> Array:
    x = np.random.default_rng(size).integers(0, 4, size).astype(dtype.numpy)
    if dtype.is_float and dtype != bf16:
        x[::5] = -x[::5]  # zeros of both signs
        x[size // 2] = np.nan
    return x


def _arg(dtype: DType, largest: bool, shape: tuple[int, int, int]) -> Case:
    outer, n, inner = shape
    x = _with_ties(dtype, outer * n * inner)
    known = {}
    if dtype.is_integer:
        found = x.reshape(shape).argmax(1) if largest else x.reshape(shape).argmin(1)
        known["out"] = found.reshape(-1).astype(np.uint32)
    out = np.zeros(outer * inner, np.uint32)
    if inner == 1:
        return _library(arg_rows(dtype, largest=largest), [x, out], (n, 1), outer, **known)
    kernel = arg_columns(dtype, largest=largest, short_rows=False)
    return _library(kernel, [x, out], (n, inner), outer * -(-inner // 64), **known)


def _arg_again() -> Case:
    x, at = _with_ties(f32, 600), np.tile(np.arange(0, 300, 2, dtype=np.uint32), 2)
    kernel = arg_rows_again(f32, largest=True)
    return _library(kernel, [x, at, np.zeros(2, np.uint32)], (300, 150, 1), 2)


for _dtype in (f32, f64, f16, i8, u64):
    for _largest in (False, True):
        _label = f"library/arg{'max' if _largest else 'min'}-{_dtype}"
        case(f"{_label}-rows", widths=_WIDTHS, slow=not _largest)(partial(_arg, _dtype, _largest, (2, 300, 1)))
        case(f"{_label}-columns", widths=_WIDTHS, slow=_largest)(partial(_arg, _dtype, _largest, (2, 9, 70)))
case("library/argmax-again", widths=_WIDTHS)(_arg_again)
case("library/copy-indices", widths=_WIDTHS)(
    lambda: _library(copy_indices(), [np.arange(70, dtype=np.uint32), np.zeros(70, np.int64)], (), 2, out=np.arange(70))
)


# scans


def _totals(op: str, element: DType, wide: DType, shape: tuple[int, int, int]) -> Case:
    outer, n, inner = shape
    across, tiles, width = inner > 1, -(-n // _TILE), min(-(-n // _RUN), _RUN)
    rows = outer * tiles * inner
    buffers = [_elements(element, outer * n * inner), np.zeros(rows * width, wide.numpy), np.zeros(rows, wide.numpy)]
    groups = outer * tiles * (-(-inner // ACROSS_LANES) if across else 1)
    return _library(run_totals(op, element, wide, across=across), buffers, (n, inner, tiles, width), groups)


def _results(op: str, types: tuple[DType, DType, DType], shape: tuple[int, int, int], exclusive: bool) -> Case:
    outer, n, inner = shape
    element, wide, result = types
    across, tiles, width = inner > 1, -(-n // _TILE), min(-(-n // _RUN), _RUN)
    rows = outer * tiles * inner
    x = _elements(element, outer * n * inner)
    given = [x, _elements(wide, rows * width), _elements(wide, rows), np.zeros(x.size, result.numpy)]
    groups = outer * tiles * (-(-inner // ACROSS_LANES) if across else 1)
    kernel = scan_tiles(op, *types, across=across, exclusive=exclusive)
    known = {}
    if op == "sum" and element.is_integer and width == 1 and not exclusive:
        known["out"] = np.cumsum(x.reshape(shape), 1, wide.numpy).reshape(-1)
    return _library(kernel, given, (n, inner, tiles, width), groups, **known)


_KINDS = {"sum": (f32, f32, f32), "product": (f64, f64, f64), "min": (bf16, f32, bf16), "max": (i32, i32, i32)}
for _op in list(_KINDS):
    _types = _KINDS[_op]
    case(f"library/scan-totals-{_op}", widths=_WIDTHS)(partial(_totals, _op, *_types[:2], (2, 700, 1)))
    case(f"library/scan-totals-{_op}-across", widths=_WIDTHS)(partial(_totals, _op, *_types[:2], (1, 600, 70)))
    for _exclusive in (False, True):
        _label = f"library/scan-{_op}{'-exclusive' if _exclusive else ''}"
        case(_label, widths=_WIDTHS)(partial(_results, _op, _types, (2, 700, 1), _exclusive))
        case(f"{_label}-across", widths=_WIDTHS, slow=_exclusive)(
            partial(_results, _op, _types, (1, 600, 70), _exclusive)
        )
case("library/scan-sum-i8", widths=_WIDTHS)(partial(_results, "sum", (i8, i64, i64), (3, 50, 1), False))
case("library/scan-sum-i8-across", widths=_WIDTHS)(partial(_results, "sum", (i8, i64, i64), (2, 50, 5), False))
case("library/scan-sum-f16-tiles", widths=_WIDTHS)(partial(_results, "sum", (f16, f32, f16), (1, _TILE + 70, 1), True))


# segmented scans


def _marks(size: int) -> Array:
    return (np.random.default_rng(size).random(size) < 0.03).astype(np.uint8)


def _segment_totals(op: str, types: tuple[DType, DType, DType], size: int) -> Case:
    tiles, width = -(-size // _TILE), min(-(-size // _RUN), _RUN)
    made = [np.zeros(tiles * width, types[1].numpy), np.zeros(tiles * width, np.uint8)]
    made += [np.zeros(tiles, types[1].numpy), np.zeros(tiles, np.uint8)]
    kernel = run_totals(op, *types[:2], across=False, segmented=True)
    return _library(kernel, [_elements(types[0], size), _marks(size), *made], (size, 1, tiles, width), tiles)


def _segment_results(op: str, types: tuple[DType, DType, DType], size: int, exclusive: bool) -> Case:
    tiles, width = -(-size // _TILE), min(-(-size // _RUN), _RUN)
    given = [_elements(types[0], size), _marks(size), _elements(types[1], tiles * width), _marks(tiles * width)]
    given += [_elements(types[1], tiles), np.zeros(size, types[2].numpy)]
    kernel = scan_tiles(op, *types, across=False, exclusive=exclusive, segmented=True)
    return _library(kernel, given, (size, 1, tiles, width), tiles)


def _mark(dtype: DType) -> Case:
    ids = np.random.default_rng(1).integers(0, 2, 300).astype(dtype.numpy)
    known = np.append(1, ids[1:] != ids[:-1]).astype(np.uint8)
    return _library(mark_segments(dtype), [ids, np.zeros(300, np.uint8)], (300,), -(-300 // MARK_LANES), marks=known)


for _op in list(_KINDS):
    case(f"library/segment-totals-{_op}", widths=_WIDTHS)(partial(_segment_totals, _op, _KINDS[_op], 700))
    for _exclusive in (False, True):
        _label = f"library/segment-scan-{_op}{'-exclusive' if _exclusive else ''}"
        case(_label, widths=_WIDTHS)(partial(_segment_results, _op, _KINDS[_op], 700, _exclusive))
case("library/segment-scan-tiles", widths=_WIDTHS)(partial(_segment_results, "sum", (f32, f32, f32), _TILE + 70, False))
for _dtype in (i8, i64):
    case(f"library/mark-segments-{_dtype}", widths=_WIDTHS)(partial(_mark, _dtype))
