"""Products of a sparse matrix, stored by rows, and a dense one.

Layer: kernels. Invariant: an element of the result is the sum, from +0, of its row's products in the order in which
the row stores them; each product and each sum is rounded.
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import DType, f32, u32
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import group_id, local_id

__all__ = ["SPMM_LANES", "SPMM_ROWS", "multiply_sparse"]

SPMM_LANES = 64
SPMM_ROWS = 16


@cache
def multiply_sparse(element: DType) -> KernelFunction:
    """Return the kernel (starts, columns, values, dense, out, rows, n): row r has places ``starts[r]`` on.

    ``dense`` and ``out`` have rows of ``n`` elements. Groups: columns by ``SPMM_LANES``, then rows by ``SPMM_ROWS``.
    """
    held = f32 if element.storage_only else element

    @kernel(workgroup=SPMM_LANES, trusted=True)
    def multiply(
        starts: In[u32],
        columns: In[u32],
        values: In[element],
        dense: In[element],
        out: Out[element],
        rows: u32,
        n: u32,  # type: ignore[valid-type]
    ):
        at = group_id(0) * SPMM_LANES + local_id()
        if at < n:
            for row in range(group_id(1) * SPMM_ROWS, min(rows, group_id(1) * SPMM_ROWS + SPMM_ROWS)):
                total = held(0)
                for place in range(starts[row], starts[row + 1]):
                    total = total + held(values[place]) * held(dense[columns[place] * n + at])
                out[row * n + at] = element(total)

    multiply.name = f"spmm_{element}"
    return multiply
