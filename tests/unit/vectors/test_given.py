"""What cannot be is told and changes nothing; filters keep what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loom.core.errors import LoomError
from loom.vectors import VectorStore

ONE = [1.0, 2.0]


@pytest.fixture(scope="module")
def db() -> VectorStore:
    made = VectorStore(2)
    made.capture("a", ONE, {"n": 1})
    return made


@pytest.mark.parametrize(("call", "told"), [
    (lambda db: db.capture("b", [1.0, 2.0, 3.0]), "a vector of another length: expected 2 numbers, got shape (3,)"),
    (lambda db: db.capture("b", [1.0, float("nan")]), "NaN or infinity"),
    (lambda db: db.capture("b", [1.0, float("inf")]), "NaN or infinity"),
    (lambda db: db.capture("b", [1e30, 0]), "too long: expected finite numbers, length 0 or from 2^-50 to 2^50"),
    (lambda db: db.capture("b", [1e-30, 0]), "a vector is too short to be compared"),
    (lambda db: db.capture("b", "ab"), "not numbers"),
    (lambda db: db.capture("b", [1j, 0]), "complex"),
    (lambda db: db.capture(None, ONE), "not an id"),
    (lambda db: db.capture(True, ONE), "not an id"),
    (lambda db: db.capture(1.5, ONE), "not an id"),
    (lambda db: db.capture(1 << 63, ONE), "not an id"),
    (lambda db: db.capture("\ud800", ONE), "half a character"),
    (lambda db: db.capture("b", ONE, "batch=42"), "not a mapping"),
    (lambda db: db.capture("b", ONE, {1: 2}), "names that are texts"),
    (lambda db: db.capture("b", ONE, {"x": object()}), "a value that a file cannot hold"),
    (lambda db: db.capture("b", ONE, {"x": float("nan")}), "a value that a file cannot hold"),
    (lambda db: db.capture("b", ONE, {"x": 1 << 70}), "a value that a file cannot hold"),
    (lambda db: db.capture("b", ONE, duplicates="no"), "'no' is not known"),
    (lambda db: db.capture_many(["b"], [ONE, ONE]), "not an id for each vector: expected 2 ids, got 1"),
    (lambda db: db.capture_many(None, [ONE, ONE], [None]), "not a mapping for each vector"),
    (lambda db: db.capture_many(None, [[1.0], [2.0]]), "expected shape (n, 2), got (2, 1)"),
    (lambda db: db.capture_many(None, [ONE, ONE, [0, float("nan")]]), "in row 2"),
    (lambda db: db.search(ONE, 0), "out of range: expected an int of at least 1, got 0"),
    (lambda db: db.search(ONE, 2.5), "not a whole number"),
    (lambda db: db.search([1.0, float("nan")]), "in query 0"),
    (lambda db: db.search(ONE, where="n=1"), "not a filter"),
    (lambda db: db.search(ONE, where={"n": ("~", 1)}), "'~' is not known"),
    (lambda db: db.search(ONE, where={"n": (">", None)}), "not usable with '>'"),
    (lambda db: db.search(ONE, where={"n": ("in", 3)}), "not usable with 'in'"),
    (lambda db: db.search(ONE, where={"n": ("between", [1])}), "the lowest and the highest"),
    (lambda db: db.search(ONE, where={"n": (1, 2, 3)}), "not a condition"),
    (lambda db: db.search(ONE, where={"n": object()}), "no vector can have this value"),
    (lambda db: db.search(ONE, where={1: 2}), "names that are texts"),
    (lambda db: db.search(ONE, approximate=1), "True or False"),
    (lambda db: db["b"], "there is no vector 'b'"),
    (lambda db: db.delete(None), "not an id"),
    (lambda _: VectorStore(0), "out of range"),
    (lambda _: VectorStore(2, metric="manhattan"), "'manhattan' is not known"),
    (lambda _: VectorStore(2, dtype="f64"), "vectors are not kept as this"),
    (lambda _: VectorStore(2, capacity=0), "out of range"),
    (lambda _: VectorStore(2, device="abacus"), "abacus"),
])  # fmt: skip
def test_bad_input_is_told_and_changes_nothing(db: VectorStore, call: Any, told: str) -> None:
    with pytest.raises(LoomError) as caught:
        call(db)
    assert told in str(caught.value)
    assert [(hit.id, hit.meta) for hit in db.search([1, 1])] == [("a", {"n": 1})]


def test_what_is_no_device_and_no_index(db: VectorStore) -> None:
    with pytest.raises(LoomError, match="not a device"):
        VectorStore(2, device=np.zeros((2, 2)))  # type: ignore[arg-type]
    with pytest.raises(LoomError, match=r"build_index, connectivity.*2"):
        db.build_index(connectivity=1)


def test_what_is_read_as_vectors_and_ids() -> None:
    made = VectorStore(2)
    made.capture_many(np.array(["x", "y"]), np.array([[1, 2], [3, 4]], np.int16))
    made.capture_many(np.array([7, 8]), np.array([[1, 2], [3, 4]], np.float64).T, {"all": True})
    made.capture_many(["p", 9], np.array([[1, 2], [3, 4]], np.float16), [{"n": np.int32(3)}, None])
    assert made.capture_many([], []) == 0
    assert list(made) == ["x", "y", 7, 8, "p", 9]
    assert [made[name].meta for name in made] == [None, None, {"all": True}, {"all": True}, {"n": 3}, None]
    assert made[8].vector.tolist() == [2, 4]
    assert made.search(np.array([[1.0, 2.0]]), 1)[0].id == "x"


METAS = [
    {"year": 1999, "name": "Ada", "tags": ["a", "b"]}, {"year": 2001.5, "name": "Bob", "tags": []},
    {"year": None, "name": "ada"}, None, {"year": True, "name": 5, "tags": "abc"}, {"year": "2000", "tags": [1, None]},
]  # fmt: skip


@pytest.mark.parametrize(("where", "rows"), [
    (None, [0, 1, 2, 3, 4, 5]),
    ({}, [0, 1, 2, 3, 4, 5]),
    ({"year": 1999}, [0]),
    ({"year": 1999.0}, [0]),
    ({"year": True}, [4]),
    ({"year": 1}, []),
    ({"year": None}, [2, 3]),
    ({"year": ("is-null",)}, [2, 3]),
    ({"year": ("is-null", False)}, [0, 1, 4, 5]),
    ({"year": ("!=", 1999)}, [1, 2, 3, 4, 5]),
    ({"year": (">", 1999)}, [1]),
    ({"year": (">=", 1999)}, [0, 1]),
    ({"year": ("<", 2000)}, [0]),
    ({"year": ("<=", "3")}, [5]),
    ({"year": ("between", (1999, 2001))}, [0]),
    ({"year": ("in", [1999, None, "2000"])}, [0, 2, 3, 5]),
    ({"year": ("in", range(1990, 2000))}, [0]),
    ({"name": ("contains", "da")}, [0, 2]),
    ({"tags": ("contains", "b")}, [0, 4]),
    ({"tags": ("contains", 1)}, [5]),
    ({"tags": ["a", "b"]}, [0]),
    ({"year": ("is-null", False), "name": ("contains", "A")}, [0]),
])  # fmt: skip
def test_filters(where: Any, rows: list[int]) -> None:
    made = VectorStore(2)
    made.capture_many(None, np.tile([1.0, 2.0], (6, 1)), METAS)
    assert [hit.row for hit in made.search(ONE, where=where)] == rows
    made.capture("late", ONE, METAS[0])
    assert len(made.search(ONE, where={"year": 1999})) == 2


def test_filters_come_before_the_best() -> None:
    made = VectorStore(1, 64, "euclidean")
    made.capture_many(None, np.arange(1, 1001)[:, None], [{"part": n % 10} for n in range(1000)])
    assert [hit.row for hit in made.search([1.0], 3, where={"part": 7})] == [7, 17, 27]
    made.delete(17)
    assert [hit.row for hit in made.search([1.0], 3, where={"part": 7})] == [7, 27, 37]
