"""What every way to record a product shares: its shape, its cut, scratch memory, packed operands, the end.

Layer: schedules. Invariant: ``Caps`` and shapes choose the cut, and no cut changes a bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from loom.core.caps import Caps
from loom.core.errors import ShapeError
from loom.core.late.dataclass import dataclass
from loom.kernels.matmul.direct import FINISH_LANES, finish_chunks
from loom.kernels.matmul.grids import Slabs, choose_slabs
from loom.kernels.matmul.pack import PANELS, pack_columns, pack_rows
from loom.kernels.matmul.threads import FOLD_LANES, fold_blocks
from loom.kernels.matmul.tiles import BLOCK, CHUNK, Blocking, Tile, choose_blocking
from loom.kernels.types import ProductTypes
from loom.schedules.recorder import Recorder, store

__all__ = ["Allocate", "Multiplication", "ProductRecording", "choose_cut", "stretch_of"]

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

    def merge_batches(self) -> Multiplication:
        """Return the same with the batches of ``a`` as rows of one matrix, if all are multiplied by one ``b``."""
        if self.batches == 1 or math.prod(self.b_batch) != 1 or self.transpose_a:
            return self
        return replace(self, m=self.m * self.batches, a_batch=(), b_batch=())


Allocate = Callable[[int], Any]


def choose_cut(caps: Caps, what: Multiplication) -> Blocking | Slabs:
    """Return how a product is cut on a device: in slabs where lanes are threads, else into packed blocks."""
    if caps.threads:
        return choose_slabs(caps, what.types, what.m, what.n, what.k, what.batches)
    return choose_blocking(caps, what.types, what.m, what.n, what.batches)


def stretch_of(what: Multiplication, tile: Tile) -> int:
    """Return how many batches are packed at a time."""
    rows, columns = -(-what.m // tile.rows) * tile.rows, -(-what.n // tile.columns) * tile.columns
    nbytes = (rows + columns) * -(-what.k // BLOCK) * what.types.words * what.types.streams * what.types.held.nbytes
    return max(1, min(what.batches, _PACKED_NBYTES // nbytes))


class ProductRecording:
    """One product being recorded: its chain, its shape, its scratch memory."""

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
        return self.allocate(self.partial_size(batches * self.chunks) * what.types.accumulator.nbytes)

    def partial_size(self, parts: int) -> int:
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

    def finish(self, sums: Any, out: Any, first: int, batches: int) -> None:
        if sums is out:
            return
        size, types = self.what.m * self.what.n, self.what.types
        groups = (-(-size // FINISH_LANES), batches)
        self.chain.dispatch(
            finish_chunks(types.accumulator, types.result), [sums, out], [size, self.chunks, first], groups
        )

    # on GPUs

    def by_slabs(self, out: Any, cut: Slabs, multiply: Callable[[Any, int, int, tuple[int, int, int]], None]) -> None:
        """Record a product by slabs: ``multiply(target, parts, span, groups)`` records parts of ``span`` k each.

        Parts are chunks, or blocks that are added up here. The result is then in ``out``.
        """
        what, grid, accumulator = self.what, cut.grid, self.what.types.accumulator
        blocks, size = -(-what.k // BLOCK), what.m * what.n
        sums, split = self.sums(out, what.batches), cut.split and blocks > 1
        parts, target = blocks if split else self.chunks, sums
        if split:
            target = self.allocate(self.partial_size(what.batches * blocks) * accumulator.nbytes)
        groups = (-(-what.n // grid.width), -(-what.m // grid.height), what.batches * parts)
        multiply(target, parts, BLOCK if split else CHUNK, groups)
        if split:
            folded = (-(-size // FOLD_LANES), what.batches * self.chunks)
            self.chain.dispatch(fold_blocks(accumulator), [target, sums], [size, blocks, self.chunks], folded)
        self.finish(sums, out, 0, what.batches)

    # with packing

    def packing(
        self, a: Any, b: Any, what: Multiplication, tile: Tile, *, in_place: bool = False
    ) -> Iterator[tuple[int, int, Any, Any]]:
        """Pack the operands of a stretch of batches; yield the first of them, how many they are, and both packed."""
        types, blocks = what.types, -(-what.k // BLOCK)
        high, wide = -(-what.m // tile.rows), -(-what.n // tile.columns)
        block_nbytes, stretch = blocks * types.words * types.streams * types.held.nbytes, stretch_of(what, tile)
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
