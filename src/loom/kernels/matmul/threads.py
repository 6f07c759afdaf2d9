"""Matrix multiplication for GPUs: each lane keeps a tile of sums in registers, a group shares slabs of factors.

Layer: kernels. Elements are read where they are, transposed or not, or through tables: element (i, k) of a view is
``x[table[i] + table[count + k]]``, ``count`` its rows (or columns). Of whole numbers (``scaled``) the exact sums of a
block are scaled; those of a view are made as they are read. Invariant: the order of ``kernels.matmul.tiles``, whatever
the tile; a ``Slabs`` changes speed, never bits.

Source of products through tables: Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning" (2014), section 3.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, f32, u32
from loom.core.late.dataclass import dataclass
from loom.ir.frontend.base.annotations import Absent, In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id, group_id, private, shared, static_range
from loom.kernels.matmul.grids import Grid, Layout, layout_name
from loom.kernels.matmul.slabs import QUAD
from loom.kernels.matmul.tiles import BLOCKS
from loom.kernels.matmul.walking import slabs_of, walking_slabs
from loom.kernels.precisions import Precision
from loom.kernels.types import ProductTypes

__all__ = ["FOLD_LANES", "ViewTypes", "fold_blocks", "multiply_slabs"]

FOLD_LANES = 128
"""Elements of the result per group of ``fold_blocks``."""
_FOLDED = 5
"""Blocks that are read before the first of them is added: memory is waited for once."""


@dataclass(frozen=True, slots=True)
class ViewTypes:
    """Operands that a layout says are viewed: the type of their elements, and an order-free precision."""

    element: DType
    precision: Precision | None = None


@cache
def multiply_slabs(
    grid: Grid, layout: Layout, arithmetic: ProductTypes, views: ViewTypes | None = None, *, looks: bool = False
) -> KernelFunction:
    """Return the kernel that multiplies elements where they are into parts of the result.

    Group (x, y, z) computes one tile of part ``z % parts`` of batch ``z // parts``, of ``a[which[batch]]`` and
    ``b[which[batches + batch]]``, of ``views`` of the one product there is; a part is ``span`` k, one block or a chunk
    (k counts words where those are four factors; of whole numbers it is filled up to whole blocks). Element (i, k) of
    ``a`` is at i a_step + k or k a_step + i, by the layout, and (j, k) of ``b`` likewise. Element (row, column) of a
    part goes to ``out[(z m + row) n + column]``. The scale of (block, row) of ``a`` is at ``block m + row``, that of
    (block, column) of ``b`` at ``block n + column``. ``looks``: products are fused unless ``far[0]`` is 1. The table
    of an operand that is no view is not read.
    """
    assert not (grid.held and arithmetic.scaled), "each block's sums have scales of their own"
    precision = None if views is None else views.precision
    a_type, b_type, result = _types(layout, arithmetic, views)
    walk = walking_slabs(grid, layout, arithmetic, precision)
    walk_fused = walking_slabs(grid, layout, arithmetic, precision, exact=True)
    (a_slab, b_slab), held = slabs_of(grid, layout), arithmetic.accumulator.vector(QUAD)
    tables, numbers, count = (Absent, In[u32], u32) if views is None else (In[u32], Absent, Absent)
    scales, looked = In[f32] if arithmetic.scaled else Absent, In[u32] if looks else Absent

    @kernel(workgroup=grid.lanes, trusted=True)
    def slabs(
        a: In[a_type], a_table: tables, a_scales: scales, b: In[b_type], b_table: tables, b_scales: scales,  # type: ignore[valid-type]
        which: numbers, far: looked, out: InOut[result], m: u32, n: u32, k: u32, a_step: u32, b_step: u32,  # type: ignore[valid-type]
        batches: count, parts: u32, span: u32,  # type: ignore[valid-type]
    ):  # fmt: skip
        a_tile = shared(held, a_slab.quads * 2)
        b_tile = shared(held, b_slab.quads * 2)
        kept = shared(held, grid.kept_quads) if grid.kept_quads else a_tile
        batch = group_id(2) // parts
        x = u32(0) if which is None else which[batch]
        y = u32(0) if which is None else which[batches + batch]
        if far is not None and far[0] == 0:
            walk_fused(a_tile, b_tile, kept, a, b, a_table, b_table, a_scales, b_scales, out, x, y, m, n, k, a_step,
                       b_step, parts, span)  # fmt: skip
        else:
            walk(a_tile, b_tile, kept, a, b, a_table, b_table, a_scales, b_scales, out, x, y, m, n, k, a_step,
                 b_step, parts, span)  # fmt: skip

    how = f"scaled_{precision.name}_" if precision else "scaled_" * arithmetic.scaled
    element = arithmetic.element if precision is None or views is None else views.element
    kind = f"_{element}_{arithmetic.dots or arithmetic.accumulator}{'_x12' * arithmetic.short}"
    slabs.name = f"matmul_{'exact_' if looks else how}{layout_name(grid, layout)}{'' if looks else kind}"
    return slabs


def _types(layout: Layout, arithmetic: ProductTypes, views: ViewTypes | None) -> tuple[Any, Any, Any]:
    """Return the types of both operands and of the result: vectors where the layout reads or writes such."""
    element, result = arithmetic.element, f32 if arithmetic.scaled else arithmetic.accumulator
    a, b = (element.vector(QUAD) if whole else element for whole in (layout.a_whole, layout.b_whole))
    if views is not None:
        a, b = views.element if layout.a_viewed else a, views.element if layout.b_viewed else b
    return a, b, result.vector(QUAD) if layout.out_whole else result


@cache
def fold_blocks(accumulator: DType) -> KernelFunction:
    """Return the kernel that adds up the blocks of a chunk, one after the other.

    Group (x, z) takes ``FOLD_LANES`` elements of chunk ``z % chunks`` of batch ``z // chunks``, of ``size`` elements.
    """

    @kernel(workgroup=FOLD_LANES, trusted=True)
    def fold(
        parts: In[accumulator],  # type: ignore[valid-type]
        out: Out[accumulator],  # type: ignore[valid-type]
        size: u32,
        blocks: u32,
        chunks: u32,
    ):
        i = global_id(0)
        if i < size:
            batch, chunk = group_id(1) // chunks, group_id(1) % chunks
            at = (batch * blocks + chunk * BLOCKS) * size + i
            total, count = parts[at], min(blocks - chunk * BLOCKS, BLOCKS) - 1
            for _ in range(count // _FOLDED):
                read = private(accumulator, _FOLDED)
                for n in static_range(_FOLDED):
                    read[n] = parts[at + (n + 1) * size]
                for n in static_range(_FOLDED):
                    total = total + read[n]
                at = at + _FOLDED * size
            for _ in range(count % _FOLDED):
                at = at + size
                total = total + parts[at]
            out[group_id(1) * size + i] = total

    fold.name = f"matmul_fold_{accumulator}"
    return fold
