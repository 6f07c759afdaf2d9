"""Folds of groups: elements that lie side by side, group after group, each folded on its own.

Layer: kernels. ``starts`` tells where each group begins, and, one place further, where the last one ends. A group
of at most a tile is folded by one workgroup in the canonical order; longer ones are cut into tiles, whose results
are groups again. Invariant: a group's fold has the bits of the fold of its elements as an array of their own.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, i64, u32
from loom.core.numerics import REDUCE_LANES, REDUCE_TILE
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id, group_id, idiv, local_id, private, shared, static_range
from loom.kernels.fold.lanes import FOLDS, Fold
from loom.kernels.group.join import HALVES, join_lanes
from loom.kernels.move.compact_threads import TILE_LANES, add_up, last_at_most
from loom.kernels.sort.keys import Order

__all__ = [
    "LANES",
    "SHORT_GROUP",
    "SHORT_GROUPS",
    "close_runs",
    "cut_groups",
    "divide_groups",
    "fold_groups",
    "fold_short_groups",
    "fold_tiles",
    "lane_cut_groups",
    "lane_list_tiles",
    "list_tiles",
    "measure_groups",
    "merge_keys",
    "split_keys",
]

SHORT_GROUP = 64
"""Elements up to which a group is folded by one lane: its accumulators hold one element each."""
SHORT_GROUPS = 64
"""Groups that a workgroup folds, of these."""

_ROWS = REDUCE_TILE // REDUCE_LANES
LANES = 64
"""Lanes of a workgroup that takes something each: an element, a group, a tile."""


@cache
def merge_keys(order: Order) -> KernelFunction:
    """Return the kernel (x, keys, n): unsigned keys in the order of the elements; -0 is +0, all NaNs are one."""

    @kernel(workgroup=LANES, trusted=True)
    def merge(x: In[order.bits], keys: Out[order.bits], n: u32):  # type: ignore[valid-type]
        i = global_id()
        if i < n:
            keys[i] = order.merge_zeros(order.encode(x[i]))

    merge.name = f"merge_{order.dtype}"
    return merge


@cache
def split_keys(order: Order) -> KernelFunction:
    """Return the kernel (keys, out, n): the elements of keys."""

    @kernel(workgroup=LANES, trusted=True)
    def split(keys: In[order.bits], out: Out[order.bits], n: u32):  # type: ignore[valid-type]
        i = global_id()
        if i < n:
            out[i] = order.decode(keys[i])

    split.name = f"split_{order.dtype}"
    return split


@cache
def close_runs() -> KernelFunction:
    """Return the kernel (starts, places, n, tiles): the last of the ``places[tiles]`` runs ends at n."""

    @kernel(workgroup=1, trusted=True)
    def close(starts: InOut[u32], places: In[u32], n: u32, tiles: u32):  # type: ignore[valid-type]
        starts[places[tiles]] = n

    close.name = "runs_close"
    return close


@cache
def measure_groups() -> KernelFunction:
    """Return the kernel (starts, lengths, groups): how many elements each group has, as i64."""

    @kernel(workgroup=LANES, trusted=True)
    def measure(starts: In[u32], lengths: Out[i64], groups: u32):  # type: ignore[valid-type]
        g = global_id()
        if g < groups:
            lengths[g] = i64(starts[g + 1] - starts[g])

    measure.name = "groups_measure"
    return measure


def tiles_of(starts: Any, g: Any) -> Any:
    """Return how many tiles group ``g`` has."""
    return idiv(starts[g + 1] - starts[g] + (REDUCE_TILE - 1), u32(REDUCE_TILE))


@cache
def cut_groups() -> KernelFunction:
    """Return the kernel (starts, offsets, groups): the first tile of each group, and after the last their number."""

    @kernel(workgroup=1, trusted=True)
    def cut(starts: In[u32], offsets: Out[u32], groups: u32):  # type: ignore[valid-type]
        tiles = u32(0)
        for g in range(groups):
            offsets[g] = tiles
            tiles += tiles_of(starts, g)
        offsets[groups] = tiles

    cut.name = "groups_cut"
    return cut


@cache
def list_tiles() -> KernelFunction:
    """Return the kernel (offsets, owners, groups): the group each tile belongs to."""

    @kernel(workgroup=LANES, trusted=True)
    def owners_of(offsets: In[u32], owners: Out[u32], groups: u32):  # type: ignore[valid-type]
        g = global_id()
        if g < groups:
            for tile in range(offsets[g], offsets[g + 1]):
                owners[tile] = g

    owners_of.name = "groups_tiles"
    return owners_of


@cache
def lane_cut_groups() -> KernelFunction:
    """Return the kernel of ``cut_groups`` for lanes that are threads; one workgroup."""

    @kernel(workgroup=TILE_LANES, trusted=True)
    def cut(starts: In[u32], offsets: Out[u32], groups: u32):  # type: ignore[valid-type]
        held = shared(u32, 2 * TILE_LANES)
        tiles = add_up(starts, offsets, groups, held, tiles_of)
        if local_id() == 0:
            offsets[groups] = tiles

    cut.name = "lane_groups_cut"
    return cut


@cache
def lane_list_tiles() -> KernelFunction:
    """Return the kernel of ``list_tiles`` for lanes that are threads, one for each tile there may be."""

    @kernel(workgroup=LANES, trusted=True)
    def owners_of(offsets: In[u32], owners: Out[u32], groups: u32):  # type: ignore[valid-type]
        tile = global_id()
        if tile < offsets[groups]:
            owners[tile] = last_at_most(offsets, groups, tile)  # a group without tiles is never the last

    owners_of.name = "lane_groups_tiles"
    return owners_of


def fold_stretch(fold: Fold, x: Any, begin: Any, size: Any, accumulator: DType) -> Any:
    """Return the fold of up to a tile of elements, in lane 0 of a workgroup that does nothing else."""
    term, join, start = fold.term, fold.join, fold.start(accumulator)
    lane = local_id()
    total = accumulator(start)
    if size == REDUCE_TILE:
        for row in range(_ROWS):
            total = join(total, term(accumulator(x[begin + row * REDUCE_LANES + lane])))
    else:
        for at in range(lane, size, REDUCE_LANES):
            total = join(total, term(accumulator(x[begin + at])))
    lanes = shared(accumulator, REDUCE_LANES)
    join_lanes(lanes, lane, total, join)
    return lanes[0]


@cache
def fold_groups(name: str, element: DType, accumulator: DType, result: DType) -> KernelFunction:
    """Return the kernel (x, starts, out): ``out[g]`` is the fold, a name of ``FOLDS``, of group g, at most a tile."""
    fold = FOLDS[name]

    @kernel(workgroup=REDUCE_LANES, trusted=True)
    def groups(x: In[element], starts: In[u32], out: Out[result]):  # type: ignore[valid-type]
        g = group_id()
        total = fold_stretch(fold, x, starts[g], starts[g + 1] - starts[g], accumulator)
        if local_id() == 0:
            out[g] = result(total)

    groups.name = f"groups_{name}_{element}_{accumulator}_{result}"
    return groups


@cache
def fold_tiles(name: str, element: DType, accumulator: DType) -> KernelFunction:
    """Return the kernel (x, starts, offsets, owners, out, groups) that folds tile t of all groups into ``out[t]``."""
    fold = FOLDS[name]

    @kernel(workgroup=REDUCE_LANES, trusted=True)
    def tiles(  # type: ignore[no-untyped-def]
        x: In[element],  # type: ignore[valid-type]
        starts: In[u32],
        offsets: In[u32],
        owners: In[u32],
        out: Out[accumulator],  # type: ignore[valid-type]
        groups: u32,
    ):
        tile = group_id()
        if tile < offsets[groups]:
            g = owners[tile]
            begin = starts[g] + (tile - offsets[g]) * REDUCE_TILE
            total = fold_stretch(fold, x, begin, min(starts[g + 1] - begin, REDUCE_TILE), accumulator)
            if local_id() == 0:
                out[tile] = total

    tiles.name = f"group_tiles_{name}_{element}_{accumulator}"
    return tiles


@cache
def fold_short_groups(
    name: str, element: DType, accumulator: DType, result: DType, own: int = SHORT_GROUPS
) -> KernelFunction:
    """Return the kernel (x, starts, out, groups) for groups of at most ``SHORT_GROUP`` elements.

    A workgroup folds ``SHORT_GROUPS`` of them, a lane ``own``, one after the other.

    An accumulator that has no element holds what changes nothing, and is left out.
    """
    fold = FOLDS[name]
    term, join, start = fold.term, fold.join, fold.start(accumulator)

    @kernel(workgroup=SHORT_GROUPS // own, trusted=True)
    def groups_of(x: In[element], starts: In[u32], out: Out[result], groups: u32):  # type: ignore[valid-type]
        held = private(accumulator, SHORT_GROUP)
        first = min(global_id() * own, groups)
        begin = starts[first]
        for g in range(first, first + min(groups - first, own)):
            end = starts[g + 1]
            size = end - begin
            for k in range(size):
                held[k] = join(accumulator(start), term(accumulator(x[begin + k])))
            for half in static_range(len(HALVES)):
                if size > HALVES[half]:
                    for k in range(size - HALVES[half]):
                        held[k] = join(held[k], held[k + HALVES[half]])
                    size = u32(HALVES[half])
            out[g] = result(held[0])
            begin = end

    groups_of.name = f"{'lane_' if own == 1 else ''}short_groups_{name}_{element}_{accumulator}_{result}"
    return groups_of


@cache
def divide_groups(total: DType, computed: DType, result: DType) -> KernelFunction:
    """Return the kernel (totals, starts, out, groups): each group's total by its number of elements."""

    @kernel(workgroup=LANES, trusted=True)
    def divide(totals: In[total], starts: In[u32], out: Out[result], groups: u32):  # type: ignore[valid-type]
        g = global_id()
        if g < groups:
            out[g] = result(computed(totals[g]) / computed(starts[g + 1] - starts[g]))

    divide.name = f"group_mean_{total}_{computed}_{result}"
    return divide
