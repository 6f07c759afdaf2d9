"""Zeroes memory: what groups tell each other starts from nothing whenever a program runs.

Layer: kernels. Invariant: every element of the buffer is zero afterwards.
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import DType, u32
from loom.ir.frontend.base.annotations import Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id, num_groups

__all__ = ["CLEAR_LANES", "clear_words"]

CLEAR_LANES = 256


@cache
def clear_words(element: DType) -> KernelFunction:
    """Return the kernel (words, n) that zeroes ``n`` elements, the groups taking turns."""

    @kernel(workgroup=CLEAR_LANES, trusted=True)
    def clear(words: Out[element], n: u32):  # type: ignore[valid-type]
        for i in range(global_id(), n, num_groups() * CLEAR_LANES):
            words[i] = element(0)

    clear.name = f"clear_words_{element}"
    return clear
