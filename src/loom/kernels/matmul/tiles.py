"""Matrix multiplication in the canonical order: what is multiplied, how it is cut up, and the kernel of tiles.

Layer: kernels. For each element of the result, block j covers k in [128 j, 128 j + 128): acc = +0, then k
ascending acc = acc + a_k b_k, a multiplication and an addition. Blocks are added up one after the other
within a chunk of 4096 k, chunks by a balanced tree. Invariant: a ``Blocking`` changes speed, never bits.

Source of the cut: Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (TOMS 2008).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from loom.core.caps import Caps
from loom.core.dtype import DType, f64, u32, u64
from loom.core.numerics import MATMUL_BLOCK as BLOCK
from loom.core.numerics import MATMUL_CHUNK as CHUNK
from loom.ir.frontend.base.annotations import In, InOut
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import (
    dot2_i16,
    dot4_i8,
    dot4_u8i8,
    fma,
    group_id,
    local_id,
    private,
    select,
    static_range,
)
from loom.kernels.precisions import HALF_BITS
from loom.kernels.types import ProductTypes

__all__ = [
    "BLOCK", "BLOCKS", "CHUNK", "OFFSET", "Blocking", "Tile", "adding", "choose_blocking", "keeping", "multiply_tiles",
    "summing_tile", "total_of", "turns_of", "walking_tiles",
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


def walking_tiles(
    tile: Tile, arithmetic: ProductTypes, *, in_place: bool = False, transposed: bool = False
) -> Callable[..., None]:
    """Return the body of ``multiply_tiles``; ``is_exact``: every product is, and may be fused."""
    at, rows, columns, unroll, words = tile.index, tile.rows, tile.columns, tile.unroll, arithmetic.words
    accumulator, keep_tile, turns_of_block = arithmetic.accumulator, keeping(tile), turns_of(tile, arithmetic)
    add_block, add_exact = summing_tile(tile, arithmetic), summing_tile(tile, arithmetic, exact=True)

    def walk(
        a: Any, b: Any, out: Any, m: Any, n: Any, depth: Any, down: Any, across: Any, a_step: Any, b_step: Any,
        chunks: Any, first: Any, is_exact: Any,
    ) -> None:  # fmt: skip
        lane = at(local_id())
        high, wide = (m + (rows - 1)) // rows, (n + (columns - 1)) // columns
        batch, chunk = group_id(2) // chunks, group_id(2) % chunks
        blocks = (depth + (BLOCK - 1)) // BLOCK
        begin = chunk * BLOCKS
        for block in range(begin, min(begin + BLOCKS, blocks)):
            turns = turns_of_block(block, depth)
            if in_place:
                a_row, a_k = (at(1), at(m)) if transposed else (at(depth), at(1))
                a_block = at(batch * a_step) * (at(m) * at(depth)) + at(block * BLOCK) * a_k
            else:
                a_row, a_k = at(words), at(1)
                a_block = at(batch * a_step * blocks + block) * at(high) * (rows * words)
            b_block = at(batch * b_step * blocks + block) * at(wide) * (columns * words) + lane
            for j in range(group_id(0) * across, min(group_id(0) * across + across, wide)):
                for i in range(group_id(1) * down, min(group_id(1) * down + down, high)):
                    sums = private(accumulator, rows * tile.vectors)
                    a_at, b_at = a_block + at(i) * (a_row * rows), b_block + at(j) * (at(turns) * (columns * unroll))
                    if is_exact:
                        add_exact(a, b, sums, a_at, a_row, a_k, b_at, turns)
                    else:
                        add_block(a, b, sums, a_at, a_row, a_k, b_at, turns)
                    row, column = i * rows, j * columns
                    place = (at(first + group_id(2)) * at(m) + at(row)) * at(n) + at(column) + lane
                    keep_tile(out, sums, place, m, n, row, column, block == begin)

    return walk


@cache
def multiply_tiles(
    tile: Tile, arithmetic: ProductTypes, *, in_place: bool = False, transposed: bool = False
) -> KernelFunction:
    """Return the kernel that multiplies packed factors (see ``matmul_pack``) into chunks of the result.

    ``in_place``: ``a`` is no copy, but the matrices themselves, m by k, or k by m if ``transposed``, whole tiles of
    rows and of k.

    Group (x, y, z) takes ``across`` columns of tiles from x on, ``down`` rows of them from y on, and chunk
    ``z % chunks`` of batch ``z // chunks``. Element (row, column) of that chunk goes to
    ``out[((first + z) m + row) n + column]``. A batch step of 0 means one operand for all batches.
    """
    held, accumulator = arithmetic.held, arithmetic.accumulator
    walk = walking_tiles(tile, arithmetic, in_place=in_place, transposed=transposed)

    @kernel(workgroup=tile.lanes, trusted=True)
    def tiles(
        a: In[held],  # type: ignore[valid-type]
        b: In[held],  # type: ignore[valid-type]
        out: InOut[accumulator],  # type: ignore[valid-type]
        m: u32,
        n: u32,
        depth: u32,
        down: u32,
        across: u32,
        a_step: u32,
        b_step: u32,
        chunks: u32,
        first: u32,
    ):
        walk(a, b, out, m, n, depth, down, across, a_step, b_step, chunks, first, False)

    kind = f"{arithmetic.kind}_{accumulator}"
    read = "_in_place" * in_place + "_transposed" * transposed
    tiles.name = f"matmul_{tile.rows}x{tile.vectors}x{tile.lanes}_{kind}{read}"
    return tiles
