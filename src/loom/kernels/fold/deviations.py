"""Deviations from means: their squares and products, summed in the canonical order, and what is made of the sums.

Layer: kernels. A workgroup folds one tile of one row as ``kernels.fold.tiles`` does; folding the results in turn
reduces rows of any length. Invariant: a row's result has the bits that row has alone, and depends on its
elements and their number.

Source: the two-pass algorithm of Chan, Golub and LeVeque, "Algorithms for computing the sample variance"
(The American Statistician 37, 1983).
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from loom.core.dtype import DType, f64, u32
from loom.core.numerics import REDUCE_LANES, REDUCE_TILE
from loom.ir.frontend.base.annotations import Absent, In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id, group_id, idiv, local_id, shared, sqrt
from loom.kernels.group.join import add, join_lanes

__all__ = [
    "LINE_BLOCK", "correlation_matrix", "correlation_pair", "covariance_matrix", "deviations", "interpolate_ranks",
    "product_tiles",
]  # fmt: skip

LINE_BLOCK = 4096
"""Elements of a line that a workgroup takes."""

_ROWS = REDUCE_TILE // REDUCE_LANES


@cache
def product_tiles(element: DType, computed: DType, *, paired: bool) -> KernelFunction:
    """Return the kernel (x, y, x_centres, y_centres, pairs, out, n, tiles): products of deviations, summed.

    Pair p is row ``pairs[2 p]`` of ``x`` with row ``pairs[2 p + 1]`` of ``y``; ``out[p * tiles + t]`` is the
    sum over tile t of (x - its centre) (y - its centre). Unless ``paired`` each row of ``x`` goes with itself, and the
    kernel is (x, x_centres, out, n, tiles).
    """
    given, centres, numbers = (In[element], In[computed], In[u32]) if paired else (Absent, Absent, Absent)

    def product(x: Any, y: Any, a: Any, b: Any, i: Any, j: Any) -> Any:
        d = computed(x[i]) - a
        if y is None:
            return d * d
        return d * (computed(y[j]) - b)

    @kernel(workgroup=REDUCE_LANES, trusted=True)
    def products(
        x: In[element], y: given, x_centres: In[computed], y_centres: centres, pairs: numbers,  # type: ignore[valid-type]
        out: Out[computed], n: u32, tiles: u32,  # type: ignore[valid-type]
    ):  # fmt: skip
        lane = local_id()
        pair = idiv(group_id(), tiles)
        first = (group_id() - pair * tiles) * REDUCE_TILE
        i = pairs[2 * pair] if paired else pair
        j = pairs[2 * pair + 1] if paired else pair
        a = x_centres[i]
        b = y_centres[j] if paired else a
        i, j = i * n + first, j * n + first
        total = computed(0)
        if n - first >= REDUCE_TILE:
            for step in range(_ROWS):
                row = step * REDUCE_LANES  # lanes are added last, so that vectors are seen to lie side by side
                total = total + product(x, y, a, b, i + row + lane, j + row + lane)
        else:
            for at in range(lane, n - first, REDUCE_LANES):
                total = total + product(x, y, a, b, i + at, j + at)
        lanes = shared(computed, REDUCE_LANES)
        join_lanes(lanes, lane, total, add)
        if lane == 0:
            out[group_id()] = lanes[0]

    products.name = f"{'products' if paired else 'squares'}_{element}_{computed}"
    return products


@cache
def deviations(element: DType, computed: DType, result: DType, *, per_line: bool, divided: bool) -> KernelFunction:
    """Return the kernel (x, centres, spreads, out, n, length, blocks): ``(x - centre) / spread`` of every element.

    Unless ``divided`` there are no spreads, and the deviation is squared. The array is lines of ``length`` elements, a
    line taking ``blocks`` workgroups of up to ``LINE_BLOCK``. ``per_line``: line l has the centre l; else element c of
    line l has the centre ``l // n * length + c``.
    """
    given = In[computed] if divided else Absent

    def store(x: Any, centres: Any, spreads: Any, out: Any, at: Any, place: Any) -> None:
        d = computed(x[at]) - centres[place]
        out[at] = result(d * d if spreads is None else d / spreads[place])

    @kernel(workgroup=REDUCE_LANES, trusted=True)
    def deviate(
        x: In[element], centres: In[computed], spreads: given, out: Out[result],  # type: ignore[valid-type]
        n: u32, length: u32, blocks: u32,
    ):  # fmt: skip
        line = idiv(group_id(), blocks)
        first = (group_id() - line * blocks) * LINE_BLOCK
        size = min(length - first, LINE_BLOCK)
        begin = line * length + first
        centre = line if per_line else idiv(line, n) * length + first
        whole = size - size % REDUCE_LANES
        for row in range(0, whole, REDUCE_LANES):
            at = row + local_id()
            store(x, centres, spreads, out, begin + at, centre if per_line else centre + at)
        at = whole + local_id()
        if at < size:
            store(x, centres, spreads, out, begin + at, centre if per_line else centre + at)

    kind = f"standardise_{element}_{computed}_{result}" if divided else f"squares_{element}_{computed}"
    deviate.name = f"{kind}{'_line' if per_line else ''}"
    return deviate


@cache
def covariance_matrix(computed: DType, result: DType) -> KernelFunction:
    """Return the kernel (sums, out, count, rows): element (i, j) is the sum of pair (i, j) by ``count``.

    ``sums`` holds the pairs (0, 0), (0, 1), .. (0, rows - 1), (1, 1), ..; a lane per element.
    """

    @kernel(workgroup=64, trusted=True)
    def covariances(sums: In[computed], out: Out[result], count: u32, rows: u32):  # type: ignore[valid-type]
        at = global_id()
        if at < rows * rows:
            i = idiv(at, rows)
            out[at] = result(sums[pair_place(i, at - i * rows, rows)] / computed(count))

    covariances.name = f"covariance_{computed}_{result}"
    return covariances


@cache
def correlation_matrix(computed: DType, result: DType) -> KernelFunction:
    """Return the kernel (sums, out, rows): s_ij / sqrt(s_ii s_jj), not beyond 1, exactly 1 where i = j.

    NaN where a row does not vary.
    """
    least = least_scale(computed)

    @kernel(workgroup=64, trusted=True)
    def correlations(sums: In[computed], out: Out[result], rows: u32):  # type: ignore[valid-type]
        at = global_id()
        if at < rows * rows:
            i = idiv(at, rows)
            j = at - i * rows
            xx, yy = sums[pair_place(i, i, rows)], sums[pair_place(j, j, rows)]
            r = coefficient(sums[pair_place(i, j, rows)], xx, yy, least)
            if i == j and r == r:  # noqa: PLR0124 - no NaN
                r = computed(1)
            out[at] = result(r)

    correlations.name = f"correlation_{computed}_{result}"
    return correlations


@cache
def correlation_pair(computed: DType, result: DType) -> KernelFunction:
    """Return the kernel (xx, xy, yy, out): the correlation from the three sums of two arrays."""
    least = least_scale(computed)

    @kernel(workgroup=1, trusted=True)
    def correlation(xx: In[computed], xy: In[computed], yy: In[computed], out: Out[result]):  # type: ignore[valid-type]
        out[0] = result(coefficient(xy[0], xx[0], yy[0], least))

    correlation.name = f"correlation_pair_{computed}_{result}"
    return correlation


def coefficient(xy: Any, xx: Any, yy: Any, least: Any) -> Any:
    """Return xy / sqrt(xx yy), kept within -1 and 1; two roots where the product is below ``least`` or infinite."""
    scale = sqrt(xx * yy)
    if not (scale > least and scale < math.inf):
        scale = sqrt(xx) * sqrt(yy)
    return min(max(xy / scale, -1), 1)


def least_scale(computed: DType) -> float:
    """Return a root above which no digit of the product was lost to underflow."""
    return 2.0**-480 if computed == f64 else 2.0**-50


def pair_place(i: Any, j: Any, rows: Any) -> Any:
    """Return where pair (i, j) stands in the list of pairs whose first row is not above the second."""
    a, b = min(i, j), max(i, j)
    return a * rows - idiv(a * (a + 1), u32(2)) + b


@cache
def interpolate_ranks(element: DType, computed: DType, result: DType) -> KernelFunction:
    """Return the kernel (x, ranks, fractions, out, n, rows, count): quantiles of sorted rows of ``n`` elements.

    Quantile q of a row lies ``fractions[q]`` of the way from the element of rank ``ranks[q]`` to the next one;
    it goes to ``out[q * rows + row]``. NaN if the last, which is the largest, is NaN. A lane per quantile.
    """

    @kernel(workgroup=64, trusted=True)
    def interpolate(  # type: ignore[no-untyped-def]
        x: In[element],  # type: ignore[valid-type]
        ranks: In[u32],
        fractions: In[computed],  # type: ignore[valid-type]
        out: Out[result],  # type: ignore[valid-type]
        n: u32,
        rows: u32,
        count: u32,
    ):
        at = global_id()
        if at < count * rows:
            q = idiv(at, rows)
            first = (at - q * rows) * n
            rank = ranks[q]
            low, high = computed(x[first + rank]), computed(x[first + min(rank + 1, n - 1)])
            value = between(low, high, fractions[q])
            last = computed(x[first + n - 1])
            if last != last:  # noqa: PLR0124 - a NaN
                value = last
            out[at] = result(value)

    interpolate.name = f"quantiles_{element}_{computed}_{result}"
    return interpolate


def between(low: Any, high: Any, t: Any) -> Any:
    """Return the point ``t`` of the way from ``low`` to ``high``, computed from the nearer one as in numpy.

    Next to an infinity it is that infinity; a distance that overflows is halved first.
    """
    distance = high - low
    value = low + distance * t
    if t >= 0.5:
        value = high - distance * (1 - t)
    if abs(distance) == math.inf:
        value = (low * 0.5 + (high * 0.5 - low * 0.5) * t) * 2
        if abs(low) == math.inf or abs(high) == math.inf:
            value = low + high
    if t == 0 or low == high:
        value = low
    return value
