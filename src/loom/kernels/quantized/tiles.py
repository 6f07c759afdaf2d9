"""What a group of a product with quantised weights computes, and where its results go.

Layer: kernels. Invariant: a tile changes speed, never bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom.core.dtype import DType, u64
from loom.core.late.dataclass import dataclass
from loom.ir.frontend.intrinsics import local_id, static_range
from loom.kernels.quantized.forms import LANES

__all__ = ["QuantizedTile", "block_of", "first_tile", "keeping_features", "lane_of"]


@dataclass(frozen=True, slots=True)
class QuantizedTile:
    """``rows`` of x by ``vectors`` times ``tiles`` tiles of features, with a lane for each feature of ``tiles``.

    ``index``: the type of indexes.
    """

    rows: int
    vectors: int
    tiles: int = 1
    index: DType = u64

    @property
    def lanes(self) -> int:
        """Lanes of a group."""
        return self.tiles * LANES

    def __str__(self) -> str:
        return f"{self.rows}x{self.vectors}x{self.lanes}_{self.index}"


def lane_of(tile: QuantizedTile) -> Callable[[], Any]:
    """Return what tells a lane's place in its tile of features."""
    return (lambda: local_id() % LANES) if tile.tiles > 1 else local_id


def first_tile(tile: QuantizedTile) -> Callable[[Any], Any]:
    """Return what tells a lane's first tile of features, from the number of its group."""
    step = tile.vectors * tile.tiles
    return (lambda group: group * step + local_id() // LANES) if tile.tiles > 1 else (lambda group: group * step)


def block_of(tile: QuantizedTile) -> Callable[..., Any]:
    """Return what tells the number of block b of vector v: (v, first, last, blocks, b).

    It is computed where it is used, as all lanes share it: what a lane keeps in an array of its own they do not share.
    """
    tiles, at = tile.tiles, tile.index
    return lambda v, first, last, blocks, b: at(min(first + v * tiles, last)) * at(blocks) + at(b)


def keeping_features(tile: QuantizedTile) -> Callable[..., None]:
    """Return what stores a lane's totals at (chunk, row, feature) of the result."""
    rows, vectors, tiles, at = tile.rows, tile.vectors, tile.tiles, tile.index

    def keep(out: Any, totals: Any, chunk: Any, row: Any, first: Any, lane: Any, m: Any, n: Any) -> None:
        for r in static_range(rows):
            for v in static_range(vectors):
                feature = (first + v * tiles) * LANES + lane
                if row + r < m and feature < n:
                    out[(at(chunk) * at(m) + at(row + r)) * at(n) + at(feature)] = totals[r * vectors + v]

    return keep
