"""Folds along an axis: sums, products, minima, maxima, counts and tests of every row or column of an array.

Layer: kernels. The array has shape (outer, n, inner), n being the axis. A tile of 4096 elements along it is
folded in the canonical order of ``kernels.fold.tiles``: either a workgroup of 64 lanes takes the tile of one row,
or each lane takes that of a column of its own, in 64 accumulators. Applying a fold to the list of its own results
until one is left reduces any length. Invariant: the result along an axis has the bits of the row's as an array of
its own, whichever kernel made it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.dtype import DType, u32
from loom.core.late.dataclass import dataclass
from loom.core.numerics import REDUCE_LANES, REDUCE_TILE
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import (
    global_id,
    group_id,
    local_id,
    private,
    shared,
    sqrt,
    static_range,
)
from loom.kernels.group.join import add, highest, join_lanes, larger, lowest, multiply, smaller

__all__ = ["COLUMNS", "FOLDS", "Fold", "dot_tiles", "fold_columns", "fold_rows", "square_root", "term_of"]

COLUMNS = 64
"""Columns a workgroup of ``fold_columns`` takes."""
_COLUMN_LANES = 16
_ROWS = REDUCE_TILE // REDUCE_LANES


@dataclass(frozen=True, slots=True)
class Fold:
    """How elements are folded.

    ``term`` makes what is folded of an element (already of the accumulators' type, unless ``of_element``, which
    gets it as it was read), ``join`` folds two of them, ``start`` gives what changes nothing for an
    accumulator's type. ``later`` names the fold of the results of tiles, this one if None. ``any_order``: the
    order cannot be seen in the result, so that fewer accumulators do.
    """

    term: Callable[[Any], Any]
    join: Callable[[Any, Any], Any]
    start: Callable[[DType], Any]
    later: str | None = None
    of_element: bool = False
    any_order: bool = False


def _itself(x: Any) -> Any:
    return x


def _square(x: Any) -> Any:
    return x * x


def _magnitude(x: Any) -> Any:
    return abs(x)


def _is_set(x: Any) -> Any:
    return x != 0


FOLDS: dict[str, Fold] = {
    "sum": Fold(_itself, add, lambda _t: 0),
    "product": Fold(_itself, multiply, lambda _t: 1),
    "min": Fold(_itself, smaller, highest, any_order=True),
    "max": Fold(_itself, larger, lowest, any_order=True),
    "squares": Fold(_square, add, lambda _t: 0, later="sum"),
    "magnitudes": Fold(_magnitude, add, lambda _t: 0, later="sum"),
    "largest": Fold(_magnitude, larger, lowest, any_order=True),
    "count": Fold(_is_set, add, lambda _t: 0, later="sum", of_element=True, any_order=True),
    "any": Fold(_is_set, larger, lambda _t: 0, of_element=True, any_order=True),
    "all": Fold(_is_set, smaller, lambda _t: 1, of_element=True, any_order=True),
}
"""The folds by name. "count", "any" and "all" take what is not 0, NaN included, for set."""


def term_of(fold: Fold, accumulator: DType) -> Callable[[Any], Any]:
    """Return what makes a term of an element as it was read."""
    term = fold.term
    if fold.of_element:
        return lambda x: accumulator(term(x))
    return lambda x: term(accumulator(x))


@cache
def fold_rows(name: str, element: DType, accumulator: DType, result: DType) -> KernelFunction:
    """Return the kernel (x, out, n, tiles): folds tile ``g % tiles`` of row ``g // tiles`` into ``out[g]``.

    ``x`` has rows of ``n`` elements; there is one group per tile. Elements are converted to ``accumulator``
    before they are folded, and the tile's result to ``result``.
    """
    fold = FOLDS[name]
    term, join, start = term_of(fold, accumulator), fold.join, accumulator(fold.start(accumulator))

    @kernel(workgroup=REDUCE_LANES, trusted=True)
    def rows(x: In[element], out: Out[result], n: u32, tiles: u32):  # type: ignore[valid-type]
        lane = local_id()
        tile = group_id() % tiles
        first = group_id() // tiles * n + tile * REDUCE_TILE
        size = min(n - tile * REDUCE_TILE, REDUCE_TILE)
        total = start
        if size == REDUCE_TILE:
            for row in range(_ROWS):
                total = join(total, term(x[first + row * REDUCE_LANES + lane]))
        else:
            for at in range(lane, size, REDUCE_LANES):
                total = join(total, term(x[first + at]))
        lanes = shared(accumulator, REDUCE_LANES)
        join_lanes(lanes, lane, total, join)
        if lane == 0:
            out[group_id()] = result(lanes[0])

    rows.name = f"fold_rows_{name}_{element}_{accumulator}_{result}"
    return rows


@cache
def fold_columns(name: str, element: DType, accumulator: DType, result: DType, *, short_rows: bool) -> KernelFunction:
    """Return the kernel (x, out, n, inner, tiles): each lane folds a tile of a column by itself.

    ``x`` has shape (outer, n, inner) and ``out`` (outer, tiles, inner). Group ``g`` takes columns from
    ``COLUMNS (g % blocks)`` on, where ``blocks`` is ``inner / COLUMNS`` rounded up, of tile ``g / blocks % tiles``.
    With ``short_rows``, ``x`` has shape (inner, n), its rows are folded, and ``out`` has shape (tiles, inner).
    """
    fold = FOLDS[name]
    term, join, start = term_of(fold, accumulator), fold.join, accumulator(fold.start(accumulator))
    slots = 1 if fold.any_order or not accumulator.is_float else REDUCE_LANES
    halves = tuple(slots >> k for k in range(1, slots.bit_length()))
    together = 1 if short_rows else 2 if accumulator.nbytes == 8 else 4
    strips = COLUMNS // (together * _COLUMN_LANES)

    def fold_turn(x: Any, held: Any, slot: Any, at: Any, columns: Any) -> None:
        for k in static_range(columns):
            held[k * slots + slot] = join(held[k * slots + slot], term(x[at + k * _COLUMN_LANES]))

    def fold_tile(x: Any, out: Any, held: Any, at: Any, along: Any, size: Any, to: Any, columns: Any) -> None:
        for slot in range(columns * slots):
            held[slot] = start
        whole = size - size % slots
        for base in range(0, whole, slots):
            for slot in range(slots):
                fold_turn(x, held, slot, at + (base + slot) * along, columns)
        for slot in range(size - whole):
            fold_turn(x, held, slot, at + (whole + slot) * along, columns)
        for k in static_range(columns):
            for half in static_range(len(halves)):
                for slot in range(halves[half]):
                    here = k * slots + slot
                    held[here] = join(held[here], held[here + halves[half]])
            out[to + k * _COLUMN_LANES] = result(held[k * slots])

    @kernel(workgroup=_COLUMN_LANES, trusted=True)
    def columns(x: In[element], out: Out[result], n: u32, inner: u32, tiles: u32):  # type: ignore[valid-type]
        held = private(accumulator, together * slots)
        blocks = (inner + (COLUMNS - 1)) // COLUMNS
        rest = group_id() // blocks
        tile, outer = rest % tiles, rest // tiles
        size = min(n - tile * REDUCE_TILE, REDUCE_TILE)
        for strip in range(strips):
            begin = group_id() % blocks * COLUMNS + strip * (together * _COLUMN_LANES)
            column = begin + local_id()
            at = (outer * n + tile * REDUCE_TILE) * inner + column
            to = rest * inner + column
            if short_rows:
                if column < inner:
                    fold_tile(x, out, held, column * n + tile * REDUCE_TILE, 1, size, to, 1)
            elif begin + together * _COLUMN_LANES <= inner:
                fold_tile(x, out, held, at, inner, size, to, together)
            else:
                for k in range(together):
                    if column + k * _COLUMN_LANES < inner:
                        fold_tile(x, out, held, at + k * _COLUMN_LANES, inner, size, to + k * _COLUMN_LANES, 1)

    columns.name = f"fold_{'short_rows' if short_rows else 'columns'}_{name}_{element}_{accumulator}_{result}"
    return columns


@cache
def dot_tiles(element: DType, accumulator: DType, result: DType) -> KernelFunction:
    """Return the kernel (x, y, out, n) that sums the products of tile g of ``x`` and ``y`` into ``out[g]``.

    Elements are converted to ``accumulator``; every product is rounded before it is added.
    """

    @kernel(workgroup=REDUCE_LANES, trusted=True)
    def tiles(x: In[element], y: In[element], out: Out[result], n: u32):  # type: ignore[valid-type]
        lane = local_id()
        first = group_id() * REDUCE_TILE
        total = accumulator(0)
        if n - first >= REDUCE_TILE:
            for row in range(_ROWS):
                at = first + row * REDUCE_LANES + lane
                total = total + accumulator(x[at]) * accumulator(y[at])
        else:
            for at in range(first + lane, n, REDUCE_LANES):
                total = total + accumulator(x[at]) * accumulator(y[at])
        lanes = shared(accumulator, REDUCE_LANES)
        join_lanes(lanes, lane, total, add)
        if lane == 0:
            out[group_id()] = result(lanes[0])

    tiles.name = f"dot_{element}_{accumulator}_{result}"
    return tiles


@cache
def square_root(total: DType, result: DType) -> KernelFunction:
    """Return the kernel (total, out): ``out[i] = sqrt(total[i])``, correctly rounded."""

    @kernel(workgroup=REDUCE_LANES, trusted=True)
    def root(total_of: In[total], out: Out[result]):  # type: ignore[valid-type]
        i = global_id()
        if i < len(out):
            out[i] = result(sqrt(total_of[i]))

    root.name = f"square_root_{total}_{result}"
    return root
