"""Patterns on every device: over host arrays and over its own, with the bits of the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

import loom
from unit.patterns.canonical import same_bits

X = np.random.default_rng(1).normal(size=9001).astype(np.float32)


def test_over_host_arrays(device: Any) -> None:
    assert same_bits(loom.gpu_sum(X, on=device), loom.gpu_sum(X))
    assert same_bits(loom.gpu_map(X, "exp", on=device), loom.gpu_map(X, "exp"))
    assert same_bits(loom.gpu_scan(X, on=device), loom.gpu_scan(X))


def test_results_stay_on_the_device(device: Any) -> None:
    x = loom.array(X, on=device)
    y = loom.gpu_sqrt(loom.gpu_abs(loom.gpu_mul(x, 3.0)))
    total = loom.gpu_sum(y)
    assert y.device is device
    assert total.device is device
    expected = np.sqrt(np.abs(X * np.float32(3)))
    assert same_bits(y.numpy(), expected)
    assert same_bits(total.numpy()[()], loom.gpu_sum(expected))
    assert same_bits(loom.gpu_sort(y).numpy(), loom.gpu_sort(expected))
