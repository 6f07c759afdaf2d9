"""The store of vectors: what is captured, found, changed and let go of.

Layer: vectors. No file is opened here: ``loom.vectors.files`` writes and reads stores. A row, once captured, never
changes: a vector that is updated becomes a new row, and the old one a tombstone until ``compact``. Searches look at
what was there when they began, without keeping others waiting. Invariant: a call that fails has changed nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from loom.core.arrays import Array
from loom.core.dtype import DType, dtype_of, f32
from loom.core.errors import ArgumentError, DTypeError, IndexOutside, StateError
from loom.core.given import is_list, one_of
from loom.core.numbers import whole
from loom.runtime.device import Device
from loom.runtime.registry import device as chosen_device
from loom.runtime.registry import one_device
from loom.schedules.vectors import KEPT, choose_layout
from loom.vectors.columns import MetaColumns, read_where
from loom.vectors.frozen import FrozenStore
from loom.vectors.given import (
    Id,
    Meta,
    read_ids,
    read_matrix,
    read_meta,
    read_metas,
    read_vector,
    require_lengths,
)  # fmt: skip
from loom.vectors.programs import VectorPrograms
from loom.vectors.search import Ranks, find_best
from loom.vectors.segments import Residence, RowSegment, WrittenRows

__all__ = ["Entry", "Hit", "VectorStore"]

METRICS = ("cosine", "dot", "euclidean")
DUPLICATES = ("error", "skip", "replace")
_MOST_DIMS = 1 << 16
_MOST_ROWS = (1 << 32) - 1


class Hit(NamedTuple):
    """A vector that was found: its id, its score, what it is told, its row.

    The score is the cosine or the product, larger for better, or the euclidean distance, smaller for better.
    """

    id: Id
    score: float
    meta: dict[str, Any] | None
    row: int


class Entry(NamedTuple):
    """A vector of a store: its id, its elements as f32, what it is told, its row."""

    id: Id
    vector: Array
    meta: dict[str, Any] | None
    row: int


class VectorStore:
    """Vectors of ``dims`` elements on a device, and search among them. See ``loom.vectors``."""

    def __init__(
        self,
        dims: int,
        capacity: int = 10_000,
        metric: str = "cosine",
        device: str | Device | None = None,
        dtype: Any = f32,
        *,
        memory_budget: int | None = None,
        on: str | Device | None = None,
    ) -> None:
        where = "VectorStore"
        dims = whole(dims, f"{where}, dims", least=1, most=_MOST_DIMS)
        self.capacity = whole(capacity, f"{where}, capacity", least=1, most=_MOST_ROWS)
        self.metric = one_of(metric, f"{where}, metric", METRICS)
        self.dtype = _kept(dtype, where)
        asked = one_device(None if device == "auto" else device, on, where)
        self.device = chosen_device(asked)
        budget = None if memory_budget is None else whole(memory_budget, f"{where}, memory_budget", least=1)
        layout = choose_layout(self.device.caps, dims, self.dtype, self.metric, self.capacity, budget)
        self._programs = VectorPrograms(self.device, layout)
        _require_room(self._programs.segment_nbytes, budget, f"{where}, memory_budget")
        self._programs.warm()
        self._residence = Residence(self._programs, budget)
        self._lock = threading.RLock()
        self._writing = threading.RLock()
        self._columns = MetaColumns()
        self._segments: list[RowSegment] = []
        self._ids: list[Id] = []
        self._metas: list[Meta | None] = []
        self._rows: dict[Id, int] = {}
        self._unflushed = 0
        self._is_open = True

    # what there is

    @property
    def dims(self) -> int:
        """Elements of a vector."""
        return self._programs.layout.dims

    @property
    def is_open(self) -> bool:
        """False after ``close``."""
        return self._is_open

    @property
    def needs_flush(self) -> bool:
        """Whether ``capacity`` vectors came or went since the last flush, or half the memory budget is unwritten."""
        budget = self._residence.most_nbytes
        is_short = budget is not None and self._unflushed > 0 and 2 * self._residence.unwritten >= budget
        return self._unflushed >= self.capacity or is_short

    @property
    def tombstones(self) -> int:
        """Rows that are deleted, and take memory until ``compact``."""
        with self._lock:
            return len(self._ids) - len(self._rows)

    @property
    def nbytes(self) -> int:
        """Bytes that vectors take on the device."""
        return self._residence.nbytes

    def __len__(self) -> int:
        """Return how many vectors there are."""
        return len(self._rows)

    def __contains__(self, name: object) -> bool:
        """Tell whether a vector has this id."""
        try:
            return name in self._rows and not isinstance(name, bool)
        except TypeError:
            return False

    def __iter__(self) -> Iterator[Id]:
        """Go through the ids there are now, oldest row first."""
        with self._lock:
            return iter([self._ids[row] for row in sorted(self._rows.values())])

    def __getitem__(self, name: Id) -> Entry:
        """Return a vector by its id; IndexOutside if there is none."""
        return self._entry(self._row(name, "VectorStore[id]"))

    def __repr__(self) -> str:
        state = f"{len(self)} vectors" if self._is_open else "closed"
        return f"VectorStore(dims={self.dims}, metric={self.metric!r}, dtype={self.dtype.name}, {state})"

    def get(self, name: Id, default: Any = None) -> Any:
        """Return a vector by its id as an ``Entry``, or ``default``."""
        self._alive("get")
        with self._lock:
            row = self._rows.get(name) if name in self else None
        return default if row is None else self._entry(row)

    # capturing

    def capture(self, id: Id, vector: Any, meta: Any = None, *, duplicates: str = "error") -> int:  # noqa: A002
        """Keep a vector under an id, with what is told of it; return its row.

        ``duplicates``: what an id that is there means: an "error", to "skip" the vector, or to "replace" the old one.
        ArgumentError for NaN and infinities, ShapeError for another length; nothing is changed then.
        """
        where = "capture"
        self._alive(where)
        x = read_vector(vector, self.dims, where)
        ids, metas = read_ids([id], 1, where), [read_meta(meta, where)]
        with self._writing:
            self._take(x, ids, metas, duplicates, where)
            return self._rows[ids[0]]

    def capture_many(self, ids: Any, matrix: Any, metas: Any = None, *, duplicates: str = "error") -> int:
        """Keep the rows of a matrix (n, dims), all or, if one cannot be, none; return how many were kept.

        ``ids`` None: they are called by the numbers of their rows. ``metas``: one mapping for all, or one (or None) for
        each. ``duplicates`` as of ``capture``; of equal ids in one call the first is kept by "skip", the last by
        "replace".
        """
        where = "capture_many"
        self._alive(where)
        x = read_matrix(matrix, self.dims, where)
        told = read_metas(metas, len(x), where)
        with self._writing:
            names = self._names(ids, len(x), where)
            return self._take(x, names, told, duplicates, where)

    def _names(self, ids: Any, count: int, where: str) -> list[Id]:
        first = len(self._ids)
        return list(range(first, first + count)) if ids is None else read_ids(ids, count, where)

    def _take(self, x: Array, ids: list[Id], metas: list[Meta | None], duplicates: str, where: str) -> int:
        """Lay rows down and keep them; the caller holds ``_writing``."""
        self._alive(where)
        one_of(duplicates, f"{where}, duplicates", DUPLICATES)
        chosen = self._chosen(ids, duplicates, where)
        if chosen is not None:
            x, ids, metas = x[chosen], [ids[n] for n in chosen], [metas[n] for n in chosen]
        if len(self._ids) + len(ids) > _MOST_ROWS:
            raise ArgumentError(where, "too many rows", expected="less than 2^32", got=len(self._ids) + len(ids),
                                remedy="compact() the store, or open another")  # fmt: skip
        pieces: list[tuple[RowSegment, int, int]] = []
        try:
            self._lay(x, pieces, where)
            self._commit(pieces, ids, metas)
        except BaseException:
            for segment, _, _ in pieces:
                if not segment.used:
                    self._residence.leave(segment)
            raise
        return len(ids)

    def _chosen(self, ids: list[Id], duplicates: str, where: str) -> list[int] | None:
        """Return which of the vectors are kept, None: all."""
        own = dict(zip(ids, range(len(ids)), strict=True))
        if len(own) == len(ids) and (not self._rows or self._rows.keys().isdisjoint(own)):
            return None
        if duplicates == "replace":
            return None if len(own) == len(ids) else sorted(own.values())
        seen: set[Id] = set()
        kept: list[int] = []
        for n, name in enumerate(ids):
            if name in self._rows or name in seen:
                if duplicates == "error":
                    raise ArgumentError(where, f"there is a vector {name!r} already", expected="new ids", got=name,
                                        remedy='Pass duplicates="replace" or "skip", or call update')  # fmt: skip
                continue
            seen.add(name)
            kept.append(n)
        return kept

    def _lay(self, x: Array, pieces: list[tuple[RowSegment, int, int]], where: str) -> None:
        """Lay rows down after the last, none of them kept yet: pieces of (segment, first row there, rows)."""
        rows = self._programs.layout.rows
        done = 0
        while done < len(x):
            number, first = divmod(len(self._ids) + done, rows)
            some = min(rows - first, len(x) - done)
            segment = (
                self._segments[number] if number < len(self._segments) else RowSegment(self._residence, number * rows)
            )
            pieces.append((segment, first, some))
            squares = self._programs.lay(x[done : done + some], segment.memory(), first, some)
            require_lengths(squares, where, first=done)
            done += some

    def _commit(self, pieces: list[tuple[RowSegment, int, int]], ids: list[Id], metas: list[Meta | None]) -> None:
        with self._lock:
            self._alive("capture")
            row = len(self._ids)
            for segment, first, some in pieces:
                if not any(segment is each for each in self._segments):
                    self._segments.append(segment)
                segment.keep(first, some)
            own = dict(zip(ids, range(row, row + len(ids)), strict=True))
            for name in self._rows.keys() & own.keys():
                self._bury(self._rows[name])
            self._ids.extend(ids)
            self._metas.extend(metas)
            self._rows.update(own) if self._rows else setattr(self, "_rows", own)
            self._unflushed += len(ids)

    def _bury(self, row: int) -> None:
        number, place = divmod(row, self._programs.layout.rows)
        self._segments[number].bury(place)

    # changing

    def delete(self, ids: Any, *, missing: str = "error") -> int:
        """Delete vectors by id, one or a list; return how many. ``missing``: an "error", or "skip" those not there."""
        where = "delete"
        self._alive(where)
        one_of(missing, f"{where}, missing", ("error", "skip"))
        names = read_ids(ids, len(ids), where) if is_list(ids) else read_ids([ids], 1, where)
        with self._writing, self._lock:
            rows = {name: self._rows.get(name) for name in names}
            for name, row in rows.items():
                if row is None and missing == "error":
                    raise _no_vector(name, where, self)
            found = {name: row for name, row in rows.items() if row is not None}
            for name, row in found.items():
                self._bury(row)
                del self._rows[name]
            self._unflushed += len(found)
            return len(found)

    # searching

    def search(self, query: Any, k: int = 10, *, where: Any = None) -> list[Hit]:
        """Return the best ``k`` vectors for a query, best first, of equal scores the older row first.

        ``where`` keeps vectors by what they are told before the best are chosen: ``{"batch": 42}``,
        ``{"year": (">=", 2000)}``; operators are == != < <= > >= in between contains is-null, and all must hold.
        """
        place = "search"
        x = read_vector(query, self.dims, place)
        return self._found(x, k, where, place)[0]

    def search_many(self, queries: Any, k: int = 10, *, where: Any = None) -> list[list[Hit]]:
        """Return what ``search`` does for each row of a matrix (n, dims), at once."""
        place = "search_many"
        return self._found(read_matrix(queries, self.dims, place), k, where, place)

    def _found(self, queries: Array, k: int, where: Any, place: str) -> list[list[Hit]]:
        self._alive(place)
        k = whole(k, f"{place}, k", least=1)
        conditions = read_where(where, f"{place}, where")
        with self._lock:
            self._alive(place)
            ids, metas, count = self._ids, self._metas, len(self._ids)
            kept = self._columns.keeps(conditions, metas, count)
            parts = [s.part(kept) for s in self._segments]
        ranks = find_best(self._programs, parts, queries, k, place)
        return [self._hits(each, ids, metas) for each in ranks]

    def _hits(self, ranks: Ranks, ids: list[Id], metas: list[Meta | None]) -> list[Hit]:
        scores = -ranks.scores if self._programs.layout.is_euclidean else ranks.scores
        pairs = zip(ranks.rows.tolist(), scores.tolist(), strict=True)
        return [Hit(ids[row], score, _copied(metas[row]), row) for row, score in pairs]

    # reading

    def _row(self, name: Any, where: str) -> int:
        self._alive(where)
        with self._lock:
            if name not in self:
                raise _no_vector(name, where, self)
            return self._rows[name]

    def _entry(self, row: int) -> Entry:
        with self._lock:
            name, meta = self._ids[row], self._metas[row]
            number, place = divmod(row, self._programs.layout.rows)
            segment = self._segments[number]
        return Entry(name, segment.floats(place, 1)[0], _copied(meta), row)

    # files

    def freeze(self) -> FrozenStore:
        """Return the store as it is now, for ``loom.vectors.flush``; nothing that comes later changes it."""
        self._alive("freeze")
        with self._lock:
            facts = {"dims": self.dims, "metric": self.metric, "dtype": self.dtype.name, "capacity": self.capacity,
                     "rows": len(self._ids)}  # fmt: skip
            counts = [s.used for s in self._segments]
            live = np.concatenate([np.empty(0, bool), *(s.live[: s.used] for s in self._segments)])
            unflushed = self._unflushed

            def done() -> None:
                with self._lock:
                    self._unflushed -= unflushed

            return FrozenStore(facts, self._segments[:], counts, live, self._ids[:], self._metas[:], done)

    def adopt(
        self, file: WrittenRows, count: int, rows: Sequence[int], ids: Sequence[Id], metas: Sequence[Meta | None]
    ) -> None:
        """Take the rows of a file into this store, which is empty: ``count`` of them, alive the ``rows`` named."""
        step = self._programs.layout.rows
        for first in range(0, count, step):
            segment = RowSegment(self._residence, first)
            segment.used = min(step, count - first)
            segment.lay(segment.memory(), file, segment.used)
            segment.written(file, segment.used)
            self._segments.append(segment)
        live = np.zeros(-(-count // step) * step, bool)
        live[list(rows)] = True
        for segment, part in zip(self._segments, live.reshape(-1, step), strict=True):
            segment.live[:] = part
        self._ids, self._metas = [0] * count, [None] * count
        for row, name, meta in zip(rows, ids, metas, strict=True):
            self._ids[row], self._metas[row] = name, meta
        self._rows = dict(zip(ids, rows, strict=True))

    # the end

    def close(self) -> None:
        """Let go of all memory; every later call is a StateError."""
        with self._writing, self._lock:
            self._is_open = False
            self._segments, self._ids, self._metas, self._rows = [], [], [], {}
            self._residence.clear()

    def __enter__(self) -> VectorStore:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _alive(self, where: str) -> None:
        if not self._is_open:
            raise StateError(where, "the store is closed", expected="an open store", remedy="Make or restore another")


def _kept(dtype: Any, where: str) -> DType:
    found = dtype_of(dtype, f"{where}, dtype")
    if found not in KEPT:
        raise DTypeError(f"{where}, dtype", "vectors are not kept as this", expected=" or ".join(map(str, KEPT)),
                         got=found, remedy="Leave it out for f32")  # fmt: skip
    return found


def _require_room(nbytes: int, budget: int | None, where: str) -> None:
    if budget is not None and nbytes > budget:
        raise ArgumentError(where, "too small for a segment of vectors", expected=f"at least {nbytes}", got=budget,
                            remedy="Raise it, or leave it out")  # fmt: skip


def _copied(meta: Meta | None) -> dict[str, Any] | None:
    return None if meta is None else dict(meta)


def _no_vector(name: Any, where: str, store: VectorStore) -> IndexOutside:
    return IndexOutside(where, f"there is no vector {name!r}", expected="an id of the store",
                        got=f"{len(store)} others", remedy="Look with `id in store` first")  # fmt: skip
