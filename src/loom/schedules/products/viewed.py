"""Records products of operands that are views, such as the windows of images, never copied as a whole.

Layer: schedules. On CPUs stretches of them are packed, on GPUs slabs are read where they lie (``implicit``).
Invariant: the bits are those of ``record_matmul`` of the copied operands; what is packed at a time is bounded, whatever
the operands' size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from loom.core.dtype import f32
from loom.core.late.dataclass import dataclass
from loom.kernels.matmul.direct import FINISH_LANES, finish_chunks
from loom.kernels.matmul.pack import PANELS, pack_columns, pack_rows
from loom.kernels.matmul.packed import multiply_tiles
from loom.kernels.matmul.tiles import BLOCK, CHUNK, Blocking, choose_blocking
from loom.kernels.matmul.views import (
    DIGIT_ROWS,
    digits_of_view,
    pack_view_columns,
    pack_view_rows,
)
from loom.kernels.precisions import Precision
from loom.kernels.types import whole_types
from loom.schedules.maps import THREADS, lanes_of
from loom.schedules.matmul import Multiplication
from loom.schedules.products.implicit import record_viewed_slabs
from loom.schedules.products.views import OperandView
from loom.schedules.recorder import Recorder, store

__all__ = ["record_viewed"]

_PACKED_NBYTES = 1 << 21
"""Of columns that are packed at a time: near the workers when these multiply them."""
_MOST_SUMS = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class _Stretch:
    """``count`` rows or columns from ``first`` on, ``depth`` k from ``begin`` on."""

    first: int
    count: int
    begin: int
    depth: int

    @property
    def blocks(self) -> int:
        return -(-self.depth // BLOCK)


def record_viewed(chain: Recorder, a: OperandView, b: OperandView, out: Any, what: Multiplication) -> bool:
    """Record ``out = a @ b`` for one product of views.

    False, and nothing recorded, where that is no way to read them: on CPUs for integers and types of storage, and for
    partial sums of 2^32 elements or more.
    """
    types, chunks = what.types, -(-what.k // CHUNK)
    if chunks * what.m * what.n > _MOST_SUMS:
        return False
    if lanes_of(chain.device.caps) == THREADS:
        record_viewed_slabs(chain, a, b, out, what)
        return True
    if not types.element.is_float or types.element.storage_only:
        return False
    recording = _ViewedProduct(chain, what, _tables(chain, a), _tables(chain, b))
    size, is_sum = what.m * what.n, chunks > 1 or types.accumulator != types.result
    sums = chain.device.allocate(chunks * size * types.accumulator.nbytes) if is_sum else out
    recording.record(sums)
    if is_sum:
        kernel = finish_chunks(types.accumulator, types.result)
        chain.dispatch(kernel, [sums, out], [size, chunks, 0], (-(-size // FINISH_LANES), 1))
    return True


def _tables(chain: Recorder, view: OperandView) -> list[Any]:
    return [view.buffer, *(store(chain, table.astype(np.uint32)) for table in (view.places, view.depths))]


class _ViewedProduct:
    def __init__(self, chain: Recorder, what: Multiplication, a: list[Any], b: list[Any]) -> None:
        self.chain, self.what, self.a, self.b = chain, what, a, b
        self.precision = what.types.order_free
        caps = chain.device.caps
        types = what.types
        if self.precision is not None:
            types = whole_types(self.precision, threads=False, dots=caps.dots)
        self.types = types
        self.held_nbytes = -(-types.held.nbytes * types.streams // types.factors)
        tile = choose_blocking(caps, types, what.m, what.n, 1).tile
        self.tall = what.m > what.n
        self.depth, size = self.stretch(*((what.m, tile.rows) if self.tall else (what.n, tile.columns)))
        self.height, self.width = (size, what.n) if self.tall else (what.m, size)
        self.cut: Blocking = choose_blocking(caps, types, self.height, self.width, 1)

    def stretch(self, size: int, least: int) -> tuple[int, int]:
        """Return the k and the rows or columns, of so many, that are packed at a time: whole chunks, whole tiles."""
        k = self.what.k
        one = min(k, CHUNK)
        part = max(least, _PACKED_NBYTES // (one * self.held_nbytes) // least * least)
        if part < size:
            return one, part
        whole = -(-size // least) * least
        return min(k, max(1, _PACKED_NBYTES // (CHUNK * self.held_nbytes * whole)) * CHUNK), whole

    def parts(self, size: int, step: int) -> Iterator[tuple[int, int]]:
        """Yield where each part of so many begins, and its size."""
        for first in range(0, size, step):
            yield first, min(step, size - first)

    def record(self, sums: Any) -> None:
        """Pack the shorter operand for each stretch of k, the other part by part; multiply them."""
        what, tile = self.what, self.cut.tile
        rooms = self.room(min(what.m, self.height), tile.rows), self.room(min(what.n, self.width), tile.columns)
        for begin, depth in self.parts(what.k, self.depth):
            if self.tall:
                right = self.pack(self.b, _Stretch(0, what.n, begin, depth), rooms[1], is_left=False)
                for first, count in self.parts(what.m, self.height):
                    rows = _Stretch(first, count, begin, depth)
                    left = self.pack(self.a, rows, rooms[0], is_left=True)
                    self.multiply(left, right, rows, _Stretch(0, what.n, begin, depth), sums)
            else:
                left = self.pack(self.a, _Stretch(0, what.m, begin, depth), rooms[0], is_left=True)
                for first, count in self.parts(what.n, self.width):
                    columns = _Stretch(first, count, begin, depth)
                    right = self.pack(self.b, columns, rooms[1], is_left=False)
                    self.multiply(left, right, _Stretch(0, what.m, begin, depth), columns, sums)

    def multiply(self, left: list[Any], right: list[Any], rows: _Stretch, columns: _Stretch, sums: Any) -> None:
        """Record the product of packed stretches."""
        what, cut, precision = self.what, self.cut, self.precision
        whole = rows.depth if precision is None else rows.blocks * BLOCK
        params = [
            rows.count, columns.count, whole, cut.down, cut.across, what.m, rows.first, what.n, columns.first,
            rows.begin // CHUNK,
        ]  # fmt: skip
        high, wide = -(-rows.count // cut.tile.rows), -(-columns.count // cut.tile.columns)
        groups = (-(-wide // cut.across), -(-high // cut.down), -(-rows.depth // CHUNK))
        kernel = multiply_tiles(cut.tile, self.types, stretch=True)
        scales = [] if precision is None else [left[1], right[1]]
        self.chain.dispatch(kernel, [left[0], right[0], *scales, sums], params, groups)

    def room(self, count: int, step: int) -> list[Any]:
        """Return memory for a packed stretch; of whole numbers also for these as they are made, and for scales."""
        blocks, allocate = -(-min(self.depth, self.what.k) // BLOCK), self.chain.device.allocate
        types, precision = self.types, self.precision
        packed = allocate(-(-count // step) * step * blocks * types.words * types.streams * types.held.nbytes)
        if precision is None:
            return [packed]
        return [packed, allocate(count * blocks * f32.nbytes), allocate(count * blocks * BLOCK * precision.held.nbytes)]

    def pack(self, view: list[Any], part: _Stretch, room: list[Any], *, is_left: bool) -> list[Any]:
        """Record the packing of a part of a view; return it, and its scales if it is of whole numbers."""
        tile = self.cut.tile
        tiles = -(-part.count // (tile.rows if is_left else tile.columns))
        if self.precision is not None:
            self.digits(view, part, room, self.precision)
            which = store(self.chain, np.zeros(1, np.uint32))
            kernel = (pack_rows if is_left else pack_columns)(tile, self.types, transposed=is_left)
            groups = (tiles if is_left else -(-tiles // PANELS), part.blocks, 1)
            self.chain.dispatch(kernel, [room[2], which, room[0]], [part.count, part.blocks * BLOCK, 0], groups)
            return room[:2]
        kernel = (pack_view_rows if is_left else pack_view_columns)(tile, self.types)
        self.chain.dispatch(kernel, [*view, room[0]], [part.count, part.depth, part.first, part.begin],
                            (tiles, part.blocks, 1))  # fmt: skip
        return room

    def digits(self, view: list[Any], part: _Stretch, room: list[Any], precision: Precision) -> None:
        """Record the whole numbers and scales of a part of a view."""
        params = [part.count, part.depth, part.first, part.begin]
        groups = (-(-part.count // DIGIT_ROWS), part.blocks, 1)
        self.chain.dispatch(digits_of_view(precision), [*view, room[2], room[1]], params, groups)
