"""What a store holds: segments, the ids of rows, what is told of them, which are alive.

Layer: vectors. ``writing`` is held by whoever changes rows, for as long as it takes; ``lock`` only while lists change
or are looked at, so that searches go on while rows are laid down. Invariant: rows are laid down before they are kept,
and what is kept changes in one step.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, StateError
from loom.core.late.dataclass import dataclass
from loom.runtime.memory.storage import Storage
from loom.vectors.columns import Condition, MetaColumns
from loom.vectors.frozen import FrozenStore
from loom.vectors.given import Id, Meta, require_lengths
from loom.vectors.growing import GrowingList
from loom.vectors.known_places import KnownPlace, KnownPlaces
from loom.vectors.pieces import GivenRows, Piece, neighbours
from loom.vectors.programs import Laying, VectorPrograms
from loom.vectors.search import SearchPart
from loom.vectors.segments import Residence, RowSegment, WrittenRows

__all__ = ["GivenRows", "StoreState", "StoreView"]

_MOST_ROWS = (1 << 32) - 1
_MANY = 1 << 22
"""Elements from which vectors are laid down while their ids are looked at."""


@dataclass(frozen=True, slots=True)
class StoreView:
    """What a search looks at: it stays as it is, whatever is captured or deleted meanwhile."""

    parts: list[SearchPart]
    ids: Sequence[Id]
    metas: Sequence[Meta | None]
    index: Any


class StoreState:
    """See the module."""

    def __init__(self, programs: VectorPrograms, most_nbytes: int | None) -> None:
        self.programs = programs
        self.residence = Residence(programs, most_nbytes)
        self.is_new = True
        """Whether its segments are filled by captures."""
        self.index: Any = None
        """What says where to look for some of the rows there are."""
        self.lock = threading.RLock()
        self.writing = threading.RLock()
        self.segments: list[RowSegment] = []
        self.ids: GrowingList[Id] = GrowingList()
        self.metas: GrowingList[Meta | None] = GrowingList()
        self._rows: dict[Id, int] | None = {}
        self._count = 0
        """Vectors there are, while their rows were not asked for yet."""
        self.captured = 0
        """Rows there ever were, from which vectors without an id are numbered."""
        self.changed = 0
        """Vectors that ever came, went or were told something else."""
        self.flushed = 0
        """How many of these changes a file has."""
        self._frozen = 0
        self.places = KnownPlaces()
        self._columns = MetaColumns()
        self._fresh: dict[Id, int] = {}
        """New ids by their place in a capture that is under way: their rows, where there were none before."""

    @property
    def unflushed(self) -> int:
        """Changes that no file has."""
        return self.changed - self.flushed

    # looking

    @property
    def count(self) -> int:
        """Vectors there are."""
        rows = self._rows
        return self._count if rows is None else len(rows)

    @property
    def rows(self) -> dict[Id, int]:
        """Rows by id; those of a file are found when they are first asked for."""
        if self._rows is None:
            with self.lock:
                if self._rows is None:
                    ids = self.ids.part(0, len(self.ids))
                    is_whole = self._count == len(ids)
                    self._rows = (
                        dict(zip(ids, range(len(ids)), strict=True)) if is_whole
                        else {ids[row]: row for row in self.alive()}
                    )  # fmt: skip
        return self._rows

    def alive(self) -> list[int]:
        """Return the numbers of rows that are no tombstones, ascending."""
        return np.flatnonzero(self._live()).tolist()

    def _live(self) -> Array:
        return np.concatenate([np.empty(0, bool), *(s.live[: s.used] for s in self.segments)])

    def view(self, conditions: Sequence[Condition]) -> StoreView:
        """Return what there is now, as far as all conditions hold."""
        with self.lock:
            kept = self._columns.keeps(conditions, self.metas, len(self.ids))
            return StoreView([s.part(kept) for s in self.segments], self.ids, self.metas, self.index)

    def place(self, row: int) -> tuple[RowSegment, int]:
        """Return the segment of a row, and its place there."""
        number, place = divmod(row, self.programs.layout.rows)
        return self.segments[number], place

    # capturing

    def capture(
        self,
        source: GivenRows,
        names: Callable[[], list[Id]],
        metas: list[Meta | None],
        duplicates: str,
        where: str,
        told: Callable[[], None],
    ) -> int:
        """Lay rows down and keep them, all or none; return how many. ``told`` may refuse at the last moment.

        Of many vectors all are laid down while their ids, ``names``, are looked at; if not all are kept, once more.
        """
        pieces: list[Piece] = []
        try:
            laying: list[Laying] = []
            with ExitStack() as ending:
                for each in self._begin(source, pieces):
                    ending.callback(each.end)
                    laying.append(each)
                ids = names()
                chosen = self._choose(ids, duplicates, where)
            count = len(ids if chosen is None else chosen)
            if len(self.ids) + count > _MOST_ROWS:
                raise ArgumentError(where, "too many rows", expected="less than 2^32", got=len(self.ids) + count,
                                    remedy="compact() the store, or open another")  # fmt: skip
            runs = [(0, source.count)]
            if chosen is not None:
                self._release(pieces)
                pieces.clear()
                runs, ids, metas = neighbours(chosen), [ids[n] for n in chosen], [metas[n] for n in chosen]
            elif laying:
                require_lengths(np.concatenate([each.squares() for each in laying]), where)
                runs = []
            for first, count in runs:
                self._lay(source, first, count, pieces, where)
            with self.lock:
                told()
                self._keep(pieces, ids, metas)
        finally:
            self._fresh = {}
            self._release(pieces)
        return len(ids)

    def free_numbers(self, count: int) -> list[Id]:
        """Return so many numbers that no vector has, from the number of rows there ever were on."""
        names: list[Id] = list(range(self.captured, self.captured + count))
        if self.rows and not self.rows.keys().isdisjoint(names):
            free = (n for n in itertools.count(self.captured) if n not in self.rows)
            names = list(itertools.islice(free, count))
        return names

    def _choose(self, ids: list[Id], duplicates: str, where: str) -> list[int] | None:
        """Return which of the vectors are kept, None: all."""
        own = dict(zip(ids, range(len(ids)), strict=True))
        if len(own) == len(ids) and (not self.rows or self.rows.keys().isdisjoint(own)):
            self._fresh = own
            return None
        if duplicates == "replace":
            return None if len(own) == len(ids) else sorted(own.values())
        seen: set[Id] = set()
        kept: list[int] = []
        for n, name in enumerate(ids):
            if name in self.rows or name in seen:
                if duplicates == "error":
                    raise ArgumentError(where, f"there is a vector {name!r} already", expected="new ids", got=name,
                                        remedy='Pass duplicates="replace" or "skip", or call update')  # fmt: skip
                continue
            seen.add(name)
            kept.append(n)
        return kept

    def _is_much(self, source: GivenRows) -> bool:
        """Tell whether vectors are so many that it is worth while to lay them down before their ids are looked at."""
        is_free = self.residence.most_nbytes is None and len(self.ids) + source.count <= _MOST_ROWS
        return is_free and source.count * self.programs.layout.dims >= _MANY

    def _begin(self, source: GivenRows, pieces: list[Piece]) -> Iterator[Laying]:
        """Begin to lay much down, one segment after the other."""
        if not self._is_much(source):
            return
        for memory, begin, first, count in self._cut(source, 0, source.count, pieces):
            segment = pieces[-1].segment.memory()
            yield self.programs.begin_lay(memory, segment, first, count, begin, len(pieces))

    def _lay(self, source: GivenRows, first: int, count: int, pieces: list[Piece], where: str) -> None:
        """Lay rows of a source down after the last, none of them kept yet."""
        for memory, begin, place, some in self._cut(source, first, count, pieces):
            squares = self.programs.lay(memory, pieces[-1].segment.memory(), place, some, begin)
            require_lengths(squares, where, first=first)
            first += some

    def _cut(
        self, source: GivenRows, first: int, count: int, pieces: list[Piece]
    ) -> Iterator[tuple[Array | Storage, int, int, int]]:
        """Give what goes into each segment: memory, where in it vectors begin, the first place, how many."""
        layout, end = self.programs.layout, first + count
        while first < end:
            number, place = divmod(len(self.ids) + sum(p.count for p in pieces), layout.rows)
            some = min(layout.rows - place, end - first)
            segment = self._segment(number, pieces)
            pieces.append(Piece(segment, place, some))
            memory, begin = source.memory, source.begin + first * layout.dims
            if isinstance(memory, np.ndarray):
                memory, begin = memory[first : first + some], 0
            yield memory, begin, place, some
            first += some

    def _segment(self, number: int, pieces: list[Piece]) -> RowSegment:
        if number < len(self.segments):
            return self.segments[number]
        if pieces and pieces[-1].segment.number == number:
            return pieces[-1].segment
        return RowSegment(self.residence, number, is_new=self.is_new)

    def _keep(self, pieces: Sequence[Piece], ids: Sequence[Id], metas: Sequence[Meta | None]) -> None:
        row, rows = len(self.ids), self.rows  # those of a file are found before there are more
        for piece in pieces:
            if piece.segment.number == len(self.segments):
                self.segments.append(piece.segment)
            piece.segment.keep(piece.first, piece.count)
        fresh, self._fresh = self._fresh, {}
        if len(fresh) == len(ids) and not rows:
            self._rows = fresh if row == 0 else dict(zip(ids, range(row, row + len(ids)), strict=True))
        else:
            if len(fresh) != len(ids):
                for name in rows.keys() & set(ids):
                    self.bury(rows[name])
            rows.update(zip(ids, range(row, row + len(ids)), strict=True))
        self.ids.extend(ids)
        self.metas.extend(metas)
        self.captured += len(ids)
        self.changed += len(ids)

    def _release(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            piece.segment.pins -= 1
            if not piece.segment.used:
                self.residence.leave(piece.segment)

    # changing

    def delete(self, names: Sequence[Id]) -> int:
        """Let the vectors of these ids go, as far as there are any; return how many. The caller holds both locks."""
        rows = [row for row in (self.rows.pop(name, None) for name in names) if row is not None]
        for row in rows:
            self.bury(row)
        self.changed += len(rows)
        return len(rows)

    def bury(self, row: int) -> None:
        """Let a row be a tombstone."""
        segment, place = self.place(row)
        segment.bury(place)

    def tell(self, row: int, meta: Meta | None) -> None:
        """Let a row be told something else, for those that look from now on."""
        with self.lock:
            self.metas = self.metas.with_value(row, meta)
            self._columns.forget()
            self.changed += 1

    def rebuild(self, where: str, change: Callable[[Array], Array] | None = None) -> int:
        """Lay all rows that are alive down anew, as they are kept or, f32, changed; return how many went.

        The caller holds ``writing``. Searches that are under way look at the old rows to their end. StateError if they
        do not fit into the memory budget.
        """
        self._require_room(where)
        fresh = StoreState(self.programs, self.residence.most_nbytes)
        fresh.residence, fresh.is_new = self.residence, False
        pieces: list[Piece] = []
        went = len(self.ids) - self.count
        try:
            for segment in self.segments:
                places = np.flatnonzero(segment.live[: segment.used])
                rows = segment.read_rows(0, segment.used)[places]
                scales = segment.scales(0, segment.used)[places]
                if change is not None:
                    rows = change(rows.astype(np.float32) * scales[:, None])
                fresh.relay(rows, scales, pieces)
            alive = self.alive()
            ids, metas = [self.ids[row] for row in alive], [self.metas[row] for row in alive]
            with self.lock:
                fresh._keep(pieces, ids, metas)
                old, self.segments = self.segments, fresh.segments
                self.ids, self.metas, self._rows = fresh.ids, fresh.metas, fresh.rows
                self.index = None
                self._columns.forget()
                self.changed += 1
                for segment in old:
                    segment.retire()
        finally:
            self._release(pieces)
        return went

    def _require_room(self, where: str) -> None:
        most = self.residence.most_nbytes
        needed = -(-self.count // self.programs.layout.rows) * self.programs.segment_nbytes
        if most is not None and needed > most:
            raise StateError(where, "all vectors are laid down anew, and the memory budget is too small for them",
                             expected=f"at least {needed} bytes", got=most,
                             remedy="Flush the store, and restore it with a larger memory_budget")  # fmt: skip

    def relay(self, rows: Array, scales: Array, pieces: list[Piece]) -> None:
        """Lay rows down that are kept already, or rows of f32."""
        size, done = self.programs.layout.rows, 0
        while done < len(rows):
            number, place = divmod(sum(p.count for p in pieces), size)
            some = min(size - place, len(rows) - done)
            segment = self._segment(number, pieces)
            pieces.append(Piece(segment, place, some))
            segment.lay(segment.memory(), rows[done : done + some], scales[done : done + some], place)
            done += some

    # files

    def freeze(self, facts: dict[str, Any]) -> FrozenStore:
        """Return what there is now; nothing that comes later changes it."""
        with self.lock:
            counts = [s.used for s in self.segments]
            live = self._live()
            changed = self.changed
            self._frozen += 1
            number = self._frozen

            def note_flush() -> None:
                with self.lock:
                    self.flushed = max(self.flushed, changed)

            def placing(path: str) -> AbstractContextManager[KnownPlace]:
                return self.places[path].at(number)

            facts = {
                **facts,
                "rows": len(self.ids),
                "captured": self.captured,
                "panel": self.programs.layout.panel.width,
            }
            return FrozenStore(facts, self.segments[:], counts, live, self.ids, self.metas, note_flush, placing)

    def adopt(
        self, file: WrittenRows, ids: GrowingList[Id], metas: GrowingList[Meta | None], gone: Sequence[int]
    ) -> None:
        """Take the rows of a file, but those that are gone; there are none yet."""
        size, count = self.programs.layout.rows, len(ids)
        self.ids, self.metas, self._rows, self._count = ids, metas, None, count - len(gone)
        live = np.zeros(-(-count // size) * size, bool)
        live[:count] = True
        live[np.array(gone, np.int64)] = False
        for number in range(len(live) // size):
            segment = RowSegment(self.residence, number)
            segment.used = min(size, count - number * size)
            segment.live[:] = live[number * size : (number + 1) * size]
            segment.lay_file(segment.memory(), file, segment.used)
            segment.note_written(file, segment.used)
            self.segments.append(segment)

    def clear(self) -> None:
        """Let go of all; searches that are under way look at it to their end."""
        with self.lock:
            for segment in self.segments:
                segment.retire()
            self.segments, self.ids, self.metas, self._rows = [], GrowingList(), GrowingList(), {}
            self.index = None
            self._columns.forget()
