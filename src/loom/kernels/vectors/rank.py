"""Compares queries with panels of vectors: the best score of each panel, or all scores of a few panels.

Layer: kernels. Products are summed in the order of matrix products: blocks of 128 k, each from +0, added one after the
other; those of integers exactly. Squared differences are summed the same way. A score is larger where a vector is
better; that of a row whose bit in ``mask`` is 0 is minus infinity. Invariant: the score of a vector has the same bits
from both kernels, whatever the panel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from loom.core.dtype import DType, f32, i32, u32
from loom.core.late.dataclass import dataclass
from loom.core.numerics import MATMUL_BLOCK as BLOCK
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import dot2_i16, group_id, local_id, private, select, sqrt, static_range
from loom.kernels.group.collective import group_max
from loom.kernels.matmul.pack import factor_of
from loom.kernels.types import product_types
from loom.kernels.vectors.order_free import Packing, adding_packed
from loom.kernels.vectors.panels import BIAS, Panel

__all__ = ["FACTS", "WORST", "best_of_panels", "live_score", "scores_of_panels", "scoring"]

WORST = float("-inf")
_PAIR = 0x00FF00FF
"""Two bytes of a word, each in 16 bits."""


def _adding(panel: Panel, euclidean: bool, count: int, short: bool) -> Callable[..., None]:
    """Return what adds the sums over all words of a panel to ``totals``, for ``count`` queries from q_at on."""
    factor = factor_of(product_types(f32, f32, precision="x12" if short else ""))
    lanes, vectors, width, at = panel.lanes, panel.vectors, panel.width, panel.index

    def add_floats(queries: Any, x: Any, totals: Any, q_at: Any, x_at: Any, words: Any) -> None:
        sums = private(f32, count * vectors)
        for block in range(0, words, BLOCK):
            for s in static_range(count * vectors):
                sums[s] = f32(0)
            for k in range(block, block + min(words - block, BLOCK)):
                for r in static_range(count):
                    q = queries[q_at + (at(words) * r + at(k))]
                    for v in static_range(vectors):
                        d = factor(f32(x[x_at + (at(k) * width + v * lanes)]))
                        if euclidean:
                            sums[r * vectors + v] = sums[r * vectors + v] + (q - d) * (q - d)
                        else:
                            sums[r * vectors + v] = sums[r * vectors + v] + q * d
            for s in static_range(count * vectors):
                totals[s] = totals[s] + sums[s]

    def add_bytes(queries: Any, x: Any, totals: Any, q_at: Any, x_at: Any, words: Any) -> None:
        for k in range(words):
            for v in static_range(vectors):
                word = x[x_at + (at(k) * width + v * lanes)]
                even, odd = word & _PAIR, (word >> 8) & _PAIR
                for r in static_range(count):
                    y = queries[q_at + 2 * (at(words) * r + at(k))]
                    z = queries[q_at + (2 * (at(words) * r + at(k)) + 1)]
                    total = r * vectors + v
                    totals[total] = dot2_i16(odd, z, dot2_i16(even, y, totals[total]))

    return add_bytes if panel.held == i32 else add_floats


def scoring(panel: Panel, euclidean: bool) -> Callable[..., Any]:
    """Return what makes a score of a total: (total, facts of the query, of the row)."""
    if panel.held == i32 and euclidean:

        def by_products(total: Any, facts: Any, q: Any, weight: Any, square: Any) -> Any:
            product = f32(total - i32(facts[q + 2]) * BIAS) * weight * facts[q]
            return -sqrt(max((square + facts[q + 1]) - 2 * product, f32(0)))

        return by_products
    if panel.held == i32:
        return lambda total, facts, q, weight, _: f32(total - i32(facts[q + 2]) * BIAS) * weight * facts[q]
    if euclidean:
        return lambda total, _facts, _q, _weight, _square: -sqrt(total)
    return lambda total, facts, q, weight, _square: total * weight * facts[q]


@dataclass(frozen=True, slots=True)
class _Compared:
    """How queries and panels lie: their types, that of totals, and what of both goes with a unit of sizes[0]."""

    queries: DType
    panels: DType
    total: DType
    of_query: int
    lines: int
    add: Callable[..., None]
    score: Callable[..., Any]


def _comparison(panel: Panel, euclidean: bool, count: int, short: bool, packing: Packing | None) -> _Compared:
    if packing is not None:
        score = scoring(replace(panel, held=f32), euclidean)
        return _Compared(i32, i32, f32, packing.of_query, packing.lines, adding_packed(panel, packing, count), score)
    kind, per_word = (i32, 2) if panel.held == i32 else (f32, 1)
    add = _adding(panel, euclidean, count, short)
    return _Compared(kind, panel.held, kind, per_word, 1, add, scoring(panel, euclidean))


def _name_of(panel: Panel, euclidean: bool, short: bool, packing: Packing | None) -> str:
    own = f"_{packing.name}" if packing else "_x12" * short
    return f"{panel.name}{'_euclidean' * euclidean}{own}"


def live_score(score: Any, mask: Any, row: Any) -> Any:
    """Return the score of a row that takes part, minus infinity for others."""
    return select((mask[row >> 5] >> (row & 31)) & 1 != 0, score, f32(WORST))


FACTS = 4
"""Facts of a query: its weight, its squares, the sum of its integers."""


@cache
def best_of_panels(
    panel: Panel, *, euclidean: bool, short: bool = False, packing: Packing | None = None
) -> KernelFunction:
    """Return the kernel (queries, facts, x, weights, squares, mask, sizes, out): the best score of each panel.

    ``sizes``: words of a vector, tiles of queries, panels of a group, panels in all, panels of ``out``, and the first
    of them here. A group compares ``sizes[2]`` panels with all queries. ``out`` has a row for each query. ``short``:
    elements are rounded to 12 bits; ``packing``: panels are packed, and the first of sizes is their blocks.
    """
    at, width, lanes, vectors, count = panel.index, panel.width, panel.lanes, panel.vectors, panel.queries
    how = _comparison(panel, euclidean, count, short, packing)
    kind, held, total, add, score_of = how.queries, how.panels, how.total, how.add, how.score

    @kernel(workgroup=lanes, trusted=True)
    def best(
        queries: In[kind],  # type: ignore[valid-type]
        facts: In[f32],
        x: In[held],  # type: ignore[valid-type]
        weights: In[f32],
        squares: In[f32],
        mask: In[u32],
        sizes: In[u32],
        out: Out[f32],
    ):
        words, tiles, together, panels, row_of_out, before = (
            sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5],
        )  # fmt: skip
        first = group_id(0) * together
        for p in range(first, min(first + together, panels)):
            x_at = at(p) * (at(words) * (how.lines * width)) + at(local_id())
            for t in range(tiles):
                totals = private(total, count * vectors)
                for s in static_range(count * vectors):
                    totals[s] = total(0)
                add(queries, x, totals, at(t) * (at(words) * (count * how.of_query)), x_at, words)
                for r in static_range(count):
                    found = f32(WORST)
                    for v in static_range(vectors):
                        row = p * width + v * lanes + local_id()
                        score = score_of(
                            totals[r * vectors + v], facts, (t * count + r) * FACTS, weights[row], squares[row]
                        )
                        found = max(found, live_score(score, mask, row))
                    found = group_max(found)
                    if local_id() == 0:
                        out[at(t * count + r) * at(row_of_out) + at(before + p)] = found

    best.name = f"vectors_best_{_name_of(panel, euclidean, short, packing)}"
    return best


@cache
def scores_of_panels(
    panel: Panel, *, euclidean: bool, short: bool = False, packing: Packing | None = None
) -> KernelFunction:
    """Return the kernel (queries, facts, x, weights, squares, mask, pairs, sizes, out): all scores of some panels.

    ``pairs``: number of a query, number of a panel. ``sizes``: words of a vector, pairs, the number of the first panel
    here, and how many there are. A group takes one pair; if its panel is here, its scores, one for each row, go to
    ``out`` in their order.
    """
    at, width, lanes, vectors = panel.index, panel.width, panel.lanes, panel.vectors
    how = _comparison(panel, euclidean, 1, short, packing)
    kind, held, total, add, score_of = how.queries, how.panels, how.total, how.add, how.score

    @kernel(workgroup=lanes, trusted=True)
    def scores(
        queries: In[kind],  # type: ignore[valid-type]
        facts: In[f32],
        x: In[held],  # type: ignore[valid-type]
        weights: In[f32],
        squares: In[f32],
        mask: In[u32],
        pairs: In[u32],
        sizes: In[u32],
        out: InOut[f32],
    ):
        words, before, panels = sizes[0], sizes[2], sizes[3]
        g = min(group_id(), sizes[1] - 1)
        q, p = pairs[2 * g], pairs[2 * g + 1] - before
        if group_id() < sizes[1] and p < panels:
            totals = private(total, vectors)
            for s in static_range(vectors):
                totals[s] = total(0)
            x_at = at(p) * (at(words) * (how.lines * width)) + at(local_id())
            add(queries, x, totals, at(q) * (at(words) * how.of_query), x_at, words)
            for v in static_range(vectors):
                row = p * width + v * lanes + local_id()
                score = score_of(totals[v], facts, q * FACTS, weights[row], squares[row])
                place = at(group_id()) * width + at(v * lanes + local_id())
                out[place] = live_score(score, mask, row)

    scores.name = f"vectors_scores_{_name_of(panel, euclidean, short, packing)}"
    return scores
