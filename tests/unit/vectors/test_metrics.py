"""Searches by another metric: the same rows, the bits of a store of that metric."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError
from loom.vectors import VectorStore
from unit.vectors.vector_cases import METRICS, vectors


@pytest.mark.parametrize("kept", ["f32", "f16"])
@pytest.mark.parametrize("own", METRICS)
def test_bits_are_those_of_a_store_of_that_metric(on: str, own: str, kept: str) -> None:
    x, queries = vectors(150), vectors(20, seed=2)
    x[7] = 0
    x[9] *= np.float32(2.0 ** (-45 if kept == "f32" else -9))

    def make(metric: str, count: int) -> VectorStore:
        db = VectorStore(x.shape[1], 64, metric, on, kept)
        db.capture_many(None, x[:count], [{"n": n % 3} for n in range(count)])
        return db

    db = make(own, 70)
    for metric in METRICS:
        assert db.search_many(queries, 9, metric=metric) == make(metric, 70).search_many(queries, 9)
    db.capture_many(None, x[70:], [{"n": n % 3} for n in range(70, 150)])  # weights of these are made when asked for
    db.delete([3, 80])
    others = {metric: make(metric, 150) for metric in METRICS}
    for other in others.values():
        other.delete([3, 80])
    for step in ("tombstones", "compacted"):
        for metric, other in others.items():
            assert db.search(queries[0], 200, metric=metric) == other.search(queries[0], 200)
            told = {"n": 1}
            assert db.search_many(queries, 9, where=told, metric=metric) == other.search_many(queries, 9, where=told)
            if metric != "euclidean":
                near = db.search(queries[1], 9, precision="q8", metric=metric)
                assert near == other.search(queries[1], 9, precision="q8")
        if step == "tombstones":
            for each in (db, *others.values()):
                each.compact()


@pytest.mark.parametrize(
    ("options", "asked", "told"),
    [
        ({"dtype": "i8"}, {}, r"\[search, metric\] vectors are weighed for one metric: expected vectors of f32 or f16"),
        ({"memory_budget": 1 << 20}, {}, r"expected no memory_budget, got 1048576 bytes"),
        ({}, {"approximate": True}, r"the index is of one metric: expected cosine, got dot"),
        ({}, {"metric": "manhattan"}, r"\[search, metric\].*manhattan"),
        ({}, {"metric": "euclidean", "precision": "q8"}, r"distances are no products"),
    ],
)
def test_what_another_metric_cannot_be(options: dict[str, Any], asked: dict[str, Any], told: str) -> None:
    db = VectorStore(4, **options)
    db.capture("a", [1, 2, 3, 4])
    with pytest.raises(ArgumentError, match=told):
        db.search([1, 2, 3, 4], **({"metric": "dot"} | asked))
    assert db.search([1, 2, 3, 4], metric="cosine")[0].id == "a"
