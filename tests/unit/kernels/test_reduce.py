"""The reduction kernels, which are trusted: no index outside, nothing read unwritten, no race."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.dtype import bf16, f16, f32, f64, i64, u8, u64
from loom.kernels.fold import tiles as reduce

KERNELS = [
    reduce.sum_tiles(f32, f32, f32),
    reduce.sum_tiles(f16, f32, f16),
    reduce.sum_tiles(u8, u64, u64),
    reduce.extreme_tiles(f64, largest=True),
    reduce.extreme_tiles(bf16, largest=False),
    reduce.extreme_tiles(i64, largest=False),
]


def run(kernel: Any, size: int, on: str) -> bytes:
    """Reduce ``size`` elements, tile by tile, to the bytes of the results."""
    x, out = kernel.verified.kernel.buffers
    tiles = -(-size // (4096 if kernel.name.startswith("sum") else reduce.EXTREME_TILE))
    given = np.random.default_rng(size).integers(0, 100, size, np.uint8).astype(x.dtype.numpy)
    found = np.zeros(tiles, out.dtype.numpy)
    chain = loom.Chain(on)
    chain.dispatch(kernel, [given, found], [size], tiles)
    chain.build().run()
    return found.tobytes()


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.name)
def test_checked_and_debugged_runs_find_no_fault_and_the_same_bits(
    kernel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (1, 63, 64, 65, 4095, 4096, 4097, 9000, 16_384, 16_450):
        plain = run(kernel, size, "cpu")
        with loom.debug(races=True, bounds=True, uninitialized=True):
            assert run(kernel, size, "cpu") == plain
        with monkeypatch.context() as patched:
            patched.setenv("LOOM_CHECK", "1")
            assert run(kernel, size, "cpu") == plain


def test_one_kernel_is_made_for_each_choice_of_types() -> None:
    assert reduce.sum_tiles(f32, f32, f32) is KERNELS[0]
    assert len({k.verified.hash for k in KERNELS}) == len(KERNELS)
    assert all(k.verified.kernel.trusted for k in KERNELS)
