"""Segments of a store: memory for some rows, which of them are alive, and where they are kept when memory is short.

Layer: vectors. A segment whose rows are all in a file may leave the device, the one used longest ago first, and comes
back when it is asked for: the same kernel lays the same rows down. What reads the file was given by whoever wrote it.
Invariant: a row that is kept is never written again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Protocol
from weakref import WeakSet

import numpy as np

from loom.core.arrays import Array
from loom.core.dtype import i8
from loom.core.errors import StateError
from loom.core.process.thread_pools import ThreadPool
from loom.kernels.vectors.packed import panels_of_rows
from loom.runtime.memory.storage import HostStorage
from loom.vectors.programs import SegmentMemory, VectorPrograms
from loom.vectors.search import SearchPart

__all__ = ["Residence", "RowSegment", "WrittenRows"]

_WORD = 4
_FACTS = ("squares", "weights", "scales")
_MOST_READERS = 8
"""Threads that read and check rows, and have them laid down."""


class WrittenRows(Protocol):
    """Rows that are kept elsewhere."""

    @property
    def width(self) -> int | None:
        """Rows of a panel, where rows lie in panels."""
        ...

    @property
    def step(self) -> int:
        """Rows that are best read at once, from a multiple of it on."""
        ...

    def rows(self, first: int, count: int) -> Array:
        """Return rows as they are kept, (count, dims)."""
        ...

    def panels(self, first: int, count: int) -> Array:
        """Return the bytes of panels."""
        ...

    def fill_panels(self, first: int, room: Array) -> None:
        """Read as many panels as are best read at once into bytes."""
        ...

    def fact(self, name: str, first: int, count: int) -> Array | None:
        """Return squares, weights or scales of rows, where they are kept."""
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
                found = self._bring(segment)
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

    def _bring(self, segment: RowSegment) -> SegmentMemory:
        if self.most_nbytes is not None:
            if self._bytes_needed(segment) > self.most_nbytes:
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

    def _bytes_needed(self, segment: RowSegment) -> int:
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

    def lay_file(self, memory: SegmentMemory, file: WrittenRows, count: int) -> None:
        """Lay down what a file has of its first rows, some while others are read."""
        is_as_here = file.width == self._programs.layout.panel.width
        begins = range(self.first - self.first % file.step, self.first + count, file.step)

        def lay(begin: int) -> None:
            first, end = max(begin, self.first), min(begin + file.step, self.first + count)
            if is_as_here:
                self._take_panels(memory, file, first, end, is_block=first == begin and end == begin + file.step)
            else:
                scales = file.fact("scales", first, end - first)
                self.lay(memory, file.rows(first, end - first), scales, first - self.first)

        with ThreadPool(max(2, min(_MOST_READERS, self._programs.device.caps.workers)), "loom restore") as readers:
            for _ in readers.map(lay, begins):
                pass
        if is_as_here:
            for name in _FACTS:
                found = file.fact(name, self.first, count)
                assert found is not None
                getattr(memory, name).write(0, found.view(np.uint8))

    def _take_panels(self, memory: SegmentMemory, file: WrittenRows, first: int, end: int, *, is_block: bool) -> None:
        """Copy panels with these rows of a file as they are; ``is_block``: all that are best read at once."""
        layout, data = self._programs.layout, memory.data
        width = layout.panel.width
        begin, panels = (first - self.first) // width, -(-end // width) - first // width
        at, nbytes = begin * layout.panel_nbytes, panels * layout.panel_nbytes
        if is_block and isinstance(data, HostStorage):
            file.fill_panels(first // width, data.bytes[at : at + nbytes])
        else:
            data.write(at, file.panels(first // width, panels))

    def panels(self, count: int, step: int) -> Iterator[Array]:
        """Give the bytes of the panels of its first rows, at most ``step`` at a time, rows that are none being 0."""
        width = self._programs.layout.panel.width
        whole, rest = divmod(count, width)
        for panel in range(0, whole, step):
            yield self._panels(panel, min(step, whole - panel))
        if rest:  # others may be laying rows down there
            last = self._panels(whole, 1).copy().view(self._programs.layout.panel.held.numpy).reshape(-1, width)
            last[:, rest:] = 0
            yield last.reshape(-1).view(np.uint8)

    def _panels(self, first: int, count: int) -> Array:
        layout, found = self._programs.layout, self._found()
        width = layout.panel.width
        if not isinstance(found, SegmentMemory):
            begin = self.first + first * width
            if found.width == width:
                return found.panels(begin // width, count)
            some = min(count * width, self.used - first * width)
            return panels_of_rows(found.rows(begin, some), width)
        data, at, nbytes = found.data, first * layout.panel_nbytes, count * layout.panel_nbytes
        return data.bytes[at : at + nbytes] if isinstance(data, HostStorage) else data.read(at, nbytes)

    def facts(self, count: int) -> list[Array]:
        """Return squares, weights and scales of its first rows, 0 for the others of the last panel."""
        width = self._programs.layout.panel.width
        padded = np.zeros((len(_FACTS), -(-count // width) * width), np.float32)
        memory = self._found()
        kept = None if isinstance(memory, SegmentMemory) else [memory.fact(name, self.first, count) for name in _FACTS]
        if kept is None or any(each is None for each in kept):
            if not isinstance(memory, SegmentMemory):  # a file of version 1 has only rows
                memory = self._programs.allocate()
                self.fill(memory)
            kept = [getattr(memory, name).read(0, count * _WORD).view(np.float32) for name in _FACTS]
        for row, each in zip(padded, kept, strict=True):
            row[:count] = each
        return list(padded)

    def lay(self, memory: SegmentMemory, rows: Array, scales: Array | None, place: int) -> None:
        """Lay rows down from a place on: as they are kept, integers with their scales, or f32."""
        if rows.dtype == np.int8 and scales is not None:
            memory.scales.write(place * _WORD, np.ascontiguousarray(scales, np.float32).view(np.uint8))
        else:
            rows = np.ascontiguousarray(rows, np.float32)
        self._programs.lay(rows, memory, place, len(rows))

    def note_written(self, rows: WrittenRows, count: int) -> None:
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
            return SearchPart(self.first, self.used, _pack_bits(live), self.memory)
        if self._mask is None:
            self._mask = _pack_bits(self.live)
        return SearchPart(self.first, self.used, self._mask, self.memory)

    def read_rows(self, first: int, count: int) -> Array:
        """Return rows as they are kept, (count, dims)."""
        found = self._found()
        if not isinstance(found, SegmentMemory):
            return found.rows(self.first + first, count)
        return self._programs.read(found, first, count)

    def scales(self, first: int, count: int) -> Array:
        """Return what the integers of rows are multiplied by; 1 where rows are no integers."""
        found = self._found()
        if not isinstance(found, SegmentMemory):
            scales = found.fact("scales", self.first + first, count)
            return np.ones(count, np.float32) if scales is None else scales
        return found.scales.read(first * _WORD, count * _WORD).view(np.float32)

    def _found(self) -> SegmentMemory | WrittenRows:
        """Return its memory, or, of rows that have left the device, their file: so that none has to leave for them."""
        with self._residence.lock:
            here = self._residence.here(self)
            return self._file[0] if here is None and self._file is not None else here or self.memory()

    def floats(self, first: int, count: int) -> Array:
        """Return rows as f32, (count, dims)."""
        found = self.read_rows(first, count).astype(np.float32, copy=False)
        return found * self.scales(first, count)[:, None] if self._programs.layout.kept == i8 else found


def _pack_bits(live: Array) -> Array:
    """Return a bit for each row, 32 in a word, the first the lowest."""
    return np.packbits(live, bitorder="little").view("<u4").astype(np.uint32, copy=False)
