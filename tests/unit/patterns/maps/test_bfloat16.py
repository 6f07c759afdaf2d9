"""Patterns over bfloat16 arrays, where ml_dtypes gives numpy that type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loom import gpu_map, gpu_max, gpu_mean, gpu_min, gpu_sum
from unit.patterns.canonical import canonical_sum, same_bits

ml_dtypes = pytest.importorskip("ml_dtypes")
BF16 = ml_dtypes.bfloat16


def bits(x: Any) -> list[int]:
    return np.atleast_1d(x).view(np.uint16).tolist()


def test_reductions_are_done_in_f32_and_rounded_once(place: str) -> None:
    x = np.random.default_rng(1).normal(size=5000).astype(BF16)
    wide = x.astype(np.float32)
    total = canonical_sum(wide)
    for got, expected in (
        (gpu_sum(x, on=place), total),
        (gpu_mean(x, on=place), total / np.float32(5000)),
        (gpu_min(x, on=place), wide.min()),
        (gpu_max(x, on=place), wide.max()),
    ):
        assert got.dtype == BF16
        assert bits(got) == bits(np.asarray(expected).astype(BF16))


def test_maps_keep_the_type_and_comparisons_give_bools(place: str) -> None:
    x = np.arange(-500, 500).astype(BF16)
    got = gpu_map(x, lambda v: v * 0.3 + 1, on=place)
    assert got.dtype == BF16
    assert bits(got) == bits((x.astype(np.float32) * np.float32(0.3) + np.float32(1)).astype(BF16))
    assert same_bits(gpu_map(x, "lt", 3, on=place), x.astype(np.float32) < 3)


def test_a_list_beside_bfloat16_takes_the_type() -> None:
    got = gpu_map(np.ones(2, BF16), "add", [1.0, 2.0])
    assert got.dtype == BF16
    assert got.astype(np.float32).tolist() == [2.0, 3.0]
