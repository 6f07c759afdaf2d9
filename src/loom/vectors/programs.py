"""The programs of a store of vectors on its device: laying rows down, comparing them, reading them back.

Layer: vectors. Programs are kept by the runtime, by all that they depend on, and are made when a store is (``warm``),
so that what follows opens no file. Invariant: nothing here knows what a row stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from threading import Lock
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.dtype import f32, i8
from loom.core.given import is_array
from loom.core.late.dataclass import dataclass
from loom.core.options import check_bounds
from loom.kernels.vectors.rank import FACTS
from loom.runtime.chain import Chain
from loom.runtime.chain.kept import Kept, keep, shares_memory
from loom.runtime.chain.program import Submission
from loom.runtime.memory.storage import HostSlot, Storage
from loom.runtime.port.budget import LEDGER
from loom.runtime.port.device import Device
from loom.schedules.vectors import VectorLayout
from loom.vectors.queries import inverse_lengths

__all__ = ["Comparison", "SegmentMemory", "VectorPrograms"]

_WORD = 4
_TURNS = 16
"""Programs that lay rows down side by side."""
_MANY = 1000
"""Queries of a large search."""


@dataclass(slots=True, eq=False)
class SegmentMemory:
    """What a segment has on the device: words of vectors, and facts of rows."""

    data: Storage
    squares: Storage
    weights: Storage
    scales: Storage
    packed: dict[str, PackedRows] = field(default_factory=dict[str, "PackedRows"])
    """Whole numbers of vectors by the precision, weights by the metric, that they have been searched in."""

    @property
    def nbytes(self) -> int:
        """Bytes of all."""
        own = self.data.nbytes + self.squares.nbytes + self.weights.nbytes + self.scales.nbytes
        return own + sum(each.data.nbytes for each in list(self.packed.values()))


@dataclass(slots=True, eq=False)
class PackedRows:
    """Whole numbers, or weights, of the first ``count`` rows of a segment."""

    data: Storage
    count: int = 0


@dataclass(frozen=True, slots=True)
class Laying:
    """Rows that are being laid down; ``given`` is memory that the run is over."""

    submission: Submission
    given: Sequence[Any]
    memory: SegmentMemory
    first: int
    count: int

    def end(self) -> None:
        """Wait for the end; nothing is under way after it, even if it raises."""
        try:
            self.submission.wait()
        except BaseException:
            self.submission.cancel()
            self.submission.finish()
            raise

    def squares(self) -> Array:
        """Return the squares of the rows."""
        return self.memory.squares.read(self.first * _WORD, self.count * _WORD).view(np.float32)


class VectorPrograms:
    """The programs for one layout on one device; ``laid``: that of rows as they lie, if it is another's."""

    def __init__(self, device: Device, layout: VectorLayout, laid: VectorLayout | None = None) -> None:
        self.device = device
        self.layout = layout
        self._weighs_anew = laid is not None and laid.is_cosine != layout.is_cosine
        self.in_place = shares_memory(device)
        self._packing = Lock()
        self._is_native = device.kind == "cpu"
        """Its code does not look how large memory is, so that one program does for all sizes."""

    @property
    def segment_nbytes(self) -> int:
        """Bytes of a segment."""
        return self.layout.nbytes + 3 * self.layout.rows * _WORD

    def allocate(self) -> SegmentMemory:
        """Return memory for a segment; DeviceError if there is not enough, or over the budget of all units."""
        where, rows = "vectors", self.layout.rows * _WORD
        sizes = (self.layout.nbytes, rows, rows, rows)
        data, squares, weights, scales = (LEDGER.allocate(self.device, nbytes, where) for nbytes in sizes)
        return SegmentMemory(data, squares, weights, scales)

    def warm(self) -> None:
        """Make the programs that a store begins with, so that their kernels are compiled."""
        layout = self.layout
        memory, x = self.allocate(), np.zeros(layout.dims, np.float32)
        self.lay(x, memory, 0, 1)
        if layout.kept == i8:
            self.lay(np.zeros(layout.dims, np.int8), memory, 0, 1)
        mask = np.zeros(layout.rows // 32, np.uint32)
        for tile in {layout.tile(n) for n in (1, layout.panel.queries, _MANY)}:
            queries = np.zeros((tile, layout.words * (2 if layout.kept == i8 else 1)), np.int32)
            comparison = self.compare(queries, np.zeros((tile, FACTS), np.float32), 1, tile)
            comparison.best(memory, mask, 1, 0)
            comparison.maxima()
            comparison.scores(memory, mask, np.zeros((1, 2), np.uint32))
            if layout.picks(1):
                comparison.pick([(memory, mask, 0, 1)], 1, 1)
        self.read(memory, 0, 1)

    # rows

    def lay(self, x: Array | Storage, memory: SegmentMemory, first: int, count: int, begin: int = 0) -> Array:
        """Lay ``count`` rows from element ``begin`` of x down as rows ``first`` and on; return their squares.

        ``x`` holds f32; an array of int8 is what bytes hold already, whose scales are there.
        """
        kept, given = self._laying(x, memory, first, count, begin, 0)
        kept.run(*given, wait=True)
        return memory.squares.read(first * _WORD, count * _WORD).view(np.float32)

    def begin_lay(
        self, x: Array | Storage, memory: SegmentMemory, first: int, count: int, begin: int, turn: int
    ) -> Laying:
        """Begin to lay rows down, as number ``turn`` of those that are under way at a time.

        ``x`` and the segment are to be left alone until its ``end``, which is to be called whatever happens.
        """
        kept, given = self._laying(x, memory, first, count, begin, 1 + turn % _TURNS)
        return Laying(kept.start(*given), given, memory, first, count)

    def _laying(
        self, x: Array | Storage, memory: SegmentMemory, first: int, count: int, begin: int, turn: int
    ) -> tuple[Kept, list[Any]]:
        layout = self.layout
        width = layout.panel.width
        source = i8 if isinstance(x, np.ndarray) and x.dtype == np.int8 else f32
        panels = _class((first + count - 1) // width - first // width + 1)
        sizes = np.array([first, count, layout.dims, begin], np.uint32)
        return self._program_for(
            f"lay {source}", (panels, turn), lambda chain, slots: layout.record_lay(chain, slots, panels, source),
            x, sizes, memory.data, memory.squares, memory.weights, memory.scales,
        )  # fmt: skip

    def read(self, memory: SegmentMemory, first: int, count: int) -> Array:
        """Return rows as they are kept, (count, dims)."""
        layout = self.layout
        rows = _class(count)
        sizes = np.array([first, count, layout.dims], np.uint32)
        out = SearchResult(self, (count, layout.dims), layout.kept.numpy)
        self.run(
            "read", rows, lambda chain, slots: layout.record_read(chain, slots, rows), memory.data, sizes, out.memory
        )
        return out.read()

    # comparing

    def compare(self, queries: Array, facts: Array, panels: int, tile: int) -> Comparison:
        """Return a comparison of queries, whole tiles of them, with ``panels`` panels in all."""
        return Comparison(self, queries, facts, panels, tile)

    # whole numbers

    def pack_segment(self, memory: SegmentMemory, used: int) -> SegmentMemory:
        """Return a segment as this layout's precision compares it: its first ``used`` rows packed, once.

        DeviceError if there is not enough memory, or over the budget of all units.
        """
        layout = self.layout
        if self._weighs_anew:
            memory = replace(memory, weights=self._weights(memory, used))
        if layout.packing is None:
            return memory
        with self._packing:
            there = memory.packed.get(layout.precision)
            if there is None:
                there = PackedRows(LEDGER.allocate(self.device, layout.packed_nbytes, "vectors"))
                memory.packed[layout.precision] = there
            if used > there.count:
                first = there.count // layout.panel.width
                panels = -(-used // layout.panel.width) - first
                size, sizes = _class(panels), np.array([layout.dims, first, panels], np.uint32)
                self.run("pack", size, lambda chain, slots: layout.record_pack(chain, slots, size), memory.data, sizes,
                         there.data)  # fmt: skip
                there.count = used
            return replace(memory, data=there.data, packed={})

    def _weights(self, memory: SegmentMemory, used: int) -> Storage:
        """Return the weights of a segment's first ``used`` rows for this layout's metric, made of their squares."""
        name = "cosine" if self.layout.is_cosine else "length"
        with self._packing:
            there = memory.packed.get(name)
            if there is None:
                there = PackedRows(LEDGER.allocate(self.device, memory.weights.nbytes, "vectors"))
                memory.packed[name] = there
            if used > there.count:
                at, count = there.count * _WORD, used - there.count
                squares = memory.squares.read(at, count * _WORD).view(np.float32)
                weights = inverse_lengths(squares) if self.layout.is_cosine else np.ones(count, np.float32)
                there.data.write(at, weights.view(np.uint8))
                there.count = used
            return there.data

    # running

    def run(self, what: str, size: Any, record: Callable[[Chain, Sequence[HostSlot]], None], *given: Any) -> None:
        """Run the program kept for ``what`` of a ``size`` over memory, some of it arrays; wait for its end."""
        kept, memory = self._program_for(what, size, record, *given)
        kept.run(*memory, wait=True)

    def _program_for(
        self, what: str, size: Any, record: Callable[[Chain, Sequence[HostSlot]], None], *given: Any
    ) -> tuple[Kept, list[Any]]:
        """Return the program kept for ``what`` of a ``size``, and the memory it is to be run over."""
        memory = [self.place(each) for each in given]
        is_told = not self._is_native or check_bounds()
        nbytes = tuple(m.nbytes if is_told else _WORD for m in memory)

        def make() -> Kept:
            chain = Chain(self.device, name=f"vectors.{what}")
            slots = [HostSlot(n) for n in nbytes]
            record(chain, slots)
            return Kept(chain.build(), slots, in_place=self.in_place)

        return keep((f"vectors.{what}", self.layout, size, nbytes), self.device, make), memory

    def place(self, given: Any) -> Any:
        """Return memory for a slot: an array as it is where the device uses it in place, else a copy there."""
        if self.in_place or not is_array(given):
            return given
        made = self.room(given.nbytes)
        made.write(0, np.ascontiguousarray(given).reshape(-1).view(np.uint8))
        return made

    def room(self, nbytes: int) -> Storage:
        """Return memory of at least so many bytes; of few sizes, since each needs a program."""
        return self.device.allocate(_class(max(nbytes, _WORD)), zeroed=False)


class SearchResult:
    """Memory for a result: an array where the device uses those in place."""

    def __init__(self, programs: VectorPrograms, shape: tuple[int, int], kind: Any) -> None:
        self.shape = shape
        self.kind = np.dtype(kind)
        self.nbytes = shape[0] * shape[1] * self.kind.itemsize
        self.memory: Any = np.empty(shape, self.kind) if programs.in_place else programs.room(self.nbytes)

    def read(self) -> Array:
        """Return the elements."""
        if is_array(self.memory):
            return self.memory
        return self.memory.read(0, self.nbytes).view(self.kind).reshape(self.shape)


class Comparison:
    """Queries on the device, and the best scores of panels as they are found."""

    def __init__(self, programs: VectorPrograms, queries: Array, facts: Array, panels: int, tile: int) -> None:
        self._programs = programs
        self._queries = programs.place(queries)
        self._facts = programs.place(facts)
        self._rows, self._panels = len(facts), panels
        self._tile = tile
        self._maxima = SearchResult(programs, (len(facts), panels), np.float32)

    def best(self, memory: SegmentMemory, mask: Array, panels: int, before: int) -> None:
        """Compare all queries with the first panels of a segment; ``before``: panels of segments before it."""
        own, layout, tile = self._programs, self._programs.layout, self._tile
        sizes = np.array([layout.units, self._rows // tile, layout.together, panels, self._panels, before], np.uint32)
        tiles = _class(self._rows // tile) if layout.is_slab(tile) else 1
        own.run(
            "best", (tile, tiles), lambda chain, slots: layout.record_best(chain, slots, tile, tiles),
            self._queries, self._facts, memory.data, memory.weights, memory.squares, mask, sizes, self._maxima.memory,
        )  # fmt: skip

    def maxima(self) -> Array:
        """Return the best scores, a row for each query."""
        return self._maxima.read()

    def scores(self, memory: SegmentMemory, mask: Array, pairs: Array) -> Array:
        """Return all scores of pairs (query, panel of the segment), a row for each."""
        out = self._room(len(pairs), self._programs.layout.panel.width, np.float32)
        self._score(memory, mask, pairs, len(pairs), (0, self._programs.layout.panels), out)
        return out.read()

    def _room(self, rows: int, columns: int, kind: Any) -> SearchResult:
        return SearchResult(self._programs, (rows, columns), kind)

    def _score(
        self, memory: SegmentMemory, mask: Array, pairs: Any, count: int, here: tuple[int, int], out: SearchResult
    ) -> None:
        own, layout, size = self._programs, self._programs.layout, _class(count)
        sizes = np.array([layout.units, count, *here], np.uint32)
        own.run(
            "scores", size, lambda chain, slots: layout.record_scores(chain, slots, size), self._queries, self._facts,
            memory.data, memory.weights, memory.squares, mask, pairs, sizes, out.memory,
        )  # fmt: skip

    def picks(self, k: int) -> bool:
        """Tell whether the device picks the best ``k`` of a query itself."""
        return self._programs.layout.picks(k)

    def pick(self, parts: Sequence[tuple[SegmentMemory, Array, int, int]], queries: int, k: int) -> tuple[Array, Array]:
        """Return the best ``k`` of each query, picked on the device: numbers (panel times width plus place) and scores.

        ``parts``: memory, mask, the number of the first panel and how many there are, of each segment.
        """
        width = self._programs.layout.panel.width
        pairs = self._room(queries, 2 * k, np.uint32)
        scores = self._room(queries, k * width, np.float32)
        numbers, best = self._room(queries, k, np.uint32), self._room(queries, k, np.float32)
        nothing = np.zeros(1, np.uint32)
        self._pick(self._maxima.memory, nothing, (self._panels, k, width, queries), pairs.memory, best.memory, True)
        for memory, mask, before, panels in parts:
            self._score(memory, mask, pairs.memory, queries * k, (before, panels), scores)
        self._pick(scores.memory, pairs.memory, (k * width, k, width, queries), numbers.memory, best.memory, False)
        return numbers.read(), best.read()

    def _pick(
        self, scores: Any, pairs: Any, sizes: tuple[int, int, int, int], out: Any, best: Any, panels: bool
    ) -> None:
        layout, queries = self._programs.layout, _class(sizes[-1])
        self._programs.run(
            f"pick {panels}", queries, lambda chain, slots: layout.record_pick(chain, slots, queries, panels=panels),
            scores, pairs, np.array(sizes, np.uint32), out, best,
        )  # fmt: skip


def _class(size: int) -> int:
    """Return the power of two from ``size`` on, for which there is a program."""
    return 1 << (size - 1).bit_length()
