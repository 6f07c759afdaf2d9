"""How a product of small integers with all that follows is cut up: one kernel, over packed weights.

Layer: schedules. Invariant: ``Caps`` choose the tile, and every tile gives the same integers.
"""

from __future__ import annotations

from typing import Any

from loom.core.arrays import Array
from loom.core.caps import Caps
from loom.core.dtype import DType, u32
from loom.core.late.dataclass import dataclass
from loom.kernels.matmul.integers import EACH, multiply_integers, pack_bias, pack_integers
from loom.kernels.matmul.tiles import Tile
from loom.schedules.maps import THREADS, lanes_of
from loom.schedules.recorder import Recorder, store

__all__ = ["IntegerProduct", "record_integers"]

_TILES = {16: Tile(8, 2, 16, 4), 8: Tile(4, 2, 8, 4), 4: Tile(4, 2, 4, 2)}
"""By the 32-bit lanes of a vector: as many sums as registers hold."""
_SCALAR = Tile(4, 1, 32, 2, u32)
_FEW = 4
"""Rows up to which as many make a tile."""


@dataclass(frozen=True, slots=True, eq=False)
class IntegerProduct:
    """What the weights (k, n) and the bias (n) are, and how sums are rounded, as in ``kernels.matmul.integers``."""

    weights: Array
    bias: Array
    shift: int
    least: int
    most: int


def _choose(caps: Caps, rows: int) -> Tile:
    if lanes_of(caps) == THREADS or caps.simd_lanes < min(_TILES):
        return _SCALAR
    tile = _TILES[max(lanes for lanes in _TILES if lanes <= caps.simd_lanes)]
    if rows <= _FEW:
        return Tile(rows, 4, tile.lanes, tile.unroll)
    return tile


def record_integers(chain: Recorder, a: Any, out: Any, rows: int, what: IntegerProduct, result: DType) -> None:
    """Record ``out`` (rows, n) of i8 or i16 from ``a`` (rows, k) of i8, k filled up with 0 to a multiple of 4."""
    caps, (k, n) = chain.device.caps, what.weights.shape
    tile, dots = _choose(caps, rows), caps.dots
    bias = pack_bias(what.bias, what.weights, tile.columns, dots)
    held = [store(chain, values) for values in (pack_integers(what.weights, tile.columns, dots), bias)]
    params = [rows, n, -(-k // EACH), what.shift, what.least, what.most]
    groups = (-(-rows // tile.rows), len(bias) // tile.columns)
    chain.dispatch(multiply_integers(tile, dots, result), [a, *held, out], params, groups)
