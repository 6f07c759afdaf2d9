"""How products are cut among the lanes and groups of a GPU.

Layer: kernels. A group computes a tile of the result; each of its lanes keeps a tile of sums in registers. Invariant: a
``Slabs`` changes speed, never bits.

Source of the cut: Volkov and Demmel, "Benchmarking GPUs to Tune Dense Linear Algebra" (SC 2008).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from loom.core.caps import Caps
from loom.core.dtype import f32
from loom.core.late.dataclass import dataclass
from loom.kernels.matmul.slabs import QUAD
from loom.kernels.matmul.tiles import BLOCK, CHUNK
from loom.kernels.types import ProductTypes

__all__ = ["Grid", "Layout", "Slabs", "choose_slabs", "layout_name", "place_of"]


@dataclass(frozen=True, slots=True)
class Grid:
    """``down`` by ``across`` lanes, each with ``rows`` by ``columns`` times 4 by 4 sums, and ``depth`` k at a time.

    ``held``: what a lane's blocks add up to stays in shared memory, in place of where the result is.
    """

    down: int
    across: int
    rows: int
    columns: int
    depth: int
    held: bool = False

    @property
    def lanes(self) -> int:
        """Lanes of a group."""
        return self.down * self.across

    @property
    def height(self) -> int:
        """Rows of a group."""
        return self.down * self.rows * QUAD

    @property
    def width(self) -> int:
        """Columns of a group."""
        return self.across * self.columns * QUAD

    @property
    def kept_quads(self) -> int:
        """Vectors of shared memory for what blocks add up to."""
        return self.rows * self.columns * QUAD * self.lanes if self.held else 0


@dataclass(frozen=True, slots=True)
class Slabs:
    """A group takes a tile of ``grid`` and one chunk; if ``split``, one block, and blocks are added up afterwards."""

    grid: Grid
    split: bool


_WARP, _BESIDE = 32, 8
"""Lanes that run as one, and how many of them are side by side where there is room: four by eight read least."""


def place_of(grid: Grid, lane: Any) -> tuple[Any, Any]:
    """Return which row and which column of a group's lanes one is."""
    above = _WARP // _BESIDE
    if grid.across % _BESIDE or grid.down % above:
        return lane // grid.across, lane % grid.across
    warps, warp, own = grid.across // _BESIDE, lane // _WARP, lane % _WARP
    return warp // warps * above + own // _BESIDE, warp % warps * _BESIDE + own % _BESIDE


_GRIDS = (Grid(8, 16, 2, 1, 16), Grid(8, 8, 1, 1, 16), Grid(64, 1, 1, 1, 8), Grid(1, 64, 1, 1, 8))
"""64 by 64, the fastest of 20 measured on an H200; 32 by 32; 256 by 4; 4 by 256."""
_HELD_GRIDS = (Grid(8, 16, 2, 2, 8, held=True), *_GRIDS)
"""The same for sums of f32, and 64 by 128: two thirds as many reads of shared memory for a product.

On an H100 4096 f32 takes 5.3 ms so, 5.7 as 128 by 64, 6.2 with 32 sums a lane and totals in registers.
"""
_HELD_NBYTES = 46 << 10
"""Shared memory that is enough for it."""
_SHORT_GRIDS = (Grid(8, 8, 1, 1, 4), Grid(64, 1, 1, 1, 4), Grid(1, 64, 1, 1, 4))
"""Of which the code is a quarter as long."""
_LANES_AT_HALF = 128
"""Lanes with which a multiprocessor reaches half its speed."""
_COSTS = {16: 1.15, 32: 1.0, 64: 0.9}
"""Time of a sum by how many a lane has, to that of one of 32."""
_SPLIT_COST, _PART_COST = 1 << 19, 24
"""What splitting costs in multiplications of a multiprocessor: once, and for each sum of a block."""


def choose_slabs(
    caps: Caps, arithmetic: ProductTypes, m: int, n: int, k: int, batches: int, *, held: bool = True
) -> Slabs:
    """Return the cut that takes least time, as estimated from measurements; ``held``: totals may be held."""
    blocks, chunks = -(-k // BLOCK), -(-k // CHUNK)

    def cost(cut: Slabs) -> float:
        grid, parts = cut.grid, blocks if cut.split else chunks
        tiles = -(-m // grid.height) * -(-n // grid.width) * batches
        groups = -(-tiles * parts // caps.workers)
        speed = groups * grid.lanes / (groups * grid.lanes + _LANES_AT_HALF)
        once = grid.height * grid.width * min(k, BLOCK if cut.split else CHUNK)
        own = groups * once / speed * _COSTS[grid.rows * grid.columns * QUAD * QUAD]
        return own + (_SPLIT_COST + _PART_COST * m * n * batches * parts / caps.workers if cut.split else 0)

    may_hold = held and arithmetic.accumulator == f32 and not arithmetic.scaled and caps.shared_nbytes >= _HELD_NBYTES
    grids = _SHORT_GRIDS if caps.short else _HELD_GRIDS if may_hold else _GRIDS
    cuts = [Slabs(grid, split) for grid in grids for split in ((False, True) if blocks > 1 else (False,))]
    best = min(cuts, key=cost)
    if arithmetic.accumulator.bits == 64 and not caps.short:  # as much shared memory, and fewer registers
        return replace(best, grid=replace(best.grid, depth=best.grid.depth // 2))
    return best


@dataclass(frozen=True, slots=True)
class Layout:
    """Whether elements of neighbouring k are neighbours in ``a`` and in ``b``, and whether each is read in vectors.

    ``a_viewed``, ``b_viewed``: whether an operand is read by two tables, where it lies.
    """

    a_by_k: bool
    b_by_k: bool
    a_whole: bool
    b_whole: bool
    out_whole: bool
    a_viewed: bool = False
    b_viewed: bool = False


def layout_name(grid: Grid, layout: Layout) -> str:
    """Return what tells kernels of other tiles and layouts apart in their names."""
    shape = f"{grid.height}x{grid.width}x{grid.depth}_{grid.rows}x{grid.columns}{'_held' if grid.held else ''}"
    operands = "".join(
        ("t" if viewed else "") + ("k" if by_k else "v" if whole else "s")
        for by_k, whole, viewed in (
            (layout.a_by_k, layout.a_whole, layout.a_viewed),
            (layout.b_by_k, layout.b_whole, layout.b_viewed),
            (False, layout.out_whole, False),
        )
    )
    return f"slabs_{shape}_{operands}"
