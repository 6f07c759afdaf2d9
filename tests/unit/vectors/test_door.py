"""What is given and given out: ids in any spelling, numbers, what is told, filters of other tools, a store's end."""

from __future__ import annotations

import copy
import enum
import pickle
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import FileError, LoomError, StateError
from loom.vectors import VectorStore, flush, restore


class Kind(enum.IntEnum):
    SEVEN = 7


class Name(str):
    __slots__ = ()


@pytest.fixture
def db() -> VectorStore:
    made = VectorStore(2, metric="dot")
    made.capture_many(["a", 7], [[1, 0], [0, 1]], [{"tags": ["x", {"n": 1}]}, None])
    return made


@pytest.mark.parametrize("name", [np.int64(7), np.uint8(7), Kind.SEVEN])
def test_an_int_is_the_same_id_in_every_spelling(db: VectorStore, name: Any) -> None:
    assert name in db
    assert type(db[name].id) is int
    assert db.get(name).row == 1
    assert db.update(name, [5, 5]) == 2
    assert [type(hit.id) for hit in db.search([0, 1])] == [int, str]
    assert db.delete(name) == 1
    db.capture(name, [1, 1])
    assert list(map(type, db)) == [str, int]
    assert Name("a") in db
    assert type(db[Name("a")].id) is str
    assert True not in db
    assert db.get(7.0) is None


def test_many_ids_to_delete(db: VectorStore) -> None:
    for ids, left in ((np.array([7]), 1), (iter("a"), 0)):
        db.delete(ids)
        assert len(db) == left
    db.capture_many(None, np.ones((9, 2)))
    assert db.delete(range(100), missing="skip") == 9
    assert db.delete({1, 2}, missing="skip") == 0


def test_numbers_are_those_that_no_vector_has() -> None:
    for duplicates in ("error", "skip", "replace"):
        db = VectorStore(2)
        db.capture(2, [9, 9])
        assert db.capture_many(None, np.ones((3, 2)), duplicates=duplicates) == 3
        assert list(db) == [2, 1, 3, 4]
        assert db[2].vector.tolist() == [9, 9]


def test_ids_without_an_order_are_refused(db: VectorStore) -> None:
    with pytest.raises(LoomError, match=r"ids in no order.*Pass them in the vectors' order"):
        db.capture_many({"x", "y"}, np.ones((2, 2)))
    assert len(db) == 2


def test_what_is_given_out_is_the_callers_own(db: VectorStore) -> None:
    for given in (db["a"], db.search([1, 0])[0], next(db.items())):
        assert given.meta is not None
        given.meta["tags"].append("mine")
        given.meta["tags"][1]["n"] = 2
        assert db["a"].meta == {"tags": ["x", {"n": 1}]}


def test_what_is_told_too_deep_is_refused(db: VectorStore) -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(LoomError, match="too deep"):
        db.capture("deep", [1, 1], deep)
    db.capture("own", [1, 1], {"kind": Kind.SEVEN, "name": Name("n")})
    assert [type(value) for value in (db["own"].meta or {}).values()] == [int, str]


@pytest.mark.parametrize(
    "where",
    [{"n": ["==", 1]}, {"n": ["in", [1, 2]]}, {"n": {"$gt": 1}}, {"n": float("nan")}, {"n": ("<", float("nan"))}],
)
def test_filters_of_other_tools_are_refused(db: VectorStore, where: Any) -> None:
    with pytest.raises(LoomError, match=r"not a condition|no vector can have this value"):
        db.search([1, 0], where=where)


def test_a_bool_is_no_number_in_lists_neither() -> None:
    db = VectorStore(2)
    db.capture_many(["int", "bool"], np.ones((2, 2)), [{"n": [1, {"m": 0}]}, {"n": [True, {"m": False}]}])
    assert [hit.id for hit in db.search([1, 1], where={"n": [1, {"m": 0}]})] == ["int"]
    assert [hit.id for hit in db.search([1, 1], where={"n": ("in", [[True, {"m": False}]])})] == ["bool"]
    assert [hit.id for hit in db.search([1, 1], where={"n": ("==", ["==", 1])})] == []


@pytest.mark.parametrize("vector", [[1e-300, 0.0], np.array([0.0, -1e-60]), [0, 2.0**-200]])
def test_a_vector_that_f32_loses_is_refused(db: VectorStore, vector: Any) -> None:
    for call in (lambda: db.capture("x", vector), lambda: db.search(vector),
                 lambda: db.capture_many(["x", "y"], np.array([[0.0, 0.0], vector]))):  # fmt: skip
        with pytest.raises(LoomError, match=r"too short to be compared.*in row \d.*Scale it up"):
            call()
    db.capture_many(["x", "y"], np.array([[0.0, 0.0], [1, 1e-300]]))


def test_what_lies_on_the_device_is_named_right(db: VectorStore) -> None:
    x = loom.array(np.ones((3, 2), np.float32))
    for given, told in (({"binding": "globals"}, "a tensor has no bindings"), ({"offset": 7}, "nothing begins there")):
        with pytest.raises(LoomError, match=told):
            db.capture_from(x, **given)
    assert db.capture_from(x, offset=6) == 0
    with loom.boot(registers=1, bindings={"e": (loom.f32, (3, 2))}) as unit:
        with pytest.raises(LoomError, match=r"'globals' is too small for a vector.*Name the binding"):
            db.capture_from(unit)
        assert db.capture_from(unit, binding="e") == 3


def test_ids_that_arrow_would_mix_up_are_refused(db: VectorStore) -> None:
    pytest.importorskip("pyarrow")
    assert db.to_arrow()["id"].to_pylist() == ["a", "7"]
    db.capture("7", [1, 1])
    with pytest.raises(LoomError, match="would be the same"):
        db.to_arrow()


def test_a_closed_store_tells_nothing(db: VectorStore) -> None:
    db.close()
    for call in (lambda: len(db), lambda: "a" in db, lambda: db.needs_flush, lambda: db.tombstones, db.__enter__):
        with pytest.raises(StateError, match="the store is closed"):
            call()
    assert (db.nbytes, repr(db)) == (0, "VectorStore(dims=2, metric='dot', dtype=f32, closed)")


def test_names_that_are_no_store(db: VectorStore, tmp_path: Any) -> None:
    for call in (lambda: flush(db, "."), lambda: restore("."), lambda: restore("/")):
        with pytest.raises(FileError, match=r"is a folder.*Write"):
            call()
    (tmp_path / "nested.ldb").write_text("[" * 100_000)
    with pytest.raises(FileError, match="no sound store"):
        restore(tmp_path / "nested")


def test_every_name_of_flow_is_listed() -> None:
    assert {"loomdb_create", "loomdb_result_meta", "db_create", "ir_begin"} <= set(dir(loom.flow))


def test_a_store_is_neither_copied_nor_pickled(db: VectorStore) -> None:
    for call in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(LoomError, match=r"neither copied nor pickled.*Flush it, and restore it"):
            call(db)
    assert pickle.loads(pickle.dumps(db.search([1, 0]))) == db.search([1, 0])


def test_flow_tells_what_helps_against_an_id_twice() -> None:
    ldb, vectors = loom.flow.loomdb_create(2.0, 9.0), loom.flow.loomdb_create_vectors()
    loom.flow.loomdb_capture(ldb, vectors, "a", [1.0, 0.0], "")
    loom.flow.loomdb_search(ldb, vectors, [1.0, 0.0], 1.0, "dot")
    with pytest.raises(LoomError, match=r"\[loomdb_capture\].*'a' already.*under another one"):
        loom.flow.loomdb_capture(ldb, vectors, "a", [0.0, 1.0], "")
    for metric in ("cosine", "dot", "euclidean"):
        assert loom.flow.loomdb_search(ldb, vectors, [1.0, 0.0], 5.0, metric) == 1
