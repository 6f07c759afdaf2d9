"""Schedules for devices whose lanes are threads: scans, folds, tiles kept and joined, maps; on every target.

Oracles besides the interpreter: running sums, sums, what numpy keeps and joins. That the bits are those of the other
schedule is tested in ``tests/unit/kernels/test_schedules.py``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from conformance.cases.library.scanning import _elements, _library, _marks
from conformance.running import Case, case
from loom.core.dtype import DType, bf16, bool_, f16, f32, f64, i8, i32, i64, u32, u64
from loom.kernels.fold import threads as fold_threads
from loom.kernels.fold.groups import fold_short_groups, lane_cut_groups, lane_list_tiles
from loom.kernels.maps.nest import one_value
from loom.kernels.move import compact_threads
from loom.kernels.scan import columns as scan_across
from loom.kernels.scan import threads as scan_threads
from loom.schedules.maps import THREADS, map_groups, map_kernel

__all__: list[str] = []

Array = np.ndarray[Any, Any]
_TILE, _RUN = 4096, 64
_WIDTHS = (8, 16)
_KINDS = {"sum": (f32, f32, f32), "product": (f64, f64, f64), "min": (bf16, f32, bf16), "max": (i32, i32, i32)}


def _room(n: int) -> tuple[int, int]:
    return -(-n // _TILE), min(-(-n // _RUN), _RUN)


# scans


def _totals(op: str, types: Any, shape: tuple[int, int, int]) -> Case:
    (outer, n, inner), wide = shape, types[1]
    tiles, width = _room(n)
    rows = outer * tiles * inner
    buffers = [_elements(types[0], outer * n * inner), np.zeros(rows * width, wide.numpy), np.zeros(rows, wide.numpy)]
    if inner == 1:
        kernel = scan_threads.lane_run_totals(op, *types[:2])
        return _library(kernel, buffers, (n, tiles, width, 0), outer * tiles)
    kernel = scan_across.lane_run_totals_across(op, *types[:2])
    return _library(kernel, buffers, (n, inner, tiles, width), outer * tiles * -(-inner // scan_across.BESIDE))


def _results(op: str, types: Any, shape: tuple[int, int, int], exclusive: bool) -> Case:
    outer, n, inner = shape
    tiles, width = _room(n)
    rows = outer * tiles * inner
    x = _elements(types[0], outer * n * inner)
    given = [x, _elements(types[1], rows * width), _elements(types[1], rows), np.zeros(x.size, types[2].numpy)]
    known = {}
    if op == "sum" and types[0].is_integer and width == 1 and not exclusive:
        known["out"] = np.cumsum(x.reshape(shape), 1, types[1].numpy).reshape(-1)
    if inner == 1:
        kernel = scan_threads.lane_scan_tiles(op, *types, exclusive=exclusive)
        return _library(kernel, given, (n, tiles, width, 0), outer * tiles, **known)
    kernel = scan_across.lane_scan_across(op, *types, exclusive=exclusive)
    return _library(kernel, given, (n, inner, tiles, width), outer * tiles * -(-inner // scan_across.BESIDE), **known)


for _op, _types in _KINDS.items():
    case(f"threads/scan-totals-{_op}", widths=_WIDTHS, slow=_op != "sum")(partial(_totals, _op, _types, (2, 700, 1)))
    case(f"threads/scan-totals-{_op}-across", widths=_WIDTHS, slow=_op != "sum")(
        partial(_totals, _op, _types, (1, 600, 20))
    )
    for _exclusive in (False, True):
        _label = f"threads/scan-{_op}{'-exclusive' if _exclusive else ''}"
        case(_label, widths=_WIDTHS, slow=_exclusive or _op != "sum")(
            partial(_results, _op, _types, (2, 700, 1), _exclusive)
        )
        case(f"{_label}-across", widths=_WIDTHS, slow=_op != "sum")(
            partial(_results, _op, _types, (1, 600, 20), _exclusive)
        )
case("threads/scan-sum-i8", widths=_WIDTHS)(partial(_results, "sum", (i8, i64, i64), (3, 50, 1), False))
case("threads/scan-sum-i8-across", widths=_WIDTHS)(partial(_results, "sum", (i8, i64, i64), (2, 50, 5), False))


def _quads(op: str, dtype: DType) -> Case:
    x = _elements(dtype, 2 * _TILE)
    buffers = [x, np.zeros(2 * _RUN, dtype.numpy), np.zeros(2, dtype.numpy)]
    return _library(scan_threads.quad_run_totals(op, dtype), buffers, (), 2)


def _quad_results(op: str, dtype: DType) -> Case:
    given = [_elements(dtype, k) for k in (2 * _TILE, 2 * _RUN, 2)]
    return _library(scan_threads.quad_scan_tiles(op, dtype), [*given, np.zeros(2 * _TILE, dtype.numpy)], (2,), 2)


for _op, _dtype in (("sum", f32), ("max", i32)):
    case(f"threads/scan-quads-{_op}", widths=_WIDTHS, slow=_op != "sum")(partial(_quads, _op, _dtype))
    case(f"threads/scan-quad-results-{_op}", widths=_WIDTHS, slow=_op != "sum")(partial(_quad_results, _op, _dtype))


def _segment_totals(op: str, types: Any) -> Case:
    width = _room(700)[1]
    made = [np.zeros(size, kind) for size in (width, 1) for kind in (types[1].numpy, np.uint8)]
    kernel = scan_threads.lane_run_totals(op, *types[:2], segmented=True)
    return _library(kernel, [_elements(types[0], 700), _marks(700), *made], (700, 1, width, 0), 1)


def _segment_results(op: str, types: Any, exclusive: bool) -> Case:
    width = _room(700)[1]
    given = [_elements(types[0], 700), _marks(700), _elements(types[1], width), _marks(width), _elements(types[1], 1)]
    kernel = scan_threads.lane_scan_tiles(op, *types, exclusive=exclusive, segmented=True)
    return _library(kernel, [*given, np.zeros(700, types[2].numpy)], (700, 1, width, 0), 1)


for _op, _types in _KINDS.items():
    case(f"threads/segment-totals-{_op}", widths=_WIDTHS, slow=_op != "sum")(partial(_segment_totals, _op, _types))
    for _exclusive in (False, True):
        _label = f"threads/segment-scan-{_op}{'-exclusive' if _exclusive else ''}"
        case(_label, widths=_WIDTHS, slow=_op != "sum")(partial(_segment_results, _op, _types, _exclusive))


# folds


def _columns(name: str, types: Any, shape: tuple[int, int, int], beside: int = fold_threads.BESIDE) -> Case:
    outer, n, inner = shape
    x, tiles = _elements(types[0], outer * n * inner), -(-n // _TILE)
    known = {}
    if types[0].is_integer and tiles == 1:
        known["out"] = x.reshape(shape).sum(1, types[2].numpy).reshape(-1)
    out, groups = np.zeros(outer * tiles * inner, types[2].numpy), outer * tiles * -(-inner // beside)
    kernel = fold_threads.lane_fold_columns(name, *types, beside)
    return _library(kernel, [x, out], (n, inner, tiles), groups, **known)


def _short(name: str, types: Any, rows: int, n: int, slots: int) -> Case:
    x = _elements(types[0], rows * n)
    known = {"out": x.reshape(rows, n).sum(1, types[2].numpy)} if types[0].is_integer else {}
    groups = -(-rows // (fold_threads.SHORT_LANES // slots))
    kernel = fold_threads.lane_fold_short_rows(name, *types, slots)
    return _library(kernel, [x, np.zeros(rows, types[2].numpy)], (n, rows), groups, **known)


for _name, _types in (
    ("sum", (f32, f32, f32)),
    ("sum", (i8, i64, i64)),
    ("min", (f16, f32, f16)),
    ("product", (f64,) * 3),
):
    _label = f"threads/fold-{_name}-{_types[0]}"
    case(f"{_label}-columns", widths=_WIDTHS)(partial(_columns, _name, _types, (2, 70, 35)))
    few = partial(_columns, _name, _types, (2, 1500, 11), fold_threads.FEW_BESIDE)
    case(f"{_label}-few-columns", widths=_WIDTHS, slow=_name != "sum")(few)
    case(f"{_label}-short", widths=_WIDTHS)(partial(_short, _name, _types, 70, 5, 8))
    case(f"{_label}-rows", widths=_WIDTHS)(partial(_short, _name, _types, 5, 150, 64))


# tiles kept and joined


def _mask(n: int) -> Array:
    return (np.random.default_rng(n).random(n) < 0.3).astype(np.uint8)


def _sums(dtype: DType, n: int) -> Case:
    counts = np.random.default_rng(n).integers(0, 1000, n).astype(dtype.numpy)
    known = {"starts": np.cumsum(counts) - counts, "total": counts.sum(keepdims=True)}
    buffers = [counts, np.zeros(n, dtype.numpy), np.zeros(1, dtype.numpy)]
    found = {name: a.astype(dtype.numpy) for name, a in known.items()}
    return _library(compact_threads.lane_add_counts(dtype), buffers, (n,), 1, **found)


for _dtype in (u32, u64):
    case(f"threads/add-counts-{_dtype}", widths=_WIDTHS)(partial(_sums, _dtype, 2500))


def _keep(positions: bool) -> Case:
    n = 2048 + 300
    mask, x = _mask(n), np.random.default_rng(1).integers(0, 1 << 32, n).astype(np.uint32)
    starts = np.array([0, mask[:2048].sum()], np.uint32)
    kept = np.flatnonzero(mask)
    out = np.zeros(kept.size, np.int64 if positions else np.uint32)
    known = {"out": kept if positions else x[kept]}
    if positions:
        return _library(compact_threads.lane_keep_positions(bool_), [mask, starts, out], (n,), 2, **known)
    return _library(compact_threads.lane_keep_elements(f32, bool_), [x, mask, starts, out], (n,), 2, **known)


case("threads/keep-elements", widths=_WIDTHS)(partial(_keep, False))
case("threads/keep-positions", widths=_WIDTHS)(partial(_keep, True))
case("threads/count-kept", widths=_WIDTHS)(
    lambda: _library(
        compact_threads.lane_count_kept(bool_),
        [_mask(2348), np.zeros(2, np.uint32)],
        (2348,),
        2,
        counts=np.array([_mask(2348)[:2048].sum(), _mask(2348)[2048:].sum()], np.uint32),
    )
)


def _pairs(outer: bool) -> Case:
    rng, n = np.random.default_rng(2), 2100
    counts = rng.integers(0, 3, n).astype(np.uint32)
    lows, positions = rng.integers(0, 50, n).astype(np.uint32), rng.permutation(60).astype(np.int64)
    sizes = np.maximum(counts, int(outer)).astype(np.int64)
    starts = np.array([0, sizes[:2048].sum()], np.uint64)
    lefts = np.repeat(np.arange(n), sizes)
    place = np.arange(lefts.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rights = np.where(counts[lefts] == 0, -1, positions[(lows[lefts] + place) % 60])
    made = [np.zeros(lefts.size, np.int64), np.zeros(lefts.size, np.int64)]
    kernel = compact_threads.lane_write_pairs(outer=outer)
    return _library(kernel, [lows, counts, positions, starts, *made], (n,), 2, lefts=lefts, rights=rights)


for _outer in (False, True):
    case(f"threads/pairs{'-outer' if _outer else ''}", widths=_WIDTHS)(partial(_pairs, _outer))
case("threads/pairs-count", widths=_WIDTHS)(
    lambda: _library(
        compact_threads.lane_count_pairs(outer=True),
        [np.arange(2100, dtype=np.uint32) % 3, np.zeros(2, np.uint64)],
        (2100,),
        2,
        pairs=np.array(
            [np.maximum(np.arange(2048) % 3, 1).sum(), np.maximum(np.arange(2048, 2100) % 3, 1).sum()], np.uint64
        ),
    )
)


# groups


def _starts() -> Array:
    return np.array([0, 5, 5000, 5001, 20000], np.uint32)


case("threads/groups-cut", widths=_WIDTHS)(
    lambda: _library(
        lane_cut_groups(), [_starts(), np.zeros(5, np.uint32)], (4,), 1, offsets=np.array([0, 1, 3, 4, 8], np.uint32)
    )
)
case("threads/groups-tiles", widths=_WIDTHS)(
    lambda: _library(
        lane_list_tiles(),
        [np.array([0, 1, 3, 4, 8], np.uint32), np.zeros(8, np.uint32)],
        (4,),
        1,
        owners=np.array([0, 1, 1, 2, 3, 3, 3, 3], np.uint32),
    )
)


def _short_groups() -> Case:
    starts = np.array([0, 1, 65, 70, 100], np.uint32)
    kernel = fold_short_groups("sum", f32, f32, f32, 1)
    return _library(kernel, [_elements(f32, 100), starts, np.zeros(4, np.float32)], (4,), 1)


case("threads/short-groups", widths=_WIDTHS)(_short_groups)


# maps


def _map(operation: str, dtype: DType, size: int) -> Case:
    verified, result = map_kernel(one_value(operation, [(dtype, True)]), THREADS)
    buffers = (_elements(dtype, size), np.zeros(size, result.numpy))
    return Case(
        verified.kernel, buffers, (size,), groups=(map_groups(verified, size), 1, 1), modes=("trusted", "reported")
    )


for _operation, _dtype in (("neg", f32), ("exp", f32), ("abs", i64), ("sqrt", f16)):
    case(f"threads/map-{_operation}-{_dtype}", widths=_WIDTHS)(partial(_map, _operation, _dtype, 4096 + 300))
