"""Searches in other precisions: scores with the bits of matrix products, vectors packed once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError
from loom.vectors import VectorStore

DIMS = 130


def _drawn(rows: int, dims: int = DIMS, seed: int = 0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((rows, dims)) * 2.0 ** rng.integers(-6, 6, (rows, dims))).astype(np.float32)


@pytest.mark.parametrize("precision", ["q8", "q12", "x12"])
def test_scores_are_those_of_products(on: str, precision: str) -> None:
    x, queries = _drawn(90), _drawn(9, seed=1)
    x[3] = 0
    db = VectorStore(DIMS, 64, "dot", on)
    db.capture_many(None, x[:50])
    first = db.search_many(queries, 3, precision=precision)
    db.capture_many(None, x[50:])  # to panels of which some rows are packed
    found = db.search_many(queries, 90, precision=precision)
    products = loom.gpu_matmul(queries, np.ascontiguousarray(x.T), precision=precision)
    for row, hits in zip(products, found, strict=True):
        assert {hit.row: np.float32(hit.score).view(np.uint32) for hit in hits} == dict(enumerate(row.view(np.uint32)))
    assert [[h for h in hits if h.row < 50][:3] for hits in found] == first
    assert db.search(queries[2], 90, precision=precision) == found[2]
    db.delete([0, 7])
    db.compact()
    assert len(db.search(queries[0], 90, precision=precision)) == 88


def test_angles_filters_and_halves() -> None:
    x, queries = _drawn(200, 64), _drawn(3, 64, seed=2)
    for kept in ("f32", "f16"):
        db = VectorStore(64, dtype=kept)
        db.capture_many(None, x, [{"n": n % 3} for n in range(200)])
        exact = db.search_many(queries, 20, where={"n": 1})
        for precision, near in (("q8", 2e-2), ("q12", 2e-3)):
            found = db.search_many(queries, 20, where={"n": 1}, precision=precision)
            assert all(hit.row % 3 == 1 for hits in found for hit in hits)
            for a, b in zip(exact, found, strict=True):
                assert [h.score for h in a] == pytest.approx([h.score for h in b], abs=near)
        assert db.search_many(queries, 20, precision="full") == db.search_many(queries, 20)


def test_vectors_are_packed_once_and_told() -> None:
    db = VectorStore(256, 1000)
    db.capture_many(None, _drawn(100, 256))
    plain = db.nbytes
    db.search(np.ones(256), precision="q8")
    packed = db.nbytes
    assert plain * 1.25 < packed < plain * 1.28  # a byte of four, and a scale of 128
    db.search_many(_drawn(20, 256), precision="q8")
    assert db.nbytes == packed


@pytest.mark.parametrize(
    ("settings", "precision", "said"),
    [
        ({"metric": "euclidean"}, "q8", "distances are no products"), ({"dtype": "i8"}, "q12", "whole numbers already"),
        ({"dtype": "f16"}, "x12", "rounds elements of f32"), ({"memory_budget": 1 << 24}, "q8", "no memory_budget"),
        ({}, "q24", "q24"), ({}, 8, "precision"),
    ],
)  # fmt: skip
def test_precisions_without_a_meaning_are_refused(settings: Any, precision: Any, said: str) -> None:
    db = VectorStore(8, 100, **settings)
    with pytest.raises(ArgumentError, match=said):
        db.search(np.ones(8), precision=precision)
