"""Tiles of rows: what a group takes of a pass for GPUs, and how its lanes bring it into shared memory.

Layer: kernels. Invariant: a query, feature or position outside is +0, or of a sum that is never kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom.core.caps import Caps
from loom.core.dtype import DType, f32, u32, u64
from loom.core.late.dataclass import dataclass
from loom.ir.frontend.intrinsics import private, select, static_range
from loom.kernels.attention.cached import PAGE
from loom.kernels.matmul.grids import Grid
from loom.kernels.matmul.slabs import QUAD

__all__ = [
    "NOBODY", "RowTile", "bringing_kept", "bringing_queries", "bringing_weights", "choose_row_tile", "find_stretch",
    "first_seen", "reads_quads",
]  # fmt: skip

_GRID, _SHORT_GRID = Grid(8, 16, 2, 1, 16), Grid(4, 16, 1, 1, 4)
"""64 queries, or 16, by the positions of a page, or by as many features."""
NOBODY = 0xFFFF_FFFF
"""The sequence of a row that is empty."""


@dataclass(frozen=True, slots=True)
class RowTile:
    """``grid`` queries by 64: ``rows`` tokens of ``together`` queries each, as many as fit, one at least."""

    grid: Grid
    together: int

    @property
    def rows(self) -> int:
        """Tokens."""
        return self.grid.height // self.together

    @property
    def queries(self) -> int:
        """Queries, of which the tile has room for more."""
        return self.rows * self.together

    @property
    def pieces(self) -> int:
        """Vectors of queries in a slab."""
        return self.grid.height // QUAD * self.grid.depth

    @property
    def pitch(self) -> int:
        """Vectors between two k of a slab of queries in shared memory: lanes lay down columns of them."""
        return self.grid.height // QUAD + 1

    def __str__(self) -> str:
        return f"{self.grid.height}x{self.grid.depth}x{self.grid.lanes}_{self.together}"


def choose_row_tile(caps: Caps, together: int) -> RowTile | None:
    """Return the tile for a GPU, None where a token's queries are more than a tile has."""
    grid = _SHORT_GRID if caps.short else _GRID
    return RowTile(grid, together) if together <= grid.height else None


def _sequence(places: Any, row: Any) -> Any:
    """Return whose a row is, nobody's if it is empty."""
    return select(places[2 * row + 1] > 0, places[2 * row], u32(NOBODY))


def find_stretch(places: Any, first: Any, begin: Any, count: Any) -> Any:
    """Return where the rows of the sequence end that begin with row ``begin`` of the tile's ``count``."""
    own = _sequence(places, first + begin)
    end = begin + 1
    goes_on = u32(1)
    for r in range(begin + 1, count):
        if _sequence(places, first + r) != own:
            goes_on = u32(0)
        end = end + goes_on
    return end


def _laying(tile: RowTile) -> Callable[..., None]:
    """Return what lays a vector of four queries into shared memory, of which a k has one more than it needs."""
    quad: Any = f32.vector(QUAD)
    pitch = tile.pitch

    def lay(to: Any, held: Any, number: Any) -> None:
        i, k = number // tile.grid.depth, number % tile.grid.depth
        to[k * pitch + i] = quad(held[0], held[1], held[2], held[3])

    return lay


def bringing_queries(tile: RowTile, size: int) -> Callable[..., None]:
    """Return what brings features from ``d`` on of a tile's queries into shared memory, +0 where there are none."""
    grid, together, lay = tile.grid, tile.together, _laying(tile)

    def bring(q: Any, to: Any, lane: Any, row: Any, count: Any, head: Any, heads: Any, d: Any) -> None:
        held = private(f32, QUAD)
        for t in static_range(-(-tile.pieces // grid.lanes)):
            number = lane + t * grid.lanes
            if number < tile.pieces:
                i, feature = number // grid.depth * QUAD, d + number % grid.depth
                for j in static_range(QUAD):
                    own = row + min((i + j) // together, count - 1)
                    at = ((own * heads + head) * together + (i + j) % together) * size + min(feature, size - 1)
                    held[j] = select(feature < size, q[at], f32(0))
                lay(to, held, number)

    return bring


def bringing_weights(tile: RowTile) -> Callable[..., None]:
    """Return what brings the weights of positions from ``p`` on into shared memory, scaled, +0 where there are none."""
    grid, together, lay = tile.grid, tile.together, _laying(tile)

    def bring(
        weights: Any, scales: Any, places: Any, to: Any, lane: Any, own_row: Any, row: Any, begin: Any, end: Any,
        head: Any, heads: Any, length: Any, window: Any, p: Any,
    ) -> None:  # fmt: skip
        held = private(f32, QUAD)
        for t in static_range(-(-tile.pieces // grid.lanes)):
            number = lane + t * grid.lanes
            if number < tile.pieces:
                i, position = number // grid.depth * QUAD, p + number % grid.depth
                for j in static_range(QUAD):
                    here = (i + j) // together
                    held[j] = f32(0)
                    if here >= begin and here < end:
                        last = places[2 * (row + here) + 1]
                        if position >= first_seen(last, window) and position < last:
                            at = ((own_row + here) * heads + head) * together + (i + j) % together
                            held[j] = weights[u64(at) * u64(length) + u64(position)] * scales[at]
                lay(to, held, number)

    return bring


def bringing_kept(tile: RowTile, held: DType, size: int, *, by_position: bool) -> Callable[..., None]:
    """Return what brings rows of 64 kept elements into shared memory: of keys a feature's positions, or of values a
    position's features from ``column`` on; +0 where they are beyond the ``count`` there are."""
    grid, quad = tile.grid, f32.vector(QUAD)
    across, is_whole = PAGE // QUAD, reads_quads(held, size) or not by_position
    pieces, pitch, last = across * grid.depth, size if by_position else PAGE, (size if by_position else PAGE) - 1
    vectors = is_whole and held == f32
    make: Any = quad

    def bring(x: Any, to: Any, lane: Any, base: Any, first: Any, count: Any, column: Any) -> None:
        for t in static_range(-(-pieces // grid.lanes)):
            number = lane + t * grid.lanes
            if number < pieces:
                k, c = number // across, number % across
                near = min(first + k, count - 1) * pitch
                if first + k >= count:
                    to[number] = make(f32(0), f32(0), f32(0), f32(0))
                elif vectors:
                    to[number] = x[(base + u64(near + min(column + c * QUAD, last + 1 - QUAD))) // QUAD]
                else:
                    at = column + c * QUAD
                    to[number] = make(
                        f32(x[base + u64(near + min(at, last))]), f32(x[base + u64(near + min(at + 1, last))]),
                        f32(x[base + u64(near + min(at + 2, last))]), f32(x[base + u64(near + min(at + 3, last))]),
                    )  # fmt: skip

    return bring


def reads_quads(held: DType, size: int) -> bool:
    """Tell whether four features of a kept value lie in one vector."""
    return held == f32 and size % QUAD == 0


def first_seen(end: Any, window: Any) -> Any:
    """Return the first position of the first page that a row at position ``end`` - 1 looks at."""
    return (max(end, window) - window) // PAGE * PAGE
