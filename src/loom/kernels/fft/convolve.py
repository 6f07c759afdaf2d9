"""Sliding sums of products, and the exponential moving average.

Layer: kernels. A sliding sum is a reduction over the taps in the canonical order of products: blocks of 128 taps
summed from +0 with taps ascending, blocks added from left to right within a chunk of 4096, chunks joined by a
balanced tree. Invariant: no other order, whatever the number of rows, lanes or groups.
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import DType, u32
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id, group_id, local_id

__all__ = ["CHUNK", "SLIDING_TILE", "add_rows", "moving_average", "sliding_sums"]

CHUNK = 4096
"""Taps summed by one dispatch."""
_BLOCK = 128
_LANES = 64
_STRETCHES = 4
SLIDING_TILE = _LANES * _STRETCHES
"""Results of one workgroup: a lane makes four, 64 apart, so that their additions overlap."""


@cache
def sliding_sums(element: DType) -> KernelFunction:
    """Return the kernel (x, taps, out, first, count, width, length).

    out[i] = sum over k of x[i + k] taps[k], k from ``first`` on, ``count`` of them, at most a chunk. Rows of x are
    ``width`` long, a multiple of the tile beyond the taps; rows of ``out`` are ``length`` long.
    Groups: tiles of 256 results, rows.
    """

    @kernel(workgroup=_LANES, trusted=True)
    def slide(
        x: In[element], taps: In[element], out: Out[element],  # type: ignore[valid-type]
        first: u32, count: u32, width: u32, length: u32,
    ):  # fmt: skip
        row = group_id(1)
        begin = group_id(0) * SLIDING_TILE + local_id(0)
        at = row * width + begin + first
        a, b, c, d = element(0), element(0), element(0), element(0)
        for block in range(0, count, _BLOCK):
            p, q, r, s = element(0), element(0), element(0), element(0)
            for k in range(block, min(block + _BLOCK, count)):
                tap, here = taps[first + k], at + k
                p, q = p + x[here] * tap, q + x[here + _LANES] * tap
                r, s = r + x[here + 2 * _LANES] * tap, s + x[here + 3 * _LANES] * tap
            a, b, c, d = a + p, b + q, c + r, d + s  # +0 and the first block is that block: it is never -0
        to = row * length + begin
        if begin < length:
            out[to] = a
        if begin + _LANES < length:
            out[to + _LANES] = b
        if begin + 2 * _LANES < length:
            out[to + 2 * _LANES] = c
        if begin + 3 * _LANES < length:
            out[to + 3 * _LANES] = d

    slide.name = f"sliding_sums_{element}"
    return slide


@cache
def add_rows(element: DType) -> KernelFunction:
    """Return the kernel (x, y, n): x[i] = x[i] + y[i], which joins two chunks."""

    @kernel(workgroup=_LANES, trusted=True)
    def add(x: InOut[element], y: In[element], n: u32):  # type: ignore[valid-type]
        i = global_id()
        if i < n:
            x[i] = x[i] + y[i]

    add.name = f"add_rows_{element}"
    return add


@cache
def moving_average(element: DType) -> KernelFunction:
    """Return the kernel (x, out, n, inner, lanes, alpha, beta): y[i] = alpha x[i] + beta y[i - 1] along n, y[0] = x[0].

    Element i of lane l is at (l // inner) n inner + i inner + l % inner: the axis may be any. One lane a row, as
    each result needs the one before it.
    """

    @kernel(workgroup=_LANES, trusted=True)
    def average(
        x: In[element], out: Out[element], n: u32, inner: u32, lanes: u32, alpha: element, beta: element  # type: ignore[valid-type]
    ):  # fmt: skip
        lane = global_id()
        if lane < lanes:
            outer = lane // inner
            at = outer * n * inner + (lane - outer * inner)
            y = x[at]
            out[at] = y
            for _ in range(1, n):
                at = at + inner
                y = alpha * x[at] + beta * y  # pyright: ignore[reportUnknownVariableType] - a kernel finds the type
                out[at] = y

    average.name = f"moving_average_{element}"
    return average
