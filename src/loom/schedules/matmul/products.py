"""Records a matrix multiplication of any shape into a chain: which kernels, over which pieces.

Layer: schedules. Patterns and tensors record through ``record_matmul``. Invariant: shapes and ``Caps`` choose the path,
and every path gives the same bits.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from loom.core.caps import Caps
from loom.core.dtype import DType, f32, i8, i32, u32
from loom.kernels.matmul.direct import (
    MOST_ABREAST,
    STRIP,
    THIN_COLUMNS,
    multiply_direct,
    multiply_rows,
    multiply_thin,
)
from loom.kernels.matmul.far import FACTORS_EACH, FAR_GROUPS, FAR_WORDS, find_any_far, find_far, make_factors
from loom.kernels.matmul.grids import Layout, Slabs
from loom.kernels.matmul.pack import FACTORS, FOUR_LANES, PANELS, pack_columns, pack_fours
from loom.kernels.matmul.packed import Left, multiply_tiles
from loom.kernels.matmul.slabs import QUAD
from loom.kernels.matmul.threads import multiply_slabs
from loom.kernels.matmul.tiles import BLOCK, CHUNK, Blocking, Tile, choose_blocking
from loom.kernels.matmul.units import Patch
from loom.kernels.types import product_types
from loom.schedules.maps import THREADS, lanes_of
from loom.schedules.matmul.order_free import OrderFreeRecording
from loom.schedules.matmul.recording import Allocate, Multiplication, ProductRecording, choose_cut, stretch_of
from loom.schedules.recorder import Recorder, store

__all__ = ["is_better_turned", "reads_both_ways", "record_gathered", "record_matmul"]

_SMALL = 128**3
"""Products per batch up to which packing costs more than it saves."""
_NARROW = 4
"""Rows or columns up to which memory is the limit and nothing is packed."""
_WORTH_TURNING = 32**3
"""Products from which a copy of the result costs less than it saves."""
_LEAST_LANES = 4
"""Lanes to which vectors are halved where rows are no multiple of them."""
_LEAST_VECTORS = 4
"""Vectors of columns that a group takes at least: whole cache lines, several sums side by side."""
_NEAR_NBYTES = 1 << 12
"""Rows this long are read where they are: of longer ones too many fall on the same place of a cache."""
_LEAST_MADE = 64
"""Rows and columns from which factors are made before they are multiplied."""
_MOST_LOOKED_AT = 1 << 31
"""Elements of an operand up to which it is looked through for factors of which no product is rounded."""


def record_matmul(
    chain: Recorder,
    a: Any,
    b: Any,
    out: Any,
    what: Multiplication,
    *,
    schedule: Blocking | Slabs | Patch | None = None,
) -> None:
    """Record ``out = a @ b`` over storages of packed row-major matrices.

    No dimension may be 0. ``schedule``: a Blocking forces a cut with packing, a Slabs the way of GPUs, a Patch (of
    order-free products) that of units for tiles of bytes. ShapeError if the partial sums are 2^32 or more.
    """
    what, allocate = _with_dots(chain.device.caps, what.merge_batches()), chain.device.allocate
    if what.types.order_free is not None:
        OrderFreeRecording(chain, what, allocate).record(a, b, out, schedule)
        return
    assert not isinstance(schedule, Patch), "a way of order-free products"
    recording = _Recording(chain, what, allocate)
    cut = schedule or choose_cut(chain.device.caps, what)
    if isinstance(cut, Slabs) and schedule is None and _is_thin(what):
        recording.thin(a, b, out)
    elif isinstance(cut, Slabs):
        recording.slabs(a, b, out, cut)
    elif schedule is None and (min(what.m, what.n) <= _NARROW or what.m * what.n * what.k <= _SMALL):
        recording.direct(a, b, out)
    else:
        recording.multiply_packed(a, b, out, cut)


def _is_thin(what: Multiplication) -> bool:
    """Tell whether a product is few rows by a matrix whose columns are neighbours in memory: it is all reading."""
    return what.m <= _NARROW and what.n >= THIN_COLUMNS and not what.transpose_b


def _with_dots(caps: Caps, what: Multiplication) -> Multiplication:
    """Return the same with four factors in a word, where one instruction multiplies them."""
    if not caps.dots or not what.types.pairs or what.types.element != i8:
        return what
    return replace(what, types=replace(what.types, dots=caps.dots))


def record_gathered(
    chain: Recorder, a: Any, rows_at: np.ndarray[Any, Any], k_at: np.ndarray[Any, Any], b: Any, out: Any,
    what: Multiplication, *, allocate: Allocate | None = None,
) -> bool:  # fmt: skip
    """Record ``out = rows @ b`` where element (row, k) of ``rows`` is ``a[rows_at[row] + k_at[k]]``.

    As ``record_matmul``, for one product of elements that are factors as they lie. False, and nothing recorded, where
    that is no way to read them: on GPUs, and where neighbouring k do not lie side by side.
    """
    cut = choose_cut(chain.device.caps, what)
    if isinstance(cut, Slabs):
        return False
    unroll = cut.tile.unroll
    runs = k_at.reshape(-1, unroll) if what.k % unroll == 0 else np.empty((0, 1))
    if not runs.size or (np.diff(runs, axis=1) != 1).any():
        return False
    recording = _Recording(chain, what, allocate or chain.device.allocate)
    recording.multiply_gathered(a, rows_at, runs[:, 0], b, out, cut)
    return True


def reads_both_ways(caps: Caps) -> bool:
    """Tell whether to read an operand by rows or by columns is nearer the same than to copy it for that."""
    return lanes_of(caps) == THREADS


def is_better_turned(caps: Caps, what: Multiplication) -> bool:
    """Tell whether the transposed product, whose sums are the same, fills the tiles of a CPU so much better.

    It must be worth a copy of the result, one matrix.
    """
    if math.prod(what.batch) != 1 or what.m * what.n * what.k < _WORTH_TURNING:
        return False
    found: list[int] = []
    for rows, columns in ((what.m, what.n), (what.n, what.m)):
        cut = choose_cut(caps, replace(what, m=rows, n=columns))
        if isinstance(cut, Slabs):
            return False
        tile = cut.tile
        found.append(-(-rows // tile.rows) * tile.rows * (-(-columns // tile.columns) * tile.columns))
    return 3 * found[1] <= 2 * found[0]


class _Recording(ProductRecording):
    """A product whose sums are added in their order, or of integers."""

    # on GPUs

    def slabs(self, a: Any, b: Any, out: Any, cut: Slabs) -> None:
        """Multiply where the elements are, a group for each tile and chunk, or for each tile and block."""
        what, is_small = self.what, self.what.m * self.what.n * self.what.k <= _SMALL
        if self.is_worth_factors():
            self.exact_slabs(a, b, out, cut)
            return
        arithmetic = replace(what.types, held=what.types.accumulator, pairs=False)
        if is_small or min(what.m, what.n) <= _NARROW:
            arithmetic = replace(arithmetic, dots="")  # operands are copied into words first
        if arithmetic.dots:
            arithmetic = replace(arithmetic, element=i32)
            a = self.fours(a, what.a_batch, what.m, by_k=not what.transpose_a)
            b = self.fours(b, what.b_batch, what.n, by_k=what.transpose_b)
        k, factors = -(-what.k // arithmetic.factors), arithmetic.factors
        a_step, b_step = what.m if what.transpose_a else k, k if what.transpose_b else what.n
        kernel = multiply_slabs(cut.grid, self.layout(arithmetic.element), arithmetic)

        def multiply(target: Any, parts: int, span: int, groups: tuple[int, int, int]) -> None:
            params = [what.m, what.n, k, a_step, b_step, what.batches, parts, span // factors]
            self.chain.dispatch(kernel, [a, b, self.which, target], params, groups)

        self.by_slabs(out, cut, multiply)

    def is_worth_factors(self) -> bool:
        """Tell whether operands are made factors first, of which products are fused if all of them are exact."""
        what, types = self.what, self.what.types
        is_short = types.short or types.element.storage_only
        if not (is_short and self.chain.device.caps.fused and types.accumulator == f32):
            return False
        return max(self.sizes()) < _MOST_LOOKED_AT and min(what.m, what.n) > _LEAST_MADE and what.k > BLOCK

    def exact_slabs(self, a: Any, b: Any, out: Any, cut: Slabs) -> None:
        """Make factors of both operands, look whether all products are exact, and multiply."""
        what, types, sizes = self.what, self.what.types, self.sizes()
        parts = [-(-size // FACTORS_EACH) for size in sizes]
        words, far = self.allocate(sum(parts) * u32.nbytes), self.allocate(u32.nbytes)
        made = [self.allocate(size * f32.nbytes) for size in sizes]
        for n, (x, factors) in enumerate(zip((a, b), made, strict=True)):
            params = [sizes[n], parts[0] * n]
            self.chain.dispatch(make_factors(types), [x, factors, words], params, (parts[n], 1, 1))
        self.chain.dispatch(find_any_far(), [words, far], [sum(parts)], (1, 1, 1))
        kernel = multiply_slabs(cut.grid, self.layout(f32), product_types(f32, f32), looks=True)
        a_step, b_step = what.m if what.transpose_a else what.k, what.k if what.transpose_b else what.n

        def multiply(target: Any, parts: int, span: int, groups: tuple[int, int, int]) -> None:
            params = [what.m, what.n, what.k, a_step, b_step, what.batches, parts, span]
            self.chain.dispatch(kernel, [*made, self.which, far, target], params, groups)

        self.by_slabs(out, cut, multiply)

    def sizes(self) -> list[int]:
        """Return the elements of both operands."""
        what = self.what
        return [math.prod(batch) * n * what.k for batch, n in ((what.a_batch, what.m), (what.b_batch, what.n))]

    def thin(self, a: Any, b: Any, out: Any) -> None:
        """Multiply few rows where the elements are, the blocks of a chunk side by side."""
        what = self.what
        arithmetic = replace(what.types, held=what.types.accumulator, pairs=False, dots="")
        most = min(MOST_ABREAST, self.chain.device.caps.max_workgroup_lanes // THIN_COLUMNS)
        kernel = multiply_thin(what.m, min(most, -(-min(what.k, CHUNK) // BLOCK)), arithmetic)
        sums, strides = self.sums(out, what.batches), [1, what.m] if what.transpose_a else [what.k, 1]
        groups = (-(-what.n // THIN_COLUMNS), what.batches * self.chunks)
        self.chain.dispatch(
            kernel, [a, b, self.which, sums], [what.n, what.k, *strides, what.batches, self.chunks], groups
        )  # fmt: skip
        self.finish(sums, out, 0, what.batches)

    def fours(self, x: Any, batch: tuple[int, ...], rows: int, *, by_k: bool) -> Any:
        """Return an operand of bytes as words of four neighbours along k."""
        k, matrices = self.what.k, math.prod(batch)
        if by_k and k % FACTORS == 0:
            return x
        words = -(-k // FACTORS)
        held = self.allocate(matrices * rows * words * i32.nbytes)
        groups = (-(-words // FOUR_LANES), rows, matrices) if by_k else (-(-rows // FOUR_LANES), words, matrices)
        self.chain.dispatch(pack_fours(by_k=by_k), [x, held], [rows, k], groups)
        return held

    def layout(self, element: DType) -> Layout:
        """Return how operands lie in memory: vectors are read where each of them begins at a multiple of its size."""
        what = self.what
        a_by_k, b_by_k = not what.transpose_a, what.transpose_b
        is_word, fits = element.bits == 32, what.n % QUAD == 0
        return Layout(
            a_by_k, b_by_k,
            a_whole=is_word and not a_by_k and what.m % QUAD == 0,
            b_whole=is_word and not b_by_k and fits,
            out_whole=what.types.accumulator.bits == 32 and fits,
        )  # fmt: skip

    # without packing

    def direct(self, a: Any, b: Any, out: Any) -> None:
        """Multiply where the elements are; few columns are taken for rows of the transposed product."""
        what = self.what
        swapped = what.n <= _NARROW < what.m or (what.n < what.m <= _NARROW)
        m, n, k = (what.n, what.m, what.k) if swapped else (what.m, what.n, what.k)
        arithmetic = replace(what.types, held=what.types.accumulator, pairs=False, dots="")
        if swapped:
            a, b = b, a
            by_rows, transposed = what.transpose_b, not what.transpose_a
            which = np.roll(what.which(), what.batches)
            self.which.write(0, which.view(np.uint8))
        else:
            by_rows, transposed = not what.transpose_a, what.transpose_b
        sums = self.sums(out, what.batches)
        tile = choose_blocking(self.chain.device.caps, what.types, m, n, what.batches).tile
        tile = replace(tile, lanes=min(tile.lanes, 1 << (n.bit_length() - 1)))
        strides = [k, 1] if by_rows else [1, m]
        if m <= _NARROW and not transposed:
            half = tile.lanes // 2  # so that no vector lies across two lines of cache
            lanes = half if half >= _LEAST_LANES and n % tile.lanes == half else tile.lanes
            kernel: Any = multiply_rows(m, lanes, arithmetic, swapped=swapped)
            width = self.width(n, lanes)
            params = [n, k, *strides, what.batches, self.chunks, width]
            groups = (-(-n // width), what.batches * self.chunks)
        else:
            if m <= _NARROW:
                tile = replace(tile, rows=m, vectors=1)
            kernel = multiply_direct(tile, arithmetic, transposed=transposed, swapped=swapped)
            params = [m, n, k, *strides, what.batches, self.chunks]
            groups = (-(-n // tile.columns), -(-m // tile.rows), what.batches * self.chunks)
        self.chain.dispatch(kernel, [a, b, self.which, sums], params, groups)
        self.finish(sums, out, 0, what.batches)

    def width(self, n: int, lanes: int) -> int:
        """Return the columns of a group of ``multiply_rows``: few enough that every worker has some."""
        parts = -(-self.chain.device.caps.workers // (self.what.batches * self.chunks))
        vectors = -(-n // lanes)
        return min(STRIP, max(_LEAST_VECTORS, -(-vectors // parts)) * lanes)

    # with packing

    def multiply_packed(self, a: Any, b: Any, out: Any, cut: Blocking) -> None:
        """Pack both operands, several batches at a time, and multiply tiles."""
        what, tile, types = self.what, cut.tile, self.what.types
        stretch = stretch_of(what, tile)
        in_place = self.is_read_in_place(tile) and (math.prod(what.a_batch) == 1 or stretch == what.batches)
        sums = self.sums(out, stretch)
        left: Left = "packed" if not in_place else "columns" if what.transpose_a else "rows"
        known: list[Any] = []
        sizes = self.sizes()
        if types.short and self.chain.device.caps.fused and max(sizes) < _MOST_LOOKED_AT:
            left, known = "far", [self.far((a, b), sizes)]
        for first, count, a_packed, b_packed in self.packing(a, b, what, tile, in_place=in_place):
            params, groups = self.of_tiles(what, cut, count, first if sums is out else 0)
            self.chain.dispatch(multiply_tiles(tile, types, left), [a_packed, b_packed, *known, sums], params, groups)
            self.finish(sums, out, first, count)

    def far(self, operands: tuple[Any, Any], sizes: list[int]) -> Any:
        """Return what tells whether a factor of either operand is so large or small that products are rounded."""
        far = self.allocate(2 * FAR_WORDS * u32.nbytes)
        for n, (x, size) in enumerate(zip(operands, sizes, strict=True)):
            self.chain.dispatch(find_far(), [x, far], [size, n * FAR_WORDS], (FAR_GROUPS, 1, 1))
        return far

    # through tables

    def multiply_gathered(self, a: Any, rows_at: Any, k_at: Any, b: Any, out: Any, cut: Blocking) -> None:
        """Pack the right operand and multiply tiles of rows read through tables."""
        what, tile, types = self.what, cut.tile, self.what.types
        high, wide, blocks = -(-what.m // tile.rows), -(-what.n // tile.columns), -(-what.k // BLOCK)
        padded = np.zeros(high * tile.rows, np.int64)
        padded[: what.m] = rows_at
        tables = [store(self.chain, values.astype(np.uint32)) for values in (padded, k_at)]
        b_packed = self.allocate(wide * tile.columns * blocks * types.words * types.streams * types.held.nbytes)
        sums = self.sums(out, 1)
        columns = pack_columns(tile, types, transposed=what.transpose_b)
        groups = (-(-wide // PANELS), blocks, 1)
        self.chain.dispatch(columns, [b, self.which, b_packed], [what.n, what.k, 1], groups)
        params = [what.m, what.n, what.k, cut.down, cut.across]
        groups = (-(-wide // cut.across), -(-high // cut.down), self.chunks)
        self.chain.dispatch(multiply_tiles(tile, types, "gathered"), [a, *tables, b_packed, sums], params, groups)
        self.finish(sums, out, 0, 1)

    def is_read_in_place(self, tile: Tile) -> bool:
        """Tell whether the left operand is whole tiles of factors as they lie, near enough for a cache."""
        what, types = self.what, self.what.types
        is_factor = types.element == types.held and not types.short
        is_whole = what.m % tile.rows == 0 and what.k % tile.unroll == 0
        follows = what.a_batch == what.batch or math.prod(what.a_batch) == 1
        near = (what.m if what.transpose_a else what.k) * types.held.nbytes <= _NEAR_NBYTES
        return is_factor and is_whole and follows and near
