"""Records a sort: how rows are cut for a device, the memory it needs, its dispatches.

Layer: schedules. Short rows take one dispatch, a group each. A long row of wide keys goes to buckets that are
sorted inside the cache, unless the device finds that its keys do not spread; then, and for narrow keys, it takes
three dispatches per digit: count, scan, scatter. Where lanes are threads of hardware, ``threads`` plans.
Invariant: the plan changes speed, never the result, since a stable order is unique.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.caps import Caps
from loom.core.dtype import u32, u64
from loom.core.errors import ShapeError
from loom.core.late.dataclass import dataclass
from loom.ir.frontend.decorator import KernelFunction
from loom.kernels.sort import buckets, radix
from loom.kernels.sort.keys import DIGITS, Records
from loom.kernels.sort.scatter import scatter_tiles
from loom.kernels.sort.small import sort_row
from loom.schedules.recorder import Recorder, StorageLike
from loom.schedules.sorting.sweep import SweepPlan
from loom.schedules.sorting.threads import ThreadSortPlan

__all__ = ["SortPlan", "cut", "orders_by_threads", "plan_sort"]

SHORT_ROW = 4096
"""Elements of a row that one group sorts alone."""
_FEW_DIGITS = 1 << 17
"""The same by the digits that differ, where these are known: a group alone leaves out the others."""
_LONG_ROW = 1 << 16
"""The same where there are rows enough for all workers, which then need not wait for each other."""
_LEAST_TILE = 4096
_TILES_PER_WORKER = 4
"""So that workers end together though one was held up."""
_LEAST_BUCKET = 2048
"""Elements of a bucket, at least: with fewer, its counters cost more than its elements."""
_SECOND_DIGIT = np.array([0x00, 0xFF, 0, 0, 0, 0, 0, 0], np.uint8)
"""What is said to vary of keys of two digits, whose first pass is done when that is asked."""
_NOTHING = 8
"""Bytes bound in place of a buffer that a kernel does not use."""


def cut(n: int, nbytes: int, caps: Caps) -> int:
    """Return how many elements of ``nbytes`` a lane takes: an eighth of a worker's cache, enough tiles for all."""
    fitting = max(_LEAST_TILE, caps.cache_nbytes // (8 * nbytes))
    shared = -(-n // (_TILES_PER_WORKER * caps.workers))
    return min(fitting, max(_LEAST_TILE, shared))


@dataclass(frozen=True, slots=True)
class SortPlan:
    """How ``rows`` rows of ``n`` elements are sorted: ``groups`` workgroups take turns at tiles of ``tile``.

    If ``is_short`` each row takes one group instead.
    """

    records: Records
    rows: int
    n: int
    keys_out: bool
    is_short: bool
    tile: int
    groups: int

    @classmethod
    def of(
        cls, records: Records, rows: int, n: int, *, keys_out: bool, caps: Caps, where: str, digits: int | None = None
    ) -> SortPlan:
        """Plan for a device; ShapeError if there are too many elements for its buffers."""
        tile = cut(n, records.nbytes, caps)
        groups = min(-(-n // tile), _TILES_PER_WORKER * caps.workers)
        is_short = n <= SHORT_ROW or (digits is not None and n * digits <= _FEW_DIGITS)
        is_short = is_short or (rows >= 2 * caps.workers and n <= _LONG_ROW)
        plan = cls(records, rows, n, keys_out, is_short, tile, groups)
        if plan.sizes[0] // records.word.nbytes >= 1 << 32:
            most = (1 << 31) // records.words
            raise ShapeError(
                where, "too many elements to sort", expected=f"less than {most}", got=rows * n,
                remedy="Sort it in parts",
            )  # fmt: skip
        return plan

    @property
    def has_buckets(self) -> bool:
        """True for keys of more than two digits: buckets move records as often as two passes do."""
        return self.records.passes > 2

    @property
    def buckets(self) -> int:
        """Number of buckets of a long row."""
        return min(DIGITS, max(2, self.n // _LEAST_BUCKET))

    @property
    def room(self) -> int:
        """Elements of a bucket that a group has room for beside the records."""
        return 2 * -(-self.n // self.buckets)

    @property
    def largest_bucket(self) -> int:
        """Elements of a bucket at most: more would keep a worker longer than the others."""
        return max(8 * _LEAST_BUCKET, 2 * self.n // self.groups)

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of working memory: both halves of the records, and a tile for each group."""
        if self.is_short:
            return 2 * self.rows * self.n * self.records.nbytes, _NOTHING
        kept = min(self.records.passes - 1, 2) * self.n + (2 * self.groups * self.room if self.has_buckets else 0)
        return max(_NOTHING, kept * self.records.nbytes), self.groups * self.tile * self.records.nbytes

    def record(
        self, chain: Recorder, x: StorageLike, values: StorageLike | None, keys: StorageLike | None,
        payloads: StorageLike | None, room: Sequence[StorageLike],
    ) -> None:  # fmt: skip
        """Record the sort of ``x`` (and ``values``) into ``keys`` and ``payloads``; ``room``: memory of ``sizes``."""
        both, scratch = room
        nothing, unused = (chain.device.allocate(_NOTHING) for _ in range(2))
        inputs = [x, x if values is None else values]
        outputs = [nothing if keys is None else keys, unused if payloads is None else payloads]
        if self.is_short:
            kernel = sort_row(self.records, keys_out=self.keys_out)
            chain.dispatch(kernel, [*inputs, both, *outputs], [self.n], groups=self.rows)
            return
        steps = _Steps(self, chain, inputs, outputs, both, scratch)
        if self.rows == 1:
            steps.record(0)
        else:
            with chain.repeat(self.rows):
                steps.record(np.arange(self.rows, dtype=np.uint64) * np.uint64(self.n))


class _Steps:
    """Records the steps over one long row."""

    def __init__(
        self, plan: SortPlan, chain: Recorder, inputs: list[StorageLike], outputs: list[StorageLike],
        both: StorageLike, scratch: StorageLike,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.chain = chain
        self.inputs = inputs
        self.outputs = outputs
        self.both = both
        self.scratch = scratch
        self.tiles = -(-plan.n // plan.tile)
        self.counts = chain.device.allocate((self.tiles + 1) * DIGITS * u32.nbytes)
        self.state = chain.device.allocate(u64.nbytes)

    def record(self, base: Any) -> None:
        """Record the sort of the row that starts at ``base``."""
        if self.plan.has_buckets:
            self.buckets(base)
        else:
            self.narrow(base)

    def narrow(self, base: Any) -> None:
        """Record the passes over keys of one or two digits."""
        plan, records, tiles = self.plan, self.plan.records, self.tiles
        cuts = [plan.n, base, plan.tile, tiles]
        places = [self.counts, self.scratch]
        self.dispatch(radix.count_input(records.order), [self.inputs[0], self.counts], cuts[:3], tiles)
        self.dispatch(radix.scan_digits(), [self.counts], [tiles])
        if records.passes == 1:
            only = scatter_tiles(records, "only", keys_out=plan.keys_out)
            self.dispatch(only, [*self.inputs, *places, *self.outputs], cuts, plan.groups)
            return
        self.dispatch(scatter_tiles(records, "first"), [*self.inputs, *places, self.both], cuts, plan.groups)
        self.state.write(0, _SECOND_DIGIT)
        count = radix.count_records(records.layout)
        self.dispatch(count, [self.both, self.state, self.counts], [plan.n, plan.tile, 1], tiles)
        self.dispatch(radix.scan_digits(), [self.counts], [tiles])
        last = scatter_tiles(records, "last", keys_out=plan.keys_out)
        self.dispatch(last, [self.both, *places, *self.outputs], cuts, plan.groups)

    def buckets(self, base: Any) -> None:
        """Record the way through buckets, the passes being left to run only if the keys do not spread."""
        plan, records = self.plan, self.plan.records
        order, n, tile, tiles, groups = records.order, plan.n, plan.tile, self.tiles, plan.groups
        prefixes = buckets.prefixes(order)
        sizes = prefixes * u32.nbytes, prefixes, 2 * u64.nbytes, buckets.WAYS * 3 * u32.nbytes
        tallies, table, bounds, ways = (self.chain.device.allocate(nbytes) for nbytes in sizes)
        x = self.inputs[0]
        choose = buckets.choose_buckets(order)
        self.dispatch(choose, [x, tallies, table, bounds], [n, base, plan.buckets])
        count = buckets.count_buckets(order)
        self.dispatch(count, [x, bounds, table, self.counts], [n, base, tile], tiles)
        self.dispatch(radix.scan_digits(), [self.counts], [tiles])
        self.dispatch(buckets.decide(), [self.counts, ways], [tiles, groups, plan.largest_bucket])
        buffers = [*self.inputs, table, self.counts, bounds, self.scratch, self.both]
        self.dispatch(scatter_tiles(records, "to_buckets"), buffers, [n, base, tile, tiles], groups)
        self.passes(ways)
        inside = buckets.sort_buckets(records, keys_out=plan.keys_out)
        buffers = [self.both, self.counts, ways, self.state, *self.outputs]
        self.dispatch(inside, buffers, [n, base, tiles, plan.buckets, plan.room], groups)

    def passes(self, ways: StorageLike) -> None:
        """Record passes over all digits of records; the device tells whether they run."""
        plan, layout, tiles = self.plan, self.plan.records.layout, self.tiles
        counts, varying = (self.chain.device.allocate(nbytes) for nbytes in (self.counts.nbytes, tiles * u64.nbytes))

        def dispatch(kernel: KernelFunction, buffers: list[StorageLike], params: list[Any], way: int) -> None:
            self.chain.dispatch_indirect(kernel, buffers, params, ways, way * 3 * u32.nbytes)

        dispatch(radix.find_varying(layout), [self.both, varying], [plan.n, plan.tile], 0)
        dispatch(radix.join_varying(layout.order.bits), [varying, self.state], [tiles], 2)
        for number in range(layout.passes):
            buffers = [self.both, self.state, counts]
            dispatch(radix.count_records(layout), buffers, [plan.n, plan.tile, number], 0)
            dispatch(radix.scan_digits(), [counts], [tiles], 2)
            buffers = [self.both, counts, self.state, self.scratch]
            dispatch(scatter_tiles(layout, "middle"), buffers, [plan.n, plan.tile, tiles, number], 1)

    def dispatch(self, kernel: KernelFunction, buffers: list[StorageLike], params: list[Any], groups: int = 1) -> None:
        """Record a step."""
        self.chain.dispatch(kernel, buffers, params, groups=groups)


def orders_by_threads(caps: Caps) -> bool:
    """Tell whether a device puts elements in order by many threads, else by few workers over tiles."""
    return caps.threads


def plan_sort(
    records: Records, rows: int, n: int, *, keys_out: bool, caps: Caps, where: str, digits: int | None = None,
    once: bool | None = None,
) -> SortPlan | ThreadSortPlan | SweepPlan:  # fmt: skip
    """Return the plan for a device: its ``sizes`` of working memory are given to its ``record``.

    ``digits``: how many digits of the keys may differ, where that is known. ``once`` tells whether a long row is read
    once for each digit, where that can be: by default where groups may wait for each other.
    """
    if (caps.waits if once is None else once) and SweepPlan.takes(records, rows, n, caps):
        return SweepPlan.of(records, n, keys_out=keys_out)
    if orders_by_threads(caps):
        return ThreadSortPlan.of(records, rows, n, keys_out=keys_out, caps=caps, where=where)
    return SortPlan.of(records, rows, n, keys_out=keys_out, caps=caps, where=where, digits=digits)
