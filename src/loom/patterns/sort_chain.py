"""Records a sort: how rows are cut for a device, the memory it needs, its dispatches.

Layer: patterns. Short rows take one dispatch, a group each. A long row of wide keys goes to buckets that are
sorted inside the cache, unless the device finds that its keys do not spread; then, and for narrow keys, it takes
three dispatches per digit: count, scan, scatter. Where lanes are threads of hardware,
``schedules.sort_threads`` plans. Invariant: the plan changes speed, never the result, since a stable order is unique.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from loom.core.caps import Caps
from loom.core.dtype import u32, u64
from loom.core.errors import ShapeError
from loom.kernels.group.marks import MARK_TILE
from loom.kernels.sort import buckets as sort_buckets
from loom.kernels.sort import radix as sort
from loom.kernels.sort.keys import DIGITS, Records
from loom.kernels.sort.small import sort_row
from loom.patterns.calling.call import Call, Operand
from loom.patterns.calling.workspace import workspace
from loom.runtime.chain import Chain
from loom.runtime.storage import HostSlot, Storage
from loom.schedules.sort_threads import ThreadSortPlan

__all__ = ["SortPlan", "cut", "plan_sort", "run_sort"]

SHORT_ROW = 4096
"""Elements of a row that one group sorts alone."""
_LEAST_TILE = 4096
_TILES_PER_WORKER = 4
"""So that workers end together though one was held up."""
_LEAST_BUCKET = 2048
"""Elements of a bucket, at least: with fewer, its counters cost more than its elements."""
_SECOND_DIGIT = 0xFF00
"""What is said to vary of keys of two digits, whose first pass is done when that is asked."""
_NOTHING = 8
"""Bytes bound in place of a buffer that a kernel does not use."""


def cut(n: int, nbytes: int, caps: Caps) -> int:
    """Return how many elements of ``nbytes`` a group takes: an eighth of a worker's cache, enough tiles for all.

    Where lanes are threads of hardware it is what the lanes of a group take together.
    """
    if caps.threads:
        return MARK_TILE
    fitting = max(_LEAST_TILE, caps.cache_nbytes // (8 * nbytes))
    shared = -(-n // (_TILES_PER_WORKER * caps.workers))
    return min(fitting, max(_LEAST_TILE, shared))


@dataclass(frozen=True, slots=True)
class SortPlan:
    """How ``rows`` rows of ``n`` elements are sorted: ``groups`` workgroups take turns at tiles of ``tile``."""

    records: Records
    rows: int
    n: int
    keys_out: bool
    tile: int
    groups: int

    @classmethod
    def of(cls, records: Records, rows: int, n: int, *, keys_out: bool, caps: Caps, where: str) -> SortPlan:
        """Plan for a device; ShapeError if there are too many elements for its buffers."""
        tile = cut(n, records.nbytes, caps)
        made = cls(records, rows, n, keys_out, tile, min(-(-n // tile), _TILES_PER_WORKER * caps.workers))
        if made.sizes[0] // records.word.nbytes >= 1 << 32:
            most = (1 << 31) // records.words
            raise ShapeError(
                where, "too many elements to sort", expected=f"less than {most}", got=rows * n,
                remedy="Sort it in parts",
            )  # fmt: skip
        return made

    @property
    def is_short(self) -> bool:
        """True if each row takes one group."""
        return self.n <= SHORT_ROW

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
        self, chain: Chain, x: Storage, values: Storage | None, keys: Storage | None, payloads: Storage | None,
        room: Sequence[Storage],
    ) -> list[Storage]:  # fmt: skip
        """Record the sort of ``x`` into ``keys`` and ``payloads``; return memory the program must keep."""
        both, scratch = room
        nothing = chain.device.allocate(_NOTHING)
        unused = chain.device.allocate(_NOTHING)
        inputs = [x, x if values is None else values]
        outputs = [nothing if keys is None else keys, unused if payloads is None else payloads]
        if self.is_short:
            kernel = sort_row(self.records, keys_out=self.keys_out)
            chain.dispatch(kernel, [*inputs, both, *outputs], [self.n], groups=self.rows)
            return [nothing, unused]
        steps = _Steps(self, chain, inputs, outputs, both, scratch)
        if self.rows == 1:
            steps.record(0)
        else:
            with chain.repeat(self.rows):
                steps.record(np.arange(self.rows, dtype=np.uint64) * np.uint64(self.n))
        return [nothing, unused, *steps.kept]


class _Steps:
    """Records the steps over one long row."""

    def __init__(
        self, plan: SortPlan, chain: Chain, inputs: list[Storage], outputs: list[Storage], both: Storage,
        scratch: Storage,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.chain = chain
        self.inputs = inputs
        self.outputs = outputs
        self.both = both
        self.scratch = scratch
        self.tiles = -(-plan.n // plan.tile)
        self.kept: list[Storage] = []
        self.counts = self.memory((self.tiles + 1) * DIGITS * u32.nbytes)
        self.state = self.memory(u64.nbytes)

    def memory(self, nbytes: int) -> Storage:
        """Return memory that the program keeps."""
        self.kept.append(self.chain.device.allocate(nbytes))
        return self.kept[-1]

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
        self.dispatch(sort.count_input(records.order), [self.inputs[0], self.counts], cuts[:3], tiles)
        self.dispatch(sort.scan_digits(), [self.counts], [tiles])
        if records.passes == 1:
            only = sort.scatter_only(records, keys_out=plan.keys_out)
            self.dispatch(only, [*self.inputs, *places, *self.outputs], cuts, plan.groups)
            return
        self.dispatch(sort.scatter_first(records), [*self.inputs, *places, self.both], cuts, plan.groups)
        self.state.write(0, np.array([_SECOND_DIGIT], np.uint64).view(np.uint8))
        count = sort.count_records(records.layout)
        self.dispatch(count, [self.both, self.state, self.counts], [plan.n, plan.tile, 1], tiles)
        self.dispatch(sort.scan_digits(), [self.counts], [tiles])
        last = sort.scatter_last(records, keys_out=plan.keys_out)
        self.dispatch(last, [self.both, *places, *self.outputs], cuts, plan.groups)

    def buckets(self, base: Any) -> None:
        """Record the way through buckets, the passes being left to run only if the keys do not spread."""
        plan, records = self.plan, self.plan.records
        order, n, tile, tiles, groups = records.order, plan.n, plan.tile, self.tiles, plan.groups
        prefixes = sort_buckets.prefixes(order)
        tallies, table, bounds = (self.memory(size) for size in (prefixes * u32.nbytes, prefixes, 2 * u64.nbytes))
        ways = self.memory(sort_buckets.WAYS * 3 * u32.nbytes)
        x = self.inputs[0]
        choose = sort_buckets.choose_buckets(order)
        self.dispatch(choose, [x, tallies, table, bounds], [n, base, plan.buckets])
        count = sort_buckets.count_buckets(order)
        self.dispatch(count, [x, bounds, table, self.counts], [n, base, tile], tiles)
        self.dispatch(sort.scan_digits(), [self.counts], [tiles])
        self.dispatch(sort_buckets.decide(), [self.counts, ways], [tiles, groups, plan.largest_bucket])
        buffers = [*self.inputs, table, self.counts, bounds, self.scratch, self.both]
        self.dispatch(sort_buckets.scatter_buckets(records), buffers, [n, base, tile, tiles], groups)
        self.passes(ways)
        inside = sort_buckets.sort_buckets(records, keys_out=plan.keys_out)
        buffers = [self.both, self.counts, ways, self.state, *self.outputs]
        self.dispatch(inside, buffers, [n, base, tiles, plan.buckets, plan.room], groups)

    def passes(self, ways: Storage) -> None:
        """Record passes over all digits of records; the device tells whether they run."""
        plan, layout, tiles = self.plan, self.plan.records.layout, self.tiles
        counts, varying = self.memory(self.counts.nbytes), self.memory(tiles * u64.nbytes)

        def dispatch(kernel: Any, buffers: list[Storage], params: list[Any], way: int) -> None:
            self.chain.dispatch_indirect(kernel, buffers, params, ways, way * 3 * u32.nbytes)

        dispatch(sort.find_varying(layout), [self.both, varying], [plan.n, plan.tile], 0)
        dispatch(sort.join_varying(layout.order.bits), [varying, self.state], [tiles], 2)
        for number in range(layout.passes):
            buffers = [self.both, self.state, counts]
            dispatch(sort.count_records(layout), buffers, [plan.n, plan.tile, number], 0)
            dispatch(sort.scan_digits(), [counts], [tiles], 2)
            buffers = [self.both, counts, self.state, self.scratch]
            dispatch(sort.scatter_middle(layout), buffers, [plan.n, plan.tile, tiles, number], 1)

    def dispatch(self, kernel: Any, buffers: list[Storage], params: list[Any], groups: int = 1) -> None:
        """Record a step."""
        self.chain.dispatch(kernel, buffers, params, groups=groups)


def plan_sort(
    records: Records, rows: int, n: int, *, keys_out: bool, caps: Caps, where: str
) -> SortPlan | ThreadSortPlan:
    """Return the plan for a device: its ``sizes`` of working memory are given to its ``record``."""
    kind = ThreadSortPlan if caps.threads else SortPlan
    return kind.of(records, rows, n, keys_out=keys_out, caps=caps, where=where)


def run_sort(
    call: Call, records: Records, x: Operand, rows: int, *, values: Operand | None = None,
    keys: Operand | None = None, payloads: Operand | None = None,
) -> None:  # fmt: skip
    """Sort each of ``rows`` rows of ``x`` into ``keys`` and ``payloads``, of which at least one is wanted."""
    if not x.size:
        return
    n = x.size // rows
    plan = plan_sort(records, rows, n, keys_out=keys is not None, caps=call.device.caps, where=call.name)
    given = [o for o in (x, values, keys, payloads) if o is not None]

    def record(chain: Chain) -> tuple[list[HostSlot], Any]:
        lent = [HostSlot(nbytes) for nbytes in plan.sizes]
        source, *others = (None if o is None else HostSlot(o.nbytes) for o in (x, values, keys, payloads))
        assert source is not None
        kept = plan.record(chain, source, others[0], others[1], others[2], lent)
        return [slot for slot in (source, *others, *lent) if slot is not None], kept

    with workspace(plan.sizes, call.device) as room:
        call.run((call.name, plan), record, *given, *room)
