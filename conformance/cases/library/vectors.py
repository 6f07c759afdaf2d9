"""The kernels of ``loom.vectors``: rows laid into panels and read back, compared, the best picked; trusted and watched.

Oracles besides the interpreter: panels made in numpy, sums of squares and of products in the same order, exact
products of integers.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from conformance.running import Case, case
from loom.core.dtype import DType, f16, f32, i8, i32, u32, u64
from loom.core.numerics import MATMUL_BLOCK
from loom.kernels.vectors.packed import panels_of_rows
from loom.kernels.vectors.panels import Panel, lay_bytes, lay_floats, read_rows, words_of
from loom.kernels.vectors.pick import NOTHING, pick_best
from loom.kernels.vectors.rank import FACTS, best_of_panels, scores_of_panels
from loom.kernels.vectors.slabs import best_of_slabs
from loom.schedules.vectors import GRID

__all__: list[str] = []

Array = np.ndarray[Any, Any]
_DIMS, _FIRST, _ROWS, _QUERIES = 131, 5, 33, 3
_SHAPES = {"lanes": (4, 2, 3, u64), "scalar": (32, 1, 1, u32)}
_METRICS = ("cosine", "dot", "euclidean")
_WIDTHS = (4, 16)


def _case(kernel: Any, buffers: list[Array], groups: Any, **known: Array) -> Case:
    where = groups if isinstance(groups, tuple) else (groups, 1, 1)
    return Case(kernel.verified.kernel, tuple(buffers), (), groups=where, expected=known, modes=("trusted", "reported"))


def _panel(shape: str, kept: DType) -> Panel:
    lanes, vectors, queries, index = _SHAPES[shape]
    return Panel(lanes, vectors, queries, i32 if kept == i8 else kept, index)


def _vectors(count: int, seed: int = 1) -> Array:
    """Vectors of very different elements, so that any change of order shows; one of them is 0."""
    rng = np.random.default_rng([seed, count])
    found = (rng.standard_normal((count, _DIMS)) * 2.0 ** rng.integers(-9, 9, (count, _DIMS))).astype(np.float32)
    found[1 % count] = 0
    return found


def _in_order(terms: Array) -> Array:
    """Return sums of (..., dims) in the order of matrix products."""
    total = np.zeros(terms.shape[:-1], np.float32)
    for first in range(0, terms.shape[-1], MATMUL_BLOCK):
        total += np.add.accumulate(terms[..., first : first + MATMUL_BLOCK], axis=-1, dtype=np.float32)[..., -1]
    return total


def _kept(x: Array, kept: DType) -> tuple[Array, Array]:
    """Return rows as they are kept, and their scales."""
    if kept != i8:
        return x.astype(kept.numpy), np.ones(len(x), np.float32)
    largest = np.abs(x).max(axis=1)
    fine = np.divide(np.float32(127), largest, out=np.zeros_like(largest), where=largest > 0)
    return np.rint(x * fine[:, None]).astype(np.int8), largest / np.float32(127)


def _facts(rows: Array, scales: Array, cosine: bool) -> tuple[Array, Array]:
    """Return squares and weights of rows that are kept."""
    if rows.dtype == np.int8:
        total = (rows.astype(np.int32) ** 2).sum(axis=1).astype(np.float32)
        squares = total * scales * scales
        return squares, _inverse(total) if cosine else scales
    squares = _in_order(rows.astype(np.float32) ** 2)
    return squares, _inverse(squares) if cosine else np.ones_like(squares)


def _inverse(squares: Array) -> Array:
    return np.divide(1, np.sqrt(squares), out=np.zeros_like(squares), where=squares > 0)


def _room(panel: Panel) -> int:
    return -(-(_FIRST + _ROWS) // panel.width) * panel.width


def _lay(shape: str, kept: DType, source: DType, cosine: bool) -> Case:
    """Rows 5 to 37 of panels; what is beside them stays."""
    panel, x = _panel(shape, kept), _vectors(_ROWS)
    rows, scales = _kept(x, kept)
    room = _room(panel)
    before = np.zeros((room, _DIMS), rows.dtype)
    known_rows = before.copy()
    known_rows[_FIRST : _FIRST + _ROWS] = rows
    facts = [np.full(room, 7, np.float32) for _ in range(3)]
    known = [each.copy() for each in facts]
    for place, given in zip(known, (*_facts(rows, scales, cosine), scales), strict=True):
        place[_FIRST : _FIRST + _ROWS] = given
    if source == i8:
        facts[2][:] = known[2]
    words = [panels_of_rows(each, panel.width).view(panel.held.numpy) for each in (before, known_rows)]
    begin = 3
    given_rows = np.concatenate([np.full(begin, 9), (rows if source == i8 else x).reshape(-1)]).astype(source.numpy)
    kernel = lay_bytes(panel, cosine=cosine, source=source) if kept == i8 else lay_floats(panel, cosine=cosine)
    sizes = np.array([_FIRST, _ROWS, _DIMS, begin], np.uint32)
    expected = {"out": words[1], "squares": known[0], "weights": known[1], "scales": known[2]}
    return _case(kernel, [given_rows, sizes, words[0], *facts], room // panel.width, **expected)


def _read(shape: str, kept: DType) -> Case:
    panel = _panel(shape, kept)
    rows, _ = _kept(_vectors(_room(panel)), kept)
    words = panels_of_rows(rows, panel.width).view(panel.held.numpy)
    sizes, out = np.array([_FIRST, _ROWS, _DIMS], np.uint32), np.zeros((_ROWS, _DIMS), rows.dtype)
    known = rows[_FIRST : _FIRST + _ROWS].reshape(-1)
    return _case(read_rows(panel, kept), [words, sizes, out.reshape(-1)], (1, _ROWS + 1, 1), out=known)


def _compared(panel: Panel, kept: DType, metric: str, count: int) -> tuple[list[Array], Array]:
    """Return what both kernels are given, and all scores: queries down, rows across."""
    rows, scales = _kept(_vectors(_room(panel)), kept)
    squares, weights = _facts(rows, scales, metric == "cosine")
    facts = np.zeros((count, FACTS), np.float32)
    live = np.random.default_rng(3).random(-(-len(rows) // 32) * 32) < 0.8
    mask = np.packbits(live, bitorder="little").view("<u4").astype(np.uint32)
    if kept == i8:
        queries = np.random.default_rng(4).integers(-9000, 9001, (count, _DIMS))
        facts[:, 0], facts[:, 2] = 0.01, queries.sum(axis=1)
        facts[:, 1] = (queries**2).sum(axis=1).astype(np.float32) * np.float32(0.01) * np.float32(0.01)
        padded = np.zeros((count, words_of(_DIMS, i8) * 4), np.int64)
        padded[:, :_DIMS] = queries
        four = (padded & 0xFFFF).reshape(count, -1, 4)
        words = np.stack([four[..., 0] | four[..., 2] << 16, four[..., 1] | four[..., 3] << 16], axis=-1)
        given = words.astype(np.uint32).view(np.int32)
        products = (queries @ rows.astype(np.int64).T).astype(np.float32) * weights * facts[:, :1]
        found = products
        if metric == "euclidean":
            found = -np.sqrt(np.maximum((squares + facts[:, 1:2]) - 2 * products, np.float32(0)))
    else:
        given = _vectors(count, seed=2)
        facts[:, 0] = np.linspace(0.5, 2, count)
        wide = rows.astype(np.float32)
        if metric == "euclidean":
            found = -np.sqrt(_in_order((given[:, None] - wide) ** 2))
        else:
            found = _in_order(given[:, None] * wide) * weights * facts[:, :1]
    held = panels_of_rows(rows, panel.width).view(panel.held.numpy)
    scores = np.where(live[: len(rows)], found, np.float32(-np.inf))
    return [given.reshape(-1), facts.reshape(-1), held, weights, squares, mask], scores


def _best(shape: str, kept: DType, metric: str) -> Case:
    """A tile of queries and of nothing more, panels after one of another segment."""
    panel = _panel(shape, kept)
    given, scores = _compared(panel, kept, metric, panel.queries)
    panels = _room(panel) // panel.width
    sizes = np.array([words_of(_DIMS, kept), 1, 2, panels, panels + 1, 1], np.uint32)
    known = np.full((panel.queries, panels + 1), 7, np.float32)
    out = known.copy()
    known[:, 1:] = scores.reshape(panel.queries, panels, -1).max(axis=2)
    kernel = best_of_panels(panel, euclidean=metric == "euclidean")
    return _case(kernel, [*given, sizes, out.reshape(-1)], -(-panels // 2), out=known.reshape(-1))


def _scores(shape: str, kept: DType, metric: str) -> Case:
    """Pairs of queries and panels, from panel 10 on; one pair is of a segment before, and one after."""
    panel = _panel(shape, kept)
    given, scores = _compared(panel, kept, metric, _QUERIES)
    panels, before = _room(panel) // panel.width, 10
    pairs = np.array([[0, panels - 1], [2, 0], [1, -1], [1, panels], [1, panels - 1], [1, 0]])
    known = np.full((len(pairs), panel.width), 7, np.float32)
    out = known.copy()
    for row, (q, p) in zip(known, pairs.tolist(), strict=True):
        if 0 <= p < panels:
            row[:] = scores[q, p * panel.width : (p + 1) * panel.width]
    numbered = (pairs + np.array([0, before])).astype(np.uint32)
    sizes = np.array([words_of(_DIMS, kept), len(pairs), before, panels], np.uint32)
    kernel = scores_of_panels(panel, euclidean=metric == "euclidean")
    buffers = [*given, numbered.reshape(-1), sizes, out.reshape(-1)]
    return _case(kernel, buffers, len(pairs) + 1, out=known.reshape(-1))


def _slabs(kept: DType, metric: str) -> Case:
    """One panel and a whole tile of queries, through shared memory."""
    panel = Panel(32, GRID.width // 32, GRID.height, kept, u32)
    given, scores = _compared(panel, kept, metric, GRID.height)
    panels = _room(panel) // panel.width
    sizes = np.array([_DIMS, 1, 1, panels, panels, 0], np.uint32)
    known = scores.reshape(GRID.height, panels, -1).max(axis=2)
    kernel = best_of_slabs(panel, GRID, euclidean=metric == "euclidean")
    return _case(kernel, [*given, sizes, np.zeros(known.size, np.float32)], (1, panels, 1), out=known.reshape(-1))


def _pick(panels: bool) -> Case:
    """Of two queries, one of which has less than k: ties by number, zeros of both signs, minus infinity left out."""
    k, count, width = 5, 300, 20
    rng = np.random.default_rng(6)
    scores = rng.integers(-4, 5, (2, count)).astype(np.float32)
    scores[0, ::3] = -0.0
    scores[1, :] = -np.inf
    scores[1, [7, 250]] = [-2, 3]
    if panels:
        numbers, pairs = np.broadcast_to(np.arange(count), scores.shape), np.zeros(2, np.uint32)
    else:
        k = count // width
        chosen = np.sort(np.stack([rng.permutation(40)[:k] for _ in range(2)]), axis=1)
        pairs = np.stack([np.repeat([[0], [1]], k, axis=1), chosen], axis=-1).astype(np.uint32).reshape(-1)
        numbers = (chosen[:, :, None] * width + np.arange(width)).reshape(2, -1)
    out = np.full((2, k), NOTHING, np.int64)
    best = np.full((2, k), -np.inf, np.float32)
    for q in range(2):
        order = np.lexsort((numbers[q], -(scores[q] + 0)))
        order = order[scores[q][order] > -np.inf][:k]
        out[q, : len(order)], best[q, : len(order)] = numbers[q][order], scores[q][order]
    found = np.stack([np.repeat([[0], [1]], k, axis=1), out], axis=-1) if panels else out
    known = {"out": found.reshape(-1).astype(np.uint32)}
    sizes = np.array([count, k, width, 2], np.uint32)
    buffers = [scores.reshape(-1), pairs, sizes, np.zeros(found.size, np.uint32), np.zeros(2 * k, np.float32)]
    return _case(pick_best(panels=panels), buffers, 3, **known)


def _add(name: str, make: Any, *args: Any) -> None:
    case(
        f"library/vectors-{name}",
        widths=_WIDTHS,
        slow="-dot" in name or name.startswith(("lay-scalar", "best-scalar", "scores-scalar", "slabs-f16")),
    )(partial(make, *args))


for _shape in _SHAPES:
    for _k, _source in ((f32, f32), (f16, f32), (i8, f32), (i8, i8)):
        for _cosine in (True, False):
            _add(f"lay-{_shape}-{_source}-as-{_k}{'-cosine' * _cosine}", _lay, _shape, _k, _source, _cosine)
    for _k in (f32, f16, i8):
        _add(f"read-{_shape}-{_k}", _read, _shape, _k)
        for _metric in _METRICS:
            _add(f"best-{_shape}-{_k}-{_metric}", _best, _shape, _k, _metric)
            _add(f"scores-{_shape}-{_k}-{_metric}", _scores, _shape, _k, _metric)
for _k in (f32, f16):
    for _metric in _METRICS:
        _add(f"slabs-{_k}-{_metric}", _slabs, _k, _metric)
for _panels in (True, False):
    _add(f"pick-{'panels' if _panels else 'vectors'}", _pick, _panels)
