"""Looks through factors for some so large or small that products with them may be rounded, and so are not fused.

Layer: kernels. Of f16, bf16, and f32 rounded to 12 bits (``x12``) every product is exact unless it leaves the range of
f32, which those of f16 never do; if every factor is 0, no number, or from 2^-60 to 2^60 in size, products and sums are
fused. On CPUs operands are looked through where they are (``find_far``); on GPUs they are made f32 first, one pass over
each, which also tells. Invariant: both ways give the same bits.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import f32, u32
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, bitcast, group_id, local_id, select, shared, static_range
from loom.kernels.matmul.pack import factor_of
from loom.kernels.types import ProductTypes

__all__ = ["FACTORS_EACH", "FAR_GROUPS", "FAR_WORDS", "find_any_far", "find_far", "make_factors"]

_LANES = 16
FAR_GROUPS = 8
"""Groups that look through an operand."""
FAR_WORDS = FAR_GROUPS * _LANES
"""Words that they leave, one of each lane: not 0 if a factor lies outside."""
_MAKERS, _TURNS = 256, 16
FACTORS_EACH = _MAKERS * _TURNS
"""Factors that a group makes."""
_SIZE, _INFINITE = 0x7FFF_FFFF, 0x7F80_0000
_LOW, _HIGH = (127 - 60) << 23, (127 + 60) << 23


def _is_far(bits: Any) -> Any:
    """Tell of the bits of a factor whether products with it may not be exact."""
    size = bits & _SIZE
    return (size != 0) & (size < _INFINITE) & ((size < _LOW) | (size > _HIGH))


@cache
def find_far() -> KernelFunction:
    """Return the kernel (x, far, size, first) that looks through ``x`` and leaves its words from ``first`` on."""

    @kernel(workgroup=_LANES, trusted=True)
    def find(x: In[f32], far: Out[u32], size: u32, first: u32):
        lane, found = local_id(), u32(0)
        span = (size // (FAR_GROUPS * _LANES) + 1) * _LANES
        begin = group_id(0) * span
        for i in range(begin, min(begin + span, size), _LANES):
            bits = u32(0)
            if i + _LANES <= size:  # a plain vector of all lanes
                bits = bitcast(u32, x[i + lane]) & _SIZE
            elif i + lane < size:
                bits = _SIZE & bitcast(u32, x[i + lane])
            found = found | select(_is_far(bits), 1, 0)
        far[first + group_id(0) * _LANES + lane] = found

    find.name = "matmul_far"
    return find


@cache
def make_factors(arithmetic: ProductTypes) -> KernelFunction:
    """Return the kernel (x, out, far, size, first) that makes ``size`` factors.

    Group x leaves 1 at ``far[first + x]`` if one of them is far too large or small for products that are exact.
    """
    element, factor = arithmetic.element, factor_of(arithmetic)

    @kernel(workgroup=_MAKERS, trusted=True)
    def factors(
        x: In[element],  # type: ignore[valid-type]
        out: Out[f32],
        far: Out[u32],
        size: u32,
        first: u32,
    ):
        lane, found, begin = local_id(), u32(0), group_id(0) * (_MAKERS * _TURNS)
        for t in static_range(_TURNS):
            i = begin + t * _MAKERS + lane
            if i < size:
                value = factor(x[i])
                out[i] = value
                found = found | select(_is_far(bitcast(u32, value)), 1, 0)
        found_by = shared(u32, _MAKERS)
        found_by[lane] = found
        barrier()
        if lane == 0:
            for other in range(1, _MAKERS):
                found = found | found_by[other]
            far[first + group_id(0)] = found

    factors.name = f"factors_of_{element}{'_x12' if arithmetic.short else ''}"
    return factors


@cache
def find_any_far() -> KernelFunction:
    """Return the kernel (far, out, size), of one group, that leaves 1 if one of ``size`` words is not 0, else 0."""

    @kernel(workgroup=_MAKERS, trusted=True)
    def find(far: In[u32], out: Out[u32], size: u32):
        lane, found = local_id(), u32(0)
        for i in range(lane, size, _MAKERS):
            found = found | far[i]
        found_by = shared(u32, _MAKERS)
        found_by[lane] = found
        barrier()
        if lane == 0:
            for other in range(1, _MAKERS):
                found = found | found_by[other]
            out[0] = found

    find.name = "matmul_any_far"
    return find
