"""The canonical order of sums, written again from the document (numerics.md, section 2) in plain numpy.

Tile of 4096 elements; lane l of 64 sums x[64 i + l], i ascending from +0; then lane l + lane l + 32, 16, 8, 4, 2, 1;
then the same operator on the tile sums until one is left. Nothing of Loom is used here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

TILE, LANES = 4096, 64


def canonical_sum(x: Array) -> Any:
    """Return the sum of a float array of one dimension and at least one element, in its own precision."""
    with np.errstate(all="ignore"):
        while True:
            whole = x.size // TILE * TILE
            sums = _tiles(x[:whole].reshape(-1, TILE))
            x = np.concatenate([sums, _tiles(x[None, whole:])]) if whole < x.size else sums
            if x.size == 1:
                return x[0]


def _tiles(rows: Array) -> Array:
    lanes = np.zeros((len(rows), LANES), rows.dtype)
    for i in range(0, rows.shape[1], LANES):
        part = rows[:, i : i + LANES]
        lanes[:, : part.shape[1]] += part
    half = LANES // 2
    while half:
        lanes = lanes[:, :half] + lanes[:, half : 2 * half]
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


def same_bits(got: Any, expected: Any) -> bool:
    """Tell whether two numpy scalars or arrays have one dtype, one shape and the same bits, all NaNs alike."""
    a, b = np.asarray(got), np.asarray(expected)
    return a.dtype == b.dtype and a.shape == b.shape and bool((_bits(a) == _bits(b)).all())


def _bits(a: Array) -> Array:
    bits = np.atleast_1d(a).view(f"u{a.dtype.itemsize}")
    if a.dtype.kind != "f":
        return bits
    return np.where(np.isnan(np.atleast_1d(a)), bits.dtype.type(0x7E00), bits)
