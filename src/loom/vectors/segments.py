"""Segments of a store: memory for some rows, which of them are alive, and where they are kept when memory is short.

Layer: vectors. A segment whose rows are all in a file may leave the device, the one used longest ago first, and comes
back when it is asked for: the same kernel lays the same rows down. What reads the file was given by whoever wrote it.
Invariant: a row that is kept is never written again.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol
from weakref import WeakSet

import numpy as np

from loom.core.arrays import Array
from loom.core.dtype import i8
from loom.core.errors import StateError
from loom.vectors.programs import SegmentMemory, VectorPrograms
from loom.vectors.search import SearchPart

__all__ = ["Residence", "RowSegment", "WrittenRows"]

_WORD = 4
_READERS = 2
"""Threads that read and check rows, and have them laid down."""


class WrittenRows(Protocol):
    """Rows that are kept elsewhere."""

    @property
    def step(self) -> int:
        """Rows that are best read at once, from a multiple of it on."""
        ...

    def rows(self, first: int, count: int) -> Array:
        """Return rows as they are kept, (count, dims)."""
        ...

    def scales(self, first: int, count: int) -> Array | None:
        """Return what their integers are multiplied by, if they are integers."""
        ...


class Residence:
    """Which segments of a store are on the device, within a budget of bytes (None: all)."""

    def __init__(self, programs: VectorPrograms, most_nbytes: int | None) -> None:
        self.programs = programs
        self.most_nbytes = most_nbytes
        self.lock = threading.RLock()
        self._here: dict[RowSegment, SegmentMemory] = {}
        """The one used longest ago first."""
        self._away: WeakSet[RowSegment] = WeakSet()
        """Those that left."""

    @property
    def nbytes(self) -> int:
        """Bytes on the device."""
        with self.lock:
            return sum(memory.nbytes for memory in self._here.values())

    @property
    def unwritten(self) -> int:
        """Bytes on the device that no file has."""
        with self.lock:
            return sum(memory.nbytes for segment, memory in self._here.items() if not segment.is_written)

    def memory(self, segment: RowSegment) -> SegmentMemory:
        """Return a segment's memory, which comes back if it had left."""
        if self.most_nbytes is None:
            found = self._here.get(segment)
            if found is not None:
                return found
        with self.lock:
            found = self._here.pop(segment, None) or segment.own
            if found is None:
                found = self._made(segment)
                segment.fill(found)
                self._away.discard(segment)
            if segment.is_retired:
                segment.own = found
            else:
                self._here[segment] = found
            return found

    def here(self, segment: RowSegment) -> SegmentMemory | None:
        """Return a segment's memory; None if it has left."""
        with self.lock:
            return segment.own or self._here.get(segment)

    def retire(self, segment: RowSegment) -> None:
        """Leave a segment's memory to itself."""
        with self.lock:
            segment.own, segment.is_retired = self._here.pop(segment, None), True
            self._away.discard(segment)

    def leave(self, segment: RowSegment) -> None:
        """Let go of a segment's memory."""
        with self.lock:
            self._here.pop(segment, None)

    def _made(self, segment: RowSegment) -> SegmentMemory:
        if self.most_nbytes is not None:
            if self._needed(segment) > self.most_nbytes:
                raise StateError(
                    "vectors", "the memory budget is full of vectors that no file has",
                    expected=f"at most {self.most_nbytes} bytes", got=f"{self.nbytes} and a segment more",
                    remedy="Flush the store, then go on, with fewer at a time or a larger memory_budget",
                )  # fmt: skip
            while self.nbytes + self.programs.segment_nbytes > self.most_nbytes:
                oldest = next(s for s in self._here if s.is_written)
                del self._here[oldest]
                self._away.add(oldest)
        return self.programs.allocate()

    def _needed(self, segment: RowSegment) -> int:
        """Return the bytes that cannot leave when a segment is here, and room for one to come back beside a new one."""
        size = self.programs.segment_nbytes
        needed = self.unwritten + size
        leaves_some = bool(self._away) or self.nbytes + size > (self.most_nbytes or 0)
        if segment.is_new and leaves_some and 3 * size <= (self.most_nbytes or 0):
            needed += size
        return needed


class RowSegment:
    """Segment ``number`` of a store. Its owner's lock guards which rows there are."""

    def __init__(self, residence: Residence, number: int, *, is_new: bool = False) -> None:
        self._residence = residence
        self.is_new = is_new
        """Whether captures fill it and no file knows it yet: others have to be searched beside it."""
        self._programs = residence.programs
        self.number = number
        self.first = number * self._programs.layout.rows
        self.used = 0
        self.live = np.zeros(self._programs.layout.rows, bool)
        self.pins = 0
        """Captures that are laying rows down."""
        self.own: SegmentMemory | None = None
        """Its memory, when its store has let go of it and searches go on."""
        self.is_retired = False
        self._mask: Array | None = None
        self._file: tuple[WrittenRows, int] | None = None

    @property
    def is_written(self) -> bool:
        """Whether a file has all its rows."""
        return not self.pins and self._file is not None and self._file[1] >= self.used

    def memory(self) -> SegmentMemory:
        """Return its memory on the device."""
        return self.own or self._residence.memory(self)

    def retire(self) -> None:
        """Count no more as its store's; its memory goes with the last search."""
        self._residence.retire(self)

    def fill(self, memory: SegmentMemory) -> None:
        """Lay down what its file has."""
        if self._file is not None:
            self.lay_file(memory, *self._file)

    def lay_file(self, memory: SegmentMemory, rows: WrittenRows, count: int) -> None:
        """Lay down what a file has of its first rows, some while others are read."""
        begins = range(self.first - self.first % rows.step, self.first + count, rows.step)

        def lay(begin: int) -> None:
            first, end = max(begin, self.first), min(begin + rows.step, self.first + count)
            self.lay(memory, rows.rows(first, end - first), rows.scales(first, end - first), first - self.first)

        with ThreadPoolExecutor(_READERS, "loom restore") as readers:
            for _ in readers.map(lay, begins):
                pass

    def lay(self, memory: SegmentMemory, rows: Array, scales: Array | None, place: int) -> None:
        """Lay rows down from a place on: as they are kept, integers with their scales, or f32."""
        if rows.dtype == np.int8 and scales is not None:
            memory.scales.write(place * _WORD, np.ascontiguousarray(scales, np.float32).view(np.uint8))
        else:
            rows = np.ascontiguousarray(rows, np.float32)
        self._programs.lay(rows, memory, place, len(rows))

    def written(self, rows: WrittenRows, count: int) -> None:
        """Take note that a file has its first rows, if it may have to leave."""
        with self._residence.lock:  # flushes may end in another order than they began
            if self._residence.most_nbytes is not None and (self._file is None or count >= self._file[1]):
                self._file, self.is_new = (rows, count), False

    def keep(self, first: int, count: int) -> None:
        """Take rows that were laid down."""
        self.live[first : first + count] = True
        self.used = first + count
        self._mask = None

    def bury(self, place: int) -> None:
        """Let a row be a tombstone."""
        self.live[place] = False
        self._mask = None

    def part(self, kept: Array | None) -> SearchPart:
        """Return what a search looks at now: rows that are alive, and that a filter keeps."""
        if kept is not None:
            live = self.live.copy()
            live[: self.used] &= kept[self.first : self.first + self.used]
            return SearchPart(self.first, self.used, _packed(live), self.memory)
        if self._mask is None:
            self._mask = _packed(self.live)
        return SearchPart(self.first, self.used, self._mask, self.memory)

    def kept(self, first: int, count: int) -> Array:
        """Return rows as they are kept, (count, dims)."""
        away = self._away_from()
        if away is not None:
            return away.rows(self.first + first, count)
        return self._programs.read(self.memory(), first, count)

    def scales(self, first: int, count: int) -> Array:
        """Return what the integers of rows are multiplied by; 1 where rows are no integers."""
        away = self._away_from()
        if away is not None:
            found = away.scales(self.first + first, count)
            return np.ones(count, np.float32) if found is None else found
        return self.memory().scales.read(first * _WORD, count * _WORD).view(np.float32)

    def _away_from(self) -> WrittenRows | None:
        """Return the file of rows that have left the device: to be read, none has to leave for them."""
        with self._residence.lock:
            return self._file[0] if self._file is not None and self._residence.here(self) is None else None

    def floats(self, first: int, count: int) -> Array:
        """Return rows as f32, (count, dims)."""
        found = self.kept(first, count).astype(np.float32, copy=False)
        return found * self.scales(first, count)[:, None] if self._programs.layout.kept == i8 else found


def _packed(live: Array) -> Array:
    """Return a bit for each row, 32 in a word, the first the lowest."""
    return np.packbits(live, bitorder="little").view("<u4").astype(np.uint32, copy=False)
