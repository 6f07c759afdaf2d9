"""Records a matrix multiplication of any shape into a chain: which kernels, over which pieces.

Layer: schedules. Patterns and tensors record through ``record_matmul``. Invariant: shapes and ``Caps`` choose the path,
and every path gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from loom.core.caps import Caps
from loom.core.dtype import f32
from loom.core.errors import ShapeError
from loom.kernels.matmul.digits import digits_by_k, digits_by_row, groups_of_digits
from loom.kernels.matmul.direct import FINISH_LANES, STRIP, finish_chunks, multiply_direct, multiply_rows
from loom.kernels.matmul.gather import multiply_gathered
from loom.kernels.matmul.pack import PANELS, pack_columns, pack_rows
from loom.kernels.matmul.scaled import multiply_scaled_slabs, multiply_scaled_tiles
from loom.kernels.matmul.slabs import QUAD
from loom.kernels.matmul.threads import FOLD_LANES, Layout, Slabs, choose_slabs, fold_blocks, multiply_slabs
from loom.kernels.matmul.tiles import BLOCK, CHUNK, Blocking, Tile, choose_blocking, multiply_tiles
from loom.kernels.types import ProductTypes, whole_types
from loom.schedules.recorder import Recorder, store

__all__ = ["Multiplication", "is_better_turned", "record_gathered", "record_matmul"]

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
_PACKED_NBYTES = 1 << 26
"""Packed operands of this size are made at a time, several batches if they fit."""
_MOST_ELEMENTS = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Multiplication:
    """``a`` (m by k) times ``b`` (k by n) for every batch; stored k by m, n by k where transposed.

    ``a_batch`` and ``b_batch`` are the leading dimensions of the operands, broadcast as in numpy.
    """

    m: int
    n: int
    k: int
    types: ProductTypes
    transpose_a: bool = False
    transpose_b: bool = False
    a_batch: tuple[int, ...] = ()
    b_batch: tuple[int, ...] = ()

    @property
    def batch(self) -> tuple[int, ...]:
        """Leading dimensions of the result."""
        return np.broadcast_shapes(self.a_batch, self.b_batch)

    @property
    def batches(self) -> int:
        """Matrices in the result."""
        return math.prod(self.batch)

    def which(self) -> np.ndarray[Any, Any]:
        """Return the matrix of ``a`` for every matrix of the result, then that of ``b``, as u32."""
        found: list[np.ndarray[Any, Any]] = []
        for own in (self.a_batch, self.b_batch):
            numbers = np.arange(math.prod(own), dtype=np.uint32).reshape(own)
            found.append(np.broadcast_to(numbers, self.batch).reshape(-1))
        return np.concatenate(found)

    def joined(self) -> Multiplication:
        """Return the same with the batches of ``a`` as rows of one matrix, if all are multiplied by one ``b``."""
        if self.batches == 1 or math.prod(self.b_batch) != 1 or self.transpose_a:
            return self
        return replace(self, m=self.m * self.batches, a_batch=(), b_batch=())


Allocate = Callable[[int], Any]


def record_matmul(
    chain: Recorder,
    a: Any,
    b: Any,
    out: Any,
    what: Multiplication,
    *,
    allocate: Allocate | None = None,
    schedule: Blocking | Slabs | None = None,
) -> None:
    """Record ``out = a @ b`` over storages of packed row-major matrices.

    No dimension may be 0. ``allocate`` gives scratch memory of some bytes (default: the device's). ``schedule``: a
    Blocking forces a cut with packing, a Slabs the way of GPUs. ShapeError if the partial sums are 2^32 or more.
    """
    what = what.joined()
    recording = _Recording(chain, what, allocate or chain.device.allocate)
    cut = schedule or _choose(chain.device.caps, what)
    if what.types.order_free is not None:
        recording.order_free(a, b, out, schedule)
    elif isinstance(cut, Slabs):
        recording.slabs(a, b, out, cut)
    elif schedule is None and (min(what.m, what.n) <= _NARROW or what.m * what.n * what.k <= _SMALL):
        recording.direct(a, b, out)
    else:
        recording.packed(a, b, out, cut)


def record_gathered(
    chain: Recorder, a: Any, rows_at: np.ndarray[Any, Any], k_at: np.ndarray[Any, Any], b: Any, out: Any,
    what: Multiplication, *, allocate: Allocate | None = None,
) -> bool:  # fmt: skip
    """Record ``out = rows @ b`` where element (row, k) of ``rows`` is ``a[rows_at[row] + k_at[k]]``.

    As ``record_matmul``, for one product of elements that are factors as they lie. False, and nothing recorded, where
    that is no way to read them: on GPUs, and where neighbouring k do not lie side by side.
    """
    cut = _choose(chain.device.caps, what)
    if isinstance(cut, Slabs):
        return False
    unroll = cut.tile.unroll
    runs = k_at.reshape(-1, unroll) if what.k % unroll == 0 else np.empty((0, 1))
    if not runs.size or (np.diff(runs, axis=1) != 1).any():
        return False
    recording = _Recording(chain, what, allocate or chain.device.allocate)
    recording.gathered(a, rows_at, runs[:, 0], b, out, cut)
    return True


def is_better_turned(caps: Caps, what: Multiplication) -> bool:
    """Tell whether the transposed product, whose sums are the same, fills the tiles of a CPU so much better.

    It must be worth a copy of the result, one matrix.
    """
    if math.prod(what.batch) != 1 or what.m * what.n * what.k < _WORTH_TURNING:
        return False
    found: list[int] = []
    for rows, columns in ((what.m, what.n), (what.n, what.m)):
        cut = _choose(caps, replace(what, m=rows, n=columns))
        if isinstance(cut, Slabs):
            return False
        tile = cut.tile
        found.append(-(-rows // tile.rows) * tile.rows * (-(-columns // tile.columns) * tile.columns))
    return 3 * found[1] <= 2 * found[0]


def _choose(caps: Caps, what: Multiplication) -> Blocking | Slabs:
    """Return how a product is cut on a device: in slabs where lanes are threads, else into packed blocks."""
    if caps.threads:
        return choose_slabs(caps, what.types, what.m, what.n, what.k, what.batches)
    return choose_blocking(caps, what.types, what.m, what.n, what.batches)


def _stretch(what: Multiplication, tile: Tile) -> int:
    """Return how many batches are packed at a time."""
    rows, columns = -(-what.m // tile.rows) * tile.rows, -(-what.n // tile.columns) * tile.columns
    nbytes = (rows + columns) * -(-what.k // BLOCK) * what.types.words * what.types.held.nbytes
    return max(1, min(what.batches, _PACKED_NBYTES // nbytes))


class _Recording:
    def __init__(self, chain: Recorder, what: Multiplication, allocate: Allocate) -> None:
        self.chain = chain
        self.what = what
        self.allocate = allocate
        self.chunks = -(-what.k // CHUNK)
        self.which = store(chain, what.which())

    def sums(self, out: Any, batches: int) -> Any:
        """Return where sums of chunks go: the result itself if it is one chunk of the right type."""
        what = self.what
        if self.chunks == 1 and what.types.accumulator == what.types.result:
            return out
        return self.allocate(self.counted(batches * self.chunks) * what.types.accumulator.nbytes)

    def counted(self, parts: int) -> int:
        """Return the elements of so many partial results; ShapeError if they are too many."""
        what = self.what
        size = parts * what.m * what.n
        if size > _MOST_ELEMENTS:
            raise ShapeError(
                "matmul", "too many partial sums", expected="m n (k / 4096) below 2^32",
                got=f"{what.m} x {what.n} x {what.k}",
                remedy="Multiply in parts of rows",
            )  # fmt: skip
        return size

    def fitting(self, size: int) -> int:
        """Return the elements of a copy of an operand; ShapeError if they are too many."""
        if size > _MOST_ELEMENTS:
            raise ShapeError("matmul", "too large an operand", expected="below 2^32 elements",
                             got=f"{size} with k filled up to blocks of {BLOCK}",
                             remedy="Multiply in parts of rows")  # fmt: skip
        return size

    def finish(self, sums: Any, out: Any, first: int, batches: int) -> None:
        if sums is out:
            return
        size, types = self.what.m * self.what.n, self.what.types
        groups = (-(-size // FINISH_LANES), batches)
        self.chain.dispatch(
            finish_chunks(types.accumulator, types.result), [sums, out], [size, self.chunks, first], groups
        )

    # on GPUs

    def slabs(self, a: Any, b: Any, out: Any, cut: Slabs) -> None:
        """Multiply where the elements are, a group for each tile and chunk, or for each tile and block."""
        what, grid = self.what, cut.grid
        arithmetic = replace(what.types, held=what.types.accumulator, pairs=False)
        blocks, size = -(-what.k // BLOCK), what.m * what.n
        sums, split = self.sums(out, what.batches), cut.split and blocks > 1
        parts, target = blocks if split else self.chunks, sums
        if split:
            target = self.allocate(self.counted(what.batches * blocks) * arithmetic.accumulator.nbytes)
        a_step, b_step = what.m if what.transpose_a else what.k, what.k if what.transpose_b else what.n
        params = [what.m, what.n, what.k, a_step, b_step, what.batches, parts, BLOCK if split else CHUNK]
        groups = (-(-what.n // grid.width), -(-what.m // grid.height), what.batches * parts)
        kernel = multiply_slabs(grid, self.layout(), arithmetic)
        self.chain.dispatch(kernel, [a, b, self.which, target], params, groups)
        if split:
            groups = (-(-size // FOLD_LANES), what.batches * self.chunks)
            fold = fold_blocks(arithmetic.accumulator)
            self.chain.dispatch(fold, [target, sums], [size, blocks, self.chunks], groups)
        self.finish(sums, out, 0, what.batches)

    def layout(self) -> Layout:
        """Return how operands lie in memory: vectors are read where each of them begins at a multiple of its size."""
        what = self.what
        a_by_k, b_by_k = not what.transpose_a, what.transpose_b
        is_word, fits = what.types.element.bits == 32, what.n % QUAD == 0
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
        arithmetic = replace(what.types, held=what.types.accumulator, pairs=False)
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

    def packed(self, a: Any, b: Any, out: Any, cut: Blocking) -> None:
        """Pack both operands, several batches at a time, and multiply tiles."""
        what, tile, types = self.what, cut.tile, self.what.types
        stretch = _stretch(what, tile)
        in_place = self.is_read_in_place(tile) and (math.prod(what.a_batch) == 1 or stretch == what.batches)
        sums = self.sums(out, stretch)
        kernel = multiply_tiles(tile, types, in_place=in_place, transposed=in_place and what.transpose_a)
        for first, count, a_packed, b_packed in self.packing(a, b, what, tile, in_place=in_place):
            params, groups = self.of_tiles(what, cut, count, first if sums is out else 0)
            self.chain.dispatch(kernel, [a_packed, b_packed, sums], params, groups)
            self.finish(sums, out, first, count)

    def packing(
        self, a: Any, b: Any, what: Multiplication, tile: Tile, *, in_place: bool = False
    ) -> Iterator[tuple[int, int, Any, Any]]:
        """Pack the operands of a stretch of batches; yield the first of them, how many they are, and both packed."""
        types, blocks = what.types, -(-what.k // BLOCK)
        high, wide = -(-what.m // tile.rows), -(-what.n // tile.columns)
        block_nbytes, stretch = blocks * types.words * types.held.nbytes, _stretch(what, tile)
        single_a, single_b = math.prod(what.a_batch) == 1, math.prod(what.b_batch) == 1
        a_packed = a if in_place else self.allocate(high * tile.rows * block_nbytes * (1 if single_a else stretch))
        b_packed = self.allocate(wide * tile.columns * block_nbytes * (1 if single_b else stretch))
        rows = pack_rows(tile, types, transposed=what.transpose_a)
        columns = pack_columns(tile, types, transposed=what.transpose_b)
        for first in range(0, what.batches, stretch):
            count = min(stretch, what.batches - first)
            if not in_place and (first == 0 or not single_a):
                groups = (high, blocks, 1 if single_a else count)
                self.chain.dispatch(rows, [a, self.which, a_packed], [what.m, what.k, first], groups)
            if first == 0 or not single_b:
                groups = (-(-wide // PANELS), blocks, 1 if single_b else count)
                self.chain.dispatch(columns, [b, self.which, b_packed], [what.n, what.k, what.batches + first], groups)
            yield first, count, a_packed, b_packed

    def of_tiles(
        self, what: Multiplication, cut: Blocking, count: int, first: int
    ) -> tuple[list[int], tuple[int, int, int]]:
        """Return the parameters and groups of a kernel of tiles for ``count`` batches, which go to ``first`` on."""
        high, wide = -(-what.m // cut.tile.rows), -(-what.n // cut.tile.columns)
        steps = [int(math.prod(batch) != 1) for batch in (what.a_batch, what.b_batch)]
        params = [what.m, what.n, what.k, cut.down, cut.across, *steps, self.chunks, first]
        return params, (-(-wide // cut.across), -(-high // cut.down), count * self.chunks)

    # of whole numbers

    def order_free(self, a: Any, b: Any, out: Any, schedule: Blocking | Slabs | None) -> None:
        """Turn both operands into whole numbers and scales, and multiply those."""
        what, precision, caps = self.what, self.what.types.order_free, self.chain.device.caps
        assert precision is not None
        threads = isinstance(schedule or _choose(caps, what), Slabs)
        whole = replace(what, k=-(-what.k // BLOCK) * BLOCK, types=whole_types(precision, threads=threads))
        cut = schedule or _choose(caps, whole)
        left = self.digits(a, what.a_batch, what.m, by_k=not what.transpose_a)
        right = self.digits(b, what.b_batch, what.n, by_k=what.transpose_b)
        sums = self.sums(out, what.batches)
        if isinstance(cut, Slabs):
            self.scaled_slabs(left, right, sums, whole, cut)
        else:
            self.scaled_tiles(left, right, sums, whole, cut)
        self.finish(sums, out, 0, what.batches)

    def digits(self, x: Any, batch: tuple[int, ...], rows: int, *, by_k: bool) -> tuple[Any, Any]:
        """Return the whole numbers of an operand, k filled up to whole blocks, and their scales."""
        what, precision = self.what, self.what.types.order_free
        assert precision is not None
        matrices, blocks = math.prod(batch), -(-what.k // BLOCK)
        size = self.fitting(matrices * rows * blocks * BLOCK)
        held = self.allocate(size * precision.held.nbytes)
        scales = self.allocate(matrices * blocks * rows * f32.nbytes)
        kernel = (digits_by_k if by_k else digits_by_row)(what.types.element, precision)
        groups = groups_of_digits(rows, what.k, matrices, by_k=by_k)
        self.chain.dispatch(kernel, [x, held, scales], [rows, what.k], groups)
        return held, scales

    def scaled_tiles(self, left: Any, right: Any, sums: Any, what: Multiplication, cut: Blocking) -> None:
        """Pack whole numbers, several batches at a time, and multiply tiles of them."""
        kernel = multiply_scaled_tiles(cut.tile, what.types)
        for first, count, a_packed, b_packed in self.packing(left[0], right[0], what, cut.tile):
            params, groups = self.of_tiles(what, cut, count, first * self.chunks)
            buffers = [a_packed, b_packed, left[1], right[1], self.which, sums]
            self.chain.dispatch(kernel, buffers, [*params, first, what.batches], groups)

    def scaled_slabs(self, left: Any, right: Any, sums: Any, what: Multiplication, cut: Slabs) -> None:
        """Multiply whole numbers where they are, a group for each tile and chunk."""
        grid, types = cut.grid, what.types
        is_word, fits = types.element.bits == 32, what.n % QUAD == 0
        layout = Layout(
            not what.transpose_a, what.transpose_b,
            a_whole=is_word and what.transpose_a and what.m % QUAD == 0,
            b_whole=is_word and not what.transpose_b and fits,
            out_whole=fits,
        )  # fmt: skip
        a_step, b_step = what.m if what.transpose_a else what.k, what.k if what.transpose_b else what.n
        params = [what.m, what.n, what.k, a_step, b_step, what.batches, self.chunks, CHUNK]
        groups = (-(-what.n // grid.width), -(-what.m // grid.height), what.batches * self.chunks)
        kernel = multiply_scaled_slabs(grid, layout, types)
        self.chain.dispatch(kernel, [left[0], right[0], left[1], right[1], self.which, sums], params, groups)

    def gathered(self, a: Any, rows_at: Any, k_at: Any, b: Any, out: Any, cut: Blocking) -> None:
        """Pack the right operand and multiply tiles of rows read through tables."""
        what, tile, types = self.what, cut.tile, self.what.types
        high, wide, blocks = -(-what.m // tile.rows), -(-what.n // tile.columns), -(-what.k // BLOCK)
        padded = np.zeros(high * tile.rows, np.int64)
        padded[: what.m] = rows_at
        tables = [store(self.chain, values.astype(np.uint32)) for values in (padded, k_at)]
        b_packed = self.allocate(wide * tile.columns * blocks * types.words * types.held.nbytes)
        sums = self.sums(out, 1)
        columns = pack_columns(tile, types, transposed=what.transpose_b)
        groups = (-(-wide // PANELS), blocks, 1)
        self.chain.dispatch(columns, [b, self.which, b_packed], [what.n, what.k, 1], groups)
        params = [what.m, what.n, what.k, cut.down, cut.across]
        groups = (-(-wide // cut.across), -(-high // cut.down), self.chunks)
        self.chain.dispatch(multiply_gathered(tile, types), [a, *tables, b_packed, sums], params, groups)
        self.finish(sums, out, 0, 1)

    def is_read_in_place(self, tile: Tile) -> bool:
        """Tell whether the left operand is whole tiles of factors as they lie, near enough for a cache."""
        what, types = self.what, self.what.types
        is_factor = types.element == types.held and not types.short
        is_whole = what.m % tile.rows == 0 and what.k % tile.unroll == 0
        follows = what.a_batch == what.batch or math.prod(what.a_batch) == 1
        near = (what.m if what.transpose_a else what.k) * types.held.nbytes <= _NEAR_NBYTES
        return is_factor and is_whole and follows and near
