"""Sorts long rows in two steps: into buckets of near keys, then each bucket inside the cache.

Layer: kernels. A key's bucket is looked up by its prefix, its place in the range of the keys. Range and table
come from a sample, so that buckets are of similar size whatever the distribution; ``decide`` looks at their true
sizes and, should one be too large for that, lets the passes of ``kernels.sort.radix`` sort all records first, by
writing their group counts. ``sort_buckets`` moves a bucket's records digit by digit, the digits being cut from a key's
distance to the least one of the bucket. Invariant: buckets are in the order of their keys and keep the records'
order, so the result is that of ``kernels.sort.radix``.

Source: the sampled splitters are those of Frazer and McKellar's sample sort (1970), looked up by prefix.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import u8, u32, u64
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import clz, group_id, num_groups, private
from loom.kernels.group.join import items
from loom.kernels.sort.keys import DIGITS, Order, Records
from loom.kernels.sort.radix import half_of
from loom.kernels.sort.tiles import STAGE, clear, copy_runs, finish, settle_input, tally, write_counts

__all__ = [
    "SAMPLES",
    "WAYS",
    "choose_buckets",
    "count_buckets",
    "decide",
    "prefixes",
    "scatter_buckets",
    "sort_buckets",
]

SAMPLES = 4096
"""Keys looked at to choose buckets, evenly spaced."""
WAYS = 3
"""Group counts that ``decide`` writes: of the counts, the scatters and the scans of ``kernels.sort.radix``."""

_WIDEST = 9
"""Most bits of a digit within a bucket: its counters and the ends of its runs stay in the first-level cache."""


def prefixes(order: Order) -> int:
    """Return the number of prefixes told apart: more where floats have more exponents."""
    return 1 << (14 if order.bits.bits == u32.bits else 16)


@cache
def choose_buckets(order: Order) -> KernelFunction:
    """Return the kernel (x, tallies, table, bounds, n, base, buckets) that gives each prefix a bucket; one group.

    ``tallies`` has a counter per prefix, ``table`` becomes the bucket, below ``buckets``, of each; they ascend.
    ``bounds`` becomes the least key of the sample and where prefixes start.
    """
    most_prefix = prefixes(order) - 1

    @kernel(workgroup=1, trusted=True)
    def choose(
        x: In[order.bits],
        tallies: InOut[u32],
        table: Out[u8],
        bounds: InOut[order.bits],
        n: u64,
        base: u64,
        buckets: u32,
    ) -> None:
        least = order.encode(x[base])
        most = least
        for i in range(u64(SAMPLES)):
            key = order.encode(x[base + i * n // SAMPLES])
            least = min(least, key)
            most = max(most, key)
        width = u32(order.bits.bits) - u32(clz(most - least))
        bounds[0] = least
        bounds[1] = order.bits(max(width, u32(most_prefix.bit_length())) - most_prefix.bit_length())
        for p in range(u32(most_prefix + 1)):
            tallies[p] = 0
        for i in range(u64(SAMPLES)):
            prefix = prefix_of(order, order.encode(x[base + i * n // SAMPLES]), bounds)
            tallies[prefix] = tallies[prefix] + 1
        before = u32(0)
        for p in range(u32(most_prefix + 1)):
            table[p] = u8(min(before * buckets // SAMPLES, buckets - 1))
            before += tallies[p]

    choose.name = f"sort_choose_{order.name}"
    return choose


@cache
def count_buckets(order: Order) -> KernelFunction:
    """Return the kernel (x, bounds, table, counts, n, base, tile): how many keys of tile g fall into each bucket."""

    @kernel(workgroup=1, trusted=True)
    def count(
        x: In[order.bits],
        bounds: In[order.bits],
        table: In[u8],
        counts: Out[u32],
        n: u64,
        base: u64,
        tile: u64,
    ) -> None:
        tallies = private(u32, 2 * DIGITS)
        stage = private(u32, STAGE)
        clear(tallies)
        first = base + u64(group_id()) * tile
        last = min(first + tile, base + n)
        for block in range(first, last, STAGE):
            size = min(last - block, u64(STAGE))
            for i in range(size):
                stage[i] = prefix_of(order, order.encode(x[block + i]), bounds)
            for i in range(size // 2):
                tally(tallies, u32(table[stage[2 * i]]))
                tally(tallies, DIGITS + u32(table[stage[2 * i + 1]]))
            if size % 2 == 1:
                tally(tallies, u32(table[stage[size - 1]]))
        write_counts(tallies, counts)

    count.name = f"sort_count_buckets_{order.name}"
    return count


@cache
def decide() -> KernelFunction:
    """Return the kernel (offsets, ways, tiles, groups, limit) that looks at the sizes of buckets; one group.

    ``ways`` becomes ``WAYS`` triples of group counts: zero if no bucket has more than ``limit`` keys, so that
    the passes over all records are left out, else those of the passes.
    """

    @kernel(workgroup=1, trusted=True)
    def choose(offsets: In[u32], ways: Out[u32], tiles: u32, groups: u32, limit: u32) -> None:
        largest = u32(0)
        for d in range(DIGITS):
            largest = max(largest, offsets[tiles * DIGITS + d] - offsets[d])
        for way in range(3 * WAYS):
            ways[way] = 1
        exceeds = u32(largest > limit)
        ways[0] = tiles * exceeds
        ways[3] = groups * exceeds
        ways[6] = exceeds

    choose.name = "sort_decide"
    return choose


@cache
def scatter_buckets(records: Records) -> KernelFunction:
    """Return the kernel that makes records and moves them to their buckets, in the first half of ``out``.

    Buffers x, values, table, offsets, bounds, scratch, out; parameters n, base, tile, tiles, as those of
    ``sort.scatter_first``.
    """
    order = records.order
    value = records.payload_input or u8

    @kernel(workgroup=1, trusted=True)
    def scatter(
        x: In[order.bits],
        values: In[value],
        table: In[u8],
        offsets: In[u32],
        bounds: In[order.bits],
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
            settle_input(records, x, values, offsets, ends, stage, scratch, room, n, base, tile, t, bucket_of,
                         items(table, bounds))  # fmt: skip
            copy_runs(records, offsets, ends, scratch, room, out, u64(0), t)

    scatter.name = f"sort_to_buckets_{records.name}"
    return scatter


@cache
def sort_buckets(records: Records, *, keys_out: bool) -> KernelFunction:
    """Return the kernel that sorts buckets and writes them out: group g does buckets g, g + groups, ...

    Buffers both, offsets, ways, state, keys, payloads; parameters n, base, tiles, buckets, room. Behind the two
    halves ``both`` has twice ``room`` records for each group, where buckets that fit are sorted: memory that
    stays in the cache from one to the next. After passes over all records (``ways``) buckets are sorted already.
    """
    order = records.order

    @kernel(workgroup=1, trusted=True)
    def sort(
        both: InOut[records.word],
        offsets: In[u32],
        ways: In[u32],
        state: In[order.bits],
        keys: Out[order.bits],
        payloads: Out[records.payload_output],
        n: u64,
        base: u64,
        tiles: u32,
        buckets: u32,
        room: u64,
    ) -> None:
        table = private(u32, 2 << _WIDEST)
        half = u64(0)
        if ways[0] != 0:
            half = u64(half_of(records, state, u32(records.passes)))
        for bucket in range(group_id(), buckets, num_groups()):
            first = u64(offsets[bucket])
            size = u64(offsets[tiles * DIGITS + bucket]) - first
            here, there, after = half * n + first, n + first, first
            if size <= room:
                there = 2 * n + 2 * room * u64(group_id())
                after = there + room
            if size > 0:
                least, most = extent(records, both, here, size)
                if ways[0] == 0 and most > least:
                    width = u32(order.bits.bits) - u32(clz(most - least))
                    passes = (width + (_WIDEST - 1)) // _WIDEST
                    step = (width + passes - 1) // passes
                    start = records.first_word(least, 0)
                    shift = u32(records.key_shift)
                    count_first(records, both, table, here, size, start, shift, step)
                    this, following = u32(0), u32(1 << _WIDEST)
                    for _ in range(passes - 1):
                        turn_into_places(table, this, following, step)
                        move(records, both, table, here, there, size, this, following, start, shift, step, True)
                        here, there, after = there, after, there
                        this, following = following, this
                        shift += step
                    turn_into_places(table, this, following, step)
                    move(records, both, table, here, there, size, this, following, start, shift, step, False)
                    here = there
                finish(records, keys_out, both, here, keys, payloads, base + first, size)

    sort.name = f"sort_buckets_{records.name}{'' if keys_out else '_payload'}"
    return sort


# what the kernels are made of


def prefix_of(order: Any, key: Any, bounds: Any) -> Any:
    """Return the high bits of a key's distance to the least one of the sample, cut to the range."""
    least = bounds[0]
    return u32(min((max(key, least) - least) >> bounds[1], order.bits(prefixes(order) - 1)))


def bucket_of(records: Any, word: Any, by: Any) -> Any:
    """Return the bucket of a record; ``by``: the table of buckets by prefix, and the bounds of the sample."""
    table, bounds = by
    return u32(table[prefix_of(records.order, records.key(word), bounds)])


def extent(records: Any, both: Any, first: Any, size: Any) -> Any:
    """Return the least and the greatest key of ``size`` records."""
    least = records.key(both[first * records.words])
    most = least
    for i in range(size):
        key = records.key(both[(first + i) * records.words])
        least = min(least, key)
        most = max(most, key)
    return least, most


def count_first(records: Any, both: Any, table: Any, first: Any, size: Any, start: Any, shift: Any, step: Any) -> None:
    """Count the records by the digit of ``step`` bits at ``shift`` of their distance from ``start``."""
    last = (u32(1) << step) - 1
    for d in range(last + 1):
        table[d] = 0
    for i in range(size):
        tally(table, u32((both[(first + i) * records.words] - start) >> records.word(shift)) & last)


def turn_into_places(table: Any, this: Any, following: Any, step: Any) -> None:
    """Turn the counts at ``this`` into where each digit starts, and clear those at ``following``."""
    at = u32(0)
    for d in range(u32(1) << step):
        run = table[this + d]
        table[this + d] = at
        at += run
        table[following + d] = 0


def move(
    records: Any, both: Any, table: Any, here: Any, there: Any, size: Any, this: Any, following: Any, start: Any,
    shift: Any, step: Any, counting: Any,
) -> None:  # fmt: skip
    """Move records by one digit, ``counting`` them by the next."""
    last = (u32(1) << step) - 1
    for i in range(size):
        word = both[(here + i) * records.words]
        place = this + (u32((word - start) >> records.word(shift)) & last)
        to = there + u64(table[place])
        table[place] = table[place] + 1
        both[to * records.words] = word
        if records.words == 2:
            both[to * 2 + 1] = both[(here + i) * 2 + 1]
        if counting:
            tally(table, following + (u32((word - start) >> records.word(shift + step)) & last))
