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
from loom.ir.frontend.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, bitcast, group_id, local_id, private, select, shared, static_range
from loom.kernels.matmul.digits import INFINITE, MAGNITUDE, exponents_of, inverse_of, rounding_of, scale_of
from loom.kernels.matmul.planes import PLANE_WORDS, planes_of, words_of
from loom.kernels.matmul.tiles import BLOCK
from loom.kernels.precisions import Precision

__all__ = ["PANEL_ROWS", "extremes_of_scales", "groups_of_panels", "panels_by_k", "panels_by_row"]

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


@cache
def panels_by_row(element: DType, precision: Precision) -> KernelFunction:
    """Return the kernel that makes planes and scales of ``x``, k by rows.

    Of (matrix, block), counted as one number, plane p begins at word ``(number planes + p) filled 32``, and the scale
    of a row is at ``number filled + row``; ``filled``: the rows with those added.
    """
    keep, write, count = _writing(precision)
    exponent_of = exponents_of(precision)

    @kernel(workgroup=_LANES, trusted=True)
    def panels(
        x: In[element],  # type: ignore[valid-type]
        out: Out[i32],
        scales: Out[f32],
        rows: u32,
        depth: u32,
        filled: u32,
    ):
        lane, first, block, matrix = local_id(), group_id(0) * PANEL_ROWS, group_id(1), group_id(2)
        number = matrix * ((depth + (BLOCK - 1)) // BLOCK) + block
        own, warp = lane % _WARP, lane // _WARP
        begin = block * BLOCK + warp
        source = matrix * depth * rows + min(first + own, rows - 1)
        largest_of, staged = shared(u32, _LANES), shared(i32, count * _PLANE)
        elements, largest = private(f32, _EACH), u32(0)
        for t in static_range(_EACH):
            value = f32(0)
            if begin + t * _WARPS < depth:
                value = f32(x[source + (begin + t * _WARPS) * rows])
            elements[t] = value
        for t in static_range(_EACH):
            largest = max(largest, bitcast(u32, elements[t]) & MAGNITUDE)
        largest_of[lane] = largest
        barrier()
        for n in static_range(_WARPS):
            largest = max(largest, largest_of[n * _WARP + own])
        if warp == 0:
            scales[number * filled + first + own] = scale_of(exponent_of(largest), largest)
        for u in static_range(4):
            keep(staged, own, warp + u * _WARPS, elements, u, 4, largest)
        barrier()
        write(out, staged, lane, number, filled, first)

    panels.name = f"panels_{precision.name}_{element}"
    return panels


@cache
def panels_by_k(element: DType, precision: Precision) -> KernelFunction:
    """Return the kernel that does as ``panels_by_row`` for ``x``, rows by k."""
    keep, write, count = _writing(precision)
    exponent_of = exponents_of(precision)
    each = PANEL_ROWS // _WARPS

    @kernel(workgroup=_LANES, trusted=True)
    def panels(
        x: In[element],  # type: ignore[valid-type]
        out: Out[i32],
        scales: Out[f32],
        rows: u32,
        depth: u32,
        filled: u32,
    ):
        lane, first, block, matrix = local_id(), group_id(0) * PANEL_ROWS, group_id(1), group_id(2)
        number = matrix * ((depth + (BLOCK - 1)) // BLOCK) + block
        own, warp = lane % _WARP, lane // _WARP
        begin = block * BLOCK + own
        largest_of, parts = shared(u32, PANEL_ROWS * (_WARP + 1)), shared(u32, PANEL_ROWS * 9)
        staged, elements = shared(i32, count * _PLANE), private(f32, _EACH)
        for s in static_range(each):
            source = (matrix * rows + min(first + warp + s * _WARPS, rows - 1)) * depth
            for i in static_range(4):
                value = f32(0)
                if begin + i * _WARP < depth:
                    value = f32(x[source + begin + i * _WARP])
                elements[s * 4 + i] = value
        for s in static_range(each):
            largest = u32(0)
            for i in static_range(4):
                largest = max(largest, bitcast(u32, elements[s * 4 + i]) & MAGNITUDE)
            largest_of[(warp + s * _WARPS) * (_WARP + 1) + own] = largest
        barrier()
        found, part = u32(0), lane // 8 * (_WARP + 1) + lane % 8 * 4
        for n in static_range(4):
            found = max(found, largest_of[part + n])
        parts[lane // 8 * 9 + lane % 8] = found
        barrier()
        for s in static_range(each):
            row = warp + s * _WARPS
            most = u32(0)
            for n in static_range(8):
                most = max(most, parts[row * 9 + n])
            keep(staged, row, own, elements, s * 4, 1, most)
            if own == 0:
                scales[number * filled + first + row] = scale_of(exponent_of(most), most)
        barrier()
        write(out, staged, lane, number, filled, first)

    panels.name = f"panels_{precision.name}_{element}_by_k"
    return panels


@cache
def extremes_of_scales() -> KernelFunction:
    """Return the kernel that tells the least and the largest of ``rows`` scales of each block, of NaN the largest."""

    @kernel(workgroup=_LANES, trusted=True)
    def extremes(scales: In[f32], out: Out[f32], rows: u32):
        lane, first = local_id(), group_id(0) * rows
        least_of, most_of = shared(u32, _LANES), shared(u32, _LANES)
        least, most = u32(0xFFFF_FFFF), u32(0)
        for row in range(lane, rows, _LANES):
            bits = bitcast(u32, scales[first + row])
            least, most = min(least, bits), max(most, bits)
        least_of[lane], most_of[lane] = least, most
        barrier()
        if lane < _WARP:
            for n in static_range(1, _WARPS):
                least, most = min(least, least_of[lane + n * _WARP]), max(most, most_of[lane + n * _WARP])
            least_of[lane], most_of[lane] = least, most
        barrier()
        if lane == 0:
            for n in static_range(1, _WARP):
                least, most = min(least, least_of[n]), max(most, most_of[n])
            out[group_id(0) * 2] = bitcast(f32, least)
            out[group_id(0) * 2 + 1] = bitcast(f32, most)

    extremes.name = "extremes_of_scales"
    return extremes
