"""Windows that roll over an array: their sums, minima and maxima, three operations an element for any width.

Layer: kernels. The array is cut into blocks as long as a window. Window i starts in block b at place r: it is the
end of block b from r on, folded from the last element of the block backwards to r, then joined with the
beginning of block b + 1, folded forwards: ``ends + begins``, one rounding. A window with r = 0 is a block, folded
backwards. Invariant: the order in a window depends on its position modulo its width and on the width alone, and
no element ever takes part that is not in the window: nothing is subtracted.

Source: van Herk, "A fast algorithm for local minimum and maximum filters" (1992); Gil and Werman (1993).
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import DType, u32
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id, idiv
from loom.kernels.group.join import add, larger, smaller

__all__ = ["BLOCK_LANES", "DIVIDE_LANES", "fold_windows", "window_results"]

BLOCK_LANES = 64
"""Lanes of a workgroup where lanes are threads, each with blocks of its own."""

DIVIDE_LANES = 256
"""Elements a workgroup of ``window_results`` takes."""


_JOINS = {"sum": add, "min": smaller, "max": larger}


@cache
def fold_windows(element: DType, held: DType, join: str, lanes: int = 1) -> KernelFunction:
    """Return the kernel (x, out, n, window, blocks): ``out[i]`` is the fold of the window from i on.

    ``n`` elements, n - window + 1 results of type ``held``; each of a workgroup's ``lanes`` does ``blocks`` blocks. A
    sum starts from +0, as everywhere.
    """
    joined = _JOINS[join]

    @kernel(workgroup=lanes, trusted=True)
    def windows(x: In[element], out: InOut[held], n: u32, window: u32, blocks: u32):  # type: ignore[valid-type]
        results = n - window + 1
        first = min(results, global_id() * blocks * window)
        if lanes > 1 and global_id() > idiv(results - 1, blocks * window):  # the product may have wrapped
            first = results
        for block in range(first, first + min(results - first, blocks * window), window):
            total = held(x[block + window - 1])
            if join == "sum":
                total = total + held(0)
            if block + window - 1 < results:
                out[block + window - 1] = total
            for step in range(1, window):
                at = block + window - 1 - step
                total = joined(total, held(x[at]))
                if at < results:
                    out[at] = total
            last = min(block + window, results)
            if block + 1 < last:
                begin = held(x[block + window])
                if join == "sum":
                    begin = begin + held(0)
                out[block + 1] = joined(out[block + 1], begin)
                for at in range(block + 2, last):
                    begin = joined(begin, held(x[at + window - 1]))
                    out[at] = joined(out[at], begin)

    windows.name = f"rolling_{join}_{element}_{held}" + "_lanes" * (lanes > 1)
    return windows


@cache
def window_results(held: DType, computed: DType, result: DType, *, mean: bool) -> KernelFunction:
    """Return the kernel (x, out, n, window): the folds in their final type, divided by ``window`` for means."""

    @kernel(workgroup=DIVIDE_LANES, trusted=True)
    def finish(x: In[held], out: Out[result], n: u32, window: u32):  # type: ignore[valid-type]
        at = global_id()
        if at < n:
            value = computed(x[at])
            if mean:
                value = value / computed(window)
            out[at] = result(value)

    finish.name = f"rolling_{'mean' if mean else 'end'}_{held}_{result}"
    return finish
