"""Products for GPUs of operands that are views, such as the windows of images: read where they lie, never copied.

Layer: kernels. Element (i, k) of a view is ``x[table[i] + table[count + k]]``, ``count`` its rows (or columns); the
other operand may be one or lie as a matrix. In an order-free precision a view's whole numbers are made as they are
read, by scales that ``scales_of_view`` has found. Invariant: the order of sums is that of ``threads`` and ``scaled``.

Source: Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning" (2014), the implicit product of section 3.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, f32, u32
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import bitcast, group_id, local_id
from loom.kernels.matmul.digits import MAGNITUDE, exponents_of, scale_of
from loom.kernels.matmul.grids import Grid
from loom.kernels.matmul.scaled import keeping_scaled
from loom.kernels.matmul.threads import Layout, keeping_sums, layout_name, types_of_slabs, walking_slabs
from loom.kernels.matmul.tiles import BLOCK
from loom.kernels.precisions import Precision
from loom.kernels.types import ProductTypes

__all__ = ["SCALE_LANES", "multiply_viewed_scaled_slabs", "multiply_viewed_slabs", "scales_of_view"]

SCALE_LANES = 64
"""Rows of a group of ``scales_of_view``."""


@cache
def scales_of_view(element: DType, precision: Precision) -> KernelFunction:
    """Return the kernel that finds the scale of each block of a view's ``count`` rows, or columns, of ``depth`` k.

    Group (x, block): that of (block, i) is at ``block count + i``.
    """
    exponent_of = exponents_of(precision)

    @kernel(workgroup=SCALE_LANES, trusted=True)
    def scales(
        x: In[element],  # type: ignore[valid-type]
        table: In[u32],
        out: Out[f32],
        count: u32,
        depth: u32,
    ):
        i, begin = group_id(0) * SCALE_LANES + local_id(), group_id(1) * BLOCK
        if i < count:
            start, largest = table[i], u32(0)
            for k in range(begin, min(begin + BLOCK, depth)):
                largest = max(largest, bitcast(u32, f32(x[start + table[count + k]])) & MAGNITUDE)
            out[group_id(1) * count + i] = scale_of(exponent_of(largest), largest)

    scales.name = f"scales_{precision.name}_{element}_of_view"
    return scales


@cache
def multiply_viewed_slabs(grid: Grid, layout: Layout, arithmetic: ProductTypes) -> KernelFunction:
    """Return the kernel that multiplies two operands of which the layout says that one or both are views.

    Groups and parts are those of ``multiply_slabs`` for one batch. The table of an operand that is none is not read.
    """
    types = types_of_slabs(layout, arithmetic.element, arithmetic.accumulator)
    walk = walking_slabs(grid, layout, arithmetic, keeping_sums(grid, layout.out_whole))

    @kernel(workgroup=grid.lanes, trusted=True)
    def slabs(
        a: In[types.a],  # type: ignore[valid-type]
        a_table: In[u32],
        b: In[types.b],  # type: ignore[valid-type]
        b_table: In[u32],
        out: InOut[types.out],  # type: ignore[valid-type]
        m: u32,
        n: u32,
        k: u32,
        a_step: u32,
        b_step: u32,
        parts: u32,
        span: u32,
    ):
        walk(a, b, a_table, b_table, a, b, out, u32(0), u32(0), m, n, k, a_step, b_step, parts, span)

    short = "_x12" if arithmetic.short else ""
    slabs.name = f"matmul_{layout_name(grid, layout)}_{arithmetic.element}_{arithmetic.accumulator}{short}"
    return slabs


@cache
def multiply_viewed_scaled_slabs(
    grid: Grid, layout: Layout, element: DType, precision: Precision, arithmetic: ProductTypes
) -> KernelFunction:
    """Return the kernel that does the same in an order-free precision: views of ``element``, else whole numbers.

    Those are k filled up to whole blocks, as ``digits`` lays them; the scale of (block, row) of ``a`` is at
    ``block m + row``, that of (block, column) of ``b`` at ``block n + column``.
    """
    types = types_of_slabs(layout, arithmetic.element, f32)
    a_type: Any = element if layout.a_viewed else types.a
    b_type: Any = element if layout.b_viewed else types.b
    walk = walking_slabs(grid, layout, arithmetic, keeping_scaled(grid, layout.out_whole), precision)

    @kernel(workgroup=grid.lanes, trusted=True)
    def slabs(
        a: In[a_type],
        a_table: In[u32],
        a_scales: In[f32],
        b: In[b_type],
        b_table: In[u32],
        b_scales: In[f32],
        out: InOut[types.out],  # type: ignore[valid-type]
        m: u32,
        n: u32,
        k: u32,
        a_step: u32,
        b_step: u32,
        parts: u32,
        span: u32,
    ):
        walk(a, b, a_table, b_table, a_scales, b_scales, out, u32(0), u32(0), m, n, k, a_step, b_step, parts, span)

    slabs.name = f"matmul_scaled_{precision.name}_{layout_name(grid, layout)}_{element}_{arithmetic.accumulator}"
    return slabs
