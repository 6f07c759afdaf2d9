"""Matrix multiplication for GPUs: how the lanes of a group bring slabs of both operands into shared memory.

Layer: kernels. A slab is ``depth`` k of the rows (or columns) of a group's tile. It lies in shared memory k by k,
four neighbours in one vector. An operand that is a view, such as the windows of images, is read by two tables: element
(i, k) is at ``places[i] + depths[k]``. Invariant: a row or column outside stands for the last one, and is never kept; a
k outside is +0 in both operands, which adds +0 to a sum that is never -0.

Source of views: Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning" (2014), the implicit product of
section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom.core.dtype import f32, i32, u32
from loom.core.late.dataclass import dataclass
from loom.ir.frontend.intrinsics import bitcast, select, static_range
from loom.kernels.matmul.digits import INFINITE, inverse_of, rounding_of
from loom.kernels.matmul.pack import factor_of
from loom.kernels.matmul.tiles import BLOCK
from loom.kernels.precisions import Precision
from loom.kernels.types import ProductTypes

__all__ = ["QUAD", "Slab", "reader_of", "viewing_reader_of"]

QUAD = 4
"""Elements of a vector."""


@dataclass(frozen=True, slots=True)
class Slab:
    """``width`` rows or columns by ``depth`` k, brought by ``lanes`` lanes in pieces of four neighbours of one k.

    ``by_k``: elements of neighbouring k are neighbours in memory, and lanes side by side read these. ``whole``: they
    are not, and a piece is one vector in memory, since every k begins at one. ``viewed``: it is read by tables.
    """

    width: int
    depth: int
    lanes: int
    by_k: bool
    whole: bool
    viewed: bool = False

    @property
    def pitch(self) -> int:
        """Vectors between two k in shared memory; one more where lanes lay down a column of them."""
        return self.width // QUAD + self.by_k

    @property
    def quads(self) -> int:
        """Vectors of shared memory."""
        return self.pitch * self.depth

    @property
    def pieces(self) -> int:
        """Pieces of a slab."""
        return self.width // QUAD * self.depth

    @property
    def turns(self) -> int:
        """Pieces of a lane."""
        return -(-self.pieces // self.lanes)

    @property
    def loads(self) -> int:
        """Places in memory that a piece is read from."""
        return 1 if self.whole else QUAD

    def piece(self, number: Any) -> tuple[Any, Any]:
        """Return the first row (or column) and the k of a piece, a number on the host or in a kernel."""
        if self.by_k:
            return number // self.depth * QUAD, number % self.depth
        return number % (self.width // QUAD) * QUAD, number // (self.width // QUAD)


_Inlined = Callable[..., None]


def reader_of(slab: Slab, arithmetic: ProductTypes) -> tuple[_Inlined, _Inlined, _Inlined]:
    """Return what finds a lane's places in memory, what reads its pieces of a slab, and what lays them down.

    ``locate(starts, lane, base, first, count, step)``: element (i, k) is at base + i step + k, or base + k step + i.
    ``read(x, held, starts, lane, step, k, end)`` reads k from k on, up to ``end``. ``lay(shared, held, lane, at)``.
    """
    return _locating(slab), _reading(slab, arithmetic), _laying(slab, arithmetic)


def viewing_reader_of(
    slab: Slab, arithmetic: ProductTypes, precision: Precision | None
) -> tuple[_Inlined, _Inlined, _Inlined]:
    """Return the same for operands that are views or not.

    ``locate(starts, table, lane, base, first, count, step)``; ``read(x, table, scales, held, starts, lane, first,
    count, step, k, end)``: of a view in an order-free ``precision`` the whole numbers, by its ``scales`` of (block, i).
    A view's ``table`` has its ``count`` places, then its depths.
    """
    if slab.viewed:
        return _locating_views(slab), _reading_views(slab, arithmetic, precision), _laying(slab, arithmetic)
    locate_plain, read_plain, lay = reader_of(slab, arithmetic)

    def locate(starts: Any, _table: Any, lane: Any, base: Any, first: Any, count: Any, step: Any) -> None:
        locate_plain(starts, lane, base, first, count, step)

    def read(
        x: Any, _table: Any, _scales: Any, held: Any, starts: Any, lane: Any, _first: Any, _count: Any, step: Any,
        k: Any, end: Any,
    ) -> None:  # fmt: skip
        read_plain(x, held, starts, lane, step, k, end)

    return locate, read, lay


def _locating(slab: Slab) -> _Inlined:
    def locate(starts: Any, lane: Any, base: Any, first: Any, count: Any, step: Any) -> None:
        for t in static_range(slab.turns):
            i, k = slab.piece(lane + t * slab.lanes)
            for c in static_range(slab.loads):
                if slab.by_k:
                    starts[t * QUAD + c] = base + min(first + i + c, count - 1) * step + k
                elif slab.whole:
                    starts[t] = (base + k * step + min(first + i, count - QUAD)) // QUAD
                else:
                    starts[t * QUAD + c] = base + k * step + min(first + i + c, count - 1)

    return locate


def _locating_views(slab: Slab) -> _Inlined:
    def locate(starts: Any, table: Any, lane: Any, _base: Any, first: Any, count: Any, _step: Any) -> None:
        for t in static_range(slab.turns):
            i, _ = slab.piece(lane + t * slab.lanes)
            for c in static_range(QUAD):
                starts[t * QUAD + c] = table[min(first + i + c, count - 1)]

    return locate


def _converting(arithmetic: ProductTypes) -> Callable[[Any], Any]:
    wide, is_stored = arithmetic.accumulator, arithmetic.element.storage_only
    return lambda x: x if is_stored else wide(x)


def _reading(slab: Slab, arithmetic: ProductTypes) -> _Inlined:
    wide, convert = arithmetic.accumulator, _converting(arithmetic)

    def read_piece(x: Any, held: Any, starts: Any, h: Any, moved: Any) -> None:
        if slab.whole:
            quad = x[starts[h // QUAD] + moved // QUAD]
            for j in static_range(QUAD):
                held[h + j] = convert(quad[j])
        else:
            for j in static_range(QUAD):
                held[h + j] = convert(x[starts[h + j] + moved])

    def read(x: Any, held: Any, starts: Any, lane: Any, step: Any, k: Any, end: Any) -> None:
        moved = k if slab.by_k else k * step
        for t in static_range(slab.turns):
            number = lane + t * slab.lanes
            _, own = slab.piece(number)
            is_whole = t * slab.lanes + slab.lanes <= slab.pieces
            if k + own < end and (is_whole or number < slab.pieces):
                read_piece(x, held, starts, t * QUAD, moved)
            else:
                for j in static_range(QUAD):
                    held[t * QUAD + j] = wide(0)

    return read


def _reading_views(slab: Slab, arithmetic: ProductTypes, precision: Precision | None) -> _Inlined:
    wide, convert = arithmetic.accumulator, _converting(arithmetic)
    whole_of = None if precision is None else rounding_of(precision)

    def factor(value: Any, scales: Any, at: Any) -> Any:
        if whole_of is None:
            return convert(value)
        bits = bitcast(u32, scales[at])
        whole = whole_of(f32(value) * inverse_of(i32(bits >> 23)))
        return wide(select(bits < INFINITE, whole, i32(0)))

    def read(
        x: Any, table: Any, scales: Any, held: Any, starts: Any, lane: Any, first: Any, count: Any, _step: Any,
        k: Any, end: Any,
    ) -> None:  # fmt: skip
        for t in static_range(slab.turns):
            number = lane + t * slab.lanes
            i, own = slab.piece(number)
            is_whole = t * slab.lanes + slab.lanes <= slab.pieces
            if k + own < end and (is_whole or number < slab.pieces):
                moved, block = table[count + k + own], (k + own) // BLOCK * count
                for j in static_range(QUAD):
                    here = x[starts[t * QUAD + j] + moved]
                    held[t * QUAD + j] = factor(here, scales, block + min(first + i + j, count - 1))
            else:
                for j in static_range(QUAD):
                    held[t * QUAD + j] = wide(0)

    return read


def _laying(slab: Slab, arithmetic: ProductTypes) -> _Inlined:
    factor = factor_of(arithmetic)
    quad: Any = arithmetic.accumulator.vector(QUAD)

    def lay_piece(shared: Any, held: Any, t: Any, place: Any) -> None:
        x, y, z, w = held[t * QUAD], held[t * QUAD + 1], held[t * QUAD + 2], held[t * QUAD + 3]
        shared[place] = quad(factor(x), factor(y), factor(z), factor(w))

    def lay(shared: Any, held: Any, lane: Any, at: Any) -> None:
        for t in static_range(slab.turns):
            number = lane + t * slab.lanes
            i, k = slab.piece(number)
            if t * slab.lanes + slab.lanes <= slab.pieces or number < slab.pieces:
                lay_piece(shared, held, t, at + k * slab.pitch + i // QUAD)

    return lay
