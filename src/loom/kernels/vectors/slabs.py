"""Compares many queries with panels where lanes are threads: slabs of both go through shared memory.

Layer: kernels. Invariant: a score has the bits of ``kernels.vectors.rank``, whose order of sums this is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.dtype import f32, u32
from loom.core.numerics import MATMUL_BLOCK as BLOCK
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, group_id, local_id, private, shared, static_range
from loom.kernels.matmul.grids import Grid
from loom.kernels.matmul.slabs import QUAD, Slab, reader_of
from loom.kernels.matmul.walking import summing
from loom.kernels.types import product_types
from loom.kernels.vectors.panels import Panel
from loom.kernels.vectors.rank import FACTS, WORST, live_score, scoring

__all__ = ["best_of_slabs"]


def _add_square(x: Any, y: Any, total: Any) -> Any:
    return total + (x - y) * (x - y)


def _add_product(x: Any, y: Any, total: Any) -> Any:
    return total + x * y


def _best_of_lane(panel: Panel, grid: Grid, euclidean: bool) -> Callable[..., None]:
    score_of, columns = scoring(panel, euclidean), grid.columns * QUAD

    def best_of_lane(
        totals: Any, i: Any, at: Any, first: Any, facts: Any, weights: Any, squares: Any, mask: Any
    ) -> None:
        """Put the best score of a query's vectors of this lane where its first total was."""
        most = f32(WORST)
        for j in static_range(columns):
            row = first + (j // QUAD * grid.across * QUAD + j % QUAD)
            score = score_of(totals[i * columns + j], facts, at, weights[row], squares[row])
            most = max(most, live_score(score, mask, row))
        totals[i * columns] = most

    return best_of_lane


def _sums(count: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return what clears sums, and what adds those of a block to totals."""

    def sum_block(sums: Any, totals: Any) -> None:
        for s in static_range(count):
            totals[s] = totals[s] + sums[s]

    def clear(sums: Any) -> None:
        for s in static_range(count):
            sums[s] = f32(0)

    return clear, sum_block


@cache
def best_of_slabs(panel: Panel, grid: Grid, *, euclidean: bool) -> KernelFunction:
    """Return the kernel of ``best_of_panels`` for vectors of floats and tiles of ``grid.height`` queries.

    Group (t, p) compares tile t with panel p, of ``grid.width`` vectors, alone.
    """
    held, width, lanes, height = panel.held, panel.width, grid.lanes, grid.height
    assert width == grid.width
    q_slab = Slab(height, grid.depth, lanes, by_k=True, whole=False)
    x_slab = Slab(width, grid.depth, lanes, by_k=False, whole=True)
    locate_q, read_q, lay_q = reader_of(q_slab, product_types(f32, f32))
    locate_x, read_x, lay_x = reader_of(x_slab, product_types(held, f32))
    add_slab = summing(grid, q_slab.pitch, x_slab.pitch, f32, _add_square if euclidean else _add_product)
    best_of_lane, (clear, sum_block) = (
        _best_of_lane(panel, grid, euclidean),
        _sums(grid.rows * grid.columns * QUAD**2),
    )
    quad, x_quad = f32.vector(QUAD), held.vector(QUAD)
    rows, columns = grid.rows * QUAD, grid.columns * QUAD
    clear, sum_block = _sums(rows * columns)

    @kernel(workgroup=lanes, trusted=True)
    def best(
        queries: In[f32],
        facts: In[f32],
        x: In[x_quad],  # type: ignore[valid-type]
        weights: In[f32],
        squares: In[f32],
        mask: In[u32],
        sizes: In[u32],
        out: Out[f32],
    ):
        dims, tiles, panels, row_of_out, before = sizes[0], sizes[1], sizes[3], sizes[4], sizes[5]
        lane = local_id()
        tile, p = group_id(0), group_id(1)
        if tile < tiles and p < panels:
            q_tile, x_tile = shared(quad, q_slab.quads * 2), shared(quad, x_slab.quads * 2)
            q_starts, x_starts = private(u32, q_slab.turns * q_slab.loads), private(u32, x_slab.turns * x_slab.loads)
            q_held, x_held = private(f32, q_slab.turns * QUAD), private(f32, x_slab.turns * QUAD)
            locate_q(q_starts, lane, u32(0), tile * height, tiles * height, dims)
            locate_x(x_starts, lane, p * dims * width, u32(0), u32(width), u32(width))
            read_q(queries, q_held, q_starts, lane, dims, u32(0), dims)
            read_x(x, x_held, x_starts, lane, u32(width), u32(0), dims)
            lay_q(q_tile, q_held, lane, 0)
            lay_x(x_tile, x_held, lane, 0)
            barrier()
            ty, tx = lane // grid.across, lane % grid.across
            stage = u32(0)
            sums, totals = private(f32, rows * columns), private(f32, rows * columns)
            clear(totals)
            for block in range(0, dims, BLOCK):
                clear(sums)
                for slab in range(block, block + min(dims - block, BLOCK), grid.depth):
                    read_q(queries, q_held, q_starts, lane, dims, slab + grid.depth, dims)
                    read_x(x, x_held, x_starts, lane, u32(width), slab + grid.depth, dims)
                    add_slab(q_tile, x_tile, sums, stage * q_slab.quads + ty, stage * x_slab.quads + tx)
                    stage = 1 - stage
                    lay_q(q_tile, q_held, lane, stage * q_slab.quads)
                    lay_x(x_tile, x_held, lane, stage * x_slab.quads)
                    barrier()
                sum_block(sums, totals)
            found = shared(f32, height * grid.across)
            for i in static_range(rows):
                r = ty * QUAD + (i // QUAD * grid.down * QUAD + i % QUAD)
                at = (tile * height + r) * FACTS
                best_of_lane(totals, i, at, p * width + tx * QUAD, facts, weights, squares, mask)
                found[r * grid.across + tx] = totals[i * columns]
            barrier()
            for r in range(lane, height, lanes):
                most = found[r * grid.across]
                for other in static_range(grid.across - 1):
                    most = max(most, found[r * grid.across + other + 1])
                out[(tile * height + r) * row_of_out + before + p] = most

    best.name = f"vectors_best_slabs_{held}_{height}x{width}x{grid.depth}{'_euclidean' * euclidean}"
    return best
