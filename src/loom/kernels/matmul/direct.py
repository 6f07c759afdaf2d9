"""Matrix multiplication without packing, for small and narrow shapes, and the end of every multiplication.

Layer: kernels. Invariant: the order of ``kernels.matmul.tiles``, whatever the shape.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.dtype import DType, u32, u64
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, global_id, group_id, local_id, private, shared, static_range
from loom.kernels.matmul.pack import factor_of
from loom.kernels.matmul.tiles import BLOCK, BLOCKS, CHUNK, Tile
from loom.kernels.types import ProductTypes

__all__ = [
    "FINISH_LANES", "MOST_ABREAST", "STRIP", "THIN_COLUMNS", "finish_chunks", "multiply_direct", "multiply_rows",
    "multiply_thin",
]  # fmt: skip

STRIP = 1024
"""Most columns per group of ``multiply_rows``."""
FINISH_LANES = 256
"""Elements of the result per group of ``finish_chunks``."""
THIN_COLUMNS = 32
"""Columns of a group: lanes side by side read a whole line of memory."""
MOST_ABREAST = BLOCKS // 2
"""Blocks that a group takes at once."""
_LOADS = 32
"""Products whose factors are read before they are added."""


def _strip(tile: Tile, arithmetic: ProductTypes, transposed: bool, swapped: bool) -> Callable[..., None]:
    """Return what multiplies the rows of a tile by ``count`` vectors of columns, this lane's from ``first`` on."""
    rows, lanes, at = tile.rows, tile.lanes, tile.index
    accumulator, factor = arithmetic.accumulator, factor_of(arithmetic)

    def strip(
        a: Any, b: Any, out: Any, a_at: Any, a_row: Any, a_k: Any, b_at: Any, at_out: Any, row: Any, m: Any, n: Any,
        first: Any, begin: Any, end: Any, depth: Any, count: Any,
    ) -> None:  # fmt: skip
        totals = private(accumulator, rows * count)
        sums = private(accumulator, rows * count)
        for s in static_range(rows * count):
            totals[s] = accumulator(0)
        for block in range(begin, end, BLOCK):
            for s in static_range(rows * count):
                sums[s] = accumulator(0)
            for k in range(block, block + min(end - block, BLOCK)):
                for r in static_range(rows):
                    x = factor(a[a_at + (at(min(row + r, m - 1)) * at(a_row) + at(k) * at(a_k))])
                    for v in static_range(count):
                        j = first + v * lanes
                        place = j * at(depth) + at(k) if transposed else at(k) * at(n) + j
                        sums[r * count + v] = sums[r * count + v] + x * factor(b[b_at + place])
            for s in static_range(rows * count):
                totals[s] = totals[s] + sums[s]
        for r in static_range(rows):
            if row + r < m:
                for v in static_range(count):
                    i, j = at(row + r), first + v * lanes
                    out[at_out + (j * at(m) + i if swapped else i * at(n) + j)] = totals[r * count + v]

    return strip


@cache
def multiply_direct(tile: Tile, arithmetic: ProductTypes, *, transposed: bool, swapped: bool) -> KernelFunction:
    """Return the kernel that multiplies elements where they are into chunks of the result.

    Group (x, y, z) computes one tile of chunk ``z % chunks`` of batch ``z // chunks``, of ``a[which[batch]]``
    and ``b[which[batches + batch]]``. Element (i, k) of ``a`` is at ``i a_row + k a_k``; ``b`` is k by n, or n by k
    if ``transposed``. The result is m by n, or n by m if ``swapped``.
    """
    element, accumulator, at = arithmetic.element, arithmetic.accumulator, tile.index
    rows, vectors, lanes = tile.rows, tile.vectors, tile.lanes
    strip = _strip(tile, arithmetic, transposed, swapped)

    @kernel(workgroup=lanes, trusted=True)
    def direct(
        a: In[element],  # type: ignore[valid-type]
        b: In[element],  # type: ignore[valid-type]
        which: In[u32],
        out: Out[accumulator],  # type: ignore[valid-type]
        m: u32,
        n: u32,
        depth: u32,
        a_row: u32,
        a_k: u32,
        batches: u32,
        chunks: u32,
    ):
        batch, chunk = group_id(2) // chunks, group_id(2) % chunks
        row, column = group_id(1) * rows, group_id(0) * (vectors * lanes)
        a_at = at(which[batch]) * (at(m) * at(depth))
        b_at = at(which[batches + batch]) * (at(n) * at(depth))
        at_out = at(group_id(2)) * (at(m) * at(n))
        begin = chunk * CHUNK
        end = begin + min(depth - begin, CHUNK)
        first = at(column) + at(local_id())
        if column + vectors * lanes <= n:
            strip(a, b, out, a_at, a_row, a_k, b_at, at_out, row, m, n, first, begin, end, depth, vectors)
        else:
            for v in range(vectors):
                if column + (v * lanes + local_id()) < n:
                    here = first + at(v) * lanes
                    strip(a, b, out, a_at, a_row, a_k, b_at, at_out, row, m, n, here, begin, end, depth, 1)

    order = "_transposed" * transposed + "_swapped" * swapped
    direct.name = f"matmul_direct_{rows}x{vectors}x{lanes}_{element}_{accumulator}{order}"
    return direct


def _long_strip(rows: int, lanes: int, arithmetic: ProductTypes, swapped: bool, at: DType) -> Callable[..., None]:
    """Return what multiplies ``rows`` rows by ``vectors`` vectors of columns, this lane's from ``column`` on."""
    accumulator, factor = arithmetic.accumulator, factor_of(arithmetic)
    many, unroll = STRIP // lanes, max(1, 8 // rows)

    def add_products(
        a: Any, b: Any, sums: Any, a_at: Any, a_row: Any, a_k: Any, b_at: Any, n: Any, k: Any, c: Any, count: Any,
    ) -> None:  # fmt: skip
        """Add the products of ``count`` k from k on to the sums of vector c."""
        for r in static_range(rows):
            total = sums[c * rows + r]
            for u in static_range(count):
                x = factor(a[a_at + (at(r) * at(a_row) + at(k + u) * at(a_k))])
                total = total + x * factor(b[b_at + (at(k + u) * at(n) + at(c) * lanes)])
            sums[c * rows + r] = total

    def strip(
        a: Any, b: Any, out: Any, a_at: Any, a_row: Any, a_k: Any, b_at: Any, at_out: Any, n: Any, column: Any, begin:
        Any, end: Any, vectors: Any,
    ) -> None:  # fmt: skip
        sums, totals = private(accumulator, rows * many), private(accumulator, rows * many)
        for s in range(rows * vectors):
            totals[s] = accumulator(0)
        for block in range(begin, end, BLOCK):
            for s in range(rows * vectors):
                sums[s] = accumulator(0)
            last = block + min(end - block, BLOCK)
            whole = last - (last - block) % unroll
            for k in range(block, whole, unroll):
                for c in range(vectors):
                    add_products(a, b, sums, a_at, a_row, a_k, b_at, n, k, c, unroll)
            for k in range(whole, last):
                for c in range(vectors):
                    add_products(a, b, sums, a_at, a_row, a_k, b_at, n, k, c, 1)
            for s in range(rows * vectors):
                totals[s] = totals[s] + sums[s]
        for c in range(vectors):
            for r in static_range(rows):
                j = at(column) + at(c) * lanes
                out[at_out + (j * rows + r if swapped else j + at(n) * r)] = totals[c * rows + r]

    return strip


@cache
def multiply_rows(
    rows: int, lanes: int, arithmetic: ProductTypes, *, swapped: bool, index: DType = u64
) -> KernelFunction:
    """Return the kernel that multiplies ``rows`` rows of ``a`` by a k by n matrix, read in long stretches.

    Like ``multiply_direct``, for m = ``rows``; a group keeps the sums of ``width`` columns, a multiple of ``lanes`` up
    to ``STRIP``, in fast memory and takes several k at a time, each from a row of ``b`` of its own.
    """
    element, accumulator, at = arithmetic.element, arithmetic.accumulator, index
    strip = _long_strip(rows, lanes, arithmetic, swapped, index)

    @kernel(workgroup=lanes, trusted=True)
    def wide(
        a: In[element],  # type: ignore[valid-type]
        b: In[element],  # type: ignore[valid-type]
        which: In[u32],
        out: Out[accumulator],  # type: ignore[valid-type]
        n: u32,
        depth: u32,
        a_row: u32,
        a_k: u32,
        batches: u32,
        chunks: u32,
        width: u32,
    ):
        batch, chunk = group_id(1) // chunks, group_id(1) % chunks
        column = group_id(0) * width
        a_at = at(which[batch]) * (at(depth) * rows)
        b_at = at(which[batches + batch]) * (at(n) * at(depth)) + at(column) + at(local_id())
        at_out = at(group_id(1)) * (at(n) * rows)
        begin = chunk * CHUNK
        end = begin + min(depth - begin, CHUNK)
        vectors = min(n - column, width) // lanes
        first = column + local_id()
        strip(a, b, out, a_at, a_row, a_k, b_at, at_out, n, first, begin, end, vectors)
        edge = first + vectors * lanes
        if vectors * lanes < width and edge < n:
            strip(a, b, out, a_at, a_row, a_k, b_at + at(vectors) * lanes, at_out, n, edge, begin, end, 1)

    wide.name = f"matmul_{rows}_rows_x{lanes}_{element}_{accumulator}{'_swapped' * swapped}"
    return wide


def _thin_block(rows: int, arithmetic: ProductTypes) -> Callable[..., None]:
    """Return what adds the products of k from ``first`` to ``last`` to the sums of a lane's column."""
    factor, unroll = factor_of(arithmetic), max(8, _LOADS // rows)

    def add_products(
        a: Any, b: Any, sums: Any, a_at: Any, a_row: Any, a_k: Any, b_at: Any, n: Any, k: Any, count: Any
    ) -> None:  # fmt: skip
        for u in static_range(count):
            y = factor(b[b_at + (k + u) * n])
            for r in static_range(rows):
                sums[r] = sums[r] + factor(a[a_at + r * a_row + (k + u) * a_k]) * y

    def add_block(
        a: Any, b: Any, sums: Any, a_at: Any, a_row: Any, a_k: Any, b_at: Any, n: Any, first: Any, last: Any
    ) -> None:  # fmt: skip
        whole = last - (last - first) % unroll
        for k in range(first, whole, unroll):
            add_products(a, b, sums, a_at, a_row, a_k, b_at, n, k, unroll)
        for k in range(whole, last):
            add_products(a, b, sums, a_at, a_row, a_k, b_at, n, k, 1)

    return add_block


@cache
def multiply_thin(rows: int, abreast: int, arithmetic: ProductTypes) -> KernelFunction:
    """Return the kernel (a, b, which, out, n, depth, a_row, a_k, batches, chunks) of ``rows`` rows, for GPUs.

    Memory is the limit: each lane has a column and a block of 128 k, whose elements it reads in long runs.
    Group (x, z) computes 32 columns of chunk ``z % chunks`` of batch ``z // chunks``, of ``a[which[batch]]`` and
    ``b[which[batches + batch]]``, ``abreast`` blocks at once. Element (i, k) of ``a`` is at ``i a_row + k a_k``; ``b``
    is depth by n. Element (row, column) goes to ``out[(z rows + row) n + column]``.
    """
    element, accumulator = arithmetic.element, arithmetic.accumulator
    add_block = _thin_block(rows, arithmetic)

    @kernel(workgroup=THIN_COLUMNS * abreast, trusted=True)
    def thin(
        a: In[element],  # type: ignore[valid-type]
        b: In[element],  # type: ignore[valid-type]
        which: In[u32],
        out: Out[accumulator],  # type: ignore[valid-type]
        n: u32,
        depth: u32,
        a_row: u32,
        a_k: u32,
        batches: u32,
        chunks: u32,
    ):
        own, side = local_id() % THIN_COLUMNS, local_id() // THIN_COLUMNS
        batch, begin = group_id(1) // chunks, group_id(1) % chunks * CHUNK
        column = group_id(0) * THIN_COLUMNS + own
        a_at, b_at = which[batch] * (rows * depth), which[batches + batch] * (n * depth) + min(column, n - 1)
        end = begin + min(depth - begin, CHUNK)
        sums, totals = private(accumulator, rows), private(accumulator, rows)
        parts = shared(accumulator, rows * THIN_COLUMNS * abreast)
        for r in static_range(rows):
            totals[r] = accumulator(0)
        for stretch in range(begin, end, abreast * BLOCK):
            first = stretch + side * BLOCK
            for r in static_range(rows):
                sums[r] = accumulator(0)
            if first < end:
                add_block(a, b, sums, a_at, a_row, a_k, b_at, n, first, first + min(end - first, BLOCK))
            for r in static_range(rows):
                parts[(side * rows + r) * THIN_COLUMNS + own] = sums[r]
            barrier()
            if side == 0:
                for block in range(min((end - stretch + (BLOCK - 1)) // BLOCK, abreast)):
                    for r in static_range(rows):
                        totals[r] = totals[r] + parts[(block * rows + r) * THIN_COLUMNS + own]
            barrier()
        if side == 0 and column < n:
            for r in static_range(rows):
                out[(group_id(1) * rows + r) * n + column] = totals[r]

    thin.name = f"matmul_thin_{rows}x{abreast}_{element}_{accumulator}{'_x12' * arithmetic.short}"
    return thin


@cache
def finish_chunks(accumulator: DType, result: DType) -> KernelFunction:
    """Return the kernel that joins chunks of ``size`` elements by the tree, and converts their sum.

    Group (x, z) takes ``FINISH_LANES`` elements of batch z, whose result goes to ``out`` as batch ``first + z``.
    """

    @kernel(workgroup=FINISH_LANES, trusted=True)
    def finish(
        parts: InOut[accumulator],  # type: ignore[valid-type]
        out: Out[result],  # type: ignore[valid-type]
        size: u32,
        chunks: u32,
        first: u32,
    ):
        i = global_id(0)
        if i < size:
            base = group_id(1) * chunks * size + i
            step = u32(1)
            while step < chunks:
                for c in range(0, chunks - step, 2 * step):
                    parts[base + c * size] = parts[base + c * size] + parts[base + (c + step) * size]
                step = 2 * step
            out[(first + group_id(1)) * size + i] = result(parts[base])

    finish.name = f"matmul_finish_{accumulator}_{result}"
    return finish
