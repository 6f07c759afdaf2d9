"""Stable radix sort that reads the keys once to count all digits, then once for each digit of eight bits.

Layer: kernels. A group draws a ticket, the number of its tile. It ranks the tile's words by a digit, tells how many of
each digit it has, and adds up what the tiles before tell, back to one that tells the sum of all up to it: groups wait
only for some that began before them, so that the first of those that run waits for nobody. What is told is a count
below 2^30, with two bits that say of what, in one word that is written in one step. ``rank_digits`` ranks the words of
32 lanes at a time: lanes of one digit find each other by a bit each, set in a cell of the digit. Invariant: the result
is the stable order of the keys, which is unique: that of ``kernels.sort.threads``, whichever groups were quick.

Source: A. Adinets and D. Merrill, "Onesweep: a faster least significant digit radix sort for GPUs" (2022).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import u8, u32, u64
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import (
    atomic_add,
    atomic_or,
    barrier,
    group_id,
    local_id,
    near_barrier,
    num_groups,
    popcount,
    private,
    select,
    shared,
    static_range,
)
from loom.kernels.group.join import sum_lanes
from loom.kernels.sort.exchange import SortTile, get, put
from loom.kernels.sort.keys import DIGIT_BITS, DIGITS, Order, Records
from loom.kernels.sort.threads import keep, store

__all__ = ["MOST_TOLD", "count_all_digits", "place_digits", "sweep"]

MOST_TOLD = 1 << 30
"""What a count is below."""
_OWN, _UPTO = 1 << 30, 2 << 30
"""Marks of a word: it holds the count of a tile, or of all tiles up to it."""
_NEAR = 32
"""Lanes that rank together."""
_CELLS = 2 * DIGITS
"""Cells of them: for each digit how many words there were, and which lanes have one now."""


@cache
def count_all_digits(order: Order, lanes: int, items: int) -> KernelFunction:
    """Return the kernel (x, totals, n) that adds to ``totals[256 p + d]`` the keys with digit d at place p.

    Groups take turns at tiles of ``lanes`` times ``items`` elements.
    """
    passes = order.bits.bits // DIGIT_BITS

    @kernel(workgroup=lanes, trusted=True)
    def count(x: In[order.bits], totals: InOut[u32], n: u32) -> None:
        table = shared(u32, passes * DIGITS + 1)
        keys = private(order.bits, items)
        for d in range(local_id(), passes * DIGITS, lanes):
            table[d] = 0
        barrier()
        for start in range(group_id() * (lanes * items), n, num_groups() * (lanes * items)):
            for i in static_range(items):
                keys[i] = order.encode(x[min(start + i * lanes + local_id(), n - 1)])
            for i in static_range(items):
                inside = start + i * lanes + local_id() < n
                for p in static_range(passes):
                    place = p * DIGITS + (u32(keys[i] >> order.bits(DIGIT_BITS * p)) & (DIGITS - 1))
                    atomic_add(table, select(inside, place, u32(passes * DIGITS)), 1)
        barrier()
        for d in range(local_id(), passes * DIGITS, lanes):
            atomic_add(totals, d, table[d])

    count.name = f"sort_sweep_count_{order.name}_{lanes}x{items}"
    return count


@cache
def place_digits() -> KernelFunction:
    """Return the kernel (totals) that turns counts of digits into where they begin: group p those of place p."""

    @kernel(workgroup=DIGITS, trusted=True)
    def place(totals: InOut[u32]) -> None:
        at = group_id() * DIGITS + local_id()
        total = totals[at]
        totals[at] = sum_lanes(DIGITS, shared(u32, 2 * DIGITS), total) - total

    place.name = "sort_sweep_place"
    return place


@cache
def sweep(records: Records, tile: SortTile, *, first: bool, last: bool, keys_out: bool) -> KernelFunction:
    """Return the kernel that moves records of one word by digit ``number``.

    Buffers x, values, source, begins, told, later, target, keys, payloads; parameters n, number. The first pass reads
    ``x`` (and ``values``), others ``source``; the last one writes ``payloads`` and, if ``keys_out``, elements to
    ``keys``, others ``target``. ``begins`` is what ``place_digits`` leaves, ``told`` has 256 zeros, the first of which
    becomes the next ticket, and 256 for each tile; the same zeros are left in ``later``. A tile has at least 256 lanes.
    """
    order = records.order
    value = records.payload_input or u8
    parts = tile.lanes // _NEAR
    words = tile.word.nbytes // u32.nbytes

    @kernel(workgroup=tile.lanes, trusted=True, order="free")
    def move(
        x: In[order.bits],
        values: In[value],
        source: In[records.word],
        begins: In[u32],
        told: InOut[u32],
        later: Out[u32],
        target: Out[records.word],
        keys: Out[order.bits],
        payloads: Out[records.payload_output],
        n: u32,
        number: u32,
    ) -> None:
        """Order: the ticket only tells which group takes which tile. A word of a tile's digit is added to by one lane,
        first its own total, then the sum before it; whoever asks adds own totals backwards until a word has the sum up
        to there: the same sum wherever that is. Marks of a digit are set by or, read behind a near barrier by the 32
        lanes whose they are, and cleared by one of them before the next.
        """
        lane = local_id()
        room = shared(u32, max(tile.size * words, parts * _CELLS))
        sums, moves = shared(u32, 2 * tile.lanes), shared(u32, DIGITS)
        drawn = shared(u32, 1)
        held, ranks = private(tile.word, tile.items), private(u32, tile.items)
        if lane == 0:
            drawn[0] = atomic_add(told, 0, 1)
        for i in range(lane, parts * _CELLS, tile.lanes):
            room[i] = 0
        barrier()
        t = drawn[0]
        start = t * tile.size
        size = min(n - start, tile.size)
        shift = records.key_shift + DIGIT_BITS * number
        load_near(records, tile, first, x, values, source, held, start, size)
        rank_digits(tile, room, held, ranks, shift)
        barrier()
        total = u32(0)
        if lane < DIGITS:
            for part in static_range(parts):
                total += room[part * _CELLS + lane]
            tell_digits(told, t, lane, total)
            later[(t + 1) * DIGITS + lane] = 0
            if t == 0:
                later[lane] = 0
        begin = sum_lanes(tile.lanes, sums, total) - total
        settle_near(tile, room, held, ranks, begin, shift)
        if lane < DIGITS:
            before = look_back(told, t, lane)
            moves[lane] = begins[number * DIGITS + lane] + before - begin
        barrier()
        for i in static_range(tile.items):
            p = i * tile.lanes + lane
            if p < size:
                word = get(tile, room, p)
                to = p + moves[digit_of(tile, word, shift)]
                if last:
                    store(records, keys_out, keys, payloads, to, word, u64(word))
                else:
                    keep(records, target, to, word, u64(0))

    ends_of = f"{'_first' * first}{'_last' * last}{'' if keys_out or not last else '_payload'}"
    move.name = f"sort_sweep_{records.name}_{tile.name}{ends_of}"
    return move


# what the kernels are made of


def load_near(
    records: Any, tile: Any, first: Any, x: Any, values: Any, source: Any, held: Any, start: Any, size: Any
) -> None:
    """Read a tile of ``size`` records, each 32 lanes a stretch of it; behind its end are words of ones."""
    for i in static_range(tile.items):
        p = local_id() // _NEAR * (_NEAR * tile.items) + i * _NEAR + local_id() % _NEAR
        at = start + min(p, size - 1)
        if first:
            payload = u64(0)
            if records.payload_input is not None:
                payload = u64(values[at])
            elif records.payload == "index":
                payload = u64(at)
            word = tile.word(records.first_word(records.order.encode(x[at]), payload))
        else:
            word = tile.word(source[at])
        held[i] = select(p < size, word, tile.word((1 << tile.word.bits) - 1))


def digit_of(tile: Any, word: Any, shift: Any) -> Any:
    """Return the digit of a word."""
    return u32(word >> tile.word(shift)) & (DIGITS - 1)


def rank_digits(tile: Any, room: Any, held: Any, ranks: Any, shift: Any) -> None:
    """Set ``ranks`` to how many words of their digit the 32 lanes have before each, and the cells to how many in all.

    The cells are zero before. Lanes set bits in any order, and look at them when all are set.
    """
    cells = local_id() // _NEAR * _CELLS
    bit = u32(1) << (local_id() % _NEAR)
    for i in static_range(tile.items):
        count = cells + digit_of(tile, held[i], shift)
        atomic_or(room, count + DIGITS, bit)
        near_barrier()
        alike, before = room[count + DIGITS], room[count]
        near_barrier()
        lower = popcount(alike & (bit - 1))
        if lower == 0:
            room[count] = before + popcount(alike)
            room[count + DIGITS] = 0
        ranks[i] = before + lower
        near_barrier()


def settle_near(tile: Any, room: Any, held: Any, ranks: Any, begin: Any, shift: Any) -> None:
    """Put words where they rank in the tile; ``begin`` tells of digit ``local_id()`` where it begins there."""
    lane = local_id()
    if lane < DIGITS:
        at = begin
        for part in static_range(tile.lanes // _NEAR):
            size = room[part * _CELLS + lane]
            room[part * _CELLS + lane] = at
            at += size
    barrier()
    for i in static_range(tile.items):
        ranks[i] = ranks[i] + room[lane // _NEAR * _CELLS + digit_of(tile, held[i], shift)]
    barrier()
    for i in static_range(tile.items):
        put(tile, room, ranks[i], held[i])


def tell_digits(told: Any, t: Any, lane: Any, total: Any) -> None:
    """Tell how many words of digit ``lane`` tile ``t`` has."""
    atomic_add(told, (t + 1) * DIGITS + lane, select(t == 0, u32(_UPTO), u32(_OWN)) + total)


def look_back(told: Any, t: Any, lane: Any) -> Any:
    """Return how many words of digit ``lane`` the tiles before tile ``t`` have, and tell it."""
    before, word, at = u32(0), u32(0), t
    while at > 0 and word < _UPTO:
        word = atomic_add(told, at * DIGITS + lane, u32(0))
        if word >= _OWN:
            before += word & (MOST_TOLD - 1)
            at -= 1
    if t > 0:
        atomic_add(told, (t + 1) * DIGITS + lane, u32(_UPTO - _OWN) + before)
    return before
