"""Records a sort that reads the keys once to count, and once for each digit of eight bits.

Layer: schedules. ``sort.plan_sort`` chooses it for a long row where groups may wait for each other. Invariant: the plan
changes speed, never the result, since a stable order is unique.
"""

from __future__ import annotations

from collections.abc import Sequence

from loom.core.caps import Caps
from loom.core.dtype import u32, u64
from loom.core.late.dataclass import dataclass
from loom.kernels.group.clear import CLEAR_LANES, clear_words
from loom.kernels.sort import onesweep
from loom.kernels.sort.exchange import SortTile
from loom.kernels.sort.keys import DIGITS, Records
from loom.schedules.recorder import Recorder, StorageLike

__all__ = ["SweepPlan"]

_LANES = 256
_ITEMS = {32: 24, 64: 10}
"""Words of a lane by their bits, the fastest of four measured on an H100 each."""
_SHARED_NBYTES = 1 << 15
"""Shared memory that is enough for a tile of these."""
_LEAST = 1 << 22
"""Elements from which on this pays: a tile takes long, and few tiles leave most of a GPU idle."""
_COUNTERS = 1024
"""Groups that count, at most: each adds all its counts to the totals."""
_COUNTED_NBYTES = 64
"""Bytes of elements that a lane of them reads at a time."""
_NOTHING = 8
"""Bytes bound in place of a buffer that a kernel does not use."""


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """How a row of ``n`` elements is sorted by tiles of ``tile``."""

    records: Records
    n: int
    keys_out: bool
    tile: SortTile

    @staticmethod
    def takes(records: Records, rows: int, n: int, caps: Caps) -> bool:
        """Tell whether a sort can be done in this way, and is long enough for it."""
        fits = caps.max_workgroup_lanes >= _LANES and caps.shared_nbytes >= _SHARED_NBYTES
        most = onesweep.MOST_TOLD - _LANES * max(_ITEMS.values())
        return fits and rows == 1 and records.words == 1 and _LEAST <= n < most

    @classmethod
    def of(cls, records: Records, n: int, *, keys_out: bool, items: int | None = None) -> SweepPlan:
        """Plan for a device; ``items``: words of a lane, by default those of ``_ITEMS``."""
        word = u64 if records.word.bits == u64.bits else u32
        return cls(records, n, keys_out, SortTile(_LANES, items or _ITEMS[word.bits], word))

    @property
    def tiles(self) -> int:
        """Tiles of the row."""
        return -(-self.n // self.tile.size)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Bytes of working memory: two places for records between passes, counts, what tiles tell in turn."""
        between = self.records.passes - 1
        halves = [self.n * self.records.nbytes if between > k else _NOTHING for k in range(2)]
        told = (self.tiles + 1) * DIGITS * u32.nbytes
        return *halves, self.records.passes * DIGITS * u32.nbytes, told, told

    def record(
        self, chain: Recorder, x: StorageLike, values: StorageLike | None, keys: StorageLike | None,
        payloads: StorageLike | None, room: Sequence[StorageLike],
    ) -> None:  # fmt: skip
        """Record the sort of ``x`` (and ``values``) into ``keys`` and ``payloads``; ``room``: memory of ``sizes``."""
        nothing, unused = (chain.device.allocate(_NOTHING) for _ in range(2))
        given = [x, nothing if values is None else values]
        results = [nothing if keys is None else keys, unused if payloads is None else payloads]
        *halves, totals, told, later = room
        order, last = self.records.order, self.records.passes - 1
        for memory in (totals, told):
            words = memory.nbytes // u32.nbytes
            chain.dispatch(clear_words(u32), [memory], [words], groups=min(_COUNTERS, -(-words // CLEAR_LANES)))
        items = _COUNTED_NBYTES // order.bits.nbytes
        groups = min(_COUNTERS, -(-self.n // (_LANES * items)))
        chain.dispatch(onesweep.count_all_digits(order, _LANES, items), [x, totals], [self.n], groups=groups)
        chain.dispatch(onesweep.place_digits(), [totals], [], groups=self.records.passes)
        for number in range(self.records.passes):
            first, ends = number == 0, number == last
            moved = self.records if first or ends else self.records.layout
            kernel = onesweep.sweep(moved, self.tile, first=first, last=ends, keys_out=self.keys_out and ends)
            inputs = given if first else [nothing, nothing]
            outputs = results if ends else [nothing, unused]
            between = [halves[1 - number % 2], totals, told, later, halves[number % 2]]
            chain.dispatch(kernel, [*inputs, *between, *outputs], [self.n, number], groups=self.tiles)
            told, later = later, told
