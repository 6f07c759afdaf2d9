"""Stable radix sort of any length: per digit a histogram of each tile, one scan, a stable scatter.

Layer: kernels. The lowest digit comes first. Keys of one or two digits go from the input (``count_input``,
``scatter_first``) to the result (``scatter_last``; ``scatter_only``). For longer keys this is what is done if
buckets do not serve (``sort_buckets``): records are in a buffer of two halves already, each pass moves them to the
other one, and a pass whose digit is the same in all keys (``find_varying``) is left out. ``scan_digits`` turns the
counts, row t of which are tile t's, into places: row t of ``offsets`` tells where tile t's records of each digit
start, row t + 1 where they end. The scatters sort a tile by the digit near the lane first (``scratch``), then move
it run by run, so that memory is written in long stretches. One lane works on a tile here, which suits a CPU;
``kernels.sort.threads`` does it with many. Invariant: the result is the stable order
of the keys, which is unique, so no schedule can change it.

Source: the three steps are those of Zagha and Blelloch, "Radix sort for vector multiprocessors" (1991).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, u8, u32, u64
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import group_id, local_id, num_groups, private, shared
from loom.kernels.group.join import sum_lanes
from loom.kernels.sort.keys import DIGIT_BITS, DIGITS, Order, Records
from loom.kernels.sort.tiles import (
    STAGE,
    clear,
    copy_runs,
    digit_of,
    finish,
    settle,
    settle_input,
    start_runs,
    tally,
    write_counts,
)

__all__ = [
    "count_input",
    "count_records",
    "find_varying",
    "half_of",
    "join_varying",
    "scan_digits",
    "scatter_first",
    "scatter_last",
    "scatter_middle",
    "scatter_only",
]


@cache
def count_input(order: Order) -> KernelFunction:
    """Return the kernel (x, counts, n, base, tile) that counts the lowest digits of tile g.

    ``counts[256 g + d]`` becomes the number of keys of digit d. Elements are ``x[base : base + n]``.
    """

    @kernel(workgroup=1, trusted=True)
    def count(x: In[order.bits], counts: Out[u32], n: u64, base: u64, tile: u64) -> None:
        table = private(u32, 2 * DIGITS)
        stage = private(order.bits, STAGE)
        clear(table)
        first = base + u64(group_id()) * tile
        last = min(first + tile, base + n)
        for block in range(first, last, STAGE):
            size = min(last - block, u64(STAGE))
            for i in range(size):
                stage[i] = order.encode(x[block + i])
            for i in range(size // 2):
                tally(table, u32(stage[2 * i]) & (DIGITS - 1))
                tally(table, DIGITS + (u32(stage[2 * i + 1]) & (DIGITS - 1)))
            if size % 2 == 1:
                tally(table, u32(stage[size - 1]) & (DIGITS - 1))
        write_counts(table, counts)

    count.name = f"sort_count_{order.name}"
    return count


@cache
def find_varying(records: Records) -> KernelFunction:
    """Return the kernel (source, varying, n, tile): the bits in which tile g's keys differ from the first of all."""
    order, words = records.order, records.words

    @kernel(workgroup=1, trusted=True)
    def find(source: In[records.word], varying: Out[order.bits], n: u64, tile: u64) -> None:
        first = u64(group_id()) * tile
        start = records.key(source[0])
        differ = order.bits(0)
        for i in range(first, min(first + tile, n)):
            differ = differ | (records.key(source[i * words]) ^ start)
        varying[group_id()] = differ

    find.name = f"sort_varying_{records.name}"
    return find


@cache
def count_records(records: Records) -> KernelFunction:
    """Return the kernel (source, state, counts, n, tile, number) that counts digit ``number`` of tile g's records.

    Nothing is counted if the digit is the same in all keys.
    """
    order, words = records.order, records.words

    @kernel(workgroup=1, trusted=True)
    def count(
        source: In[records.word],
        state: In[order.bits],
        counts: Out[u32],
        n: u64,
        tile: u64,
        number: u32,
    ) -> None:
        if moves(records, state, number):
            table = private(u32, 2 * DIGITS)
            stage = private(records.word, STAGE)
            clear(table)
            half = u64(half_of(records, state, number)) * n
            shift = records.key_shift + DIGIT_BITS * number
            first = u64(group_id()) * tile
            last = min(first + tile, n)
            for block in range(first, last, STAGE):
                size = min(last - block, u64(STAGE))
                for i in range(size):
                    stage[i] = source[(half + block + i) * words]
                for i in range(size // 2):
                    tally(table, records.digit(stage[2 * i], shift))
                    tally(table, DIGITS + records.digit(stage[2 * i + 1], shift))
                if size % 2 == 1:
                    tally(table, records.digit(stage[size - 1], shift))
            write_counts(table, counts)

    count.name = f"sort_count_records_{records.name}"
    return count


@cache
def join_varying(bits: DType) -> KernelFunction:
    """Return the kernel (varying, state, tiles): ``state[0]`` has the bits that vary in any tile; one group."""

    @kernel(workgroup=1, trusted=True)
    def join(varying: In[bits], state: Out[bits], tiles: u32) -> None:
        differ = bits(0)
        for t in range(tiles):
            differ = differ | varying[t]
        state[0] = differ

    join.name = f"sort_join_{bits}"
    return join


@cache
def scan_digits() -> KernelFunction:
    """Return the kernel (counts, tiles) that turns counts into places, in place; one group.

    ``counts`` has ``tiles + 1`` rows, the last of which is filled in.
    """

    @kernel(workgroup=DIGITS, trusted=True)
    def scan(counts: InOut[u32], tiles: u32) -> None:
        digit = local_id()
        total = u32(0)
        for t in range(tiles):
            total += counts[t * DIGITS + digit]
        place = sum_lanes(DIGITS, shared(u32, 2 * DIGITS), total) - total
        for t in range(tiles):
            size = counts[t * DIGITS + digit]
            counts[t * DIGITS + digit] = place
            place += size
        counts[tiles * DIGITS + digit] = place

    scan.name = "sort_scan"
    return scan


@cache
def scatter_first(records: Records) -> KernelFunction:
    """Return the kernel (x, values, offsets, scratch, out, n, base, tile, tiles) of the first pass.

    It makes records of ``x[base : base + n]`` (and of ``values`` or the elements' positions), and moves them by
    their lowest digit to ``out``. Group g does tiles g, g + groups, ... and has room for one in ``scratch``.
    """
    order = records.order
    value = records.payload_input or u8

    @kernel(workgroup=1, trusted=True)
    def scatter(
        x: In[order.bits],
        values: In[value],
        offsets: In[u32],
        scratch: InOut[records.word],
        out: Out[records.word],
        n: u64,
        base: u64,
        tile: u64,
        tiles: u32,
    ) -> None:
        ends = private(u32, DIGITS)
        stage = private(records.word, STAGE * records.words)
        room = u64(group_id()) * tile
        for t in range(group_id(), tiles, num_groups()):
            settle_input(records, x, values, offsets, ends, stage, scratch, room, n, base, tile, t, digit_of,
                         u32(records.key_shift))  # fmt: skip
            copy_runs(records, offsets, ends, scratch, room, out, u64(0), t)

    scatter.name = f"sort_first_{records.name}"
    return scatter


@cache
def scatter_middle(records: Records) -> KernelFunction:
    """Return the kernel (both, offsets, state, scratch, n, tile, tiles, number) of a pass between.

    It moves records by digit ``number`` from one half of ``both`` to the other, unless the digit is the same in
    all keys.
    """
    order = records.order

    @kernel(workgroup=1, trusted=True)
    def scatter(
        both: InOut[records.word],
        offsets: In[u32],
        state: In[order.bits],
        scratch: InOut[records.word],
        n: u64,
        tile: u64,
        tiles: u32,
        number: u32,
    ) -> None:
        if moves(records, state, number):
            ends = private(u32, DIGITS)
            stage = private(records.word, STAGE * records.words)
            half = u64(half_of(records, state, number))
            room = u64(group_id()) * tile
            for t in range(group_id(), tiles, num_groups()):
                settle_tile(records, both, half * n, offsets, ends, stage, scratch, room, n, tile, t, number)
                copy_runs(records, offsets, ends, scratch, room, both, (1 - half) * n, t)

    scatter.name = f"sort_middle_{records.name}"
    return scatter


@cache
def scatter_last(records: Records, *, keys_out: bool) -> KernelFunction:
    """Return the kernel (source, offsets, scratch, keys, payloads, n, base, tile, tiles) of the last pass.

    It moves records by their highest digit and writes keys (as elements, if ``keys_out``) and payloads from
    position ``base`` on.
    """
    order = records.order

    @kernel(workgroup=1, trusted=True)
    def scatter(
        source: In[records.word],
        offsets: In[u32],
        scratch: InOut[records.word],
        keys: Out[order.bits],
        payloads: Out[records.payload_output],
        n: u64,
        base: u64,
        tile: u64,
        tiles: u32,
    ) -> None:
        ends = private(u32, DIGITS)
        stage = private(records.word, STAGE * records.words)
        room = u64(group_id()) * tile
        number = u32(records.passes - 1)
        for t in range(group_id(), tiles, num_groups()):
            settle_tile(records, source, u64(0), offsets, ends, stage, scratch, room, n, tile, t, number)
            finish_runs(records, keys_out, offsets, ends, scratch, room, keys, payloads, base, t)

    scatter.name = f"sort_last_{records.name}{'' if keys_out else '_payload'}"
    return scatter


@cache
def scatter_only(records: Records, *, keys_out: bool) -> KernelFunction:
    """Return the kernel that is first and last pass at once, for keys of one digit.

    Buffers x, values, offsets, scratch, keys, payloads; parameters n, base, tile, tiles.
    """
    order = records.order
    value = records.payload_input or u8

    @kernel(workgroup=1, trusted=True)
    def scatter(
        x: In[order.bits],
        values: In[value],
        offsets: In[u32],
        scratch: InOut[records.word],
        keys: Out[order.bits],
        payloads: Out[records.payload_output],
        n: u64,
        base: u64,
        tile: u64,
        tiles: u32,
    ) -> None:
        ends = private(u32, DIGITS)
        stage = private(records.word, STAGE * records.words)
        room = u64(group_id()) * tile
        for t in range(group_id(), tiles, num_groups()):
            settle_input(records, x, values, offsets, ends, stage, scratch, room, n, base, tile, t, digit_of,
                         u32(records.key_shift))  # fmt: skip
            finish_runs(records, keys_out, offsets, ends, scratch, room, keys, payloads, base, t)

    scatter.name = f"sort_only_{records.name}{'' if keys_out else '_payload'}"
    return scatter


# what the kernels are made of


def moves(records: Any, state: Any, number: Any) -> Any:
    """True if keys differ in digit ``number``."""
    bits = records.order.bits
    return (state[0] >> bits(DIGIT_BITS * number)) & (DIGITS - 1) != 0


def half_of(records: Any, state: Any, number: Any) -> Any:
    """Return the half where records are before pass ``number``: each pass that moved them changed it."""
    half = u32(0)
    for k in range(number):
        if moves(records, state, k):
            half = 1 - half
    return half


def settle_tile(
    records: Any, source: Any, half: Any, offsets: Any, ends: Any, stage: Any, scratch: Any, room: Any, n: Any,
    tile: Any, t: Any, number: Any,
) -> None:  # fmt: skip
    """Sort tile ``t`` of the records by digit ``number`` into ``scratch[room:]``."""
    start_runs(offsets, ends, t)
    first = u64(t) * tile
    last = min(first + tile, n)
    for block in range(first, last, STAGE):
        size = min(last - block, u64(STAGE))
        for i in range(size * records.words):
            stage[i] = source[(half + block) * records.words + i]
        settle(records, stage, ends, scratch, room, size, digit_of, records.key_shift + DIGIT_BITS * number)


def finish_runs(
    records: Any, keys_out: Any, offsets: Any, ends: Any, scratch: Any, room: Any, keys: Any, payloads: Any,
    base: Any, t: Any,
) -> None:  # fmt: skip
    """Write the elements and payloads of each digit's run of tile ``t`` to their places."""
    begin = u32(0)
    for d in range(DIGITS):
        end = ends[d]
        to = base + u64(offsets[t * DIGITS + d])
        finish(records, keys_out, scratch, room + u64(begin), keys, payloads, to, u64(end - begin))
        begin = end
