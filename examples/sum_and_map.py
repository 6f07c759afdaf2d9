"""Tier 1: one call, one answer, on whatever device there is."""

import math

import numpy as np

import loom

data = np.arange(1, 1_000_001, dtype=np.float64)

total = loom.gpu_sum(data)  # in one fixed order, so the bits never change
biggest = loom.gpu_max(data)
doubled = loom.gpu_map(data, "mul", 2.0)
roots = loom.gpu_map(data, "sqrt")
smooth = loom.gpu_map(data, lambda x: x * x / (1 + x))  # a Python function, compiled

print(f"sum {total:.0f}, max {biggest:.0f}, mean {loom.gpu_mean(data)}")
assert (total, biggest) == (500_000_500_000, 1_000_000)
assert (doubled[9], roots[1], smooth[1]) == (20, math.sqrt(2), 4 / 3)
