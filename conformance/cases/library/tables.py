"""The kernels of ``loom.stats`` and ``loom.data`` on small inputs, trusted and watched.

Oracles besides the interpreter: the same counts, moves and integer folds in numpy.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from conformance.running import Case, case
from conformance.values import adversarial
from loom.core.dtype import DType, bf16, bool_, f16, f32, f64, i8, i32, i64, u8, u16, u32, u64
from loom.kernels.fold import deviations as statistics
from loom.kernels.fold import groups, rolling
from loom.kernels.fold.tiles import divide_rows
from loom.kernels.move import compact, histogram, join, partition
from loom.kernels.sort.keys import Order

__all__: list[str] = []

Array = np.ndarray[Any, Any]
TILE = 4096


def _case(kernel: Any, buffers: list[Array], params: tuple[Any, ...] = (), groups: int = 1, **known: Array) -> Case:
    modes = ("trusted", "reported")
    return Case(kernel.verified.kernel, tuple(buffers), params, groups=(groups, 1, 1), expected=known, modes=modes)


def _numbers(dtype: DType, size: int) -> Array:
    """Numbers of very different size, so that any change of order shows; small integers."""
    rng = np.random.default_rng([size, dtype.bits])
    if not dtype.is_float:
        return rng.integers(0, 2 if dtype.is_bool else 100, size).astype(dtype.numpy)
    wide = rng.standard_normal(size) * 2.0 ** rng.integers(-9, 9, size)
    if dtype == bf16:
        return (wide.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    return wide.astype(dtype.numpy)


def _add(name: str, make: Any, *args: Any, slow: bool = False, widths: tuple[int, ...] = (1, 4, 16)) -> None:
    case(f"library/{name}", widths=widths, slow=slow)(partial(make, *args))


# statistics

_KINDS = [(f32, f32, f32), (f64, f64, f64), (f16, f32, f16), (bf16, f32, bf16), (u8, f64, f64), (i64, f64, f64)]


def _squares(element: DType, computed: DType) -> Case:
    n, rows = TILE + 130, 2
    x, out = _numbers(element, rows * n), np.zeros(2 * rows, computed.numpy)
    kernel = statistics.product_tiles(element, computed, paired=False)
    return _case(kernel, [x, np.array([0.5, -3], computed.numpy), out], (n, 2), 2 * rows)


def _products(element: DType, computed: DType) -> Case:
    n, pairs = TILE + 70, np.array([0, 0, 0, 1, 1, 1], np.uint32)
    x, centres = _numbers(element, 2 * n), np.array([0.5, -3], computed.numpy)
    kernel = statistics.product_tiles(element, computed, paired=True)
    return _case(kernel, [x, x, centres, centres, pairs, np.zeros(6, computed.numpy)], (n, 2), 6)


def _elementwise(what: str, element: DType, computed: DType, result: DType, per_line: bool) -> Case:
    """Three lines with a centre each, or 2 x 3 lines with centres for each column."""
    n, length = (5000, 5000) if per_line else (3, 4200)
    count, blocks, centres = (3, 2, 3) if per_line else (6, 2, 2 * 4200)
    x, means = _numbers(element, count * length), _numbers(computed, centres)
    groups_ = count * blocks
    if what == "square":
        kernel = statistics.deviations(element, computed, computed, per_line=per_line, divided=False)
        return _case(kernel, [x, means, np.zeros(x.size, computed.numpy)], (n, length, blocks), groups_)
    spreads = np.abs(means) + computed.numpy.type(0.25)
    kernel = statistics.deviations(element, computed, result, per_line=per_line, divided=True)
    return _case(kernel, [x, means, spreads, np.zeros(x.size, result.numpy)], (n, length, blocks), groups_)


def _divide(total: DType, computed: DType, result: DType, root: bool) -> Case:
    kernel = divide_rows(total, computed, result, root=root)
    return _case(kernel, [abs(_numbers(total, 100)), np.zeros(100, result.numpy)], (7, 100), 2)


def _matrix(which: str, computed: DType, result: DType) -> Case:
    rows = 9
    sums = np.abs(_numbers(computed, rows * (rows + 1) // 2))
    out = np.zeros(rows * rows, result.numpy)
    if which == "covariance":
        return _case(statistics.covariance_matrix(computed, result), [sums, out], (5, rows), 2)
    return _case(statistics.correlation_matrix(computed, result), [sums, out], (rows,), 2)


def _pair(computed: DType, result: DType) -> Case:
    xx, xy, yy = (np.array([v], computed.numpy) for v in (3, -2.5, 7))
    return _case(statistics.correlation_pair(computed, result), [xx, xy, yy, np.zeros(1, result.numpy)])


def _quantiles(element: DType, computed: DType, result: DType) -> Case:
    n, rows = 50, 3
    x = np.sort(_numbers(element, n * rows).reshape(rows, n)).reshape(-1)
    if element in (f32, f64):
        x[:2], x[48:51], x[-1] = -np.inf, [np.inf, np.inf, -3e38], np.nan
    ranks, fractions = np.arange(50, dtype=np.uint32), np.linspace(0, 0.99, 50).astype(computed.numpy)
    kernel = statistics.interpolate_ranks(element, computed, result)
    return _case(kernel, [x, ranks, fractions, np.zeros(150, result.numpy)], (n, rows, 50), 3)


for _at, (_e, _c, _r) in enumerate(_KINDS):
    _rare, _label = _at not in (0, 4), f"{_e}-{_r}"
    _add(f"squares-{_label}", _squares, _e, _c, slow=_rare)
    _add(f"products-{_label}", _products, _e, _c, slow=_rare)
    for _line in (False, True):
        _kind = "line" if _line else "column"
        _add(f"square-{_kind}-{_label}", _elementwise, "square", _e, _c, _r, _line, slow=_rare)
        _add(f"standard-{_kind}-{_label}", _elementwise, "standard", _e, _c, _r, _line, slow=_rare)
    _add(f"divide-{_label}", _divide, _e if _e == i64 else _c, _c, _r, _at % 2 == 0, slow=_rare)
    _add(f"quantiles-{_label}", _quantiles, _e, _c, _r, slow=_rare)
for _c, _r in ((f32, f32), (f64, f64), (f32, f16)):
    _add(f"covariance-{_r}", _matrix, "covariance", _c, _r, slow=_r != f32)
    _add(f"correlation-{_r}", _matrix, "correlation", _c, _r, slow=_r != f32)
    _add(f"correlation-pair-{_r}", _pair, _c, _r, slow=_r != f32)


# histograms


def _histogram(element: DType, computed: DType, even: bool, alone: bool) -> Case:
    size, bins = 5000, 37
    x = _numbers(element, size)
    edges = np.linspace(-2, 60, bins + 1).astype(computed.numpy)
    if element.is_float and element != bf16:
        x[:8] = [-2, 60, -2.5, 61, np.nan, np.inf, -np.inf, edges[5]]
    known = {} if element == bf16 else {"counts": np.histogram(x.astype(computed.numpy), edges)[0].astype(np.uint32)}
    kernel = histogram.count_bins(element, computed, even=even, alone=alone)
    scale = float(computed.numpy.type(bins / 62)) if even else 0.0
    return _case(kernel, [x, edges, np.zeros(bins, np.uint32)], (size, bins, scale), **known)


def _wide() -> Case:
    counts = np.arange(100, dtype=np.uint32)
    return _case(histogram.wide_counts(), [counts, np.zeros(100, np.int64)], (100,), 2, out=counts.astype(np.int64))


for _e, _c in ((f32, f32), (f64, f64), (f16, f32), (bf16, f32), (i32, f64), (u8, f64)):
    for _even in (True, False):
        for _alone in (True, False):
            _label = f"{_e}-{'even' if _even else 'any'}{'-alone' if _alone else ''}"
            _add(f"histogram-{_label}", _histogram, _e, _c, _even, _alone, slow=_e not in (f32, i32))
_add("histogram-wide", _wide)


# partitions


def _partition(step: str, key: DType, low: int) -> Case:
    size, tile, span = 1000, 300, 37
    rng = np.random.default_rng(key.bits)
    keys = (rng.integers(0, span, size).astype(object) + low).astype(key.numpy)
    values = rng.integers(0, 1 << 62, size).astype(np.uint64)
    tiles = -(-size // tile)
    ranks = [int(k) - low for k in keys]
    counts = np.array([np.bincount(ranks[t : t + tile], minlength=span) for t in range(0, size, tile)], np.uint32)
    ends = np.cumsum(counts.T.reshape(-1)).reshape(span, tiles).T.astype(np.uint32)
    starts = np.concatenate([[0], ends[-1]]).astype(np.uint32)
    places, cuts = np.ascontiguousarray(ends - counts).reshape(-1), (low, size, tile, span)
    if step == "count":
        room = np.zeros(tiles * span, np.uint32)
        return _case(partition.count_keys(key), [keys, room], cuts, tiles, counts=counts.reshape(-1))
    if step == "place":
        buffers = [counts.reshape(-1).copy(), np.zeros(span + 1, np.uint32)]
        return _case(partition.place_keys(), buffers, (tiles, span), counts=places, starts=starts)
    order = np.argsort(keys, kind="stable")
    buffers = [keys, values, places, np.zeros(size, np.uint64)]
    return _case(partition.move_values(key, u64), buffers, cuts, tiles, out=values[order])


for _key, _low in ((i64, -5), (i8, -128), (u64, (1 << 64) - 40), (u16, 3)):
    for _step in ("count", "move"):
        _add(f"partition-{_step}-{_key}", _partition, _step, _key, _low, slow=_key not in (i64, i8))
_add("partition-place", _partition, "place", i64, 0)


# moving


def _count(flags: DType) -> Case:
    size, tile = 5000, compact.KEEP_TILE
    mask = _numbers(flags, size)
    mask[::3] = 0
    known = np.array([np.count_nonzero(mask[t : t + tile]) for t in range(0, size, tile)], np.uint32)
    word = mask.view(f"u{mask.itemsize}")
    return _case(compact.count_kept(flags), [word, np.zeros(3, np.uint32)], (size,), 3, counts=known)


def _keep(element: DType | None, flags: DType) -> Case:
    size, tile = 5000, compact.KEEP_TILE
    mask = _numbers(flags, size)
    mask[::3] = 0
    counts = [np.count_nonzero(mask[t : t + tile]) for t in range(0, size, tile)]
    starts = np.cumsum([0, *counts[:-1]], dtype=np.uint32)
    word = mask.view(f"u{mask.itemsize}")
    if element is None:
        known = np.flatnonzero(mask).astype(np.int64)
        return _case(
            compact.keep_positions(flags), [word, starts, np.zeros(known.size, np.int64)], (size,), 3, out=known
        )
    x = _numbers(element, size).view(f"u{element.nbytes}")
    known = x[mask != 0]
    buffers = [x, word, starts, np.zeros(known.size, x.dtype)]
    return _case(compact.keep_elements(element, flags), buffers, (size,), 3, out=known)


def _add_counts(kind: DType) -> Case:
    some, kept = 1 << kind.bits - 1, kind.numpy  # a count that takes the highest bit
    known = {"starts": np.array([0, 3, 3, some + 3], kept), "total": np.array([some + 4], kept)}
    buffers = [np.array([3, 0, some, 1], kept), np.zeros(4, kept), np.zeros(1, kept)]
    return _case(compact.add_counts(kind), buffers, (4,), **known)


def _indices(kind: DType, size: int, rows: int, *, fault: int | None) -> Array:
    low = -rows if kind.is_signed else 0
    found = np.random.default_rng(size).integers(low, rows, size).astype(kind.numpy)
    if fault is not None:
        found[[fault, size - 1]] = kind.maximum
    return found


def _gather(element: DType, kind: DType, width: int, fault: int | None) -> Case:
    rows, n = 100, 600
    x = _numbers(element, rows * width).view(f"u{element.nbytes}")
    indices = _indices(kind, n, rows, fault=fault)
    seen = np.array([compact.NO_FAULT if fault is None else fault], np.uint32)
    out = np.zeros(n * width, x.dtype)
    buffers = [x, indices, out, np.array([compact.NO_FAULT], np.uint32)]
    known: dict[str, Array] = {"fault": seen}
    if fault is None:
        known["out"] = x.reshape(rows, width)[indices.astype(np.int64)].reshape(-1)
    if width == 1:
        return _case(compact.gather_elements(element, kind), buffers, (n, rows), 3, **known)
    return _case(compact.gather_rows(element, kind), buffers, (rows, width), n, **known)


def _claim(kind: DType, fault: int | None) -> Case:
    rows, n = 100, 600
    indices = _indices(kind, n, rows, fault=fault)
    known = np.zeros(rows, np.uint32)
    for position, row in enumerate(indices.tolist()):
        if -rows <= row < rows:
            known[row] = position + 1
    seen = np.array([compact.NO_FAULT if fault is None else fault], np.uint32)
    buffers = [indices, np.zeros(rows, np.uint32), np.array([compact.NO_FAULT], np.uint32)]
    return _case(compact.claim_places(kind), buffers, (n, rows), 3, claims=known, fault=seen)


def _place(element: DType, width: int) -> Case:
    rows, n = 300, 50
    kind = f"u{element.nbytes}"
    x, target = (_numbers(element, size * width).view(kind) for size in (n, rows))
    claims = np.where(np.arange(rows) % 3 == 0, np.arange(rows) % n + 1, 0).astype(np.uint32)
    known = np.where(
        claims[:, None] != 0, x.reshape(n, width)[claims.astype(np.int64) - 1], target.reshape(rows, width)
    )
    buffers = [x, claims, target, np.zeros(rows * width, kind)]
    if width == 1:
        return _case(compact.place_elements(element), buffers, (rows,), 2, out=known.reshape(-1))
    return _case(compact.place_rows(element), buffers, (width,), rows, out=known.reshape(-1))


def _clear() -> Case:
    return _case(compact.clear_words(), [np.ones(100, np.uint32)], (100,), 2, words=np.zeros(100, np.uint32))


for _flags in (bool_, f32, i8, f16, u64):
    _add(f"count-{_flags}", _count, _flags, slow=_flags not in (bool_, f32))
    _add(f"keep-positions-{_flags}", _keep, None, _flags, slow=_flags != f32)
for _e, _flags in ((f32, bool_), (u8, bool_), (f16, f16), (f64, f64), (i64, bool_)):
    _add(f"keep-{_e}-{_flags}", _keep, _e, _flags, slow=_e not in (f32, f64))
for _kind in (i8, u8, i32, u32, i64, u64):
    _rare = _kind not in (i64, u32)
    _add(f"gather-{_kind}", _gather, f32, _kind, 1, None, slow=_rare)
    _add(f"gather-fault-{_kind}", _gather, f64, _kind, 1, 77, slow=_rare)
    _add(f"gather-rows-{_kind}", _gather, u16, _kind, 70, None, slow=_rare)
    _add(f"gather-rows-fault-{_kind}", _gather, u8, _kind, 3, 77, slow=_rare)
    _add(f"claim-{_kind}", _claim, _kind, None if _rare else 77, slow=_rare)
for _e in (f32, u8, f64):
    _add(f"place-{_e}", _place, _e, 1, slow=_e != f32)
    _add(f"place-rows-{_e}", _place, _e, 67, slow=_e != f32)
for _kind in (u32, u64):
    _add(f"add-counts-{_kind}", _add_counts, _kind)
_add("clear-words", _clear)


# windows


def _windows(element: DType, held: DType, fold: str, window: int) -> Case:
    n, blocks = 700, max(1, 64 // window)
    x = _numbers(element, n)
    results = n - window + 1
    known = {}
    if element.is_integer:
        views = np.lib.stride_tricks.sliding_window_view(x, window).astype(held.numpy)
        known["out"] = {"sum": views.sum, "min": views.min, "max": views.max}[fold](axis=1).astype(held.numpy)
    kernel = rolling.fold_windows(element, held, fold)
    buffers = [x, np.zeros(results, held.numpy)]
    return _case(kernel, buffers, (n, window, blocks), -(-results // (blocks * window)), **known)


def _window_results(held: DType, computed: DType, result: DType, mean: bool) -> Case:
    kernel = rolling.window_results(held, computed, result, mean=mean)
    return _case(kernel, [_numbers(held, 300), np.zeros(300, result.numpy)], (300, 7), 2)


for _e, _h in ((f32, f32), (f64, f64), (f16, f32), (i32, i64), (u8, u64)):
    for _fold in ("sum", "min", "max"):
        for _w in (1, 7, 400):
            _add(
                f"rolling-{_fold}-{_e}-{_w}", _windows, _e, _h if _fold == "sum" or _e == f16 else _e, _fold, _w,
                slow=_w == 1 or (_e not in (f32, i32)), widths=(1, 4),
            )  # fmt: skip
for _h, _c, _r, _mean in ((f32, f32, f16, False), (f32, f32, f32, True), (i64, f64, f64, True), (f32, f32, bf16, True)):
    _add(f"rolling-result-{_h}-{_r}", _window_results, _h, _c, _r, _mean)


# groups

_STARTS = np.array([0, 1, 64, 128, 193, 200, 5000], np.uint32)
_SHORT = np.array([0, 1, 64, 128, 192, 200, 233], np.uint32)


def _each(x: Array, starts: Array, fold: str, kind: Any) -> Array:
    pairs = zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
    pick = {"sum": np.sum, "min": np.min, "max": np.max}[fold]
    return np.array([pick(x[a:b].astype(kind)) for a, b in pairs], kind)


def _folded(element: DType, held: DType, result: DType, fold: str, short: bool) -> Case:
    starts = _SHORT if short else np.where(_STARTS < 5000, _STARTS, TILE).astype(np.uint32)
    x, count = _numbers(element, int(starts[-1])), len(starts) - 1
    known = {"out": _each(x, starts, fold, result.numpy)} if element.is_integer else {}
    if short:
        kernel = groups.fold_short_groups(fold, element, held, result)
        return _case(kernel, [x, starts, np.zeros(count, result.numpy)], (count,), **known)
    kernel = groups.fold_groups(fold, element, held, result)
    return _case(kernel, [x, starts, np.zeros(count, result.numpy)], (), count, **known)


def _tiles(element: DType, held: DType, fold: str) -> Case:
    x, count = _numbers(element, 5000), len(_STARTS) - 1
    offsets, owners = np.array([0, 1, 2, 3, 4, 5, 7], np.uint32), np.array([0, 1, 2, 3, 4, 5, 5, 0], np.uint32)
    kernel = groups.fold_tiles(fold, element, held)
    return _case(kernel, [x, _STARTS, offsets, owners, np.zeros(8, held.numpy)], (count,), 8)


def _cut() -> Case:
    known = np.array([0, 1, 2, 3, 4, 5, 7], np.uint32)
    return _case(groups.cut_groups(), [_STARTS, np.zeros(7, np.uint32)], (6,), offsets=known)


def _owners() -> Case:
    offsets, known = np.array([0, 1, 2, 3, 4, 5, 7], np.uint32), np.array([0, 1, 2, 3, 4, 5, 5], np.uint32)
    return _case(groups.list_tiles(), [offsets, np.zeros(7, np.uint32)], (6,), owners=known)


def _measure() -> Case:
    known = np.diff(_STARTS).astype(np.int64)
    return _case(groups.measure_groups(), [_STARTS, np.zeros(6, np.int64)], (6,), lengths=known)


def _close() -> Case:
    starts = np.array([0, 5, 9, 0, 0], np.uint32)
    known = np.array([0, 5, 9, 12, 0], np.uint32)
    return _case(groups.close_runs(), [starts, np.array([0, 1, 3], np.uint32)], (12, 2), starts=known)


def _group_means(total: DType, computed: DType, result: DType) -> Case:
    kernel = groups.divide_groups(total, computed, result)
    return _case(kernel, [_numbers(total, 6), _STARTS, np.zeros(6, result.numpy)], (6,))


def _keys(dtype: DType, back: bool) -> Case:
    x = adversarial(dtype).view(f"u{dtype.nbytes}")
    if back:
        return _case(groups.split_keys(Order(dtype)), [x, np.zeros_like(x)], (x.size,), -(-x.size // 64))
    return _case(groups.merge_keys(Order(dtype)), [x, np.zeros_like(x)], (x.size,), -(-x.size // 64))


for _at, (_e, _h, _r) in enumerate(
    [(f32, f32, f32), (i32, i64, i64), (f16, f32, f16), (f64, f64, f64), (u8, u64, u64), (bf16, f32, bf16)]
):
    for _fold in ("sum", "min", "max"):
        _held = _h if _fold == "sum" or _e in (f16, bf16) else _e
        _end = _r if _fold == "sum" or _e in (f16, bf16) else _e
        _rare = _at > 1 or _fold == "min"
        _add(f"group-{_fold}-{_e}", _folded, _e, _held, _end, _fold, False, slow=_rare)
        _add(f"group-short-{_fold}-{_e}", _folded, _e, _held, _end, _fold, True, slow=_rare, widths=(1, 4))
        _add(f"group-tiles-{_fold}-{_e}", _tiles, _e, _held, _fold, slow=_rare)
for _h, _c, _r in ((f32, f32, f32), (i64, f64, f64), (f32, f32, f16)):
    _add(f"group-mean-{_r}-{_h}", _group_means, _h, _c, _r)
for _e in (f32, f64, f16, bf16):
    _add(f"keys-merge-{_e}", _keys, _e, False, slow=_e not in (f32, f16))
    _add(f"keys-split-{_e}", _keys, _e, True, slow=_e not in (f32, f16))
for _name, _make in (("cut", _cut), ("owners", _owners), ("measure", _measure), ("close", _close)):
    _add(f"groups-{_name}", _make)


# joins


def _join_data(key: DType) -> tuple[Array, Array, Array, Array]:
    rng = np.random.default_rng(key.bits)
    left, right = rng.integers(0, 90, 300).astype(key.numpy), np.sort(rng.integers(0, 90, 120).astype(key.numpy))
    lows = np.searchsorted(right, left).astype(np.uint32)
    return left, right, lows, (np.searchsorted(right, left, "right") - lows).astype(np.uint32)


def _match(key: DType, some: bool) -> Case:
    left, right, lows, counts = _join_data(key)
    known = {"lows": lows, "counts": counts} if some else {"counts": np.zeros_like(counts)}
    buffers = [left, right, np.zeros(300, np.uint32), np.zeros(300, np.uint32)]
    return _case(join.match_keys(key), buffers, (300, 120 if some else 0), 5, **known)


def _pairs(step: str, outer: bool) -> Case:
    _, _, lows, counts = _join_data(i32)
    least = np.maximum(counts, int(outer))
    if step == "count":
        known = least.sum(keepdims=True).astype(np.uint64)
        return _case(join.count_pairs(outer=outer), [counts, np.zeros(1, np.uint64)], (300,), pairs=known)
    positions = np.random.default_rng(1).permutation(120).astype(np.int64)
    lefts = np.repeat(np.arange(300), least)
    rights = [positions[a : a + n] if n else np.full(int(outer), -1) for a, n in zip(lows, counts, strict=True)]
    out = np.zeros(lefts.size, np.int64)
    kernel, start = join.write_pairs(outer=outer), np.zeros(1, np.uint64)
    return _case(
        kernel, [lows, counts, positions, start, out, out.copy()], (300,), lefts=lefts.astype(np.int64),
        rights=np.concatenate(rights).astype(np.int64),
    )  # fmt: skip


for _key in (i32, u64, u8):
    _add(f"match-{_key}", _match, _key, True, slow=_key != i32)
_add("match-nothing", _match, i32, False)
for _outer in (False, True):
    for _step in ("count", "write"):
        _add(f"pairs-{_step}{'-outer' if _outer else ''}", _pairs, _step, _outer, widths=(1, 4))
