"""The gradient of images from that of their windows' products, on a GPU: gathered, nothing copied, nothing scattered.

Layer: kernels. An element of an image is the sum over the places of a window at which it was read, in row-major order
from +0, of the product over filters there, which is a product's as any (``threads``, ``scaled``); a place at which no
window read it adds +0. Invariant: the bits are those of ``sum_windows`` of the columns' product.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.dtype import DType, f32, u32
from loom.core.late.dataclass import dataclass
from loom.ir.frontend.base.annotations import Absent, In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, group_id, local_id, private, select, shared, static_range
from loom.kernels.matmul.digits import scale_total
from loom.kernels.matmul.grids import Grid, place_of
from loom.kernels.matmul.slabs import QUAD, Slab, reader_of
from loom.kernels.matmul.tiles import BLOCK
from loom.kernels.matmul.walking import summing
from loom.kernels.types import ProductTypes

__all__ = ["GradientCut", "image_gradient"]


@dataclass(frozen=True, slots=True)
class GradientCut:
    """A group takes a tile of ``grid``: channels by places of images. ``whole``: weights are read in vectors.

    ``single``: filters are one block.
    """

    grid: Grid
    whole: bool
    single: bool


_NONE = 0xFFFF_FFFF
"""Instead of a window's number: none read the element."""


def _window_of(n: Any, place: Any, shape: Any) -> Any:
    """Return which window read element n of the images at a place of its own."""
    height, width, wide, down, across, down_step, across_step, above, before = shape
    image, rest = n // (height * width), n % (height * width)
    row, column = rest // width + above, rest % width + before
    i, j = place // wide, place % wide
    y, x = (row - i) // down_step, (column - j) // across_step
    is_read = row >= i and (row - i) % down_step == 0 and y < down
    is_read = is_read and column >= j and (column - j) % across_step == 0 and x < across
    return select(is_read, (image * down + y) * across + x, u32(_NONE))


def _there(window: Any) -> Any:
    return select(window == _NONE, u32(0), window)


def _row_of(grid: Grid, first: Any, i: Any) -> Any:
    return first + (i // QUAD * grid.down * QUAD + i % QUAD)


def _column_of(grid: Grid, first: Any, j: Any) -> Any:
    return first + (j // QUAD * grid.across * QUAD + j % QUAD)


def _adding(cut: GradientCut) -> Callable[..., None]:
    """Return what adds the sums of a block, scaled if there are scales, to those of the blocks before it."""
    grid, rows, columns = cut.grid, cut.grid.rows * QUAD, cut.grid.columns * QUAD

    def add_block(
        parts: Any, sums: Any, a_scales: Any, b_scales: Any, a_at: Any, b_at: Any, row: Any, windows: Any, m: Any,
        is_first: Any,
    ) -> None:  # fmt: skip
        for i in static_range(rows):
            r = a_at + min(_row_of(grid, row, i), m - 1)
            for j in static_range(columns):
                s = i * columns + j
                at = b_at + _there(windows[j])
                value = sums[s] if a_scales is None else scale_total(sums[s], a_scales[r], b_scales[at])
                parts[s] = value if cut.single else select(is_first, value, parts[s] + value)

    return add_block


def _storing(grid: Grid) -> Callable[..., None]:
    """Return what writes the totals of a lane to images."""
    rows, columns = grid.rows * QUAD, grid.columns * QUAD

    def store(out: Any, totals: Any, row: Any, column: Any, m: Any, n: Any, each: Any) -> None:
        for j in static_range(columns):
            c = _column_of(grid, column, j)
            if c < n:
                at = c // each * m * each + c % each
                for i in static_range(rows):
                    if _row_of(grid, row, i) < m:
                        out[at + _row_of(grid, row, i) * each] = totals[i * columns + j]

    return store


def _locating_windows(slab: Slab) -> Callable[..., None]:
    """Return what finds where a lane reads the gradient of windows: for one place of a window."""

    def locate(starts: Any, lane: Any, first: Any, n: Any, step: Any, place: Any, shape: Any) -> None:
        for t in static_range(slab.turns):
            i, k = slab.piece(lane + t * slab.lanes)
            for c in static_range(QUAD):
                starts[t * QUAD + c] = k * step + _there(_window_of(min(first + i + c, n - 1), place, shape))

    return locate


def _walking(cut: GradientCut, arithmetic: ProductTypes, total: DType) -> Callable[..., None]:
    """Return what computes a group's tile, whose blocks add up to numbers of type ``total``."""
    grid, accumulator = cut.grid, arithmetic.accumulator
    lanes, depth, rows, columns = grid.lanes, grid.depth, grid.rows * QUAD, grid.columns * QUAD
    a_slab = Slab(grid.height, depth, lanes, by_k=False, whole=cut.whole)
    b_slab = Slab(grid.width, depth, lanes, by_k=False, whole=False)
    locate_a, read_a, lay_a = reader_of(a_slab, arithmetic)
    _, read_b, lay_b = reader_of(b_slab, arithmetic)
    add_slab, held = summing(grid, a_slab.pitch, b_slab.pitch, accumulator), accumulator.vector(QUAD)
    locate_b, add_block, store = _locating_windows(b_slab), _adding(cut), _storing(grid)

    def walk(
        a: Any, b: Any, a_scales: Any, b_scales: Any, out: Any, m: Any, n: Any, k: Any, places: Any, count: Any,
        each: Any, shape: Any,
    ) -> None:  # fmt: skip
        lane, first_row, first_column = local_id(), group_id(1) * grid.height, group_id(0) * grid.width
        a_tile, b_tile = shared(held, a_slab.quads * 2), shared(held, b_slab.quads * 2)
        a_starts, b_starts = private(u32, a_slab.turns * a_slab.loads), private(u32, b_slab.turns * b_slab.loads)
        a_held, b_held = private(accumulator, a_slab.turns * QUAD), private(accumulator, b_slab.turns * QUAD)
        ty, tx = place_of(grid, lane)
        row, column = first_row + ty * QUAD, first_column + tx * QUAD
        sums, windows = private(accumulator, rows * columns), private(u32, columns)
        parts, totals = private(total, rows * columns), private(total, rows * columns)
        stage = u32(0)
        for s in static_range(rows * columns):
            totals[s] = total(0)
        for place in range(places):
            locate_a(a_starts, lane, place * m, first_row, m, places * m)
            locate_b(b_starts, lane, first_column, n, count, place, shape)
            read_a(a, a_held, a_starts, lane, places * m, u32(0), k)
            read_b(b, b_held, b_starts, lane, count, u32(0), k)
            lay_a(a_tile, a_held, lane, stage * a_slab.quads)
            lay_b(b_tile, b_held, lane, stage * b_slab.quads)
            barrier()
            for j in static_range(columns):
                windows[j] = _window_of(min(_column_of(grid, column, j), n - 1), place, shape)
            for block in range(0, k, BLOCK):
                for s in static_range(rows * columns):
                    sums[s] = accumulator(0)
                for slab in range(block, block + min(k - block, BLOCK), depth):
                    read_a(a, a_held, a_starts, lane, places * m, slab + depth, k)
                    read_b(b, b_held, b_starts, lane, count, slab + depth, k)
                    add_slab(a_tile, b_tile, sums, stage * a_slab.quads + ty, stage * b_slab.quads + tx)
                    stage = 1 - stage
                    lay_a(a_tile, a_held, lane, stage * a_slab.quads)
                    lay_b(b_tile, b_held, lane, stage * b_slab.quads)
                    barrier()
                number = block // BLOCK
                a_at, b_at = (number * places + place) * m, number * count
                add_block(parts, sums, a_scales, b_scales, a_at, b_at, row, windows, m, block == 0)
            for j in static_range(columns):
                for i in static_range(rows):
                    s = i * columns + j
                    totals[s] = totals[s] + select(windows[j] == _NONE, total(0), parts[s])
        store(out, totals, row, column, m, n, each)

    return walk


@cache
def image_gradient(cut: GradientCut, arithmetic: ProductTypes) -> KernelFunction:
    """Return the kernel that makes ``n`` elements of images of each of ``m`` channels from ``k`` filters.

    ``a`` (k, places, m) are the weights, ``b`` (k, count) the gradient of all windows, ``out`` (images, m, height,
    width). Windows have ``places`` places in lines of ``wide``; there are ``down`` by ``across`` in an image, from
    every ``down_step`` and ``across_step`` on, less the padding (``above``, ``before``). Groups: tiles of n, and of m.
    Of whole numbers k is filled up to whole blocks; scales are those of (block, place, channel) and (block, window).
    """
    element, is_scaled = arithmetic.element, arithmetic.scaled
    a_type: Any = element.vector(QUAD) if cut.whole else element
    scales, total = (In[f32], f32) if is_scaled else (Absent, arithmetic.accumulator)
    walk = _walking(cut, arithmetic, total)

    @kernel(workgroup=cut.grid.lanes, trusted=True)
    def gradient(
        a: In[a_type], a_scales: scales, b: In[element], b_scales: scales, out: Out[total], m: u32, n: u32, k: u32,  # type: ignore[valid-type]
        places: u32, count: u32, height: u32, width: u32, wide: u32, down: u32, across: u32, down_step: u32,
        across_step: u32, above: u32, before: u32,
    ):  # fmt: skip
        shape = (height, width, wide, down, across, down_step, across_step, above, before)
        walk(a, b, a_scales, b_scales, out, m, n, k, places, count, height * width, shape)

    kind = f"_{arithmetic.accumulator}" * is_scaled + "_x12" * arithmetic.short
    gradient.name = f"image_gradient_{'scaled_' * is_scaled}{_name(cut)}_{element}{kind}"
    return gradient


def _name(cut: GradientCut) -> str:
    grid = cut.grid
    shape = f"{grid.height}x{grid.width}x{grid.depth}_{grid.rows}x{grid.columns}"
    return f"{shape}{'_whole' * cut.whole}{'_single' * cut.single}"
