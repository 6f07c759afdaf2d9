"""Filters that no vector could meet are errors: a name that none has, a value of a kind that none has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError, DTypeError
from loom.vectors import VectorStore


@pytest.fixture
def db() -> VectorStore:
    store = VectorStore(2)
    metas = [
        {"year": 1999, "who": {"name": "Ann"}},
        {"year": 2001.5, "tags": ["a"]},
        {"flag": True, "none": None},
        None,
    ]
    store.capture_many(["a", "b", "c", "d"], np.eye(4, 2) + 1, metas)
    return store


@pytest.mark.parametrize(
    ("where", "told"),
    [
        (
            {"yaer": 2000},
            r"\[search(_many)?, where, 'yaer'\] no vector is told anything under this name.*Did you mean 'year'",
        ),
        ({"yaer": ("!=", 2000)}, "Did you mean 'year'"),
        ({"yaer": (">", 2000)}, "Did you mean 'year'"),
        ({"year": 1999, "tag": ("contains", "a")}, "Did you mean 'tags'"),
        ({"yaer": None}, r'"is-null", True'),
        ({"who.name": "Ann"}, "Names within 'who' are not reached: tell the vectors 'who.name' itself"),
        ({"": 1}, r"Known names: flag, none, tags, who, year\. \("),
        ({"x" * 100_000: 1}, "no vector is told"),
    ],
)
def test_names_that_nobody_has(db: VectorStore, where: Any, told: str) -> None:
    for call in (lambda: db.search([1, 0], where=where), lambda: db.search_many([[1, 0]], where=where)):
        with pytest.raises(ArgumentError, match=told) as error:
            call()
        assert len(str(error.value)) < 1000
        del error  # whose frames would keep the store


@pytest.mark.parametrize(
    ("where", "told"),
    [
        (
            {"year": (">", "1999")},
            r"\[search, where, 'year'\] '>' can hold for no vector: expected a number, got a text",
        ),
        ({"year": "1999"}, "'==' can hold for no vector: expected a number, got a text"),
        ({"year": ("!=", "1999")}, "'!='"),
        ({"year": True}, "got a bool"),
        ({"flag": 1}, "expected a bool, got a number"),
        ({"year": ("in", [1999, "2001"])}, "got a text"),
        ({"year": ("between", ["a", "b"])}, "got a text"),
        ({"tags": "a"}, "expected a list, got a text"),
        ({"year": ("contains", "19")}, "'contains' can hold for no vector: expected a number, got a dict or a list or"),
        ({"who": ("contains", 1)}, "expected a dict, got a list"),
    ],
)
def test_values_of_a_kind_that_none_has(db: VectorStore, where: Any, told: str) -> None:
    with pytest.raises(DTypeError, match=told):
        db.search([1, 0], where=where)


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({"yaer": ("is-null", True)}, "abcd"),
        ({"yaer": ("is-null", False)}, ""),
        ({"year": None}, "cd"),
        ({"year": ("in", [None, 1999])}, "acd"),
        ({"none": 3}, ""),  # a name that is told, if only None
        ({"year": 5000}, ""),
        ({"year": ("!=", 1999)}, "bcd"),
        ({"who": ("contains", "name")}, "a"),
        ({"year": np.float32(2001.5)}, "b"),
        ({"flag": np.True_}, "c"),
        ({}, "abcd"),
    ],
)
def test_filters_that_find_what_they_say(db: VectorStore, where: Any, ids: str) -> None:
    assert sorted(h.id for h in db.search([1, 0], where=where)) == list(ids)


def test_a_store_that_is_empty_or_told_nothing() -> None:
    db = VectorStore(2)
    assert db.search([1, 0], where={"year": 3}) == []
    db.capture("a", [1, 0])
    with pytest.raises(ArgumentError, match="Tell the vectors something, or leave where out"):
        db.search([1, 0], where={"year": 3})
    db.update("a", meta={"year": 3})
    assert len(db.search([1, 0], where={"year": 3})) == 1
    db.capture("b", [1, 0], {"year": "four"})
    assert [h.id for h in db.search([1, 0], where={"year": "four"})] == ["b"]


def test_lengths_are_told_as_they_are() -> None:
    db = VectorStore(2)
    with pytest.raises(
        ArgumentError,
        match=r"too long: expected .* got a length of 2\^64 or more in row 0. Correct it, or scale it down",
    ):
        db.capture("a", [1e20, 0])
    with pytest.raises(ArgumentError, match=r"got length 2.2518e\+15 in row 0"):
        db.capture("a", [2.0**51, 0])
