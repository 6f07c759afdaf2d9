"""Values moved to the others of their key, keys being whole numbers of a short range: one pass, and stable.

Layer: kernels. A tile of elements counts its keys, the counts become places, and each tile puts its values where they
belong. One lane works on a tile, which suits a CPU. Invariant: the values of a key lie side by side in the order they
were given, as a stable sort by key leaves them.
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import DType, lookup, u32
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import group_id

__all__ = ["count_keys", "move_values", "place_keys"]


@cache
def count_keys(key: DType) -> KernelFunction:
    """Return the kernel (keys, counts, low, n, tile, span): ``counts[span t + k]`` keys of tile t are ``low + k``."""

    unsigned = lookup(f"u{key.bits}")

    @kernel(workgroup=1, trusted=True)
    def count(keys: In[key], counts: InOut[u32], low: key, n: u32, tile: u32, span: u32):  # type: ignore[valid-type]
        own = group_id() * span
        for k in range(span):
            counts[own + k] = u32(0)
        first = group_id() * tile
        for i in range(first, first + min(n - first, tile)):
            k = u32(unsigned(keys[i] - low))
            counts[own + k] = counts[own + k] + 1

    count.name = f"partition_count_{key}"
    return count


@cache
def place_keys() -> KernelFunction:
    """Return the kernel (counts, starts, tiles, span): counts become places, ``starts[k]`` where key k begins."""

    @kernel(workgroup=1, trusted=True)
    def place(counts: InOut[u32], starts: Out[u32], tiles: u32, span: u32):
        at = u32(0)
        for k in range(span):
            starts[k] = at
            for t in range(tiles):
                size = counts[t * span + k]
                counts[t * span + k] = at
                at += size
        starts[span] = at

    place.name = "partition_place"
    return place


@cache
def move_values(key: DType, value: DType) -> KernelFunction:
    """Return the kernel (keys, values, places, out, low, n, tile, span): each value to the next place of its key."""

    unsigned = lookup(f"u{key.bits}")

    @kernel(workgroup=1, trusted=True)
    def move(  # type: ignore[no-untyped-def]
        keys: In[key],  # type: ignore[valid-type]
        values: In[value],  # type: ignore[valid-type]
        places: InOut[u32],
        out: Out[value],  # type: ignore[valid-type]
        low: key,  # type: ignore[valid-type]
        n: u32,
        tile: u32,
        span: u32,
    ):
        own = group_id() * span
        first = group_id() * tile
        for i in range(first, first + min(n - first, tile)):
            k = own + u32(unsigned(keys[i] - low))
            at = places[k]
            out[at] = values[i]
            places[k] = at + 1

    move.name = f"partition_move_{key}_{value}"
    return move
