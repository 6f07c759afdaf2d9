"""Records a sort for devices whose lanes are threads of hardware: how rows are cut, the memory, the dispatches.

Layer: schedules. ``sort.plan_sort`` chooses it. Rows of at most a tile take one dispatch, a workgroup each; longer
ones three dispatches per digit of eight bits, all rows at once. Invariant: the plan changes speed, never the result,
since a stable order is unique.
"""

from __future__ import annotations

from collections.abc import Sequence

from loom.core.caps import Caps
from loom.core.dtype import u32, u64
from loom.core.errors import ShapeError
from loom.core.late.dataclass import dataclass
from loom.kernels.sort import threads
from loom.kernels.sort.exchange import MOST_ITEMS, SortTile
from loom.kernels.sort.keys import DIGITS, Records
from loom.schedules.recorder import Recorder, StorageLike

__all__ = ["ThreadSortPlan"]

_LANES = 256
_LEAST_LANES = 32
_EAGER_ITEMS = 4
"""Elements of a lane from which on a short row gets more lanes."""
_SHARE = 3 / 8
"""Part of shared memory that the words of a tile take at most, so that several groups fit a multiprocessor."""
_BLOCKS_PER_WORKER = 32
"""Groups of a multiprocessor: some run while others wait, and all end together."""
_MOST_TURNS = 64
_FEW_BLOCKS = 16
"""Blocks of a row up to which a lane scans the counts of a digit alone."""
_MOST_WORDS = 1 << 31
"""Positions are told with 32 bits, also those some tiles beyond the end."""
_NOTHING = 8
"""Bytes bound in place of a buffer that a kernel does not use."""


@dataclass(frozen=True, slots=True)
class ThreadSortPlan:
    """How ``rows`` rows of ``n`` elements are sorted: each is cut into ``blocks`` of ``turns`` tiles."""

    records: Records
    rows: int
    n: int
    keys_out: bool
    tile: SortTile
    blocks: int
    turns: int

    @classmethod
    def of(cls, records: Records, rows: int, n: int, *, keys_out: bool, caps: Caps, where: str) -> ThreadSortPlan:
        """Plan for a device; ShapeError if there are too many elements for 32-bit positions."""
        if rows * n * records.words >= _MOST_WORDS:
            raise ShapeError(
                where, "too many elements to sort", expected=f"less than {_MOST_WORDS // records.words}", got=rows * n,
                remedy="Sort it in parts",
            )  # fmt: skip
        tile = _tile_of(records, n, caps)
        tiles = -(-n // tile.size)
        turns = min(_MOST_TURNS, max(1, tiles * rows // (_BLOCKS_PER_WORKER * caps.workers)))
        return cls(records, rows, n, keys_out, tile, -(-tiles // turns), turns)

    @property
    def is_short(self) -> bool:
        """True if each row takes one group."""
        return self.n <= self.tile.size

    @property
    def sizes(self) -> tuple[int, ...]:
        """Bytes of working memory: two places for the records between passes, counts and sums of digits."""
        if self.is_short:
            return ()
        nbytes, between = self.rows * self.n * self.records.nbytes, self.records.passes - 1
        halves = [nbytes if between > k else _NOTHING for k in range(2)]
        return *halves, self.rows * self.blocks * DIGITS * u32.nbytes, self.rows * DIGITS * u32.nbytes

    def record(
        self, chain: Recorder, x: StorageLike, values: StorageLike | None, keys: StorageLike | None,
        payloads: StorageLike | None, room: Sequence[StorageLike],
    ) -> None:  # fmt: skip
        """Record the sort of ``x`` (and ``values``) into ``keys`` and ``payloads``; ``room``: memory of ``sizes``."""
        nothing = chain.device.allocate(_NOTHING)
        given = [x, nothing if values is None else values]
        results = [nothing if keys is None else keys, nothing if payloads is None else payloads]
        if self.is_short:
            kernel = threads.sort_rows(self.records, self.tile, keys_out=self.keys_out)
            chain.dispatch(kernel, [*given, *results], [self.n], groups=self.rows)
            return
        last = self.records.passes - 1
        for number in range(self.records.passes):
            inputs = given if number == 0 else [nothing, nothing]
            outputs = results if number == last else [nothing, nothing]
            self._record_pass(chain, number, inputs, outputs, room)

    def _record_pass(
        self, chain: Recorder, number: int, inputs: list[StorageLike], outputs: list[StorageLike],
        room: Sequence[StorageLike],
    ) -> None:  # fmt: skip
        """Record count, scan and scatter of a digit; kernels that see no element serve many types."""
        first, last = number == 0, number == self.records.passes - 1
        counted = self.records if first else self.records.layout
        moved = self.records if first or last else self.records.layout
        *halves, counts, totals = room
        source, target = halves[1 - number % 2], halves[number % 2]
        cuts, groups = [self.n, self.blocks, self.turns, number], self.rows * self.blocks
        count = threads.count_digits(counted, self.tile, first=first)
        move = threads.scatter_digits(moved, self.tile, first=first, last=last, keys_out=self.keys_out and last)
        chain.dispatch(count, [inputs[0], source, counts], cuts, groups=groups)
        few = self.blocks <= _FEW_BLOCKS
        scan = threads.scan_few_counts() if few else threads.scan_counts()
        chain.dispatch(scan, [counts, totals], [self.blocks], groups=self.rows * (1 if few else DIGITS))
        chain.dispatch(move, [*inputs, source, counts, totals, target, *outputs], cuts, groups=groups)


def _tile_of(records: Records, n: int, caps: Caps) -> SortTile:
    """Return the tile that a group sorts: of a short row only as many lanes and items as it needs."""
    word = u64 if records.word.bits == u64.bits else u32
    fitting = min(MOST_ITEMS, int(caps.shared_nbytes * _SHARE) // (_LANES * word.nbytes))
    most = max(1, fitting - 1 + fitting % 2)
    lanes = _LEAST_LANES
    while lanes < _LANES and n > lanes * min(most, _EAGER_ITEMS):
        lanes *= 2
    items = -(-n // lanes)
    return SortTile(lanes, min(most, items + 1 - items % 2), word)
