"""Exact search: the best vectors of segments for queries, in a total order.

Layer: vectors. First the best score of each panel is found, so that the scores of all vectors are never written. The
best k vectors lie in the k panels whose best scores are best (of equal ones the older panels): each of those before a
vector's panel holds a vector that is before it. Then the scores of these panels are computed again. Invariant: a better
score is first, of equal scores the older row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from loom.core.arrays import Array
from loom.core.late.dataclass import dataclass
from loom.kernels.vectors.pick import NOTHING
from loom.vectors.programs import Comparison, SegmentMemory, VectorPrograms
from loom.vectors.queries import prepare_queries

__all__ = ["Ranks", "SearchPart", "best_of_rows", "find_best", "is_kept"]

_MOST_SCORES = 1 << 24
"""Best scores of panels that are held at a time, for as many queries as that is."""
_SIGN = np.uint32(1 << 31)


@dataclass(frozen=True, slots=True)
class SearchPart:
    """A segment as a search sees it: its rows from ``first`` on, of which those in ``mask`` take part."""

    first: int
    used: int
    mask: Array
    memory: Callable[[], SegmentMemory]

    def since(self, row: int) -> SearchPart:
        """Return the same without rows before ``row``."""
        words = np.arange(len(self.mask) * 32) + self.first >= row
        return replace(self, mask=self.mask & np.packbits(words, bitorder="little").view("<u4").astype(np.uint32))

    def without(self, rows: Array) -> SearchPart:
        """Return the same without some rows."""
        words = np.ones(len(self.mask) * 32, np.bool_)
        words[rows[(rows >= self.first) & (rows < self.first + self.used)] - self.first] = False
        return replace(self, mask=self.mask & np.packbits(words, bitorder="little").view("<u4").astype(np.uint32))

    def pack(self, programs: VectorPrograms) -> SearchPart:
        """Return the same as programs of an order-free precision compare it."""
        return replace(self, memory=lambda: programs.pack_segment(self.memory(), self.used))


@dataclass(frozen=True, slots=True)
class Ranks:
    """The best rows of a query, best first, with their scores, larger for better."""

    rows: Array
    scores: Array


def find_best(programs: VectorPrograms, parts: Sequence[SearchPart], queries: Array, k: int, where: str) -> list[Ranks]:
    """Return the best ``k`` rows for each query (n, dims), fewer where there are not so many."""
    width, tile = programs.layout.panel.width, programs.layout.tile(len(queries))
    panels = sum(-(-part.used // width) for part in parts)
    prepared = prepare_queries(queries, programs.layout, where)
    if not panels or not len(queries):
        nothing = Ranks(np.empty(0, np.int64), np.empty(0, np.float32))
        return [nothing] * len(queries)
    scores = max(panels, k * width) if programs.layout.picks(k) else panels
    step = max(1, _MOST_SCORES // (scores * tile)) * tile
    found: list[Ranks] = []
    for first in range(0, len(queries), step):
        here, facts = (each[first : first + step] for each in prepared)
        some = min(step, len(queries) - first)
        found += _Search(programs, parts, programs.compare(here, facts, panels, tile), some, k).run()
    return found


def is_kept(parts: Sequence[SearchPart], rows: Array) -> Array:
    """Return which of some rows take part."""
    found = np.zeros(len(rows), bool)
    for part in parts:
        here = np.flatnonzero((rows >= part.first) & (rows < part.first + part.used))
        places = rows[here] - part.first
        found[here] = (part.mask[places >> 5] >> (places & 31).astype(np.uint32)) & 1
    return found


def best_of_rows(
    programs: VectorPrograms,
    parts: Sequence[SearchPart],
    queries: Array,
    candidates: Sequence[Array],
    k: int,
    where: str,
) -> list[Ranks]:
    """Return the best ``k`` of candidates, row numbers for each query, by the scores of ``find_best``."""
    layout = programs.layout
    width = layout.panel.width
    here, facts = prepare_queries(queries, layout, where)
    search = _Search(programs, parts, programs.compare(here, facts, 1, layout.tile(len(queries))), len(queries), k)
    numbers = np.repeat(np.arange(len(queries)), [len(rows) for rows in candidates])
    rows = np.concatenate([np.empty(0, np.int64), *candidates])
    begins = np.array([part.first for part in parts], np.int64)
    part_of = np.searchsorted(begins, rows, side="right") - 1
    panels = search.begins[part_of] + (rows - begins[part_of]) // width if len(rows) else rows
    keys, scores = search.score_rows(numbers, panels)
    places = np.arange(len(rows)) * width + (rows - begins[part_of]) % width if len(rows) else rows
    keys, scores = keys[places], scores[places]
    return [search.best(keys[numbers == n], scores[numbers == n]) for n in range(len(queries))]


class _Search:
    def __init__(
        self, programs: VectorPrograms, parts: Sequence[SearchPart], comparison: Comparison, queries: int, k: int
    ) -> None:
        self.width = programs.layout.panel.width
        self.parts = parts
        self.comparison = comparison
        self.queries = queries
        self.k = k
        self.counts = [-(-part.used // self.width) for part in parts]
        self.begins = np.concatenate([[0], np.cumsum(self.counts)])

    def run(self) -> list[Ranks]:
        for part, count, before in zip(self.parts, self.counts, self.begins, strict=False):
            self.comparison.best(part.memory(), part.mask, count, int(before))
        if self.comparison.picks(self.k):
            return self.device_ranks()
        queries, panels = self.promising(self.comparison.maxima()[: self.queries])
        keys, scores = self.score_rows(queries, panels)
        ends = np.cumsum(np.bincount(queries, minlength=self.queries)) * self.width
        return [
            self.best(keys[begin:end], scores[begin:end])
            for begin, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)
        ]

    def device_ranks(self) -> list[Ranks]:
        """Return what the device picked."""
        parts = zip(self.parts, self.begins.tolist(), self.counts, strict=False)
        k = min(self.k, int(self.begins[-1]) * self.width)
        found = self.comparison.pick([(p.memory(), p.mask, n, count) for p, n, count in parts], self.queries, k)
        numbers, scores = found[0].astype(np.int64), found[1]
        panels = np.minimum(numbers // self.width, self.begins[-1] - 1)  # of nothing too
        part = np.searchsorted(self.begins, panels, side="right") - 1
        firsts = np.array([p.first for p in self.parts], np.int64)
        rows = firsts[part] + (panels - self.begins[part]) * self.width + numbers % self.width
        is_there = numbers != NOTHING
        return [Ranks(r[here], s[here]) for r, s, here in zip(rows, scores, is_there, strict=True)]

    def promising(self, maxima: Array) -> tuple[Array, Array]:
        """Return the panels in which the best k rows lie: numbers of queries, ascending, and of panels."""
        panels = maxima.shape[1]
        if self.k < panels:
            keys = _keys(maxima, np.arange(panels, dtype=np.uint64))
            keys.partition(self.k - 1, axis=1)
            chosen = np.sort((keys[:, : self.k] & np.uint64(0xFFFFFFFF)).astype(np.int64), axis=1)
            queries = np.repeat(np.arange(len(maxima)), self.k)
            is_live = np.take_along_axis(maxima, chosen, axis=1) > -np.inf
            return queries[is_live.reshape(-1)], chosen[is_live]
        queries, chosen = np.nonzero(maxima > -np.inf)
        return queries, chosen

    def score_rows(self, queries: Array, panels: Array) -> tuple[Array, Array]:
        """Return key and score of every row of pairs of a query and a panel."""
        scores = np.empty((len(panels), self.width), np.float32)
        rows = np.empty((len(panels), self.width), np.int64)
        for part, begin, end in zip(self.parts, self.begins, self.begins[1:], strict=False):
            here = np.flatnonzero((panels >= begin) & (panels < end))
            if here.size:
                own = panels[here] - begin
                pairs = np.stack([queries[here], own], axis=1).astype(np.uint32)
                scores[here] = self.comparison.scores(part.memory(), part.mask, pairs)
                rows[here] = (part.first + own * self.width)[:, None] + np.arange(self.width)
        return _keys(scores, rows.astype(np.uint64)).reshape(-1), scores.reshape(-1)

    def best(self, keys: Array, scores: Array) -> Ranks:
        """Return the best of the rows of one query."""
        is_live = scores > -np.inf
        keys = keys[is_live]
        if self.k < len(keys):
            keys = np.partition(keys, self.k - 1)[: self.k]
        keys = np.sort(keys)
        return Ranks((keys & np.uint64(0xFFFFFFFF)).astype(np.int64), _scores(keys))


def _keys(scores: Array, numbers: Array) -> Array:
    """Return u64 that ascend from the best score, and among equal ones (+0 is -0) by number."""
    bits = (scores + np.float32(0)).view(np.uint32)
    ascending = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return (~ascending).astype(np.uint64) << np.uint64(32) | numbers


def _scores(keys: Array) -> Array:
    """Return the scores that keys were made of."""
    ascending = ~(keys >> np.uint64(32)).astype(np.uint32)
    return np.where(ascending & _SIGN, ascending ^ _SIGN, ~ascending).astype(np.uint32).view(np.float32)
