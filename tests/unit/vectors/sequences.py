"""Drawn sequences of calls of a store of vectors, each held against the model: hits, score bits, rows, answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError, IndexOutside, LoomError, StateError
from loom.vectors import VectorStore, flush, restore
from unit.vectors.model import Model

METAS: list[Any] = [
    None,
    {},
    {"n": 1},
    {"n": 2.5},
    {"n": True},
    {"t": "é🎉"},
    {"n": 7, "t": "ab"},
    {"l": [1, {"m": None}]},
]
FILTERS: list[tuple[Any, Any]] = [
    (None, None),
    ({"n": 1}, lambda m: _get(m, "n") == 1 and _get(m, "n") is not True),
    ({"n": True}, lambda m: _get(m, "n") is True),
    ({"n": (">", 1)}, lambda m: _is_number(_get(m, "n")) and _get(m, "n") > 1),
    ({"n": ("between", [1, 3])}, lambda m: _is_number(_get(m, "n")) and 1 <= _get(m, "n") <= 3),
    ({"n": ("is-null", True), "t": ("contains", "é")}, lambda m: _get(m, "n") is None and "é" in (_get(m, "t") or "")),
    ({"t": ("!=", "ab")}, lambda m: _get(m, "t") != "ab"),
    ({"l": [1, {"m": None}]}, lambda m: _get(m, "l") == [1, {"m": None}]),
    ({"none": 1}, lambda m: False),
]


REFUSED = (ArgumentError, DTypeError)
"""What filters raise that could hold for no row: of a name that none has, or a value of a kind that none has."""


def could_hold(where: Any, metas: list[Any]) -> bool:
    """Tell whether no condition is on a name that none of the rows has, or on a value of a kind that none has."""

    def of_kind(value: Any) -> Any:
        return type(value) if isinstance(value, (bool, str, list)) else float

    def is_sensible(name: str, wanted: Any) -> bool:
        found = [meta[name] for meta in metas if meta is not None and name in meta]
        sign, value = wanted if isinstance(wanted, tuple) else ("==", wanted)
        if sign == "is-null":
            return True
        asked = value if sign == "between" else [value]
        kinds = {of_kind(each) for each in found}
        return bool(found) and all(of_kind(each) in kinds for each in asked)

    return where is None or all(is_sensible(*each) for each in where.items())


def _get(meta: Any, name: str) -> Any:
    return None if meta is None else meta.get(name)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class Sequence:
    """One store and its model, and what is drawn for both."""

    def __init__(self, seed: int, folder: Path, devices: tuple[str, ...]) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.folder, self.devices = folder, devices
        self.dims = int(rng.choice([1, 2, 3, 5, 8, 17, 33, 130, 260]))
        self.metric = str(rng.choice(["cosine", "dot", "euclidean"]))
        self.kind = str(rng.choice(["f32", "f32", "f16", "i8"]))
        self.capacity = int(rng.choice([1, 32, 50, 100, 1000]))
        self.model = Model(self.dims, self.metric, self.kind)
        self.saved: Model | None = None
        self.changes = 0
        self.has_index = False
        self.db = VectorStore(
            self.dims, self.capacity, self.metric, self.device(), self.kind, memory_budget=self.budget()
        )

    def device(self) -> str:
        return str(self.rng.choice(self.devices))

    def budget(self) -> int | None:
        """Draw a budget of some segments of 128 rows at most, or none."""
        row = self.dims * 4 + 16
        return None if self.rng.random() < 0.6 else int(self.rng.choice([3, 4, 9, 40])) * 128 * row

    # drawing

    def vector(self) -> Any:
        """Draw a vector: of few different elements, so that scores tie; zero; one that is there; or any."""
        kind = self.rng.random()
        if kind < 0.45:
            return self.rng.integers(-2, 3, self.dims).astype(np.float32)
        if kind < 0.5:
            return np.zeros(self.dims, np.float32)
        alive = self.model.alive()
        if kind < 0.65 and alive:
            return self.model.floats(int(self.rng.choice(alive)))
        return self.rng.standard_normal(self.dims).astype(np.float32) * np.float32(2.0 ** self.rng.integers(-6, 7))

    def matrix(self, count: int) -> Any:
        return np.array([self.vector() for _ in range(count)], np.float32).reshape(count, self.dims)

    def spelled(self, x: Any) -> Any:
        """Draw how an array is written."""
        kind = int(self.rng.integers(8))
        if kind == 0:
            return x.tolist() if x.size else x
        if kind == 1:
            return x.astype(np.float64)
        if kind == 2:
            return np.asfortranarray(x)
        if kind == 3:
            return np.repeat(x, 2, axis=0)[::2] if x.ndim == 2 else np.repeat(x, 2)[::2]
        if kind == 4:
            x = x.copy()
            x.flags.writeable = False
            return x
        if kind == 5:
            return loom.array(x, on=self.device())
        if kind == 6:
            return x.astype(">f4")
        return x

    def name(self) -> Any:
        n = int(self.rng.integers(60))
        return (n, f"v{n}", f"é\0{n}")[n % 3]

    def names(self, count: int) -> Any:
        if self.rng.random() < 0.3:
            return None
        return [self.name() for _ in range(count)]

    # calls

    def run(self, steps: int) -> None:
        """Call so many times; look at everything now and then."""
        calls = [
            self.capture, self.capture, self.capture_many, self.capture_many, self.capture_from, self.refused,
            self.search, self.search, self.search_many, self.search_many, self.look_up, self.update, self.update,
            self.delete, self.compact, self.normalize, self.flush, self.restore, self.index, self.approximate,
        ]  # fmt: skip
        for _ in range(steps):
            calls[int(self.rng.integers(len(calls)))]()
        self.look_at_all()

    def held(self, call: Any) -> Any:
        """Return what a call does; where the budget is full, flush as the error says, and call again."""
        try:
            return call()
        except StateError as error:
            if "full of vectors that no file has" not in str(error):
                raise
            self.flush()
            return call()

    def changed(self, count: int) -> None:
        self.changes += count

    def capture(self) -> None:
        self._capture(1, is_one=True)

    def capture_many(self) -> None:
        self._capture(int(self.rng.integers(0, 40)))

    def _capture(self, count: int, is_one: bool = False) -> None:
        names = [self.name()] if is_one else self.names(count)
        x = self.matrix(count)
        metas = [METAS[n] for n in self.rng.integers(0, len(METAS), count)]
        duplicates = str(self.rng.choice(["error", "skip", "replace"]))
        own = self.model.numbered(count) if names is None else names
        before = self.model.copy()
        wanted = self.model.capture(own, x, metas, duplicates)
        if is_one:
            given = self.spelled(x[0])
            row = self._answer(wanted, lambda: self.db.capture(names[0], given, metas[0], duplicates=duplicates))
            assert row in (None, self.model.place(names[0]))
        else:
            given = self.spelled(x)
            all_same = count > 0 and all(meta is metas[0] for meta in metas) and metas[0] is not None
            told = metas[0] if all_same else metas
            found = self._answer(wanted, lambda: self.db.capture_many(names, given, told, duplicates=duplicates))
            assert found == wanted
        if wanted is None:
            self.model = before
        else:
            self.changed(wanted)

    def _answer(self, wanted: Any, call: Any) -> Any:
        if wanted is None:
            with pytest.raises(ArgumentError, match="already"):
                call()
            return None
        return self.held(call)

    def capture_from(self) -> None:
        count, offset = int(self.rng.integers(1, 20)), int(self.rng.integers(0, 2 * self.dims))
        x = self.matrix(count + 3)
        flat = x.reshape(-1)[offset : offset + count * self.dims].reshape(count, self.dims)
        names = self.model.numbered(count)
        if not all(np.sqrt((row.astype(np.float64) ** 2).sum()) == 0 or np.abs(row).max() > 1e-9 for row in flat):
            return
        self.model.capture(names, flat, [{"n": 1}] * count, "error")
        device = self.db.device
        if self.rng.random() < 0.5:
            source = loom.array(x, on=device) * 1
            self.held(lambda: self.db.capture_from(source, offset, count, metas={"n": 1}))
        else:
            with loom.boot(registers=1, bindings={"e": (loom.f32, x.shape)}, device=device) as unit:
                unit.write(x, binding="e")
                self.held(lambda: self.db.capture_from(unit, offset, count, metas={"n": 1}, binding="e"))
        self.changed(count)

    def refused(self) -> None:
        """What cannot be is an error and changes nothing."""
        x = self.matrix(3)
        x[int(self.rng.integers(3)), int(self.rng.integers(self.dims))] = self.rng.choice([np.nan, np.inf, -np.inf])
        wide = np.ones((2, self.dims + 1), np.float32)
        calls = [
            lambda: self.db.capture_many(["r1", "r2", "r3"], x),
            lambda: self.db.capture_many(["r1", "r2"], wide),
            lambda: self.db.capture_many(["r1", "r2"], wide[:, 1:], [{}, {"a": object()}]),
            lambda: self.db.capture("r1", wide[0]),
            lambda: self.db.search(wide[0, 1:], 0),
            lambda: self.db.update("no such", wide[0, 1:]),
            lambda: self.db.delete(["no such"]),
        ]
        with pytest.raises(LoomError):
            self.held(calls[int(self.rng.integers(len(calls)))])
        assert len(self.db) == len(self.model.alive())

    def metas(self) -> list[Any]:
        """What rows that are alive are told."""
        return [row.meta for row in self.model.rows if row is not None]

    def search(self) -> None:
        self._search(1)

    def search_many(self) -> None:
        self._search(int(self.rng.integers(0, 12)))

    def _search(self, count: int) -> None:
        queries, k = self.matrix(count), int(self.rng.choice([1, 2, 3, 10, 64, 1000, 1 << 40]))
        where, test = FILTERS[int(self.rng.integers(len(FILTERS)))]
        try:
            if count == 1:
                found = [self.held(lambda: self.db.search(self.spelled(queries[0]), k, where=where))]
            else:
                found = self.held(lambda: self.db.search_many(self.spelled(queries), k, where=where))
        except REFUSED:
            assert not could_hold(where, self.metas())
            return
        assert len(found) == count
        for query, hits in zip(queries, found, strict=True):
            wanted = self.model.search(query, k, test)
            assert [(h.id, int(np.float32(h.score).view(np.uint32)), h.meta, h.row) for h in hits] == wanted

    def look_up(self) -> None:
        name = self.name()
        row = self.model.place(name)
        assert (name in self.db) == (row is not None)
        entry = self.held(lambda: self.db.get(name))
        if row is None:
            assert entry is None
            with pytest.raises(IndexOutside):
                self.db[name]
        else:
            assert (entry.id, entry.row, entry.meta) == (name, row, self.model.rows[row].meta)  # type: ignore[union-attr]
            assert entry.vector.tobytes() == self.model.floats(row).tobytes()

    def update(self) -> None:
        names = self.model.names()
        if not names:
            return
        name = names[int(self.rng.integers(len(names)))]
        row = self.model.place(name)
        assert row is not None
        meta = METAS[int(self.rng.integers(len(METAS)))]
        if self.rng.random() < 0.5:
            self.db.update(name, meta=meta)
            self.model.tell(row, meta)
            self.changed(1)
            return
        x, kept = self.vector(), self.model.rows[row].meta  # type: ignore[union-attr]
        is_told = self.rng.random() < 0.5
        told = {"meta": meta} if is_told else {}
        answer = self.held(lambda: self.db.update(name, x, **told))
        self.model.capture([name], x[None], [meta if is_told else kept], "replace")
        assert answer == self.model.place(name)
        self.changed(1)

    def delete(self) -> None:
        names = [self.name() for _ in range(int(self.rng.integers(0, 6)))]
        if all(self.model.place(name) is not None for name in names):
            found = self.db.delete(names)
        else:
            with pytest.raises(IndexOutside):
                self.db.delete(names)
            found = self.db.delete(names, missing="skip")
        assert found == self.model.delete(names)
        self.changed(found)

    def compact(self) -> None:
        self._rebuilt(self.db.compact, self.model.compact)

    def normalize(self) -> None:
        if self.rng.random() < 0.4:
            self._rebuilt(self.db.normalize, self.model.normalize)

    def _rebuilt(self, call: Any, model_call: Any) -> None:
        try:
            answer = self.held(call)
        except StateError as error:
            assert "restore it with a larger memory_budget" in str(error)  # noqa: PT017 - one of two ends
            return
        assert answer == model_call()
        self.has_index = False
        self.changed(1)

    def flush(self) -> None:
        flush(self.db, self.folder / "store", replace=True)  # of an older state that was restored, too
        self.saved, self.changes = self.model.copy(), 0
        assert not self.db.needs_flush

    def restore(self) -> None:
        """Go on with what was flushed last, on another device, under another budget."""
        if self.saved is None:
            return
        if self.rng.random() < 0.5:
            self.db.close()
        self.db = restore(self.folder / "store", self.device(), memory_budget=self.budget())
        self.model, self.changes, self.has_index = self.saved.copy(), 0, False

    def index(self) -> None:
        if self.rng.random() < 0.3:
            pytest.importorskip("usearch")
            report = self.held(lambda: self.db.build_index(samples=5))
            assert report.vectors == len(self.model.alive())
            self.has_index = True

    def approximate(self) -> None:
        query, k = self.vector(), int(self.rng.choice([1, 3, 10, 500]))
        if not self.has_index:
            with pytest.raises(StateError, match="there is no index"):
                self.db.search(query, k, approximate=True)
            return
        where, test = FILTERS[int(self.rng.integers(len(FILTERS)))]
        try:
            hits = self.held(lambda: self.db.search(query, k, where=where, approximate=True))
        except REFUSED:
            assert not could_hold(where, self.metas())
            return
        everything = self.model.search(query, len(self.model.rows), test)
        found = [(h.id, int(np.float32(h.score).view(np.uint32)), h.meta, h.row) for h in hits]
        assert len(found) == min(k, len(everything))
        assert found == [hit for hit in everything if hit in found]  # in their order, with their bits

    def look_at_all(self) -> None:
        alive = self.model.alive()
        assert len(self.db) == len(alive)
        assert list(self.db) == self.model.names()
        assert self.db.tombstones == len(self.model.rows) - len(alive)
        entries = self.held(lambda: list(self.db.items()))
        assert [(e.id, e.row, e.meta) for e in entries] == [
            (row.id, n, row.meta) for n, row in enumerate(self.model.rows) if row is not None
        ]
        assert [e.vector.tobytes() for e in entries] == [self.model.floats(n).tobytes() for n in alive]
        assert self.db.needs_flush or self.changes < self.capacity
        budget = self.db.memory_budget
        assert budget is None or self.db.nbytes <= budget
