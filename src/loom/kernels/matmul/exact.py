"""Products of short factors for GPUs, fused where every product is exact: f16, bf16, and f32 rounded to 12 bits.

Layer: kernels. Factors are made f32 first, one pass over each operand, which also tells whether products may leave the
range of f32; f16 never does. If every factor is 0, no number, or from 2^-60 to 2^60 in size, products and sums are
fused. Invariant: both ways give the same bits, in the order of ``kernels.matmul.threads``.
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import f32, u32
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, bitcast, group_id, local_id, select, shared, static_range
from loom.kernels.matmul.grids import Grid
from loom.kernels.matmul.pack import factor_of
from loom.kernels.matmul.short import is_far
from loom.kernels.matmul.slabs import QUAD
from loom.kernels.matmul.threads import Layout, keeping_sums, layout_name, slabs_of, types_of_slabs, walking_slabs_in
from loom.kernels.types import ProductTypes, product_types

__all__ = ["FACTORS_EACH", "find_any_far", "make_factors", "multiply_exact_slabs"]

_LANES, _TURNS = 256, 16
FACTORS_EACH = _LANES * _TURNS
"""Factors that a group makes."""


@cache
def make_factors(arithmetic: ProductTypes) -> KernelFunction:
    """Return the kernel (x, out, far, size, first) that makes ``size`` factors.

    Group x leaves 1 at ``far[first + x]`` if one of them is far too large or small for products that are exact.
    """
    element, factor = arithmetic.element, factor_of(arithmetic)

    @kernel(workgroup=_LANES, trusted=True)
    def factors(
        x: In[element],  # type: ignore[valid-type]
        out: Out[f32],
        far: Out[u32],
        size: u32,
        first: u32,
    ):
        lane, found, begin = local_id(), u32(0), group_id(0) * (_LANES * _TURNS)
        for t in static_range(_TURNS):
            i = begin + t * _LANES + lane
            if i < size:
                value = factor(x[i])
                out[i] = value
                found = found | select(is_far(bitcast(u32, value)), 1, 0)
        found_by = shared(u32, _LANES)
        found_by[lane] = found
        barrier()
        if lane == 0:
            for other in range(1, _LANES):
                found = found | found_by[other]
            far[first + group_id(0)] = found

    factors.name = f"factors_of_{element}{'_x12' if arithmetic.short else ''}"
    return factors


@cache
def find_any_far() -> KernelFunction:
    """Return the kernel (far, out, size), of one group, that leaves 1 if one of ``size`` words is not 0, else 0."""

    @kernel(workgroup=_LANES, trusted=True)
    def find(far: In[u32], out: Out[u32], size: u32):
        lane, found = local_id(), u32(0)
        for i in range(lane, size, _LANES):
            found = found | far[i]
        found_by = shared(u32, _LANES)
        found_by[lane] = found
        barrier()
        if lane == 0:
            for other in range(1, _LANES):
                found = found | found_by[other]
            out[0] = found

    find.name = "matmul_any_far"
    return find


@cache
def multiply_exact_slabs(grid: Grid, layout: Layout) -> KernelFunction:
    """Return the kernel that does as ``multiply_slabs`` for factors, fused unless ``far[0]`` is 1."""
    arithmetic, types = product_types(f32, f32), types_of_slabs(layout, f32, f32)
    keep, (a_slab, b_slab), held = keeping_sums(grid, layout.out_whole), slabs_of(grid, layout), f32.vector(QUAD)
    walk = walking_slabs_in(grid, layout, arithmetic, keep)
    walk_fused = walking_slabs_in(grid, layout, arithmetic, keep, exact=True)

    @kernel(workgroup=grid.lanes, trusted=True)
    def slabs(
        a: In[types.a],  # type: ignore[valid-type]
        b: In[types.b],  # type: ignore[valid-type]
        which: In[u32],
        far: In[u32],
        out: InOut[types.out],  # type: ignore[valid-type]
        m: u32,
        n: u32,
        k: u32,
        a_step: u32,
        b_step: u32,
        batches: u32,
        parts: u32,
        span: u32,
    ):
        batch = group_id(2) // parts
        a_tile, b_tile = shared(held, a_slab.quads * 2), shared(held, b_slab.quads * 2)
        kept = shared(held, grid.kept_quads) if grid.kept_quads else a_tile
        x, y = which[batch], which[batches + batch]
        if far[0] == 0:
            walk_fused(a_tile, b_tile, kept, a, b, a, b, a, b, out, x, y, m, n, k, a_step, b_step, parts, span)
        else:
            walk(a_tile, b_tile, kept, a, b, a, b, a, b, out, x, y, m, n, k, a_step, b_step, parts, span)

    slabs.name = f"matmul_exact_{layout_name(grid, layout)}"
    return slabs
