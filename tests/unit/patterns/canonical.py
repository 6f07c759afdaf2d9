"""The canonical orders of sums and scans, written again from the document (docs/numerics.md, section 2) in plain numpy.

Reduce: tile of 4096 elements; lane l of 64 sums x[64 i + l], i ascending from +0; then lane l + lane l + 32, 16, 8,
4, 2, 1; then the same operator on the tile sums until one is left. Scan: tile of 64 runs of 64 elements; a run is
scanned in order, totals of runs in 6 steps, the earlier on the left; a result is tile offset + (run offset +
local), what does not exist not being added; totals of tiles the same way. Nothing of Loom is used here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

TILE, LANES = 4096, 64


def canonical_sum(x: Array) -> Any:
    """Return the sum of a float array of one dimension and at least one element, in its own precision."""
    return canonical_reduce(x, np.add, 0)


def canonical_reduce(x: Array, operation: np.ufunc, start: float, axis: int = -1) -> Any:
    """Return the reduction along an axis of at least one element, by an operation ``start`` changes nothing of."""
    rows = np.moveaxis(x, axis, -1)
    shape, rows = rows.shape[:-1], rows.reshape(-1, x.shape[axis])
    with np.errstate(all="ignore"):
        while True:
            parts = [_tiles(rows[:, at : at + TILE], operation, start) for at in range(0, rows.shape[1], TILE)]
            if len(parts) == 1:
                return parts[0].reshape(shape)[()]
            rows = np.stack(parts, 1)


def _tiles(rows: Array, operation: np.ufunc, start: float) -> Array:
    lanes = np.full((len(rows), LANES), start, rows.dtype)
    for i in range(0, rows.shape[1], LANES):
        part = rows[:, i : i + LANES]
        lanes[:, : part.shape[1]] = operation(lanes[:, : part.shape[1]], part)
    half = LANES // 2
    while half:
        lanes = operation(lanes[:, :half], lanes[:, half : 2 * half])
        half //= 2
    return lanes[:, 0]


def canonical_sum_in_python(x: list[float]) -> float:
    """Return the same sum of Python floats (binary64), element by element: an oracle for the oracle."""
    while True:
        x = [_tile_in_python(x[at : at + TILE]) for at in range(0, len(x), TILE)]
        if len(x) == 1:
            return x[0]


def _tile_in_python(x: list[float]) -> float:
    lanes = [0.0] * LANES
    for lane in range(LANES):
        for i in range(lane, len(x), LANES):
            lanes[lane] += x[i]
    half = 32
    while half:
        lanes = [lanes[k] + lanes[k + half] for k in range(half)]
        half >>= 1
    return lanes[0]


RUN = 64


def canonical_scan(x: Array, operation: np.ufunc = np.add) -> Array:
    """Return the inclusive scan of a float array of one dimension, in its own precision."""
    with np.errstate(all="ignore"):
        return _scan(x, operation)


def _scan(x: Array, operation: np.ufunc) -> Array:
    out = np.empty_like(x)
    totals = []
    for tile in range(0, x.size, TILE):
        runs = [operation.accumulate(x[at : at + RUN]) for at in range(tile, min(tile + TILE, x.size), RUN)]
        scanned = np.array([run[-1] for run in runs])
        step = 1
        while step < LANES:
            scanned[step:] = operation(scanned[:-step].copy(), scanned[step:])
            step *= 2
        for k, run in enumerate(runs):
            at = tile + k * RUN
            out[at : at + RUN] = operation(scanned[k - 1], run) if k else run
        totals.append(scanned[-1])
    if len(totals) > 1:
        offsets = _scan(np.array(totals), operation)
        for k in range(1, len(totals)):
            out[k * TILE : (k + 1) * TILE] = operation(offsets[k - 1], out[k * TILE : (k + 1) * TILE])
    return out


def scan_of_items(items: list[Any], join: Any) -> list[Any]:
    """Return the scan of any items under any operator, in the same tree, item by item."""
    out, totals = [], []
    for tile in range(0, len(items), TILE):
        part = items[tile : tile + TILE]
        runs = [list(_accumulated(part[at : at + RUN], join)) for at in range(0, len(part), RUN)]
        scanned = [run[-1] for run in runs]
        for step in (1, 2, 4, 8, 16, 32):
            scanned = [join(scanned[k - step], v) if k >= step else v for k, v in enumerate(scanned)]
        for k, run in enumerate(runs):
            out += [join(scanned[k - 1], v) for v in run] if k else run
        totals.append(scanned[-1])
    if len(totals) > 1:
        offsets = scan_of_items(totals, join)
        out = out[:TILE] + [join(offsets[at // TILE - 1], out[at]) for at in range(TILE, len(out))]
    return out


def _accumulated(items: list[Any], join: Any) -> Any:
    value = items[0]
    yield value
    for item in items[1:]:
        value = join(value, item)
        yield value


def same_bits(got: Any, expected: Any) -> bool:
    """Tell whether two numpy scalars or arrays have one dtype, one shape and the same bits, all NaNs alike."""
    a, b = np.asarray(got), np.asarray(expected)
    return a.dtype == b.dtype and a.shape == b.shape and bool((_bits(a) == _bits(b)).all())


def _bits(a: Array) -> Array:
    bits = np.atleast_1d(a).view(f"u{a.dtype.itemsize}")
    if a.dtype.kind != "f":
        return bits
    return np.where(np.isnan(np.atleast_1d(a)), bits.dtype.type(0x7E00), bits)
