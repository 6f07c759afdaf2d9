"""A store over its life: capture, change, compact, read, and memory that is short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.errors import IndexOutside, LoomError, StateError
from loom.vectors import VectorStore, flush, restore
from unit.vectors.vector_cases import DIMS, KEPT, vectors


def ids(hits: Any) -> list[Any]:
    return [hit.id for hit in hits]


def test_duplicates() -> None:
    db = VectorStore(2)
    assert db.capture("a", [1, 0]) == 0
    with pytest.raises(LoomError, match="there is a vector 'a' already"):
        db.capture_many(["b", "a"], np.eye(2))
    with pytest.raises(LoomError, match="there is a vector 'c' already"):
        db.capture_many(["c", "c"], np.eye(2))
    assert list(db) == ["a"]
    assert db.capture_many(["b", "a", "b"], [[1, 0], [0, 1], [0, 1]], [{"n": 1}, {"n": 2}, {"n": 3}],
                           duplicates="skip") == 1  # fmt: skip
    assert (db["a"].vector.tolist(), db["b"].meta) == ([1, 0], {"n": 1})
    assert db.capture_many(["b", "a", "b"], [[1, 0], [0, 1], [0, 1]], [{"n": 1}, {"n": 2}, {"n": 3}],
                           duplicates="replace") == 2  # fmt: skip
    assert (db["a"].vector.tolist(), db["b"].meta, len(db), db.tombstones) == ([0, 1], {"n": 3}, 2, 2)
    assert ids(db.search([0, 1])) == ["a", "b"]
    assert db.capture("a", [5, 5], duplicates="skip") == db["a"].row


def test_much_is_laid_down_while_its_ids_are_looked_at(on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, query = vectors(150), vectors(1, seed=2)[0]
    plain, db = (VectorStore(DIMS, 64, device=on, dtype="i8") for _ in range(2))
    monkeypatch.setattr("loom.vectors.state._MANY", 1 << 60)
    for n in range(0, 150, 50):
        plain.capture_many([f"v{k}" for k in range(n, n + 50)], x[n : n + 50])
    monkeypatch.setattr("loom.vectors.state._MANY", 1)
    db.capture_many([f"v{n}" for n in range(20)], x[:20])
    broken = x.copy()
    broken[140, 3] = np.nan
    for ids, rows, what in (
        ([f"w{n}" for n in range(150)], broken, "NaN or infinity, or is too long.*row 140"),
        ([f"v{n + 19}" for n in range(150)], x, "there is a vector 'v19' already"),
        (["w"] * 150, x, "there is a vector 'w' already"),
        (["w"], x, "not an id for each"),
        ([None] * 150, x, "not an id"),
    ):
        with pytest.raises(LoomError, match=what):
            db.capture_many(ids, rows)
        assert (list(db), db.tombstones) == ([f"v{n}" for n in range(20)], 0)
    broken = x.copy()
    broken[3] = np.inf  # of an id that is there already
    assert db.capture_many([f"v{n}" for n in range(150)], broken, duplicates="skip") == 130
    assert db.search(query, 150) == plain.search(query, 150)


def test_a_filter_goes_by_what_is_told_last() -> None:
    """Though it looked at what was told before, and keeps it; no device has a part in that."""
    db = VectorStore(DIMS, 64, device="cpu")
    x = vectors(90)
    db.capture_many(None, x, [{"n": n} for n in range(90)])
    assert ids(db.search(x[3], 90, where={"n": ("<", 2)})) in ([0, 1], [1, 0])
    db.update(0, meta={"n": 50})
    db.update(80, meta={"n": 0})
    assert sorted(ids(db.search(x[3], 90, where={"n": ("<", 2)}))) == [1, 80]
    db.delete(1)
    db.capture("new", x[3], meta={"n": 1})
    assert sorted(ids(db.search(x[3], 90, where={"n": ("<", 2)})), key=str) == [80, "new"]


def test_update_delete_and_compact(on: str) -> None:
    db = VectorStore(DIMS, 64, device=on)
    x = vectors(150)
    db.capture_many(None, x, [{"n": n} for n in range(150)])
    assert db.delete([3, 4, 4, 77]) == 3
    assert db.update(5, x[3]) == 150
    assert db.update(6, meta={"n": -6}) == 6
    assert db.update(7, x[4], None) == 151
    assert (db[5].meta, db[6].meta, db[7].meta, db.tombstones) == ({"n": 5}, {"n": -6}, None, 5)
    assert ids(db.search(x[3], 1)) == [5]
    before = [hit[:3] for hit in db.search(x[10], 20, where={"n": ("<", 100)})]
    assert ids(db.search(x[10], where={"n": -6})) == [6]
    assert db.compact() == 5
    assert (db.tombstones, len(db), db.compact()) == (0, 147, 0)
    assert [hit[:3] for hit in db.search(x[10], 20, where={"n": ("<", 100)})] == before
    assert db.capture_many(None, x[:1]) == 1
    assert list(db)[-3:] == [5, 7, 152]
    with pytest.raises(IndexOutside, match="there is no vector 3"):
        db.update(3, x[0])
    with pytest.raises(IndexOutside, match="there is no vector 'x'"):
        db.delete(["x", 8])
    assert db.delete(["x", 8], missing="skip") == 1


@pytest.mark.parametrize("kept", KEPT)
def test_compaction_keeps_every_bit(kept: str) -> None:
    db, query = VectorStore(DIMS, 64, dtype=kept), vectors(1, seed=3)[0]
    db.capture_many(None, vectors(150))
    db.delete(list(range(0, 150, 3)))
    before, elements = db.search(query, 100), [e.vector.tobytes() for e in db.items()]
    db.compact()
    assert [hit[:2] for hit in db.search(query, 100)] == [hit[:2] for hit in before]
    assert [e.vector.tobytes() for e in db.items()] == elements


def test_normalize() -> None:
    db, x = VectorStore(DIMS, 64, "dot"), vectors(100)
    db.capture_many(None, x)
    db.capture("zero", np.zeros(DIMS))
    db.normalize()
    lengths = np.linalg.norm(db.to_numpy()[1], axis=1)
    assert np.allclose(lengths[:-1], 1, atol=1e-6)
    assert lengths[-1] == 0
    assert db.search(x[9], 1)[0].score == pytest.approx(np.linalg.norm(x[9]), rel=1e-5)


def test_reading_and_export() -> None:
    db, x = VectorStore(3), np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.float32)
    db.capture_many(["a", "b", "c"], x, [{"n": 1}, None, {"n": [1, {"m": None}]}])
    db.delete("b")
    assert ("a" in db, "b" in db, True in db, [] in db, len(db)) == (True, False, False, False, 2)  # type: ignore[operator]
    assert (db.get("b"), db.get("b", 7), db.get("c").meta, db.get("c").row) == (None, 7, {"n": [1, {"m": None}]}, 2)
    assert [(e.id, e.vector.tolist()) for e in db.items()] == [("a", [1, 2, 3]), ("c", [7, 8, 9])]
    names, matrix = db.to_numpy()
    assert (names, matrix.tolist()) == (["a", "c"], x[[0, 2]].tolist())
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table(db)
    assert table.column("id").to_pylist() == ["a", "c"]
    assert table.column("vector").to_pylist() == x[[0, 2]].tolist()
    assert table.column("meta").to_pylist() == ['{"n": 1}', '{"n": [1, {"m": null}]}']
    db["a"].meta["n"] = 2  # type: ignore[index] - a copy
    assert db["a"].meta == {"n": 1}


def test_capture_from_the_device(on: str) -> None:
    x = vectors(20, 8)
    plain = VectorStore(8, device=on)
    plain.capture_many(None, x)
    db = VectorStore(8, device=on)
    with loom.boot(4, 8 * 20 + 2, bindings={"out": (loom.f32, (20, 8)), "n": (loom.i32, 8)}, device=on) as unit:
        unit.write(x.reshape(-1), 2)
        unit.write(x, binding="out")
        assert db.capture_from(unit, 2, 5) == 5
        assert db.capture_from(unit, 8 * 5, binding="out") == 15
        with pytest.raises(LoomError, match="not so many vectors there"):
            db.capture_from(unit, 0, 21)
        with pytest.raises(LoomError, match="no f32"):
            db.capture_from(unit, binding="n")
        with pytest.raises(LoomError, match="none called 'owt'"):
            db.capture_from(unit, binding="owt")
    assert db.search_many(x, 3) == plain.search_many(x, 3)
    db = VectorStore(8, device=on)
    db.capture("v3", x[0])
    given = loom.array(x, on=on)
    assert db.capture_from(given * 2, ids=[f"v{n}" for n in range(20)], duplicates="skip") == 19
    assert db["v4"].vector.tolist() == (x[4] * 2).tolist()
    with pytest.raises(LoomError, match="nothing on a device"):
        db.capture_from(x)
    with pytest.raises(LoomError, match="another length"):
        db.capture_from(tensor.zeros((3, 7)))


def test_a_memory_budget(on: str, tmp_path: Path) -> None:
    x, queries = vectors(600, 8), vectors(3, 8, seed=2)
    whole = VectorStore(8, 64, device=on)
    whole.capture_many(None, x)
    one = VectorStore(8, 64, device=on, memory_budget=1 << 20)
    size = one._programs.segment_nbytes
    with pytest.raises(LoomError, match="too small for a segment"):
        VectorStore(8, 64, device=on, memory_budget=size // 64)
    db = VectorStore(8, 64, device=on, memory_budget=4 * size)
    rows, most = db._programs.layout.rows, 4 * size // db._programs.segment_nbytes
    with pytest.raises(StateError, match=r"full of vectors that no file has.*Flush"):
        db.capture_many(None, vectors(rows * most + 1, 8))
    assert len(db) == 0
    for first in range(0, 600, rows):
        if db.needs_flush:
            flush(db, tmp_path / "store")
            assert not db.needs_flush
        db.capture_many(range(first, min(600, first + rows)), x[first : first + rows])
        assert db.nbytes <= 4 * size
    assert db.search_many(queries, 9) == whole.search_many(queries, 9)
    flush(db, tmp_path / "store")
    back = restore(tmp_path / "store", on, memory_budget=4 * size)
    for _ in range(2):
        assert back.search_many(queries, 9) == whole.search_many(queries, 9)
    assert back.nbytes <= 4 * size


def test_an_approximate_index_tells_its_recall() -> None:
    pytest.importorskip("usearch")
    x = vectors(3000, 16)
    db = VectorStore(16, 1000, "euclidean")
    db.capture_many(None, x[:2500], [{"odd": n % 2 == 1} for n in range(2500)])
    with pytest.raises(StateError, match="there is no index"):
        db.search(x[0], approximate=True)
    report = db.build_index(samples=50)
    assert (report.vectors, report.samples) == (2500, 50)
    assert 0.9 <= report.recall <= 1
    db.capture_many(None, x[2500:])
    exact = db.search_many(x[::100], 10)
    found = db.search_many(x[::100], 10, approximate=True)
    known = [{hit.id: hit for hit in db.search(q, 3000)} for q in x[::100]]
    assert all(hit == known[n][hit.id] for n, hits in enumerate(found) for hit in hits)  # scores are exact
    assert all([h.row for h in hits] == [h.row for h in sorted(hits, key=lambda h: (h.score, h.row))] for hits in found)
    common = sum(len({h.id for h in a} & {h.id for h in b}) for a, b in zip(exact, found, strict=True))
    assert common >= 0.9 * 10 * len(exact)
    assert db.search(x[7], 5, where={"odd": False}, approximate=True)[0].meta != {"odd": True}
    assert db.search(x[2600], 1, approximate=True)[0].id == 2600
    db.delete(2600)
    assert db.search(x[2600], 1, approximate=True)[0].id != 2600


def test_a_closed_store() -> None:
    with VectorStore(2) as db:
        db.capture("a", [1, 0])
    assert not db.is_open
    for call in (
        lambda: db.capture("b", [1, 0]), lambda: db.capture_many(None, np.eye(2)), lambda: db.search([1, 0]),
        lambda: db.search_many(np.eye(2)), lambda: db.delete("a"), lambda: db.update("a", [1, 0]), db.compact,
        db.normalize, db.freeze, lambda: db["a"], lambda: db.get("a"), lambda: list(db), lambda: list(db.items()),
        db.to_numpy, db.build_index, lambda: db.capture_from(tensor.zeros((1, 2))),
    ):  # fmt: skip
        with pytest.raises(StateError, match="the store is closed"):
            call()
    db.close()


def test_a_store_for_more_than_a_buffer_of_the_device_holds(on: str) -> None:
    db = VectorStore(384, 10**6, device=on)
    db.capture_many(None, np.eye(20, 384, dtype=np.float32))
    assert [hit.row for hit in db.search(np.eye(1, 384, 7, dtype=np.float32)[0], 2)] == [7, 0]
