"""Recursive filters: each result is made of inputs and of the results before it.

Layer: kernels. Source: A. V. Oppenheim, R. W. Schafer, Discrete-Time Signal Processing, section 6.3: transposed direct
form II. Invariant: products are rounded before they are added, in the order written here.
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import DType, u32
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id
from loom.kernels.fft.stages import LANES

__all__ = ["filter_recursively"]


@cache
def filter_recursively(element: DType, feedback: bool) -> KernelFunction:
    """Return the kernel (x, out, b, a, state, n, inner, lanes, order, reverse) of a filter along n, one lane a row.

    Element i of lane l is at (l // inner) n inner + i inner + l % inner. ``b`` and ``a`` have order + 1 numbers, of
    which a[0] is 1; ``state`` (order, lanes) is what the filter remembers, before and after. With ``reverse`` rows are
    filtered from their end. Without ``feedback`` all of ``a`` but the first are zero, and results do not come back: a
    NaN is gone once it has left the filter.
    """

    @kernel(workgroup=LANES, trusted=True)
    def recursive(
        x: In[element], out: Out[element], b: In[element], a: In[element], state: InOut[element],  # type: ignore[valid-type]
        n: u32, inner: u32, lanes: u32, order: u32, reverse: u32,
    ):  # fmt: skip
        lane = global_id()
        if lane < lanes:
            outer = lane // inner
            first = outer * n * inner + (lane - outer * inner)
            for i in range(n):
                at = first + i * inner
                if reverse != 0:
                    at = first + (n - 1 - i) * inner
                given = x[at]
                y = b[0] * given
                if order > 0:
                    y = y + state[lane]
                    for k in range(order - 1):
                        kept = state[(k + 1) * lanes + lane] + b[k + 1] * given
                        if feedback:
                            kept = kept - a[k + 1] * y
                        state[k * lanes + lane] = kept
                    last = b[order] * given
                    if feedback:
                        last = last - a[order] * y
                    state[(order - 1) * lanes + lane] = last
                out[at] = y

    recursive.name = f"filter_recursively_{element}" if feedback else f"filter_directly_{element}"
    return recursive
