"""Kernels that apply an elementary function to each element: how functions of constants are computed.

Layer: kernels. Invariant: what is mapper is the definition that kernels call.
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import DType
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.elementary import Elementary
from loom.ir.frontend.intrinsics import global_id

__all__ = ["mapper"]


@cache
def mapper(called: Elementary, dtype: DType) -> KernelFunction:
    """Return the kernel (x, y), or (a, b, y) for a function of two: y[i] = function(x[i])."""

    @kernel
    def of_one(x: In[dtype], y: Out[dtype]):
        i = global_id()
        if i < len(y):
            y[i] = called(x[i])

    @kernel
    def of_two(a: In[dtype], b: In[dtype], y: Out[dtype]):
        i = global_id()
        if i < len(y):
            y[i] = called(a[i], b[i])

    return of_one if called.arity == 1 else of_two
