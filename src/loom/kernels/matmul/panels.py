"""Operands of order-free products for units that multiply 64 rows at once: planes of digits, eight rows side by side.

Layer: kernels. Planes and their words are those of ``planes``; here all rows of a plane of a block follow each other,
so that however many of them a group takes are one piece of memory, and eight rows lie as ``wide_product`` has them:
word w of row r at ``r // 8 * 256 + w // 4 * 32 + r % 8 * 4 + w % 4``. Rows are filled up with copies of the last, to
what groups take. One pass over an operand makes whole numbers, scales and planes, whichever way it lies.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.dtype import DType, f32, i32, u32
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, bitcast, group_id, local_id, private, select, shared, static_range
from loom.kernels.matmul.digits import INFINITE, MAGNITUDE, exponents_of, inverse_of, rounding_of, scale_of
from loom.kernels.matmul.planes import PLANE_WORDS, planes_of, words_of
from loom.kernels.matmul.tiles import BLOCK
from loom.kernels.precisions import Precision

__all__ = ["PANEL_ROWS", "groups_of_panels", "panels_by_k", "panels_by_row", "panels_of_view"]

PANEL_ROWS = 32
"""Rows of a group, of 128 k."""
_LANES, _WARP = 256, 32
_WARPS = _LANES // _WARP
_EACH = PANEL_ROWS * BLOCK // _LANES
"""Elements of a lane."""
_EIGHT, _CHUNK = PLANE_WORDS * 8 + PLANE_WORDS + 1, PLANE_WORDS + 4
"""Words from eight rows to the next, and from 16 bytes of them to the next, in shared memory: no bank is met twice."""
_PLANE = PANEL_ROWS // 8 * _EIGHT


def groups_of_panels(rows: int, k: int, matrices: int) -> tuple[int, int, int]:
    """Return the groups that ``panels_by_k`` and ``panels_by_row`` take, of rows filled up."""
    return rows // PANEL_ROWS, -(-k // BLOCK), matrices


def _writing(precision: Precision) -> tuple[Callable[..., None], Callable[..., None], int]:
    """Return what keeps the words of a lane's row in shared memory, what writes all of them, and the planes."""
    make, count = words_of(precision), planes_of(precision)
    exponent_of, whole_of = exponents_of(precision), rounding_of(precision)

    def keep(staged: Any, row: Any, word: Any, elements: Any, first: Any, step: Any, largest: Any) -> None:
        """Keep word ``word`` of ``row``, of four elements from ``first`` on."""
        inverse, is_finite = inverse_of(exponent_of(largest)), largest < INFINITE
        whole = private(i32, 4)
        for i in static_range(4):
            whole[i] = select(is_finite, whole_of(elements[first + i * step] * inverse), 0)
        words = make(whole[0], whole[1], whole[2], whole[3])
        place = row // 8 * _EIGHT + word // 4 * _CHUNK + row % 8 * 4 + word % 4
        for p in static_range(count):
            staged[place + p * _PLANE] = words[p]

    def write(out: Any, staged: Any, lane: Any, block: Any, rows: Any, first: Any) -> None:
        for p in static_range(count):
            target = ((block * count + p) * rows + first) * PLANE_WORDS + lane
            for t in static_range(PANEL_ROWS * PLANE_WORDS // _LANES):
                place = p * _PLANE + t * _EIGHT + lane // PLANE_WORDS * _CHUNK + lane % PLANE_WORDS
                out[target + t * _LANES] = staged[place]

    return keep, write, count


def _placing(*, by_k: bool) -> Callable[[Any, int], tuple[Any, Any]]:
    """Return what tells the row of a group, and the k of its block, of a lane's element."""
    if by_k:
        return lambda lane, t: (lane // _WARP + t // 4 * _WARPS, lane % _WARP + t % 4 * _WARP)
    return lambda lane, t: (lane % _WARP, lane // _WARP + t * _WARPS)


def _largest_by_k(elements: Any, lane: Any, largest: Any) -> None:
    """Leave the largest size of each row of ``_placing(by_k=True)``."""
    own, warp = lane % _WARP, lane // _WARP
    largest_of, parts = shared(u32, PANEL_ROWS * (_WARP + 1)), shared(u32, PANEL_ROWS * 9)
    for s in static_range(PANEL_ROWS // _WARPS):
        most = u32(0)
        for i in static_range(4):
            most = max(most, bitcast(u32, elements[s * 4 + i]) & MAGNITUDE)
        largest_of[(warp + s * _WARPS) * (_WARP + 1) + own] = most
    barrier()
    found, part = u32(0), lane // 8 * (_WARP + 1) + lane % 8 * 4
    for n in static_range(4):
        found = max(found, largest_of[part + n])
    parts[lane // 8 * 9 + lane % 8] = found
    barrier()
    for s in static_range(PANEL_ROWS // _WARPS):
        most = u32(0)
        for n in static_range(8):
            most = max(most, parts[(warp + s * _WARPS) * 9 + n])
        largest[s] = most


def _largest_by_row(elements: Any, lane: Any, largest: Any) -> None:
    """Leave the largest size of the one row of ``_placing(by_k=False)``."""
    largest_of, most = shared(u32, _LANES), u32(0)
    for t in static_range(_EACH):
        most = max(most, bitcast(u32, elements[t]) & MAGNITUDE)
    largest_of[lane] = most
    barrier()
    for n in static_range(_WARPS):
        most = max(most, largest_of[n * _WARP + lane % _WARP])
    largest[0] = most


def _sharing(precision: Precision, *, by_k: bool) -> Callable[..., None]:
    """Return what a group does with the elements of its lanes, which lie as ``_placing`` tells."""
    keep, write, count = _writing(precision)
    exponent_of, find = exponents_of(precision), _largest_by_k if by_k else _largest_by_row
    rows, first_step, step, words = (PANEL_ROWS // _WARPS, 4, 1, 1) if by_k else (1, 1, 4, 4)

    def share(
        elements: Any, out: Any, scales: Any, extremes: Any, lane: Any, number: Any, first: Any, filled: Any
    ) -> None:  # fmt: skip
        own, warp = lane % _WARP, lane // _WARP
        staged, scale_of_row, largest = shared(i32, count * _PLANE), shared(u32, PANEL_ROWS), private(u32, rows)
        find(elements, lane, largest)
        for s in static_range(rows):
            row, teller = own, warp
            if by_k:
                row, teller = warp + s * _WARPS, own
            for u in static_range(words):
                word = own
                if not by_k:
                    word = warp + u * _WARPS
                keep(staged, row, word, elements, s * 4 + u * first_step, step, largest[s])
            if teller == 0:
                scale = scale_of(exponent_of(largest[s]), largest[s])
                scales[number * filled + first + row] = scale
                scale_of_row[row] = bitcast(u32, scale)
        barrier()
        if lane == 0:
            least, most = scale_of_row[0], scale_of_row[0]
            for r in static_range(1, PANEL_ROWS):
                least, most = min(least, scale_of_row[r]), max(most, scale_of_row[r])
            place = (number * (filled // PANEL_ROWS) + first // PANEL_ROWS) * 2
            extremes[place] = bitcast(f32, least)
            extremes[place + 1] = bitcast(f32, most)
        write(out, staged, lane, number, filled, first)

    return share


def _panels(element: DType, precision: Precision, *, by_k: bool) -> KernelFunction:
    share, place = _sharing(precision, by_k=by_k), _placing(by_k=by_k)

    @kernel(workgroup=_LANES, trusted=True)
    def panels(
        x: In[element],  # type: ignore[valid-type]
        out: Out[i32],
        scales: Out[f32],
        extremes: Out[f32],
        rows: u32,
        depth: u32,
        filled: u32,
    ):
        lane, first, block, matrix = local_id(), group_id(0) * PANEL_ROWS, group_id(1), group_id(2)
        number = matrix * ((depth + (BLOCK - 1)) // BLOCK) + block
        elements = private(f32, _EACH)
        for t in static_range(_EACH):
            row, at = place(lane, t)
            row, k, value = min(first + row, rows - 1), block * BLOCK + at, f32(0)
            if k < depth:
                if by_k:
                    value = f32(x[(matrix * rows + row) * depth + k])
                else:
                    value = f32(x[(matrix * depth + k) * rows + row])
            elements[t] = value
        share(elements, out, scales, extremes, lane, number, first, filled)

    panels.name = f"panels_{precision.name}_{element}{'_by_k' if by_k else ''}"
    return panels


@cache
def panels_by_row(element: DType, precision: Precision) -> KernelFunction:
    """Return the kernel that makes planes and scales of ``x``, k by rows.

    Of (matrix, block), counted as one number, plane p begins at word ``(number planes + p) filled 32``, and the scale
    of a row is at ``number filled + row``; ``filled``: the rows with those added. The least and the largest scale of
    each ``PANEL_ROWS`` rows, a NaN the largest, are at twice ``(number filled + row) / PANEL_ROWS``.
    """
    return _panels(element, precision, by_k=False)


@cache
def panels_by_k(element: DType, precision: Precision) -> KernelFunction:
    """Return the kernel that does as ``panels_by_row`` for ``x``, rows by k."""
    return _panels(element, precision, by_k=True)


@cache
def panels_of_view(element: DType, precision: Precision, *, by_k: bool) -> KernelFunction:
    """Return the kernel that does the same for a stretch of a view, given as to ``planes.planes_of_view``."""
    share, place = _sharing(precision, by_k=by_k), _placing(by_k=by_k)

    @kernel(workgroup=_LANES, trusted=True)
    def panels(
        x: In[element],  # type: ignore[valid-type]
        table: In[u32],
        out: Out[i32],
        scales: Out[f32],
        extremes: Out[f32],
        rows: u32,
        depth: u32,
        count: u32,
        begin_row: u32,
        begin: u32,
        filled: u32,
    ):
        lane, first, block = local_id(), group_id(0) * PANEL_ROWS, group_id(1)
        elements = private(f32, _EACH)
        for t in static_range(_EACH):
            row, at = place(lane, t)
            k, value = block * BLOCK + at, f32(0)
            if k < depth:
                value = f32(x[table[begin_row + min(first + row, rows - 1)] + table[count + begin + k]])
            elements[t] = value
        share(elements, out, scales, extremes, lane, block, first, filled)

    panels.name = f"panels_{precision.name}_{element}_of_view{'_by_k' if by_k else ''}"
    return panels
