"""Random kernels (``strategies``): divergence, loops, barriers and memory together, one case per seed.

Odd seeds have no barriers and may return early. The interpreter is the only oracle.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from conformance.running import Case, case
from conformance.strategies import SLOTS, random_kernel
from conformance.values import random_bits
from loom.core.dtype import DType

__all__ = ["FAST_SEEDS", "SEEDS"]

FAST_SEEDS = range(60)
SEEDS = range(660)
_GROUPS = 3
_TALLY = [0, 2**32 - 1, 0, 0, 2**32 - 1, 0]
"""Where add, and, or, xor, min and max start from."""


def _random(seed: int) -> Case:
    kernel = random_kernel(seed, barriers=seed % 2 == 0)
    rng = np.random.default_rng(seed)
    inputs = []
    for memory in kernel.buffers[:-2]:
        size = int(rng.choice([1, 3, 17, kernel.lanes, kernel.lanes * _GROUPS]))
        inputs.append(random_bits(memory.dtype.numpy, size, seed=seed + len(inputs)))
    results = [np.zeros(kernel.lanes * _GROUPS * SLOTS, np.uint64), np.array(_TALLY, np.uint32)]
    params = tuple(_param(p.dtype, rng) for p in kernel.params)
    return Case(kernel, (*inputs, *results), params, groups=(_GROUPS, 1, 1))


def _param(dtype: DType, rng: np.random.Generator) -> float | int:
    """Return a small number, or one that only this type holds."""
    choices = [0.0, 2.0, -0.5, 1e30, 2.0**-140] if dtype.is_float else [0, 1, 5, dtype.minimum, dtype.maximum]
    return choices[rng.integers(len(choices))]


for _seed in SEEDS:
    case(f"random/{_seed}", slow=_seed not in FAST_SEEDS)(partial(_random, _seed))
