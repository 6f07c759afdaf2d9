"""Stable radix sort by workgroups of many lanes: per digit of eight bits a count, a scan and a scatter.

Layer: kernels. A row of ``n`` elements is cut into ``blocks`` of ``turns`` tiles; group ``row * blocks + block`` counts
the digits of a block in shared memory, ``scan_counts`` (of few blocks ``scan_few_counts``) turns the counts of each
digit into places among its equals, and the scatter sorts tile after tile by the digit in shared memory, so that what
is written side by side lies side by side. The first pass reads elements and the last one writes them; between them
records are in one of two buffers. ``sort_rows`` does all of it in one group, for rows of at most a tile. Invariant:
the result is the stable order of the keys, which is unique: that of ``kernels.sort.radix``.

Source: the three steps are those of Zagha and Blelloch, "Radix sort for vector multiprocessors" (1991).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import u8, u32, u64
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import atomic_add, barrier, group_id, local_id, private, select, shared, static_range
from loom.kernels.group.join import sum_lanes
from loom.kernels.group.marks import MARK_LANES, scan_stretch
from loom.kernels.sort.exchange import STEP_BITS, SortTile, digit_at, exchange, get, rank, swap, take
from loom.kernels.sort.keys import DIGIT_BITS, DIGITS, Records

__all__ = ["count_digits", "scan_counts", "scan_few_counts", "scatter_digits", "sort_rows"]


@cache
def count_digits(records: Records, tile: SortTile, *, first: bool) -> KernelFunction:
    """Return the kernel (x, source, counts, n, blocks, turns, number) that counts digit ``number`` of each block.

    ``counts[(row * 256 + d) * blocks + block]`` becomes the number of keys of digit d. ``first``: the keys are those
    of the elements ``x``, else those of the records ``source``.
    """
    order = records.order

    @kernel(workgroup=tile.lanes, trusted=True)
    def count(
        x: In[order.bits],
        source: In[records.word],
        counts: Out[u32],
        n: u32,
        blocks: u32,
        turns: u32,
        number: u32,
    ) -> None:
        lane = local_id()
        table = shared(u32, DIGITS + 1)
        digits = private(u32, tile.items)
        for d in range(lane, DIGITS, tile.lanes):
            table[d] = 0
        barrier()
        row, block = group_id() // blocks, group_id() % blocks
        begin = block * turns * tile.size
        end = min(begin + turns * tile.size, n)
        for start in range(begin, end, tile.size):
            for i in static_range(tile.items):
                at = row * n + min(start + i * tile.lanes + lane, end - 1)
                if first:
                    digits[i] = u32(order.encode(x[at]) >> order.bits(DIGIT_BITS * number))
                else:
                    shift = records.word(records.key_shift + DIGIT_BITS * number)
                    digits[i] = u32(source[at * records.words] >> shift)
            for i in static_range(tile.items):
                inside = start + i * tile.lanes + lane < end  # no branch: those outside have a counter nobody reads
                atomic_add(table, select(inside, digits[i] & (DIGITS - 1), u32(DIGITS)), 1)
        barrier()
        for d in range(lane, DIGITS, tile.lanes):
            counts[(row * DIGITS + d) * blocks + block] = table[d]

    count.name = f"sort_threads_count_{records.name}_{tile.name}{'_first' * first}"
    return count


@cache
def scan_counts() -> KernelFunction:
    """Return the kernel (counts, totals, blocks): group g turns the ``blocks`` counts of digit g into places.

    ``totals[g]`` becomes their sum.
    """

    @kernel(workgroup=MARK_LANES, trusted=True)
    def scan(counts: InOut[u32], totals: Out[u32], blocks: u32) -> None:
        sums = shared(u32, 2 * MARK_LANES)
        total = scan_stretch(counts, group_id() * blocks, u32(1), blocks, u32(0), sums)
        if local_id() == 0:
            totals[group_id()] = total

    scan.name = "sort_threads_scan"
    return scan


@cache
def scan_few_counts() -> KernelFunction:
    """Return the kernel of the same results that takes a row in group g, a digit in each lane: for few blocks."""

    @kernel(workgroup=DIGITS, trusted=True)
    def scan(counts: InOut[u32], totals: Out[u32], blocks: u32) -> None:
        digit = group_id() * DIGITS + local_id()
        before = u32(0)
        for block in range(blocks):
            size = counts[digit * blocks + block]
            counts[digit * blocks + block] = before
            before += size
        totals[digit] = before

    scan.name = "sort_threads_scan_few"
    return scan


@cache
def scatter_digits(records: Records, tile: SortTile, *, first: bool, last: bool, keys_out: bool) -> KernelFunction:
    """Return the kernel that moves the records of each block to the places of their digits.

    Buffers x, values, source, counts, totals, target, keys, payloads; parameters n, blocks, turns, number. The first
    pass reads ``x`` (and ``values``), others ``source``; the last one writes ``payloads`` and, if ``keys_out``,
    elements to ``keys``, others ``target``. A tile has at least 256 lanes.
    """
    order = records.order
    value = records.payload_input or u8

    @kernel(workgroup=tile.lanes, trusted=True)
    def scatter(
        x: In[order.bits],
        values: In[value],
        source: In[records.word],
        counts: In[u32],
        totals: In[u32],
        target: Out[records.word],
        keys: Out[order.bits],
        payloads: Out[records.payload_output],
        n: u32,
        blocks: u32,
        turns: u32,
        number: u32,
    ) -> None:
        lane = local_id()
        room, sums = shared(u32, tile.room), shared(u32, 2 * tile.lanes)
        starts, ends, moves = shared(u32, DIGITS), shared(u32, DIGITS), shared(u32, DIGITS)
        held, beside = private(tile.word, tile.items), private(u64, tile.items)
        ranks = private(u32, tile.items)
        row, block = group_id() // blocks, group_id() % blocks
        shift = records.key_shift + DIGIT_BITS * number
        begin = block * turns * tile.size
        end = min(begin + turns * tile.size, n)
        total, before = u32(0), u32(0)
        if lane < DIGITS:
            total = totals[row * DIGITS + lane]
            before = counts[(row * DIGITS + lane) * blocks + block]
        place = row * n + before + sum_lanes(tile.lanes, sums, total) - total
        for start in range(begin, end, tile.size):
            size = min(end - start, tile.size)
            load(records, tile, first, x, values, source, held, beside, row * n, start, size)
            spread(records, tile, room, held, beside)
            if lane < DIGITS:
                starts[lane] = 0
                ends[lane] = 0
            rank(tile, held, ranks, room, sums, shift)
            turn(records, tile, room, ranks, held, beside)
            rank(tile, held, ranks, room, sums, shift + STEP_BITS)
            exchange(tile, room, ranks, held)
            find_runs(tile, room, held, starts, ends, size, shift)
            barrier()
            if records.words == 2:
                exchange(tile, room, ranks, beside)
            if lane < DIGITS:
                moves[lane] = place - starts[lane]
                place += ends[lane] - starts[lane]
            barrier()
            for i in static_range(tile.items):
                p = i * tile.lanes + lane
                if p < size:
                    to = p + moves[u32(held[i] >> tile.word(shift)) & (DIGITS - 1)]
                    payload = get(tile, room, p) if records.words == 2 else u64(held[i])
                    if last:
                        store(records, keys_out, keys, payloads, to, held[i], payload)
                    else:
                        keep(records, target, to, held[i], payload)
            if records.words == 2:
                barrier()

    ends_of = f"{'_first' * first}{'_last' * last}{'' if keys_out or not last else '_payload'}"
    scatter.name = f"sort_threads_scatter_{records.name}_{tile.name}{ends_of}"
    return scatter


@cache
def sort_rows(records: Records, tile: SortTile, *, keys_out: bool) -> KernelFunction:
    """Return the kernel (x, values, keys, payloads, n): group g sorts elements ``g n`` to ``(g + 1) n``.

    These are at most a tile; results are those of ``scatter_digits`` in its last pass.
    """
    order = records.order
    value = records.payload_input or u8

    @kernel(workgroup=tile.lanes, trusted=True)
    def sort(
        x: In[order.bits],
        values: In[value],
        keys: Out[order.bits],
        payloads: Out[records.payload_output],
        n: u32,
    ) -> None:
        room, sums = shared(u32, tile.room), shared(u32, 2 * tile.lanes)
        held, beside = private(tile.word, tile.items), private(u64, tile.items)
        ranks = private(u32, tile.items)
        base = group_id() * n
        load(records, tile, True, x, values, x, held, beside, base, u32(0), n)
        spread(records, tile, room, held, beside)
        for step in range(order.bits.bits // STEP_BITS):
            rank(tile, held, ranks, room, sums, records.key_shift + STEP_BITS * u32(step))
            turn(records, tile, room, ranks, held, beside)
        for i in static_range(tile.items):
            p = local_id() * tile.items + i
            if p < n:
                payload = beside[i] if records.words == 2 else u64(held[i])
                store(records, keys_out, keys, payloads, base + p, held[i], payload)

    sort.name = f"sort_threads_rows_{records.name}_{tile.name}{'' if keys_out else '_payload'}"
    return sort


# what the kernels are made of


def load(
    records: Any, tile: Any, first: Any, x: Any, values: Any, source: Any, held: Any, beside: Any, base: Any,
    start: Any, size: Any,
) -> None:  # fmt: skip
    """Read a tile of ``size`` records, neighbours by neighbouring lanes; behind its end are words of ones."""
    for i in static_range(tile.items):
        p = i * tile.lanes + local_id()
        at = base + start + min(p, size - 1)
        payload = u64(0)
        if first:
            if records.payload_input is not None:
                payload = u64(values[at])
            elif records.payload == "index":
                payload = u64(at - base)
            word = tile.word(records.first_word(records.order.encode(x[at]), payload))
        else:
            word = tile.word(source[at * records.words])
            if records.words == 2:
                payload = source[at * 2 + 1]
        held[i] = select(p < size, word, tile.word((1 << tile.word.bits) - 1))
        beside[i] = payload


def spread(records: Any, tile: Any, room: Any, held: Any, beside: Any) -> None:
    """Give each lane records that lie side by side, for those it has read."""
    if records.words == 2:
        swap(tile, room, beside)
        barrier()
    swap(tile, room, held)


def turn(records: Any, tile: Any, room: Any, ranks: Any, held: Any, beside: Any) -> None:
    """Move records to where they rank."""
    exchange(tile, room, ranks, held)
    take(tile, room, held)
    if records.words == 2:
        barrier()
        exchange(tile, room, ranks, beside)
        take(tile, room, beside)


def find_runs(tile: Any, room: Any, held: Any, starts: Any, ends: Any, size: Any, shift: Any) -> None:
    """Take words as they are to be written, and set where the run of each digit starts and ends in the tile."""
    for i in static_range(tile.items):
        p = i * tile.lanes + local_id()
        held[i] = get(tile, room, p)
        if p < size:
            digit = u32(held[i] >> tile.word(shift)) & (DIGITS - 1)
            before = digit_at(tile, room, max(p, 1) - 1, shift, DIGITS - 1)
            if p == 0 or before != digit:
                starts[digit] = p
                if p > 0:
                    ends[before] = p
            if p == size - 1:
                ends[digit] = size


def keep(records: Any, target: Any, to: Any, word: Any, payload: Any) -> None:
    """Write a record for the next pass."""
    target[to * records.words] = records.word(word)
    if records.words == 2:
        target[to * 2 + 1] = payload


def store(records: Any, keys_out: Any, keys: Any, payloads: Any, to: Any, word: Any, payload: Any) -> None:
    """Write a record as an element and a payload."""
    if keys_out:
        keys[to] = records.order.decode(records.key(word))
    if records.words == 2:
        payloads[to] = records.payload_output(payload)
    elif records.payload is not None:
        payloads[to] = records.payload_output(u32(payload))
