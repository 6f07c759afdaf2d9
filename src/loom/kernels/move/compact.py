"""Moves elements: those a mask keeps, those at given indices, and to given places.

Layer: kernels. Elements move as unsigned integers of their width, so no bit of them changes. Keeping takes two
passes over tiles: count, and, after the counts were added up, move. One lane works on a tile, which suits a CPU;
lanes that rank a tile in shared memory would have the same buffers.
Invariant: what is kept stays in order, and of several elements for one place the last one gets it.

Source: the count, scan and move of Blelloch, "Prefix sums and their applications" (1990), section 1.3.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, i64, lookup, u8, u32, u64
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import atomic_max, atomic_min, global_id, group_id, local_id, private, select

__all__ = [
    "KEEP_TILE",
    "MOVE_LANES",
    "NO_FAULT",
    "add_counts",
    "claim_places",
    "clear_words",
    "count_kept",
    "gather_elements",
    "gather_rows",
    "keep_elements",
    "keep_positions",
    "place_elements",
    "place_rows",
    "words_of",
]

KEEP_TILE = 2048
"""Elements a lane counts or moves: their kept ones fit the first-level cache."""

MOVE_LANES = 256
"""Elements a workgroup gathers or places."""

NO_FAULT = 0xFFFF_FFFF
"""What stands for the position of the first index outside if there is none."""


def words_of(dtype: DType) -> DType:
    """Return the unsigned type elements of ``dtype`` are moved as."""
    return u8 if dtype.is_bool else lookup(f"u{dtype.bits}")


def is_kept(bits: Any, flags: DType) -> Any:
    """Tell whether a flag, read as its bits, is anything but zero; -0 is zero."""
    if flags.is_float:
        return bits << 1 != 0
    return bits != 0


@cache
def count_kept(flags: DType) -> KernelFunction:
    """Return the kernel (mask, counts, n): ``counts[g]`` is how many elements of tile g are not zero."""
    word = words_of(flags)

    @kernel(workgroup=1, trusted=True)
    def count(mask: In[word], counts: Out[u32], n: u32):  # type: ignore[valid-type]
        first = group_id() * KEEP_TILE
        total = u32(0)
        for at in range(u64(first), u64(first + min(n - first, KEEP_TILE))):
            total += select(is_kept(mask[at], flags), u32(1), u32(0))
        counts[group_id()] = total

    count.name = f"count_{flags}"
    return count


@cache
def add_counts(kind: DType) -> KernelFunction:
    """Return the kernel (counts, starts, total, tiles): ``starts[g]`` sums the counts before g, ``total[0]`` all."""

    @kernel(workgroup=1, trusted=True)
    def add(counts: In[kind], starts: Out[kind], total: Out[kind], tiles: u32):  # type: ignore[valid-type]
        so_far = kind(0)
        for g in range(tiles):
            starts[g] = so_far
            so_far += counts[g]
        total[0] = so_far

    add.name = f"add_counts_{kind}"
    return add


def keep(x: Any, mask: Any, starts: Any, out: Any, n: Any, moved: DType, flags: DType) -> None:
    """Move what tile g keeps of ``x``, or, if that is None, its positions, to ``starts[g]``."""
    first = u64(group_id() * KEEP_TILE)
    room = private(moved, KEEP_TILE)
    kept = u64(0)
    for at in range(first, min(u64(n), first + KEEP_TILE)):
        room[kept] = moved(at) if x is None else x[at]  # without a branch: what is not kept is written over
        kept += select(is_kept(mask[at], flags), u64(1), u64(0))
    start = u64(starts[group_id()])
    for k in range(kept):
        out[start + k] = room[k]


@cache
def keep_elements(element: DType, flags: DType) -> KernelFunction:
    """Return the kernel (x, mask, starts, out, n): the elements that are kept, those of tile g at ``starts[g]``."""
    moved, word = words_of(element), words_of(flags)

    @kernel(workgroup=1, trusted=True)
    def elements(x: In[moved], mask: In[word], starts: In[u32], out: Out[moved], n: u32):  # type: ignore[valid-type]
        keep(x, mask, starts, out, n, moved, flags)

    elements.name = f"keep_{moved}_{flags}"
    return elements


@cache
def keep_positions(flags: DType) -> KernelFunction:
    """Return the kernel (mask, starts, out, n): the positions that are kept, those of tile g at ``starts[g]``."""
    word = words_of(flags)

    @kernel(workgroup=1, trusted=True)
    def positions(mask: In[word], starts: In[u32], out: Out[i64], n: u32):  # type: ignore[valid-type]
        keep(None, mask, starts, out, n, i64, flags)

    positions.name = f"keep_positions_{flags}"
    return positions


def row_of(index: Any, kind: DType, rows: Any) -> Any:
    """Return the row an index means, as u64; negative ones count from the end, and one outside is above all."""
    if not kind.is_signed:
        return u64(index)
    at = i64(index)
    return u64(select(at < 0, at + i64(rows), at))


@cache
def gather_elements(element: DType, kind: DType) -> KernelFunction:
    """Return the kernel (x, indices, out, fault, n, rows): ``out[i] = x[indices[i]]``, for n indices.

    ``fault[0]``, at first ``NO_FAULT``, becomes the first position whose index is outside the ``rows`` of x.
    """
    moved = words_of(element)

    @kernel(workgroup=MOVE_LANES, trusted=True)
    def gather(  # type: ignore[no-untyped-def]
        x: In[moved],  # type: ignore[valid-type]
        indices: In[kind],  # type: ignore[valid-type]
        out: Out[moved],  # type: ignore[valid-type]
        fault: InOut[u32],
        n: u32,
        rows: u32,
    ):
        i = global_id()
        if i < n:
            row = row_of(indices[i], kind, rows)
            if row < u64(rows):
                out[i] = x[row]
            else:
                atomic_min(fault, 0, i)

    gather.name = f"gather_{moved}_{kind}"
    return gather


@cache
def gather_rows(element: DType, kind: DType) -> KernelFunction:
    """Return the kernel (x, indices, out, fault, rows, width): rows of ``width`` elements, a workgroup each."""
    moved = words_of(element)

    @kernel(workgroup=64, trusted=True)
    def gather(  # type: ignore[no-untyped-def]
        x: In[moved],  # type: ignore[valid-type]
        indices: In[kind],  # type: ignore[valid-type]
        out: Out[moved],  # type: ignore[valid-type]
        fault: InOut[u32],
        rows: u32,
        width: u32,
    ):
        i = group_id()
        row = row_of(indices[i], kind, rows)
        if row < u64(rows):
            for column in range(local_id(), width, 64):
                out[i * width + column] = x[u32(row) * width + column]
        elif local_id() == 0:
            atomic_min(fault, 0, i)

    gather.name = f"gather_rows_{moved}_{kind}"
    return gather


@cache
def clear_words() -> KernelFunction:
    """Return the kernel (words, n) that zeroes ``words``."""

    @kernel(workgroup=64, trusted=True)
    def clear(words: Out[u32], n: u32):  # type: ignore[valid-type]
        at = global_id()
        if at < n:
            words[at] = 0

    return clear


@cache
def claim_places(kind: DType) -> KernelFunction:
    """Return the kernel (indices, claims, fault, n, rows): ``claims[r]`` is 1 + the last position that means row r.

    ``claims`` is zero at first; ``fault`` as in ``gather_elements``.
    """

    @kernel(workgroup=MOVE_LANES, trusted=True)
    def claim(indices: In[kind], claims: InOut[u32], fault: InOut[u32], n: u32, rows: u32):  # type: ignore[valid-type]
        i = global_id()
        if i < n:
            row = row_of(indices[i], kind, rows)
            if row < u64(rows):
                atomic_max(claims, row, i + 1)
            else:
                atomic_min(fault, 0, i)

    claim.name = f"claim_{kind}"
    return claim


@cache
def place_elements(element: DType) -> KernelFunction:
    """Return the kernel (x, claims, target, out, rows): the element that claims a place, else the target's."""
    moved = words_of(element)

    @kernel(workgroup=MOVE_LANES, trusted=True)
    def place(  # type: ignore[no-untyped-def]
        x: In[moved],  # type: ignore[valid-type]
        claims: In[u32],
        target: In[moved],  # type: ignore[valid-type]
        out: Out[moved],  # type: ignore[valid-type]
        rows: u32,
    ):
        row = global_id()
        if row < rows:
            claimed = claims[row]
            if claimed != 0:
                out[row] = x[claimed - 1]
            else:
                out[row] = target[row]

    place.name = f"place_{moved}"
    return place


@cache
def place_rows(element: DType) -> KernelFunction:
    """Return the kernel (x, claims, target, out, width): rows of ``width`` elements, a workgroup each."""
    moved = words_of(element)

    @kernel(workgroup=64, trusted=True)
    def place(  # type: ignore[no-untyped-def]
        x: In[moved],  # type: ignore[valid-type]
        claims: In[u32],
        target: In[moved],  # type: ignore[valid-type]
        out: Out[moved],  # type: ignore[valid-type]
        width: u32,
    ):
        row = group_id()
        claimed = claims[row]
        for column in range(local_id(), width, 64):
            if claimed != 0:
                out[row * width + column] = x[(claimed - 1) * width + column]
            else:
                out[row * width + column] = target[row * width + column]

    place.name = f"place_rows_{moved}"
    return place
