"""Matrix multiplication in the canonical order: how it is cut up for a CPU, and what is done with a tile.

Layer: kernels. For each element of the result, block j covers k in [128 j, 128 j + 128): acc = +0, then k
ascending acc = acc + a_k b_k, a multiplication and an addition. Blocks are added up one after the other
within a chunk of 4096 k, chunks by a balanced tree. Invariant: a ``Blocking`` changes speed, never bits.

Source of the cut: Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (TOMS 2008).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom.core.caps import Caps
from loom.core.dtype import DType, f64, u64
from loom.core.late.dataclass import dataclass
from loom.core.numerics import MATMUL_BLOCK as BLOCK
from loom.core.numerics import MATMUL_CHUNK as CHUNK
from loom.ir.frontend.intrinsics import (
    dot2_i16,
    dot4_i8,
    dot4_u8i8,
    fma,
    local_id,
    private,
    select,
    static_range,
)
from loom.kernels.precisions import HALF_BITS
from loom.kernels.types import ProductTypes

__all__ = [
    "BLOCK", "BLOCKS", "CHUNK", "OFFSET", "Blocking", "Tile", "adding", "choose_blocking", "keeping", "summing_tile",
    "total_of", "turns_of",
]  # fmt: skip

BLOCKS = CHUNK // BLOCK
"""Blocks of a chunk."""
_GROUPS_PER_WORKER = 8
"""Groups a worker gets at least, so that workers end together."""


@dataclass(frozen=True, slots=True)
class Tile:
    """What a group keeps in registers: ``rows`` by ``vectors * lanes`` sums, ``unroll`` k a turn."""

    rows: int
    vectors: int
    lanes: int
    unroll: int
    index: DType = u64
    """Type of indexes; 64 bits let a CPU fold constant distances into addresses."""

    @property
    def columns(self) -> int:
        """Columns of the tile."""
        return self.vectors * self.lanes


@dataclass(frozen=True, slots=True)
class Blocking:
    """How a multiplication is cut: a group computes up to ``down`` by ``across`` tiles."""

    tile: Tile
    down: int
    across: int


OFFSET = -0x7F7F_7F80
"""Four bytes of 128: what the left operand of ``dot4_u8i8`` has too much."""
_TILES = {16: (8, 2, 4), 8: (5, 2, 4), 4: (4, 2, 2)}
"""Rows, vectors and k a turn, by the 32-bit lanes of a vector: as many sums as registers hold (32, 16, 16)."""
_TILES_OF_HALVES = {16: (4, 2, 2), 8: (4, 1, 2), 4: (4, 1, 2)}
"""The same where a result is three sums."""
_SCALAR = Tile(4, 1, 32, 2)
"""Without vectors, as in the interpreter, which runs many groups at once."""
_HEIGHT, _WIDTH = 128, 256
"""Rows and columns of a group at most: a block of ``a``, one of ``b`` and the sums stay in its cache."""


def choose_blocking(caps: Caps, arithmetic: ProductTypes, m: int, n: int, batches: int) -> Blocking:
    """Return the cut for ``batches`` results of m by n: enough groups for the workers, each within its cache."""
    nbytes = arithmetic.accumulator.nbytes
    if caps.simd_lanes < min(_TILES):
        return Blocking(_SCALAR, 1, 1)
    simd = max(lanes for lanes in _TILES if lanes <= caps.simd_lanes)
    rows, vectors, unroll = (_TILES_OF_HALVES if arithmetic.halves else _TILES)[simd]
    tile = Tile(rows, vectors, simd * 4 // nbytes, unroll)
    height, width = _HEIGHT // 2 if arithmetic.halves else _HEIGHT, _WIDTH
    wanted = _GROUPS_PER_WORKER * caps.workers
    while height > 4 * rows:
        fits = (height * width + BLOCK * (height + width)) * nbytes <= caps.cache_nbytes
        if fits and -(-m // height) * -(-n // width) * batches >= wanted:
            break
        if width >= height:
            width //= 2
        else:
            height //= 2
    return Blocking(tile, max(1, height // rows), max(1, width // tile.columns))


def adding(arithmetic: ProductTypes, *, fused: bool) -> Callable[[Any, Any, Any], Any]:
    """Return what adds the product of two held words, or of their parts, to a sum: (x, y, sum)."""
    if arithmetic.dots:
        return dot4_u8i8 if arithmetic.dots == "dot4_u8i8" else dot4_i8
    if arithmetic.pairs:
        return dot2_i16
    if fused:
        return fma
    return lambda x, y, total: total + x * y


def total_of(arithmetic: ProductTypes) -> Callable[[Any, Any], Any]:
    """Return what tells the sum of products number s from all sums: (sums, s).

    Of halves h and l, x = 4096 h + l: the three sums are of h h', of l l', and of (h + l) (h' + l'), which is
    h l' + l h' and both others (Karatsuba). All that is added here is a whole number below 2^53, so that nothing is
    rounded.
    """
    if not arithmetic.halves:
        return lambda sums, s: sums[s]

    def total(sums: Any, s: Any) -> Any:
        high, low = sums[3 * s], sums[3 * s + 1]
        middle = sums[3 * s + 2] - high - low
        return f64(high) * 2.0 ** (2 * HALF_BITS) + f64(middle) * 2.0**HALF_BITS + f64(low)

    return total


def turns_of(tile: Tile, arithmetic: ProductTypes) -> Callable[[Any, Any], Any]:
    """Return what tells how many times ``unroll`` words of a block are multiplied: (block, depth)."""
    words, unroll = arithmetic.words, tile.unroll
    return lambda block, depth: (min(depth - block * BLOCK, words) + (unroll - 1)) // unroll


def summing_tile(tile: Tile, arithmetic: ProductTypes, *, exact: bool = False) -> Callable[..., None]:
    """Return what adds the products of a block, ``turns`` times ``unroll`` words of them, to sums of +0.

    ``a_row`` and ``a_k``: from one row (or stream of it) or word of ``a`` to the next. ``total_of`` reads the sums.
    ``exact``: every product is, whatever the types say, and may be fused.
    """
    rows, vectors, lanes, unroll, streams = tile.rows, tile.vectors, tile.lanes, tile.unroll, arithmetic.streams
    add, accumulator = adding(arithmetic, fused=exact or arithmetic.fused), arithmetic.accumulator
    is_offset = arithmetic.dots == "dot4_u8i8"

    def add_block(a: Any, b: Any, sums: Any, a_at: Any, a_row: Any, a_k: Any, b_at: Any, turns: Any) -> None:
        for s in static_range(rows * vectors * streams):
            sums[s] = accumulator(0)
        beside = private(accumulator, vectors if is_offset else 1)
        if is_offset:
            for v in static_range(vectors):
                beside[v] = accumulator(0)
        for _ in range(turns):
            for u in static_range(unroll):
                if is_offset:
                    for v in static_range(vectors):
                        beside[v] = add(OFFSET, b[b_at + (u * vectors + v) * lanes], beside[v])
                for r in static_range(rows):
                    for d in static_range(streams):
                        x = a[a_at + (a_row * (r * streams + d) + a_k * u)]
                        for v in static_range(vectors):
                            s = (r * vectors + v) * streams + d
                            sums[s] = add(x, b[b_at + ((u * vectors + v) * streams + d) * lanes], sums[s])
            a_at, b_at = a_at + a_k * unroll, b_at + unroll * vectors * streams * lanes
        if is_offset:
            for s in static_range(rows * vectors):
                sums[s] = sums[s] - beside[s % vectors]

    return add_block


def keeping(tile: Tile) -> Callable[..., None]:
    """Return what stores the sums of a first block from ``place`` on, or adds those of a later one."""
    rows, vectors, lanes, at = tile.rows, tile.vectors, tile.lanes, tile.index

    def keep_tile(out: Any, sums: Any, place: Any, m: Any, n: Any, row: Any, column: Any, is_first: Any) -> None:
        if row + rows > m or column + vectors * lanes > n:
            for s in static_range(rows * vectors):
                if row + s // vectors < m and column + (s % vectors * lanes + local_id()) < n:
                    o = place + (at(n) * (s // vectors) + s % vectors * lanes)
                    out[o] = select(is_first, sums[s], out[o] + sums[s])
        elif is_first:
            for s in static_range(rows * vectors):
                out[place + (at(n) * (s // vectors) + s % vectors * lanes)] = sums[s]
        else:
            for s in static_range(rows * vectors):
                o = place + (at(n) * (s // vectors) + s % vectors * lanes)
                out[o] = out[o] + sums[s]

    return keep_tile
