"""The store of vectors: what is captured, found, changed and let go of.

Layer: vectors. No file is opened here: ``loom.vectors.files`` writes and reads stores. A row, once captured, never
changes: a vector that is updated becomes a new row, and the old one a tombstone until ``compact``. Searches look at
what was there when they began, without keeping others waiting. Invariant: a call that fails has changed nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.dtype import DType, dtype_of, f32, i8
from loom.core.errors import ArgumentError, DTypeError, IndexOutside, StateError
from loom.core.given import flag, one_of
from loom.core.numbers import whole
from loom.core.tracebacks import brief_class
from loom.kernels.precisions import FULL
from loom.runtime.port.device import Device
from loom.runtime.registry import device as chosen_device
from loom.runtime.registry import one_device
from loom.schedules.vectors import KEPT, choose_layout
from loom.vectors.approximate import IndexReport, build_index
from loom.vectors.columns import read_where
from loom.vectors.entries import Entry, Hit, as_hits, copy_meta, normalize, read_entries
from loom.vectors.frozen import FrozenStore
from loom.vectors.given import Id, as_id, read_ids, read_matrix, read_meta, read_metas, read_vector
from loom.vectors.pieces import GivenRows
from loom.vectors.programs import VectorPrograms
from loom.vectors.search import find_best
from loom.vectors.sources import take_from
from loom.vectors.state import StoreState

__all__ = ["VectorStore"]

METRICS = ("cosine", "dot", "euclidean")
PRECISIONS_OF_SEARCH = ("q8", "q12", "x12")
DUPLICATES = ("error", "skip", "replace")
_MOST_DIMS = 1 << 16
_MOST_ROWS = (1 << 32) - 1
_KEEP: Any = object()


@brief_class
class VectorStore:
    """Vectors of as many elements on a device, and search among them.

    Kernels are compiled here, so that nothing that follows opens a file. Any number of threads may call.

    Args:
        dims: Elements of a vector.
        capacity: Vectors after which ``needs_flush`` says so; the store may hold more.
        metric: "cosine", "dot" or "euclidean".
        device: Device, or its name; None: the default device.
        dtype: Dtype that elements are kept as: f32; f16, rounded; or i8, integers from -127 to 127 times a scale for
            each vector.
        memory_budget: Bytes of the device that vectors may take; beyond them those that a flush has written leave the
            device, and come back when they are searched; None: no limit.
        on: The same as ``device``; one of the two is named.

    Raises:
        ArgumentError: A number is out of range or no whole one; there is no such metric, or none of this dtype;
            ``device`` and ``on`` differ.
        DTypeError: Not a device; not f32, f16 or i8.
        DeviceError: There is no such device; it has no room.

    >>> import loom
    >>> db = loom.vectors.VectorStore(dims=2, metric="euclidean")
    >>> db.capture_many(["a", "b"], [[0, 0], [3, 4]])
    2
    >>> [(hit.id, hit.score) for hit in db.search([0, 0])]
    [('a', 0.0), ('b', 5.0)]
    """

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
        self.dtype = _storage_type(dtype, where)
        self.device = chosen_device(
            one_device(None if isinstance(device, str) and device == "auto" else device, on, where)
        )
        budget = None if memory_budget is None else whole(memory_budget, f"{where}, memory_budget", least=1)
        layout = choose_layout(self.device.caps, dims, self.dtype, self.metric, self.capacity, budget)
        programs = VectorPrograms(self.device, layout)
        _require_room(programs.segment_nbytes, budget, f"{where}, memory_budget")
        programs.warm()
        self._programs = programs
        self._others: dict[tuple[str, str], VectorPrograms] = {}
        """Programs of searches in another precision, or by another metric."""
        self._state = StoreState(programs, budget)
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
    def memory_budget(self) -> int | None:
        """Bytes of the device that vectors may take; None: all it has."""
        return self._state.residence.most_nbytes

    @property
    def needs_flush(self) -> bool:
        """Whether ``capacity`` vectors came or went since the last flush, or half the memory budget is unwritten."""
        self._alive("needs_flush")
        budget, residence = self.memory_budget, self._state.residence
        is_short = budget is not None and self._state.unflushed > 0 and 2 * residence.unwritten >= budget
        return self._state.unflushed >= self.capacity or is_short

    @property
    def tombstones(self) -> int:
        """Rows that are deleted or replaced, and take memory until ``compact``."""
        with self._state.lock:
            self._alive("tombstones")
            return len(self._state.ids) - self._state.count

    @property
    def nbytes(self) -> int:
        """Bytes that vectors take on the device now."""
        return self._state.residence.nbytes

    def __len__(self) -> int:
        """Return how many vectors there are."""
        self._alive("len")
        return self._state.count

    def __contains__(self, name: object) -> bool:
        """Tell whether a vector has this id."""
        self._alive("in")
        return as_id(name) in self._state.rows

    def __iter__(self) -> Iterator[Id]:
        """Go through the ids there are now, oldest row first."""
        self._alive("iteration")
        with self._state.lock:
            return iter([self._state.ids[row] for row in self._state.alive()])

    def __getitem__(self, name: Id) -> Entry:
        """Return a vector by its id; IndexOutside if there is none."""
        self._alive("VectorStore[id]")
        found = self._entry(name)
        if found is None:
            raise self._no_vector(name, "VectorStore[id]")
        return found

    def __repr__(self) -> str:
        state = f"{len(self)} vectors" if self._is_open else "closed"
        return f"VectorStore(dims={self.dims}, metric={self.metric!r}, dtype={self.dtype.name}, {state})"

    def get(self, name: Id, default: Any = None) -> Any:
        """Return a vector by its id.

        Args:
            name: Id of the vector.
            default: Value for an id that is not there.

        Returns:
            Entry.
        """
        self._alive("get")
        found = self._entry(name)
        return default if found is None else found

    def _entry(self, name: Any) -> Entry | None:
        known = as_id(name)
        with self._state.lock:
            if known not in self._state.rows or known is None:
                return None
            row = self._state.rows[known]
            meta, (segment, place) = self._state.metas[row], self._state.place(row)
        return Entry(known, segment.floats(place, 1)[0], copy_meta(meta), row)

    def items(self) -> Iterator[Entry]:
        """Return an iterator over the vectors there are now, oldest row first, read some at a time."""
        self._alive("items")
        with self._state.lock:
            segments, ids, metas = self._state.segments[:], self._state.ids, self._state.metas
            alive = [np.flatnonzero(s.live[: s.used]).tolist() for s in segments]
        return read_entries(segments, alive, ids, metas)

    def to_numpy(self) -> tuple[list[Id], Array]:
        """Return all ids, oldest row first, and their vectors as f32, (n, dims)."""
        entries = list(self.items())
        return [e.id for e in entries], np.array([e.vector for e in entries], np.float32).reshape(-1, self.dims)

    def to_arrow(self) -> Any:
        """Return all vectors as a pyarrow.Table: id, vector, meta (JSON).

        Raises:
            StateError: The package pyarrow is missing; the store is closed.
        """
        from loom.vectors.arrow import as_table

        return as_table(list(self.items()), self.dims)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Lend all vectors to whatever reads Arrow: polars, pandas, DuckDB."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    # capturing

    def capture(self, id: Id, vector: Any, meta: Any = None, *, duplicates: str = "error") -> int:  # noqa: A002
        """Keep a vector under an id; where there is an error, nothing is changed.

        Args:
            id: Whole number or text.
            vector: Array (dims,) of finite numbers.
            meta: Mapping that JSON can hold; None: none.
            duplicates: Rule for an id that is there: an "error", to "skip" the vector, or to "replace" the old one.

        Returns:
            Row of the vector.

        Raises:
            ArgumentError: NaN or an infinity; the id is there; there is no such rule.
            DTypeError: Not an id; not numbers; not a mapping.
            ShapeError: A vector of another length.
            StateError: The store is closed.
        """
        where = "capture"
        self._alive(where)
        x = read_vector(vector, self.dims, where)
        ids, told = read_ids([id], 1, where), read_metas([read_meta(meta, where)], 1, where)
        with self._state.writing:
            self._take(GivenRows(x, 1), ids, told, duplicates, where)
            return self._state.rows[ids[0]]

    def capture_many(self, ids: Any, matrix: Any, metas: Any = None, *, duplicates: str = "error") -> int:
        """Keep the rows of a matrix, all or, if one cannot be, none.

        ``duplicates`` as of ``capture``; of equal ids in one call the first is kept by "skip", the last by "replace".

        Args:
            ids: Ids of the vectors; None: numbers that none has.
            matrix: Array (n, dims) of finite numbers.
            metas: One mapping for all, or one (or None) for each; None: none.
            duplicates: Rule for an id that is there: an "error", to "skip" the vector, or to "replace" the old one.

        Returns:
            Number of vectors that were kept.

        Raises:
            ArgumentError: NaN or an infinity; an id is there; there is no such rule; the ids are not several.
            DTypeError: Not ids; not numbers; not mappings.
            ShapeError: Vectors of another length; not an id or a mapping for each.
            StateError: The store is closed.
        """
        where = "capture_many"
        self._alive(where)
        x = read_matrix(matrix, self.dims, where)
        return self._take(GivenRows(x, len(x)), ids, metas, duplicates, where)

    def capture_from(
        self,
        source: Any,
        offset: int = 0,
        count: int | None = None,
        ids: Any = None,
        metas: Any = None,
        *,
        binding: str | None = None,
        duplicates: str = "error",
    ) -> int:
        """Keep vectors that are on the device, otherwise as ``capture_many``; nothing leaves it but lengths.

        Args:
            source: Unit or tensor, on the store's device.
            offset: Number of elements (of words: f32) before the first vector.
            count: Number of vectors; None: all that are whole.
            ids: Ids of the vectors; None: numbers that none has.
            metas: One mapping for all, or one (or None) for each; None: none.
            binding: Name of the unit's binding; None: of a tensor.
            duplicates: Rule for an id that is there: an "error", to "skip" the vector, or to "replace" the old one.

        Returns:
            Number of vectors that were kept.

        Raises:
            ArgumentError: Another device; a tensor has no bindings; NaN or an infinity; an id is there; a number is out
                of range or no whole one.
            DTypeError: Nothing on a device, or elements other than f32; not ids; not mappings.
            ShapeError: Less elements than vectors need; not an id or a mapping for each.
            StateError: The store is closed; the unit is parked, or shut down.
        """
        where = "capture_from"
        self._alive(where)
        with take_from(source, self.device, self.dims, offset, count, binding, where) as found:
            return self._take(found, ids, metas, duplicates, where)

    def _take(self, source: GivenRows, ids: Any, metas: Any, duplicates: str, where: str) -> int:
        one_of(duplicates, f"{where}, duplicates", DUPLICATES)
        told = read_metas(metas, source.count, where)
        with self._state.writing:
            self._alive(where)

            def names() -> list[Id]:
                return self._state.free_numbers(source.count) if ids is None else read_ids(ids, source.count, where)

            return self._state.capture(source, names, told, duplicates, where, lambda: self._alive(where))

    # changing

    def update(self, name: Id, vector: Any = None, meta: Any = _KEEP) -> int:
        """Give a vector other elements, or another mapping, or both.

        Args:
            name: Id of the vector.
            vector: Array (dims,) of finite numbers; None: the elements stay.
            meta: Mapping that JSON can hold, or None for none; left out, it stays.

        Returns:
            Row of the vector, new with new elements.

        Raises:
            ArgumentError: NaN or an infinity.
            DTypeError: Not numbers; not a mapping.
            ShapeError: A vector of another length.
            IndexOutside: There is no vector of this id.
            StateError: The store is closed.
        """
        where = "update"
        self._alive(where)
        x = None if vector is None else read_vector(vector, self.dims, where)
        told = None if meta is _KEEP else read_meta(meta, where)
        state = self._state
        with state.writing:
            self._alive(where)
            known = as_id(name)
            if known not in state.rows or known is None:
                raise self._no_vector(name, where)
            row = state.rows[known]
            if meta is _KEEP:
                told = state.metas[row]
            if x is not None:
                state.capture(GivenRows(x, 1), lambda: [known], [told], "replace", where, lambda: self._alive(where))
            elif meta is not _KEEP:
                state.tell(row, told)
            return state.rows[known]

    def delete(self, ids: Any, *, missing: str = "error") -> int:
        """Delete vectors by id.

        Args:
            ids: Ids, one or several.
            missing: Rule for an id that is not there: an "error", or "skip".

        Returns:
            Number of vectors.

        Raises:
            ArgumentError: There is no such rule.
            DTypeError: Not an id.
            IndexOutside: There is no vector of an id; none is deleted.
            StateError: The store is closed.
        """
        where = "delete"
        self._alive(where)
        one_of(missing, f"{where}, missing", ("error", "skip"))
        names = read_ids(ids if isinstance(ids, Iterable) and not isinstance(ids, (str, bytes)) else [ids], None, where)
        with self._state.writing, self._state.lock:
            if missing == "error":
                gone = next((name for name in names if name not in self), None)
                if gone is not None:
                    raise self._no_vector(gone, where)
            return self._state.delete(names)

    def compact(self) -> int:
        """Let go of tombstones.

        Returns:
            Number of tombstones.

        Raises:
            StateError: The store is closed.
        """
        with self._state.writing:
            self._alive("compact")
            return self._state.rebuild("compact")

    def normalize(self) -> None:
        """Scale all vectors to length 1, those of length 0 apart; tombstones go.

        Raises:
            StateError: The store is closed.
        """
        with self._state.writing:
            self._alive("normalize")
            self._state.rebuild("normalize", normalize)

    # searching

    def search(
        self,
        query: Any,
        k: int = 10,
        *,
        where: Any = None,
        approximate: bool = False,
        precision: str | None = None,
        metric: str | None = None,
    ) -> list[Hit]:
        """Return the best vectors for a query, best first, of equal scores the older row first.

        packs the vectors, which ``nbytes`` tells; what is captured later is packed when it is searched.

        Args:
            query: Array (dims,) of finite numbers.
            k: Number of hits, at least 0.
            where: Filter of the mappings (``{"batch": 42}``, ``{"year": (">=", 2000)}``; operators are == != < <= > >=
                in between contains is-null, and all must hold), before the best are chosen; None: none.
            approximate: Whether it looks where ``build_index`` says; a hit may be missed, its score is exact.
            precision: "q8" or "q12" compare whole numbers, faster and less exact, "x12" elements of 12 significant
                bits; the scores are those of products in that precision, the same on every device (docs/numerics.md,
                section 2); None: exact.
            metric: Another metric than the store's, over the same rows, with the bits of a store of that metric; None:
                the store's.

        Returns:
            Hits.

        Raises:
            ArgumentError: NaN or an infinity; ``k`` is out of range; a filter that is unusable; a precision of
                "euclidean", of stores of i8 or with a ``memory_budget``, or "x12" of f16; another metric of such
                stores, or where ``approximate``.
            DTypeError: Not numbers; not a filter.
            ShapeError: A vector of another length.
            StateError: The store is closed; ``approximate`` without an index.
        """
        self._alive(place := "search")
        programs = self._within(precision, metric, place)
        return self._found(read_vector(query, self.dims, place), k, where, approximate, programs, place)[0]

    def search_many(
        self,
        queries: Any,
        k: int = 10,
        *,
        where: Any = None,
        approximate: bool = False,
        precision: str | None = None,
        metric: str | None = None,
    ) -> list[list[Hit]]:
        """Return the hits of ``search`` for each row of a matrix, at once.

        Args:
            queries: Array (n, dims) of finite numbers.
            k: Number of hits, at least 0.
            where: Filter of the mappings (``{"batch": 42}``, ``{"year": (">=", 2000)}``; operators are == != < <= > >=
                in between contains is-null, and all must hold), before the best are chosen; None: none.
            approximate: Whether it looks where ``build_index`` says; a hit may be missed, its score is exact.
            precision: "q8" or "q12" compare whole numbers, faster and less exact, "x12" elements of 12 significant
                bits; the scores are those of products in that precision, the same on every device (docs/numerics.md,
                section 2); None: exact.
            metric: Another metric than the store's, over the same rows, with the bits of a store of that metric; None:
                the store's.

        Returns:
            List of hits for each row.

        Raises:
            ArgumentError: As of ``search``.
            DTypeError: Not numbers; not a filter.
            ShapeError: Vectors of another length.
            StateError: The store is closed; ``approximate`` without an index.
        """
        self._alive(place := "search_many")
        programs = self._within(precision, metric, place)
        return self._found(read_matrix(queries, self.dims, place), k, where, approximate, programs, place)

    def _within(self, precision: object, metric: object, place: str) -> VectorPrograms:
        """Return the programs of a precision and a metric; ArgumentError for what has no meaning here."""
        asked = self.metric if metric is None else one_of(metric, f"{place}, metric", METRICS)
        name = (
            ""
            if precision is None or (isinstance(precision, str) and precision == FULL)
            else one_of(precision, f"{place}, precision", PRECISIONS_OF_SEARCH)
        )
        if asked != self.metric:
            self._require_plain(
                f"{place}, metric", "vectors are weighed for one metric", "Capture them in a store of that metric"
            )
        if name:
            where = f"{place}, precision"
            self._require_plain(where, "vectors are whole numbers already", "Leave precision out")
            if asked == "euclidean":
                raise ArgumentError(
                    where,
                    "distances are no products",
                    expected='the metric "cosine" or "dot"',
                    got=asked,
                    remedy="Leave precision out",
                )
            if name == "x12" and self.dtype != f32:
                raise ArgumentError(
                    where,
                    "x12 rounds elements of f32",
                    expected="vectors of f32",
                    got=self.dtype.name,
                    remedy="Leave precision out",
                )
        if not name and asked == self.metric:
            return self._programs
        with self._state.lock:
            if (name, asked) not in self._others:
                laid = self._programs.layout
                layout = replace(laid, metric=asked)
                if name:
                    layout = layout.within(name, self.device.caps.dots)
                self._others[name, asked] = VectorPrograms(self.device, layout, laid)
            return self._others[name, asked]

    def _require_plain(self, where: str, why: str, remedy: str) -> None:
        """ArgumentError for stores of integers, and ``why``, or whose vectors leave the device."""
        if self.dtype == i8:
            raise ArgumentError(where, why, expected="vectors of f32 or f16", got="i8", remedy=remedy)
        if self.memory_budget is not None:
            raise ArgumentError(
                where,
                "what is made of vectors for it does not leave the device",
                expected="no memory_budget",
                got=f"{self.memory_budget} bytes",
                remedy=remedy,
            )

    def _found(
        self, queries: Array, k: Any, where: Any, approximate: Any, programs: VectorPrograms, place: str
    ) -> list[list[Hit]]:
        k = whole(k, f"{place}, k", least=1)
        conditions = read_where(where, f"{place}, where")
        is_approximate = flag(approximate, f"{place}, approximate")
        with self._state.lock:
            self._alive(place)
            view = self._state.view(conditions)
        parts = [part.pack(programs) for part in view.parts]
        layout = programs.layout
        if not is_approximate:
            ranks = find_best(programs, parts, queries, k, place)
        elif layout.metric != self.metric:
            raise ArgumentError(
                f"{place}, metric",
                "the index is of one metric",
                expected=self.metric,
                got=layout.metric,
                remedy="Leave one of metric and approximate out",
            )
        elif view.index is not None:
            ranks = view.index.find(programs, parts, queries, k, place)
        else:
            raise StateError(
                place, "there is no index", expected="build_index() before", remedy="Build one, or leave it exact"
            )
        return [as_hits(each, view, layout.is_euclidean) for each in ranks]

    def build_index(
        self, *, connectivity: int = 16, expansion: int = 128, samples: int | None = None, queries: object = None
    ) -> IndexReport:
        """Build an approximate index of the vectors there are now (HNSW, by the package usearch); tell its recall.

        Its recall is that of the best 10 for ``samples`` stored vectors (100, at most half of them) that neither index
        nor exact search has while it is measured: what queries that are like the stored vectors will meet. What is
        captured later is searched exactly beside it; ``compact`` and ``normalize`` drop it.

        Args:
            connectivity: Neighbours of a vector, as of usearch.
            expansion: Candidates looked at, as of usearch.
            samples: Stored vectors that its recall is measured with; None: 100, at most half of them.
            queries: Matrix (n, dims) of others to measure with in their place; None: none.

        Returns:
            Report: how many vectors it knows, and its recall.

        Raises:
            ArgumentError: A number is out of range or no whole one; samples and queries, or queries that are none.
            DTypeError: The queries are no numbers.
            ShapeError: Vectors of another length.
            StateError: The package usearch is missing; the store is closed.
        """
        where = "build_index"
        self._alive(where)
        m, ef, count = (
            whole(n, f"{where}, {what}", least=least, most=1 << 16)
            for n, what, least in (
                (connectivity, "connectivity", 2),
                (expansion, "expansion", 1),
                (100 if samples is None else samples, "samples", 1),
            )
        )
        measured: Array | int = count
        if queries is not None:
            measured = read_matrix(queries, self.dims, f"{where}, queries")
            if samples is not None or not len(measured):
                raise ArgumentError(
                    where,
                    "recall is measured with samples or with queries",
                    expected="samples=, or queries= of at least one",
                    got="both" if samples is not None else "no query",
                    remedy="Leave one of them out",
                )
        with self._state.writing:
            self._alive(where)
            entries = list(self.items())
            view = self._state.view([])
            index, report = build_index(self._programs, view.parts, entries, m, ef, measured)
            self._state.index = index
            return report

    # files and the end

    def freeze(self) -> FrozenStore:
        """Return the store as it is now, for ``loom.vectors.flush``; nothing that comes later changes it."""
        self._alive("freeze")
        return self._state.freeze(
            {"dims": self.dims, "metric": self.metric, "dtype": self.dtype.name, "capacity": self.capacity}
        )

    def close(self) -> None:
        """Let go of all memory; every later call is a StateError."""
        with self._state.writing, self._state.lock:
            self._is_open = False
            self._state.clear()

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise DTypeError("VectorStore", "a store lies on a device, and is neither copied nor pickled",
                         remedy="Flush it, and restore it where it is wanted")  # fmt: skip

    def __enter__(self) -> VectorStore:
        self._alive("with")
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _alive(self, where: str) -> None:
        if not self._is_open:
            raise StateError(where, "the store is closed", expected="an open store", remedy="Make or restore another")

    def _no_vector(self, name: Any, where: str) -> IndexOutside:
        return IndexOutside(where, f"there is no vector {name!r:.200}", expected="an id of the store",
                            got=f"{len(self)} others", remedy="Look with `id in store` first")  # fmt: skip


def _storage_type(dtype: Any, where: str) -> DType:
    found = dtype_of(dtype, f"{where}, dtype")
    if found not in KEPT:
        raise DTypeError(f"{where}, dtype", "vectors are not kept as this", expected=" or ".join(map(str, KEPT)),
                         got=found, remedy="Leave it out for f32")  # fmt: skip
    return found


def _require_room(nbytes: int, budget: int | None, where: str) -> None:
    if budget is not None and nbytes > budget:
        raise ArgumentError(where, "too small for a segment of vectors", expected=f"at least {nbytes}", got=budget,
                            remedy="Raise it, or leave it out")  # fmt: skip
