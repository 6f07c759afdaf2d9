"""The recall that an index tells is that of queries it does not know."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.vectors import VectorStore

pytest.importorskip("usearch")


def recall(db: VectorStore, queries: Any) -> float:
    """Return the part of the best 10 that the index finds."""
    exact, near = db.search_many(queries, 10), db.search_many(queries, 10, approximate=True)
    return sum(len({h.row for h in a} & {h.row for h in b}) for a, b in zip(exact, near, strict=True)) / (
        10 * len(queries)
    )


def drawn(kind: str, count: int, rng: Any) -> Any:
    """Draw vectors at random, or about centres."""
    x = rng.standard_normal((count, 48))
    if kind == "clustered":
        centres = np.random.default_rng(7).standard_normal((60, 48)) * 3
        x = centres[rng.integers(0, 60, count)] + 0.7 * x
    return x.astype(np.float32)


@pytest.mark.parametrize(("metric", "kind"), [("cosine", "random"), ("dot", "random"), ("euclidean", "clustered")])
def test_what_is_told_is_what_others_meet(metric: str, kind: str) -> None:
    rng = np.random.default_rng(1)
    db = VectorStore(48, 8000, metric)
    db.capture_many(None, drawn(kind, 8000, rng))
    report = db.build_index(connectivity=8, expansion=48, samples=400)
    true = recall(db, drawn(kind, 400, rng))
    stored = recall(db, np.array([e.vector for e in db.items()])[::20])
    assert (report.vectors, report.samples, report.queries) == (8000, 400, "held-out")
    assert abs(report.recall - true) < 0.06
    assert kind == "clustered" or stored - true > 0.08  # what stored vectors would tell of themselves


def test_queries_that_are_given() -> None:
    rng = np.random.default_rng(2)
    db = VectorStore(48)
    db.capture_many(None, drawn("random", 3000, rng))
    queries = drawn("random", 50, rng)
    report = db.build_index(connectivity=4, expansion=16, queries=queries)
    assert (report.samples, report.queries, report.vectors) == (50, "given", 3000)
    assert report.recall == recall(db, queries)
    for wrong, told, kind in (
        ({"samples": 3, "queries": queries}, "with samples or with queries.*got both", ArgumentError),
        ({"queries": queries[:0]}, "got no query", ArgumentError),
        ({"queries": queries[:, :3]}, "build_index, queries", ShapeError),
        ({"queries": "text"}, "build_index, queries", DTypeError),
        ({"samples": 0}, "build_index, samples", ArgumentError),
    ):
        with pytest.raises(kind, match=told):
            db.build_index(**wrong)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 30])
def test_an_index_of_few_knows_all_of_them(count: int) -> None:
    db = VectorStore(4)
    db.capture_many(None, np.random.default_rng(3).standard_normal((count + 5, 4)))
    db.delete(list(range(5)))
    report = db.build_index()
    assert (report.vectors, report.recall, report.samples) == (count, 1.0, count // 2)
    assert [[h.id for h in db.search(row, 1, approximate=True)] for row in db.to_numpy()[1]] == [[n] for n in db]
