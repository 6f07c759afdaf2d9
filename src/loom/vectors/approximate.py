"""An approximate index beside the exact search: it says where to look, the kernels say what is there.

Layer: vectors, over the package usearch (extra ``vectors``), HNSW. Candidates that it finds get their scores from the
same kernels as all others; rows that it does not know are searched exactly. Invariant: a hit may be missing, but every
score and the order of the hits are exact.

GivenRows: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical navigable
small world graphs" (TPAMI 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.late.dataclass import dataclass
from loom.core.optional import load
from loom.core.options import thread_count
from loom.vectors.programs import VectorPrograms
from loom.vectors.search import Ranks, SearchPart, best_of_rows, find_best, is_kept

__all__ = ["ApproximateIndex", "IndexReport", "build_index"]

_METRICS = {"cosine": "cos", "dot": "ip", "euclidean": "l2sq"}
_TOLD = 10
"""Hits of which recall is told."""
_MORE = 2
"""Times as many candidates as hits are asked for."""


@dataclass(frozen=True, slots=True)
class IndexReport:
    """An index that was built: how many ``vectors`` it knows, and its ``recall``.

    Recall: the part of the best 10 exact hits that it finds, over ``samples`` ``queries``: "held-out", stored vectors
    that were left out of index and exact search while it was measured and are no neighbours of themselves therefore;
    or "given".
    """

    vectors: int
    recall: float
    samples: int
    queries: str = "held-out"


class ApproximateIndex:
    """See the module. It knows rows below ``rows``."""

    def __init__(self, index: Any, rows: int, size: int) -> None:
        self._index = index
        self._rows = rows
        self._size = size

    def find(
        self, programs: VectorPrograms, parts: Sequence[SearchPart], queries: Array, k: int, where: str
    ) -> list[Ranks]:
        """Return what ``find_best`` does, but for hits that the index misses."""
        count = min(self._size, _MORE * k)
        known = self._neighbours(queries, count, parts)
        if any(len(rows) < min(k, self._size) for rows in known):
            return find_best(programs, parts, queries, k, where)  # a filter, or tombstones, left too few
        late = [part.since(self._rows) for part in parts if part.first + part.used > self._rows]
        newer = find_best(programs, late, queries, k, where)
        candidates = [np.union1d(rows, found.rows) for rows, found in zip(known, newer, strict=True)]
        return best_of_rows(programs, parts, queries, candidates, k, where)

    def _neighbours(self, queries: Array, count: int, parts: Sequence[SearchPart]) -> list[Array]:
        """Return rows that the index finds for each query, those that take part."""
        if not count or not len(queries):
            return [np.empty(0, np.int64)] * len(queries)
        found = self._index.search(queries, count, threads=thread_count())
        keys = np.asarray(found.keys).reshape(len(queries), -1).astype(np.int64)
        lengths = np.asarray(getattr(found, "counts", [keys.shape[1]])).reshape(-1)
        return [rows[:n][is_kept(parts, rows[:n])] for rows, n in zip(keys, lengths.tolist(), strict=True)]


def build_index(
    programs: VectorPrograms, parts: Sequence[SearchPart], entries: Sequence[Any], connectivity: int, expansion: int,
    queries: Array | int,
) -> tuple[ApproximateIndex, IndexReport]:  # fmt: skip
    """Return an index of entries, and its recall: for queries, or for so many entries. StateError without usearch."""
    library: Any = load("usearch.index", "build_index")
    dims = programs.layout.dims
    index = library.Index(
        ndim=dims, metric=_METRICS[programs.layout.metric], dtype="f32", connectivity=connectivity,
        expansion_add=expansion, expansion_search=expansion,
    )  # fmt: skip
    matrix = np.array([e.vector for e in entries], np.float32).reshape(-1, dims)
    rows = np.array([e.row for e in entries], np.int64)
    most = max((part.first + part.used for part in parts), default=0)

    def add(chosen: Array) -> None:
        if len(chosen):
            index.add(rows[chosen].astype(np.uint64), matrix[chosen], threads=thread_count())

    if isinstance(queries, int):
        order = np.random.default_rng(0).permutation(len(entries))
        late, early = (np.sort(part) for part in np.split(order, [min(queries, len(entries) // 2)]))
        add(early)
        left = [part.without(rows[late]) for part in parts]
        report = _report(programs, left, ApproximateIndex(index, most, len(early)), matrix[late], "held-out")
        add(late)
    else:
        add(np.arange(len(entries)))
        report = _report(programs, parts, ApproximateIndex(index, most, len(entries)), queries, "given")
    return ApproximateIndex(index, most, len(entries)), replace(report, vectors=len(entries))


def _report(
    programs: VectorPrograms, parts: Sequence[SearchPart], index: ApproximateIndex, queries: Array, kind: str
) -> IndexReport:
    """Measure the recall of an index among the rows that take part."""
    exact = find_best(programs, parts, queries, _TOLD, "build_index")
    found = index.find(programs, parts, queries, _TOLD, "build_index")
    hits = sum(len(np.intersect1d(a.rows, b.rows)) for a, b in zip(exact, found, strict=True))
    wanted = sum(len(a.rows) for a in exact)
    return IndexReport(0, hits / wanted if wanted else 1.0, len(queries), kind)
