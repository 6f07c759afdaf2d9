"""Exact search: numpy's ranks, one total order, and the same bits on every device and for every cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.vectors import VectorStore
from unit.vectors.vector_cases import DIMS, KEPT, METRICS, ranked, scores, vectors

NEAR = {"f32": 2e-5, "f16": 5e-3, "i8": 0.1}


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("metric", METRICS)
def test_the_best_are_numpys(on: str, metric: str, kept: str) -> None:
    x, queries = vectors(700), vectors(5, seed=2)
    db = VectorStore(DIMS, 300, metric, on, kept)
    assert db.capture_many(None, x) == 700
    found = db.search_many(queries, 5)
    assert [[hit.row for hit in hits] for hits in found] == ranked(scores(queries, x, metric), 5).tolist()
    told = np.array([[hit.score for hit in hits] for hits in found])
    rows = np.array([[hit.row for hit in hits] for hits in found])
    exact = np.take_along_axis(scores(queries, x, metric), rows, axis=1)
    assert np.allclose(told, np.abs(exact) if metric == "euclidean" else exact, atol=NEAR[kept], rtol=0)
    assert [db.search(q, 5) for q in queries] == found
    assert found == _on_the_interpreter(x, queries, metric, kept), "the bits differ"


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("metric", METRICS)
def test_many_queries_are_as_each_alone(on: str, metric: str, kept: str) -> None:
    x, queries = np.rint(vectors(150, 130)), np.rint(vectors(70, 130, seed=2))  # of whole numbers many scores are equal
    db = VectorStore(130, 100, metric, on, kept)
    db.capture_many(None, x)
    db.delete(list(range(0, 150, 7)))
    for k in (3, 100):
        found = db.search_many(queries, k)
        assert [db.search(q, k) for q in queries[:3]] == found[:3]
        for hits, row in zip(found, scores(queries, x, metric), strict=True):
            assert len(hits) == k
            assert [hit.row for hit in hits if hit.row % 7 == 0] == []
            if kept != "i8":
                alive = np.delete(np.arange(150), range(0, 150, 7))
                worst = np.sort(row[alive])[-k]
                assert all(row[hit.row] >= worst - NEAR[kept] for hit in hits)


def _on_the_interpreter(x: Any, queries: Any, metric: str, kept: str) -> Any:
    db = VectorStore(DIMS, 1000, metric, "interp", kept)
    db.capture_many(None, x)
    return db.search_many(queries, 5)


@pytest.mark.parametrize("dims", [1, 3, 127, 129, 300])
def test_scores_are_those_of_matrix_products(dims: int) -> None:
    x, queries = vectors(40, dims), vectors(3, dims, seed=2)
    db = VectorStore(dims, metric="dot", device="cpu")
    db.capture_many(None, x)
    found = db.search_many(queries, 40)
    products = loom.gpu_matmul(queries, np.ascontiguousarray(x.T))
    for row, hits in zip(products, found, strict=True):
        assert {hit.row: np.float32(hit.score).view(np.uint32) for hit in hits} == dict(enumerate(row.view(np.uint32)))


def test_of_equal_scores_the_older_row_is_first(on: str) -> None:
    x = np.tile(np.eye(4, dtype=np.float32), (50, 1))
    db = VectorStore(4, 64, device=on)
    db.capture_many(None, x)
    for k in (1, 3, 49, 50):
        assert [hit.row for hit in db.search([0, 0, 2, 0], k)] == list(range(2, 200, 4))[:k]
    assert len(db.search([0, 0, 2, 0], 1000)) == 200
    signs = VectorStore(2, metric="dot", device=on)
    signs.capture_many(None, [[-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    assert [hit.row for hit in signs.search([0.0, 1.0], 3)] == [0, 1, 2]  # -0 and +0 are equal


def test_the_distance_to_itself_is_zero() -> None:
    x = vectors(100)
    db = VectorStore(DIMS, metric="euclidean")
    db.capture_many(None, x)
    for row in (0, 57, 99):
        assert db.search(x[row], 1)[0][1:] == (0.0, None, row)


def test_any_k_and_any_number_of_queries() -> None:
    x, queries = np.rint(vectors(333)), np.rint(vectors(19, seed=2))  # whole numbers: exact, and many are equal
    db = VectorStore(DIMS, 100, "dot")
    db.capture_many(None, x)
    whole = ranked(scores(queries, x, "dot"), 333).tolist()
    for k in (1, 2, 10, 11, 12, 333, 5000):
        for count in (0, 1, 2, 3, 8, 9, 19):
            found = db.search_many(queries[:count], k)
            assert [[hit.row for hit in hits] for hits in found] == [row[:k] for row in whole[:count]]


def test_an_empty_store_finds_nothing() -> None:
    db = VectorStore(3)
    assert db.search([1, 2, 3]) == []
    assert db.search_many(np.ones((2, 3), np.float32)) == [[], []]
    db.capture("zero", [0, 0, 0])
    assert [(hit.id, hit.score) for hit in db.search([1, 2, 3])] == [("zero", 0.0)]
    assert [(hit.id, hit.score) for hit in db.search([0, 0, 0])] == [("zero", 0.0)]
