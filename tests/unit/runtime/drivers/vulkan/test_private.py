"""Private arrays start as zero on every device, however long, whatever ran before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom


def _kernel(dtype: Any, size: int) -> Any:
    @loom.kernel(workgroup=8)
    def visits(x: loom.In[loom.u32], seen: loom.Out[loom.u32], out: loom.Out[loom.u32]):
        i = loom.global_id()
        held = loom.private(dtype, size)
        nonzero = loom.u32(0)
        for n in range(size):
            if held[n] != dtype(0):
                nonzero = nonzero + 1
        seen[i] = nonzero
        for n in range(size):
            held[(x[i] + n) % size] = dtype(n % 100)
        out[i] = loom.u32(held[x[i] % size]) + loom.u32(held[(x[i] + size - 1) % size]) * 1000

    return visits


@pytest.mark.parametrize("dtype", [loom.u32, loom.f32, loom.u8, loom.i64], ids=str)
def test_long_arrays_start_as_zero(vulkan: Any, dtype: Any) -> None:
    if dtype.bits != 32 and f"i{dtype.bits}" not in vulkan.features.types:
        pytest.skip("the device lacks the type")
    x = np.arange(64, dtype=np.uint32) * 7
    for size in (31, 32, 33, 64, 97, 500):
        chain = loom.Chain(vulkan)
        given, seen, out = (vulkan.allocate(4 * 64) for _ in range(3))
        given.write(0, x.view(np.uint8))
        seen.write(0, np.full(256, 9, np.uint8))
        for _ in range(2):  # the second finds what the first left
            chain.dispatch(_kernel(dtype, size), [given, seen, out], [], 8)
        chain.build().run()
        assert not seen.read(0, 256).view(np.uint32).any(), size
        assert (out.read(0, 256).view(np.uint32) == (size - 1) % 100 * 1000).all(), size
