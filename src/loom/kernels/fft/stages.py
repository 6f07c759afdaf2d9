"""One stage of a transform: a butterfly across the row, then the roots of the next stage.

Layer: kernels. Stockham's autosort form, decimation in frequency: with n' = n / step numbers left to transform
in each of ``step`` interleaved parts, and m = n' / radix,

    y[q + step (radix p + k)] = w^(p k) * sum over j of x[q + step (p + m j)] exp(-2 pi i j k / radix)

for q below ``step`` and p below m, where w = exp(-2 pi i / n'); the last stage (m = 1) multiplies by nothing, nor
does k = 0. Steps below 16 run along the row (``narrow_stage``), larger ones along q with one root for all lanes
(``wide_stage``). Complex numbers are pairs in memory, or between stages two planes, all real parts first.
Invariant: which of the two kernels runs changes no bit.

Source: Stockham, "High-speed convolution and correlation" (1966), as in Swarztrauber, "FFT algorithms for vector
computers" (1984).
"""

from __future__ import annotations

import enum
from functools import cache
from typing import Any

from loom.core.dtype import DType, bool_, f32, u32, u64
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import bitcast, global_id, group_id, local_id, select, static_range
from loom.kernels.fft.butterflies import butterfly, multiply
from loom.kernels.group.join import items

__all__ = ["LANES", "WIDE", "Form", "load", "narrow_stage", "store", "swap_parts", "wide_stage"]

LANES = 64
"""Lanes of a workgroup."""
WIDE = 16
"""The least step of a wide stage: as many lanes take neighbouring q."""
_PARTS = LANES // WIDE


class Form(enum.Enum):
    """How complex numbers lie in memory; REAL has no imaginary parts (they are zero)."""

    PAIRS = "pairs"
    PLANES = "planes"
    REAL = "real"

    def storage_type(self, element: DType) -> DType:
        """Return the type of the buffer's elements: a pair of f32 is one u64, so that lanes stay in a row."""
        if self is not Form.PAIRS:
            return element
        return u64 if element == f32 else element.vector(2)


def load(x: Any, at: Any, plane: Any, form: Any) -> Any:
    """Return complex number ``at`` of ``x``; ``plane`` numbers lie in each plane."""
    if form is Form.PLANES:
        return x[at], x[at + plane]
    if form is Form.REAL:
        re = x[at]
        return re, re.dtype(0)
    if x.dtype is u64:
        both = x[at]
        return bitcast(f32, u32(both)), bitcast(f32, u32(both >> 32))
    pair = x[at]
    return pair.x, pair.y


def store(out: Any, at: Any, plane: Any, form: Any, value: Any) -> None:
    """Write complex number ``at`` of ``out``."""
    re, im = value
    if form is Form.PLANES:
        out[at] = re
        out[at + plane] = im
    elif out.dtype is u64:
        out[at] = u64(bitcast(u32, re)) | (u64(bitcast(u32, im)) << 32)
    else:
        out[at] = out.dtype(re, im)


def swap_parts(value: Any, swap: Any) -> Any:
    """Return a number with re and im exchanged if ``swap``: a transform between two exchanges is an inverse."""
    re, im = value
    return select(swap, im, re), select(swap, re, im)


@cache
def narrow_stage(
    radix: int, element: DType, source: Form, target: Form, *, first: bool, last: bool, short: bool, whole: bool
) -> KernelFunction:
    """Return the kernel (x, out, roots, n, step, rows, swap_in, swap_out, scale) of a stage whose step is below 16.

    Lanes run along a row (groups: tiles of 64 of n / radix, rows), or along all rows if these are ``short``.
    ``roots`` holds w^(p k) in planes, k - 1 slowest. ``first``: the step is 1, and ``swap_in`` exchanges re and im of
    what is read. ``last``: there are no roots, results are multiplied by ``scale`` and exchanged by ``swap_out``.
    ``whole``: no tile is cut short.
    """

    @kernel(workgroup=LANES, trusted=True)
    def stage(
        x: In[source.storage_type(element)],  # type: ignore[valid-type]
        out: Out[target.storage_type(element)],  # type: ignore[valid-type]
        roots: In[element],  # type: ignore[valid-type]
        n: u32,
        step: u32,
        rows: u32,
        swap_in: bool_,
        swap_out: bool_,
        scale: element,  # type: ignore[valid-type]
    ):
        m = n // radix
        t = global_id(0)
        row = t // m if short else group_id(1)
        i = t - row * m if short else t
        if whole or (row < rows and i < m):
            begin, plane = row * n, rows * n
            numbers = items()
            for j in static_range(radix):
                value = load(x, begin + i + m * j, plane, source)
                numbers = items(*numbers, swap_parts(value, swap_in) if first else value)
            found = butterfly(numbers, radix)
            p, count, apart = i, m, u32(1)
            if not first:
                p, count, apart = i // step, m // step, step
            at = begin + i + p * apart * (radix - 1)
            for k in static_range(radix):
                value = found[k]
                if last:
                    value = swap_parts((value[0] * scale, value[1] * scale), swap_out)
                elif k:
                    root = (k - 1) * count + p
                    value = multiply(value, (roots[root], roots[root + count * (radix - 1)]))
                store(out, at + apart * k, plane, target, value)

    stage.name = f"fft{radix}_{element}_{source.value}_{target.value}" + "_first" * first + "_last" * last
    stage.name += "_short" * short + "_whole" * whole
    return stage


@cache
def wide_stage(radix: int, element: DType, target: Form, *, last: bool, whole: bool) -> KernelFunction:
    """Return the kernel (x, out, roots, n, step, rows, swap_out, scale) of a stage whose step is at least 16.

    Groups: tiles of 16 of the step, tiles of 4 of all p of all rows. x is in planes; ``roots`` holds w^(p k) in planes,
    p slowest. ``last`` is as in ``narrow_stage``. ``whole``: the step is a multiple of 16.
    """

    @kernel(workgroup=(WIDE, _PARTS), trusted=True)
    def stage(
        x: In[element],  # type: ignore[valid-type]
        out: Out[target.storage_type(element)],  # type: ignore[valid-type]
        roots: In[element],  # type: ignore[valid-type]
        n: u32,
        step: u32,
        rows: u32,
        swap_out: bool_,
        scale: element,  # type: ignore[valid-type]
    ):
        m = n // radix
        count = m // step
        q, part = global_id(0), group_id(1) * _PARTS + local_id(1)
        if part < count * rows and (whole or q < step):
            row = part // count
            p = part - row * count
            begin, plane = row * n, rows * n
            numbers = items()
            for j in static_range(radix):
                numbers = items(*numbers, load(x, begin + step * p + m * j + q, plane, Form.PLANES))
            found = butterfly(numbers, radix)
            at = begin + step * p * radix + q
            for k in static_range(radix):
                value = found[k]
                if last:
                    value = swap_parts((value[0] * scale, value[1] * scale), swap_out)
                elif k:
                    root = p * (radix - 1) + (k - 1)
                    value = multiply(value, (roots[root], roots[root + count * (radix - 1)]))
                store(out, at + step * k, plane, target, value)

    stage.name = f"fft{radix}_{element}_wide_{target.value}" + "_last" * last + "_whole" * whole
    return stage
